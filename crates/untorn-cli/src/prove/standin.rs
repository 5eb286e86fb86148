//! Stands in for `untorn::proof` until it is there.
use untorn::fs::SyncSite;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store { Log, File }
impl Store {
    pub(crate) const ALL: [Self; 2] = [Self::Log, Self::File];
    pub(crate) fn name(self) -> &'static str { match self { Self::Log => "log", Self::File => "file" } }
    pub(crate) fn from_name(name: &str) -> Option<Self> { Self::ALL.into_iter().find(|s| s.name() == name) }
}
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan { pub(crate) seed: u64, pub(crate) states: u64, pub(crate) without_sync: Option<SyncSite> }
impl Plan {
    pub(crate) fn new() -> Self { Self::default() }
    pub(crate) fn seed(mut self, seed: u64) -> Self { self.seed = seed; self }
    pub(crate) fn states(mut self, states: u64) -> Self { self.states = states; self }
    pub(crate) fn without_sync(mut self, site: Option<SyncSite>) -> Self { self.without_sync = site; self }
}
#[derive(Clone, Debug)]
pub(crate) struct Row { pub(crate) what: String, pub(crate) states: u64, pub(crate) ok: bool }
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome { pub(crate) crash_states: u64, pub(crate) nested_states: u64, pub(crate) faults: u64, pub(crate) crash_points: u64, pub(crate) sequences: u64, pub(crate) rows: Vec<Row> }
pub(crate) fn explore(store: Store, plan: &Plan, progress: impl Fn(u64) + 'static) -> Result<Outcome, String> {
    let _ = (store, plan.seed);
    for n in 0..10 { std::thread::sleep(std::time::Duration::from_millis(100)); progress(plan.states * n / 10); }
    if let Some(site) = plan.without_sync { return Err(format!("stand-in: without {}", site.name())); }
    Ok(Outcome { crash_states: plan.states, nested_states: plan.states / 4, faults: 1234, crash_points: 321, sequences: 55,
        rows: ["power cut at a sync", "power cut, writes reordered", "torn sectors", "crash inside recovery", "failed sync", "disk full"].iter().map(|w| Row { what: (*w).to_owned(), states: plan.states / 6, ok: true }).collect() })
}
