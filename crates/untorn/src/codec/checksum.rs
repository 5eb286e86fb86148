//! CRC-32 (IEEE), as zlib computes it. It finds accidents, not malice.

/// The checksum of `bytes`, continued from `init`: `crc32(b, crc32(a, 0))` is that of `a` followed by `b`.
///
/// Beware of nothing: `crc32(b"", 0)` is 0, so that a length and a checksum of zero agree with each other.
pub(crate) fn crc32(bytes: &[u8], init: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(init);
    hasher.update(bytes);
    hasher.finalize()
}

/// The checksum of two parts that follow each other, from theirs; `second_len` is the length of the second.
pub(crate) fn crc32_join(first: u32, second: u32, second_len: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(first);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(second, second_len));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::{crc32, crc32_join};

    #[test]
    fn agrees_with_published_values() {
        assert_eq!(crc32(b"123456789", 0), 0xcbf4_3926);
        assert_eq!(crc32(b"The quick brown fox jumps over the lazy dog", 0), 0x414f_a339);
        assert_eq!(crc32(b"", 0), 0);
        assert_eq!(crc32(b"{\"a\":1}", 0), u32::from_le_bytes([0xaf, 0xac, 0x1b, 0x56]));
    }

    #[test]
    fn continues_where_it_left_off() {
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = crc32(&bytes, 7);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(crc32(b, crc32(a, 7)), whole);
        }
    }
    #[test]
    fn two_parts_joined_are_the_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let whole = crc32(&bytes, 0);
        for cut in [0, 1, 255, 512, 999, 1000] {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(crc32_join(crc32(a, 0), crc32(b, 0), b.len() as u64), whole, "{cut}");
        }
    }
}
