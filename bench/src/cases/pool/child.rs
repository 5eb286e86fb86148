//! What happens in the process of its own: a part of the work with one pool, its figures printed as an object.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::cases::fold::{Peak, anonymous, mixed};
use crate::contestants::pool::{self, Budget, Pool, Runtime};
use crate::measure::wall;

/// The argument that makes this program such a process.
pub const POOL: &str = "--pool";

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// The pools that there are, the raw limit first.
pub const POOLS: &[&str] = &[
    "raw",
    "untorn",
    #[cfg(feature = "pool-rivals")]
    "file_backed",
    #[cfg(feature = "pool-rivals")]
    "file_backed redb",
];

/// Objects of a length, a budget for some of them, and so many loads.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub objects: usize,
    pub len: usize,
    pub resident: usize,
    pub loads: usize,
}

/// Does a part: the arguments behind [`POOL`].
pub fn child(args: &[String]) -> Result<()> {
    let [store, part, dir, objects, len, resident, loads] = args else {
        return Err("it needs seven arguments".into());
    };
    let work = Work {
        objects: objects.parse()?,
        len: len.parse()?,
        resident: resident.parse()?,
        loads: loads.parse()?,
    };
    let child = Child { dir: PathBuf::from(dir), work, figures: Figures::new() };
    let figures = match store.as_str() {
        "raw" => child.run::<pool::Raw>(part),
        "untorn" => child.run::<pool::Untorn>(part),
        #[cfg(feature = "pool-rivals")]
        "file_backed" => child.run::<pool::FileBacked>(part),
        #[cfg(feature = "pool-rivals")]
        "file_backed redb" => child.run::<pool::FileBackedRedb>(part),
        _ => Err(format!("there is no pool {store}").into()),
    }?;
    println!("{}", serde_json::to_string(&figures)?);
    // Some rivals take long to end, and that is not measured.
    std::process::exit(0)
}

struct Child {
    dir: PathBuf,
    work: Work,
    figures: Figures,
}

/// Bytes that no compression makes less.
fn object(number: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut word = mixed(number as u64);
    while bytes.len() < len {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }
    bytes.truncate(len);
    bytes
}

/// Numbers below `count` as zipf 0.99 draws them, in an order without order.
struct Zipf {
    sums: Vec<f64>,
    order: Vec<usize>,
}

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-0.99);
                sum
            })
            .collect();
        let mut order: Vec<usize> = (0..count).collect();
        for at in (1..count).rev() {
            order.swap(at, (mixed(at as u64) % (at as u64 + 1)) as usize);
        }
        Self { sums, order }
    }

    fn draw(&self, seed: u64) -> usize {
        let all = self.sums.last().copied().unwrap_or(1.0);
        let at = (mixed(seed) >> 11) as f64 / (1_u64 << 53) as f64 * all;
        self.order[self.sums.partition_point(|sum| *sum < at).min(self.order.len() - 1)]
    }
}

impl Child {
    fn run<P: Pool>(mut self, part: &str) -> Result<Figures> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        match part {
            "work" => self.work::<P>(&runtime)?,
            "again" => self.again::<P>(&runtime)?,
            _ => return Err(format!("there is no part {part}").into()),
        }
        Ok(self.figures)
    }

    fn note(&mut self, name: &str, figure: f64) {
        self.figures.insert(name.to_owned(), figure);
    }

    fn budget(&self) -> Budget {
        Budget { objects: self.work.resident, object_len: self.work.len }
    }

    fn work<P: Pool>(&mut self, runtime: &Runtime) -> Result<()> {
        let Work { objects, len, loads, .. } = self.work;
        let before = anonymous()?;
        let peak = Peak::start();
        let mut pool = P::open(&self.dir, self.budget(), runtime)?;
        let (took, ()) = wall(|| {
            for number in 0..objects {
                pool.insert(object(number, len))?;
            }
            pool.drained(runtime)
        })?;
        // What it takes to make the objects is nobody's.
        let (making, ()) = wall(|| {
            for number in 0..objects {
                std::hint::black_box(object(number, len));
            }
            Ok(())
        })?;
        self.note("insert", took - making);
        self.note("growth", peak.stop().saturating_sub(before) as f64 / 1024.0);
        self.note("threads", threads()?);
        if let Some((peak, limit)) = pool.peak() {
            self.note("budget", peak as f64 / limit as f64);
        }
        let uniform = |n: usize| (mixed(n as u64 ^ 0xabcd) % objects as u64) as usize;
        let zipf = Zipf::new(objects);
        let (took, ()) = wall(|| {
            (0..loads).try_for_each(|n| pool.load(uniform(n)).map(drop))
        })?;
        self.note("uniform", took);
        let missed = pool.misses();
        let (took, ()) = wall(|| {
            (0..5 * loads).try_for_each(|n| pool.load(zipf.draw(n as u64)).map(drop))
        })?;
        self.note("zipf", took);
        if let Some((before, after)) = missed.zip(pool.misses()) {
            self.note("zipf hits", 1.0 - (after - before) as f64 / (5 * loads) as f64);
        }
        self.eight(&pool, "uniform by eight", loads, &uniform)?;
        self.eight(&pool, "zipf by eight", 5 * loads, &|n| zipf.draw(n as u64))?;
        if P::awaits() {
            let (took, ()) = wall(|| {
                runtime.block_on(async {
                    for n in 0..loads {
                        std::hint::black_box(pool.load_awaited(uniform(n)).await?);
                    }
                    Ok(())
                })
            })?;
            self.note("uniform awaited", took);
        }
        let (took, ()) = wall(|| pool.persist(runtime))?;
        self.note("persist", took);
        pool.change(100)?;
        let (took, ()) = wall(|| pool.persist(runtime))?;
        self.note("persist changed", took);
        let (took, ()) = wall(|| {
            pool.clear()?;
            pool.drained(runtime)
        })?;
        self.note("drop", took);
        Ok(())
    }

    fn eight<P: Pool>(
        &mut self,
        pool: &P,
        name: &str,
        loads: usize,
        draw: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<()> {
        let next = AtomicUsize::new(0);
        let (took, ()) = wall(|| {
            std::thread::scope(|scope| {
                let one = || -> Result<()> {
                    loop {
                        let from = next.fetch_add(64, Ordering::Relaxed);
                        if from >= loads {
                            return Ok(());
                        }
                        for n in from..from + 64 {
                            std::hint::black_box(pool.load(draw(n))?);
                        }
                    }
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
                threads.into_iter().try_for_each(|t| t.join().map_err(|_| "a thread panicked")?)
            })
        })?;
        self.note(name, took);
        Ok(())
    }

    fn again<P: Pool>(&mut self, runtime: &Runtime) -> Result<()> {
        let (took, mut pool) = wall(|| P::track(&self.dir, self.budget(), runtime))?;
        self.note("track", took);
        let (took, handles) = wall(|| pool.register())?;
        if handles == 0 {
            self.figures.clear();
            return Ok(());
        }
        self.note("register", took);
        let (took, ()) = wall(|| (0..handles).try_for_each(|n| pool.load(n).map(drop)))?;
        self.note("first loads", took);
        Ok(())
    }
}

fn threads() -> Result<f64> {
    Ok(std::fs::read_dir("/proc/self/task")?.count() as f64)
}
