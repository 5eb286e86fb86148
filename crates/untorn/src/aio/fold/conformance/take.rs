//! What a test takes from a source.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::source::{Listed, Scope, Source, SourceEvent, Start};
use super::check;
use crate::fold::{CursorOrder, KvUpdate, WatchCursor};
use crate::{Error, ErrorKind, Result};

/// How long any call may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What a source has sent.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) updates: Vec<KvUpdate>,
    /// The position behind each update, as far as it was said.
    pub(super) cursors: Vec<WatchCursor>,
    pub(super) cursor: WatchCursor,
    pub(super) signs: u64,
}

pub(super) type Values = BTreeMap<String, Vec<u8>>;

impl Taken {
    /// What a fold has of it.
    pub(super) fn values(&self) -> Values {
        let mut values = Values::new();
        apply(&mut values, &self.updates);
        values
    }

    /// Takes one event; whether it was the sign that all is there.
    pub(super) async fn next(&mut self, source: &mut dyn Source) -> Result<bool> {
        let event = tokio::time::timeout(LIMIT, source.next()).await.map_err(|_| {
            Error::of_caller(ErrorKind::Failed, "conformance", "no event and no sign of life")
        })?;
        let (updates, cursor, caught_up) = match event? {
            SourceEvent::Batch { updates, cursor, after } => {
                let follows = after.is_none_or(|after| after.same_position(&self.cursor));
                check(follows, || "`after` is not the position of the event before".to_owned())?;
                (updates, cursor, false)
            }
            SourceEvent::Progress(cursor) => {
                self.signs = self.signs.saturating_add(1);
                (Vec::new(), cursor, false)
            }
            SourceEvent::CaughtUp(cursor) => (Vec::new(), cursor, true),
            other => {
                let what = format!("{other:?} of a source with which nothing is wrong");
                return Err(Error::of_caller(ErrorKind::Failed, "conformance", what));
            }
        };
        let ahead = cursor.reaches(&self.cursor, CursorOrder::Bytes) || cursor.as_u64().is_none();
        check(ahead, || format!("the cursor goes back from {} to {cursor}", self.cursor))?;
        self.cursors.extend(updates.iter().map(|_| cursor.clone()));
        self.updates.extend(updates);
        self.cursor = cursor;
        Ok(caught_up)
    }
}

pub(super) fn apply(values: &mut Values, updates: &[KvUpdate]) {
    for update in updates {
        match update.value() {
            Some(value) => drop(values.insert(update.key().to_owned(), value.to_vec())),
            None => drop(values.remove(update.key())),
        }
    }
}

/// Opens a source as a follower does.
pub(super) async fn open(source: &mut dyn Source, start: Start, scope: &Scope) -> Result<Taken> {
    source.identify().await?;
    let mut taken = Taken::default();
    if let Start::After(cursor) = &start {
        taken.cursor = cursor.clone();
    }
    source.open(start, scope).await?;
    source.identify().await?;
    Ok(taken)
}

/// Opens a source and takes all that is there.
pub(super) async fn take(source: &mut dyn Source, start: Start, scope: &Scope) -> Result<Taken> {
    let mut taken = open(source, start, scope).await?;
    while !taken.next(source).await? {}
    Ok(taken)
}

/// All that a source lists, and at which position; `None` if it cannot.
pub(super) async fn list(
    source: &mut dyn Source,
    scope: &Scope,
    keys_only: bool,
) -> Result<Option<(Vec<KvUpdate>, WatchCursor)>> {
    let mut listing = match source.list(scope, keys_only).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
        other => other?,
    };
    let mut updates = Vec::new();
    loop {
        match listing.next().await? {
            Listed::Chunk(chunk) => updates.extend(chunk),
            Listed::End(cursor) => return Ok(Some((updates, cursor))),
        }
    }
}
