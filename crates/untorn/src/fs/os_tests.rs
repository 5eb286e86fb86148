//! The operating system behind a gate that lets calls fail, fall short or be interrupted.

use super::{Dir, File, Fs, How, Lock, OsFs, Rename, SyncSite, SyncWhat};
use crate::sys::{Call, Gate, Kernel};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A gate made of a function that gets the call, the number of calls before and the length.
struct Script<F>(F, AtomicU32);

impl<F> std::fmt::Debug for Script<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl<F: Fn(Call, u32, usize) -> io::Result<usize> + Send + Sync> Gate for Script<F> {
    fn pass(&self, call: Call, len: usize) -> io::Result<usize> {
        (self.0)(call, self.1.fetch_add(1, Ordering::Relaxed), len)
    }
}

fn scripted(
    script: impl Fn(Call, u32, usize) -> io::Result<usize> + Send + Sync + 'static,
) -> (tempfile::TempDir, Arc<dyn Dir>) {
    let temp = tempfile::tempdir().unwrap();
    let kernel = Kernel::with_gate(Arc::new(Script(script, AtomicU32::new(0))));
    let dir = OsFs::with_kernel(kernel).open_dir(temp.path()).unwrap();
    (temp, dir)
}

fn errno<T>(errno: Errno) -> io::Result<T> {
    Err(errno.into())
}

/// Every method of the seam once, on a happy path.
fn everything(dir: &dyn Dir) {
    let [a, b] = ["a", "b"].map(OsStr::new);
    let file = dir.open(a, How::CreateNew(0o600)).unwrap();
    let bytes: Vec<u8> = (0..300_u16).map(|n| n.to_le_bytes()[0]).collect();
    file.write_at(&bytes, 0).unwrap();
    file.write_at(b"more", 300).unwrap();
    let mut back = vec![0; 400];
    assert_eq!(file.read_at(&mut back, 0).unwrap(), 304);
    assert_eq!((&back[..300], &back[300..304]), (&bytes[..], &b"more"[..]));
    file.set_len(300).unwrap();
    file.sync(SyncWhat::Data, SyncSite::Caller).unwrap();
    file.sync(SyncWhat::All, SyncSite::Caller).unwrap();
    assert_eq!(&*file.map(300).unwrap(), &bytes[..]);
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    assert!(!dir.open(a, How::Read).unwrap().try_lock(Lock::Shared).unwrap());
    let stat = file.stat().unwrap();
    file.set_mode(0o640).unwrap();
    file.set_owner(stat.uid, stat.gid).unwrap();
    file.xattrs().unwrap();
    dir.link(a, dir, b).unwrap();
    dir.rename(b, dir, "c".as_ref(), Rename::Replace).unwrap();
    dir.unlink("c".as_ref()).unwrap();
    dir.make_dir("d".as_ref(), 0o700).unwrap();
    dir.open_dir("d".as_ref()).unwrap();
    assert_eq!(dir.list().unwrap(), ["a", "d"]);
    dir.remove_dir("d".as_ref()).unwrap();
    dir.sync(SyncSite::Caller).unwrap();
}

#[test]
fn one_byte_at_a_time_is_continued() {
    let (_temp, dir) = scripted(|_, _, len| Ok(len.min(1)));
    everything(&*dir);
}

#[test]
fn interrupted_calls_are_repeated() {
    let (_temp, dir) =
        scripted(|_, nth, len| if nth % 2 == 0 { errno(Errno::INTR) } else { Ok(len) });
    everything(&*dir);
}

#[test]
fn a_storm_of_interruptions_and_short_counts_is_weathered() {
    let (_temp, dir) = scripted(|call, nth, len| match nth % 5 {
        0 | 1 => errno(Errno::INTR),
        2 if matches!(call, Call::Read | Call::Write) => errno(Errno::AGAIN),
        _ => Ok(len.min(7)),
    });
    everything(&*dir);
}

#[test]
fn endless_interruptions_end_in_an_error() {
    let (_temp, dir) =
        scripted(|call, _, len| if call == Call::Write { errno(Errno::INTR) } else { Ok(len) });
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    let error = file.write_at(b"x", 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
}

#[test]
fn a_file_that_stays_busy_is_an_error() {
    let (_temp, dir) =
        scripted(|call, _, len| if call == Call::Read { errno(Errno::AGAIN) } else { Ok(len) });
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    let error = file.read_at(&mut [0], 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_write_of_nothing_is_an_error() {
    let (_temp, dir) = scripted(|call, _, len| Ok(if call == Call::Write { 0 } else { len }));
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    let error = file.write_at(b"x", 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}

#[test]
fn a_disk_that_fills_up_half_way_reports_it() {
    let (_temp, dir) = scripted(|call, nth, len| match call {
        Call::Write if nth % 2 == 1 => errno(Errno::NOSPC),
        Call::Write => Ok(len / 2),
        _ => Ok(len),
    });
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    let error = file.write_at(&[1; 100], 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
}

#[test]
fn a_failed_sync_is_not_repeated() {
    let syncs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&syncs);
    let (_temp, dir) = scripted(move |call, _, len| {
        if matches!(call, Call::SyncData | Call::SyncAll) {
            counted.fetch_add(1, Ordering::Relaxed);
            return errno(Errno::IO);
        }
        Ok(len)
    });
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    for (n, what) in [(1, SyncWhat::Data), (2, SyncWhat::All)] {
        let error = file.sync(what, SyncSite::Caller).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
        assert_eq!(syncs.load(Ordering::Relaxed), n);
    }
    assert!(dir.sync(SyncSite::Caller).is_err());
    assert_eq!(syncs.load(Ordering::Relaxed), 3);
}

#[test]
fn what_the_system_cannot_do_is_passed_on() {
    let (_temp, dir) = scripted(|call, _, len| match call {
        Call::RenameNoReplace => errno(Errno::NOSYS),
        Call::Allocate | Call::Punch | Call::Reflink => errno(Errno::OPNOTSUPP),
        Call::ListXattr => errno(Errno::NOTSUP),
        Call::Lock => errno(Errno::NOLCK),
        _ => Ok(len),
    });
    let a = OsStr::new("a");
    let file = dir.open(a, How::Create(0o600)).unwrap();
    let code = |error: io::Error| Errno::from_io_error(&error).unwrap();
    let renamed = dir.rename(a, &*dir, "b".as_ref(), Rename::NoReplace);
    assert_eq!(code(renamed.unwrap_err()), Errno::NOSYS);
    assert_eq!(code(file.allocate(0, 1).unwrap_err()), Errno::OPNOTSUPP);
    assert_eq!(code(file.punch(0, 1).unwrap_err()), Errno::OPNOTSUPP);
    assert_eq!(code(file.reflink_from(&*file).unwrap_err()), Errno::OPNOTSUPP);
    assert_eq!(code(file.try_lock(Lock::Shared).unwrap_err()), Errno::NOLCK);
    assert!(file.xattrs().unwrap().is_empty());
}

/// What was just written is in memory, unless the file system cannot tell: then it says so.
#[test]
fn reading_without_waiting_is_all_or_nothing() {
    let (_temp, dir) = scripted(|_, _, len| Ok(len));
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    file.write_at(b"0123456789", 0).unwrap();
    let mut buf = [0; 4];
    if let Some(got) = file.read_nowait(&mut buf, 2).unwrap() {
        assert_eq!((got, &buf), (4, b"2345"));
        assert_eq!(file.read_nowait(&mut buf, 8).unwrap(), Some(2));
        assert_eq!(file.read_nowait(&mut buf, 10).unwrap(), Some(0));
    }
    assert!(file.read_nowait(&mut buf, u64::MAX).is_ok_and(|got| got.is_none()));
}

#[test]
fn a_read_that_would_wait_or_falls_short_is_none() {
    for code in [Errno::AGAIN, Errno::OPNOTSUPP, Errno::INTR] {
        let (_temp, dir) =
            scripted(move |call, _, len| if call == Call::Read { errno(code) } else { Ok(len) });
        let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
        assert_eq!(file.read_nowait(&mut [0; 4], 0).unwrap(), None);
    }
    let (_temp, dir) =
        scripted(|call, _, len| if call == Call::Read { Ok(len / 2) } else { Ok(len) });
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    file.write_at(b"0123", 0).unwrap();
    assert_eq!(file.read_nowait(&mut [0; 4], 0).unwrap(), None);
    let (_temp, dir) =
        scripted(|call, _, len| if call == Call::Read { errno(Errno::IO) } else { Ok(len) });
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    assert!(file.read_nowait(&mut [0; 4], 0).is_err());
}

#[test]
fn random_bytes_come_in_pieces() {
    let gate = Script(|_: Call, _: u32, len: usize| Ok(len.min(3)), AtomicU32::new(0));
    let fs = OsFs::with_kernel(Kernel::with_gate(Arc::new(gate)));
    let mut bytes = [0; 64];
    fs.entropy(&mut bytes).unwrap();
    assert!(bytes.chunks(3).any(|chunk| chunk.iter().any(|&b| b != 0)));
    assert_ne!(bytes[61..], [0; 3]);
    let gate = Script(|_: Call, _: u32, _: usize| Ok(0), AtomicU32::new(0));
    let fs = OsFs::with_kernel(Kernel::with_gate(Arc::new(gate)));
    assert!(fs.entropy(&mut bytes).is_err());
}

#[test]
fn offsets_beyond_the_largest_file_are_errors() {
    let (_temp, dir) = scripted(|_, _, len| Ok(len));
    let file = dir.open("a".as_ref(), How::Create(0o600)).unwrap();
    for offset in [u64::MAX, u64::MAX - 1, 1 << 63] {
        assert!(file.read_at(&mut [0; 4], offset).is_err());
        assert!(file.write_at(&[0; 4], offset).is_err());
        assert!(file.set_len(offset).is_err());
        assert!(file.allocate(offset, 4).is_err());
        assert!(file.punch(offset, 4).is_err());
    }
    assert_eq!(file.stat().unwrap().len, 0);
    assert!(file.map(usize::MAX).is_err());
}

#[test]
fn handles_are_shared_between_threads() {
    fn shared<T: Send + Sync + ?Sized>() {}
    shared::<OsFs>();
    shared::<dyn Dir>();
    shared::<dyn File>();
    shared::<super::Map>();
}
