//! The machinery of the explorer: lives, crash points, images, checks.
//!
//! # Invariants
//! - E1 Order and result depend on the seed and on nothing else.
//! - E2 A check runs once per distinct image and ledger; nested crashes start once per distinct image.
//! - E3 Sequences come in order of length, so that the first violation has the fewest operations.

#![expect(clippy::format_push_string, reason = "traces are made once, for a person")]

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::super::disk::{Capability, Core, SimFs};
use super::super::fault::Fault;
use super::super::meter::Meter;
use super::super::page::mix;
use super::super::pick::{Layout, thin};
use super::super::rng::Rng;
use super::super::state::State;
use super::super::trace::{Entry, Note, Trace};
use super::Explorer;
use super::case::{Case, CrashAt, HowCrashed, Strike};
use super::quiet;
use super::report::{Progress, Report, Violation};
use super::run::{After, Crash, Event, Fail, Life, Promised, Run, Value, What};
use crate::fs::Fs;

/// Hashes are mixed already.
#[derive(Default)]
pub(super) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

type Seen = HashSet<u64, BuildHasherDefault<Identity>>;

/// A case that failed, and what it said. `None` as the message of `Stop` means that the budget is used up.
struct Found {
    case: Case,
    message: String,
}

enum Stop {
    Found(Box<Found>),
    Budget,
}

/// How thoroughly the states of one point are tried.
#[derive(Clone, Copy)]
struct Effort {
    all_up_to: usize,
    random: usize,
    kill_inside: bool,
}

/// A life that was run, as far as it was recorded.
struct Lived<V> {
    life: Arc<Life<V>>,
    trace: Trace,
    /// Events of the ledger from before the recording.
    events_before: usize,
    /// Why it failed, though no fault excuses it.
    failure: Option<String>,
    faulted: bool,
}

/// One disk on which a check is to be run.
struct Image {
    hash: u64,
    state: Arc<State>,
    how: HowCrashed,
}

/// What a later life needs to know of the disk besides its state.
struct Settings {
    missing: Vec<Capability>,
    capacity: Option<u64>,
}

pub(super) struct Engine<'a, V, W> {
    spec: &'a Explorer<V, W>,
    report: Report,
    images: Seen,
    checked: Seen,
    nested_from: Seen,
    nested_left: u64,
    /// What of it the current sequence may still use.
    nested_share: u64,
    total: u64,
    phase: &'static str,
    settings: Settings,
}

impl<'a, V: Value, W> Engine<'a, V, W> {
    pub(super) fn new(spec: &'a Explorer<V, W>) -> Self {
        Self {
            spec,
            report: Report { seed: spec.seed, complete: true, ..Report::default() },
            images: Seen::default(),
            checked: Seen::default(),
            nested_from: Seen::default(),
            nested_left: spec.nested_budget,
            nested_share: 0,
            total: 0,
            phase: "crashes",
            settings: Settings { missing: Vec::new(), capacity: None },
        }
    }

    pub(super) fn explore(mut self) -> Result<Report, Violation> {
        if let Some(case) = self.wanted_case() {
            let (failure, trace) = self.replay(&case);
            self.report.checks += 1;
            return match failure {
                Some(message) => Err(self.violation(&Found { case, message }, trace)),
                None => Ok(self.report),
            };
        }
        let result = self.every_case();
        match result {
            Ok(()) => Ok(self.report),
            Err(Stop::Budget) => {
                self.report.complete = false;
                Ok(self.report)
            }
            Err(Stop::Found(found)) => {
                let found = self.plainer(*found);
                let (_, trace) = self.replay(&found.case);
                Err(self.violation(&found, trace))
            }
        }
    }

    fn wanted_case(&self) -> Option<Case> {
        let text = std::env::var("UNTORN_REPLAY").ok()?;
        Case::parse(&text).filter(|case| case.name == Case::plain_name(&self.spec.name))
    }

    fn violation(&self, found: &Found, trace: String) -> Violation {
        Violation {
            message: found.message.clone(),
            trace,
            replay: found.case.to_string(),
            report: Box::new(self.report.clone()),
            name: self.spec.name.clone(),
        }
    }

    /// All sequences of `len` operations, as digits.
    fn sequences(&self, len: usize) -> Vec<Vec<usize>> {
        let mut found = vec![Vec::new()];
        for _ in 0..len {
            found = found
                .iter()
                .flat_map(|sequence: &Vec<usize>| {
                    (0..self.spec.ops.len()).map(move |op| {
                        let mut longer = sequence.clone();
                        longer.push(op);
                        longer
                    })
                })
                .collect();
        }
        found
    }

    fn every_case(&mut self) -> Result<(), Stop> {
        let lens = 0..=self.spec.len;
        let per_start: usize = lens.clone().map(|len| self.spec.ops.len().pow(len as u32)).sum();
        self.total = (per_start * self.spec.starts.len() * self.spec.models.len()) as u64;
        for len in lens {
            for ops in self.sequences(len) {
                for start in 0..self.spec.starts.len() {
                    for model in 0..self.spec.models.len() {
                        self.sequence(&self.case(model, start, &ops))?;
                    }
                }
            }
        }
        self.phase = "faults";
        for len in 0..=self.spec.fault_len.unwrap_or(self.spec.len.min(2)) {
            if self.spec.kinds.is_empty() {
                break;
            }
            for ops in self.sequences(len) {
                for start in 0..self.spec.starts.len() {
                    for model in 0..self.spec.models.len() {
                        self.fail_every_call(&self.case(model, start, &ops))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn case(&self, model: usize, start: usize, ops: &[usize]) -> Case {
        Case {
            name: self.spec.name.clone(),
            seed: self.spec.seed,
            model,
            start,
            ops: ops.to_vec(),
            fault: None,
            crashes: Vec::new(),
        }
    }

    /// One sequence without a fault: every crash from its last operation on.
    fn sequence(&mut self, case: &Case) -> Result<(), Stop> {
        self.report.sequences += 1;
        // Spread over all sequences; what the short ones leave, the long ones get.
        let to_come = self.total.saturating_sub(self.report.sequences) + 1;
        self.nested_share = self.nested_left.div_ceil(to_come);
        let lived = self.live(case, false);
        let mut case = case.clone();
        if let Some(message) = &lived.failure {
            return Err(stop(&case, message.clone()));
        }
        let effort =
            Effort { all_up_to: self.spec.all_up_to, random: self.spec.random, kill_inside: true };
        self.crash_everywhere(&lived, 0, &mut case, effort)
    }

    /// Every fault at every call of the operations of this sequence.
    fn fail_every_call(&mut self, case: &Case) -> Result<(), Stop> {
        let plain = self.live(case, true);
        let first = plain.life.ledger().events.iter().find_map(|event| match event.what {
            What::Op(_) => Some(event.at),
            _ => None,
        });
        let calls: Vec<_> = plain.trace.entries[first.unwrap_or(0)..]
            .iter()
            .map(|entry| (entry.number, entry.kind))
            .collect();
        for (number, call) in calls {
            for kind in self.spec.kinds.iter().copied().filter(|kind| kind.fits(call)) {
                for effect in kind.effects(call).iter().copied() {
                    for lasting in [false, true] {
                        let mut case = case.clone();
                        case.fault = Some(Strike { call: number, kind, effect, lasting });
                        self.faulted(&mut case, number)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn faulted(&mut self, case: &mut Case, call: u64) -> Result<(), Stop> {
        self.nested_share = 0;
        self.report.faults += 1;
        let lived = self.live(case, false);
        if let Some(message) = &lived.failure {
            return Err(stop(case, message.clone()));
        }
        let from = lived.trace.entries.partition_point(|entry| entry.number < call);
        let effort = Effort { all_up_to: 24, random: 2, kill_inside: false };
        self.crash_everywhere(&lived, from, case, effort)
    }

    /// Runs a sequence. Recorded from its last operation on, or all of it.
    fn live(&mut self, case: &Case, record_all: bool) -> Lived<V> {
        let model = self.spec.models.get(case.model).copied().unwrap_or_default();
        let sim = SimFs::with_model(case.seed, model);
        if let Some(prepare) = &self.spec.prepare {
            prepare(&sim);
        }
        {
            let core = sim.shared.lock();
            self.settings = Settings { missing: core.missing.clone(), capacity: core.capacity };
        }
        if let Some(strike) = &case.fault {
            let fault = Fault::new(strike.kind).at_call(strike.call).effect(strike.effect);
            sim.inject(if strike.lasting { fault.lasting() } else { fault });
        }
        let life = Arc::new(Life::new(sim.clone(), self.wrap(&sim), None));
        let run = Run { life: Arc::clone(&life) };
        let events_before = std::cell::Cell::new(0);
        if record_all || case.ops.is_empty() {
            record(&sim);
        }
        let tolerant = case.fault.is_some();
        let body = || -> Result<(), String> {
            let Some((name, start)) = self.spec.starts.get(case.start) else { return Ok(()) };
            let words = |name: &str, fail: &Fail| format!("{name} failed: {fail}");
            let mut work = match start(&run) {
                Ok(work) => work,
                Err(_) if tolerant => return Ok(()),
                Err(fail) => return Err(words(name, &fail)),
            };
            for (index, op) in case.ops.iter().enumerate() {
                let Some((name, op)) = self.spec.ops.get(*op) else { continue };
                if index + 1 == case.ops.len() && !record_all {
                    record(&sim);
                    events_before.set(life.ledger().events.len());
                }
                life.note(What::Op(Arc::from(name.as_str())));
                if let Err(fail) = op(&run, &mut work)
                    && !tolerant
                {
                    return Err(words(name, &fail));
                }
            }
            Ok(())
        };
        let failure = match quiet::catch(body) {
            Ok(result) => result.err(),
            Err(panic) => Some(panic),
        };
        let trace = take_trace(&sim);
        let events_before = events_before.get();
        Lived { life, trace, events_before, failure, faulted: tolerant }
    }

    /// The disk as the program sees it, without the syncs that were left out.
    fn wrap(&self, sim: &SimFs) -> Arc<dyn Fs> {
        if self.spec.without.is_empty() {
            return Arc::new(sim.clone());
        }
        let meter = Meter::new(Arc::new(sim.clone()));
        let drop_site = |meter: Meter, site| meter.without_sync(site);
        Arc::new(self.spec.without.iter().copied().fold(meter, drop_site))
    }

    /// Crashes a life at every point from the recorded call `from` on.
    fn crash_everywhere(
        &mut self,
        lived: &Lived<V>,
        from: usize,
        case: &mut Case,
        effort: Effort,
    ) -> Result<(), Stop> {
        let mut deeper = Vec::new();
        let may_go_deeper = case.crashes.len() < self.spec.nested as usize;
        let (share, nested) = (self.nested_share, !case.crashes.is_empty());
        if nested && may_go_deeper {
            self.nested_share = share.div_ceil(2); // the other half is for the crashes within these checks
        }
        let mine = self.nested_share;
        self.crash_points(lived, from, case, effort, &mut deeper)?;
        self.nested_share = share - (mine - self.nested_share);
        // Crashes within the checks come after all checks of this depth: the fewer crashes in a violation, the better.
        let count = deeper.len() as u64;
        for (done, (lived, crash)) in (0..).zip(deeper) {
            let share = self.nested_share;
            let mine = share.div_ceil(count - done);
            self.nested_share = mine;
            let effort = Effort {
                all_up_to: effort.all_up_to.min(64),
                random: effort.random.min(4),
                kill_inside: effort.kill_inside && case.crashes.is_empty(),
            };
            case.crashes.push(crash);
            self.crash_everywhere(&lived, 1, case, effort)?;
            case.crashes.pop();
            self.nested_share = share - (mine - self.nested_share);
        }
        Ok(())
    }

    fn crash_points(
        &mut self,
        lived: &Lived<V>,
        from: usize,
        case: &mut Case,
        effort: Effort,
        deeper: &mut Vec<(Lived<V>, CrashAt)>,
    ) -> Result<(), Stop> {
        let events = lived.life.ledger().events.clone();
        let entries = &lived.trace.entries;
        let nested = !case.crashes.is_empty();
        let mut images: Vec<Image> = Vec::new();
        for at in order(from, entries.len() + 1, nested) {
            if nested && self.nested_share == 0 {
                return Ok(());
            }
            let state = lived.trace.state(at);
            let same = !nested && at > from && Arc::ptr_eq(state, lived.trace.state(at - 1));
            if !same {
                images = self.images_at(case, state, effort);
            }
            let call = at
                .checked_sub(1)
                .map_or_else(|| lived.trace.calls_before, |index| entries[index].number);
            let (begin, end) = gap(&events, at);
            let begin = begin.max(lived.events_before);
            if !same || begin != end {
                for count in points(&events, begin, end) {
                    self.report.crash_points += 1;
                    let kill = Promised::new(&events[..count], false);
                    let cut = Promised::new(&events[..count], true);
                    for image in &images {
                        let promised =
                            if matches!(image.how, HowCrashed::Power(_)) { &cut } else { &kill };
                        let crash = CrashAt { call, events: count, how: image.how.clone() };
                        self.check_image(image, promised, crash, case, lived.faulted, deeper)?;
                    }
                }
            }
            if effort.kill_inside
                && let Some(entry) = entries.get(at)
            {
                let promised = Promised::new(&events[..end], false);
                for image in self.kills_inside(entry, state, case.crashes.len()) {
                    self.report.crash_points += 1;
                    let crash = CrashAt { call, events: end, how: image.how.clone() };
                    self.check_image(&image, &promised, crash, case, lived.faulted, deeper)?;
                }
            }
        }
        Ok(())
    }

    fn images_at(&mut self, case: &Case, state: &Arc<State>, effort: Effort) -> Vec<Image> {
        let model = self.spec.models.get(case.model).copied().unwrap_or_default();
        let mut images = vec![self.kill_image(Arc::clone(state), HowCrashed::Kill)];
        let mut layout = Layout::new(state, &model, case.seed);
        let mut rng = Rng::new(mix(case.seed, state.hash()));
        let mut seen = Seen::default();
        for pick in layout.picks(effort.all_up_to, effort.random, &mut rng) {
            let state = layout.build(&pick);
            let hash = state.hash();
            if seen.insert(hash) {
                images.push(Image { hash, state: Arc::new(state), how: HowCrashed::Power(pick) });
            }
        }
        images
    }

    /// After a kill the pending changes are still pending: nested power cuts can take them away.
    fn kill_image(&self, state: Arc<State>, how: HowCrashed) -> Image {
        let hash = if self.spec.nested > 0 { state.hash_with_pending() } else { state.hash() };
        Image { hash, state, how }
    }

    fn kills_inside(&self, entry: &Entry, before: &Arc<State>, depth: usize) -> Vec<Image> {
        let Note::Write { ino, offset, bytes } = &entry.note else { return Vec::new() };
        let keep = if bytes.len() <= 64 { bytes.len() } else { 32 };
        let prefixes = thin((1..bytes.len()).collect(), keep);
        prefixes
            .into_iter()
            .filter_map(|count| {
                let state = partly_written(before, *ino, *offset, &bytes[..count], depth)?;
                Some(self.kill_image(state, HowCrashed::KillInside(count)))
            })
            .collect()
    }

    fn check_image(
        &mut self,
        image: &Image,
        promised: &Promised<V>,
        crash: CrashAt,
        case: &mut Case,
        faulted: bool,
        queue: &mut Vec<(Lived<V>, CrashAt)>,
    ) -> Result<(), Stop> {
        let nested = !case.crashes.is_empty();
        let mut key = mix(mix(image.hash, promised.hash), 1);
        if self.spec.nested > 0 {
            key = mix(key, case.model as u64);
        }
        let new_image = !nested && self.images.insert(image.hash);
        self.report.distinct_states += u64::from(new_image);
        if !self.checked.insert(key) {
            return Ok(());
        }
        if nested {
            if self.nested_share == 0 {
                return Ok(());
            }
            self.nested_share -= 1;
            self.nested_left -= 1;
            self.report.nested_states += 1;
        }
        self.count_check()?;
        let depth = case.crashes.len() as u32 + 1;
        let deeper = depth <= self.spec.nested
            && self.nested_share > 0
            && self.nested_from.insert(mix(mix(image.hash, case.model as u64), promised.hash));
        case.crashes.push(crash);
        let mut lived = self.check(&image.state, promised, case, deeper, faulted);
        if let Some(message) = lived.failure.take() {
            return Err(stop(case, message));
        }
        if let Some(crash) = case.crashes.pop()
            && deeper
        {
            queue.push((lived, crash));
        }
        Ok(())
    }

    fn count_check(&mut self) -> Result<(), Stop> {
        self.report.checks += 1;
        if self.report.checks > self.spec.max_states {
            return Err(Stop::Budget);
        }
        if self.report.checks.is_multiple_of(1024)
            && let Some(progress) = &self.spec.progress
        {
            progress(&Progress {
                phase: self.phase,
                report: self.report.clone(),
                sequences_total: self.total,
            });
        }
        Ok(())
    }

    /// Runs the check on one image; the last crash of the case is the one that led to it.
    fn check(
        &self,
        state: &Arc<State>,
        promised: &Promised<V>,
        case: &Case,
        recorded: bool,
        faulted: bool,
    ) -> Lived<V> {
        let model = self.spec.models.get(case.model).copied().unwrap_or_default();
        let depth = case.crashes.len() as u32;
        let mut core = Core::new(Arc::clone(state), model, case.seed, depth);
        core.missing.clone_from(&self.settings.missing);
        core.capacity = self.settings.capacity;
        core.seq = u64::from(depth) << 32;
        let sim = SimFs::from_core(core);
        if recorded {
            record(&sim);
        }
        let power_cut = matches!(case.crashes.last().map(|c| &c.how), Some(HowCrashed::Power(_)));
        let life = Arc::new(Life::new(sim.clone(), self.wrap(&sim), Some(promised)));
        let after = After {
            run: Run { life: Arc::clone(&life) },
            issued: promised.issued.clone(),
            acked: promised.acked.clone(),
            crash: if power_cut { Crash::PowerCut } else { Crash::Kill },
            depth,
            faulted,
        };
        let failure = match &self.spec.check {
            None => Some("the explorer was given no check".to_owned()),
            Some(check) => match quiet::catch(|| check(&after)) {
                Ok(Ok(())) => None,
                Ok(Err(fail)) => Some(fail.to_string()),
                Err(panic) => Some(panic),
            },
        };
        let events_before = promised.event_count();
        Lived { life, trace: take_trace(&sim), events_before, failure, faulted }
    }

    /// Runs one case from the start, all of it recorded; why it fails, and its trace in words.
    fn replay(&mut self, case: &Case) -> (Option<String>, String) {
        let model = self.spec.models.get(case.model).copied().unwrap_or_default();
        let mut text = format!("  disk: {model}\n");
        if let Some((name, _)) = self.spec.starts.get(case.start) {
            let ops = case.ops.iter().filter_map(|op| Some(self.spec.ops.get(*op)?.0.as_str()));
            let ops: Vec<&str> = ops.collect();
            text += &format!("  start: {name}; operations: [{}]\n", ops.join(", "));
        }
        if let Some(strike) = &case.fault {
            text += &format!("  fault at call {strike}\n");
        }
        let mut lived = self.live(case, true);
        if case.crashes.is_empty() {
            text += &describe(&lived, None);
            return (lived.failure, text);
        }
        let mut so_far = Case { crashes: Vec::new(), ..case.clone() };
        for crash in &case.crashes {
            let at = lived.trace.entries.partition_point(|entry| entry.number <= crash.call);
            let before = Arc::clone(lived.trace.state(at));
            let mut layout = Layout::new(&before, &model, case.seed);
            let (state, power_cut) = match &crash.how {
                HowCrashed::Kill => (Some(Arc::clone(&before)), false),
                HowCrashed::Power(pick) => (Some(Arc::new(layout.build(pick))), true),
                HowCrashed::KillInside(count) => {
                    let entry = lived.trace.entries.get(at);
                    let state = entry.and_then(|entry| match &entry.note {
                        Note::Write { ino, offset, bytes } => partly_written(
                            &before,
                            *ino,
                            *offset,
                            bytes.get(..*count)?,
                            so_far.crashes.len(),
                        ),
                        _ => None,
                    });
                    (state, false)
                }
            };
            let Some(state) = state else {
                return (Some("the case does not replay: no such write".to_owned()), text);
            };
            let events = lived.life.ledger().events.clone();
            let promised = Promised::new(&events[..crash.events.min(events.len())], power_cut);
            text += &describe(&lived, Some((at, crash)));
            if let HowCrashed::Power(pick) = &crash.how {
                for line in layout.describe(&layout.fit(pick)) {
                    text += &format!("          {line}\n");
                }
            }
            so_far.crashes.push(crash.clone());
            lived = self.check(&state, &promised, &so_far, true, case.fault.is_some());
            text += &format!("  then acked {:?}, issued {:?}\n", promised.acked, promised.issued);
        }
        text += &describe(&lived, None);
        (lived.failure, text)
    }

    /// Moves the last crash state towards one that keeps all, as long as the check still fails.
    fn plainer(&mut self, mut found: Found) -> Found {
        let mut runs = 0;
        loop {
            let Some(CrashAt { how: HowCrashed::Power(pick), call, .. }) =
                found.case.crashes.last().cloned()
            else {
                return found;
            };
            let Some(before) = self.state_before_last_crash(&found.case, call) else {
                return found;
            };
            let model = self.spec.models.get(found.case.model).copied().unwrap_or_default();
            let layout = Layout::new(&before, &model, found.case.seed);
            let simpler = layout.simpler(&layout.fit(&pick)).into_iter().find_map(|pick| {
                runs += 1;
                let mut case = found.case.clone();
                case.crashes.last_mut()?.how = HowCrashed::Power(pick);
                let message = if runs > 500 { None } else { self.replay(&case).0 }?;
                Some(Found { case, message })
            });
            match simpler {
                Some(simpler) => found = simpler,
                None => return found,
            }
        }
    }

    fn state_before_last_crash(&mut self, case: &Case, call: u64) -> Option<Arc<State>> {
        let model = self.spec.models.get(case.model).copied().unwrap_or_default();
        let mut lived = self.live(case, true);
        let mut so_far = Case { crashes: Vec::new(), ..case.clone() };
        let (_, earlier) = case.crashes.split_last()?;
        for crash in earlier {
            let at = lived.trace.entries.partition_point(|entry| entry.number <= crash.call);
            let before = Arc::clone(lived.trace.state(at));
            let state = match &crash.how {
                HowCrashed::Kill => before,
                HowCrashed::Power(pick) => {
                    Arc::new(Layout::new(&before, &model, case.seed).build(pick))
                }
                HowCrashed::KillInside(count) => match &lived.trace.entries.get(at)?.note {
                    Note::Write { ino, offset, bytes } => partly_written(
                        &before,
                        *ino,
                        *offset,
                        bytes.get(..*count)?,
                        so_far.crashes.len(),
                    )?,
                    _ => return None,
                },
            };
            let power_cut = matches!(crash.how, HowCrashed::Power(_));
            let events = lived.life.ledger().events.clone();
            let promised = Promised::new(&events[..crash.events.min(events.len())], power_cut);
            so_far.crashes.push(crash.clone());
            lived = self.check(&state, &promised, &so_far, true, case.fault.is_some());
        }
        let at = lived.trace.entries.partition_point(|entry| entry.number <= call);
        Some(Arc::clone(lived.trace.state(at)))
    }
}

fn stop(case: &Case, message: String) -> Stop {
    Stop::Found(Box::new(Found { case: case.clone(), message }))
}

fn record(sim: &SimFs) {
    let mut core = sim.shared.lock();
    let start = Arc::clone(&core.state);
    let calls_before = core.calls;
    core.trace = Some(Trace { start, calls_before, entries: Vec::new() });
}

/// Ends the life, so that handles that outlive it change nothing.
fn take_trace(sim: &SimFs) -> Trace {
    let mut core = sim.shared.lock();
    core.dead = true;
    let start = Arc::clone(&core.state);
    let calls_before = core.calls;
    core.trace.take().unwrap_or(Trace { start, calls_before, entries: Vec::new() })
}

fn partly_written(
    before: &Arc<State>,
    ino: usize,
    offset: u64,
    bytes: &[u8],
    crashes_before: usize,
) -> Option<Arc<State>> {
    let mut state = State::clone(before);
    // After everything that this life has numbered, before everything of the next.
    let seq = ((crashes_before as u64) << 32) + (1 << 31);
    let how = super::super::inode::Writing { seq, whole_pages: false, garbage: false };
    state.file_mut(ino).ok()?.write(how, offset, bytes);
    Some(Arc::new(state))
}

/// The events that happened after the call with index `at - 1` and before the next, as a range of counts.
/// The crash points `from..to`; where the budget may end before them, in strides, so that it covers all parts of a life.
fn order(from: usize, to: usize, strides: bool) -> Vec<usize> {
    let count = to.saturating_sub(from);
    if !strides || count < 3 {
        return (from..to).collect();
    }
    // About the golden section, and without a divisor in common.
    let mut stride = (count * 618 / 1000).max(1);
    while (2..=stride).any(|d| stride.is_multiple_of(d) && count.is_multiple_of(d)) {
        stride += 1;
    }
    (0..count).map(|n| from + n * stride % count).collect()
}

fn gap<V>(events: &[Event<V>], at: usize) -> (usize, usize) {
    let begin = events.partition_point(|event| event.at < at);
    (begin, events.partition_point(|event| event.at <= at))
}

/// The strictest moments of a gap: all its acknowledgements, or those before something new is issued.
fn points<V>(events: &[Event<V>], begin: usize, end: usize) -> Vec<usize> {
    let mut counts: Vec<usize> =
        (begin..end).filter(|index| matches!(events[*index].what, What::Issue(_))).collect();
    counts.push(end);
    counts.dedup();
    counts
}

/// The calls and events of a life, up to and including the crash.
fn describe<V: Value>(lived: &Lived<V>, crash: Option<(usize, &CrashAt)>) -> String {
    const SHOWN: usize = 200;
    let mut lines = Vec::new();
    let events = lived.life.ledger().events.clone();
    let upto = crash.map_or(lived.trace.entries.len(), |(at, _)| at);
    let event_count = crash.map_or(events.len(), |(_, crash)| crash.events.min(events.len()));
    let mut next = 0;
    let mut tell = |lines: &mut Vec<String>, at: usize| {
        while let Some(event) = events[..event_count].get(next).filter(|event| event.at <= at) {
            lines.push(match &event.what {
                What::Issue(value) => format!("        issue {value:?}"),
                What::Ack(value) => format!("        ack {value:?}"),
                What::Buffered(value) => format!("        ack buffered {value:?}"),
                What::Op(name) => format!("      {name}:"),
            });
            next += 1;
        }
    };
    for (index, entry) in lived.trace.entries[..upto].iter().enumerate() {
        tell(&mut lines, index);
        lines.push(format!("    {entry}"));
    }
    tell(&mut lines, upto);
    let skipped = lines.len().saturating_sub(SHOWN);
    let mut text = String::new();
    if skipped > 0 {
        text += &format!("    ... {skipped} lines ...\n");
    }
    for line in &lines[skipped..] {
        text += line;
        text.push('\n');
    }
    match crash.map(|(at, crash)| (lived.trace.entries.get(at), &crash.how)) {
        None | Some((None, HowCrashed::KillInside(_))) => {}
        Some((_, HowCrashed::Kill)) => text += "    >>>>  KILLED HERE\n",
        Some((Some(entry), HowCrashed::KillInside(count))) => {
            text += &format!("    {entry}\n    >>>>  KILLED HERE, after {count} bytes\n");
        }
        Some((_, HowCrashed::Power(pick))) => {
            text += &format!("    >>>>  POWER CUT HERE, state {pick}\n");
        }
    }
    text
}
