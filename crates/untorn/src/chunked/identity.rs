//! What tells one version of a remote file from another.

/// What is known of the file that is being filled. Empty: nothing is.
///
/// Two identities are the same if no pair known to both differs, and one of these is known to both and equal: a strong
/// `ETag`; a Last-Modified together with the length; a digest. A weak `ETag` (`W/"..."`) proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Its length in bytes.
    pub len: Option<u64>,
    /// The `ETag` as the server sent it, with its quotes.
    pub etag: Option<String>,
    /// The Last-Modified as the server sent it.
    pub last_modified: Option<String>,
    /// Its digest.
    pub digest: Option<Expected>,
    /// Where it comes from, for people. A user, a password and a query string are taken off.
    pub source: Option<String>,
}

/// A digest that the content must have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "an algorithm and a sum")]
pub struct Expected {
    /// The algorithm: `blake3` is built in, others come through `ChunkedOptions::hasher`.
    pub algo: String,
    /// The sum.
    pub sum: Vec<u8>,
}

impl Identity {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the length.
    #[must_use]
    pub const fn len(mut self, len: u64) -> Self {
        self.len = Some(len);
        self
    }

    /// Sets the `ETag`, with its quotes.
    #[must_use]
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = Some(etag.into());
        self
    }

    /// Sets the Last-Modified.
    #[must_use]
    pub fn last_modified(mut self, date: impl Into<String>) -> Self {
        self.last_modified = Some(date.into());
        self
    }

    /// Sets the digest.
    #[must_use]
    pub fn digest(mut self, digest: Expected) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Sets where it comes from.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether both are known to be of the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.agrees(other) && self.proofs(other).contains(&Some(true))
    }

    /// Whether nothing that both know differs.
    pub fn agrees(&self, other: &Self) -> bool {
        fn differ<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a != b)
        }
        let digests = match (&self.digest, &other.digest) {
            (Some(a), Some(b)) => a.algo == b.algo && a.sum != b.sum,
            _ => false,
        };
        !(differ(self.len.as_ref(), other.len.as_ref())
            || differ(self.strong_etag().as_ref(), other.strong_etag().as_ref())
            || differ(self.last_modified.as_ref(), other.last_modified.as_ref())
            || digests)
    }

    /// Whether it can be known again: it has a strong `ETag`, a Last-Modified with a length, or a digest.
    pub fn is_known_again(&self) -> bool {
        self.strong_etag().is_some()
            || (self.last_modified.is_some() && self.len.is_some())
            || self.digest.is_some()
    }

    fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }

    /// Of each proof that both have: whether it is equal.
    fn proofs(&self, other: &Self) -> [Option<bool>; 3] {
        let etag = self.strong_etag().zip(other.strong_etag()).map(|(a, b)| a == b);
        let lens = self.len.is_some() && self.len == other.len;
        let modified = self.last_modified.as_ref().zip(other.last_modified.as_ref());
        let date = modified.filter(|_| lens).map(|(a, b)| a == b);
        let digests = self.digest.as_ref().zip(other.digest.as_ref());
        let digest = digests.filter(|(a, b)| a.algo == b.algo).map(|(a, b)| a.sum == b.sum);
        [etag, date, digest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(byte: u8) -> Expected {
        Expected { algo: "blake3".to_owned(), sum: vec![byte; 32] }
    }

    #[test]
    fn one_equal_proof_and_nothing_that_differs() {
        let tag = Identity::new().len(9).etag("\"a\"");
        let date = Identity::new().len(9).last_modified("Sat, 21 Nov 2026 10:00:00 GMT");
        let digest = Identity::new().digest(sum(1));
        for (a, b, same) in [
            (tag.clone(), tag.clone(), true),
            (tag.clone(), tag.clone().len(10), false),
            (tag.clone(), tag.clone().etag("\"b\""), false),
            (tag.clone(), date.clone(), false),
            (date.clone(), date.clone(), true),
            (date.clone(), Identity { len: None, ..date.clone() }, false),
            (digest.clone(), digest.clone().len(3), true),
            (digest.clone(), Identity::new().digest(sum(2)), false),
            (tag.clone().digest(sum(1)), tag.clone().digest(sum(2)), false),
            (Identity::new(), Identity::new(), false),
            (Identity::new().len(9), Identity::new().len(9), false),
            (Identity::new().etag("W/\"a\""), Identity::new().etag("W/\"a\""), false),
        ] {
            assert_eq!(a.is_same(&b), same, "{a:?} {b:?}");
            assert_eq!(b.is_same(&a), same, "{b:?} {a:?}");
        }
        assert!(!Identity::new().len(9).is_known_again());
        assert!(!Identity::new().etag("W/\"a\"").is_known_again());
        assert!(tag.is_known_again() && date.is_known_again() && digest.is_known_again());
    }
}
