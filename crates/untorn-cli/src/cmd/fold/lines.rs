//! Entries and changes as lines of JSON, those that `apply` and `follow` take.

use untorn::fold::ndjson::Line;
use untorn::fold::{Change, KvEntry, KvUpdate, VersionToken, WatchCursor};

use crate::exit::Result;
use crate::out::Out;

fn say(line: &Line, out: &mut Out) -> Result<()> {
    let mut text = Vec::new();
    line.format(&mut text);
    out.bytes(&text)
}

/// The line that puts an entry.
pub(super) fn put(entry: KvEntry, out: &mut Out) -> Result<()> {
    say(&Line::Update(KvUpdate::Put(entry)), out)
}

/// The line that makes a change. Of a deletion nothing but the key is known.
pub(super) fn change(change: Change, out: &mut Out) -> Result<()> {
    let update = match change.new {
        Some(entry) => KvUpdate::Put(entry),
        None => KvUpdate::delete(change.key, VersionToken::unknown()),
    };
    say(&Line::Update(update), out)
}

/// The line that says how far it goes; none at the beginning.
pub(super) fn progress(cursor: &WatchCursor, out: &mut Out) -> Result<()> {
    if cursor.is_none() {
        return Ok(());
    }
    say(&Line::Progress(cursor.clone()), out)
}
