//! Values of the old crate, and its files.

use std::path::Path;

use actionqueue_core::ids::{RunId, TaskId};
use actionqueue_core::task::constraints::TaskConstraints;
use actionqueue_core::task::metadata::TaskMetadata;
use actionqueue_core::task::run_policy::RunPolicy;
use actionqueue_core::task::task_spec::{TaskPayload, TaskSpec};
use actionqueue_storage::snapshot::mapping::SNAPSHOT_SCHEMA_VERSION;
use actionqueue_storage::snapshot::model::{Snapshot, SnapshotMetadata, SnapshotTask};
use actionqueue_storage::wal::event::{WalEvent, WalEventType};
use actionqueue_storage::wal::fs_writer::WalFsWriter;
use actionqueue_storage::wal::writer::WalWriter as _;
use uuid::Uuid;

/// A state with so many tasks.
pub fn state(tasks: u64) -> Snapshot {
    let task = |n| SnapshotTask {
        task_spec: task_spec(n),
        created_at: n,
        updated_at: (n % 2 == 0).then_some(n + 1),
        canceled_at: None,
    };
    Snapshot {
        version: 4,
        timestamp: 1_700_000_000,
        metadata: SnapshotMetadata {
            schema_version: SNAPSHOT_SCHEMA_VERSION,
            wal_sequence: 42,
            task_count: tasks,
            run_count: 0,
        },
        tasks: (0..tasks).map(task).collect(),
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
    }
}

fn task_spec(n: u64) -> TaskSpec {
    let payload = TaskPayload::with_content_type(vec![1, 2, 3], "text/plain");
    let tags = vec![format!("tag \"{n}\" \u{e9}\n")];
    let metadata = TaskMetadata::new(tags, -7, Some(format!("task {n}")));
    let id = TaskId::from_uuid(Uuid::from_u128(u128::from(n) + 1));
    TaskSpec::new(id, payload, RunPolicy::Once, TaskConstraints::default(), metadata).unwrap()
}

/// Events of several kinds, in turn.
pub fn event(n: u64) -> WalEventType {
    let run_id = RunId::from_uuid(Uuid::from_u128(u128::from(n)));
    match n % 3 {
        0 => WalEventType::TaskCreated { task_spec: task_spec(n), timestamp: n },
        1 => WalEventType::LeaseAcquired {
            run_id,
            owner: format!("worker {n}"),
            expiry: n + 60,
            timestamp: n,
        },
        _ => WalEventType::RunCanceled { run_id, timestamp: n },
    }
}

/// Appends events with the sequences `first..=last`, durably.
pub fn append(writer: &mut WalFsWriter, first: u64, last: u64) {
    for n in first..=last {
        writer.append(&WalEvent::new(n, event(n))).unwrap();
    }
    writer.flush().unwrap();
}

/// An old log with the events 1 to `last`; where each record begins, and the end.
pub fn log(path: &Path, last: u64) -> Vec<u64> {
    let mut writer = WalFsWriter::new(path.to_path_buf()).unwrap();
    let mut starts = Vec::new();
    for n in 1..=last {
        starts.push(std::fs::metadata(path).unwrap().len());
        writer.append(&WalEvent::new(n, event(n))).unwrap();
    }
    writer.close().unwrap();
    starts.push(std::fs::metadata(path).unwrap().len());
    starts
}

/// Changes bytes of a file from an offset on.
pub fn change(path: &Path, at: u64, change: impl FnOnce(&mut [u8])) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes[usize::try_from(at).unwrap()..]);
    std::fs::write(path, bytes).unwrap();
}
