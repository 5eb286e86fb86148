//! What the stores of this crate ask of their log, and programs do not.

use std::sync::Arc;

use super::cursor::read_header;
use super::cut::load;
use super::format::{FRAME_HEADER, FrameHeader, Parsed, RecordLayout};
use super::recover::open_segment;
use super::window::Window;
use super::{Log, LogPos, Ticket};
use crate::fs::{Dir, File, How};
use crate::{ErrorKind, Result};

/// What can be known of a log before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peek {
    pub(crate) store_id: [u8; 16],
    pub(crate) first_seq: u64,
}

/// Looks at META alone; `None` if there is no log yet.
pub(crate) fn peek(dir: &dyn Dir) -> Result<Option<Peek>> {
    let meta = load(dir)?;
    Ok(meta.map(|meta| Peek { store_id: meta.store_id, first_seq: meta.front_seq }))
}

/// A segment, open for reading. Its length does not change, and no record in it is overwritten while the log keeps it.
pub(crate) fn segment_file(dir: &dyn Dir, number: u64) -> Result<Arc<dyn File>> {
    open_segment(dir, number, How::Read)
}

/// Where a record's bytes begin in its segment.
pub(crate) fn bytes_of(pos: LogPos, record_crc: bool) -> u64 {
    let prefix = RecordLayout { record_crc, salt: 0 }.prefix();
    pos.frame.saturating_add(u64::from(pos.at)).saturating_add(prefix as u64)
}

/// Whether this very frame stands at this place, by its header.
pub(crate) fn frame_stands_at(dir: &dyn Dir, pos: LogPos) -> Result<bool> {
    let file = match open_segment(dir, pos.segment, How::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut window = Window::new(file);
    let (_, Parsed::Valid(segment)) = read_header(&mut window)? else { return Ok(false) };
    let bytes = window.get(pos.frame, FRAME_HEADER)?;
    Ok(match FrameHeader::decode(bytes, segment.salt, pos.frame) {
        Parsed::Valid(frame) => segment.number == pos.segment && frame.crc == pos.frame_crc,
        _ => false,
    })
}

impl Log {
    /// Appends records only if the first of them gets the number `expected`; they are there all or not at all.
    ///
    /// A store that has counted ahead learns here that the log took something back: `Stale`, and nothing is appended.
    pub(crate) fn append_next(&self, expected: u64, records: &[&[u8]]) -> Result<Ticket> {
        self.put(records, true, Some(expected))
    }

    /// What all files of the store are marked with.
    pub(crate) fn store_id(&self) -> [u8; 16] {
        self.0.store_id
    }

    /// Whether the log can still be used.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        self.0.poison.check(operation, &self.0.path)?;
        self.0.queue().closed_check(&self.0.path)
    }
}
