//! `log append`: lines in, numbers out once they are durable. One thread appends, one waits and prints, so that syncs are shared.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use serde::Serialize;
use untorn::log::{Log, LogOptions, Ticket};
use untorn::{Durability, ErrorKind};

use crate::args::Append;
use crate::exit::{Failure, Result, code};
use crate::input::{self, Input};
use crate::out::Out;

/// Records that are appended and not printed yet at most.
const IN_FLIGHT: usize = 1 << 16;

pub(crate) fn append(args: &Append, out: &mut Out) -> Result<u8> {
    let durability = if args.buffered { Durability::Buffered } else { Durability::Synced };
    // The thread vouches for the last records of an idle log, so that readers beside it see them.
    let options = LogOptions::new().durability(durability).sync_thread(true);
    let max_record = options.max_record;
    let (log, report) = Log::open(&args.dir, options)?;
    if let Some(healed) = &report.healed {
        let path = healed.path.display();
        out.note(format_args!("note: healed a torn tail of {} bytes in {path}", healed.bytes));
    }
    let input = input::open()?;
    if args.batch {
        batch(&log, &input, max_record, out)?;
    } else {
        pipeline(&log, &input, max_record, out)?;
    }
    log.close()?;
    Ok(code::OK)
}

fn pipeline(log: &Log, input: &Receiver<Input>, max_record: usize, out: &mut Out) -> Result<()> {
    let (send, receive) = sync_channel(IN_FLIGHT);
    thread::scope(|scope| {
        let printer = scope.spawn(move || print(&receive, out));
        let appended = append_lines(log, input, max_record, &send);
        drop(send);
        // The printer's failure is the cause: without it the other one is told.
        match printer.join() {
            Ok(shown) => shown.and(appended),
            Err(_) => {
                Err(Failure::plain(ErrorKind::Failed, "the printing thread ended unexpectedly"))
            }
        }
    })
}

fn append_lines(
    log: &Log,
    input: &Receiver<Input>,
    max_record: usize,
    send: &SyncSender<Ticket>,
) -> Result<()> {
    lines(input, max_record, |line| {
        let ticket = log.append(line)?;
        // If the printer is gone it failed, and says why.
        send.send(ticket).map_err(|_| Failure::Quiet(code::FAILED))
    })
    .map(drop)
}

/// Hands out the lines of stdin; returns false if a signal ended it.
fn lines(
    input: &Receiver<Input>,
    max_record: usize,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<bool> {
    let mut begun: Vec<u8> = Vec::new();
    loop {
        match input.recv() {
            _ if input::stopped() => return Ok(false),
            Ok(Input::Bytes(piece)) => {
                let mut rest = &*piece;
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let (line, after) = rest.split_at(end);
                    if begun.is_empty() {
                        each(line)?;
                    } else {
                        begun.extend_from_slice(line);
                        each(&begun)?;
                        begun.clear();
                    }
                    rest = after.get(1..).unwrap_or_default();
                    if input::stopped() {
                        return Ok(false);
                    }
                }
                begun.extend_from_slice(rest);
                if begun.len() > max_record {
                    let what = format!(
                        "a line is longer than the {max_record} bytes of a record; all lines before it are appended"
                    );
                    return Err(Failure::plain(ErrorKind::TooLarge, what));
                }
            }
            Ok(Input::End) => {
                if !begun.is_empty() {
                    each(&begun)?;
                }
                return Ok(true);
            }
            Ok(Input::Failed(e)) => return Err(Failure::io("read", Path::new("stdin"), e)),
            Ok(Input::Stop) | Err(_) => return Ok(false),
        }
    }
}

#[derive(Serialize)]
struct Acknowledged {
    seq: u64,
}

/// Prints in order, and shows what it has before it waits for anything.
fn print(tickets: &Receiver<Ticket>, out: &mut Out) -> Result<()> {
    loop {
        let ticket = match tickets.try_recv() {
            Ok(ticket) => ticket,
            Err(TryRecvError::Empty) => {
                flush(out)?;
                match tickets.recv() {
                    Ok(ticket) => ticket,
                    Err(_) => return Ok(()),
                }
            }
            Err(TryRecvError::Disconnected) => return flush(out),
        };
        if !ticket.is_done() {
            flush(out)?;
        }
        show(ticket.wait()?, out)?;
    }
}

/// Nobody hears the acknowledgements any more: that is no success.
fn flush(out: &mut Out) -> Result<()> {
    out.flush().map_err(unheard)
}

fn unheard(failure: Failure) -> Failure {
    match failure {
        Failure::Quiet(_) => Failure::Quiet(code::FAILED),
        told @ Failure::Told(_) => told,
    }
}

fn show(seq: u64, out: &mut Out) -> Result<()> {
    let shown =
        if out.json() { out.value(&Acknowledged { seq }) } else { out.line(format_args!("{seq}")) };
    shown.map_err(unheard)
}

fn batch(log: &Log, input: &Receiver<Input>, max_record: usize, out: &mut Out) -> Result<()> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    let whole = lines(input, max_record, |line| {
        records.push(line.to_vec());
        Ok(())
    })?;
    if !whole {
        let what = "interrupted before the batch was whole; nothing was appended";
        return Err(Failure::plain(ErrorKind::Cancelled, what));
    }
    if records.is_empty() {
        return Ok(());
    }
    let last = log.append_batch(records.iter().map(Vec::as_slice))?.wait()?;
    let first = last.saturating_sub(records.len() as u64).saturating_add(1);
    for seq in first..=last {
        show(seq, out)?;
    }
    flush(out)
}
