//! Directories of `file_backed` 0.6.14, read and written: what one wrote the other loads. Needs `--features pool-rivals`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use file_backed::backing_store::BackingStore as TheirStore;
use file_backed::fbstore::{BinCodec, FBStore, PreparedPath};
use file_backed::{FBPool, Fb as TheirFb};
use serde::{Deserialize, Serialize};
use untorn::codec::{Codec, FixedLe};
use untorn::pool::{
    BackingStore, DirPath, DirStore, Fb, FileBackedOptions, MemoryBudget, Pool, codec_id,
    export_file_backed, import_file_backed,
};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Line(f32, f64),
    Named { name: String, of: Option<Box<Shape>> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Value {
    number: u64,
    small: (i8, u16, bool, char),
    large: u128,
    bytes: Vec<u8>,
    shapes: Vec<Shape>,
    map: BTreeMap<String, i32>,
    unit: (),
}

fn value(n: u64) -> Value {
    let named = Shape::Named { name: format!("shape {n}"), of: Some(Box::new(Shape::Point)) };
    Value {
        number: n,
        small: (-3, 500, n.is_multiple_of(2), '\u{e9}'),
        large: u128::from(n) << 70,
        bytes: vec![7; n as usize * 100],
        shapes: vec![Shape::Line(1.5, -2.5), named, Shape::Point],
        map: (0..n % 5).map(|k| (k.to_string(), k as i32 - 2)).collect(),
        unit: (),
    }
}

type Theirs = FBStore<BinCodec>;

fn their_pool(dir: &Path, runtime: &tokio::runtime::Runtime) -> Arc<FBPool<Value, Theirs>> {
    let path = PreparedPath::blocking_new(dir.join("their scratch"), Vec::new());
    let store = TheirStore::new(FBStore::new(BinCodec, path), runtime.handle().clone());
    Arc::new(FBPool::new(Arc::new(store), 4))
}

#[test]
fn what_they_wrote_is_loaded_here_and_the_other_way() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let theirs = their_pool(dir, &runtime);
    let old = PreparedPath::blocking_new(dir.join("old"), Vec::new());
    let tracked = Arc::new(theirs.store().blocking_track_path(old));
    let written: Vec<(Uuid, Value)> = (0..40)
        .map(|n| {
            let fb: TheirFb<Value, Theirs> = theirs.insert(value(n));
            fb.blocking_persist(&tracked);
            (fb.key(), value(n))
        })
        .collect();
    theirs.store().blocking_sync(tracked.path());
    runtime.block_on(theirs.store().finished());

    let store = Arc::new(BackingStore::open(DirStore::new(dir.join("scratch")).unwrap()));
    let options = Pool::<Value>::options().budget(MemoryBudget::bytes(1 << 20));
    let ours = Arc::new(options.build(&store, FixedLe).unwrap());
    let path = store.blocking_track_path(DirPath::new(dir.join("new"))).unwrap();
    let codec = codec_id(<FixedLe as Codec<Value>>::NAME);
    let report =
        import_file_backed(dir.join("old"), path.path(), codec, FileBackedOptions::new()).unwrap();
    assert_eq!((report.imported, report.suspect.len(), report.others), (40, 0, 0));
    for (key, value) in &written {
        let fb = ours.blocking_register(&path, *key).unwrap().unwrap();
        assert_eq!(*fb.blocking_load().unwrap(), *value);
    }

    let more: Vec<Fb<Value>> =
        (40..60).map(|n| ours.blocking_insert(value(n)).unwrap()).collect();
    Fb::blocking_checkpoint(&more.iter().collect::<Vec<_>>(), &path, "more", b"").unwrap();
    let copy = dir.join("copy");
    let report =
        export_file_backed(path.path(), Some("more"), &copy, FileBackedOptions::new()).unwrap();
    assert_eq!(report.objects, 20);
    let tracked = theirs.store().blocking_track_path(PreparedPath::blocking_new(copy, Vec::new()));
    for (n, fb) in (40..).zip(&more) {
        let fb = theirs.blocking_register(&tracked, fb.key());
        assert_eq!(*fb.unwrap().blocking_load(), value(n));
    }
}
