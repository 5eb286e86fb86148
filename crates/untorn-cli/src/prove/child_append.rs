//! The append-only files' part of the process that is killed: one writer, and a thread that reads what it takes again and again.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use untorn::ErrorKind;
use untorn::append::GroupSnapshot;

use super::append_model::{Model, Step, note_of, open, perform, read_some};
use super::child::tell;
use super::content::Rng;
use crate::args::ProveChild;
use crate::exit::{Failure, Result};

/// A state is read so often before another is taken.
const LOOKS: u32 = 40;

pub(super) fn run(args: &ProveChild) -> Result<()> {
    let mut group = open(&args.dir)?;
    // The lists of the rounds before: what is there now, by its own word.
    let mut model = recall(args, &group.snapshot(), group.note())?;
    let (send, states) = channel();
    let chance = args.seed ^ u64::from(args.round);
    let reader = thread::spawn(move || read(&states, chance));
    for counter in 0.. {
        let step = model.step(args.seed, args.round, counter);
        let seq = perform(&mut group, &step, args.round, counter)?;
        model.apply(&step);
        if reader.is_finished() {
            break;
        }
        if counter % 16 == 0 || matches!(step, Step::Compact { .. }) {
            let _read = send.send(group.snapshot()).is_ok();
        }
        if !tell(0, counter, seq) {
            return Ok(());
        }
    }
    match reader.join() {
        Ok(done) => done,
        Err(_) => Err(Failure::plain(ErrorKind::Failed, "the reading thread panicked")),
    }
}

/// What the store holds, as the numbers of its elements.
fn recall(args: &ProveChild, state: &GroupSnapshot, note: &[u8]) -> Result<Model> {
    let mut model = Model::default();
    if note_of(note).is_none() {
        return Ok(model);
    }
    for (list, name) in model.files.iter_mut().zip(["hash", "body", "mark"]) {
        let file = state.file::<Vec<u8>>(name)?;
        list.0 = file.first();
        list.1 = vec![0; usize::try_from(file.first()).unwrap_or(0)];
        for at in file.first()..file.len() {
            let bytes = file.get_cow(at)?;
            let Some(id) = bytes.first_chunk() else {
                let what = format!("{name} at {at} in round {}: no element", args.round);
                return Err(Failure::plain(ErrorKind::Damaged, what));
            };
            list.1.push(u64::from_le_bytes(*id));
        }
    }
    Ok(model)
}

fn read(states: &Receiver<GroupSnapshot>, seed: u64) -> Result<()> {
    let mut rng = Rng::new(seed);
    while let Ok(mut state) = states.recv() {
        for _ in 0..LOOKS {
            if let Some(flaw) = read_some(&state, &mut rng)? {
                let what = format!("beside the writer: {flaw}");
                return Err(Failure::plain(ErrorKind::Damaged, what));
            }
        }
        // The oldest ones that wait are held the longest, and rewound under.
        match states.try_recv() {
            Ok(next) => state = next,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        drop(state);
    }
    Ok(())
}
