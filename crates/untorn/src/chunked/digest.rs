//! Digests of the whole content.

use super::Expected;

/// A digest that is computed over the content, from its first byte to its last.
pub trait Digest: Send {
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);

    /// The sum of all that was taken.
    fn finish(&mut self) -> Vec<u8>;
}

pub(super) type MakeDigest = dyn Fn() -> Box<dyn Digest> + Send + Sync;

#[cfg(feature = "blake3")]
struct Blake3(blake3::Hasher);

#[cfg(feature = "blake3")]
impl Digest for Blake3 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&mut self) -> Vec<u8> {
        self.0.finalize().as_bytes().to_vec()
    }
}

/// A new digest of what is built in under this name.
pub(super) fn built_in(algo: &str) -> Option<Box<dyn Digest>> {
    match algo {
        #[cfg(feature = "blake3")]
        "blake3" => Some(Box::new(Blake3(blake3::Hasher::new()))),
        _ => None,
    }
}

impl Expected {
    /// A BLAKE3 digest.
    pub fn blake3(sum: [u8; 32]) -> Self {
        Self { algo: "blake3".to_owned(), sum: sum.to_vec() }
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.algo)?;
        self.sum.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The BLAKE3 sum of `bytes`.
#[cfg(feature = "blake3")]
pub fn blake3(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}
