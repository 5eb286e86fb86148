//! Follows a journal within its own process: durable events as they come, for shipping and for views beside the state.

use std::time::Duration;

use super::{Journal, Machine, event};
use crate::log::{Pin, Scan, Upto};
use crate::{Error, ErrorKind, Result};

/// Durable events, in order. See [`Journal::tail`].
pub struct Tail<M: Machine> {
    journal: Journal<M>,
    /// The next event to hand out.
    next: u64,
    scan: Option<Scan>,
    /// Keeps the log from `next` on, whatever checkpoints do.
    pin: Pin,
}

impl<M: Machine> Journal<M> {
    /// Events from `from` on, those to come too, each when it is durable. A tail keeps the log it has not read yet.
    ///
    /// # Errors
    /// `OutOfRange` if `from` was dropped by a checkpoint; `Closed`.
    ///
    /// # Example
    /// ```
    /// # use untorn::codec::Json;
    /// # use untorn::journal::{Journal, JournalOptions, Machine};
    /// # struct Last(u64);
    /// # impl Machine for Last {
    /// #     type Event = u64;
    /// #     type View = u64;
    /// #     type EventCodec = Json;
    /// #     type ViewCodec = Json;
    /// #     const NAME: &'static str = "last";
    /// #     const VERSION: u32 = 1;
    /// #     fn apply(&mut self, _seq: u64, event: &u64) { self.0 = *event; }
    /// #     fn capture(&self) -> u64 { self.0 }
    /// #     fn restore(view: u64) -> Result<Self, String> { Ok(Self(view)) }
    /// # }
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().join("last");
    /// use std::time::Duration;
    /// let (journal, _) = Journal::open(&dir, Last(0), JournalOptions::new())?;
    /// journal.commit(7)?;
    /// let mut tail = journal.tail(1)?;
    /// assert_eq!(tail.next(Duration::ZERO)?, Some((1, 7)));
    /// assert_eq!(tail.next(Duration::from_millis(1))?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tail(&self, from: u64) -> Result<Tail<M>> {
        let from = from.max(1);
        let pin = self.0.log.pin(from);
        self.0.log.check("follow")?;
        let first = self.0.log.first_seq();
        if from < first {
            let what =
                format!("event {from} was dropped by a checkpoint; the log begins at {first}");
            return Err(Error::new(ErrorKind::OutOfRange, "follow", &self.0.path, what));
        }
        Ok(Tail { journal: self.clone(), next: from, scan: None, pin })
    }
}

impl<M: Machine> Tail<M> {
    /// The next event with its number; waits for it, for so long at most. `None` if there is none by then.
    ///
    /// Goes on up to the last durable event on a poisoned journal too.
    ///
    /// # Errors
    /// `Poisoned` and `Closed`, where no event will ever come; `Damaged`; `Io`; those of decoding.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<(u64, M::Event)>> {
        let log = &self.journal.0.log;
        loop {
            let Some(scan) = &mut self.scan else {
                if !log.watch(self.next, timeout)? {
                    return Ok(None);
                }
                self.scan = Some(log.read(self.next, Upto::Durable)?);
                self.pin = log.pin(self.next);
                continue;
            };
            let Some(rec) = scan.next()? else {
                self.scan = None;
                continue;
            };
            let event = event::decode::<M>(rec.bytes, rec.seq, log.path())?;
            let seq = rec.seq;
            self.next = seq.saturating_add(1);
            return Ok(Some((seq, event)));
        }
    }

    /// The number of the event that comes next.
    pub const fn next_seq(&self) -> u64 {
        self.next
    }
}

impl<M: Machine> std::fmt::Debug for Tail<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("path", &self.journal.0.path)
            .field("next", &self.next)
            .field("pin", &self.pin)
            .finish_non_exhaustive()
    }
}
