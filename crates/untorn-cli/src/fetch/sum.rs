//! `--sum ALGO:HEX`: a digest that the file must have, and how to compute it.

use sha2::{Digest as _, Sha256};
use untorn::chunked::Expected;

use crate::out::hex;

/// The algorithms, by their names.
const ALGORITHMS: [&str; 2] = ["blake3", "sha256"];

/// Both algorithms make 32 bytes.
const LEN: usize = 32;

/// Reads `ALGO:HEX`.
pub(crate) fn parse(text: &str) -> Result<Expected, String> {
    let (algo, digits) = text.split_once(':').unwrap_or(("", text));
    let algo = algo.to_ascii_lowercase();
    if !ALGORITHMS.contains(&algo.as_str()) {
        return Err(format!("not ALGO:HEX with {} as ALGO", ALGORITHMS.join(" or ")));
    }
    let sum = bytes(digits).filter(|sum| sum.len() == LEN);
    let sum = sum.ok_or_else(|| format!("not a {algo} of {} hex digits", 2 * LEN))?;
    Ok(Expected { algo, sum })
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = digits
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(pairs.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, it| byte << 4 | it)).collect())
}

/// As it is written.
pub(crate) fn shown(sum: &Expected) -> String {
    format!("{}:{}", sum.algo, hex(&sum.sum))
}

/// Computes one of the digests.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(Sha256),
}

impl Hasher {
    /// `None` for an algorithm that is not known.
    pub(crate) fn of(algo: &str) -> Option<Self> {
        match algo {
            "blake3" => Some(Self::Blake3(Box::default())),
            "sha256" => Some(Self::Sha256(Sha256::new())),
            _ => None,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_of_abc() {
        for text in [
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        ] {
            let expected = parse(text).unwrap();
            let mut hasher = Hasher::of(&expected.algo).unwrap();
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), expected.sum);
            assert_eq!(shown(&expected), text);
            assert_eq!(parse(&text.to_ascii_uppercase()).unwrap(), expected);
        }
        assert!(Hasher::of("md5").is_none());
    }

    #[test]
    fn what_is_no_sum() {
        let digits = "0".repeat(64);
        for text in [
            "",
            "sha256",
            "sha256:",
            ":",
            &digits,
            &format!("md5:{digits}"),
            &format!("sha256:{digits}0"),
            &format!("sha256:{digits}00"),
            &format!("sha256:{}g", "0".repeat(63)),
            &format!("sha256:+{}", "0".repeat(63)),
            &format!("sha256: {}", "0".repeat(63)),
            &format!("sha256:{}", "\u{e9}".repeat(32)),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
