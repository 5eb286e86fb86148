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
use crate::measure::{cpu, in_turn, wall};
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
    for _ in 0..args.rounds {
        ours.round(&state, &path, &plain)?;
    }
    let name = |what: &str| format!("{} MiB of JSON: {what}", args.mib);
    let row = |report: &mut Report, what: &str, unit: &str, pair, target| {
        report.row("frame", &name(what), unit, pair, target);
    };
    row(report, "write / codec + raw", "ms", &ours.write, Target::AtMost(1.15));
    row(report, "CPU of write / of codec + raw", "ms of CPU", &ours.write_cpu, Target::None);
    row(report, "MiB above the state / 8", "MiB", &ours.write_memory, Target::AtMost(1.0));
    row(report, "load / read + from_slice", "ms of CPU", &ours.load, Target::AtMost(1.15));
    row(report, "load: memory beside the value / file", "MiB", &ours.load_memory, Target::None);
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
    fn round(&mut self, state: &Accounts, path: &Path, plain: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(state)?;
        let size = bytes.len() + HEADER;
        let limit = || {
            let to_sink = || Ok(serde_json::to_writer(io::sink(), black_box(state))?);
            let (cpu, (codec, raw)) = cpu(|| Ok((wall(to_sink)?.0, write_synced(plain, &bytes)?)))?;
            Ok([codec + raw, cpu])
        };
        let ours = || {
            let (written, memory) = alloc::peak(|| cpu(|| wall(|| write(state, path))));
            let (cpu, (took, ())) = written?;
            Ok([took, cpu, memory as f64 / MIB])
        };
        let ([limit, limit_cpu], [ours, ours_cpu, memory]) = in_turn(limit, ours)?;
        drop(bytes);
        self.write.push(ours, limit);
        self.write_cpu.push(ours_cpu, limit_cpu);
        self.write_memory.push(memory, 8.0);
        let limit = || {
            let (took, loaded) = cpu(|| {
                let bytes = std::fs::read(path)?;
                Ok(serde_json::from_slice::<Accounts>(&bytes[HEADER..])?)
            })?;
            same(&loaded, state).map(|()| [took])
        };
        let ours = || {
            let (loaded, memory) = alloc::extra(|| cpu(|| load::<Accounts>(path)));
            let (took, loaded) = loaded?;
            same(&loaded, state)?;
            Ok([took, memory as f64 / MIB])
        };
        let ([limit], [ours, memory]) = in_turn(limit, ours)?;
        self.load.push(ours, limit);
        self.load_memory.push(memory, size as f64 / MIB);
        Ok(())
    }
}

fn same<S: PartialEq>(loaded: &S, written: &S) -> Result<()> {
    if loaded == written {
        return Ok(());
    }
    Err("another state was loaded than was written".into())
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
        let theirs = || {
            let (took, memory) = alloc::peak(|| wall(|| write_old(&state, &old)));
            Ok([took?.0, memory as f64 / MIB])
        };
        let ours = || {
            let (took, memory) = alloc::peak(|| wall(|| write(&state, &path)));
            Ok([took?.0, memory as f64 / MIB])
        };
        let ([theirs, their_memory], [ours, our_memory]) = in_turn(theirs, ours)?;
        writes.push(ours, theirs);
        write_memory.push(our_memory, their_memory);
        let theirs = || {
            let (loaded, memory) = alloc::extra(|| cpu(|| load_old(&old)));
            let (took, loaded) = loaded?;
            same(&loaded, &state).map(|()| [took, memory as f64 / MIB])
        };
        let ours = || {
            let (loaded, memory) = alloc::extra(|| cpu(|| load::<Snapshot>(&path)));
            let (took, loaded) = loaded?;
            same(&loaded, &state).map(|()| [took, memory as f64 / MIB])
        };
        let ([theirs, their_memory], [ours, our_memory]) = in_turn(theirs, ours)?;
        loads.push(ours, theirs);
        load_memory.push(our_memory, their_memory);
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
