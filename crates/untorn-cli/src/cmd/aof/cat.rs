//! `aof cat` and `aof tail`: elements to stdout, read-only, beside a living owner.

use std::time::Duration;

use serde::Serialize;
use untorn::ErrorKind;
use untorn::append::{Snapshot, TailEvent};

use super::args::{AofCat, AofTail, Form, Positions};
use super::elements::print as print_one;
use super::found::{Store, must_find};
use super::reading::{follow, look, next};
use super::{elements, thousands};
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::Out;

/// How often a reader who was overtaken looks anew before it gives up.
const TRIES: u32 = 100;

pub(super) fn cat(args: &AofCat, out: &mut Out) -> Result<u8> {
    let store = must_find(&args.file)?;
    let nth = store.one()?;
    let view = look(&store, nth)?;
    let Positions { start, end } = args.range.unwrap_or(Positions { start: None, end: None });
    let (start, end) = (start.unwrap_or(view.first()), end.unwrap_or(view.len()));
    if end > view.len() || start > view.len() {
        let what = format!("it has {}", elements(view.len()));
        return Err(Failure::new(ErrorKind::OutOfRange, &args.file, what));
    }
    if start < view.first() {
        let what = format!("those before {} were dropped", thousands(view.first()));
        return Err(Failure::new(ErrorKind::Pruned, &args.file, what));
    }
    print(&store, nth, view, (start, end), &args.form, out)?;
    Ok(code::OK)
}

/// Prints the elements of a range, which the view has; returns the position after the last one.
fn print(
    store: &Store,
    nth: usize,
    mut view: Snapshot<Vec<u8>>,
    (start, end): (u64, u64),
    form: &Form,
    out: &mut Out,
) -> Result<u64> {
    let mut bytes = Vec::new();
    let mut tries = 0;
    let mut next = start;
    while next < end.min(view.len()) {
        bytes.clear();
        match view.copy_to(next, &mut bytes) {
            Ok(()) => {
                print_one(next, &bytes, form, out)?;
                next += 1;
            }
            // The owner changed what was looked at; what follows is of its next state.
            Err(e) if e.kind() == ErrorKind::Stale && tries < TRIES => {
                tries += 1;
                view = look(store, nth)?;
            }
            Err(e) => return Err(e.into()),
        }
    }
    if next < end {
        let len = elements(view.len());
        out.note(format_args!("note: the owner took elements back meanwhile; there are {len} now"));
    }
    Ok(next)
}

pub(super) fn tail(args: &AofTail, out: &mut Out) -> Result<u8> {
    const LOOK: Duration = Duration::from_millis(100);
    #[derive(Serialize)]
    struct Rewound {
        rewound_to: u64,
    }
    let store = must_find(&args.file)?;
    let nth = store.one()?;
    if args.follow {
        input::watch_signals(|| ())?;
    }
    let view = look(&store, nth)?;
    let (first, len) = (view.first(), view.len());
    let start = args.from.unwrap_or_else(|| len.saturating_sub(args.number));
    let start = if args.from.is_some_and(|from| from > len) && !args.follow {
        let what = format!("it has {}", elements(len));
        return Err(Failure::new(ErrorKind::OutOfRange, &args.file, what));
    } else if args.from.is_some_and(|from| from < first) {
        let what = format!("those before {} were dropped", thousands(first));
        return Err(Failure::new(ErrorKind::Pruned, &args.file, what));
    } else {
        start.max(first)
    };
    print(&store, nth, view, (start, len.max(start)), &args.form, out)?;
    if !args.follow {
        return Ok(code::OK);
    }
    let mut tail = follow(&store, nth, start.max(len))?;
    while !input::stopped() {
        out.flush()?;
        match next(&mut tail, LOOK)? {
            None => {}
            Some(TailEvent::Elements(new)) => {
                print(&store, nth, look(&store, nth)?, (new.start, new.end), &args.form, out)?;
            }
            Some(TailEvent::Rewound { to }) if out.json() => {
                out.value(&Rewound { rewound_to: to })?;
            }
            Some(TailEvent::Rewound { to }) => {
                let to = elements(to);
                out.note(format_args!("note: the owner took elements back; {to} are left"));
            }
        }
    }
    Ok(code::OK)
}
