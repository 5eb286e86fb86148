//! What happens in the process of its own: a part of the load with one store, its figures printed as an object.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::load::{BATCH, Order, PER_PREFIX, key, prefix, put};
use crate::Result;
use crate::contestants::fold::{self, Fold};
use crate::measure::{quantile, wall};

/// The argument that makes this program such a process.
pub const FOLD: &str = "--fold";
const SYNCED: u64 = 500;
const GETS: u64 = 200_000;
const RANGES: u64 = 50;

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// Does a part of the load: the arguments behind [`FOLD`].
pub fn child(args: &[String]) -> Result<()> {
    let [store, part, dir, keys] = args else { return Err("it needs four arguments".into()) };
    let child = Child { dir: PathBuf::from(dir), keys: keys.parse()?, figures: Figures::new() };
    let figures = match store.as_str() {
        "raw" => child.run::<fold::Raw>(part),
        "untorn" => child.run::<fold::Untorn>(part),
        #[cfg(feature = "fold-rivals")]
        "slipstream log" => child.run::<fold::SlipstreamLog>(part),
        #[cfg(feature = "fold-rivals")]
        "slipstream fjall" => child.run::<fold::SlipstreamFjall>(part),
        #[cfg(feature = "fold-rivals")]
        "LMDB" => child.run::<fold::Heed>(part),
        #[cfg(feature = "fold-rivals")]
        "redb" => child.run::<fold::Redb>(part),
        #[cfg(feature = "fold-rivals")]
        "SQLite" => child.run::<fold::Sqlite>(part),
        #[cfg(feature = "fold-rivals")]
        "fjall" => child.run::<fold::Fjall>(part),
        _ => Err(format!("there is no store {store}").into()),
    }?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// The stores that there are, the raw limit first.
pub const STORES: &[&str] = &[
    "raw",
    "untorn",
    #[cfg(feature = "fold-rivals")]
    "slipstream log",
    #[cfg(feature = "fold-rivals")]
    "slipstream fjall",
    #[cfg(feature = "fold-rivals")]
    "LMDB",
    #[cfg(feature = "fold-rivals")]
    "redb",
    #[cfg(feature = "fold-rivals")]
    "SQLite",
    #[cfg(feature = "fold-rivals")]
    "fjall",
];

struct Child {
    dir: PathBuf,
    keys: u64,
    figures: Figures,
}

impl Child {
    fn run<F: Fold>(mut self, part: &str) -> Result<Figures> {
        match part {
            "load" => self.load::<F>()?,
            "reopen" if F::reads() => self.reopen::<F>("reopen")?,
            "settle" if F::reads() => {
                let mut store = F::open(&self.store(), false)?;
                let settled = store.settle()?;
                store.close()?;
                self.note("settled", f64::from(u8::from(settled)));
            }
            "settled" => self.reopen::<F>("settled")?,
            "synced" if F::syncs() => self.synced::<F>()?,
            _ => {}
        }
        Ok(self.figures)
    }

    fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    fn note(&mut self, name: &str, figure: f64) {
        self.figures.insert(name.to_owned(), figure);
    }

    fn load<F: Fold>(&mut self) -> Result<()> {
        let before = anonymous()?;
        let peak = Peak::start();
        let mut store = F::open(&self.store(), false)?;
        let order = Order::new(self.keys, 1);
        let times = self.apply(&mut store, self.keys, |place| order.at(place))?;
        self.note("apply", times.iter().sum());
        self.note("batch p50", quantile(&times, 0.5) * 1e6);
        self.note("batch p99", quantile(&times, 0.99) * 1e6);
        let mut longest = quantile(&times, 1.0);
        let order = Order::new(self.keys, 2);
        let times = self.apply(&mut store, self.keys / 4, |place| order.at(place))?;
        self.note("overwrite", times.iter().sum());
        longest = longest.max(quantile(&times, 1.0));
        self.note("longest", longest * 1e3);
        let peak = peak.stop();
        self.note("memory", anonymous()?.saturating_sub(before) as f64 / 1e3);
        self.note("peak", peak.saturating_sub(before) as f64 / 1e3);
        if F::reads() {
            self.read(&store)?;
            self.copy(&mut store)?;
            let (took, ()) = wall(|| store.close())?;
            self.note("close", took);
            self.note("disk", on_disk(&self.store())? as f64 / 1e6);
        }
        Ok(())
    }

    /// Applies puts of the keys at so many places; how long each batch took.
    fn apply<F: Fold>(
        &self,
        store: &mut F,
        count: u64,
        at: impl Fn(u64) -> u64,
    ) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity((count / BATCH) as usize);
        let first = if count == self.keys { 1 } else { self.keys + 1 };
        for start in (0..count).step_by(BATCH as usize) {
            let places = start..(start + BATCH).min(count);
            let cursor = first + places.end;
            let batch = F::batch(places.map(|n| put(at(n), first + n)).collect(), cursor);
            let started = Instant::now();
            store.apply(&batch)?;
            times.push(started.elapsed().as_secs_f64());
        }
        Ok(times)
    }

    fn read<F: Fold>(&mut self, store: &F) -> Result<()> {
        let keys = |seed: u64| {
            let order = Order::new(self.keys, seed);
            (0..GETS).map(move |n| key(order.at(n % order.len()))).collect::<Vec<_>>()
        };
        let (some, others) = (keys(3), keys(4));
        let (took, missing) = wall(|| {
            let mut missing = 0_u64;
            for key in &some {
                missing += u64::from(black_box(store.get(key)?).is_none());
            }
            Ok(missing)
        })?;
        expect("keys that are missing", missing, 0)?;
        self.note("get", took * 1e6 / GETS as f64);
        if store.peek(&key(0))?.is_some() {
            let (took, bytes) = wall(|| {
                let mut bytes = 0;
                for key in &others {
                    bytes += store.peek(key)?.flatten().unwrap_or(0);
                }
                Ok(bytes)
            })?;
            expect("bytes", bytes as u64, 100 * GETS)?;
            self.note("peek", took * 1e6 / GETS as f64);
        }
        let order = Order::new(self.keys.div_ceil(PER_PREFIX), 5);
        let mut times = Vec::new();
        for n in 0..RANGES.min(order.len()) {
            let first = order.at(n) * PER_PREFIX;
            let prefix = prefix(first);
            let (took, seen) = wall(|| count(store, &prefix))?;
            expect("keys of a range", seen, PER_PREFIX.min(self.keys - first))?;
            times.push(took);
        }
        self.note("range", quantile(&times, 0.5) * 1e3);
        let (took, seen) = wall(|| count(store, ""))?;
        expect("keys", seen, self.keys)?;
        self.note("scan", took);
        Ok(())
    }

    fn copy<F: Fold>(&mut self, store: &mut F) -> Result<()> {
        let artifact = self.dir.join("artifact");
        let (took, exported) = wall(|| store.export(&artifact))?;
        if !exported {
            return Ok(());
        }
        self.note("export", took);
        let (took, imported) = wall(|| F::import(&artifact, &self.dir.join("imported")))?;
        if let Some(imported) = imported {
            self.note("import", took);
            expect("imported keys", count(&imported, "")?, self.keys)?;
            imported.close()?;
        }
        Ok(())
    }

    fn reopen<F: Fold>(&mut self, name: &str) -> Result<()> {
        let before = anonymous()?;
        let (took, store) = wall(|| {
            let store = F::open(&self.store(), false)?;
            expect("keys", u64::from(store.get(&key(self.keys / 2))?.is_some()), 1)?;
            Ok(store)
        })?;
        self.note(name, took);
        let memory = anonymous()?.saturating_sub(before) as f64 / 1e3;
        self.note(&format!("{name} memory"), memory);
        store.close()
    }

    fn synced<F: Fold>(&mut self) -> Result<()> {
        let mut store = F::open(&self.store(), true)?;
        let count = SYNCED * BATCH;
        let order = Order::new(count, 6);
        let times = self.apply(&mut store, count, |place| order.at(place))?;
        self.note("synced", times.iter().sum());
        self.note("synced p50", quantile(&times, 0.5) * 1e6);
        store.close()
    }
}

fn count<F: Fold>(store: &F, prefix: &str) -> Result<u64> {
    let (mut seen, mut sum) = (0, 0_u64);
    store.each(prefix, &mut |_, value| {
        seen += 1;
        sum += u64::from(value.first().copied().unwrap_or(0));
    })?;
    black_box(sum);
    Ok(seen)
}

fn expect(what: &str, found: u64, expected: u64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found}, and {expected} are expected").into())
}

/// KB of this process that are in memory and in no file.
pub fn anonymous() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("the system does not tell what is in memory")?.parse()?)
}

/// Bytes of all files below, as the disk has them.
fn on_disk(path: &Path) -> Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        // What works in the background may take a file away.
        sum += on_disk(&entry?.path()).unwrap_or(0);
    }
    Ok(sum)
}

/// The most that is in memory meanwhile, looked at every few milliseconds.
pub struct Peak {
    stop: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Peak {
    pub fn start() -> Self {
        let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&most));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(anonymous().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { stop, most, thread }
    }

    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.join());
        self.most.load(Ordering::Relaxed).max(anonymous().unwrap_or(0))
    }
}
