//! Following the elements as they become durable.
//!
//! # Invariants
//! - T1 The follower knows the elements below `next`, as they were in the commit `seq`. Each event changes both for him and here.
//! - T2 The state is taken before the rewinds are asked for, so that none that led to it is missed (P5). One that is told early is
//!   told again when its state comes, if elements above it were handed out between.

use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::time::Duration;

use super::Reader;
use super::reader::Source;
use crate::codec::Raw;
use crate::{Error, ErrorKind, Result};

/// Follows the durable elements of a file, in the order in which they became durable. Made by
/// [`Reader::subscribe`](super::Reader::subscribe).
///
/// It holds no state: elements that it tells of may have been rewound by the time they are read, and then
/// [`next`](Self::next) tells of that.
pub struct Tail<T, C = Raw> {
    reader: Reader<T, C>,
    source: Source,
    member: usize,
    next: u64,
    seq: u64,
}

/// What happened to the durable elements of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a follower who does not know an event follows wrongly"
)]
pub enum TailEvent {
    /// These are new. If they do not begin where the last ones ended, those between were dropped.
    Elements(Range<u64>),
    /// Only the elements below this position are left of those that were told of; others may follow in their place.
    Rewound {
        /// So many are left.
        to: u64,
    },
}

impl<T, C> Tail<T, C> {
    pub(super) fn new(reader: Reader<T, C>, source: Source, member: usize, from: u64) -> Self {
        // What cannot be seen now is told of as new, later.
        let seq = source.durable().map_or(0, |state| state.seq);
        Self { reader, source, member, next: from, seq }
    }

    /// The reader that it was made by, to read the elements with.
    pub const fn reader(&self) -> &Reader<T, C> {
        &self.reader
    }

    /// The position that follows the last element that was told of.
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// The next event, or `None` if there is none within the time; a commit that changes nothing here ends the wait too.
    ///
    /// # Errors
    /// `Closed` if the writer is gone and everything was told.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<TailEvent>> {
        match self.source.clone() {
            Source::Local(shared) => {
                // Before the look, so that nothing comes after the last look.
                let closed = shared.is_closed();
                if let Some(event) = self.look()? {
                    return Ok(Some(event));
                }
                if closed {
                    let why = "the writer is gone; nothing more will come";
                    return Err(Error::of_caller(ErrorKind::Closed, "follow", why));
                }
                shared.wait_past(self.seq, timeout);
                self.look()
            }
            Source::Foreign(_) | Source::Plain(_) => self.poll(timeout),
        }
    }

    /// Nobody rings in another process: looks again and again.
    fn poll(&mut self, timeout: Duration) -> Result<Option<TailEvent>> {
        const PAUSE: Duration = Duration::from_millis(20);
        let mut left = timeout;
        loop {
            let event = self.look()?;
            if event.is_some() || left.is_zero() {
                return Ok(event);
            }
            let pause = PAUSE.min(left);
            std::thread::sleep(pause);
            left = left.saturating_sub(pause);
        }
    }

    fn look(&mut self) -> Result<Option<TailEvent>> {
        let state = self.source.durable()?;
        let Some(view) = state.members.get(self.member) else { return Ok(None) };
        let rewound = self.source.rewinds_since(self.seq, self.member);
        self.seq = state.seq;
        // What is there no longer was rewound, also before the subscription.
        let to = rewound.unwrap_or(u64::MAX).min(view.len);
        if to < self.next {
            self.next = to;
            return Ok(Some(TailEvent::Rewound { to }));
        }
        let start = self.next.max(view.first);
        if start < view.len {
            self.next = view.len;
            return Ok(Some(TailEvent::Elements(start..view.len)));
        }
        Ok(None)
    }
}

impl<T, C> Debug for Tail<T, C> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("position", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::for_tests::{World, noise, worlds};
    use super::super::publish::{Published, Shared, View};
    use super::*;
    use crate::commit::Claim;
    use std::sync::Arc;

    struct Store {
        world: World,
        view: View,
        hold: Arc<Claim>,
    }

    impl Store {
        fn new() -> Self {
            let world = worlds().remove(1);
            let (_, view) = world.fixed(10, &noise(1, 1000));
            let hold = world.claim();
            Self { world, view, hold }
        }

        fn of(&self, seq: u64, len: u64) -> Published {
            self.world.state(seq, &View { len, ..self.view.clone() }, &self.hold)
        }

        fn rewind(&self, shared: &Shared, seq: u64, keep: u64, len: u64) {
            shared.note_rewind(seq, 0, keep);
            shared.turn(self.of(seq, keep)).finish(self.of(seq, len));
        }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn no_rewind_passes_in_silence() {
        let store = Store::new();
        let shared = Shared::new(store.of(1, 10));
        let reader = Reader::<Vec<u8>>::of(Source::Local(Arc::clone(&shared)), 0, Arc::new(Raw));
        let mut tail = reader.subscribe(4);
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Elements(4..10)));
        assert_eq!(tail.next(NOW).unwrap(), None);
        // Only what is durable is told.
        shared.publish(store.of(2, 20), false);
        assert_eq!((tail.next(NOW).unwrap(), reader.len(), reader.durable_len()), (None, 20, 10));
        shared.made_durable();
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Elements(10..20)));
        // As many elements as before, but others.
        store.rewind(&shared, 3, 15, 20);
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Rewound { to: 15 }));
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Elements(15..20)));
        // Two at once, the deeper one first.
        store.rewind(&shared, 4, 5, 30);
        store.rewind(&shared, 5, 25, 40);
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Rewound { to: 5 }));
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Elements(5..40)));
        // One of elements that were not told of.
        shared.publish(store.of(6, 50), false);
        store.rewind(&shared, 7, 45, 46);
        assert_eq!(tail.next(NOW).unwrap(), Some(TailEvent::Elements(40..46)));
        shared.close();
        assert_eq!(tail.next(Duration::from_secs(3600)).unwrap_err().kind(), ErrorKind::Closed);
        // Who knows more than there is has missed a rewind.
        let mut late = reader.subscribe(60);
        assert_eq!(late.next(NOW).unwrap(), Some(TailEvent::Rewound { to: 46 }));
        assert_eq!(late.next(NOW).unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn who_waits_is_woken() {
        let store = Store::new();
        let shared = Shared::new(store.of(1, 10));
        let reader = Reader::<Vec<u8>>::of(Source::Local(Arc::clone(&shared)), 0, Arc::new(Raw));
        let mut tail = reader.subscribe(10);
        std::thread::scope(|scope| {
            let follower = scope.spawn(move || {
                let event = tail.next(Duration::from_secs(3600)).unwrap();
                // The end of the wait, or the answer after it: whichever comes first.
                (event, tail.next(Duration::from_secs(3600)).map_err(|e| e.kind()))
            });
            shared.publish(store.of(2, 11), true);
            std::thread::yield_now();
            shared.close();
            let (event, last) = follower.join().unwrap();
            assert_eq!(event, Some(TailEvent::Elements(10..11)));
            assert!(matches!(last, Ok(None) | Err(ErrorKind::Closed)));
            assert_eq!(event, Some(TailEvent::Elements(10..11)));
            assert!(matches!(last, Ok(None) | Err(ErrorKind::Closed)));
        });
    }
}
