//! The explorer over our own stores: no violation as they are, and one for each sync that is left out.

use untorn::fs::SyncSite;
use untorn::proof::{Plan, Store, explore, notices};

#[track_caller]
fn check(store: Store, line: usize, states: u64) {
    match explore(store, &Plan::new().states(states).line(line), |_| {}) {
        Ok(outcome) => println!("{}: {outcome:?}", store.name()),
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn log_all_sequences() {
    check(Store::Log, 0, 400_000);
}

#[test]
fn log_all_sequences_buffered() {
    check(Store::Log, 1, 150_000);
}

#[test]
fn log_crashes_within_recovery() {
    check(Store::Log, 2, 50_000);
}

#[test]
fn log_a_fault_at_every_call() {
    check(Store::Log, 3, 30_000);
}

#[test]
fn file_all_sequences() {
    check(Store::File, 0, 100_000);
}

#[test]
fn file_without_rename_noreplace() {
    check(Store::File, 1, 100_000);
}

#[test]
fn file_a_fault_at_every_call() {
    check(Store::File, 2, 100_000);
}

#[test]
fn resource_all_sequences() {
    check(Store::File, 3, 20_000);
}

#[test]
fn journal_all_sequences() {
    check(Store::Journal, 0, 400_000);
}

#[test]
fn journal_keeps_one_snapshot() {
    check(Store::Journal, 1, 100_000);
}

#[test]
fn journal_crashes_within_recovery() {
    check(Store::Journal, 2, 50_000);
}

#[test]
fn journal_a_fault_at_every_call() {
    check(Store::Journal, 3, 30_000);
}

#[test]
fn chunked_all_sequences() {
    check(Store::Chunked, 0, 200_000);
}

#[test]
fn chunked_buffered_then_synced() {
    check(Store::Chunked, 2, 100_000);
}

#[test]
fn chunked_failed_syncs() {
    check(Store::Chunked, 3, 20_000);
}

#[test]
fn chunked_a_fault_at_every_call() {
    check(Store::Chunked, 1, 20_000);
}

#[test]
#[cfg(feature = "blake3")]
fn file_directories_published_whole() {
    check(Store::File, 4, 60_000);
}

#[test]
#[cfg(feature = "blake3")]
fn file_directories_a_fault_at_every_call() {
    check(Store::File, 5, 20_000);
}

#[test]
fn snapshot_all_sequences() {
    check(Store::Snapshot, 0, 100_000);
}

#[test]
fn snapshot_a_fault_at_every_call() {
    check(Store::Snapshot, 1, 100_000);
}

/// The syncs of a snapshot are those of a replaced file. Its own exploration must miss them too.
#[test]
fn a_snapshot_without_its_syncs_is_noticed() {
    for site in [SyncSite::ReplaceFile, SyncSite::ReplaceDir] {
        let plan = Plan::new().states(100_000).without_sync(site).line(0);
        let violation = explore(Store::Snapshot, &plan, |_| {}).map(|o| o.crash_states);
        let violation = violation.expect_err(site.name());
        println!("{} | {}", site.name(), violation.message);
    }
}

#[test]
fn every_sync_has_a_reason() {
    let mut unnoticed = Vec::new();
    // Without the feature nothing publishes directories, and nothing is there to explore.
    let made = |site: &SyncSite| cfg!(feature = "blake3") || !site.name().starts_with("artifact");
    for site in SyncSite::ALL.into_iter().filter(made) {
        let (store, line) = notices(site);
        let plan = Plan::new().states(100_000).without_sync(site).line(line);
        match explore(store, &plan, |_| {}) {
            Err(violation) => {
                println!("{} | {} | {}", site.name(), store.name(), violation.message);
            }
            Ok(outcome) => unnoticed.push((site.name(), outcome.crash_states)),
        }
    }
    assert!(unnoticed.is_empty(), "nobody notices without {unnoticed:?}");
}

#[test]
fn append_all_sequences() {
    check(Store::Append, 0, 60_000);
}

#[test]
fn append_checkpoints() {
    check(Store::Append, 1, 40_000);
}

#[test]
fn append_group() {
    check(Store::Append, 2, 20_000);
}

#[test]
fn append_adopted() {
    check(Store::Append, 3, 10_000);
}

#[test]
fn append_pruning() {
    check(Store::Append, 4, 15_000);
}

#[test]
fn append_a_fault_at_every_call() {
    check(Store::Append, 5, 15_000);
}
