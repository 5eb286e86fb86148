//! The pool's commands, and what the other commands say of a path and of scratch: sound, damaged, held, left over, converted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use untorn::codec::Raw;
use untorn::pool::{
    BackingStore, Compression, DirPath, DirStore, Fb, MemoryBudget, Pool, TrackedPath,
};

use crate::{Mounted, check, complaint, run_in, temporaries};

/// An owner in this process, with what it made.
struct Owner {
    store: Arc<BackingStore<DirStore>>,
    pool: Arc<Pool<Vec<u8>>>,
    path: TrackedPath<DirPath>,
    objects: Vec<Fb<Vec<u8>>>,
}

/// The last one has a file of its own; the others compress well.
fn value(n: usize) -> Vec<u8> {
    if n == 7 {
        let mut x = 1_u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            x.to_le_bytes()[3]
        };
        return (0..300_000).map(|_| next()).collect();
    }
    format!("value {n} ").repeat(400 + n).into_bytes()
}

impl Owner {
    /// Scratch in `scratch`, objects in `state`: three loose ones, and a set `main` with five, one of which is loose, too.
    fn new(dir: &Path) -> Self {
        let store = Arc::new(BackingStore::open(DirStore::new(dir.join("scratch")).unwrap()));
        let options = Pool::options().budget(MemoryBudget::bytes(4 << 20)).weigh(Vec::len);
        let pool = Arc::new(options.compression(Compression::Lz4).build(&store, Raw).unwrap());
        let path = store.blocking_track_path(DirPath::new(dir.join("state"))).unwrap();
        let mut owner = Self { store, pool, path, objects: Vec::new() };
        for n in 0..3 {
            owner.persist(value(n));
        }
        owner.store.blocking_sync(&owner.path).unwrap();
        for n in 3..8 {
            let object = owner.pool.blocking_insert(value(n)).unwrap();
            owner.objects.push(object);
        }
        let main: Vec<&Fb<Vec<u8>>> = owner.objects.iter().skip(2).collect();
        Fb::blocking_checkpoint(&main, &owner.path, "main", b"meta").unwrap();
        owner
    }

    /// Staged, and not committed.
    fn persist(&mut self, value: Vec<u8>) {
        let object = self.pool.blocking_insert(value).unwrap();
        object.blocking_persist(&self.path).unwrap();
        self.objects.push(object);
    }

    fn keys(&self) -> Vec<String> {
        self.objects.iter().map(|object| object.key().simple().to_string()).collect()
    }
}

/// A path whose owner has let go of it.
fn sample(dir: &Path) -> Vec<String> {
    Owner::new(dir).keys()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// All files and what is in them, but who holds it.
fn tree(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files(dir);
    files.retain(|path| !path.ends_with("LOCK"));
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let dest = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(dest.parent().unwrap()).unwrap();
        fs::copy(path, dest).unwrap();
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_path_is_listed_and_read() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let keys = sample(dir);
    let shown = check(dir, &["pool", "ls", "state"], 0);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 9, "{shown}");
    assert!(lines[0].starts_with("KEY ") && lines[0].ends_with("  SET"), "{shown}");
    for (n, sets) in [(0, "-"), (2, "main,-"), (7, "main")] {
        let line = format!("{}  {:>6}  {sets}", keys[n], value(n).len());
        assert!(lines.contains(&&*line), "{line}: {shown}");
    }
    assert!(lines.is_sorted_by(|a, b| a.starts_with("KEY") || a < b), "{shown}");
    assert_eq!(check(dir, &["pool", "ls", "state", "--set", "main"], 0).lines().count(), 7);
    check(dir, &["pool", "ls", "state", "--set", "other", "--json"], 3);
    let shown = check(dir, &["pool", "ls", "state", "--set", "main", "--json"], 0);
    let first: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!((&first["key"], &first["size"]), (&keys[2].clone().into(), &value(2).len().into()));
    assert_eq!((&first["sets"][0], &first["loose"]), (&"main".into(), &true.into()));
    assert_eq!((&first["codec"], &first["compression"]), (&"raw".into(), &"lz4".into()));
    assert!(first["stored"].as_u64() < first["size"].as_u64(), "{first}");

    let set = json(&check(dir, &["pool", "sets", "state", "--json"], 0));
    assert_eq!(
        (&set["set"], &set["objects"], &set["meta_bytes"]),
        (&"main".into(), &6.into(), &4.into())
    );
    assert!(check(dir, &["pool", "sets", "state"], 0).ends_with("  main\n"));
    let stats = json(&check(dir, &["pool", "stats", "state", "--json"], 0));
    let raw: usize = (0..8).map(|n| value(n).len()).sum();
    assert_eq!(
        (&stats["objects"], &stats["sets"], &stats["raw"], &stats["files"], &stats["garbage"]),
        (&8.into(), &1.into(), &raw.into(), &1.into(), &0.into())
    );
    let shown = check(dir, &["pool", "stats", "state"], 0);
    assert!(shown.starts_with("objects 8   sets 1   raw ") && shown.contains("(100% live)"));

    for (n, key) in keys.iter().enumerate() {
        assert_eq!(run_in(dir, &["pool", "get", "state", key], b"").stdout, value(n));
    }
    // As much of a key as is unique, in any spelling.
    let longest = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let common = keys.iter().skip(1).map(|key| longest(&keys[0], key)).max().unwrap();
    let short = keys[0].get(..=common).unwrap();
    assert_eq!(run_in(dir, &["pool", "get", "state", short], b"").stdout, value(0));
    let upper = format!("{}-{}", &keys[0][..8], keys[0][8..].to_uppercase());
    assert_eq!(run_in(dir, &["pool", "get", "state", &upper], b"").stdout, value(0));
    let told = complaint(dir, &["pool", "get", "state", &keys[0][..common]], 2);
    assert!(told.contains("is the beginning of ") && told.contains("such as"), "{told}");
    check(dir, &["pool", "get", "state", "ffff", "--json"], 3);
    for no_key in ["", "xyz", &format!("{}0", keys[0])] {
        check(dir, &["pool", "get", "state", no_key, "--json"], 2);
    }
    let got = json(&check(dir, &["pool", "get", "state", &keys[1], "--json"], 0));
    assert!(got["key"] == *keys[1] && got["bytes_b64"].as_str().unwrap().starts_with("dmFsdWUg"));

    for command in [&["verify", "state"][..], &["pool", "verify", "state"]] {
        assert!(check(dir, command, 0).starts_with("state: sound; 8 objects in 1 set, "));
    }
    assert!(
        check(dir, &["inspect", "state"], 0).starts_with("state: objects of a pool\nobjects 8")
    );
    let segment = files(&dir.join("state").join("seg"));
    let segment = segment[0].to_str().unwrap();
    assert!(check(dir, &["inspect", segment], 0).contains("objects of a pool"));
    assert!(check(dir, &["who", "state"], 0).contains("nobody"));
    assert!(check(dir, &["recover", "state"], 0).contains("nothing to do"));
    check(dir, &["recover", "state", "--salvage", "--yes"], 12);
    check(dir, &["recover", "state/manifest", "--truncate", "--yes", "--json"], 12);
    check(dir, &["sweep", "state"], 0);
}

#[test]
fn it_is_exported_and_goes_around_by_the_older_form() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let keys = sample(dir);
    let before = tree(&dir.join("state"));
    assert!(check(dir, &["pool", "export", "state", "out"], 0).starts_with("out: 8 objects, "));
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(fs::read(dir.join("out").join(key)).unwrap(), value(n));
    }
    check(dir, &["pool", "export", "state", "out", "--json"], 12);
    let told =
        json(&check(dir, &["pool", "export", "state", "main", "--set", "main", "--json"], 0));
    assert_eq!((&told["objects"], files(&dir.join("main")).len()), (&6.into(), 6));
    check(dir, &["pool", "export", "state", "x", "--set", "other"], 3);
    check(dir, &["pool", "export", "state", "no/x", "--json"], 3);

    let to = ["convert", "--from", "pool", "state", "--to", "file-backed"];
    check(dir, &[&to[..], &["old"]].concat(), 0);
    check(dir, &[&to[..], &["old"]].concat(), 12);
    check(dir, &[&to[..], &["part", "--set", "main"]].concat(), 0);
    check(dir, &[&to[..], &["none", "--set", "other"]].concat(), 3);
    assert_eq!((files(&dir.join("old")).len(), files(&dir.join("part")).len()), (8, 6));
    let from = ["convert", "--from", "file-backed", "--codec", "raw", "--to", "pool"];
    let told = check(dir, &[&from[..], &["old", "new/"]].concat(), 0);
    assert!(told.starts_with("new: 8 objects, ") && told.ends_with("; nothing in old changed\n"));
    assert!(!dir.join("new.report").exists());
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(run_in(dir, &["pool", "get", "new", key], b"").stdout, value(n));
    }
    check(dir, &["verify", "new"], 0);
    check(dir, &[&from[..], &["old", "new"]].concat(), 12);
    assert_eq!(tree(&dir.join("state")), before, "nothing was changed");
    assert!(!dir.join("x").exists() && !dir.join("none").exists());
    assert!(temporaries(dir).is_empty());
}

#[test]
fn what_is_suspect_is_listed_and_left_or_taken() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::create_dir_all(dir.join("old").join("0a")).unwrap();
    let key = |n: u8| format!("0a{n:030x}");
    for (n, bytes) in [(1, &b"good"[..]), (2, b""), (3, &[0; 64])] {
        fs::write(dir.join("old").join("0a").join(key(n)), bytes).unwrap();
    }
    fs::write(dir.join("old").join("readme"), "x").unwrap();
    let before = tree(&dir.join("old"));
    let from = ["convert", "--from", "file-backed", "--codec", "fixed-le", "old", "--to", "pool"];
    let output = run_in(dir, &[&from[..], &["new"]].concat(), b"");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains(&format!("suspect: {} is empty; left out", key(2))), "{told}");
    assert!(told.contains(&format!("suspect: {} is all zero; left out", key(3))), "{told}");
    let told = String::from_utf8_lossy(&output.stdout);
    let words = "new: 1 object, 4 B; 2 suspect and left out, 1 other name: listed in new.report";
    assert!(told.starts_with(words), "{told}");
    let listed = fs::read_to_string(dir.join("new.report")).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains(&key(2)) && listed.contains("readme"), "{listed}");
    assert_eq!(check(dir, &["pool", "ls", "new"], 0).lines().count(), 2);
    let row = json(&check(dir, &["pool", "ls", "new", "--json"], 0));
    assert_eq!((&row["codec"], &row["key"]), (&"fixed-le".into(), &key(1).into()));
    // All of it, if that is wanted.
    let told = check(dir, &[&from[..], &["all", "--accept-suspect", "--json"]].concat(), 0);
    let told = json(&told);
    assert_eq!((&told["objects"], &told["taken"]), (&3.into(), &true.into()));
    assert_eq!(told["suspects"].as_array().unwrap().len(), 2);
    // A list of an earlier time is not written over.
    fs::write(dir.join("more.report"), "mine").unwrap();
    check(dir, &[&from[..], &["more"]].concat(), 12);
    assert!(!dir.join("more").exists());
    assert_eq!(tree(&dir.join("old")), before);
}

#[test]
fn a_damaged_object_is_told_with_key_file_and_offset() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let keys = sample(dir);
    let state = dir.join("state");
    let segment = files(&state.join("seg")).remove(0);
    let own = files(&state.join("obj")).remove(0);
    // The first frame is that of the first object: its payload begins behind two headers.
    flip(&segment, 64 + 64 + 5);
    flip(&own, 200_000);
    let before = tree(&state);
    let shown = check(dir, &["verify", "state"], 4);
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(
        shown.contains(&format!("damaged: object {} in state/seg/{name} at 64: ", keys[0])),
        "{shown}"
    );
    let told = json(&check(dir, &["pool", "verify", "state", "--json"], 4));
    let damage = told["damage"].as_array().unwrap();
    assert_eq!((&told["sound"], damage.len()), (&false.into(), 2), "{told}");
    assert!(damage.iter().any(|d| d["key"] == *keys[7] && d["offset"] == 64), "{told}");
    for (key, exit) in [(&keys[0], 4), (&keys[1], 0), (&keys[7], 4)] {
        check(dir, &["pool", "get", "state", key], exit);
    }
    let told = complaint(dir, &["pool", "get", "state", &keys[0]], 4);
    assert!(told.contains(&keys[0]) && told.contains(name) && told.contains("64"), "{told}");
    check(dir, &["pool", "export", "state", "out", "--json"], 4);
    check(dir, &["convert", "--from", "pool", "state", "--to", "file-backed", "out", "--json"], 4);
    assert!(!dir.join("out").exists() && temporaries(dir).is_empty());
    // What is not damaged is served, and nothing is cut for what cannot be healed.
    check(dir, &["pool", "ls", "state"], 0);
    check(dir, &["pool", "stats", "state"], 0);
    for args in [&["recover", "state"][..], &["recover", "state", "--truncate", "--yes"]] {
        assert!(complaint(dir, args, 4).contains("nothing was changed"));
    }
    assert_eq!(tree(&state), before);
    fs::remove_file(&own).unwrap();
    assert!(check(dir, &["verify", "state"], 4).contains("its file is missing"));
}

#[test]
fn a_damaged_manifest_goes_back_to_the_last_good_commit() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let keys = sample(dir);
    let state = dir.join("state");
    // The checkpoint is the second commit: what it said of itself stands in its record.
    let manifest = files(&state.join("manifest"));
    let (log, at) = manifest
        .iter()
        .find_map(|path| {
            let bytes = fs::read(path).unwrap();
            let at = bytes.windows(4).position(|window| window == b"meta")?;
            Some((path, at))
        })
        .unwrap();
    flip(log, at);
    // Damage is what has something good behind it; else it is a torn end, which nobody was told of.
    if run_in(dir, &["verify", "state"], b"").status.code() == Some(0) {
        flip(log, at);
        let owner = DirPath::new(&state);
        owner.track().unwrap();
        untorn::pool::SetPath::drop_set(&owner, "main").unwrap();
        drop(owner);
        flip(log, at);
    }
    let before = tree(&state);
    for args in [
        &["verify", "state"][..],
        &["inspect", "state"],
        &["pool", "verify", "state"],
        &["pool", "ls", "state"],
        &["pool", "stats", "state"],
        &["pool", "sets", "state"],
        &["pool", "gc", "state"],
        &["pool", "gc", "state", "--yes"],
        &["pool", "get", "state", &keys[0]],
        &["pool", "export", "state", "out"],
        &["recover", "state"],
        &["recover", "state", "--truncate"],
    ] {
        check(dir, args, 4);
        check(dir, &[args, &["--json"]].concat(), 4);
    }
    assert_eq!(tree(&state), before, "nothing was changed");
    let told = json(&check(dir, &["recover", "state", "--truncate", "--yes", "--json"], 5));
    assert_eq!(
        (&told["objects"], &told["sets"], &told["done"]),
        (&3.into(), &0.into(), &true.into())
    );
    assert!(!told["quarantine"].as_array().unwrap().is_empty());
    check(dir, &["verify", "state"], 0);
    assert_eq!(run_in(dir, &["pool", "get", "state", &keys[0]], b"").stdout, value(0));
    check(dir, &["pool", "get", "state", &keys[7]], 3);
}

#[test]
fn what_is_no_path_is_said() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("other")).unwrap();
    fs::write(dir.join("other").join("file"), "x").unwrap();
    fs::write(dir.join("file"), "x").unwrap();
    crate::check_fed(dir, &["log", "append", "events"], b"x\n", 0);
    let owner = Owner::new(dir);
    for (name, exit) in
        [("no", 3), ("empty", 3), ("other", 10), ("file", 10), ("events", 10), ("scratch", 10)]
    {
        for command in [
            &["ls", name][..],
            &["stats", name],
            &["sets", name],
            &["verify", name],
            &["get", name, "00"],
            &["export", name, "dest"],
        ] {
            check(dir, &[&["pool"], command, &["--json"]].concat(), exit);
        }
        let to = ["convert", "--from", "pool", name, "--to", "file-backed", "dest", "--json"];
        check(dir, &to, exit);
        if name != "scratch" {
            for yes in [&["--json"][..], &["--yes"]] {
                check(dir, &[&["pool", "gc", name], yes].concat(), exit);
            }
        }
    }
    check(dir, &["verify", "scratch"], 10);
    assert!(!dir.join("dest").exists());
    drop(owner);
}

#[test]
fn beside_a_living_owner_all_is_read_and_nothing_removed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let mut owner = Owner::new(dir);
    let keys = owner.keys();
    owner.pool.spill_all().unwrap();
    assert!(check(dir, &["who", "state"], 0).starts_with("held by process"));
    check(dir, &["verify", "state"], 0);
    check(dir, &["pool", "ls", "state"], 0);
    check(dir, &["pool", "export", "state", "out"], 0);
    assert_eq!(run_in(dir, &["pool", "get", "state", &keys[7]], b"").stdout, value(7));
    check(dir, &["pool", "gc", "state"], 0);
    check(dir, &["pool", "gc", "state", "--yes", "--json"], 11);
    let shown = check(dir, &["who", "scratch"], 0);
    assert!(shown.contains("owner ") && shown.contains("held by process"), "{shown}");
    assert_eq!(json(&check(dir, &["inspect", "scratch", "--json"], 0))["what"], "scratch");
    let told = json(&check(dir, &["pool", "gc", "scratch", "--yes", "--json"], 0));
    assert_eq!((&told["scratch"]["alive"], &told["scratch"]["owners"]), (&1.into(), &0.into()));
    check(dir, &["sweep", "scratch"], 0);
    // What is staged is listed by nobody yet.
    owner.persist(value(7));
    let told = json(&check(dir, &["pool", "gc", "state", "--json"], 0));
    assert_eq!((&told["held"], &told["removed"].as_array().unwrap().len()), (&true.into(), &1));
    // It still has everything.
    for (n, object) in owner.objects.iter().take(8).enumerate() {
        assert_eq!(*object.blocking_load().unwrap(), value(n));
    }
    owner.store.blocking_sync(&owner.path).unwrap();
    assert_eq!(check(dir, &["pool", "ls", "state"], 0).lines().count(), 10);
}

#[test]
fn what_a_crash_left_is_named_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let mut owner = Owner::new(dir);
    owner.pool.spill_all().unwrap();
    owner.persist(value(7));
    // As it would be if the power were cut here: nobody holds the copies.
    copy(&dir.join("state"), &dir.join("state2"));
    copy(&dir.join("scratch"), &dir.join("scratch2"));
    drop(owner);
    let foreign = dir.join("state2").join("obj").join("00");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "mine").unwrap();
    let shown = check(dir, &["pool", "gc", "state2"], 0);
    assert!(shown.contains("would remove state2/obj/"), "{shown}");
    assert!(shown.contains("would remove 1 file, 293.") && shown.contains("--yes"), "{shown}");
    let told = run_in(dir, &["pool", "gc", "state2", "--yes"], b"");
    assert!(String::from_utf8_lossy(&told.stdout).contains("removed 1 file, 293."));
    assert!(String::from_utf8_lossy(&told.stderr).contains("left state2/obj/00/notes.txt"));
    assert!(check(dir, &["pool", "gc", "state2", "--yes"], 0).contains("nothing to remove"));
    assert_eq!(check(dir, &["pool", "ls", "state2"], 0).lines().count(), 9);
    check(dir, &["verify", "state2"], 0);

    let before = files(&dir.join("scratch2"));
    let shown = check(dir, &["pool", "gc", "scratch2"], 0);
    assert!(shown.starts_with("would remove 1 dead owner, "), "{shown}");
    assert_eq!(files(&dir.join("scratch2")), before);
    copy(&dir.join("scratch2"), &dir.join("scratch3"));
    assert!(
        check(dir, &["pool", "gc", "scratch2", "--yes"], 0).starts_with("removed 1 dead owner")
    );
    assert!(check(dir, &["sweep", "scratch3"], 0).starts_with("removed 1 dead owner, "));
    for root in ["scratch2", "scratch3"] {
        assert!(files(&dir.join(root)).is_empty());
        check(dir, &["pool", "gc", root, "--yes"], 0);
    }
}

#[test]
fn a_full_disk_leaves_nothing_half() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let Some(_mounted) = Mounted::tmpfs(dir, "size=2m") else { return };
    let keys = sample(dir);
    let mut fill = fs::File::create(dir.join("fill")).unwrap();
    while std::io::Write::write_all(&mut fill, &[1; 4096]).is_ok() {}
    drop(fill);
    check(dir, &["pool", "export", "state", "out", "--json"], 74);
    check(dir, &["convert", "--from", "pool", "state", "--to", "file-backed", "out"], 74);
    let names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(run_in(dir, &["pool", "get", "state", &keys[7]], b"").stdout, value(7));
    check(dir, &["verify", "state"], 0);
    fs::remove_file(dir.join("fill")).unwrap();
    check(dir, &["convert", "--from", "pool", "state", "--to", "file-backed", "old"], 0);
    let mut fill = fs::File::create(dir.join("fill")).unwrap();
    while std::io::Write::write_all(&mut fill, &[1; 4096]).is_ok() {}
    let from = ["convert", "--from", "file-backed", "old", "--to", "pool", "new", "--codec", "raw"];
    check(dir, &from, 74);
    assert!(!dir.join("new").exists());
}
