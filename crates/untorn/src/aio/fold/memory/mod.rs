//! A stream in memory, for tests: a server with a history, whose connections fail as a script says.

mod source;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::source::{Aging, SourceInfo};
use crate::ErrorKind;
use crate::fold::{KvUpdate, Lineage, VersionToken, WatchCursor};

pub use source::MemorySource;

/// What goes wrong, once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryFault {
    /// A batch is lost on its way.
    Drop,
    /// A batch comes twice.
    Duplicate,
    /// A batch comes behind the next one.
    Reorder,
    /// Nothing comes for so long, then the batch.
    Stall(Duration),
    /// The connection ends.
    End,
    /// The connection fails with an error of this kind.
    Error(ErrorKind),
    /// The source says that what follows is gone.
    Expire,
    /// Nothing comes on this connection any more.
    Hang,
    /// The next connection opens, and then nothing comes.
    HangAfterReconnect,
    /// The history goes while the next connection is opened, and the server begins where it has something, without a word.
    CompactWhileOpening,
    /// The next listing is empty.
    EmptyListing,
    /// The source panics.
    Panic,
}

/// A stream in memory: what a server of a key-value stream does, without the server. Clones are the same stream.
///
/// It counts from 1, and keeps the latest value of every key. Its clock moves by a millisecond with each message, and by hand. It is
/// a tool for tests: what it forgets for its readers, it still has in memory.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// use untorn::aio::fold::{MemoryStream, Scope, Source, SourceEvent, Start};
/// let stream = MemoryStream::new("settings");
/// stream.put("color", "blue");
/// let mut source = stream.source();
/// source.open(Start::Fresh, &Scope::All).await?;
/// let SourceEvent::Batch { updates, .. } = source.next().await? else { panic!("a value is there") };
/// assert_eq!(updates[0].value(), Some(&b"blue"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryStream {
    server: Arc<Mutex<Server>>,
    news: Arc<Notify>,
}

struct Server {
    name: String,
    /// How often it was made anew.
    epoch: u64,
    /// How often all connections were cut.
    cuts: u64,
    /// All messages; the first has number 1.
    log: Vec<Message>,
    /// The first that readers can have.
    floor: u64,
    /// Values before this are gone.
    evicted: u64,
    clock: u64,
    history: Option<u64>,
    evicts: Option<bool>,
    max_age: Option<u64>,
    per_batch: usize,
    heartbeat: Duration,
    /// Faults, each after so many batches more.
    faults: VecDeque<(u64, MemoryFault)>,
    readers: u64,
    opened: u64,
}

struct Message {
    update: KvUpdate,
    written_ms: u64,
}

impl MemoryStream {
    /// An empty stream.
    pub fn new(name: impl Into<String>) -> Self {
        let server = Server {
            name: name.into(),
            epoch: 1,
            cuts: 0,
            log: Vec::new(),
            floor: 1,
            evicted: 1,
            clock: 1_000_000,
            history: None,
            evicts: Some(false),
            max_age: None,
            per_batch: 100,
            heartbeat: Duration::from_secs(5),
            faults: VecDeque::new(),
            readers: 0,
            opened: 0,
        };
        Self { server: Arc::new(Mutex::new(server)), news: Arc::new(Notify::new()) }
    }

    /// A reader of its own.
    pub fn source(&self) -> MemorySource {
        MemorySource::new(self.clone())
    }

    fn look(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Server) -> R) -> R {
        let result = change(&mut self.look());
        self.news.notify_waiters();
        result
    }

    /// Sets a value; the position of the message.
    pub fn put(&self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> u64 {
        let (key, value) = (key.into(), value.into());
        self.change(|server| server.add(|version| KvUpdate::put(key, value, version)))
    }

    /// Deletes a key; the position of the message.
    pub fn delete(&self, key: impl Into<String>) -> u64 {
        let key = key.into();
        self.change(|server| server.add(|version| KvUpdate::delete(key, version)))
    }

    /// Deletes a key with its history; the position of the message.
    pub fn purge(&self, key: impl Into<String>) -> u64 {
        let key = key.into();
        self.change(|server| server.add(|version| KvUpdate::Purge { key, version }))
    }

    /// The position of the last message.
    pub fn head(&self) -> WatchCursor {
        self.look().head()
    }

    /// What readers can still have: only the last `messages` of the history. Current values stay, unless it
    /// [evicts](Self::evicts).
    pub fn history_limit(&self, messages: u64) {
        self.change(|server| {
            server.history = Some(messages);
            server.limit();
        });
    }

    /// Lets the history before a position go. Current values stay.
    pub fn compact(&self, before: u64) {
        self.change(|server| server.floor = server.floor.max(before));
    }

    /// Lets the history before a position go, and the values written there, as age does.
    pub fn evict(&self, before: u64) {
        self.change(|server| {
            server.evicts = Some(true);
            server.floor = server.floor.max(before);
            server.evicted = server.evicted.max(before);
        });
    }

    /// Sets what it says of itself: whether it evicts current values. Default that it does not.
    pub fn evicts(&self, evicts: Option<bool>) {
        self.change(|server| server.evicts = evicts);
    }

    /// Sets that age alone evicts, and what it says that messages become.
    pub fn max_age_ms(&self, max_age: u64) {
        self.change(|server| server.max_age = Some(max_age));
    }

    /// Moves its clock on.
    pub fn advance_clock_ms(&self, ms: u64) {
        self.change(|server| server.clock = server.clock.saturating_add(ms));
    }

    /// Sets how many updates a batch has at most. Default 100.
    pub fn per_batch(&self, updates: usize) {
        self.change(|server| server.per_batch = updates.max(1));
    }

    /// Sets after how long without news it gives a sign of life. Default 5 s.
    pub fn heartbeat(&self, every: Duration) {
        self.change(|server| server.heartbeat = every);
    }

    /// Deletes it and makes another one with its name: empty, counting from 1. Readers are told.
    pub fn recreate(&self) {
        self.change(|server| {
            server.epoch = server.epoch.saturating_add(1);
            server.log.clear();
            (server.floor, server.evicted) = (1, 1);
        });
    }

    /// Brings it back to an older state, as a restored backup does. Connections are cut, and nobody is told.
    pub fn roll_back(&self, to: u64) {
        self.change(|server| {
            server.log.truncate(usize::try_from(to).unwrap_or(usize::MAX));
            server.cuts = server.cuts.saturating_add(1);
        });
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.change(|server| server.cuts = server.cuts.saturating_add(1));
    }

    /// Has something go wrong, when what was asked for before has.
    pub fn fault(&self, fault: MemoryFault) {
        self.fault_after(0, fault);
    }

    /// The same, after so many batches more.
    pub fn fault_after(&self, batches: u64, fault: MemoryFault) {
        self.change(|server| server.faults.push_back((batches, fault)));
    }

    /// How many connections are open.
    pub fn readers(&self) -> u64 {
        self.look().readers
    }

    /// How many connections were opened.
    pub fn opened(&self) -> u64 {
        self.look().opened
    }

    /// The latest values of all keys, in order.
    pub fn values(&self) -> BTreeMap<String, Vec<u8>> {
        let server = self.look();
        let current = server.current(server.last());
        let entries = current.iter().filter_map(|seq| server.message(*seq));
        let pair = |m: &Message| Some((m.update.key().to_owned(), m.update.value()?.to_vec()));
        entries.filter_map(pair).collect()
    }
}

impl Server {
    fn add(&mut self, make: impl FnOnce(VersionToken) -> KvUpdate) -> u64 {
        let seq = self.last().saturating_add(1);
        self.clock = self.clock.saturating_add(1);
        let update = make(VersionToken::from_u64(seq));
        self.log.push(Message { update, written_ms: self.clock });
        self.limit();
        seq
    }

    fn limit(&mut self) {
        let Some(history) = self.history else { return };
        let first = self.last().saturating_add(1).saturating_sub(history);
        self.floor = self.floor.max(first);
        if self.evicts == Some(true) {
            self.evicted = self.evicted.max(first);
        }
    }

    fn last(&self) -> u64 {
        self.log.len() as u64
    }

    fn message(&self, seq: u64) -> Option<&Message> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.log.get(index)
    }

    fn cursor(&self, seq: u64) -> WatchCursor {
        if seq == 0 {
            return WatchCursor::none();
        }
        let written = self.message(seq).map(|message| message.written_ms);
        WatchCursor::from_u64(seq).written_at(written)
    }

    fn head(&self) -> WatchCursor {
        self.cursor(self.last())
    }

    /// The messages that hold the current values up to a position, in order.
    fn current(&self, upto: u64) -> Vec<u64> {
        let mut latest = BTreeMap::new();
        for seq in 1..=upto {
            if let Some(message) = self.message(seq) {
                latest.insert(message.update.key(), (seq, message.update.value().is_some()));
            }
        }
        let held = latest.into_values().filter(|(seq, is_put)| *is_put && *seq >= self.evicted);
        let mut current: Vec<u64> = held.map(|(seq, _)| seq).collect();
        current.sort_unstable();
        current
    }

    fn lineage(&self) -> Lineage {
        let id = format!("{} {}", self.name, self.epoch).into_bytes();
        Lineage { kind: "memory".to_owned(), id }
    }

    fn info(&self) -> SourceInfo {
        let floor = WatchCursor::from_u64(self.floor);
        let mut info = SourceInfo::new(self.lineage()).window(floor, self.head());
        info.evicts_current_values = self.evicts;
        info.aging = self.max_age.map(|max_age_ms| Aging { max_age_ms, now_ms: self.clock });
        info
    }

    /// The fault of the next batch, if it is its turn.
    fn fault_of_batch(&mut self) -> Option<MemoryFault> {
        let (after, fault) = self.faults.front_mut()?;
        if of_opening(fault) {
            return None;
        }
        if *after > 0 {
            *after = after.saturating_sub(1);
            return None;
        }
        self.faults.pop_front().map(|(_, fault)| fault)
    }

    /// Takes this fault, if it is its turn.
    fn take_fault(&mut self, wanted: &MemoryFault) -> bool {
        let found = self.faults.front().is_some_and(|(_, fault)| fault == wanted);
        if found {
            self.faults.pop_front();
        }
        found
    }
}

const fn of_opening(fault: &MemoryFault) -> bool {
    matches!(
        fault,
        MemoryFault::HangAfterReconnect
            | MemoryFault::CompactWhileOpening
            | MemoryFault::EmptyListing
    )
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.look();
        let mut show = f.debug_struct("MemoryStream");
        show.field("name", &server.name).field("last", &server.last()).finish_non_exhaustive()
    }
}
