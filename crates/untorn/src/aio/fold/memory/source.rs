//! A reader of a stream in memory.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::pin::pin;
use std::time::Duration;

use super::super::source::{
    Anchor, AnchorState, BoxFuture, Listed, Listing, Scope, Source, SourceEvent, SourceInfo, Start,
};
use super::{MemoryFault, MemoryStream, Server};
use crate::fold::{KvUpdate, WatchCursor};
use crate::{Error, ErrorKind, Result};

/// A reader of a [`MemoryStream`].
#[derive(Debug)]
pub struct MemorySource {
    stream: MemoryStream,
    reader: Option<Reader>,
}

/// A connection.
#[derive(Debug)]
struct Reader {
    stream: MemoryStream,
    scope: Scope,
    epoch: u64,
    cuts: u64,
    /// Messages of the beginning, of which only the current ones are sent.
    first: VecDeque<u64>,
    /// Up to which message everything was sent or left out.
    at: u64,
    caught_up: bool,
    hangs: bool,
    /// The position of the last event.
    sent: WatchCursor,
    /// An event was lost, which a client notices with the next sign of life.
    lost: bool,
    /// Comes before all else.
    waiting: VecDeque<SourceEvent>,
    /// Comes behind the next batch.
    late: Option<SourceEvent>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut server = self.stream.look();
        server.readers = server.readers.saturating_sub(1);
    }
}

/// What a look at the server says is to be done.
enum Step {
    Send(Result<SourceEvent>),
    Wait(Duration),
    Stall(Duration),
    Hang,
    Again,
}

impl MemorySource {
    pub(super) const fn new(stream: MemoryStream) -> Self {
        Self { stream, reader: None }
    }

    fn connect(&mut self, start: &Start, scope: &Scope) -> Result<()> {
        self.reader = None;
        let mut server = self.stream.look();
        let (first, at, sent) = match start {
            Start::Fresh => {
                let first = server.current(server.last());
                (first.into(), server.last(), WatchCursor::none())
            }
            Start::After(cursor) => {
                let at = cursor.as_u64().ok_or_else(|| {
                    let what = format!("{cursor} is no position of this stream");
                    Error::of_caller(ErrorKind::InvalidInput, "open", what)
                })?;
                if server.floor > at.saturating_add(1) && server.max_age.is_none() {
                    let what = format!("{cursor} is before {}", server.floor);
                    return Err(Error::of_caller(ErrorKind::CursorExpired, "open", what));
                }
                // As servers do: where nothing is any more, or not yet, it begins later and does not say so.
                let at = at.max(server.floor.saturating_sub(1));
                (VecDeque::new(), at, cursor.clone())
            }
        };
        let mut at = at;
        if server.take_fault(&MemoryFault::CompactWhileOpening) {
            server.floor = server.last().saturating_add(1);
            at = server.last();
        }
        let hangs = server.take_fault(&MemoryFault::HangAfterReconnect);
        server.readers = server.readers.saturating_add(1);
        server.opened = server.opened.saturating_add(1);
        let (epoch, cuts) = (server.epoch, server.cuts);
        drop(server);
        self.reader = Some(Reader {
            stream: self.stream.clone(),
            scope: scope.clone(),
            epoch,
            cuts,
            first,
            at,
            caught_up: false,
            hangs,
            sent,
            lost: false,
            waiting: VecDeque::new(),
            late: None,
        });
        Ok(())
    }
}

impl Reader {
    fn step(&mut self) -> Step {
        let stream = self.stream.clone();
        let mut server = stream.look();
        if self.epoch != server.epoch {
            return Step::Send(Ok(SourceEvent::LineageChanged(server.lineage())));
        }
        if self.cuts != server.cuts {
            return Step::Send(Ok(SourceEvent::End));
        }
        if self.hangs {
            return Step::Hang;
        }
        if let Some(event) = self.waiting.pop_front() {
            return Step::Send(Ok(event));
        }
        if self.first.is_empty() && self.at.saturating_add(1) < server.floor {
            let floor = WatchCursor::from_u64(server.floor);
            return Step::Send(Ok(SourceEvent::Expired { floor }));
        }
        let (updates, last) = self.gather(&server);
        if updates.is_empty() {
            return self.quiet(&server);
        }
        let fault = server.fault_of_batch();
        if let Some(MemoryFault::Stall(time)) = fault {
            return Step::Stall(time);
        }
        self.advance(last);
        let cursor = server.cursor(last);
        let after = std::mem::replace(&mut self.sent, cursor.clone());
        let event = SourceEvent::batch_after(updates, cursor, after);
        drop(server);
        self.deliver(event, fault.as_ref())
    }

    /// What comes next, and the number of its last message.
    fn gather(&self, server: &Server) -> (Vec<KvUpdate>, u64) {
        let (mut updates, mut last) = (Vec::new(), self.at);
        let first = self.first.iter().copied();
        let rest = self.at.saturating_add(1)..=server.last();
        for seq in first.chain(rest) {
            let Some(message) = server.message(seq) else { break };
            if self.scope.covers(message.update.key()) {
                updates.push(message.update.clone());
                last = seq;
                if updates.len() == server.per_batch {
                    break;
                }
            }
        }
        (updates, last)
    }

    fn advance(&mut self, last: u64) {
        while self.first.front().is_some_and(|seq| *seq <= last) {
            self.first.pop_front();
        }
        self.at = self.at.max(last);
    }

    /// There is nothing to send but how far it is.
    fn quiet(&mut self, server: &Server) -> Step {
        if let Some(event) = self.late.take() {
            return Step::Send(Ok(event));
        }
        if self.lost {
            let what = "an event was lost on its way";
            return Step::Send(Err(Error::of_caller(ErrorKind::Incomplete, "next", what)));
        }
        self.first.clear();
        self.at = self.at.max(server.last());
        let cursor = server.cursor(server.last().max(self.sent.as_u64().unwrap_or(0)));
        if !self.caught_up {
            self.caught_up = true;
            self.sent = cursor.clone();
            return Step::Send(Ok(SourceEvent::CaughtUp(cursor)));
        }
        if !cursor.same_position(&self.sent) {
            self.sent = cursor.clone();
            return Step::Send(Ok(SourceEvent::Progress(cursor)));
        }
        Step::Wait(server.heartbeat)
    }

    fn deliver(&mut self, event: SourceEvent, fault: Option<&MemoryFault>) -> Step {
        if self.late.is_some() {
            self.waiting.extend(self.late.take());
        }
        match fault {
            None => {}
            Some(MemoryFault::Drop) => {
                self.lost = true;
                return Step::Again;
            }
            Some(MemoryFault::Duplicate) => self.waiting.push_front(event.clone()),
            Some(MemoryFault::Reorder) => {
                self.late = Some(event);
                return Step::Again;
            }
            Some(MemoryFault::Error(kind)) => {
                let error = Error::of_caller(*kind, "next", "the script says so");
                return Step::Send(Err(error));
            }
            Some(MemoryFault::Expire) => {
                let floor = self.sent.clone();
                return Step::Send(Ok(SourceEvent::Expired { floor }));
            }
            Some(MemoryFault::Hang) => {
                self.hangs = true;
                return Step::Hang;
            }
            #[expect(clippy::panic, reason = "who asks for it gets it")]
            Some(MemoryFault::Panic) => panic!("the script says so"),
            Some(_) => return Step::Send(Ok(SourceEvent::End)),
        }
        Step::Send(Ok(event))
    }
}

impl Source for MemorySource {
    fn identify(&mut self) -> BoxFuture<'_, Result<SourceInfo>> {
        Box::pin(ready(Ok(self.stream.look().info())))
    }

    fn open<'a>(&'a mut self, start: Start, scope: &'a Scope) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.connect(&start, scope) })
    }

    fn next(&mut self) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            let Some(reader) = &mut self.reader else {
                return Err(Error::of_caller(ErrorKind::Closed, "next", "it is not open"));
            };
            loop {
                // Listens before it looks, so that no news is missed in between.
                let mut news = pin!(self.stream.news.notified());
                news.as_mut().enable();
                match reader.step() {
                    Step::Send(event) => return event,
                    Step::Again => {}
                    Step::Hang => pending().await,
                    Step::Stall(time) => tokio::time::sleep(time).await,
                    Step::Wait(time) => {
                        if tokio::time::timeout(time, news).await.is_err() {
                            return Ok(SourceEvent::Progress(reader.sent.clone()));
                        }
                    }
                }
            }
        })
    }

    fn list<'a>(
        &'a mut self,
        scope: &'a Scope,
        keys_only: bool,
    ) -> BoxFuture<'a, Result<Box<dyn Listing + 'a>>> {
        let mut server = self.stream.look();
        let empty = server.take_fault(&MemoryFault::EmptyListing);
        let end = server.head();
        let mut chunks = VecDeque::new();
        for seqs in server.current(server.last()).chunks(server.per_batch) {
            let messages = seqs.iter().filter_map(|seq| server.message(*seq));
            let updates = messages.filter(|message| scope.covers(message.update.key()));
            let listed = updates.map(|message| match &message.update {
                KvUpdate::Put(entry) if keys_only => {
                    KvUpdate::put(entry.key.clone(), Vec::new(), entry.version.clone())
                }
                update => update.clone(),
            });
            if !empty {
                chunks.push_back(Listed::Chunk(listed.collect()));
            }
        }
        drop(server);
        chunks.push_back(Listed::End(end));
        let listing: Box<dyn Listing + 'a> = Box::new(MemoryListing(chunks));
        Box::pin(ready(Ok(listing)))
    }

    fn verify_anchor<'a>(&'a mut self, anchor: &'a Anchor) -> BoxFuture<'a, Result<AnchorState>> {
        let server = self.stream.look();
        let seq = anchor.position.as_u64().filter(|seq| *seq >= server.floor);
        let state = match seq.and_then(|seq| server.message(seq)) {
            None => AnchorState::Gone,
            Some(message) if message.written_ms == anchor.written_ms => AnchorState::Same,
            Some(_) => AnchorState::Different,
        };
        drop(server);
        Box::pin(ready(Ok(state)))
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        self.reader = None;
        Box::pin(ready(()))
    }
}

struct MemoryListing(VecDeque<Listed>);

impl Listing for MemoryListing {
    fn next(&mut self) -> BoxFuture<'_, Result<Listed>> {
        let next = self.0.pop_front();
        let ended = || Error::of_caller(ErrorKind::Closed, "list", "the listing is over");
        Box::pin(ready(next.ok_or_else(ended)))
    }
}
