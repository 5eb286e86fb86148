//! The pool's part of the process that is killed: one writer who commits, and two threads that keep values spilling and load what is
//! persisted.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use untorn::{Error, ErrorKind};
use uuid::Uuid;

use super::child::tell;
use super::content::{self, Key, Rng};
use super::pool_model::{Open, open, perform, read};
use crate::args::ProveChild;
use crate::exit::{Failure, Result};

/// Scratch objects of a thread: more than the budget holds.
const SCRATCH: usize = 60;
/// Each so manieth commit is followed by a compaction.
const COMPACT: u64 = 16;

pub(super) fn run(args: &ProveChild) -> Result<()> {
    let open = open(&args.dir)?;
    let read = read(args.seed, open.path.path())?;
    let (mut model, mut names) = read.map_err(|flaw| Failure::plain(ErrorKind::Damaged, flaw))?;
    let over = AtomicBool::new(false);
    // What the loaders may try; it may be deleted when they do.
    let known: Mutex<Vec<Uuid>> = Mutex::new(names.values().copied().collect());
    thread::scope(|scope| {
        let load = |writer| {
            let (open, known, over) = (&open, &known, &over);
            scope.spawn(move || load(open, known, args, writer, over))
        };
        let loaders = [load(1), load(2)];
        let written = (|| {
            for counter in 0.. {
                if loaders.iter().any(thread::ScopedJoinHandle::is_finished) {
                    break;
                }
                let step = model.step(args.seed, args.round, counter);
                let made = (args.round, counter);
                perform(&open, &step, &mut names, args.seed, made)?;
                model.apply(&step, made);
                let all = model.all();
                names.retain(|key, _| all.contains(key));
                if !tell(0, counter, 0) {
                    break;
                }
                if let Ok(mut known) = known.lock() {
                    *known = names.values().copied().collect();
                }
                if counter % COMPACT == COMPACT - 1 {
                    open.store.compact()?;
                }
            }
            Ok::<(), Error>(())
        })();
        over.store(true, Ordering::Relaxed);
        for loader in loaders {
            match loader.join() {
                Ok(done) => done?,
                Err(_) => return Err(Failure::plain(ErrorKind::Failed, "a loader panicked")),
            }
        }
        Ok(written?)
    })
}

fn load(
    open: &Open,
    known: &Mutex<Vec<Uuid>>,
    args: &ProveChild,
    writer: u32,
    over: &AtomicBool,
) -> Result<()> {
    let mut rng = Rng::new(args.seed ^ u64::from(args.round) ^ u64::from(writer));
    let mut scratch = VecDeque::new();
    let mut counter = 0;
    while !over.load(Ordering::Relaxed) {
        let key = Key { round: args.round, writer, counter, part: 0, parts: 1 };
        let value = content::file(args.seed, key);
        scratch.push_back((key, open.pool.blocking_insert(value).map_err(Error::from)?));
        counter += 1;
        if scratch.len() > SCRATCH {
            scratch.pop_front();
        }
        let at = usize::try_from(rng.below(scratch.len() as u64)).unwrap_or(0);
        if let Some((key, object)) = scratch.get(at)
            && content::verify(args.seed, &object.blocking_load()?, content::file) != Ok(*key)
        {
            return Err(other_bytes(object.key()));
        }
        let persisted = known.lock().ok().and_then(|known| {
            let at = usize::try_from(rng.below(known.len() as u64)).ok()?;
            known.get(at).copied()
        });
        let Some(uuid) = persisted else { continue };
        let object = match open.pool.blocking_register(&open.path, uuid) {
            Ok(Some(object)) => object,
            Ok(None) => continue,
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(e) => return Err(e.into()),
        };
        if content::verify(args.seed, &object.blocking_load()?, content::file).is_err() {
            return Err(other_bytes(uuid));
        }
    }
    Ok(())
}

fn other_bytes(key: Uuid) -> Failure {
    Failure::plain(ErrorKind::Damaged, format!("object {key} has other bytes, beside the writer"))
}
