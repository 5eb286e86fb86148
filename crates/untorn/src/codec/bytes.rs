//! Little-endian fields, for what is on disk; the beginnings of keys, for searches.

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

    /// A number of seven bits a byte. Takes only what [`put_varint`] writes: no more bytes than the number needs.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        // Most are lengths below 128.
        let (&first, rest) = self.rest.split_first()?;
        if first < 0x80 {
            self.rest = rest;
            return Some(u64::from(first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for (nth, byte) in self.rest.iter().enumerate().take(10) {
            let shift = u32::try_from(nth).ok()?.checked_mul(7)?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift)?;
            if shifted >> shift != bits || (*byte == 0 && nth > 0) {
                return None;
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(nth.checked_add(1)?..)?;
                return Some(value);
            }
        }
        None
    }

    /// A length as a varint, and as many bytes; nothing is taken if they are not all there.
    #[inline]
    pub(crate) fn with_len(&mut self) -> Option<&'a [u8]> {
        let before = self.rest;
        let len = self.varint().and_then(|len| usize::try_from(len).ok());
        let bytes = len.and_then(|len| self.take(len));
        if bytes.is_none() {
            self.rest = before;
        }
        bytes
    }

    /// What was not taken yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Seven bits a byte, low ones first, the high bit on all but the last.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = (value & 0x7f).to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// The length as a varint, and the bytes.
pub(crate) fn put_with_len(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Eight bytes of a key from `skip` on, such that they compare as the bytes do; zeros where it ends.
pub(crate) fn head_of(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(head) = rest.first_chunk() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(rest) {
        *to = *from;
    }
    u64::from_be_bytes(head)
}

/// How many bytes two keys begin with that are the same.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
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
    fn varints_come_back_and_have_one_form() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(value, &mut out);
                let mut reader = Reader::new(&out);
                assert_eq!((reader.varint(), reader.rest()), (Some(value), &[][..]));
                for cut in 0..out.len() {
                    assert_eq!(Reader::new(&out[..cut]).varint(), None);
                }
            }
        }
        for bad in [
            &[0x80, 0][..],
            &[0xff; 10],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            let mut reader = Reader::new(bad);
            assert_eq!((reader.varint(), reader.rest()), (None, bad));
        }
    }

    #[test]
    fn bytes_with_a_length_come_whole_or_not_at_all() {
        let mut out = Vec::new();
        put_with_len(b"abc", &mut out);
        assert_eq!(Reader::new(&out).with_len(), Some(&b"abc"[..]));
        let mut cut = Reader::new(&out[..3]);
        assert_eq!((cut.with_len(), cut.rest()), (None, &out[..3]));
    }

    #[test]
    fn heads_compare_as_keys_do() {
        let keys: [&[u8]; 6] = [b"", b"\0", b"a", b"a\0b", b"abcdefgh", b"abcdefghi"];
        for pair in keys.windows(2) {
            assert!(head_of(pair[0], 0) <= head_of(pair[1], 0));
        }
        assert!(head_of(b"xxa", 2) < head_of(b"xxb", 2));
        assert_eq!((common(b"abc", b"abd"), common(b"", b"a"), common(b"a", b"a")), (2, 0, 1));
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
