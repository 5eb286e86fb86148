//! `untorn fetch URL -`: the bytes in order to stdout. Nothing is kept, so nothing can be resumed by a later run.

use std::sync::Arc;

use untorn::{Error, ErrorKind};

use super::args::Fetch;
use super::http::HttpSource;
use super::run::{identity, source};
use super::sum::{Hasher, shown};
use super::tell::{failure, too_large};
use super::tries::Tries;
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::{Out, hex};

pub(super) fn run(args: &Fetch, out: &mut Out) -> Result<u8> {
    let of_files = [
        (args.no_clobber, "--no-clobber"),
        (args.restart, "--restart"),
        (args.wait, "--wait"),
        (args.remote_time, "--remote-time"),
        (args.mode.is_some(), "--mode"),
    ];
    if let Some((_, name)) = of_files.into_iter().find(|(given, _)| *given) {
        let what = format!("{name} is of files, and `-` is stdout");
        return Err(Failure::plain(ErrorKind::InvalidInput, what));
    }
    let source = Arc::new(source(args)?);
    let for_signals = Arc::clone(&source);
    input::watch_signals(move || for_signals.cancel())?;
    let identity = identity(&source, args, out)?;
    let told = |error: &Error| failure(error, &source.shown(), "");
    if let Some((len, max)) = identity.len.zip(args.max_size).filter(|(len, max)| len > max) {
        return Err(told(&too_large(len, max)));
    }
    let mut hasher = args.sum.as_ref().and_then(|sum| Hasher::of(&sum.algo));
    match pour(&source, args.max_size, &mut hasher, out) {
        Ok(()) => out.flush()?,
        Err(Ended::Out(failure)) => return Err(failure),
        Err(Ended::Source(e)) if e.kind() == ErrorKind::Cancelled => {
            out.note(format_args!("interrupted; stdout has the beginning of the file"));
            return Err(Failure::Quiet(code::FAILED));
        }
        Err(Ended::Source(e)) => return Err(told(&e).after("stdout has only its beginning")),
    }
    let found = hasher.map(Hasher::finish);
    if let (Some(expected), Some(found)) = (&args.sum, found)
        && expected.sum != found
    {
        let (algo, expected) = (&expected.algo, shown(expected));
        let what = format!("its digest is {algo}:{}, not {expected}", hex(&found));
        let what = format!("{}: {what}; do not use what stdout has got", source.shown());
        return Err(Failure::plain(ErrorKind::Damaged, what));
    }
    Ok(code::OK)
}

/// Why it ended early.
enum Ended {
    Out(Failure),
    Source(Error),
}

fn pour(
    source: &HttpSource,
    max_size: Option<u64>,
    hasher: &mut Option<Hasher>,
    out: &mut Out,
) -> Result<(), Ended> {
    let mut tries = Tries::default();
    let mut at = 0;
    loop {
        let from = at;
        let mut refused = None;
        let ended = source.in_order(from, &mut |offset, bytes| {
            let end = offset.saturating_add(bytes.len() as u64);
            if let Some(max) = max_size.filter(|max| end > *max) {
                return Err(too_large(end, max));
            }
            if let Err(failure) = out.bytes(bytes) {
                refused = Some(failure);
                let words = "stdout takes no more";
                return Err(Error::of_caller(ErrorKind::Closed, "fetch", words));
            }
            if let Some(hasher) = hasher {
                hasher.update(bytes);
            }
            at = end;
            Ok(())
        });
        match (ended, refused) {
            (_, Some(failure)) => return Err(Ended::Out(failure)),
            (Ok(_), None) => return Ok(()),
            (Err(error), None) => {
                tries.pause(source, error, at > from).map_err(Ended::Source)?;
            }
        }
    }
}
