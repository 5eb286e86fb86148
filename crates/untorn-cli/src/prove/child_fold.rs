//! The fold's part of the process that is killed: one writer, a thread that compacts, and two that read states again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use untorn::ErrorKind;
use untorn::fold::FoldReader;

use super::child::tell;
use super::content::Rng;
use super::fold_model::{number, open, perform, read_some, step};
use crate::args::ProveChild;
use crate::exit::{Failure, Result};

pub(super) fn run(args: &ProveChild) -> Result<()> {
    let (cursor, mut fold) = open(&args.dir)?;
    let mut at = number(&cursor)?;
    let reader = fold.reader();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let chance = args.seed ^ u64::from(args.round);
        let read = |nth: u64| {
            let (reader, over) = (reader.clone(), &over);
            scope.spawn(move || read(&reader, args.seed, chance.wrapping_add(nth), over))
        };
        let readers = [read(1), read(2)];
        let written = (|| {
            while !readers.iter().any(thread::ScopedJoinHandle::is_finished) {
                at += 1;
                perform(&mut fold, &step(args.seed, at), at)?;
                if let Some(error) = fold.stats().compaction_error {
                    let what = format!("a compaction failed: {error}");
                    return Err(Failure::plain(ErrorKind::Failed, what));
                }
                if !tell(0, at, at) {
                    break;
                }
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            match reader.join() {
                Ok(done) => done?,
                Err(_) => return Err(Failure::plain(ErrorKind::Failed, "a reader panicked")),
            }
        }
        written
    })
}

fn read(reader: &FoldReader, seed: u64, chance: u64, over: &AtomicBool) -> Result<()> {
    let mut rng = Rng::new(chance);
    let mut last = 0;
    while !over.load(Ordering::Relaxed) {
        let state = reader.snapshot();
        let at = number(&state.cursor())?;
        let flaw = if at < last {
            Some(format!("the cursor went from {last} back to {at}"))
        } else {
            read_some(seed, &state, &mut rng)?
        };
        if let Some(flaw) = flaw {
            let what = format!("beside the writer, at cursor {at}: {flaw}");
            return Err(Failure::plain(ErrorKind::Damaged, what));
        }
        last = at;
    }
    Ok(())
}
