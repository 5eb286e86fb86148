//! `log cat`, `log tail` and the same of a journal: records to stdout, read-only, beside a living owner.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use untorn::journal::split_record;
use untorn::log::{Log, LogOptions, LogReader, Rec, Upto};
use untorn::{Error, ErrorKind};

use super::journal;
use crate::args::{Last, Range};
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::{Out, hex};

/// What a record is.
pub(super) enum Form {
    Record,
    /// Of a journal, in the codec of this name.
    Event(String),
}

/// A log to read from.
pub(super) struct Source<'a> {
    pub(super) log: &'a Path,
    pub(super) form: Form,
    /// The journal that it is the log of.
    pub(super) of: Option<&'a Path>,
}

#[derive(Default, Serialize)]
struct Shown<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    utf8: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// A log as it can be read.
struct Opened {
    reader: LogReader,
    /// The oldest record that can be.
    first: u64,
    /// What is damaged below it.
    damage: Option<Error>,
}

impl<'a> Source<'a> {
    pub(super) const fn log(log: &'a Path) -> Self {
        Self { log, form: Form::Record, of: None }
    }

    fn open(&self) -> Result<Opened> {
        let whole = Log::open_read_only(self.log, LogOptions::new());
        match (whole, self.of) {
            (Ok(reader), _) => Ok(Opened { first: reader.first_seq(), reader, damage: None }),
            (Err(e), Some(of)) if e.kind() == ErrorKind::Damaged => match journal::above(of)? {
                Some((reader, first)) => Ok(Opened { reader, first, damage: Some(e) }),
                None => Err(e.into()),
            },
            (Err(e), None) if e.kind() == ErrorKind::NotOurs && journal::is_journal(self.log) => {
                let what = "it is a journal: `untorn journal` reads its events";
                Err(Failure::new(ErrorKind::NotOurs, self.log, what))
            }
            (Err(e), _) => Err(e.into()),
        }
    }

    const fn noun(&self) -> &'static str {
        match self.form {
            Form::Record => "records",
            Form::Event(_) => "events",
        }
    }

    /// Prints from `from` up to `to`; returns the number after the last one printed.
    fn print(
        &self,
        reader: &LogReader,
        (from, to): (u64, u64),
        with_seq: bool,
        upto: Upto,
        out: &mut Out,
    ) -> Result<u64> {
        let mut next = from;
        let mut scan = reader.read(from, upto)?;
        while let Some(record) = scan.next()? {
            if record.seq > to {
                break;
            }
            self.show(&record, with_seq, out)?;
            next = record.seq.saturating_add(1);
        }
        Ok(next)
    }

    fn show(&self, record: &Rec<'_>, with_seq: bool, out: &mut Out) -> Result<()> {
        let (version, bytes) = match &self.form {
            Form::Record => (None, record.bytes),
            Form::Event(_) => {
                let Some((version, bytes)) = split_record(record.bytes) else {
                    let what = format!("no journal wrote the record {}", record.seq);
                    return Err(Failure::new(ErrorKind::NotOurs, self.log, what));
                };
                (Some(version), bytes)
            }
        };
        // Of an unknown codec some bytes look like text by chance.
        let opaque = matches!(&self.form, Form::Event(codec) if codec != "json" && codec != "raw");
        if out.json() {
            let is_json = matches!(&self.form, Form::Event(codec) if codec == "json");
            let text = std::str::from_utf8(bytes).ok().filter(|_| !opaque);
            let event = text.filter(|_| is_json).and_then(|text| serde_json::from_str(text).ok());
            let utf8 = text.filter(|_| event.is_none());
            let hex = text.is_none().then(|| hex(bytes));
            return out.value(&Shown { seq: record.seq, version, event, utf8, hex });
        }
        if with_seq {
            out.bytes(format!("{}\t", record.seq).as_bytes())?;
        }
        if opaque {
            out.bytes(hex(bytes).as_bytes())?;
        } else {
            out.bytes(bytes)?;
        }
        out.bytes(b"\n")
    }
}

/// How far to read. Without a living owner nobody takes back what is written: the next open vouches for all of it.
fn reach(dir: &Path, written: bool) -> Result<Upto> {
    let free = untorn::holder(dir)?.is_none_or(|holder| holder.alive == Some(false));
    Ok(if written || free { Upto::Written } else { Upto::Durable })
}

pub(super) fn cat(source: &Source<'_>, range: &Range, out: &mut Out) -> Result<u8> {
    let Opened { reader, first, damage } = source.open()?;
    let upto = reach(source.log, range.written)?;
    if let Some(damage) = damage.filter(|_| range.from.is_none_or(|from| from < first)) {
        let what = format!("--from {first} prints what a snapshot does not cover");
        return Err(Failure::from(damage).after(&what));
    }
    let from = range.from.unwrap_or(first);
    let to = range.to.unwrap_or(u64::MAX);
    source.print(&reader, (from, to), range.seq, upto, out)?;
    let (durable, last) = (reader.durable_seq(), reader.last_seq());
    if upto == Upto::Durable && last > durable && to > durable {
        let more = last - durable;
        out.note(format_args!(
            "note: {more} more are written, but nothing vouches for them yet; --written shows them"
        ));
    }
    Ok(code::OK)
}

pub(super) fn tail(source: &Source<'_>, args: &Last, out: &mut Out) -> Result<u8> {
    const LOOK: Duration = Duration::from_millis(200);
    let Opened { mut reader, first, damage } = source.open()?;
    let upto = reach(source.log, args.written)?;
    let end = |reader: &LogReader, upto| match upto {
        Upto::Written => reader.last_seq(),
        _ => reader.durable_seq(),
    };
    let after = end(&reader, upto).saturating_add(1);
    let mut next = match args.from {
        // What is not there yet is waited for.
        Some(from) if from > after && args.follow => from,
        Some(from) => source.print(&reader, (from, u64::MAX), args.seq, upto, out)?,
        None => {
            let from = after.saturating_sub(args.number).max(first);
            source.print(&reader, (from, u64::MAX), args.seq, upto, out)?
        }
    };
    if let Some(damage) = damage {
        out.note(format_args!("note: {} before {first} are damaged: {damage}", source.noun()));
    }
    if !args.follow {
        return Ok(code::OK);
    }
    input::watch_signals(|| ())?;
    while !input::stopped() {
        out.flush()?;
        match reader.wait_for_more(LOOK) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Stale => {
                reader = source.open()?.reader;
                let last = reader.last_seq();
                if next > last.saturating_add(1) {
                    let noun = source.noun();
                    out.note(format_args!("note: the owner took back the {noun} after {last}"));
                    next = last.saturating_add(1);
                }
            }
            Err(e) => return Err(e.into()),
        }
        let upto = reach(source.log, args.written)?;
        let first = reader.first_seq();
        if next < first {
            let noun = source.noun();
            out.note(format_args!("note: {noun} {next} to {} were dropped unread", first - 1));
            next = first;
        }
        if end(&reader, upto) >= next {
            next = match source.print(&reader, (next, u64::MAX), args.seq, upto, out) {
                // A segment was dropped between look and read: the next look sees the new front.
                Err(failure) if failure.is_stale() => next,
                printed => printed?,
            };
        }
    }
    Ok(code::OK)
}
