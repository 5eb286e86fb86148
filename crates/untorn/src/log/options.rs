//! What a log can be told when it is opened.

use std::sync::Arc;
use std::time::Duration;

use super::LogPos;
use crate::fs::{Fs, OsFs};
use crate::{Durability, OnDamage};

/// When the log syncs what waits to be acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// As soon as someone waits. What is appended during a sync goes with the next one; for threads that waited for the
    /// last one and are just coming back it is held up by half a sync at most, and never by more than half a millisecond.
    #[default]
    Each,
    /// The one who syncs first waits for company: until `bytes` are pending, or for `delay`.
    Window {
        /// How long it waits at most.
        delay: Duration,
        /// How many pending bytes are enough.
        bytes: usize,
    },
    /// Every so often, by the log's own thread; waiting alone syncs nothing. Needs [`LogOptions::sync_thread`].
    Interval(Duration),
    /// Only [`Log::sync`](super::Log::sync) syncs; a `wait` waits for someone to call it.
    Manual,
}

/// What a frame says was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Floor {
    /// What the log has synced.
    #[default]
    Log,
    /// At most what the store raised it to: its acknowledgement needs more than the log, such as data files.
    Store,
}

/// Options of [`Log::open`](super::Log::open). All are checked there.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct LogOptions {
    /// Who writes this log: four letters in each segment's header. Default `USER`; a log of another owner is not opened.
    pub owner: [u8; 4],
    /// Size that segments grow to, by doubling from 256 KiB. Default 16 MiB, at least 1 KiB.
    pub segment_bytes: u64,
    /// The largest record. Default 64 MiB, at most 1 GiB.
    pub max_record: usize,
    /// Bytes that wait to be written at most; then `append` helps to write them. Default 64 MiB.
    pub max_pending: usize,
    /// Bytes of one frame at most, but for a single larger record or batch. Default 4 MiB.
    pub max_group_bytes: usize,
    /// What `wait` waits for. Default `Synced`.
    pub durability: Durability,
    /// When syncs are made. Default `Each`.
    pub sync_policy: SyncPolicy,
    /// Whether the log has a thread of its own, for `Interval` and for the mark of an idle log. Default no.
    pub sync_thread: bool,
    /// Whether each record has a checksum of its own, so that `read_at` need not read its whole frame. Default no.
    pub record_crc: bool,
    /// What frames say was acknowledged. Default `Log`.
    pub floor: Floor,
    /// A sequence number that is known from elsewhere to be acknowledged, such as a snapshot's. The log is never cut at or below it,
    /// whatever `on_damage` says. Default 0.
    pub acknowledged: u64,
    /// A frame to start reading at instead of the front, such as a snapshot's. Default none.
    pub start: Option<LogPos>,
    /// What to do if acknowledged records do not verify. Default `Refuse`.
    pub on_damage: OnDamage,
    /// The file system. Default [`OsFs`].
    pub fs: Arc<dyn Fs>,
    /// A log that is made gets this id, and its first record this number.
    pub(crate) born: Option<([u8; 16], u64)>,
}

impl LogOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            owner: *b"USER",
            segment_bytes: 16 << 20,
            max_record: 64 << 20,
            max_pending: 64 << 20,
            max_group_bytes: 4 << 20,
            durability: Durability::default(),
            sync_policy: SyncPolicy::default(),
            sync_thread: false,
            record_crc: false,
            floor: Floor::default(),
            acknowledged: 0,
            start: None,
            on_damage: OnDamage::default(),
            fs: Arc::new(OsFs::new()),
            born: None,
        }
    }
}

impl Default for LogOptions {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl LogOptions {
            $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}

setters! {
    /// Sets who writes this log.
    owner: [u8; 4],
    /// Sets the size that segments grow to.
    segment_bytes: u64,
    /// Sets the largest record.
    max_record: usize,
    /// Sets how many bytes may wait to be written.
    max_pending: usize,
    /// Sets how many bytes one frame takes.
    max_group_bytes: usize,
    /// Sets what `wait` waits for.
    durability: Durability,
    /// Sets when syncs are made.
    sync_policy: SyncPolicy,
    /// Sets whether the log has a thread of its own.
    sync_thread: bool,
    /// Sets whether each record has a checksum of its own.
    record_crc: bool,
    /// Sets what frames say was acknowledged.
    floor: Floor,
    /// Sets what is known from elsewhere to be acknowledged.
    acknowledged: u64,
    /// Sets the frame to start reading at.
    start: Option<LogPos>,
    /// Sets what to do about damage.
    on_damage: OnDamage,
    /// Sets the file system.
    fs: Arc<dyn Fs>,
}
