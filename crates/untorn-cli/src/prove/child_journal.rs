//! The journal's part of the process that is killed: every way to log an event, and checkpoints meanwhile.

use untorn::ErrorKind;
use untorn::journal::{Checkpoint, Journal, JournalOptions};
use untorn::log::LogOptions;

use super::child::{SEGMENT, on_threads, tell};
use super::content::{self, Key, Rng};
use super::memory::Memory;
use crate::args::ProveChild;
use crate::exit::{Failure, Result};

/// Bytes of events after which a checkpoint is due: fewer than a segment has.
const CHECKPOINT: u64 = 96 << 10;
/// Events that a writer has logged and not reported at most.
pub(super) const IN_FLIGHT: u64 = 12;

/// What both owners, the one that is killed and the one that looks afterwards, open the journal with.
pub(super) fn options() -> JournalOptions {
    JournalOptions::new()
        .log(LogOptions::new().segment_bytes(SEGMENT))
        .checkpoint(Checkpoint::Auto { min_bytes: CHECKPOINT, ratio: 0.0 })
}

pub(super) fn run(args: &ProveChild) -> Result<()> {
    let options = options().background_checkpoint(true);
    let (journal, _report) =
        Journal::open(args.dir.join("journal"), Memory::new(args.seed), options)?;
    on_threads(|writer| Thread::new(&journal, args, writer).run())
}

/// One thread.
struct Thread<'a> {
    journal: &'a Journal<Memory>,
    seed: u64,
    round: u32,
    writer: u32,
    counter: u64,
    rng: Rng,
}

/// Counter and number of what was acknowledged.
type Acks = Vec<(u64, u64)>;

impl<'a> Thread<'a> {
    const fn new(journal: &'a Journal<Memory>, args: &ProveChild, writer: u32) -> Self {
        let &ProveChild { seed, round, .. } = args;
        let rng = Rng::new(seed ^ ((round as u64) << 32) ^ writer as u64);
        Self { journal, seed, round, writer, counter: 0, rng }
    }

    fn run(mut self) -> Result<()> {
        loop {
            let acknowledged = match self.rng.below(32) {
                0..5 => self.some(),
                5..8 => self.batch(),
                8..11 => self.commit(),
                11 => self.look(),
                12 if self.writer == 0 && self.rng.below(8) == 0 => self.checkpoint(),
                _ => self.update(),
            }?;
            for (counter, seq) in acknowledged {
                if !tell(self.writer, counter, seq) {
                    return Ok(());
                }
            }
        }
    }

    /// The next event.
    fn next(&mut self, part: u32, parts: u32) -> (u64, Vec<u8>) {
        let counter = self.counter;
        self.counter += 1;
        let key = Key { round: self.round, writer: self.writer, counter, part, parts };
        (counter, content::record(self.seed, key))
    }

    /// Decided on the state, which must have all events of this thread.
    fn update(&mut self) -> Result<Acks> {
        let (counter, event) = self.next(0, 1);
        let (round, writer) = (self.round, self.writer);
        let decided = self.journal.update(|memory| {
            let known = memory.of(round, writer).len() as u64;
            if known == counter { Ok((event, memory.sum.events + 1)) } else { Err(known) }
        })?;
        let seq = decided.map_err(|known| self.missing("a decision", known, counter))?;
        Ok(vec![(counter, seq)])
    }

    fn commit(&mut self) -> Result<Acks> {
        let (counter, event) = self.next(0, 1);
        Ok(vec![(counter, self.journal.commit(event)?)])
    }

    /// Several at once, one wait.
    fn some(&mut self) -> Result<Acks> {
        let mut tickets = Vec::new();
        for _ in 0..=self.rng.below(IN_FLIGHT) {
            let (counter, event) = self.next(0, 1);
            tickets.push((counter, self.journal.submit(event)?));
        }
        if let Some((_, last)) = tickets.last() {
            self.journal.wait(last)?;
        }
        Ok(tickets.into_iter().map(|(counter, ticket)| (counter, ticket.seq)).collect())
    }

    /// All or none.
    fn batch(&mut self) -> Result<Acks> {
        let parts = 2 + u32::try_from(self.rng.below(4)).unwrap_or(0);
        let (counters, events): (Vec<u64>, Vec<_>) =
            (0..parts).map(|part| self.next(part, parts)).unzip();
        let ticket = self.journal.submit_batch(events)?;
        let last = self.journal.wait(&ticket)?;
        let first = last + 1 - u64::from(parts);
        Ok(counters.into_iter().zip(first..).collect())
    }

    /// A reader sees all that was acknowledged.
    fn look(&self) -> Result<Acks> {
        let (round, writer) = (self.round, self.writer);
        let known = self.journal.read(|memory| memory.of(round, writer).len() as u64)?;
        if known != self.counter {
            return Err(self.missing("a read", known, self.counter));
        }
        Ok(Vec::new())
    }

    /// One on demand, and whether those in the background go well.
    fn checkpoint(&self) -> Result<Acks> {
        if let Some(error) = self.journal.stats().checkpoint_error {
            return Err(Failure::from(error));
        }
        self.journal.checkpoint()?;
        Ok(Vec::new())
    }

    fn missing(&self, who: &str, known: u64, counter: u64) -> Failure {
        let writer = self.writer;
        let what =
            format!("{who} saw {known} events of the writer {writer}, which logged {counter}");
        Failure::plain(ErrorKind::Failed, what)
    }
}
