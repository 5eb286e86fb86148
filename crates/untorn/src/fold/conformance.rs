//! What every [`SnapshotStore`] must do, as a suite that any implementation can run.
//!
//! ```
//! use untorn::fold::{AppendLogSnapshot, conformance};
//! # let dir = tempfile::tempdir()?;
//! let mut n = 0;
//! let passed = conformance::run::<AppendLogSnapshot>(|| {
//!     n += 1;
//!     dir.path().join(n.to_string()) // where there is nothing yet
//! })?;
//! assert!(passed > 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
#[cfg(feature = "blake3")]
use std::path::Path;
use std::path::PathBuf;

use super::{
    KEY_MAX, KvEntry, KvUpdate, Lineage, SnapshotStore, SyncScope, VersionToken, WatchCursor,
};
use crate::{Error, ErrorKind, Outcome};

/// A store did not do what it must.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Which case.
    pub case: &'static str,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.what)
    }
}

impl std::error::Error for Failure {}

type Case = (&'static str, fn(&mut dyn Bench) -> Outcomes);
type Outcomes = Result<(), String>;

/// A store under test, opened again as often as a case wants.
trait Bench {
    fn open(&mut self) -> Result<WatchCursor, Error>;
    fn open_twice(&mut self) -> Option<ErrorKind>;
    fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> Result<(), Error>;
    fn get(&mut self, key: &str) -> Result<Option<KvEntry>, Error>;
    fn range(&mut self, prefix: &str) -> Result<Vec<KvEntry>, Error>;
    fn each(&mut self, prefix: &str, stop_after: usize) -> (Vec<String>, Result<(), Error>);
    fn cursor(&mut self) -> WatchCursor;
    fn durable(&mut self) -> WatchCursor;
    fn has_entries(&mut self) -> Result<bool, Error>;
    fn set_lineage(&mut self, lineage: Lineage) -> Result<Option<Lineage>, Error>;
    fn lineage(&mut self) -> Option<Lineage>;
    /// Lists these, and sweeps the rest if `finish` has a cursor; how many were swept.
    fn relist(
        &mut self,
        scope: SyncScope,
        listed: &[KvUpdate],
        finish: Option<&WatchCursor>,
    ) -> Result<u64, Error>;
    #[cfg(feature = "blake3")]
    fn export(&mut self, dest: &Path) -> Result<super::ExportManifest, Error>;
    #[cfg(feature = "blake3")]
    fn path(&self) -> &Path;
}

struct Of<S> {
    path: PathBuf,
    store: Option<S>,
}

impl<S: SnapshotStore> Of<S> {
    fn store(&mut self) -> Result<&mut S, Error> {
        let closed = || Error::of_caller(ErrorKind::Closed, "test", "the case did not open it");
        self.store.as_mut().ok_or_else(closed)
    }
}

impl<S: SnapshotStore> Bench for Of<S> {
    fn open(&mut self) -> Result<WatchCursor, Error> {
        self.store = None;
        let (cursor, store) = S::load(&self.path)?;
        self.store = Some(store);
        Ok(cursor)
    }

    fn open_twice(&mut self) -> Option<ErrorKind> {
        S::load(&self.path).err().map(|error| error.kind())
    }

    fn apply(&mut self, updates: &[KvUpdate], cursor: &WatchCursor) -> Result<(), Error> {
        self.store()?.apply(updates, cursor)
    }

    fn get(&mut self, key: &str) -> Result<Option<KvEntry>, Error> {
        self.store()?.get(key)
    }

    fn range(&mut self, prefix: &str) -> Result<Vec<KvEntry>, Error> {
        self.store()?.range(prefix)
    }

    fn each(&mut self, prefix: &str, stop_after: usize) -> (Vec<String>, Result<(), Error>) {
        let mut seen = Vec::new();
        let store = match self.store() {
            Ok(store) => store,
            Err(error) => return (seen, Err(error)),
        };
        let done = store.for_each_in_range(prefix, |entry| {
            seen.push(entry.key);
            if seen.len() < stop_after {
                return Ok(());
            }
            Err(Error::of_caller(ErrorKind::Cancelled, "test", "enough"))
        });
        (seen, done)
    }

    fn cursor(&mut self) -> WatchCursor {
        self.store.as_ref().map(S::cursor).unwrap_or_default()
    }

    fn durable(&mut self) -> WatchCursor {
        self.store.as_ref().map(S::durable_cursor).unwrap_or_default()
    }

    fn has_entries(&mut self) -> Result<bool, Error> {
        self.store()?.has_entries()
    }

    fn set_lineage(&mut self, lineage: Lineage) -> Result<Option<Lineage>, Error> {
        let store = self.store()?;
        store.set_lineage(lineage)?;
        Ok(store.lineage())
    }

    fn lineage(&mut self) -> Option<Lineage> {
        self.store.as_ref().and_then(S::lineage)
    }

    fn relist(
        &mut self,
        scope: SyncScope,
        listed: &[KvUpdate],
        finish: Option<&WatchCursor>,
    ) -> Result<u64, Error> {
        let store = self.store()?;
        let token = store.begin_sync(scope)?;
        for part in listed.chunks(2) {
            store.sync_apply(&token, part)?;
        }
        match finish {
            Some(cursor) => store.finish_sync(token, cursor).map(|report| report.swept),
            None => Ok(0),
        }
    }

    #[cfg(feature = "blake3")]
    fn export(&mut self, dest: &Path) -> Result<super::ExportManifest, Error> {
        self.store()?.export_to(dest)
    }

    #[cfg(feature = "blake3")]
    fn path(&self) -> &Path {
        &self.path
    }
}

/// Runs all cases, each on a new store of its own at a path where there is nothing; returns how many passed.
///
/// # Errors
/// The first case that fails, and what was found.
pub fn run<S: SnapshotStore>(mut new_path: impl FnMut() -> PathBuf) -> Result<usize, Failure> {
    for (case, check) in CASES {
        let mut bench = Of::<S> { path: new_path(), store: None };
        check(&mut bench).map_err(|what| Failure { case, what })?;
    }
    Ok(CASES.len())
}

fn at(position: u64) -> WatchCursor {
    WatchCursor::from_u64(position)
}

fn put(key: &str, value: &str, version: u64) -> KvUpdate {
    KvUpdate::put(key, value, VersionToken::from_u64(version))
}

fn delete(key: &str, version: u64) -> KvUpdate {
    KvUpdate::delete(key, VersionToken::from_u64(version))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: Error) -> String {
    error.to_string()
}

fn same<T: PartialEq + fmt::Debug>(found: &T, expected: &T) -> Outcomes {
    if found == expected {
        return Ok(());
    }
    Err(format!("found {found:?}, expected {expected:?}"))
}

fn value(bench: &mut dyn Bench, key: &str, expected: Option<&str>) -> Outcomes {
    let found = bench.get(key).map_err(said)?;
    same(&found.map(|entry| entry.value), &expected.map(|value| value.as_bytes().to_vec()))
}

fn keys(bench: &mut dyn Bench, prefix: &str, expected: &[&str]) -> Outcomes {
    let found = bench.range(prefix).map_err(said)?;
    let found: Vec<&str> = found.iter().map(|entry| entry.key.as_str()).collect();
    same(&found, &expected.to_vec())
}

/// What is refused changes nothing.
fn refused(
    bench: &mut dyn Bench,
    updates: &[KvUpdate],
    cursor: &WatchCursor,
    kind: ErrorKind,
) -> Outcomes {
    let before = (bench.range("").map_err(said)?, bench.cursor());
    match bench.apply(updates, cursor) {
        Ok(()) => return Err(format!("it was taken, and {kind:?} was expected")),
        Err(error) => same(&(error.kind(), error.outcome()), &(kind, Outcome::Unchanged))?,
    }
    same(&(bench.range("").map_err(said)?, bench.cursor()), &before)
}

fn opened(bench: &mut dyn Bench, updates: &[KvUpdate], cursor: u64) -> Outcomes {
    bench.open().map_err(said)?;
    bench.apply(updates, &at(cursor)).map_err(said)
}

const CASES: &[Case] = &[
    ("a new store is empty and at the beginning", |b| {
        same(&b.open().map_err(said)?, &WatchCursor::none())?;
        same(&(b.cursor(), b.durable()), &(WatchCursor::none(), WatchCursor::none()))?;
        same(&b.has_entries().map_err(said)?, &false)?;
        keys(b, "", &[])
    }),
    ("an entry has key, value and version", |b| {
        opened(b, &[put("a", "1", 1)], 1)?;
        let entry =
            KvEntry { key: "a".into(), value: b"1".into(), version: VersionToken::from_u64(1) };
        same(&b.get("a").map_err(said)?, &Some(entry))?;
        value(b, "b", None)?;
        same(&b.has_entries().map_err(said)?, &true)
    }),
    ("entries and cursor are there after an open", |b| {
        opened(b, &[put("a", "1", 1), put("b", "2", 2)], 7)?;
        same(&b.open().map_err(said)?, &at(7))?;
        same(&(b.cursor(), b.durable()), &(at(7), at(7)))?;
        keys(b, "", &["a", "b"])?;
        value(b, "b", Some("2"))
    }),
    ("a range is a prefix of the text, in the order of bytes", |b| {
        let updates = [
            put("a.b", "", 1),
            put("ab", "", 2),
            put("a", "", 3),
            put("b", "", 4),
            put("A", "", 5),
            put("a\u{e9}", "", 6),
        ];
        opened(b, &updates, 6)?;
        keys(b, "a", &["a", "a.b", "ab", "a\u{e9}"])?;
        keys(b, "", &["A", "a", "a.b", "ab", "a\u{e9}", "b"])?;
        keys(b, "a.", &["a.b"])?;
        keys(b, "c", &[])
    }),
    ("entries are shown one at a time until the caller has enough", |b| {
        opened(b, &[put("a", "", 1), put("b", "", 2), put("c", "", 3)], 3)?;
        let (seen, done) = b.each("", 2);
        same(&seen, &vec!["a".to_owned(), "b".to_owned()])?;
        same(&done.map_err(|error| error.kind()), &Err(ErrorKind::Cancelled))
    }),
    ("a cursor alone is a commit", |b| {
        opened(b, &[], 5)?;
        same(&b.cursor(), &at(5))?;
        same(&b.open().map_err(said)?, &at(5))
    }),
    ("the same cursor again is taken", |b| {
        opened(b, &[put("a", "1", 1)], 5)?;
        b.apply(&[put("b", "2", 6)], &at(5)).map_err(said)?;
        value(b, "b", Some("2"))
    }),
    ("a cursor that goes back is refused", |b| {
        opened(b, &[put("a", "1", 1)], 5)?;
        refused(b, &[put("a", "2", 6)], &at(4), ErrorKind::CursorRegressed)
    }),
    ("the beginning is behind every cursor", |b| {
        opened(b, &[put("a", "1", 1)], 5)?;
        refused(b, &[put("a", "2", 6)], &WatchCursor::none(), ErrorKind::CursorRegressed)
    }),
    ("a cursor of another length is refused", |b| {
        opened(b, &[], 5)?;
        let other = WatchCursor::from_raw(&[9; 10]).map_err(said)?;
        refused(b, &[put("a", "2", 6)], &other, ErrorKind::CursorRegressed)
    }),
    ("of a key the last update in a batch counts", |b| {
        opened(
            b,
            &[put("a", "1", 1), delete("a", 2), put("a", "3", 3), put("b", "1", 4), delete("b", 5)],
            5,
        )?;
        value(b, "a", Some("3"))?;
        keys(b, "", &["a"])
    }),
    ("what is deleted or purged is gone, and stays so", |b| {
        opened(b, &[put("a", "1", 1), put("b", "1", 2), put("c", "1", 3)], 3)?;
        let purge = KvUpdate::Purge { key: "b".into(), version: VersionToken::from_u64(5) };
        b.apply(&[delete("a", 4), purge, delete("never", 6)], &at(6)).map_err(said)?;
        keys(b, "", &["c"])?;
        b.open().map_err(said)?;
        keys(b, "", &["c"])
    }),
    ("an empty value is a value", |b| {
        opened(b, &[put("flag", "", 1)], 1)?;
        value(b, "flag", Some(""))?;
        b.open().map_err(said)?;
        value(b, "flag", Some(""))
    }),
    ("an empty key is a key", |b| {
        opened(b, &[put("", "1", 1)], 1)?;
        value(b, "", Some("1"))?;
        keys(b, "", &[""])
    }),
    ("an update that is older than what is held is dropped", |b| {
        opened(b, &[put("a", "new", 9)], 9)?;
        b.apply(&[put("a", "old", 3), delete("a", 4), put("a", "same", 9)], &at(10))
            .map_err(said)?;
        value(b, "a", Some("new"))
    }),
    ("an update that is older than a deletion is dropped", |b| {
        opened(b, &[put("a", "1", 1)], 1)?;
        b.apply(&[delete("a", 5)], &at(5)).map_err(said)?;
        b.apply(&[put("a", "late", 3)], &at(6)).map_err(said)?;
        value(b, "a", None)?;
        b.open().map_err(said)?;
        b.apply(&[put("a", "late", 4)], &at(7)).map_err(said)?;
        value(b, "a", None)
    }),
    ("updates without a version count as they come", |b| {
        let put = |value: &str| KvUpdate::put("a", value, VersionToken::unknown());
        opened(b, &[put("1")], 1)?;
        b.apply(&[put("2")], &at(2)).map_err(said)?;
        value(b, "a", Some("2"))
    }),
    ("versions and cursors of ten bytes come back", |b| {
        let stamp = [0, 0, 0, 0, 0, 0, 0, 7, 0, 1];
        let version = VersionToken::from_raw(&stamp).map_err(said)?;
        let cursor = WatchCursor::from_raw(&stamp).map_err(said)?;
        b.open().map_err(said)?;
        b.apply(&[KvUpdate::put("a", "1", version.clone())], &cursor).map_err(said)?;
        same(&b.open().map_err(said)?, &cursor)?;
        same(&b.get("a").map_err(said)?.map(|entry| entry.version), &Some(version))
    }),
    ("the longest cursor and version come back", |b| {
        let cursor = WatchCursor::from_raw(&[200; 255]).map_err(said)?;
        let version = VersionToken::from_raw(&[201; 255]).map_err(said)?;
        b.open().map_err(said)?;
        b.apply(&[KvUpdate::put("a", "1", version.clone())], &cursor).map_err(said)?;
        same(&b.open().map_err(said)?, &cursor)?;
        same(&b.get("a").map_err(said)?.map(|entry| entry.version), &Some(version))
    }),
    ("the memo of a cursor comes back", |b| {
        let cursor = at(7).remember_evicting(true).written_at(Some(1_767_225_600_123));
        b.open().map_err(said)?;
        b.apply(&[], &cursor).map_err(said)?;
        same(&b.open().map_err(said)?, &cursor)
    }),
    ("the longest key is taken, and a longer one refused", |b| {
        let long = "k".repeat(KEY_MAX);
        opened(b, &[put(&long, "1", 1)], 1)?;
        value(b, &long, Some("1"))?;
        let longer = format!("{long}k");
        refused(b, &[put("a", "1", 2), put(&longer, "1", 3)], &at(3), ErrorKind::TooLarge)
    }),
    ("a large batch is one commit", |b| {
        let text = "x".repeat(5000);
        let updates: Vec<_> =
            (0..3000_u32).zip(1..).map(|(n, v)| put(&format!("{n:05}"), &text, v)).collect();
        opened(b, &updates, 3000)?;
        b.open().map_err(said)?;
        same(&b.range("").map_err(said)?.len(), &3000)?;
        value(b, "02999", Some(&text))
    }),
    ("two owners at once there are not", |b| {
        opened(b, &[put("a", "1", 1)], 1)?;
        same(&b.open_twice(), &Some(ErrorKind::Locked))?;
        b.apply(&[put("a", "2", 2)], &at(2)).map_err(said)?;
        value(b, "a", Some("2"))
    }),
    ("a listing sweeps what it does not have, and keeps what is newer", |b| {
        opened(b, &[put("a", "1", 1), put("b", "1", 2), put("c", "1", 3), put("d", "1", 30)], 30)?;
        let listed = [put("b", "2", 10), put("e", "1", 11), put("c", "1", 3)];
        same(&b.relist(SyncScope::all(), &listed, Some(&at(30))).map_err(said)?, &2)?;
        keys(b, "", &["b", "c", "e"])?;
        value(b, "b", Some("2"))?;
        same(&b.cursor(), &at(30))
    }),
    ("a listing that is not finished sweeps nothing", |b| {
        opened(b, &[put("a", "1", 1), put("b", "1", 2)], 2)?;
        b.relist(SyncScope::all(), &[put("b", "2", 5)], None).map_err(said)?;
        same(&b.open().map_err(said)?, &at(2))?;
        keys(b, "", &["a", "b"])
    }),
    ("a listing of some prefixes leaves the others alone", |b| {
        opened(b, &[put("a/1", "1", 1), put("a/2", "1", 2), put("b/1", "1", 3)], 3)?;
        let scope = SyncScope::prefixes(vec!["a/".into(), "a".into()]);
        same(&b.relist(scope, &[put("a/2", "1", 2)], Some(&at(9))).map_err(said)?, &1)?;
        keys(b, "", &["a/2", "b/1"])
    }),
    ("the lineage comes back, where it is kept", |b| {
        b.open().map_err(said)?;
        let lineage = Lineage { kind: "test".into(), id: vec![1, 2, 3] };
        match b.set_lineage(lineage.clone()) {
            Ok(kept) => same(&kept, &Some(lineage.clone()))?,
            Err(error) => return same(&error.kind(), &ErrorKind::Unsupported),
        }
        b.open().map_err(said)?;
        same(&b.lineage(), &Some(lineage))
    }),
    ("a listing of another lineage wins over all versions", |b| {
        opened(b, &[put("a", "old", 100), put("b", "old", 101), delete("c", 102)], 102)?;
        let lineage = Lineage { kind: "test".into(), id: vec![9] };
        let scope = SyncScope::all().of_new_lineage(lineage.clone());
        let listed = [put("a", "new", 1), put("c", "new", 2)];
        match b.relist(scope, &listed, Some(&at(2))) {
            Ok(swept) => same(&swept, &1)?,
            Err(error) => return same(&error.kind(), &ErrorKind::Unsupported),
        }
        same(&(b.open().map_err(said)?, b.lineage()), &(at(2), Some(lineage)))?;
        b.apply(&[put("b", "again", 3), put("a", "newer", 4)], &at(4)).map_err(said)?;
        value(b, "a", Some("newer"))?;
        keys(b, "", &["a", "b", "c"])
    }),
    #[cfg(feature = "blake3")]
    ("an export lands whole, and never over anything", export),
];

#[cfg(feature = "blake3")]
fn export(b: &mut dyn Bench) -> Outcomes {
    opened(b, &[put("a", "1", 1), put("b", "2", 2)], 2)?;
    let mut dest = b.path().as_os_str().to_owned();
    dest.push(".artifact");
    let dest = PathBuf::from(dest);
    let manifest = b.export(&dest).map_err(said)?;
    same(&manifest.cursor, &at(2))?;
    crate::artifact::verify(&dest).map_err(said)?;
    let again = b.export(&dest).map(drop).map_err(|error| error.kind());
    same(&again, &Err(ErrorKind::AlreadyExists))?;
    b.apply(&[put("a", "3", 3)], &at(3)).map_err(said)
}

#[cfg(test)]
mod tests {
    use super::super::AppendLogSnapshot;
    use super::*;

    #[test]
    fn the_store_passes() {
        let dir = tempfile::tempdir().unwrap();
        let mut n = 0;
        let passed = run::<AppendLogSnapshot>(|| {
            n += 1;
            dir.path().join(n.to_string())
        });
        assert_eq!(passed.unwrap(), CASES.len());
    }
}
