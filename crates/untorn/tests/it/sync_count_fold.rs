//! How many syncs and renames each public call of a fold makes; as in `sync_count`, the same numbers stand elsewhere.

use std::sync::Arc;

use untorn::Durability;
use untorn::fold::{
    AppendLogSnapshot, Compaction, FoldOptions, Lineage, SnapshotStore, SyncPolicy, SyncScope,
};
use untorn::fs::SyncSite;
use untorn::sim::Meter;

use SyncSite::{
    FoldBase, FoldBaseDir, LogBeginFile, LogFrame, LogPrepareDir, LogPrepareFile, MakeDirParent,
    QuarantineDir, QuarantineFile,
};

use super::fold_kit::{at, put};
use super::sync_count::{CUT, META, NOTHING, check, disk, killed};

const PATH: &str = "/data/f";
/// A base gets its name.
const BASE: [(SyncSite, u64); 2] = [(FoldBase, 1), (FoldBaseDir, 1)];

fn options(meter: &Meter) -> FoldOptions {
    FoldOptions::new().fs(Arc::new(meter.clone())).compaction(Compaction::Manual)
}

fn open(options: FoldOptions) -> AppendLogSnapshot {
    options.open(PATH).unwrap().1
}

fn apply(fold: &mut AppendLogSnapshot, n: u64) {
    fold.apply(&[put("a", "value", n)], &at(n)).unwrap();
}

/// A log that is made: its directory, a segment, META.
fn new_log() -> impl Iterator<Item = (SyncSite, u64)> {
    [(LogPrepareFile, 1), (LogBeginFile, 1), (LogPrepareDir, 1)].into_iter().chain(META)
}

#[test]
fn fold_open_and_close() {
    let (sim, meter) = disk();
    // The directories that lead to the log: `/`, `/data` and the fold's own.
    let made = new_log().chain([(MakeDirParent, 3)]);
    let mut fold = check(&meter, made, 2, || open(options(&meter)));
    apply(&mut fold, 1);
    check(&meter, META, 1, || fold.close().unwrap());
    let fold = check(&meter, NOTHING, 0, || open(options(&meter)));
    check(&meter, NOTHING, 0, || fold.close().unwrap());
    check(&meter, NOTHING, 0, || drop(open(options(&meter).read_only(true))));

    let mut fold = open(options(&meter));
    fold.compact_all().unwrap();
    apply(&mut fold, 2);
    let (_sim, meter) = killed(&sim);
    drop(fold);
    let fold = check(&meter, CUT, 2, || open(options(&meter)));
    assert_eq!(fold.recovery().commits, 1);
    check(&meter, META, 1, || drop(fold));
}

#[test]
fn fold_commits() {
    let (sim, meter) = disk();
    let mut fold = open(options(&meter));
    check(&meter, [(LogFrame, 1)], 0, || apply(&mut fold, 1));
    check(&meter, [(LogFrame, 1)], 0, || fold.apply(&[], &at(2)).unwrap());
    check(&meter, NOTHING, 0, || fold.sync().unwrap());
    let lineage = Lineage { kind: "test".into(), id: vec![1] };
    check(&meter, [(LogFrame, 1)], 0, || fold.set_lineage(lineage).unwrap());
    let token = check(&meter, NOTHING, 0, || fold.begin_sync(SyncScope::all()).unwrap());
    let listed = [put("a", "new", 9)];
    check(&meter, [(LogFrame, 1)], 0, || fold.sync_apply(&token, &listed).unwrap());
    check(&meter, NOTHING, 0, || fold.sync_apply(&token, &listed).unwrap());
    check(&meter, [(LogFrame, 1)], 0, || fold.finish_sync(token, &at(10)).unwrap());
    fold.close().unwrap();
    // The first after a clean close takes back that it was closed.
    let mut fold = open(options(&meter));
    check(&meter, META.into_iter().chain([(LogFrame, 1)]), 1, || apply(&mut fold, 11));
    drop(fold);

    let (_sim, meter) = killed(&sim);
    for options in [
        options(&meter).durability(Durability::Buffered),
        options(&meter).sync_policy(SyncPolicy::Manual),
    ] {
        let mut fold = open(options);
        let n = fold.cursor().as_u64().unwrap() + 1;
        check(&meter, META, 1, || apply(&mut fold, n));
        check(&meter, NOTHING, 0, || apply(&mut fold, n + 1));
        check(&meter, [(LogFrame, 1)], 0, || fold.sync().unwrap());
        apply(&mut fold, n + 2);
        check(&meter, META.into_iter().chain([(LogFrame, 1)]), 1, || fold.close().unwrap());
    }
}

#[test]
fn fold_compactions() {
    let (sim, meter) = disk();
    let mut fold = open(options(&meter).log_segment_bytes(4096));
    apply(&mut fold, 1);
    check(&meter, BASE, 1, || fold.compact_all().unwrap());
    check(&meter, NOTHING, 0, || fold.compact_all().unwrap());
    for n in 2..20 {
        fold.apply(&[put("a", vec![1; 900], n)], &at(n)).unwrap();
    }
    // Segments that are given up are unlinked after META says so.
    check(&meter, BASE.into_iter().chain(META), 2, || fold.compact_all().unwrap());
    fold.close().unwrap();

    let (_sim, meter) = killed(&sim);
    let mut fold = open(options(&meter).durability(Durability::Buffered));
    apply(&mut fold, 30);
    // What is merged is synced first.
    let synced = BASE.into_iter().chain([(LogFrame, 1)]);
    check(&meter, synced, 1, || fold.compact_all().unwrap());
}

#[test]
fn fold_reset() {
    let (_sim, meter) = disk();
    let mut fold = open(options(&meter));
    apply(&mut fold, 1);
    // All is merged, the record says that it is void, the base is copied with a note, an empty one takes its place.
    let kept = [(MakeDirParent, 1), (QuarantineFile, 2), (QuarantineDir, 1)];
    let syncs = kept.into_iter().chain(BASE).chain(BASE).chain([(LogFrame, 1)]);
    check(&meter, syncs, 4, || fold.reset("a test").unwrap());
    let syncs = kept.into_iter().chain(BASE).chain([(LogFrame, 1)]);
    check(&meter, syncs, 3, || fold.reset("a test").unwrap());
}

#[test]
#[cfg(feature = "blake3")]
fn fold_export_and_import() {
    use SyncSite::{ArtifactDir, ArtifactFile, ArtifactParent};
    use untorn::OnDamage;
    use untorn::fold::{ImportOptions, pgss};
    let (_sim, meter) = disk();
    let mut fold = open(options(&meter));
    apply(&mut fold, 1);
    let artifact = |files| [(ArtifactFile, files), (ArtifactDir, 2), (ArtifactParent, 1)];
    let staged = |files| [(ArtifactFile, files), (ArtifactDir, 1), (ArtifactParent, 1)];
    let imported = |from: &str, to: &str| {
        let options = ImportOptions::new().open(options(&meter));
        drop(AppendLogSnapshot::import_with(from.as_ref(), to.as_ref(), &options).unwrap());
    };
    // The manifest, and the base.
    check(&meter, artifact(2), 1, || fold.export_to("/data/x".as_ref()).unwrap());
    let log = || new_log().chain([(MakeDirParent, 3)]);
    // The log is made and closed.
    check(&meter, log().chain(META).chain(staged(1)), 4, || imported("/data/x", "/data/i"));
    fold.compact_all().unwrap();
    apply(&mut fold, 2);
    // The tail, too; with it there is a commit, and another close.
    check(&meter, artifact(3), 1, || fold.export_to("/data/y".as_ref()).unwrap());
    let committed = META.into_iter().chain(META).chain([(LogFrame, 1)]);
    let syncs = log().chain(META).chain(committed).chain(staged(2));
    check(&meter, syncs, 6, || imported("/data/y", "/data/j"));

    let image = || pgss::read_with("/data/p", Arc::new(meter.clone()), OnDamage::Refuse).unwrap();
    let whole = fold.snapshot();
    let write = || pgss::write(&whole, "/data/p", Arc::new(meter.clone())).unwrap();
    check(&meter, [(SyncSite::PublishFile, 1), (SyncSite::PublishDir, 1)], 1, write);
    let named = [(ArtifactDir, 1), (ArtifactParent, 1)];
    let syncs = log().chain(META).chain(BASE).chain(named);
    check(&meter, syncs, 5, || pgss::convert(image(), "/data/q", Arc::new(meter.clone())).unwrap());
}
