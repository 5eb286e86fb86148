//! The bytes of the records in a fold's log, and nothing else. docs/FORMAT.md has the tables.
//!
//! A batch is one record, or several that the log writes all or not at all: operations first, and last the record that commits
//! them with the cursor.

use super::{Lineage, VersionToken, WatchCursor};
use crate::codec::bytes::{Reader, put_varint, put_with_len};
use crate::codec::checksum::crc32;

const BATCH: u8 = 1;
const OPS: u8 = 2;
const RESET: u8 = 3;

/// Ends the operations of a record.
const END: u8 = 0;

const LINEAGE: u8 = 1;
const RESTART: u8 = 2;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const PURGE: u8 = 3;

/// Longer values have a checksum of their own, so that one can be read alone.
pub(super) const SMALL_VALUE: usize = 64;
/// A record of operations is closed when it is larger.
const RECORD: usize = 8 << 20;

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action<'a> {
    Put(&'a [u8]),
    Delete,
    Purge,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Op<'a> {
    pub(super) key: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) action: Action<'a>,
    /// Where the value begins in the record, and its checksum; 0 if it is small.
    pub(super) at: usize,
    pub(super) crc: u32,
}

/// What commits the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) cursor: WatchCursor,
    /// From here on the fold is of this source.
    pub(super) lineage: Option<Lineage>,
    /// Versions begin anew at this cursor.
    pub(super) restart: bool,
    /// Milliseconds since the Unix epoch: for people.
    pub(super) wall_ms: u64,
}

/// A record, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// It had operations alone.
    Ops,
    Commit(Commit),
    /// All before it is void.
    Reset {
        reason: String,
        wall_ms: u64,
    },
}

/// Why a record does not make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nonsense {
    /// Its kind, or a flag of it, is not known here.
    Unknown,
    Broken,
}

/// Where a value was put: in which record of the batch, and at which offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Laid {
    pub(super) record: usize,
    pub(super) at: usize,
    pub(super) crc: u32,
}

/// The records of a batch in the making.
#[derive(Debug, Default)]
pub(super) struct Writer {
    done: Vec<Vec<u8>>,
    record: Vec<u8>,
}

impl Writer {
    /// Adds an operation; says where its value is.
    pub(super) fn push(&mut self, key: &[u8], version: &[u8], action: Action<'_>) -> Laid {
        if self.record.len() > RECORD {
            self.record.push(END);
            self.done.push(std::mem::take(&mut self.record));
        }
        let record = &mut self.record;
        if record.is_empty() {
            record.push(OPS);
        }
        record.push(match action {
            Action::Put(_) => PUT,
            Action::Delete => DELETE,
            Action::Purge => PURGE,
        });
        put_with_len(key, record);
        put_with_len(version, record);
        let mut laid = Laid { record: self.done.len(), at: 0, crc: 0 };
        if let Action::Put(value) = action {
            put_varint(value.len() as u64, record);
            laid.at = record.len();
            record.extend_from_slice(value);
            if value.len() > SMALL_VALUE {
                laid.crc = crc32(value, 0);
                record.extend_from_slice(&laid.crc.to_le_bytes());
            }
        }
        laid
    }

    /// The records, the last of which commits the others.
    pub(super) fn finish(mut self, commit: &Commit) -> Vec<Vec<u8>> {
        let mut record = std::mem::take(&mut self.record);
        match record.first_mut() {
            Some(kind) => *kind = BATCH,
            None => record.push(BATCH),
        }
        let mut flags = 0;
        if commit.lineage.is_some() {
            flags |= LINEAGE;
        }
        if commit.restart {
            flags |= RESTART;
        }
        record.extend_from_slice(&[END, flags]);
        put_with_len(&commit.cursor.to_bytes(), &mut record);
        if let Some(lineage) = &commit.lineage {
            put_with_len(lineage.kind.as_bytes(), &mut record);
            put_with_len(&lineage.id, &mut record);
        }
        record.extend_from_slice(&commit.wall_ms.to_le_bytes());
        self.done.push(record);
        self.done
    }
}

/// The record of a reset.
pub(super) fn reset(reason: &str, wall_ms: u64) -> Vec<u8> {
    let mut record = vec![RESET];
    put_with_len(reason.as_bytes(), &mut record);
    record.extend_from_slice(&wall_ms.to_le_bytes());
    record
}

/// Shows `each` the operations of a record, and says what the record is.
pub(super) fn read<'a>(record: &'a [u8], mut each: impl FnMut(Op<'a>)) -> Result<Record, Nonsense> {
    let mut input = Reader::new(record);
    match input.u8().ok_or(Nonsense::Broken)? {
        RESET => {
            let read = read_reset(&mut input).filter(|_| input.rest().is_empty());
            read.ok_or(Nonsense::Broken)
        }
        kind @ (BATCH | OPS) => {
            loop {
                match input.u8() {
                    Some(END) => break,
                    Some(op @ (PUT | DELETE | PURGE)) => {
                        each(read_op(record.len(), op, &mut input).ok_or(Nonsense::Broken)?);
                    }
                    Some(_) => return Err(Nonsense::Unknown),
                    None => return Err(Nonsense::Broken),
                }
            }
            let read = if kind == OPS { Some(Record::Ops) } else { read_commit(&mut input)? };
            read.filter(|_| input.rest().is_empty()).ok_or(Nonsense::Broken)
        }
        _ => Err(Nonsense::Unknown),
    }
}

fn read_op<'a>(record_len: usize, kind: u8, input: &mut Reader<'a>) -> Option<Op<'a>> {
    let (key, version) = (input.with_len()?, input.with_len()?);
    if key.len() > super::KEY_MAX || version.len() > super::POSITION_MAX {
        return None;
    }
    std::str::from_utf8(key).ok()?;
    let (mut at, mut crc) = (0, 0);
    let action = match kind {
        DELETE => Action::Delete,
        PURGE => Action::Purge,
        _ => {
            let value = input.with_len()?;
            at = record_len.checked_sub(input.rest().len())?.checked_sub(value.len())?;
            if value.len() > SMALL_VALUE {
                crc = input.u32()?;
            }
            Action::Put(value)
        }
    };
    Some(Op { key, version, action, at, crc })
}

fn read_commit(input: &mut Reader<'_>) -> Result<Option<Record>, Nonsense> {
    let flags = input.u8().ok_or(Nonsense::Broken)?;
    if flags & !(LINEAGE | RESTART) != 0 {
        return Err(Nonsense::Unknown);
    }
    Ok(read_commit_fields(flags, input).map(Record::Commit))
}

fn read_commit_fields(flags: u8, input: &mut Reader<'_>) -> Option<Commit> {
    let cursor = WatchCursor::from_bytes(input.with_len()?)?;
    let lineage = if flags & LINEAGE == 0 {
        None
    } else {
        let kind = String::from_utf8(input.with_len()?.to_vec()).ok()?;
        Some(Lineage { kind, id: input.with_len()?.to_vec() })
    };
    Some(Commit { cursor, lineage, restart: flags & RESTART != 0, wall_ms: input.u64()? })
}

fn read_reset(input: &mut Reader<'_>) -> Option<Record> {
    let reason = String::from_utf8(input.with_len()?.to_vec()).ok()?;
    Some(Record::Reset { reason, wall_ms: input.u64()? })
}

/// The newest version that is known: what a fold's mark is raised to.
pub(super) fn raise(mark: &mut VersionToken, version: &[u8]) {
    let comparable = mark.as_bytes().len() == version.len();
    if (mark.is_unknown() && !version.is_empty()) || (comparable && mark.as_bytes() < version) {
        *mark = VersionToken::of(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Commit {
        Commit {
            cursor: WatchCursor::from_u64(7).remember_evicting(true),
            lineage: Some(Lineage { kind: "nats".into(), id: vec![1, 2] }),
            restart: true,
            wall_ms: 99,
        }
    }

    fn ops(record: &[u8]) -> (Vec<Op<'_>>, Result<Record, Nonsense>) {
        let mut ops = Vec::new();
        let read = read(record, |op| ops.push(op));
        (ops, read)
    }

    #[test]
    fn a_batch_comes_back_and_says_where_its_values_are() {
        let long = vec![5; 100];
        let mut writer = Writer::default();
        let actions = [Action::Put(b""), Action::Put(&long), Action::Delete, Action::Purge];
        let laid = actions.map(|action| writer.push(b"key", b"12345678", action));
        let records = writer.finish(&commit());
        let [record] = &records[..] else { panic!("{}", records.len()) };
        let (found, read) = ops(record);
        assert_eq!(read, Ok(Record::Commit(commit())));
        assert_eq!(found.iter().map(|op| op.action).collect::<Vec<_>>(), actions);
        for (op, laid) in found.iter().zip(laid) {
            assert_eq!((op.at, op.crc, laid.record), (laid.at, laid.crc, 0));
            if let Action::Put(value) = op.action {
                assert_eq!(&record[op.at..][..value.len()], value);
            }
        }
        assert_eq!(found[1].crc, crc32(&long, 0));
    }

    #[test]
    fn a_batch_without_operations_is_small() {
        let commit =
            Commit { lineage: None, restart: false, cursor: WatchCursor::from_u64(1), ..commit() };
        let records = Writer::default().finish(&commit);
        assert_eq!((records.len(), records[0].len()), (1, 20));
        assert_eq!(ops(&records[0]), (vec![], Ok(Record::Commit(commit))));
    }

    #[test]
    fn a_large_batch_is_several_records() {
        let value = vec![1; RECORD / 2];
        let mut writer = Writer::default();
        let laid: Vec<_> =
            (0..7_u8).map(|n| writer.push(&[b'a' + n], b"", Action::Put(&value))).collect();
        let records = writer.finish(&commit());
        assert!(records.len() > 2);
        let found: Vec<_> = records.iter().map(|record| ops(record)).collect();
        let last = found.len() - 1;
        for (n, (_, read)) in found.iter().enumerate() {
            assert_eq!(matches!(read, Ok(Record::Commit(_))), n == last);
        }
        let keys: Vec<_> = found.iter().flat_map(|(ops, _)| ops).map(|op| op.key[0]).collect();
        assert_eq!(keys, b"abcdefg");
        for (laid, key) in laid.iter().zip(keys) {
            let op = found[laid.record].0.iter().find(|op| op.key == [key]).unwrap();
            assert_eq!(op.at, laid.at);
        }
    }

    #[test]
    fn what_is_cut_or_longer_makes_no_sense() {
        let mut writer = Writer::default();
        writer.push(b"key", b"v", Action::Put(b"value"));
        writer.push(b"key", b"v", Action::Delete);
        for record in [writer.finish(&commit()).remove(0), reset("why", 3)] {
            assert!(ops(&record).1.is_ok());
            for cut in 0..record.len() {
                assert!(ops(&record[..cut]).1.is_err(), "{cut}");
            }
            assert!(ops(&[&record[..], &[0]].concat()).1.is_err());
        }
        assert_eq!(ops(&[9]).1, Err(Nonsense::Unknown));
        assert_eq!(ops(&[BATCH, 9]).1, Err(Nonsense::Unknown));
        assert_eq!(ops(&[BATCH, END, 4]).1, Err(Nonsense::Unknown));
        let said = Record::Reset { reason: "why".into(), wall_ms: 3 };
        assert_eq!(ops(&reset("why", 3)).1, Ok(said));
        assert_eq!(
            ops(&[BATCH, PUT, 1, 0xff, 0, 0, END, 0, 0]).1,
            Err(Nonsense::Broken),
            "no UTF-8"
        );
    }

    #[test]
    fn the_mark_only_rises() {
        let mut mark = VersionToken::unknown();
        for (version, expected) in [(3, 3), (2, 3), (300, 300)] {
            raise(&mut mark, &u64::to_be_bytes(version));
            assert_eq!(mark.as_u64(), Some(expected));
        }
        raise(&mut mark, b"longer than that");
        assert_eq!(mark.as_u64(), Some(300));
    }
}
