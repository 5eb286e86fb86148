//! Every call of a workload fails once, in every way that it can: what the handles hold is there or says why, all accounts are those of a
//! recount, and nothing is left behind.

use std::collections::BTreeMap;

use untorn::pool::Fb;
use untorn::sim::{Effect, Fault, FaultKind, SimFs};
use untorn::{ErrorKind, Outcome};

use crate::pool_disk::{Bytes, LONG, Open, SMALL, body, disk, spilled};

/// What bits do wrong, and nobody is told of.
const SILENT: [FaultKind; 3] = [FaultKind::BitFlip, FaultKind::Dropped, FaultKind::Misdirected];
const BUDGET: usize = 2 * LONG;

/// The handles with what they are to load.
type Handles = Vec<(Fb<Bytes>, Bytes)>;

/// What the path may show, by what its commits answered: one of these, each named set and loose set as their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    loose: BTreeMap<uuid::Uuid, Bytes>,
    set: BTreeMap<uuid::Uuid, Bytes>,
}

struct Run {
    sim: SimFs,
    /// Faults that change bytes without a word may cost an object; never give another.
    silent: bool,
    may: Vec<Shown>,
    errors: u32,
}

impl Run {
    /// One try, and another one after an error.
    fn twice<T>(&mut self, what: &str, mut call: impl FnMut() -> untorn::Result<T>) -> Option<T> {
        match call() {
            Ok(done) => return Some(done),
            Err(error) => {
                self.errors += 1;
                assert_ne!(error.kind(), ErrorKind::Codec, "{what}: {error}");
            }
        }
        match call() {
            Ok(done) => Some(done),
            Err(error) => {
                assert!(
                    self.silent || error.kind() == ErrorKind::Poisoned,
                    "{what}, again: {error:?}"
                );
                None
            }
        }
    }

    fn look(&mut self, open: &Open, handles: &Handles) {
        for (n, (fb, bytes)) in handles.iter().enumerate() {
            let found = self.twice("load", || fb.blocking_load().map(|guard| (*guard).clone()));
            assert!(found.as_ref().is_none_or(|found| found == bytes), "handle {n}");
        }
        assert_eq!(open.pool.budget().used(), open.pool.resident());
        assert!(open.pool.budget().used() <= BUDGET as u64);
    }

    /// One commit: what was before, or what is after it, until it is acknowledged.
    fn commit(&mut self, next: &Shown, mut call: impl FnMut() -> untorn::Result<()>) {
        let before = self.may.clone();
        self.may.push(next.clone());
        for _ in 0..2 {
            match call() {
                Ok(()) => {
                    self.may = vec![next.clone()];
                    return;
                }
                Err(error) => {
                    self.errors += 1;
                    if error.outcome() == Outcome::Unchanged && error.kind() != ErrorKind::Poisoned
                    {
                        self.may.clone_from(&before);
                        self.may.push(next.clone());
                    } else {
                        return;
                    }
                }
            }
        }
        self.may = before;
    }

    fn work(&mut self) -> Option<()> {
        let fs = self.sim.clone();
        let open = self.twice("open", || Open::new(std::sync::Arc::new(fs.clone()), BUDGET))?;
        let mut handles: Handles = Vec::new();
        for n in 0..6 {
            let bytes = body(n, if n % 2 == 0 { SMALL } else { LONG });
            let fb = self.twice("insert", || Ok(open.pool.blocking_insert(bytes.clone())?))?;
            handles.push((fb, bytes));
        }
        let _told = self.twice("spill", || open.pool.spill_all());
        self.look(&open, &handles);
        let (fb, bytes) = &mut handles[1];
        if self.twice("change", || fb.blocking_load_mut().map(|mut guard| guard[0] ^= 1)).is_some()
        {
            bytes[0] ^= 1;
        }
        let mut shown = Shown::default();
        for (fb, bytes) in &handles[..3] {
            if self.twice("persist", || fb.blocking_persist(&open.path)).is_some() {
                shown.loose.insert(fb.key(), bytes.clone());
            }
        }
        self.commit(&shown, || open.sync());
        shown.set = handles[1..5].iter().map(|(fb, bytes)| (fb.key(), bytes.clone())).collect();
        let named: Vec<&Fb<Bytes>> = handles[1..5].iter().map(|(fb, _)| fb).collect();
        self.commit(&shown, || Fb::blocking_checkpoint(&named, &open.path, "a", b"").map(drop));
        self.look(&open, &handles);
        if let Some(key) = shown.loose.keys().next().copied()
            && self
                .twice("delete", || open.store.blocking_delete_persisted(&open.path, key))
                .is_some()
        {
            shown.loose.remove(&key);
        }
        self.commit(&shown, || open.sync());
        let _told = self.twice("compact", || open.store.compact());
        self.look(&open, &handles);
        handles.truncate(3);
        self.look(&open, &handles);
        drop(handles);
        assert_eq!((open.pool.size(), open.pool.resident(), open.pool.budget().used()), (0, 0, 0));
        let stats = open.store.stats();
        assert_eq!((stats.usage.objects, stats.usage.live_bytes, stats.registered), (0, 0, 0));
        drop(open);
        Some(())
    }

    /// What is there is one of the states that may be.
    fn check(&self, what: &str) {
        let open = Open::on(&self.sim, BUDGET);
        let load = |keys: Vec<uuid::Uuid>| -> untorn::Result<BTreeMap<_, _>> {
            let one = |key| {
                let fb = open.pool.blocking_register(&open.path, key)?.unwrap();
                let bytes = (*fb.blocking_load()?).clone();
                Ok((key, bytes))
            };
            keys.into_iter().map(one).collect()
        };
        let loose = open.path.iter().filter(|(_, info)| info.loose).map(|(key, _)| key).collect();
        let set = open.path.read_set("a").unwrap().map_or_else(Vec::new, |set| set.keys);
        let found = load(loose).and_then(|loose| Ok(Shown { loose, set: load(set)? }));
        match found {
            Ok(found) => assert!(self.may.contains(&found), "{what}: another state"),
            Err(error) => {
                assert!(self.silent && error.kind() == ErrorKind::Damaged, "{what}: {error}");
            }
        }
        drop(open);
        assert!(spilled(&self.sim).is_empty(), "{what}: {:?}", spilled(&self.sim));
    }
}

/// The workload with one fault; whether it struck.
fn run(kind: FaultKind, effect: Effect, call: u64) -> bool {
    let sim = disk();
    let silent = SILENT.contains(&kind);
    let mut run = Run { sim, silent, may: vec![Shown::default()], errors: 0 };
    run.sim.inject(Fault::new(kind).effect(effect).at_call(call));
    let what = format!("{kind} at call {call}, {effect:?}");
    let done = run.work();
    let calls = run.sim.calls();
    run.sim.clear_faults();
    assert!(done.is_some() || run.errors > 0, "{what}");
    if silent {
        // What was lost without a word may be the manifest's: then it refuses, or a commit is gone.
        let fs: std::sync::Arc<dyn untorn::fs::Fs> = std::sync::Arc::new(run.sim.clone());
        if kind != FaultKind::BitFlip || Open::new(fs, BUDGET).is_err() {
            return calls >= call;
        }
    }
    run.check(&what);
    calls >= call
}

#[test]
fn every_call_fails_once_in_every_way() {
    let mut runs = 0;
    for kind in FaultKind::ERRORS.iter().copied().chain(SILENT) {
        for effect in [Effect::None, Effect::Prefix, Effect::Whole] {
            if effect != Effect::None && !matches!(kind, FaultKind::Io | FaultKind::NoSpace) {
                continue;
            }
            let mut call = 1;
            // A fault strikes the first call from there on that it fits: steps find them all among the common ones.
            let step = if matches!(kind, FaultKind::Io | FaultKind::NoSpace) { 1 } else { 3 };
            while run(kind, effect, call) {
                call += step;
                runs += 1;
            }
        }
    }
    assert!(runs > 500, "{runs}");
}
