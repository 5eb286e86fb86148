//! What a program says of its state: how an event changes it, how it is captured, how it comes back.

use crate::codec::Codec;

/// A state that is changed by events alone.
///
/// All three of [`apply`](Self::apply), [`capture`](Self::capture) and [`restore`](Self::restore) must agree: a state
/// that was restored from a view, and given the events after it, is the state that was given all events.
///
/// # Example
/// ```
/// use untorn::codec::Json;
/// use untorn::journal::Machine;
///
/// #[derive(Default)]
/// struct Counter(u64);
///
/// impl Machine for Counter {
///     type Event = u64;
///     type View = u64;
///     type EventCodec = Json;
///     type ViewCodec = Json;
///     const NAME: &'static str = "counter";
///     const VERSION: u32 = 1;
///
///     fn apply(&mut self, _seq: u64, by: &u64) {
///         self.0 += by;
///     }
///     fn capture(&self) -> u64 {
///         self.0
///     }
///     fn restore(view: u64) -> Result<Self, String> {
///         Ok(Self(view))
///     }
/// }
/// ```
pub trait Machine: Sized + Send + Sync {
    /// What happened: one record of the log.
    type Event;
    /// The state as it is written to a snapshot.
    type View: Send + 'static;
    /// How events become bytes.
    type EventCodec: Codec<Self::Event> + Default;
    /// How views become bytes.
    type ViewCodec: Codec<Self::View> + Default;
    /// What the journal's files are marked with: 1 to 32 bytes of ASCII. A journal of another name is not opened.
    const NAME: &'static str;
    /// Version of the events and views as they are written now, from 1 on. Older ones go through
    /// [`upgrade_event`](Self::upgrade_event) and [`upgrade_view`](Self::upgrade_view); a journal with newer ones is not opened.
    const VERSION: u32;

    /// Changes the state by an event. Must depend on nothing else, and cannot fail: whatever could be refused is refused
    /// before the event exists, in [`Journal::update`](super::Journal::update).
    fn apply(&mut self, seq: u64, event: &Self::Event);

    /// The state as of now, for a snapshot. Updates wait meanwhile, so it should be cheap: an `Arc`, a persistent map; a clone
    /// for small states. Encoding and writing come later, with no lock held.
    fn capture(&self) -> Self::View;

    /// The state that a view was captured from.
    ///
    /// # Errors
    /// Why this view is none; opening the journal then fails with `Failed`.
    fn restore(view: Self::View) -> Result<Self, String>;

    /// An event from the bytes of an older version. Refuses by default.
    ///
    /// # Errors
    /// Why it cannot be read; opening the journal then fails with `Failed`.
    fn upgrade_event(version: u32, bytes: &[u8]) -> Result<Self::Event, String> {
        let len = bytes.len();
        Err(format!(
            "this program does not read events of version {version}, such as this one of {len} bytes"
        ))
    }

    /// A view from the bytes of an older version. Refuses by default.
    ///
    /// # Errors
    /// Why it cannot be read; opening the journal then fails with `Failed`.
    fn upgrade_view(version: u32, bytes: &[u8]) -> Result<Self::View, String> {
        let len = bytes.len();
        Err(format!(
            "this program does not read states of version {version}, such as this one of {len} bytes"
        ))
    }

    /// A digest of the state, the same for the same state. If there is one it is written into snapshots and compared when
    /// they are loaded, so that a state that does not survive its own capture is found out. None by default.
    fn digest(&self) -> Option<u64> {
        None
    }
}
