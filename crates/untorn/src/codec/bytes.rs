//! Little-endian fields, for the headers on disk.

/// Takes fields off the front of a slice; `None` where the bytes do not suffice, and then nothing is taken.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// The next multiple of 8 from `len` on.
pub(crate) const fn pad8(len: u64) -> u64 {
    len.saturating_add(len.wrapping_neg() & 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_little_endian() {
        let bytes: Vec<u8> = (1..=20).collect();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Some(1));
        assert_eq!(reader.u16(), Some(0x0302));
        assert_eq!(reader.u32(), Some(0x0706_0504));
        assert_eq!(reader.u64(), Some(0x0f0e_0d0c_0b0a_0908));
        assert_eq!(reader.array(), Some([16, 17]));
        assert_eq!(reader.take(1), Some(&[18][..]));
        assert_eq!(reader.take(3), None);
    }

    #[test]
    fn what_is_too_long_takes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.u64(), None);
        assert_eq!(reader.take(4), None);
        assert_eq!(reader.take(usize::MAX), None);
        assert_eq!(reader.array::<4>(), None);
        assert_eq!(reader.take(3), Some(&[1, 2, 3][..]));
        assert_eq!((reader.u8(), reader.u16()), (None, None));
        assert_eq!(reader.take(0), Some(&[][..]));
    }

    #[test]
    fn padding_reaches_the_next_multiple_of_eight() {
        for len in 0..64 {
            assert_eq!(pad8(len) % 8, 0);
            assert!(pad8(len) - len < 8);
        }
        assert_eq!(pad8(u64::MAX), u64::MAX);
    }
}
