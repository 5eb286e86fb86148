//! A source of lines of JSON: a pipe, or a file that may grow. The lines: [`fold::ndjson`](crate::fold::ndjson).
//!
//! Positions are those of the lines. Lines at or before the cursor are passed over, so that a file may be followed again; a file that ends
//! before the cursor is an older one, and refused.

mod tape;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::ready;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::tape::{Bytes, Piece, Tape, open, read_on_a_thread};
use super::source::{BoxFuture, Listed, Listing, Scope, Source, SourceEvent, SourceInfo, Start};
use crate::aio::blocking;
use crate::fold::ndjson::{Found, Line, NdjsonOptions};
use crate::fold::{CursorOrder, KvUpdate, Lineage, WatchCursor};
use crate::fs::{Fs, OsFs};
use crate::{Error, ErrorKind, Result};

/// Entries in a part of a listing.
const CHUNK: usize = 1000;

/// Lines of JSON from a pipe or a file.
#[must_use]
pub struct NdjsonSource {
    input: Input,
    name: String,
    max_line: usize,
    max_listing: usize,
    poll: Duration,
    order: CursorOrder,
    session: Option<Session>,
}

enum Input {
    File {
        path: PathBuf,
        grows: bool,
        fs: Arc<dyn Fs>,
    },
    /// A reader that waits to be read by a thread of its own.
    Pipe(Option<Box<dyn Read + Send>>),
}

/// What is between `open` and `close`.
struct Session {
    tape: Option<Tape>,
    scope: Scope,
    /// Lines up to here were had before.
    start: WatchCursor,
    sent: WatchCursor,
    /// The last position that any line has.
    last: WatchCursor,
    caught_up: bool,
    finished: bool,
}

impl NdjsonSource {
    /// A file, up to its end: then the stream is over. A last line that is torn ends the run with `Codec`, behind all lines before it. Its
    /// path is its name.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.display().to_string();
        let fs: Arc<dyn Fs> = Arc::new(OsFs::new());
        Self::new(Input::File { path, grows: false, fs }, name)
    }

    /// A file that grows: at its end it is looked at again from time to time. A last line without an end waits for it. Its path is its
    /// name.
    pub fn growing_file(path: impl Into<PathBuf>) -> Self {
        let mut source = Self::file(path);
        if let Input::File { grows, .. } = &mut source.input {
            *grows = true;
        }
        source
    }

    /// The standard input, up to its end.
    pub fn stdin() -> Self {
        Self::reader("stdin", io::stdin())
    }

    /// A reader that blocks, up to its end, under a name that tells it from others.
    ///
    /// A thread of its own reads it, from the first time it is opened until it ends. What was read is not there a second time: a
    /// connection that is made again ends the run.
    pub fn reader(name: impl Into<String>, reader: impl Read + Send + 'static) -> Self {
        Self::new(Input::Pipe(Some(Box::new(reader))), name.into())
    }

    fn new(input: Input, name: String) -> Self {
        Self {
            input,
            name,
            max_line: NdjsonOptions::new().max_line,
            max_listing: 1 << 30,
            poll: Duration::from_millis(200),
            order: CursorOrder::Bytes,
            session: None,
        }
    }

    /// Sets the name under which it is known again.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how long a line may be, and how many bytes of keys and values a listing may have in memory. Default 96 MiB and 1 GiB.
    pub const fn limits(mut self, max_line: usize, max_listing: usize) -> Self {
        (self.max_line, self.max_listing) = (max_line, max_listing);
        self
    }

    /// Sets how often a file that grows is looked at. Default five times in a second.
    pub const fn poll_every(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Sets that the positions have no order. Then a file is followed from its start each time.
    pub const fn order(mut self, order: CursorOrder) -> Self {
        self.order = order;
        self
    }

    async fn tape(&mut self) -> Result<Tape> {
        let bytes = match &mut self.input {
            Input::File { path, fs, .. } => {
                let (path, fs) = (path.clone(), Arc::clone(fs));
                let file = blocking(&path.clone(), move || open(&*fs, &path)).await?;
                Bytes::File { file, offset: 0 }
            }
            Input::Pipe(reader) => {
                let reader = reader.take().ok_or_else(|| {
                    let what = "what was read from the pipe is not there a second time";
                    Error::of_caller(ErrorKind::Failed, "open", what)
                })?;
                Bytes::Pipe(read_on_a_thread(reader)?)
            }
        };
        Ok(Tape::new(bytes, self.max_line))
    }

    async fn next_event(&mut self) -> Result<SourceEvent> {
        let closed = || Error::of_caller(ErrorKind::Closed, "next", "it is not open");
        let grows = matches!(self.input, Input::File { grows: true, .. });
        loop {
            let session = self.session.as_mut().ok_or_else(closed)?;
            if session.finished {
                return Ok(SourceEvent::Finished);
            }
            // A future that is dropped takes it along; then the session is over.
            let tape = session.tape.take().ok_or_else(closed)?;
            let (tape, piece) = tape.read(!grows).await?;
            let session = self.session.as_mut().ok_or_else(closed)?;
            session.tape = Some(tape);
            let found = match piece {
                Piece::Lines(found) => found,
                Piece::Quiet => return Ok(SourceEvent::Progress(session.sent.clone())),
                Piece::Dry | Piece::Over(None) => {
                    session.finished = matches!(piece, Piece::Over(_));
                    if !session.caught_up {
                        return session.catch_up(self.order);
                    }
                    if session.finished {
                        continue;
                    }
                    tokio::time::sleep(self.poll).await;
                    self.same_file().await?;
                    let session = self.session.as_ref().ok_or_else(closed)?;
                    return Ok(SourceEvent::Progress(session.sent.clone()));
                }
                Piece::Over(Some(found)) => vec![found],
            };
            if let Some(event) = session.event(found, self.order) {
                return Ok(event);
            }
        }
    }

    /// Whether the file that is read is still the one at the path, and no shorter.
    async fn same_file(&mut self) -> Result<()> {
        let Input::File { path, fs, .. } = &self.input else { return Ok(()) };
        let tape = self.session.as_ref().and_then(|session| session.tape.as_ref());
        let Some(Bytes::File { file, offset }) = tape.map(|tape| &tape.bytes) else {
            return Ok(());
        };
        let (path, fs, held, read) = (path.clone(), Arc::clone(fs), Arc::clone(file), *offset);
        blocking(&path.clone(), move || {
            let system = |cause| Error::system("follow", &path, cause);
            let now = open(&*fs, &path)?.stat().map_err(system)?;
            if now.same_inode(&held.stat().map_err(system)?) && now.len >= read {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Stale, "follow", &path, "another file has its place"))
        })
        .await
    }
}

impl Session {
    /// What these lines say to who follows; nothing if they were had before or are not in the scope.
    fn event(&mut self, found: Vec<Found>, order: CursorOrder) -> Option<SourceEvent> {
        let (mut updates, before) = (Vec::new(), self.sent.clone());
        for line in found {
            let cursor = line.said.cursor();
            if !cursor.is_none() {
                if cursor.reaches(&self.last, order) {
                    self.last = cursor.clone();
                }
                if order == CursorOrder::Bytes && self.start.reaches(&cursor, order) {
                    continue;
                }
                if cursor.reaches(&self.sent, order) || order == CursorOrder::Opaque {
                    self.sent = cursor;
                }
            }
            match line.said {
                Line::Update(update) if self.scope.covers(update.key()) => updates.push(update),
                Line::Update(_) | Line::Progress(_) => {}
            }
        }
        let cursor = self.sent.clone();
        if !updates.is_empty() {
            return Some(SourceEvent::batch(updates, cursor));
        }
        (cursor != before).then_some(SourceEvent::Progress(cursor))
    }

    /// At the end of what is there for the first time: a file that ends before the cursor is not the one that was followed.
    fn catch_up(&mut self, order: CursorOrder) -> Result<SourceEvent> {
        self.caught_up = true;
        if order == CursorOrder::Bytes && !self.last.reaches(&self.start, order) {
            let what = format!("it ends at {}, and the cursor is {}", self.last, self.start);
            return Err(Error::of_caller(ErrorKind::LineageMismatch, "follow", what));
        }
        Ok(SourceEvent::CaughtUp(self.sent.clone()))
    }
}

impl Source for NdjsonSource {
    fn identify(&mut self) -> BoxFuture<'_, Result<SourceInfo>> {
        let lineage = Lineage { kind: "ndjson".to_owned(), id: self.name.clone().into_bytes() };
        let mut info = SourceInfo::new(lineage).order(self.order);
        if matches!(self.input, Input::File { .. }) {
            // All of it is there; how far it goes is known when it was read.
            info.floor = Some(WatchCursor::none());
            info.evicts_current_values = Some(false);
        }
        Box::pin(ready(Ok(info)))
    }

    fn open<'a>(&'a mut self, start: Start, scope: &'a Scope) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.session = None;
            let start = match start {
                Start::Fresh => WatchCursor::none(),
                Start::After(cursor) => cursor,
            };
            let tape = Some(self.tape().await?);
            let (sent, last) = (start.clone(), WatchCursor::none());
            let (scope, caught_up, finished) = (scope.clone(), false, false);
            self.session = Some(Session { tape, scope, start, sent, last, caught_up, finished });
            Ok(())
        })
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(self.next_event())
    }

    /// Reads the whole file and keeps what is true at its end, in memory.
    fn list<'a>(
        &'a mut self,
        scope: &'a Scope,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Listing + 'a>>> {
        Box::pin(async move {
            if matches!(self.input, Input::Pipe(_)) {
                let what = "a pipe cannot be listed";
                return Err(Error::of_caller(ErrorKind::Unsupported, "list", what));
            }
            let (mut held, mut bytes, mut end) = (BTreeMap::new(), 0_usize, WatchCursor::none());
            let mut tape = self.tape().await?;
            loop {
                let (rest, piece) = tape.read(true).await?;
                tape = rest;
                let (found, over) = match piece {
                    Piece::Lines(found) => (found, false),
                    Piece::Dry | Piece::Quiet => (Vec::new(), true),
                    Piece::Over(found) => (found.into_iter().collect(), true),
                };
                for line in found {
                    let cursor = line.said.cursor();
                    if !cursor.is_none()
                        && (cursor.reaches(&end, self.order) || self.order == CursorOrder::Opaque)
                    {
                        end = cursor;
                    }
                    let Line::Update(update) = line.said else { continue };
                    if scope.covers(update.key()) {
                        bytes = hold(&mut held, update, keys_only, bytes);
                    }
                    if bytes > self.max_listing {
                        let what =
                            format!("more than {} bytes of keys and values", self.max_listing);
                        return Err(Error::of_caller(ErrorKind::TooLarge, "list", what));
                    }
                }
                if over {
                    break;
                }
            }
            let entries: VecDeque<KvUpdate> = held.into_values().collect();
            let listing: Box<dyn Listing + 'a> = Box::new(FileListing { entries, end });
            Ok(listing)
        })
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.session = None;
        Box::pin(ready(()))
    }
}

/// Takes an update into what is true; how many bytes that is then.
fn hold(
    held: &mut BTreeMap<String, KvUpdate>,
    update: KvUpdate,
    keys_only: bool,
    bytes: usize,
) -> usize {
    let size = |update: &KvUpdate| {
        update.key().len().saturating_add(update.value().map_or(0, <[u8]>::len))
    };
    let key = update.key().to_owned();
    let (old, new) = match update {
        KvUpdate::Put(mut entry) => {
            if keys_only {
                entry.value = Vec::new();
            }
            let update = KvUpdate::Put(entry);
            let new = size(&update);
            (held.insert(key, update), new)
        }
        KvUpdate::Delete { .. } | KvUpdate::Purge { .. } => (held.remove(&key), 0),
    };
    bytes.saturating_add(new).saturating_sub(old.as_ref().map_or(0, size))
}

struct FileListing {
    entries: VecDeque<KvUpdate>,
    end: WatchCursor,
}

impl Listing for FileListing {
    fn next(&mut self) -> BoxFuture<'_, Result<Listed>> {
        let count = self.entries.len().min(CHUNK);
        let listed = if count == 0 {
            Listed::End(self.end.clone())
        } else {
            Listed::Chunk(self.entries.drain(..count).collect())
        };
        Box::pin(ready(Ok(listed)))
    }
}

impl fmt::Debug for NdjsonSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdjsonSource").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
