//! Types whose values are their bytes, so that bytes of a file can be looked at as values without a copy.
#![expect(unsafe_code, reason = "bytes are taken for values")]

/// A type of which any bytes, as many as it is large, are a value: numbers, and arrays and structures of them.
///
/// What is read is the memory of the machine: a number is read in its byte order, which is little-endian on nearly all of them, and
/// must have been written in the same. For bytes that go from machine to machine use a codec, or `[u8; N]`.
///
/// # Safety
/// Every pattern of bytes is a valid value, so that there are no `bool`, `char`, enums and references in it; no byte of it is
/// padding; nothing in it can be changed through `&` (no cells).
///
/// # Example
/// ```
/// use untorn::append::Plain;
///
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Sample { at: u64, value: f64 }
///
/// // SAFETY: two numbers of 8 bytes follow each other without padding, and any bytes are such numbers.
/// unsafe impl Plain for Sample {}
/// ```
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($number:ty),*) => {$(
        // SAFETY: any bytes are such a number.
        unsafe impl Plain for $number {}
    )*};
}

plain!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

// SAFETY: the elements follow each other without padding, and any bytes are an element.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The bytes as a value; `None` if they are more or fewer than it has, or do not lie where such a value may.
#[inline]
pub(crate) fn view<T: Plain>(bytes: &[u8]) -> Option<&T> {
    let at = bytes.as_ptr().cast::<T>();
    if bytes.len() != size_of::<T>() || !at.is_aligned() {
        return None;
    }
    // SAFETY: there are as many readable bytes as the value has, aligned as it must be, and any bytes are a value of the type (the
    // trait's promise). Nobody changes them as long as `bytes` lives, and the value is borrowed for no longer.
    Some(unsafe { &*at })
}

#[cfg(test)]
mod tests {
    use super::view;

    #[test]
    fn size_and_place_are_checked() {
        let words = [0x0101_0101_0202_0202_u64; 2];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let start = bytes.as_ptr().align_offset(4);
        let bytes = &bytes[start..start + 8];
        // Every byte of each half is the same, so that the order of bytes does not matter.
        let (first, second) =
            (u32::from(bytes[0]) * 0x0101_0101, u32::from(bytes[4]) * 0x0101_0101);
        assert_eq!(view::<u32>(&bytes[..4]), Some(&first));
        assert_eq!(view::<[u32; 2]>(bytes), Some(&[first, second]));
        assert_eq!(view::<u32>(&bytes[1..5]), None);
        assert_eq!(view::<u32>(bytes), None);
        assert_eq!(view::<[u8; 3]>(&bytes[3..6]), Some(&[bytes[3], bytes[4], bytes[5]]));
    }
}
