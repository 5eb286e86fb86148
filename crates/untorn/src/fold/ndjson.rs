//! A key-value stream as text: one JSON object in each line.
//!
//! ```text
//! {"op":"put","key":"a","value":"1","rev":7}
//! {"op":"put","key":"b","value_b64":"/wA=","rev":8}
//! {"op":"delete","key":"a","rev":9}
//! {"op":"progress","rev":12}
//! ```
//! `rev` is the position of the line in the stream, a number; `rev_hex` one of any bytes. An update without one leaves the cursor where
//! it is. Other members are not looked at. An empty line is none.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::{KEY_MAX, KvUpdate, SnapshotStore, VersionToken, WatchCursor};
use crate::{Error, ErrorKind, Result};

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line {
    /// Something of a key.
    Update(KvUpdate),
    /// The stream has come so far.
    Progress(WatchCursor),
}

impl Line {
    /// Where in the stream it is; none if it does not say.
    pub fn cursor(&self) -> WatchCursor {
        match self {
            Self::Update(update) => WatchCursor::from_version(update.version().clone()),
            Self::Progress(cursor) => cursor.clone(),
        }
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    /// `Codec` if it is no JSON or says nothing; `TooLarge` for a key above 65,535 bytes or a version above 255.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(line).map_err(refused)?;
        let Value::Object(object) = value else { return Err(refused("it is no object")) };
        let op = text(&object, "op")?.ok_or_else(|| refused("it has no `op`"))?;
        let version = version_of(&object)?;
        if op == "progress" {
            if version.is_unknown() {
                return Err(refused("`progress` without `rev` or `rev_hex`"));
            }
            return Ok(Self::Progress(WatchCursor::from_version(version)));
        }
        let key = text(&object, "key")?.ok_or_else(|| refused("it has no `key`"))?.to_owned();
        if key.len() > KEY_MAX {
            let what = format!("keys have {KEY_MAX} bytes at most, and this has {}", key.len());
            return Err(Error::of_caller(ErrorKind::TooLarge, "read line", what));
        }
        let value = match (text(&object, "value")?, text(&object, "value_b64")?) {
            (Some(_), Some(_)) => return Err(refused("both `value` and `value_b64`")),
            (Some(value), None) => Some(value.as_bytes().to_vec()),
            (None, Some(base64)) => {
                Some(from_base64(base64).ok_or_else(|| refused("`value_b64` is no base64"))?)
            }
            (None, None) => None,
        };
        let update = match (op, value) {
            ("put", Some(value)) => KvUpdate::put(key, value, version),
            ("put", None) => return Err(refused("`put` without `value` or `value_b64`")),
            ("delete" | "purge", Some(_)) => return Err(refused("a deletion with a value")),
            ("delete", None) => KvUpdate::delete(key, version),
            ("purge", None) => KvUpdate::Purge { key, version },
            _ => return Err(refused("`op` is put, delete, purge or progress")),
        };
        Ok(Self::Update(update))
    }

    /// Writes the line, with its end.
    pub fn format(&self, out: &mut Vec<u8>) {
        let mut object = Map::new();
        let mut say = |name: &str, text: String| {
            drop(object.insert(name.to_owned(), Value::String(text)));
        };
        match self {
            Self::Progress(_) => say("op", "progress".to_owned()),
            Self::Update(update) => {
                let op = match update {
                    KvUpdate::Put(_) => "put",
                    KvUpdate::Delete { .. } => "delete",
                    KvUpdate::Purge { .. } => "purge",
                };
                say("op", op.to_owned());
                say("key", update.key().to_owned());
                match update.value().map(|value| (std::str::from_utf8(value), value)) {
                    Some((Ok(text), _)) => say("value", text.to_owned()),
                    Some((Err(_), bytes)) => say("value_b64", to_base64(bytes)),
                    None => {}
                }
            }
        }
        let cursor = self.cursor();
        if let Some(number) = cursor.as_u64() {
            drop(object.insert("rev".to_owned(), Value::from(number)));
        } else if !cursor.is_none() {
            let mut hex = String::new();
            for byte in cursor.position() {
                hex.push(hex_digit(byte >> 4));
                hex.push(hex_digit(byte & 15));
            }
            drop(object.insert("rev_hex".to_owned(), Value::String(hex)));
        }
        out.extend_from_slice(Value::Object(object).to_string().as_bytes());
        out.push(b'\n');
    }
}

/// How a stream of lines is applied.
#[derive(Clone, Copy, Debug)]
#[must_use]
#[non_exhaustive]
pub struct NdjsonOptions {
    /// Bytes of a line at most.
    pub max_line: usize,
    /// Updates in a commit at most.
    pub max_ops: usize,
    /// Bytes of lines in a commit at most, and one line more.
    pub max_bytes: usize,
}

impl NdjsonOptions {
    /// The defaults: lines of up to 96 MiB, which holds the largest value; 1000 updates or 4 MiB in a commit.
    pub const fn new() -> Self {
        Self { max_line: 96 << 20, max_ops: 1000, max_bytes: 4 << 20 }
    }

    /// Sets how long a line may be.
    pub const fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes;
        self
    }

    /// Sets how much a commit may have.
    pub const fn batch(mut self, max_ops: usize, max_bytes: usize) -> Self {
        (self.max_ops, self.max_bytes) = (max_ops, max_bytes);
        self
    }
}

impl Default for NdjsonOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NdjsonReport {
    /// Lines that say something.
    pub lines: u64,
    /// Puts among them.
    pub puts: u64,
    /// Deletions and purges among them.
    pub deletes: u64,
    /// The cursor behind them.
    pub cursor: WatchCursor,
    /// What is behind the last whole line, if there is anything: it was not applied.
    pub torn: Option<TornLine>,
}

/// A last line that has no end and is no whole object: its writer died, or still writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is a place")]
pub struct TornLine {
    /// Which line, from 1 on.
    pub line: u64,
    /// Where it begins.
    pub offset: u64,
    /// Bytes that are there.
    pub bytes: u64,
}

/// Applies all lines of a reader, in batches.
///
/// A line whose position is behind the fold's cursor leaves the cursor where it is; the store drops it if it has the key newer. So a
/// file may be applied again.
///
/// # Durability
/// Each batch as the store was told. **On `Err`** the lines before the one that it names were applied.
///
/// # Errors
/// `Codec` or `TooLarge` with line number and offset, for a line that cannot be used; those of the reader, and of
/// [`apply`](SnapshotStore::apply).
///
/// ```
/// # use untorn::fold::ndjson::Line;
/// let line = Line::parse(br#"{"op":"put","key":"a","value":"1","rev":7}"#)?;
/// assert_eq!(line.cursor().as_u64(), Some(7));
/// let error = Line::parse(br#"{"op":"pat"}"#).unwrap_err();
/// assert_eq!(error.kind(), untorn::ErrorKind::Codec);
/// # Ok::<(), untorn::Error>(())
/// ```
pub fn apply_reader<S: SnapshotStore>(
    store: &mut S,
    mut reader: impl BufRead,
    options: &NdjsonOptions,
) -> Result<NdjsonReport> {
    let order = store.cursor_order();
    let mut report = NdjsonReport { cursor: store.cursor(), ..NdjsonReport::default() };
    let mut lines = Lines::new(options.max_line);
    let (mut batch, mut bytes) = (Vec::new(), 0_usize);
    let ended = loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => match fill(&mut reader, &mut lines) {
                Ok(true) => continue,
                Ok(false) => match lines.finish() {
                    Some(line) => line,
                    None => break Ok(()),
                },
                Err(error) => break Err(error),
            },
            Err(error) => break Err(error),
        };
        report.lines = report.lines.saturating_add(1);
        let cursor = line.said.cursor();
        if !cursor.is_none() && cursor.reaches(&report.cursor, order) {
            let seen = report.cursor.seen_evicting();
            report.cursor = cursor.remember_evicting(seen);
        }
        if let Line::Update(update) = line.said {
            let count =
                if update.value().is_some() { &mut report.puts } else { &mut report.deletes };
            *count = count.saturating_add(1);
            bytes = bytes.saturating_add(line.bytes);
            batch.push(update);
        }
        if batch.len() >= options.max_ops.max(1) || bytes >= options.max_bytes {
            store.apply(&batch, &report.cursor)?;
            batch.clear();
            bytes = 0;
        }
    };
    if !batch.is_empty() || report.cursor != store.cursor() {
        store.apply(&batch, &report.cursor)?;
    }
    ended?;
    report.torn = lines.torn();
    Ok(report)
}

fn fill(reader: &mut impl BufRead, lines: &mut Lines) -> Result<bool> {
    loop {
        match reader.fill_buf() {
            Ok(bytes) => {
                // Not all of a large buffer at once: what is here twice is bounded.
                let part = bytes.get(..bytes.len().min(1 << 20)).unwrap_or_default();
                let count = part.len();
                lines.push(part);
                reader.consume(count);
                return Ok(count > 0);
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(Error::stream("read lines", cause)),
        }
    }
}

/// A line and where it was.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) said: Line,
    pub(crate) bytes: usize,
}

/// Bytes that come in any pieces, as lines. It holds one line and one piece at most.
#[derive(Debug)]
pub(crate) struct Lines {
    buf: Vec<u8>,
    /// Where the line in `buf` begins.
    start: usize,
    /// Up to where there is no end of a line, from `start` on.
    looked: usize,
    line: u64,
    offset: u64,
    max: usize,
}

impl Lines {
    pub(crate) const fn new(max: usize) -> Self {
        Self { buf: Vec::new(), start: 0, looked: 0, line: 1, offset: 0, max }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buf.drain(..self.start);
        self.start = 0;
        self.buf.extend_from_slice(bytes);
    }

    /// The next whole line that says something; `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Found>> {
        loop {
            let rest = self.rest();
            let fresh = rest.get(self.looked..).unwrap_or_default();
            let end = fresh.iter().position(|byte| *byte == b'\n');
            let end = end.map(|end| end.saturating_add(self.looked));
            let len = end.unwrap_or(rest.len());
            if len > self.max {
                let what = format!("more than the {} bytes that a line may have", self.max);
                let error = Error::of_caller(ErrorKind::TooLarge, "read line", what);
                return Err(self.placed(&error));
            }
            if end.is_none() {
                self.looked = len;
                return Ok(None);
            }
            let text = rest.get(..len).unwrap_or_default();
            let said = if text.trim_ascii().is_empty() {
                None
            } else {
                Some(Line::parse(text).map_err(|error| self.placed(&error))?)
            };
            self.advance(len.saturating_add(1));
            if let Some(said) = said {
                return Ok(Some(Found { said, bytes: len }));
            }
        }
    }

    /// What is left when no more comes: a whole object is a line, as nothing that follows could make it another one.
    pub(crate) fn finish(&mut self) -> Option<Found> {
        let said = Line::parse(self.rest()).ok()?;
        let bytes = self.rest().len();
        self.advance(bytes);
        Some(Found { said, bytes })
    }

    pub(crate) fn torn(&self) -> Option<TornLine> {
        let bytes = self.rest().len() as u64;
        let blank = self.rest().trim_ascii().is_empty();
        (!blank).then_some(TornLine { line: self.line, offset: self.offset, bytes })
    }

    fn advance(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
        self.offset = self.offset.saturating_add(bytes as u64);
        self.line = self.line.saturating_add(1);
        self.looked = 0;
    }

    fn rest(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }

    fn placed(&self, error: &Error) -> Error {
        let what = format!("line {} at byte {}: {error}", self.line, self.offset);
        Error::of_caller(error.kind(), "read lines", what).at(self.offset)
    }
}

fn refused(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::codec("read line", "ndjson", cause)
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(refused(format!("`{name}` is no text"))),
    }
}

fn version_of(object: &Map<String, Value>) -> Result<VersionToken> {
    match (object.get("rev"), text(object, "rev_hex")?) {
        (None | Some(Value::Null), None) => Ok(VersionToken::unknown()),
        (Some(number), None) => {
            let number = number.as_u64().ok_or_else(|| refused("`rev` is no number from 0 on"))?;
            Ok(VersionToken::from_u64(number))
        }
        (None | Some(Value::Null), Some(hex)) => {
            let bytes = from_hex(hex).filter(|bytes| !bytes.is_empty());
            VersionToken::from_raw(&bytes.ok_or_else(|| refused("`rev_hex` is no hex"))?)
        }
        (Some(_), Some(_)) => Err(refused("both `rev` and `rev_hex`")),
    }
}

fn hex_digit(four_bits: u8) -> char {
    char::from_digit(u32::from(four_bits), 16).unwrap_or('0')
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some((digit(*high)? << 4) | digit(*low)?)).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let index = usize::try_from((bits >> shift) & 63).unwrap_or(0);
            let digit = ALPHABET.get(index).copied().unwrap_or(b'=');
            out.push(char::from(if at > chunk.len() { b'=' } else { digit }));
        }
    }
    out
}

const fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => digit.checked_sub(b'A'),
        b'a'..=b'z' => digit.checked_sub(b'a' - 26),
        b'0'..=b'9' => digit.checked_add(52 - b'0'),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Standard base64 with its padding, and nothing else.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(groups.len().saturating_mul(3));
    for (at, group) in groups.iter().enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        let last = at.saturating_add(1) == groups.len();
        if padding > 2 || (padding > 0 && !last) {
            return None;
        }
        let mut bits = 0_u32;
        for byte in group.iter().take(4_usize.saturating_sub(padding)) {
            bits = (bits << 6) | u32::from(sextet(*byte)?);
        }
        bits <<= match padding {
            0 => 0,
            1 => 6,
            _ => 12,
        };
        let [_, a, b, c] = bits.to_be_bytes();
        let (bytes, rest) = match padding {
            0 => ([a, b, c], 0),
            1 => ([a, b, 0], c),
            _ => ([a, 0, 0], b | c),
        };
        if rest != 0 {
            return None;
        }
        out.extend(bytes.iter().take(3_usize.saturating_sub(padding)));
    }
    Some(out)
}

#[cfg(test)]
#[path = "ndjson_tests.rs"]
mod tests;
