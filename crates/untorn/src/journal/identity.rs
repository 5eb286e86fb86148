//! The file `JOURNAL`: what a directory is a journal of. Written once, before anything is logged.
//!
//! # Invariants
//! - J1 `JOURNAL` and `snap` are durable before the log has a META: so who finds a log without them knows that they were lost.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use crate::codec::bytes::Reader;
use crate::codec::checksum::crc32;
use crate::commit::{self, Temp};
use crate::fs::{Dir, Fs, How, Rename, SyncSite};
use crate::{Error, ErrorKind, Outcome, Result};

/// The file's name.
pub(super) const NAME: &str = "JOURNAL";
const MAGIC: &[u8; 8] = b"UNTORNJN";
const VERSION: u16 = 1;
const LEN: usize = 96;
const CODEC: usize = 16;
const MACHINE: usize = 32;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) machine: String,
    pub(super) event_codec: String,
}

impl Identity {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&96_u32.to_le_bytes());
        for (text, len) in [(&self.event_codec, CODEC), (&self.machine, MACHINE)] {
            let end = out.len().saturating_add(len);
            out.extend_from_slice(text.as_bytes());
            out.resize(end, 0);
        }
        out.resize(const { LEN - 4 }, 0);
        let crc = crc32(&out, 0);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` if the bytes do not verify; `Err` of the version if they are of a later one.
    fn decode(bytes: &[u8]) -> Option<std::result::Result<Self, u16>> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if !body.starts_with(MAGIC) || crc32(body, 0) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut input = Reader::new(body);
        input.take(MAGIC.len())?;
        let version = input.u16()?;
        if (version, input.u16()?, input.u32()?) != (VERSION, 0, 96) {
            return Some(Err(version));
        }
        let event_codec = text(input.take(CODEC)?)?;
        let machine = text(input.take(MACHINE)?)?;
        Some(Ok(Self { machine, event_codec }))
    }

    /// What the directory is a journal of; `None` if it has no such file.
    pub(super) fn load(dir: &dyn Dir) -> Result<Option<Self>> {
        let path = dir.path().join(NAME);
        let fail = |e| Error::system("open journal", &path, e);
        let file = match dir.open(OsStr::new(NAME), How::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        // A later version may be longer; longer than this is nobody's.
        let mut bytes = [0; LEN * 8];
        let len = file.read_at(&mut bytes, 0).map_err(fail)?;
        match Self::decode(bytes.get(..len).unwrap_or_default()) {
            Some(Ok(identity)) => Ok(Some(identity)),
            Some(Err(version)) => {
                let what = format!("it has version {version}; update this program");
                Err(Error::new(ErrorKind::NewerFormat, "open journal", &path, what))
            }
            None => {
                let what = "it does not verify; it is written whole, so no crash leaves it like this; nothing was changed";
                Err(Error::new(ErrorKind::Damaged, "open journal", &path, what).at(0))
            }
        }
    }

    /// Writes the file. Its name becomes durable with the names that lead to the log (J1).
    pub(super) fn store(&self, fs: &dyn Fs, dir: &Arc<dyn Dir>) -> Result<()> {
        let temp = Temp::create(fs, dir, OsStr::new(NAME), 0o600)?;
        let file = temp.file();
        file.write_at(&self.encode(), 0).map_err(|e| Error::system("write", file.path(), e))?;
        commit::sync_data(&**file, SyncSite::JournalFile)
            .map_err(|e| e.with_outcome(Outcome::Unchanged))?;
        temp.give_name(OsStr::new(NAME), Rename::Replace)?;
        Ok(())
    }

    /// Refuses a journal of another machine, or with another codec.
    pub(super) fn expect(&self, expected: &Self, dir: &Path) -> Result<()> {
        if self == expected {
            return Ok(());
        }
        let what = format!(
            "it is a journal of `{}` with events in {}, and was opened as one of `{}` with events in {}",
            self.machine, self.event_codec, expected.machine, expected.event_codec
        );
        Err(Error::new(ErrorKind::Precondition, "open journal", dir, what))
    }

    /// A name that fits its field and can be told from the padding.
    pub(super) fn check(&self, dir: &Path) -> Result<()> {
        let fits = |text: &str, len: usize| {
            (1..=len).contains(&text.len()) && text.is_ascii() && !text.contains('\0')
        };
        if fits(&self.machine, MACHINE) && fits(&self.event_codec, CODEC) {
            return Ok(());
        }
        let what = "a machine's NAME has 1 to 32 bytes of ASCII, a codec's 1 to 16";
        Err(Error::new(ErrorKind::InvalidInput, "open journal", dir, what))
    }
}

/// The text of a field that is padded with zeros.
fn text(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let (text, padding) = field.split_at_checked(end)?;
    if text.is_empty() || padding.iter().any(|&b| b != 0) {
        return None;
    }
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_file_counts() {
        let identity = Identity { machine: "ledger".to_owned(), event_codec: "json".to_owned() };
        let bytes = identity.encode();
        assert_eq!(bytes.len(), LEN);
        // FORMAT.md#journal
        let golden =
            [&b"UNTORNJN\x01\0\0\0\x60\0\0\0json"[..], &[0; 12], b"ledger", &[0; 54]].concat();
        assert_eq!((&bytes[..92], &bytes[92..]), (&golden[..], &0x1140_11cb_u32.to_be_bytes()[..]));
        assert_eq!(Identity::decode(&bytes), Some(Ok(identity)));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Identity::decode(&flipped), None, "bit {bit}");
        }
        for cut in 0..LEN {
            assert_eq!(Identity::decode(&bytes[..cut]), None);
        }
    }
}
