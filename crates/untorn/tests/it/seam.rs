//! What every implementation of the seam must do, checked on the operating system and on the simulated disk.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use untorn::fs::{Dir, File, Fs, How, Kind, Lock, Map, OsFs, Rename, Stat, SyncSite, SyncWhat};

type Check = fn(&dyn Dir);

/// Runs every check, each in a new directory of its own below `base`, which must exist.
pub(crate) fn conforms(fs: &dyn Fs, base: &Path) {
    let checks: &[(&str, Check)] = &[
        ("opening", opening),
        ("reading", reading),
        ("renaming", renaming),
        ("linking", linking),
        ("directories", directories),
        ("listing", listing),
        ("locking", locking),
        ("sizes", sizes),
        ("space", space),
        ("mapping", mapping),
        ("describing", describing),
        ("attributes", attributes),
        ("naming", naming),
        ("syncing", syncing),
    ];
    let base = fs.open_dir(base).expect("the base exists");
    for (name, check) in checks {
        base.make_dir(name.as_ref(), 0o700).expect(name);
        let dir = base.open_dir(name.as_ref()).expect(name);
        assert_eq!(dir.path(), base.path().join(name));
        check(&*dir);
    }
    source_of_time_and_chance(fs);
}

fn create(dir: &dyn Dir, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = dir.open(name.as_ref(), How::CreateNew(0o600)).expect(name);
    file.write_at(bytes, 0).expect(name);
    file
}

fn content(file: &dyn File) -> Vec<u8> {
    let len = usize::try_from(file.stat().unwrap().len).unwrap();
    // Longer than the file, to see that it ends where it says.
    let mut bytes = vec![0xAA; len + 9];
    let got = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(got, len);
    assert!(bytes[got..].iter().all(|&b| b == 0xAA), "bytes behind the end were touched");
    bytes.truncate(got);
    bytes
}

fn content_of(dir: &dyn Dir, name: &str) -> Vec<u8> {
    content(&*dir.open(name.as_ref(), How::Read).expect(name))
}

#[track_caller]
fn refused<T: Debug>(result: io::Result<T>, kind: ErrorKind) {
    let error = result.expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
}

fn absent(dir: &dyn Dir, name: &str) -> bool {
    dir.stat(name.as_ref()).is_err_and(|e| e.kind() == ErrorKind::NotFound)
}

fn opening(dir: &dyn Dir) {
    let a = OsStr::new("a");
    refused(dir.open(a, How::Read), ErrorKind::NotFound);
    refused(dir.open(a, How::Write), ErrorKind::NotFound);
    refused(dir.stat(a), ErrorKind::NotFound);
    let file = dir.open(a, How::Create(0o600)).unwrap();
    assert_eq!(file.path(), dir.path().join("a"));
    file.write_at(b"kept", 0).unwrap();
    refused(dir.open(a, How::CreateNew(0o600)), ErrorKind::AlreadyExists);
    // Opening what exists for creation keeps its bytes.
    assert_eq!(content(&*dir.open(a, How::Create(0o600)).unwrap()), b"kept");
    assert_eq!(content(&*dir.open(a, How::Write).unwrap()), b"kept");
    assert!(dir.open(a, How::Read).unwrap().write_at(b"x", 0).is_err(), "opened for reading only");
    dir.make_dir("d".as_ref(), 0o700).unwrap();
    assert!(dir.open("d".as_ref(), How::Read).is_err(), "a directory is no file");
    assert!(dir.open("d".as_ref(), How::Write).is_err(), "a directory is no file");
    refused(dir.open_dir(a), ErrorKind::NotADirectory);
}

fn reading(dir: &dyn Dir) {
    let file = create(dir, "a", b"0123456789");
    let mut buf = [0; 4];
    assert_eq!(file.read_at(&mut buf, 3).unwrap(), 4);
    assert_eq!(&buf, b"3456");
    assert_eq!(file.read_at(&mut buf, 8).unwrap(), 2);
    assert_eq!(&buf[..2], b"89");
    assert_eq!(file.read_at(&mut buf, 10).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    // What was never written between the end and a later write is zeros.
    file.write_at(b"end", 5000).unwrap();
    let bytes = content(&*file);
    assert_eq!((bytes.len(), &bytes[5000..]), (5003, &b"end"[..]));
    assert!(bytes[10..5000].iter().all(|&b| b == 0));
    file.write_at(b"AB", 9).unwrap();
    assert_eq!(&content(&*file)[..12], b"012345678AB\0");
    file.write_at(b"", 9000).unwrap();
    assert_eq!(file.stat().unwrap().len, 5003, "writing nothing does not grow a file");
}

fn renaming(dir: &dyn Dir) {
    let [a, b] = ["a", "b"].map(OsStr::new);
    let old = create(dir, "b", b"old");
    create(dir, "a", b"new");
    refused(dir.rename(a, dir, b, Rename::NoReplace), ErrorKind::AlreadyExists);
    assert_eq!(content_of(dir, "b"), b"old");
    dir.rename(a, dir, b, Rename::Replace).unwrap();
    assert!(absent(dir, "a"));
    assert_eq!(content_of(dir, "b"), b"new");
    assert_eq!(content(&*old), b"old", "a file outlives its name while it is open");
    refused(dir.rename(a, dir, b, Rename::Replace), ErrorKind::NotFound);
    dir.rename(b, dir, a, Rename::NoReplace).unwrap();
    assert_eq!(content_of(dir, "a"), b"new");
    // Into another directory.
    dir.make_dir("d".as_ref(), 0o700).unwrap();
    let sub = dir.open_dir("d".as_ref()).unwrap();
    dir.rename(a, &*sub, b, Rename::Replace).unwrap();
    assert!(absent(dir, "a"));
    assert_eq!(content_of(&*sub, "b"), b"new");
    // A directory moves with what is in it, and its handle goes along.
    dir.rename("d".as_ref(), dir, "e".as_ref(), Rename::Replace).unwrap();
    assert_eq!(content_of(&*sub, "b"), b"new");
    assert_eq!(dir.list().unwrap(), ["e"]);
    assert!(dir.rename("e".as_ref(), dir, "f".as_ref(), Rename::NoReplace).is_ok());
}

fn linking(dir: &dyn Dir) {
    let file = create(dir, "a", b"bytes");
    dir.link("a".as_ref(), dir, "b".as_ref()).unwrap();
    refused(dir.link("a".as_ref(), dir, "b".as_ref()), ErrorKind::AlreadyExists);
    refused(dir.link("c".as_ref(), dir, "d".as_ref()), ErrorKind::NotFound);
    let [a, b] = ["a", "b"].map(|name| dir.stat(name.as_ref()).unwrap());
    assert!(a.same_inode(&b));
    assert_eq!(a.nlink, 2);
    dir.unlink("a".as_ref()).unwrap();
    refused(dir.unlink("a".as_ref()), ErrorKind::NotFound);
    assert!(absent(dir, "a"));
    assert_eq!(content_of(dir, "b"), b"bytes");
    dir.unlink("b".as_ref()).unwrap();
    assert_eq!(file.stat().unwrap().nlink, 0);
    file.write_at(b"!", 5).unwrap();
    assert_eq!(content(&*file), b"bytes!", "a file outlives its last name while it is open");
    create(dir, "b", b"");
    assert!(!dir.stat("b".as_ref()).unwrap().same_inode(&file.stat().unwrap()));
}

fn directories(dir: &dyn Dir) {
    let d = OsStr::new("d");
    refused(dir.open_dir(d), ErrorKind::NotFound);
    dir.make_dir(d, 0o700).unwrap();
    refused(dir.make_dir(d, 0o700), ErrorKind::AlreadyExists);
    let sub = dir.open_dir(d).unwrap();
    assert_eq!(sub.path(), dir.path().join(d));
    create(&*sub, "x", b"");
    refused(dir.remove_dir(d), ErrorKind::DirectoryNotEmpty);
    assert!(dir.unlink(d).is_err(), "a directory is not unlinked");
    assert!(sub.remove_dir("x".as_ref()).is_err(), "a file is not removed as a directory");
    sub.unlink("x".as_ref()).unwrap();
    dir.remove_dir(d).unwrap();
    assert!(absent(dir, "d"));
    refused(dir.remove_dir(d), ErrorKind::NotFound);
    refused(sub.open("y".as_ref(), How::CreateNew(0o600)), ErrorKind::NotFound);
}

fn listing(dir: &dyn Dir) {
    assert!(dir.list().unwrap().is_empty());
    for name in ["b", "a", "B", ".h", "ab", "~"] {
        create(dir, name, b"");
    }
    dir.make_dir("aa".as_ref(), 0o700).unwrap();
    let sorted = [".h", "B", "a", "aa", "ab", "b", "~"];
    assert_eq!(dir.list().unwrap(), sorted);
    // Again through the same handle.
    assert_eq!(dir.list().unwrap(), sorted);
    for n in 0..1000 {
        create(dir, &format!("many-{n:04}"), b"");
    }
    let names = dir.list().unwrap();
    assert_eq!(names.len(), 1007);
    assert!(names.is_sorted());
}

fn locking(dir: &dyn Dir) {
    let a = OsStr::new("a");
    let first = create(dir, "a", b"");
    let second = dir.open(a, How::Read).unwrap();
    assert!(first.try_lock(Lock::Exclusive).unwrap());
    assert!(first.try_lock(Lock::Exclusive).unwrap(), "one's own lock is no obstacle");
    assert!(!second.try_lock(Lock::Exclusive).unwrap());
    assert!(!second.try_lock(Lock::Shared).unwrap());
    drop(first);
    assert!(second.try_lock(Lock::Shared).unwrap(), "closing gives the lock up");
    let third = dir.open(a, How::Write).unwrap();
    assert!(third.try_lock(Lock::Shared).unwrap());
    let fourth = dir.open(a, How::Write).unwrap();
    assert!(!fourth.try_lock(Lock::Exclusive).unwrap());
    drop(second);
    assert!(!fourth.try_lock(Lock::Exclusive).unwrap());
    drop(third);
    assert!(fourth.try_lock(Lock::Exclusive).unwrap());
    // The lock is the file's, not the name's.
    dir.rename(a, dir, "b".as_ref(), Rename::Replace).unwrap();
    let other = create(dir, "a", b"");
    assert!(other.try_lock(Lock::Exclusive).unwrap());
    assert!(!dir.open("b".as_ref(), How::Read).unwrap().try_lock(Lock::Shared).unwrap());
}

fn sizes(dir: &dyn Dir) {
    let file = create(dir, "a", b"0123456789");
    file.set_len(4).unwrap();
    assert_eq!(content(&*file), b"0123");
    file.set_len(8).unwrap();
    assert_eq!(content(&*file), b"0123\0\0\0\0", "cut bytes do not come back");
    file.set_len(0).unwrap();
    assert_eq!(file.stat().unwrap().len, 0);
    assert!(dir.open("a".as_ref(), How::Read).unwrap().set_len(1).is_err());
}

fn space(dir: &dyn Dir) {
    let file = create(dir, "a", &[7; 3 * 4096]);
    match file.punch(4096, 4096) {
        Ok(()) => {
            let bytes = content(&*file);
            assert_eq!(bytes.len(), 3 * 4096, "a hole changes no size");
            let (hole, rest) = (&bytes[4096..8192], [&bytes[..4096], &bytes[8192..]].concat());
            assert!(hole.iter().all(|&b| b == 0) && rest.iter().all(|&b| b == 7));
        }
        Err(error) => assert!(cannot(&error), "{error}"),
    }
    match file.allocate(2 * 4096, 2 * 4096) {
        Ok(()) => {
            let bytes = content(&*file);
            assert_eq!(bytes.len(), 4 * 4096, "the size grows");
            assert!(bytes[8192..12288].iter().all(|&b| b == 7), "bytes that are there stay");
            assert!(bytes[12288..].iter().all(|&b| b == 0));
            file.allocate(0, 100).unwrap();
            assert_eq!(file.stat().unwrap().len, 4 * 4096, "and never shrinks");
        }
        Err(error) => assert!(cannot(&error), "{error}"),
    }
    let copy = create(dir, "b", b"");
    match copy.reflink_from(&*file) {
        Ok(()) => assert_eq!(content(&*copy), content(&*file)),
        Err(error) => assert!(cannot(&error), "{error}"),
    }
}

fn cannot(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unsupported | ErrorKind::CrossesDevices | ErrorKind::InvalidInput
    )
}

fn mapping(dir: &dyn Dir) {
    let file = create(dir, "a", &[3; 5000]);
    let map: Map = file.map(5000).unwrap();
    assert_eq!(&*map, &[3; 5000]);
    assert_eq!(file.map(10).unwrap().len(), 10);
    assert!(file.map(0).unwrap().is_empty());
    refused(file.map(5001), ErrorKind::InvalidInput);
    // It outlives handle and name.
    drop(file);
    dir.unlink("a".as_ref()).unwrap();
    assert_eq!(&*map, &[3; 5000]);
    assert_eq!(format!("{map:?}"), "Map { len: 5000 }");
}

fn describing(dir: &dyn Dir) {
    let file = create(dir, "a", b"12345");
    let stat: Stat = file.stat().unwrap();
    assert_eq!((stat.kind, stat.len, stat.nlink, stat.mode), (Kind::File, 5, 1, 0o600));
    assert_eq!(dir.stat("a".as_ref()).unwrap(), stat);
    file.set_mode(0o640).unwrap();
    assert_eq!(dir.stat("a".as_ref()).unwrap().mode, 0o640);
    file.set_owner(stat.uid, stat.gid).unwrap();
    let after = file.stat().unwrap();
    assert_eq!((after.uid, after.gid), (stat.uid, stat.gid));
    dir.make_dir("d".as_ref(), 0o700).unwrap();
    let sub = dir.stat("d".as_ref()).unwrap();
    assert_eq!((sub.kind, sub.mode & 0o777), (Kind::Dir, 0o700));
    assert!(!sub.same_inode(&after));
    assert!(dir.read_link("a".as_ref()).is_err(), "a file leads nowhere");
}

fn attributes(dir: &dyn Dir) {
    let file = create(dir, "a", b"");
    let before = file.xattrs().unwrap();
    if let Err(error) = file.set_xattr("user.b".as_ref(), b"two") {
        assert!(cannot(&error), "{error}");
        return;
    }
    file.set_xattr("user.a".as_ref(), b"").unwrap();
    file.set_xattr("user.b".as_ref(), b"three").unwrap();
    let mut expected = before;
    expected.push(("user.a".into(), Vec::new()));
    expected.push(("user.b".into(), b"three".to_vec()));
    expected.sort();
    assert_eq!(file.xattrs().unwrap(), expected);
}

fn naming(dir: &dyn Dir) {
    create(dir, "good", b"");
    let good = OsStr::new("good");
    for bad in ["", ".", "..", "a/b", "/a", "a/", "a\0b"] {
        let bad = OsStr::new(bad);
        let invalid = ErrorKind::InvalidInput;
        for how in [How::Read, How::Write, How::Create(0o600), How::CreateNew(0o600)] {
            refused(dir.open(bad, how), invalid);
        }
        refused(dir.open_dir(bad), invalid);
        refused(dir.make_dir(bad, 0o700), invalid);
        refused(dir.stat(bad), invalid);
        refused(dir.read_link(bad), invalid);
        refused(dir.rename(bad, dir, good, Rename::Replace), invalid);
        refused(dir.rename(good, dir, bad, Rename::Replace), invalid);
        refused(dir.link(bad, dir, good), invalid);
        refused(dir.link(good, dir, bad), invalid);
        refused(dir.unlink(bad), invalid);
        refused(dir.remove_dir(bad), invalid);
    }
    assert_eq!(dir.list().unwrap(), ["good"]);
}

fn syncing(dir: &dyn Dir) {
    let file = create(dir, "a", b"bytes");
    file.sync(SyncWhat::Data, SyncSite::Caller).unwrap();
    file.sync(SyncWhat::All, SyncSite::Caller).unwrap();
    dir.sync(SyncSite::Caller).unwrap();
    // What was opened for reading can be synced too.
    dir.open("a".as_ref(), How::Read).unwrap().sync(SyncWhat::All, SyncSite::Caller).unwrap();
}

fn source_of_time_and_chance(fs: &dyn Fs) {
    let mut two = [[0; 32]; 2];
    for bytes in &mut two {
        fs.entropy(bytes).unwrap();
    }
    assert_ne!(two[0], two[1]);
    fs.entropy(&mut []).unwrap();
    let (first, second) = (fs.monotonic(), fs.monotonic());
    assert!(first <= second);
    assert!(fs.now() > std::time::Duration::ZERO);
}

#[test]
fn the_operating_system_conforms() {
    let temp = tempfile::tempdir().unwrap();
    conforms(&OsFs::new(), temp.path());
}

fn os_dir() -> (tempfile::TempDir, Arc<dyn Dir>) {
    let temp = tempfile::tempdir().unwrap();
    let dir = OsFs::new().open_dir(temp.path()).unwrap();
    (temp, dir)
}

#[test]
fn symlinks_are_described_and_never_followed() {
    let (temp, dir) = os_dir();
    create(&*dir, "file", b"target");
    dir.make_dir("dir".as_ref(), 0o700).unwrap();
    for (target, link) in [("file", "to-file"), ("dir", "to-dir"), ("nowhere", "dangling")] {
        std::os::unix::fs::symlink(target, temp.path().join(link)).unwrap();
        let link = OsStr::new(link);
        assert_eq!(dir.stat(link).unwrap().kind, Kind::Symlink);
        assert_eq!(dir.read_link(link).unwrap(), Path::new(target));
        for how in [How::Read, How::Write, How::Create(0o600)] {
            let error = dir.open(link, how).expect_err("it is refused");
            let eloop = if cfg!(target_os = "linux") { 40 } else { 62 };
            assert_eq!(error.raw_os_error(), Some(eloop), "{error}");
        }
        refused(dir.open(link, How::CreateNew(0o600)), ErrorKind::AlreadyExists);
        assert!(dir.open_dir(link).is_err());
    }
    assert!(absent(&*dir, "nowhere"), "nothing was made through the link");
    // A rename replaces the link, not what it leads to.
    create(&*dir, "new", b"new");
    dir.rename("new".as_ref(), &*dir, "to-file".as_ref(), Rename::Replace).unwrap();
    assert_eq!(content_of(&*dir, "file"), b"target");
    assert_eq!(content_of(&*dir, "to-file"), b"new");
    let fs = OsFs::new();
    let real = fs.canonicalize(&temp.path().join("to-dir/..")).unwrap();
    assert_eq!(real, fs.canonicalize(temp.path()).unwrap());
    assert!(fs.open_dir(&temp.path().join("to-dir")).is_ok(), "at the door they are followed");
}

#[test]
fn pipes_and_sockets_are_refused_without_waiting() {
    let (temp, dir) = os_dir();
    let made = std::process::Command::new("mkfifo").arg(temp.path().join("pipe")).status();
    assert!(made.unwrap().success());
    let socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).unwrap();
    for name in ["pipe", "socket"].map(OsStr::new) {
        for how in [How::Read, How::Write, How::Create(0o600)] {
            let error = dir.open(name, how).expect_err("it is refused");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
        assert_eq!(dir.stat(name).unwrap().kind, Kind::Other);
    }
    drop(socket);
}

#[test]
fn the_umask_holds_for_new_files_and_directories() {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
    let (temp, dir) = os_dir();
    dir.open("ours".as_ref(), How::CreateNew(0o666)).unwrap();
    dir.make_dir("our-dir".as_ref(), 0o777).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(temp.path().join("theirs"))
        .unwrap();
    std::fs::DirBuilder::new().mode(0o777).create(temp.path().join("their-dir")).unwrap();
    for (ours, theirs) in [("ours", "theirs"), ("our-dir", "their-dir")] {
        let theirs = std::fs::metadata(temp.path().join(theirs)).unwrap().permissions().mode();
        assert_eq!(dir.stat(ours.as_ref()).unwrap().mode, theirs & 0o7777);
    }
}

#[test]
fn a_held_directory_is_not_redirected() {
    let (temp, dir) = os_dir();
    dir.make_dir("store".as_ref(), 0o700).unwrap();
    let store = dir.open_dir("store".as_ref()).unwrap();
    dir.rename("store".as_ref(), &*dir, "moved".as_ref(), Rename::Replace).unwrap();
    dir.make_dir("trap".as_ref(), 0o700).unwrap();
    std::os::unix::fs::symlink("trap", temp.path().join("store")).unwrap();
    create(&*store, "a", b"");
    assert!(temp.path().join("moved/a").exists());
    assert!(!temp.path().join("trap/a").exists());
}

#[test]
fn a_missing_or_wrong_directory_is_an_error() {
    let (temp, dir) = os_dir();
    create(&*dir, "file", b"");
    let fs = OsFs::new();
    refused(fs.open_dir(&temp.path().join("none")), ErrorKind::NotFound);
    refused(fs.open_dir(&temp.path().join("file")), ErrorKind::NotADirectory);
    refused(fs.canonicalize(&temp.path().join("none")), ErrorKind::NotFound);
}
