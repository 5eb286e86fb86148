//! `log cat` and `log tail`: records to stdout, read-only, beside a living owner.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::log::{Log, LogOptions, LogReader, Rec, Upto};

use crate::args::{Cat, Tail};
use crate::exit::{Result, code};
use crate::input;
use crate::out::{Out, hex};

#[derive(Serialize)]
struct Shown<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    utf8: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// Prints records from `from` up to `to`; returns the number after the last one printed.
fn print(
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
        show(&record, with_seq, out)?;
        next = record.seq.saturating_add(1);
    }
    Ok(next)
}

fn show(record: &Rec<'_>, with_seq: bool, out: &mut Out) -> Result<()> {
    if out.json() {
        let utf8 = std::str::from_utf8(record.bytes).ok();
        let hex = utf8.is_none().then(|| hex(record.bytes));
        return out.value(&Shown { seq: record.seq, utf8, hex });
    }
    if with_seq {
        out.bytes(format!("{}\t", record.seq).as_bytes())?;
    }
    out.bytes(record.bytes)?;
    out.bytes(b"\n")
}

/// How far to read. Without a living owner nobody takes back what is written: the next open vouches for all of it.
fn reach(dir: &Path, written: bool) -> Result<Upto> {
    let free = untorn::holder(dir)?.is_none_or(|holder| holder.alive == Some(false));
    Ok(if written || free { Upto::Written } else { Upto::Durable })
}

pub(crate) fn cat(args: &Cat, out: &mut Out) -> Result<u8> {
    let reader = Log::open_read_only(&args.dir, LogOptions::new())?;
    let upto = reach(&args.dir, args.written)?;
    let from = args.from.unwrap_or_else(|| reader.first_seq());
    let to = args.to.unwrap_or(u64::MAX);
    print(&reader, (from, to), args.seq, upto, out)?;
    let (durable, last) = (reader.durable_seq(), reader.last_seq());
    if upto == Upto::Durable && last > durable && to > durable {
        let more = last - durable;
        out.note(format_args!(
            "note: {more} more are written, but nothing vouches for them yet; --written shows them"
        ));
    }
    Ok(code::OK)
}

pub(crate) fn tail(args: &Tail, out: &mut Out) -> Result<u8> {
    const LOOK: Duration = Duration::from_millis(200);
    let mut reader = Log::open_read_only(&args.dir, LogOptions::new())?;
    let upto = reach(&args.dir, args.written)?;
    let end = |reader: &LogReader, upto| match upto {
        Upto::Written => reader.last_seq(),
        _ => reader.durable_seq(),
    };
    let from = end(&reader, upto).saturating_add(1).saturating_sub(args.number);
    let from = from.max(reader.first_seq());
    let mut next = print(&reader, (from, u64::MAX), args.seq, upto, out)?;
    if !args.follow {
        return Ok(code::OK);
    }
    input::watch_signals(|| ())?;
    while !input::stopped() {
        out.flush()?;
        match reader.wait_for_more(LOOK) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Stale => {
                reader = Log::open_read_only(&args.dir, LogOptions::new())?;
                let last = reader.last_seq();
                if next > last.saturating_add(1) {
                    out.note(format_args!("note: the owner took back the records after {last}"));
                    next = last.saturating_add(1);
                }
            }
            Err(e) => return Err(e.into()),
        }
        let upto = reach(&args.dir, args.written)?;
        let first = reader.first_seq();
        if next < first {
            out.note(format_args!("note: records {next} to {} were dropped unread", first - 1));
            next = first;
        }
        if end(&reader, upto) >= next {
            next = match print(&reader, (next, u64::MAX), args.seq, upto, out) {
                // A segment was dropped between look and read: the next look sees the new front.
                Err(failure) if failure.is_stale() => next,
                printed => printed?,
            };
        }
    }
    Ok(code::OK)
}
