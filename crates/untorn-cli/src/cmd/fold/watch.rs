//! `fold watch`: the changes of a fold that another process owns.

use std::thread;
use std::time::{Duration, Instant};

use untorn::ErrorKind;
use untorn::fold::{AppendLogSnapshot, FoldSnapshot, ScanOptions, WatchCursor};

use super::args::FoldWatch;
use super::{lines, look};
use crate::exit::{Result, code};
use crate::input;
use crate::out::Out;

/// A signal is noticed within this.
const NAP: Duration = Duration::from_millis(20);

pub(super) fn watch(args: &FoldWatch, out: &mut Out) -> Result<u8> {
    let mut fold = look(&args.dir)?;
    input::watch_signals(|| ())?;
    let end =
        args.timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let over = || input::stopped() || end.is_some_and(|end| Instant::now() >= end);
    let (mut before, mut was) = (fold.snapshot(), Mark::of(&fold));
    if args.all {
        for entry in before.scan(&ScanOptions::prefix(args.prefix.clone())) {
            lines::put(entry?, out)?;
        }
        lines::progress(&before.cursor(), out)?;
    }
    loop {
        out.flush()?;
        let looked = Instant::now();
        while looked.elapsed() < args.pause() {
            if over() {
                return Ok(code::OK);
            }
            thread::sleep(NAP.min(args.pause()));
        }
        match fold.refresh() {
            Ok(_) => {}
            // The owner was faster than the look: the next one sees it.
            Err(e) if e.kind() == ErrorKind::Stale => continue,
            Err(e) => return Err(e.into()),
        }
        let is = Mark::of(&fold);
        if is != was {
            let now = fold.snapshot();
            tell(&before, &now, &args.prefix, out)?;
            (before, was) = (now, is);
        }
    }
}

/// What no commit leaves as it is. A part of a listing changes entries and not the cursor.
#[derive(PartialEq, Eq)]
struct Mark {
    cursor: WatchCursor,
    tail: u64,
    base: u64,
}

impl Mark {
    fn of(fold: &AppendLogSnapshot) -> Self {
        let stats = fold.stats();
        Self { cursor: stats.cursor, tail: stats.tail_bytes, base: stats.base_bytes }
    }
}

fn tell(before: &FoldSnapshot, now: &FoldSnapshot, prefix: &str, out: &mut Out) -> Result<()> {
    let mut any = before.cursor() != now.cursor() && prefix.is_empty();
    for change in before.diff(now) {
        let change = change?;
        if change.key.starts_with(prefix) {
            any = true;
            lines::change(change, out)?;
        }
    }
    if any {
        lines::progress(&now.cursor(), out)?;
    }
    Ok(())
}
