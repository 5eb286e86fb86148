//! A write-ahead log of typed events: numbered, durable when [`flush`](WalWriter::flush) returns, read in order.
//!
//! It is a [`Log`](crate::log::Log) with a [`Codec`]: a record is the codec's bytes of an event, an event's sequence is the
//! record's number. So all that holds of the log holds here: a torn tail is healed at open and reported, damage refuses, two
//! writers exclude each other, and whoever waits shares one sync.
//!
//! ```
//! # #[cfg(feature = "json")] {
//! use untorn::journal::wal::{WalEvent, WalFsReader, WalFsWriter, WalReader, WalWriter};
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("events");
//! let mut writer = WalFsWriter::<String>::new(&dir)?;
//! writer.append(&WalEvent::new(1, "created".to_owned()))?;
//! writer.append(&WalEvent::new(2, "renamed".to_owned()))?;
//! writer.flush()?; // both survive a power cut
//!
//! let mut reader = WalFsReader::<String>::new(&dir)?; // mostly in another process
//! while let Some(event) = reader.read_next()? {
//!     println!("{} {}", event.sequence(), event.event());
//! }
//! assert!(reader.is_end());
//! # writer.close()?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//! The directory of a log whose owner is `USER`: docs/FORMAT.md. The single file of older programs is read by
//! [`OldWalReader`] and turned into such a log by [`convert_old_wal`].

use crate::codec::Json;
use crate::log::{LogOptions, Upto};
use crate::{Error, Result};

mod convert;
mod old;
mod reader;
mod verdict;
mod writer;

pub use convert::{ConvertReport, Run, convert_old_wal};
pub use old::{OldRec, OldTail, OldWalOptions, OldWalReader};
pub use reader::WalFsReader;
pub use writer::WalFsWriter;

#[cfg(doc)]
use crate::codec::Codec;

/// What a [`WalWriter`] fails with.
pub type WalWriterError = Error;
/// What a [`WalReader`] fails with.
pub type WalReaderError = Error;
/// What opening a [`WalFsWriter`] fails with.
pub type WalFsWriterInitError = Error;
/// What opening a [`WalFsReader`] fails with.
pub type WalFsReaderError = Error;

/// An event and its place in the order of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalEvent<E> {
    sequence: u64,
    event: E,
}

impl<E> WalEvent<E> {
    /// An event with its sequence number; the first one of a log is 1.
    pub const fn new(sequence: u64, event: E) -> Self {
        Self { sequence, event }
    }

    /// Its number.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What happened.
    pub const fn event(&self) -> &E {
        &self.event
    }

    /// What happened, by value.
    pub fn into_event(self) -> E {
        self.event
    }
}

/// Appends events in order.
pub trait WalWriter<E> {
    /// Appends an event. It is durable once [`flush`](Self::flush) has returned.
    ///
    /// # Errors
    /// `OutOfRange` if its sequence is not the next one; `Codec`; and the writer's own.
    fn append(&mut self, event: &WalEvent<E>) -> Result<(), WalWriterError>;

    /// Makes everything durable that was appended.
    ///
    /// # Errors
    /// The writer's own.
    fn flush(&mut self) -> Result<(), WalWriterError>;

    /// Makes everything durable and ends the writing.
    ///
    /// # Errors
    /// The writer's own.
    fn close(self) -> Result<(), WalWriterError>
    where
        Self: Sized;
}

/// Reads events in order.
pub trait WalReader<E> {
    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// `Codec` if it does not decode; and the reader's own.
    fn read_next(&mut self) -> Result<Option<WalEvent<E>>, WalReaderError>;

    /// Goes to the event with this number; above the last one, to the end.
    ///
    /// # Errors
    /// `OutOfRange` if it was dropped; and the reader's own.
    fn seek_to_sequence(&mut self, sequence: u64) -> Result<(), WalReaderError>;

    /// Whether the end was reached.
    fn is_end(&self) -> bool;
}

/// What an open does with a torn tail. Both heal it, since nobody was told that it was written, and keep a copy; neither
/// cuts damage. Two names, since older programs have two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairPolicy {
    /// As [`WalFsWriter::new`].
    #[default]
    Strict,
    /// The same.
    TruncatePartial,
}

/// Options of [`WalFsWriter::with`] and [`WalFsReader::with`].
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct WalOptions<C = Json> {
    /// The log's options; the file system is one of them.
    pub log: LogOptions,
    /// What makes bytes of events. Default [`Json`].
    pub codec: C,
    /// How far a reader reads. Default `Written`: every whole record, of which a power cut may still take the last ones
    /// while their writer has not flushed. `Durable` ends at what the log vouches for, which may be less than was acknowledged.
    pub upto: Upto,
}

impl WalOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::with_codec(Json)
    }
}

impl Default for WalOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> WalOptions<C> {
    /// The defaults, with this codec.
    pub fn with_codec(codec: C) -> Self {
        Self { log: LogOptions::new(), codec, upto: Upto::Written }
    }

    /// Sets the log's options, all of them.
    pub fn log(mut self, log: LogOptions) -> Self {
        self.log = log;
        self
    }

    /// Sets how far a reader reads.
    pub const fn upto(mut self, upto: Upto) -> Self {
        self.upto = upto;
        self
    }

    /// Sets the file system.
    pub fn fs(mut self, fs: std::sync::Arc<dyn crate::fs::Fs>) -> Self {
        self.log = self.log.fs(fs);
        self
    }
}
