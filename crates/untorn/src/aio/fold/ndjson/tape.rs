//! Where the lines of a session come from: pieces of a file or of a pipe, and the line that is not whole yet.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::aio::blocking;
use crate::fold::ndjson::{Found, Lines};
use crate::fs::{File, Fs, How};
use crate::{Error, ErrorKind, Result};

/// What is read at once.
const PIECE: usize = 256 << 10;
/// How long a pipe is silent before it says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Where the bytes of a session come from, and the line that is not whole yet.
pub(super) struct Tape {
    pub(super) bytes: Bytes,
    lines: Lines,
    /// What is wrong with the next line; those before it come first.
    failed: Option<Error>,
}

pub(super) enum Bytes {
    File { file: Arc<dyn File>, offset: u64 },
    Pipe(mpsc::Receiver<io::Result<Vec<u8>>>),
}

/// What a look at the input brought.
pub(super) enum Piece {
    Lines(Vec<Found>),
    /// Nothing came for a while.
    Quiet,
    /// Nothing more is there now.
    Dry,
    /// Nothing will be there any more.
    Over(Option<Found>),
}

impl Tape {
    pub(super) const fn new(bytes: Bytes, max_line: usize) -> Self {
        Self { bytes, lines: Lines::new(max_line), failed: None }
    }

    /// The lines of the next piece. `ends` says whether the end of the bytes is the end of the stream.
    pub(super) async fn read(mut self, ends: bool) -> Result<(Self, Piece)> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let Bytes::Pipe(pipe) = &mut self.bytes {
            let Ok(received) = tokio::time::timeout(HEARTBEAT, pipe.recv()).await else {
                return Ok((self, Piece::Quiet));
            };
            let bytes = match received {
                Some(bytes) => bytes.map_err(|cause| Error::stream("read lines", cause))?,
                None => Vec::new(),
            };
            return self.cut(&bytes, ends);
        }
        let read = move || {
            let bytes = self.read_file()?;
            self.cut(&bytes, ends)
        };
        blocking(Path::new("ndjson"), read).await
    }

    fn read_file(&mut self) -> Result<Vec<u8>> {
        let Bytes::File { file, offset } = &mut self.bytes else { return Ok(Vec::new()) };
        let mut bytes = vec![0; PIECE];
        let count = file.read_at(&mut bytes, *offset);
        let count = count.map_err(|cause| Error::system("read", file.path(), cause))?;
        bytes.truncate(count);
        *offset = offset.saturating_add(count as u64);
        Ok(bytes)
    }

    fn cut(mut self, bytes: &[u8], ends: bool) -> Result<(Self, Piece)> {
        if bytes.is_empty() {
            if !ends {
                return Ok((self, Piece::Dry));
            }
            let last = self.lines.finish();
            return match self.lines.torn() {
                None => Ok((self, Piece::Over(last))),
                Some(torn) => {
                    let what = format!("line {} at byte {}: it has no end", torn.line, torn.offset);
                    Err(Error::of_caller(ErrorKind::Codec, "read lines", what).at(torn.offset))
                }
            };
        }
        self.lines.push(bytes);
        let mut found = Vec::new();
        loop {
            match self.lines.next() {
                Ok(Some(line)) => found.push(line),
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok((self, Piece::Lines(found)))
    }
}

pub(super) fn open(fs: &dyn Fs, path: &Path) -> Result<Arc<dyn File>> {
    let system = |cause| Error::system("open", path, cause);
    let real = fs.canonicalize(path).map_err(system)?;
    let parent = real.parent().unwrap_or(Path::new("/"));
    let name = real.file_name().unwrap_or(OsStr::new("."));
    fs.open_dir(parent).and_then(|dir| dir.open(name, How::Read)).map_err(system)
}

/// Reads until the end, or until nobody listens.
pub(super) fn read_on_a_thread(
    mut reader: Box<dyn Read + Send>,
) -> Result<mpsc::Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel(4);
    let read = move || {
        let mut bytes = vec![0; PIECE];
        loop {
            let piece = match reader.read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => Ok(bytes.get(..count).unwrap_or_default().to_vec()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => Err(cause),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("untorn-ndjson".to_owned()).spawn(read);
    started.map_err(|cause| Error::stream("start a thread that reads", cause))?;
    Ok(receiver)
}
