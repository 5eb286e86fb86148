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
        let numbers = [0x0102_0304_u32.to_ne_bytes(), 7_u32.to_ne_bytes()];
        let words = [u64::from_ne_bytes(numbers.concat().try_into().unwrap()); 2];
        // Aligned to 8 bytes, as the words are.
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let start = bytes.as_ptr().align_offset(4);
        let bytes = &bytes[start..start + 8];
        assert_eq!(view::<u32>(&bytes[..4]), Some(&0x0102_0304));
        assert_eq!(view::<[u32; 2]>(bytes), Some(&[0x0102_0304, 7]));
        assert_eq!(view::<u32>(&bytes[1..5]), None);
        assert_eq!(view::<u32>(bytes), None);
        assert_eq!(view::<[u8; 3]>(&bytes[1..4]).map(|b| b[2]), Some(bytes[3]));
    }
}
