//! Reads a snapshot, or says why it cannot.
//!
//! The checks come in this order: size, version, length and checksum, decoding, validation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{Codec, Json};
use crate::commit::{Place, Symlink};
use crate::fs::File;
use crate::{Error, ErrorKind, Result};

use super::blocks::{self, Totals};
use super::bytes::{LOAD, damaged, size_of};
use super::frame;
use super::{FrameBytes, SnapshotInfo, SnapshotOptions};

/// Reads one snapshot.
pub trait SnapshotLoader<S> {
    /// The snapshot that stands there, or `None` if there is none.
    ///
    /// # Durability
    /// Nothing is changed. What is read may be a snapshot whose `close` has not returned yet, and which a power cut takes back.
    ///
    /// # Cost
    /// No sync. The file is read once; its bytes are in memory until they are decoded. Memory is bounded by the size of the file,
    /// whatever the lengths in it say, and by what the codec makes of the bytes.
    ///
    /// # Errors
    /// `Damaged` with path and offset if it does not verify, or is empty; `NewerFormat` if it has another version; `Precondition` if
    /// another codec wrote it, or the path leads to no regular file; `TooLarge` if it passes `max_payload`; `Unsupported` if its blocks are
    /// compressed; `Codec` if it does not decode; `Failed` if the validation refuses it; `OverBudget` if there is no memory for it; `Io`.
    fn load(&mut self) -> Result<Option<S>>;
}

/// Reads one snapshot from a file. See the [module](super).
///
/// It finds the layout from the file. It takes no lock: it opens the file once and reads that one, whatever is renamed over it meanwhile.
///
/// # Example
/// ```
/// # #[cfg(feature = "json")] {
/// use untorn::ErrorKind;
/// use untorn::snapshot::{SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotWriter};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("state.snap");
/// let mut loader = SnapshotFsLoader::<String>::new(path.clone());
/// assert_eq!(loader.load()?, None); // there is none yet
///
/// let mut writer = SnapshotFsWriter::new(path.clone())?;
/// writer.write(&"a state".to_owned())?;
/// writer.close()?;
/// assert_eq!(loader.load()?.as_deref(), Some("a state"));
///
/// std::fs::write(&path, "something else, longer than a header")?;
/// assert_eq!(loader.load().unwrap_err().kind(), ErrorKind::NewerFormat);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SnapshotFsLoader<S, C = Json> {
    path: PathBuf,
    options: SnapshotOptions<S, C>,
}

impl<S> SnapshotFsLoader<S> {
    /// A loader of snapshots in JSON; of frames, those with version 4. Nothing is looked at yet.
    pub fn new(path: PathBuf) -> Self {
        Self::with(path, SnapshotOptions::new())
    }

    /// As [`new`](Self::new), of frames with another version.
    pub fn with_version(path: PathBuf, version: u32) -> Self {
        Self::with(path, SnapshotOptions::new().version(version))
    }
}

impl<S, C> SnapshotFsLoader<S, C> {
    /// A loader with options: `version`, `codec`, `max_payload`, `validate`, `empty_is_none` and `fs` are those that it heeds. Nothing is
    /// looked at yet.
    pub fn with(path: impl AsRef<Path>, options: SnapshotOptions<S, C>) -> Self {
        Self { path: path.as_ref().to_path_buf(), options }
    }

    /// What the headers say, or `None` if there is no snapshot. The payload is not read: see [`verify`](Self::verify).
    ///
    /// # Durability
    /// Nothing is changed.
    ///
    /// # Cost
    /// No sync. Two or three small reads.
    ///
    /// # Errors
    /// As [`load`](SnapshotLoader::load), as far as the headers tell; `Codec`, `Failed` and `TooLarge` never.
    pub fn info(&mut self) -> Result<Option<SnapshotInfo>> {
        Ok(self.open()?.map(|opened| opened.info()))
    }

    /// Verifies every byte and decodes none; `None` if there is no snapshot.
    ///
    /// # Durability
    /// Nothing is changed.
    ///
    /// # Cost
    /// No sync. The file is read once, in memory for 1 MiB.
    ///
    /// # Errors
    /// As [`load`](SnapshotLoader::load) but for what comes after the checksums: `Codec`, `Failed`, `TooLarge` and another codec never.
    pub fn verify(&mut self) -> Result<Option<SnapshotInfo>> {
        let Some(opened) = self.open()? else { return Ok(None) };
        match &opened.head {
            Head::Frame(header) => frame::verify(&*opened.file, *header)?,
            Head::Blocks(..) => blocks::verify(&*opened.file).map(drop)?,
        }
        Ok(Some(opened.info()))
    }

    /// The payload, verified and not decoded, whatever codec wrote it: for tools. `None` if there is no snapshot.
    ///
    /// # Durability
    /// Nothing is changed.
    ///
    /// # Cost
    /// As [`load`](SnapshotLoader::load).
    ///
    /// # Errors
    /// As [`load`](SnapshotLoader::load); `Codec`, `Failed` and another codec never.
    pub fn load_bytes(&mut self) -> Result<Option<FrameBytes>> {
        let Some(opened) = self.open()? else { return Ok(None) };
        let bytes = self.read(&opened)?;
        Ok(Some(FrameBytes { info: opened.info(), bytes }))
    }

    fn open(&self) -> Result<Option<Opened>> {
        let resolved = Place::resolve(&*self.options.fs, LOAD, &self.path, Symlink::Follow);
        let place = match resolved {
            Ok((place, _)) => place,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let Some(file) = place.open(LOAD)? else { return Ok(None) };
        let size = size_of(&*file)?;
        if size == 0 {
            if self.options.empty_is_none {
                return Ok(None);
            }
            let what = "it is empty: the snapshot that was there is lost";
            return Err(damaged(&*file, 0, what));
        }
        let head = if blocks::is_blocks(&*file)? {
            Head::Blocks(blocks::read_header(&*file)?, blocks::read_trailer(&*file)?)
        } else {
            Head::Frame(frame::read_header(&*file, size, self.options.version)?)
        };
        Ok(Some(Opened { path: place.path(), file, size, head }))
    }

    /// The payload, verified.
    fn read(&self, opened: &Opened) -> Result<Vec<u8>> {
        let (len, max) = (opened.payload_bytes(), self.options.max_payload);
        if len > max {
            let what = format!("it has {len} bytes, and `max_payload` is {max}");
            return Err(Error::new(ErrorKind::TooLarge, LOAD, &opened.path, what));
        }
        match &opened.head {
            Head::Frame(header) => frame::load(&*opened.file, *header),
            Head::Blocks(..) => blocks::load(&*opened.file).map(|(_, _, payload)| payload),
        }
    }
}

impl<S, C: Codec<S>> SnapshotLoader<S> for SnapshotFsLoader<S, C> {
    fn load(&mut self) -> Result<Option<S>> {
        let Some(opened) = self.open()? else { return Ok(None) };
        let fail = |kind, what| Error::new(kind, LOAD, &opened.path, what);
        if let Head::Blocks(header, _) = &opened.head
            && header.codec != C::NAME
        {
            let (found, ours) = (header.codec.escape_default(), C::NAME);
            let what = format!("the codec \"{found}\" wrote it, and \"{ours}\" is to read it");
            return Err(fail(ErrorKind::Precondition, what));
        }
        let payload = self.read(&opened)?;
        let decoded = self.options.codec.decode(&payload);
        let value = decoded.map_err(|e| e.with_path(&opened.path))?;
        drop(payload);
        match self.options.validate.map(|validate| validate(&value)) {
            Some(Err(why)) => {
                Err(fail(ErrorKind::Failed, format!("the validation refuses it: {why}")))
            }
            _ => Ok(Some(value)),
        }
    }
}

/// A snapshot whose headers verify.
struct Opened {
    path: PathBuf,
    file: Arc<dyn File>,
    size: u64,
    head: Head,
}

enum Head {
    Frame(frame::Header),
    Blocks(blocks::Header, Totals),
}

impl Opened {
    fn payload_bytes(&self) -> u64 {
        match &self.head {
            Head::Frame(header) => u64::from(header.len),
            Head::Blocks(_, totals) => totals.raw,
        }
    }

    fn info(&self) -> SnapshotInfo {
        match &self.head {
            Head::Frame(header) => SnapshotInfo::of_frame(&self.path, *header, self.size),
            Head::Blocks(header, totals) => SnapshotInfo::of_blocks(&self.path, header, *totals),
        }
    }
}

impl<S, C> fmt::Debug for SnapshotFsLoader<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFsLoader")
            .field("path", &self.path)
            .field("options", &self.options)
            .finish()
    }
}
