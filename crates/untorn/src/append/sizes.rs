//! The size file of `grin_store`: where each element of variable size lies in the data. Entry i stands at `10 * i`: the
//! element's offset in 64 bits, its length in 16, both big-endian.
//!
//! # Invariants
//! - Z1 An entry counts if it begins where the one before it ended, the first at 0, and ends within the data. Behind one that
//!   does not, none counts.
//! - Z2 A length that has no 16 bits is refused. That crate writes its low 16 bits instead, so that the entry behind it begins
//!   too early and fits; then the entries cover less than the data, and [`Taking::end`] tells it.

use super::SizeEntry;
use crate::Result;
use crate::codec::{Codec, Raw, refused};

/// Bytes of an entry.
const LEN: usize = SizeEntry::LEN as usize;

/// The bytes of an entry, or nothing if its length does not fit into them (Z2).
pub(super) fn encode(entry: SizeEntry) -> Option<[u8; LEN]> {
    let size = u16::try_from(entry.size).ok()?;
    let mut bytes = [0; LEN];
    *bytes.first_chunk_mut()? = entry.offset.to_be_bytes();
    *bytes.last_chunk_mut()? = size.to_be_bytes();
    Some(bytes)
}

/// What the bytes of an entry say.
pub(super) fn decode(bytes: [u8; LEN]) -> SizeEntry {
    let [offset @ .., _, _] = bytes;
    let [_, _, _, _, _, _, _, _, size @ ..] = bytes;
    SizeEntry { offset: u64::from_be_bytes(offset), size: u16::from_be_bytes(size).into() }
}

/// Takes entries one after the other while they count (Z1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    data_len: u64,
    end: u64,
    over: bool,
}

impl Taking {
    /// Of a data file of so many bytes.
    pub(super) fn new(data_len: u64) -> Self {
        Self { data_len, end: 0, over: false }
    }

    /// Whether the entry counts. If not, nothing behind it does.
    pub(super) fn take(&mut self, entry: [u8; LEN]) -> bool {
        let SizeEntry { offset, size } = decode(entry);
        let end = offset.checked_add(size.into()).filter(|end| *end <= self.data_len);
        match end {
            Some(end) if offset == self.end && !self.over => {
                self.end = end;
            }
            _ => self.over = true,
        }
        !self.over
    }

    /// Bytes of the data that the entries cover.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

/// The ten bytes that `grin_store` has for it.
impl Codec<SizeEntry> for Raw {
    const NAME: &'static str = "raw";

    fn encode(&self, value: &SizeEntry, out: &mut Vec<u8>) -> Result<()> {
        let too_long = || {
            let reason = format!("an element of {} bytes; its length has 16 bits", value.size);
            refused(<Self as Codec<SizeEntry>>::NAME, reason)
        };
        out.extend_from_slice(&encode(*value).ok_or_else(too_long)?);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<SizeEntry> {
        let other = || {
            let reason = format!("a size entry has {LEN} bytes, not {}", bytes.len());
            refused(<Self as Codec<SizeEntry>>::NAME, reason)
        };
        bytes.try_into().map(decode).map_err(|_| other())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn entry(offset: u64, size: u32) -> SizeEntry {
        SizeEntry { offset, size }
    }

    /// A size file; lengths are cut to 16 bits, as that crate does.
    fn file(sizes: &[u32]) -> Vec<u8> {
        let mut offset = 0;
        let mut bytes = Vec::new();
        for &size in sizes {
            let size = size % 65_536;
            bytes.extend_from_slice(&encode(entry(offset, size)).unwrap());
            offset = u64::from(size).saturating_add(offset);
        }
        bytes
    }

    /// Takes whole entries until one does not count; how many and what they cover.
    fn taken(file: &[u8], data_len: u64) -> (u64, u64) {
        let mut taking = Taking::new(data_len);
        let count = file.as_chunks().0.iter().take_while(|entry| taking.take(**entry)).count();
        (count as u64, taking.end())
    }

    #[test]
    fn the_bytes_are_those_of_that_crate() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 0xfe, 0xff];
        let value = entry(0x0102_0304_0506_0708, 0xfeff);
        assert_eq!(encode(value), Some(bytes));
        assert_eq!(decode(bytes), value);
        assert_eq!(encode(entry(u64::MAX, 65_535)), Some([0xff; 10]));
        assert_eq!(decode([0xff; 10]), entry(u64::MAX, 65_535));
    }

    #[test]
    fn a_length_without_16_bits_is_refused() {
        for size in [65_536, 70_000, u32::MAX] {
            assert_eq!(encode(entry(0, size)), None, "{size}");
            let mut out = vec![1];
            let error = Raw.encode(&entry(0, size), &mut out).unwrap_err();
            assert_eq!((error.kind(), out), (ErrorKind::Codec, vec![1]), "{size}");
        }
    }

    #[test]
    fn the_codec_takes_ten_bytes() {
        let mut out = Vec::new();
        Raw.encode(&entry(300, 7), &mut out).unwrap();
        assert_eq!(out, [0, 0, 0, 0, 0, 0, 1, 44, 0, 7]);
        let back: SizeEntry = Raw.decode(&out).unwrap();
        assert_eq!(back, entry(300, 7));
        for len in [0, 1, 9, 11, 20] {
            let back: Result<SizeEntry> = Raw.decode(&vec![0; len]);
            assert_eq!(back.unwrap_err().kind(), ErrorKind::Codec, "{len}");
        }
    }

    #[test]
    fn all_that_is_contiguous_and_within_counts() {
        let bytes = file(&[3, 0, 65_535, 0, 1]);
        assert_eq!(taken(&bytes, 65_539), (5, 65_539));
        // The data is longer: what is behind is for the caller to judge.
        assert_eq!(taken(&bytes, 70_000), (5, 65_539));
        assert_eq!(taken(&[], 0), (0, 0));
        assert_eq!(taken(&[], 9), (0, 0));
    }

    #[test]
    fn what_is_torn_off_an_entry_is_no_entry() {
        let bytes = file(&[3, 4, 5]);
        for cut in 20..30 {
            assert_eq!(taken(&bytes[..cut], 12), (2, 7), "{cut}");
        }
    }

    #[test]
    fn nothing_behind_a_gap_or_an_overlap_counts() {
        for wrong in [8, 6, 0, u64::MAX] {
            let mut bytes = file(&[3, 4, 5, 6]);
            bytes[20..28].copy_from_slice(&wrong.to_be_bytes());
            assert_eq!(taken(&bytes, 18), (2, 7), "{wrong}");
            let mut taking = Taking::new(18);
            let fits = bytes.as_chunks().0.iter().map(|entry| taking.take(*entry));
            assert_eq!(fits.collect::<Vec<_>>(), [true, true, false, false]);
        }
    }

    #[test]
    fn a_first_entry_that_does_not_begin_at_0_does_not_count() {
        assert_eq!(taken(&encode(entry(1, 3)).unwrap(), 100), (0, 0));
    }

    #[test]
    fn an_entry_beyond_the_data_does_not_count() {
        let bytes = file(&[3, 4, 5]);
        assert_eq!(taken(&bytes, 11), (2, 7));
        assert_eq!(taken(&bytes, 12), (3, 12));
        assert_eq!(taken(&bytes, 2), (0, 0));
        // Nor an empty one, if data before it is missing.
        assert_eq!(taken(&file(&[3, 0]), 2), (0, 0));
    }

    #[test]
    fn an_offset_at_the_end_of_the_numbers_does_not_count() {
        let mut bytes = file(&[3, 4]);
        bytes[10..20].fill(0xff);
        assert_eq!(taken(&bytes, u64::MAX), (1, 3));
    }

    /// Z2: the entries fit one behind the other, and cover too little.
    #[test]
    fn a_length_that_was_wrapped_shows_in_the_sum() {
        let (bytes, data) = (file(&[100, 70_000, 100]), 70_200);
        assert_eq!(taken(&bytes, data), (3, 100 + 4_464 + 100));
    }

    /// What a power cut leaves of a file whose length was durable and whose bytes were not. Each of them is a good empty element
    /// at 0, until one has bytes.
    #[test]
    fn zeros_at_the_end_do_not_count_behind_bytes() {
        let mut bytes = file(&[3, 4]);
        bytes.extend_from_slice(&[0; 40]);
        assert_eq!(taken(&bytes, 7), (2, 7));
    }
}
