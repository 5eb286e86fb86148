//! A snapshot in the Frame layout, in JSON: beside `serde_json` into nothing and a raw write of the same bytes; loading it beside
//! reading the file whole and `serde_json::from_slice`. And a state of actionqueue-storage, beside its own writer and loader.

use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};

use actionqueue_core::ids::TaskId;
use actionqueue_core::task::constraints::TaskConstraints;
use actionqueue_core::task::metadata::TaskMetadata;
use actionqueue_core::task::run_policy::RunPolicy;
use actionqueue_core::task::task_spec::{TaskPayload, TaskSpec};
use actionqueue_storage::snapshot::loader as old_loader;
use actionqueue_storage::snapshot::loader::SnapshotLoader as _;
use actionqueue_storage::snapshot::mapping::SNAPSHOT_SCHEMA_VERSION;
use actionqueue_storage::snapshot::model::{Snapshot, SnapshotMetadata, SnapshotTask};
use actionqueue_storage::snapshot::writer as old_writer;
use actionqueue_storage::snapshot::writer::SnapshotWriter as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use untorn::snapshot::{SnapshotFsLoader, SnapshotFsWriter, SnapshotLoader, SnapshotWriter};

use crate::args::Args;
use crate::measure::{cpu, wall};
use crate::raw::write_synced;
use crate::report::{Pair, Report, Target};
use crate::scratch::Scratch;
use crate::state::{Accounts, accounts};
use crate::{Result, alloc};

/// The header before the JSON.
const HEADER: usize = 12;
const MIB: f64 = (1 << 20) as f64;

pub fn run(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let size = |state: &Accounts| serde_json::to_vec(state).map_or(0, |bytes| bytes.len());
    let state = accounts(args.mib << 20, size);
    let (path, plain) = (scratch.path("untorn"), scratch.path("raw"));
    let mut ours = Ours::default();
    for round in 0..args.rounds {
        ours.round(&state, &path, &plain, round % 2 == 0)?;
    }
    let name = |what: &str| format!("{} MiB of JSON: {what}", args.mib);
    let row = |report: &mut Report, what: &str, unit: &str, pair, target| {
        report.row("frame", &name(what), unit, pair, target);
    };
    row(report, "write / codec + raw", "ms", &ours.write, Target::AtMost(1.15));
    row(report, "CPU of write / of codec + raw", "ms of CPU", &ours.write_cpu, Target::None);
    row(report, "MiB above the state / 8", "MiB", &ours.write_memory, Target::AtMost(1.0));
    row(report, "load / read + from_slice", "ms of CPU", &ours.load, Target::AtMost(1.15));
    row(report, "load: memory / file", "MiB", &ours.load_memory, Target::None);
    drop(state);
    beside_old(args, scratch, report)
}

#[derive(Default)]
struct Ours {
    write: Pair,
    write_cpu: Pair,
    write_memory: Pair,
    load: Pair,
    load_memory: Pair,
}

impl Ours {
    fn round(
        &mut self,
        state: &Accounts,
        path: &Path,
        plain: &Path,
        raw_first: bool,
    ) -> Result<()> {
        let to_sink = || Ok(serde_json::to_writer(io::sink(), black_box(state))?);
        let (codec_cpu, (codec, ())) = cpu(|| wall(to_sink))?;
        let bytes = serde_json::to_vec(state)?;
        let size = bytes.len() + HEADER;
        let measure_raw = || cpu(|| write_synced(plain, &bytes));
        let measure_ours = || alloc::peak(|| cpu(|| wall(|| write(state, path))));
        let ((raw_cpu, raw), (written, memory)) = if raw_first {
            let raw = measure_raw()?;
            (raw, measure_ours())
        } else {
            let ours = measure_ours();
            (measure_raw()?, ours)
        };
        let (ours_cpu, (ours, ())) = written?;
        drop(bytes);
        self.write.push(ours, codec + raw);
        self.write_cpu.push(ours_cpu, codec_cpu + raw_cpu);
        self.write_memory.push(memory as f64 / MIB, 8.0);
        let (plain, theirs) = cpu(|| {
            let bytes = std::fs::read(path)?;
            Ok(serde_json::from_slice::<Accounts>(&bytes[HEADER..])?)
        })?;
        drop(theirs);
        let (loaded, memory) = alloc::peak(|| cpu(|| load::<Accounts>(path)));
        let (ours, loaded) = loaded?;
        if loaded != *state {
            return Err("another state was loaded than was written".into());
        }
        self.load.push(ours, plain);
        // The peak holds the file and the value; the value is not the loader's to save.
        let ((), value) = alloc::peak(|| drop(black_box(loaded.clone())));
        self.load_memory.push((memory.saturating_sub(value)) as f64 / MIB, size as f64 / MIB);
        Ok(())
    }
}

fn write<S: Serialize + DeserializeOwned>(state: &S, path: &Path) -> Result<()> {
    let mut writer = SnapshotFsWriter::new(path.to_path_buf())?;
    writer.write(state)?;
    Ok(writer.close()?)
}

fn load<S: Serialize + DeserializeOwned>(path: &Path) -> Result<S> {
    let loaded = SnapshotFsLoader::new(path.to_path_buf()).load()?;
    loaded.ok_or_else(|| "there is no snapshot".into())
}

fn beside_old(args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let sample = serde_json::to_vec(&tasks(1000)?)?.len();
    let state = tasks(((args.mib << 20) * 1000 / sample) as u64)?;
    let (path, old) = (scratch.path("untorn"), scratch.path("actionqueue"));
    let (mut writes, mut loads) = (Pair::default(), Pair::default());
    let (mut write_memory, mut load_memory) = (Pair::default(), Pair::default());
    for _ in 0..args.rounds {
        let (theirs, their_memory) = alloc::peak(|| wall(|| write_old(&state, &old)));
        let (ours, our_memory) = alloc::peak(|| wall(|| write(&state, &path)));
        writes.push(ours?.0, theirs?.0);
        write_memory.push(our_memory as f64 / MIB, their_memory as f64 / MIB);
        let (theirs, their_memory) = alloc::peak(|| cpu(|| load_old(&old)));
        let (theirs, their_state) = theirs?;
        let same = their_state == state;
        drop(their_state);
        let (ours, our_memory) = alloc::peak(|| cpu(|| load::<Snapshot>(&path)));
        let (ours, our_state) = ours?;
        if !same || our_state != state {
            return Err("another state was loaded than was written".into());
        }
        loads.push(ours, theirs);
        load_memory.push(our_memory as f64 / MIB, their_memory as f64 / MIB);
    }
    let name = |what: &str| format!("a state of actionqueue: {what} / its own");
    report.row("frame", &name("write"), "ms", &writes, Target::None);
    report.row("frame", &name("memory"), "MiB", &write_memory, Target::None);
    report.row("frame", &name("load"), "ms of CPU", &loads, Target::None);
    report.row("frame", &name("load memory"), "MiB", &load_memory, Target::None);
    Ok(())
}

fn write_old(state: &Snapshot, path: &Path) -> Result<()> {
    let mut writer = old_writer::SnapshotFsWriter::new(path.to_path_buf())?;
    writer.write(state)?;
    Ok(writer.close()?)
}

fn load_old(path: &Path) -> Result<Snapshot> {
    let mut loader = old_loader::SnapshotFsLoader::new(PathBuf::from(path));
    loader.load()?.ok_or_else(|| "there is no snapshot".into())
}

/// A state with so many tasks, each with some text.
fn tasks(count: u64) -> Result<Snapshot> {
    let task = |n: u64| -> Result<SnapshotTask> {
        let task_spec = TaskSpec::new(
            TaskId::from_uuid(uuid::Uuid::from_u128(u128::from(n) + 1)),
            TaskPayload::with_content_type(vec![1, 2, 3, 4], "text/plain"),
            RunPolicy::Once,
            TaskConstraints::default(),
            TaskMetadata::new(vec![format!("tag-{n}")], 1, Some("a text of some length".repeat(5))),
        )?;
        Ok(SnapshotTask { task_spec, created_at: n, updated_at: None, canceled_at: None })
    };
    let tasks = (0..count).map(task).collect::<Result<Vec<_>>>()?;
    Ok(Snapshot {
        version: 4,
        timestamp: 1,
        metadata: SnapshotMetadata {
            schema_version: SNAPSHOT_SCHEMA_VERSION,
            wal_sequence: 1,
            task_count: count,
            run_count: 0,
        },
        tasks,
        runs: Vec::new(),
        engine: Default::default(),
        dependency_declarations: Vec::new(),
        budgets: Vec::new(),
        subscriptions: Vec::new(),
        actors: Vec::new(),
        tenants: Vec::new(),
        role_assignments: Vec::new(),
        capability_grants: Vec::new(),
        ledger_entries: Vec::new(),
    })
}
