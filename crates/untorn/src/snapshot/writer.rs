//! Writes a snapshot: the value through the codec into a temporary, which takes the name when it is closed.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{Codec, Json};
use crate::commit::{AtomicFile, ReplaceOptions};
use crate::fs::{File, Fs};
use crate::{Error, ErrorKind, Outcome, Result};

use super::blocks::{self, BlocksWriter, Totals};
use super::bytes::{damaged, size_of};
use super::frame::{self, FrameWriter};
use super::{Layout, SnapshotOptions};

const WRITE: &str = "write snapshot";

/// Writes one snapshot.
pub trait SnapshotWriter<S> {
    /// Writes the whole value. A second call replaces what the first one wrote.
    ///
    /// # Durability
    /// None: nothing is visible before [`close`](Self::close). If the process dies or power fails, the file is what it was.
    ///
    /// # Cost
    /// No sync. The value is encoded, and written as it comes: 128 KiB at a time, or in blocks of 1 MiB.
    ///
    /// # Errors
    /// All are `Unchanged`. `Failed` if the validation refuses the value; `Codec` if it does not encode; `TooLarge`; `NoSpace`; `Io`. After one of
    /// them there is nothing to close: the writer is `Incomplete` until a write succeeds. `Poisoned` after a failed `flush`.
    fn write(&mut self, snapshot: &S) -> Result<()>;

    /// Syncs what was written to the temporary. The file that it is to become stays what it was: only [`close`](Self::close)
    /// publishes.
    ///
    /// # Durability
    /// None of the snapshot. It makes a later `close` short, since most of the bytes are on the disk then.
    ///
    /// # Cost
    /// One sync; none if nothing was written yet.
    ///
    /// # Errors
    /// `Incomplete` after a failed write. The system's, if the sync fails; then the writer is `Poisoned`, since a
    /// temporary whose sync failed never takes the name: drop it, and write with a new one.
    fn flush(&mut self) -> Result<()>;

    /// Publishes what was written.
    ///
    /// # Durability
    /// **On `Ok`** the snapshot is in place and survives a power cut. **On `Err`** the temporary is gone and [`Error::outcome`] says:
    /// `Unchanged`; `Unknown` if the rename or the last sync failed; `Applied` with `Unsupported`, if it is in place and the
    /// directory cannot be synced. **If the process dies** or **if power fails** before, the file is the old one or the new one, whole.
    ///
    /// # Cost
    /// Two syncs (file, directory) and one rename; with `verify_after_write` it is read once. Blocks.
    ///
    /// # Errors
    /// `Incomplete` if nothing was written, or the last write failed; `Stale` by [`SnapshotOptions::if_newer_than`]; `Damaged` if it does not
    /// read back; `Poisoned` after a failed `flush`; else as [`AtomicFile::commit`].
    fn close(self) -> Result<()>;
}

/// Writes one snapshot into a file. See the [module](super).
///
/// Dropping it, or the death of the process, leaves the file as it was. The temporary beside it is unlinked then, or taken by the next
/// writer of this path.
///
/// # On disk
/// docs/FORMAT.md#snapshots.
///
/// # Example
/// ```
/// # #[cfg(feature = "json")] {
/// use std::collections::BTreeMap;
/// use untorn::snapshot::{SnapshotFsWriter, SnapshotWriter};
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("volumes.snap");
/// let mut writer = SnapshotFsWriter::new(path.clone())?;
/// writer.write(&BTreeMap::from([("kitchen".to_owned(), 7)]))?;
/// assert!(!path.exists());
/// writer.close()?;
/// assert_eq!(std::fs::metadata(path)?.len(), 12 + r#"{"kitchen":7}"#.len() as u64);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SnapshotFsWriter<S, C = Json> {
    path: PathBuf,
    options: SnapshotOptions<S, C>,
    file: AtomicFile,
    /// Drawn ahead, since it can fail.
    salt: u32,
    state: State,
}

enum State {
    Nothing,
    Failed,
    Whole(Written),
    /// The sync failed, and the temporary must not get the name.
    Poisoned(Arc<Error>),
}

/// What a read-back must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Frame(frame::Header),
    Blocks(Totals),
}

impl<S> SnapshotFsWriter<S>
where
    Json: Codec<S>,
{
    /// Begins a snapshot in the Frame layout, version 4, in JSON. Also takes the temporaries that dead writers of this path left.
    ///
    /// # Durability
    /// The file is what it was.
    ///
    /// # Cost
    /// No sync. One temporary, and one listing of the directory.
    ///
    /// # Errors
    /// `InvalidInput` if the path has no file name; `NotFound` if the directory does not exist; `Precondition` if the path leads to
    /// anything but a regular file; `NoSpace`; `ReadOnly`; `Io`.
    pub fn new(path: PathBuf) -> Result<Self> {
        Self::with(path, SnapshotOptions::new())
    }
}

impl<S, C: Codec<S>> SnapshotFsWriter<S, C> {
    /// Begins a snapshot with options. As [`new`](SnapshotFsWriter::new).
    ///
    /// # Errors
    /// As [`new`](SnapshotFsWriter::new); `InvalidInput` also for a number in the Frame layout, which has no room for one, for `seq` and
    /// `if_newer_than` that differ, and for a codec whose name is not 1 to 16 bytes of ASCII.
    pub fn with(path: impl AsRef<Path>, options: SnapshotOptions<S, C>) -> Result<Self> {
        let path = path.as_ref();
        check(path, &options)?;
        let mut replace = ReplaceOptions::new().owner(options.owner).fs(Arc::clone(&options.fs));
        replace.mode = options.mode;
        let file = AtomicFile::with(path, &replace).map_err(|e| e.during(WRITE))?;
        file.sweep_left_overs();
        let salt = some_salt(&*options.fs, path)?;
        Ok(Self { path: path.to_path_buf(), options, file, salt, state: State::Nothing })
    }

    fn encode(&mut self, snapshot: &S) -> Result<Written> {
        let options = &self.options;
        let limit = Limit { layout: options.layout, max: options.max_payload, path: &self.path };
        let codec = &options.codec;
        let fail = |e| Error::stream(WRITE, e);
        match options.layout {
            Layout::Frame => {
                let frame = FrameWriter::new(&mut self.file).map_err(fail)?;
                let frame = stream(codec, snapshot, limit, frame)?;
                let header = frame.finish(options.version).map_err(fail)?;
                self.file.patch(&header.encode(), 0)?;
                Ok(Written::Frame(header))
            }
            Layout::Blocks => {
                let header = blocks::Header {
                    store_id: [0; 16],
                    seq: options.number(),
                    pos: None,
                    machine_version: 0,
                    digest: None,
                    codec: C::NAME.to_owned(),
                    machine: String::new(),
                    salt: self.salt,
                };
                let blocks = BlocksWriter::new(&mut self.file, &header).map_err(fail)?;
                let blocks = stream(codec, snapshot, limit, blocks)?;
                let totals = blocks.finish().map_err(fail)?;
                self.file.flush().map_err(fail)?;
                Ok(Written::Blocks(totals))
            }
        }
    }

    /// See [`SnapshotOptions::if_newer_than`].
    fn must_be_newer(&self, seq: u64) -> Result<()> {
        let Some(file) = self.file.present()? else { return Ok(()) };
        if !blocks::is_blocks(&*file)? {
            return Ok(());
        }
        let there = blocks::read_header(&*file)?.seq;
        if there < seq {
            return Ok(());
        }
        let what = format!("a snapshot with number {there} stands there, and this one has {seq}");
        Err(Error::new(ErrorKind::Stale, WRITE, &self.path, what))
    }
}

fn check<S, C: Codec<S>>(path: &Path, options: &SnapshotOptions<S, C>) -> Result<()> {
    let refused = |what: &'static str| Err(Error::new(ErrorKind::InvalidInput, WRITE, path, what));
    let known = options.if_newer_than.is_none_or(|seq| options.seq == 0 || options.seq == seq);
    match options.layout {
        _ if !known => refused("`seq` and `if_newer_than` are the same number; set one of them"),
        Layout::Frame if options.number() != 0 || options.if_newer_than.is_some() => {
            refused("the Frame layout has no room for a number; use Layout::Blocks")
        }
        Layout::Blocks if !blocks::can_name(C::NAME) => {
            refused("the codec's name is not 1 to 16 bytes of ASCII")
        }
        _ => Ok(()),
    }
}

/// Random and not 0.
fn some_salt(fs: &dyn Fs, path: &Path) -> Result<u32> {
    let mut salt = [0; 4];
    fs.entropy(&mut salt).map_err(|e| Error::system(WRITE, path, e))?;
    Ok(u32::from_le_bytes(salt).max(1))
}

impl<S, C: Codec<S>> SnapshotWriter<S> for SnapshotFsWriter<S, C> {
    fn write(&mut self, snapshot: &S) -> Result<()> {
        if let State::Poisoned(first) = &self.state {
            return Err(poisoned(WRITE, &self.path, first));
        }
        let used = !matches!(self.state, State::Nothing);
        self.state = State::Failed;
        if let Some(Err(why)) = self.options.validate.map(|validate| validate(snapshot)) {
            let what = format!("the validation refuses it: {why}");
            return Err(Error::new(ErrorKind::Failed, WRITE, &self.path, what));
        }
        if used {
            self.file.restart()?;
        }
        let written = self.encode(snapshot).map_err(|e| match e.path() {
            None => e.with_path(&self.path),
            Some(_) => e,
        })?;
        self.state = State::Whole(written);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match &self.state {
            State::Nothing => Ok(()),
            State::Failed => Err(incomplete("flush snapshot", &self.path)),
            State::Poisoned(first) => Err(poisoned("flush snapshot", &self.path, first)),
            State::Whole(_) => self.file.sync().map_err(|e| {
                let first = Arc::new(e);
                let error = Error::share(&first);
                self.state = State::Poisoned(first);
                error
            }),
        }
    }

    fn close(self) -> Result<()> {
        let written = match &self.state {
            State::Whole(written) => *written,
            State::Poisoned(first) => return Err(poisoned("close snapshot", &self.path, first)),
            State::Nothing | State::Failed => return Err(incomplete("close snapshot", &self.path)),
        };
        if let Some(seq) = self.options.if_newer_than {
            self.must_be_newer(seq)?;
        }
        if self.options.verify_after_write {
            self.file.commit_checked(|file| read_back(file, written))
        } else {
            self.file.commit()
        }
    }
}

#[cold]
fn incomplete(operation: &'static str, path: &Path) -> Error {
    let what = "no write has succeeded, so there is nothing to publish; the file stays as it was";
    Error::new(ErrorKind::Incomplete, operation, path, what)
}

#[cold]
fn poisoned(operation: &'static str, path: &Path, first: &Arc<Error>) -> Error {
    Error::poisoned(operation, path, Arc::clone(first))
        .with_outcome(Outcome::Unchanged)
        .because("a sync of the temporary failed, so it is not published; write with a new writer")
}

/// Compares what the file holds with what was written.
fn read_back(file: &dyn File, written: Written) -> Result<()> {
    let found = match written {
        Written::Frame(header) => {
            let found = frame::read_header(file, size_of(file)?, header.version);
            found.and_then(|found| {
                frame::verify(file, found)?;
                Ok(Written::Frame(found))
            })
        }
        Written::Blocks(_) => blocks::verify(file).map(|(_, totals)| Written::Blocks(totals)),
    };
    let what = "what was written does not read back; the disk or the memory fails";
    match found {
        Ok(found) if found == written => Ok(()),
        Ok(_) => Err(damaged(file, 0, "").because(what)),
        Err(e) if e.kind() == ErrorKind::Io => Err(e),
        Err(e) => Err(e.with_kind(ErrorKind::Damaged).because(what)),
    }
}

/// How large a payload may be.
#[derive(Clone, Copy)]
struct Limit<'a> {
    layout: Layout,
    max: u64,
    path: &'a Path,
}

impl Limit<'_> {
    fn bytes(self) -> u64 {
        match self.layout {
            Layout::Frame => self.max.min(frame::PAYLOAD_MAX),
            Layout::Blocks => self.max,
        }
    }

    #[cold]
    fn passed(self) -> Error {
        let max = self.bytes();
        let what = if self.max > max || max == frame::PAYLOAD_MAX && self.layout == Layout::Frame {
            format!(
                "it has more than the {max} bytes of the Frame layout; use Layout::Blocks, which takes any size"
            )
        } else {
            format!("it has more than {max} bytes; raise `max_payload`, also for who loads it")
        };
        Error::new(ErrorKind::TooLarge, WRITE, self.path, what)
    }
}

/// Counts what passes. The first failure stays: a codec may hide it.
struct Counted<'a, W> {
    out: W,
    left: u64,
    limit: Limit<'a>,
    failed: Option<Arc<Error>>,
}

impl<W> Counted<'_, W> {
    #[cold]
    fn fail(&mut self, error: Error) -> io::Error {
        let first = self.failed.get_or_insert_with(|| Arc::new(error));
        Error::share(first).into()
    }
}

impl<W: io::Write> io::Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(first) = &self.failed {
            return Err(Error::share(first).into());
        }
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(self.fail(self.limit.passed()));
        };
        self.left = left;
        self.out.write_all(bytes).map_err(|e| self.fail(Error::stream(WRITE, e)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Encodes the value into `out`, up to the limit.
fn stream<S, C: Codec<S>, W: io::Write>(
    codec: &C,
    snapshot: &S,
    limit: Limit<'_>,
    out: W,
) -> Result<W> {
    let mut counted = Counted { out, left: limit.bytes(), limit, failed: None };
    let encoded = codec.encode_to(snapshot, &mut counted);
    match counted.failed {
        Some(first) => Err(Error::share(&first)),
        None => encoded.map(|()| counted.out),
    }
}

impl<S, C> fmt::Debug for SnapshotFsWriter<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Nothing => "nothing written",
            State::Failed => "failed",
            State::Whole(_) => "whole",
            State::Poisoned(_) => "poisoned",
        };
        f.debug_struct("SnapshotFsWriter")
            .field("path", &self.path)
            .field("layout", &self.options.layout)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{How, OsFs};

    /// A write that got lost may leave another snapshot, whole: what was written must be there, not any.
    #[test]
    fn another_whole_snapshot_does_not_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = OsFs::new().open_dir(dir.path()).unwrap();
        let frame: &[u8] = include_bytes!("../../tests/golden/v1/frame.snap");
        let blocks: &[u8] = include_bytes!("../../tests/golden/v1/blocks.snap");
        let header = frame::Header::decode(frame).unwrap();
        let totals = Totals { blocks: 1, raw: 7, stored: 7, crc: 0x0ad7_d182 };
        let other = frame::Header { crc: header.crc ^ 1, ..header };
        let fewer = Totals { crc: 0, ..totals };
        for (bytes, right, wrong) in [
            (frame, Written::Frame(header), Written::Frame(other)),
            (blocks, Written::Blocks(totals), Written::Blocks(fewer)),
        ] {
            let file = dir.open("state".as_ref(), How::Create(0o600)).unwrap();
            file.set_len(0).unwrap();
            file.write_at(bytes, 0).unwrap();
            read_back(&*file, right).unwrap();
            assert_eq!(read_back(&*file, wrong).unwrap_err().kind(), ErrorKind::Damaged);
            assert!(read_back(&*file, Written::Frame(other)).is_err());
        }
    }
}
