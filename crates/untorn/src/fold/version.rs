//! The version of an entry, as its source counts.

use std::fmt;
use std::hash::{Hash, Hasher};

use crate::{Error, ErrorKind, Result};

/// Bytes that are kept without an allocation.
const INLINE: usize = 22;

/// The version that a source gave an entry: 0 to 255 bytes that only the source can read. Numbers are 8 bytes, big endian, so that
/// they compare as bytes do.
#[derive(Clone)]
pub struct VersionToken(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Boxed(Box<[u8]>),
}

impl VersionToken {
    /// The source gave none.
    pub const fn unknown() -> Self {
        Self(Repr::Inline { len: 0, bytes: [0; INLINE] })
    }

    /// A number.
    pub fn from_u64(number: u64) -> Self {
        Self::of(&number.to_be_bytes())
    }

    /// Any bytes; none is [`unknown`](Self::unknown).
    ///
    /// # Errors
    /// `TooLarge` above 255 bytes.
    pub fn from_raw(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > super::POSITION_MAX {
            let what = format!(
                "versions and positions have 255 bytes at most, and this has {}",
                bytes.len()
            );
            return Err(Error::of_caller(ErrorKind::TooLarge, "make version", what));
        }
        Ok(Self::of(bytes))
    }

    /// Bytes that are known not to be too many.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(space), Ok(len)) => {
                space.copy_from_slice(bytes);
                Self(Repr::Inline { len, bytes: inline })
            }
            _ => Self(Repr::Boxed(bytes.into())),
        }
    }

    /// Whether the source gave none.
    pub fn is_unknown(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The number, if it is one.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_bytes().try_into().ok().map(u64::from_be_bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Boxed(bytes) => bytes,
        }
    }
}

impl Default for VersionToken {
    fn default() -> Self {
        Self::unknown()
    }
}

impl PartialEq for VersionToken {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for VersionToken {}

impl Hash for VersionToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for VersionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionToken({self})")
    }
}

/// The number, or the bytes in hex; `unknown` if there are none.
impl fmt::Display for VersionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.as_bytes(), "unknown", f)
    }
}

/// A position for a person: a number, or hex.
pub(super) fn show(bytes: &[u8], none: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Ok(number) = bytes.try_into() {
        return write!(f, "{}", u64::from_be_bytes(number));
    }
    if bytes.is_empty() {
        return f.write_str(none);
    }
    f.write_str("0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for len in 0..=255 {
            let bytes: Vec<u8> = (0..len).collect();
            let token = VersionToken::from_raw(&bytes).unwrap();
            assert_eq!(token.as_bytes(), bytes);
            assert_eq!(token.as_u64().is_some(), len == 8);
            assert_eq!(token, token.clone());
        }
        let error = VersionToken::from_raw(&[0; 256]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(size_of::<VersionToken>(), 24);
    }

    #[test]
    fn numbers_compare_as_bytes() {
        let numbers = [0, 1, 255, 256, u64::MAX];
        for pair in numbers.windows(2) {
            let [a, b] = [VersionToken::from_u64(pair[0]), VersionToken::from_u64(pair[1])];
            assert!(a.as_bytes() < b.as_bytes());
            assert_eq!((a.as_u64(), b.as_u64()), (Some(pair[0]), Some(pair[1])));
        }
    }

    #[test]
    fn a_versionstamp_is_no_number() {
        let stamp = VersionToken::from_raw(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 1]).unwrap();
        assert_eq!(stamp.as_u64(), None);
        assert_eq!(stamp.to_string(), "0x00000000000000070001");
        assert_eq!(VersionToken::from_u64(7).to_string(), "7");
        assert_eq!(VersionToken::unknown().to_string(), "unknown");
    }
}
