//! What every backend of a pool must do, as suites that any implementation can run.
//!
//! ```
//! use untorn::pool::{MemPath, MemStore, conformance};
//!
//! let passed = conformance::backend(|| (MemStore::new(), MemPath::new()))?;
//! assert!(passed > 12);
//! conformance::sets(|| (MemStore::new(), MemPath::new()))?;
//! # Ok::<(), untorn::pool::conformance::Failure>(())
//! ```

use std::fmt;

use uuid::Uuid;

use super::batch::{Batch, Meta};
use super::compress::Compression;
use super::{BackingStoreT, BlobStore, SetPath};
use crate::{Error, ErrorKind, Result};

mod blobs;
mod named;

/// A backend did not do what it must.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Which case.
    pub case: &'static str,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.case, self.what)
    }
}

impl std::error::Error for Failure {}

/// Tests a backend that moves bytes. `make` gives a new one each time, without objects, and a new path without objects; a path
/// must also do for the other backends that `make` gives. Returns how many cases passed.
///
/// A backend with a limit must take 3 MiB. A [`Usage::disk_limit`](super::Usage) of 64 MiB or less is tested, too.
///
/// # Errors
/// The first case that fails.
pub fn backend<B: BlobStore>(
    mut make: impl FnMut() -> (B, B::PersistPath),
) -> Result<usize, Failure> {
    run(&blobs::cases(), &mut make)
}

/// Tests the named sets of a backend's paths, as [`backend`] tests the rest.
///
/// # Errors
/// The first case that fails.
pub fn sets<B: BlobStore>(mut make: impl FnMut() -> (B, B::PersistPath)) -> Result<usize, Failure>
where
    B::PersistPath: SetPath,
{
    run(&named::cases(), &mut make)
}

type Case<B> = (&'static str, fn(&Bench<B>) -> Found);
type Found = Result<(), String>;

fn run<B: BlobStore>(
    cases: &[Case<B>],
    make: &mut dyn FnMut() -> (B, B::PersistPath),
) -> Result<usize, Failure> {
    for (case, test) in cases {
        let ((store, path), (_second, other)) = (make(), make());
        let tracked = [&path, &other].into_iter().try_for_each(|path| {
            let keys = store.sanitize_path(path).map_err(said)?;
            same("keys of a new path", &keys, &Vec::new())
        });
        let found = tracked.and_then(|()| test(&Bench { store, path, other }));
        found.map_err(|what| Failure { case, what })?;
    }
    Ok(cases.len())
}

/// A backend under test, and two paths.
struct Bench<B: BackingStoreT> {
    store: B,
    path: B::PersistPath,
    other: B::PersistPath,
}

impl<B: BlobStore> Bench<B> {
    fn put(&self, objects: &[(Uuid, usize)]) -> Result<(), String> {
        self.store.put(&mut batch(objects)?).map_err(said)
    }

    /// Whether the object is there and whole, by reading and by looking.
    fn has(&self, key: Uuid, len: usize) -> Found {
        let mut buf = vec![0xee; 100];
        self.has_in(key, len, &mut buf)
    }

    fn has_in(&self, key: Uuid, len: usize, buf: &mut Vec<u8>) -> Found {
        let object = self.store.get(key, buf).map_err(said)?;
        if object.bytes != body(key, len) {
            return Err(format!("object {key} of {len} bytes has other bytes"));
        }
        same("what is said of it", &object.meta, &meta(len))?;
        if let Some(object) = self.store.get_nowait(key, buf).map_err(said)? {
            same("its bytes without waiting", &object.bytes, &&*body(key, len))?;
        }
        let known = self.store.look(key).ok_or("it can be read, but nothing is known of it")?;
        same("what is known of it", &known.meta, &meta(len))?;
        same("its stored length", &known.stored_len, &(len as u64))
    }

    /// Whether nothing is known by the key.
    fn lacks(&self, key: Uuid) -> Found {
        let mut buf = Vec::new();
        refused("get", self.store.get(key, &mut buf), ErrorKind::NotFound)?;
        refused("get_nowait", self.store.get_nowait(key, &mut buf), ErrorKind::NotFound)?;
        same("what is known of it", &self.store.look(key), &None)
    }

    /// Whether the path has exactly these keys, staged ones included.
    fn path_has(&self, path: &B::PersistPath, keys: &[Uuid]) -> Found {
        if let Some(all) = self.store.all_keys(path) {
            same("the keys of the path", &sorted(all), &sorted(keys.to_vec()))?;
        }
        for key in (0..KEYS).map(key) {
            if let Some(contains) = self.store.contains(path, key) {
                same("whether the path has a key", &contains, &keys.contains(&key))?;
            }
        }
        Ok(())
    }

    fn persist(&self, key: Uuid) -> Found {
        self.store.persist(&self.path, key).map_err(said)
    }

    fn sync(&self) -> Found {
        self.store.sync_persisted(&self.path).map_err(said)
    }

    fn register(&self, key: Uuid) -> Found {
        self.store.register(&self.path, key).map_err(said)
    }

    fn delete(&self, key: Uuid) -> Found {
        self.store.delete(key).map_err(said)
    }

    fn delete_persisted(&self, key: Uuid) -> Found {
        self.store.delete_persisted(&self.path, key).map_err(said)
    }
}

/// So many keys are looked for.
const KEYS: u16 = 32;

fn key(nth: u16) -> Uuid {
    Uuid::from_u128(0x0198_c1a4_0b7e_7c3f_9d0e_5a6b_7c8d_0000 | u128::from(nth))
}

fn body(key: Uuid, len: usize) -> Vec<u8> {
    let [.., seed] = *key.as_bytes();
    let byte = |n: u64| {
        let [low, ..] = (n.wrapping_mul(0x9e37_79b9) >> 7).to_le_bytes();
        low ^ seed
    };
    (0..len as u64).map(byte).collect()
}

fn meta(len: usize) -> Meta {
    let raw_len = len as u64;
    Meta { raw_len, ..Meta::new(0x8123, 0x0123_4567_89ab_cdef, raw_len.saturating_add(7)) }
}

fn batch(objects: &[(Uuid, usize)]) -> Result<Batch, String> {
    let mut batch = Batch::new();
    for (key, len) in objects {
        let pushed = batch.push(*key, meta(*len), Compression::None, |out| {
            out.extend_from_slice(&body(*key, *len));
            Ok(())
        });
        pushed.map_err(said)?;
    }
    Ok(batch)
}

fn sorted(mut keys: Vec<Uuid>) -> Vec<Uuid> {
    keys.sort_unstable();
    keys
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: Error) -> String {
    format!("{:?}: {error}", error.kind())
}

fn same<T: PartialEq + fmt::Debug>(what: &str, got: &T, wanted: &T) -> Found {
    if got == wanted { Ok(()) } else { Err(format!("{what}: {got:?}, not {wanted:?}")) }
}

fn refused<T>(what: &str, got: Result<T>, kind: ErrorKind) -> Found {
    match got {
        Ok(_) => Err(format!("{what} is Ok, not {kind:?}")),
        Err(error) => same(what, &error.kind(), &kind),
    }
}
