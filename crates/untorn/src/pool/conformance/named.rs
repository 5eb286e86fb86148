//! The promises of `SetPath`.

use uuid::Uuid;

use super::{Bench, BlobStore, Case, Found, key, refused, said, same, sorted};
use crate::ErrorKind;
use crate::pool::{CheckpointId, SetPath};

pub(super) fn cases<B: BlobStore>() -> Vec<Case<B>>
where
    B::PersistPath: SetPath,
{
    vec![
        ("what is staged is not durable, what is synced is", durable),
        ("a checkpoint is the set, in its order", checkpoint),
        ("a checkpoint takes what is staged out of the loose set", instead),
        ("a set is replaced whole", replaced),
        ("a set that cannot be is refused, and the one before stands", refusals),
        ("an object stays while any set lists it", shared),
        ("what is said of objects is what was put", objects),
    ]
}

fn persist<B: BlobStore>(b: &Bench<B>, keys: &[u16]) -> Found {
    for nth in keys {
        b.put(&[(key(*nth), 100)])?;
        b.persist(key(*nth))?;
    }
    Ok(())
}

fn are_durable<B: BlobStore>(b: &Bench<B>, keys: &[u16]) -> Found
where
    B::PersistPath: SetPath,
{
    let keys: Vec<Uuid> = keys.iter().copied().map(key).collect();
    same("the durable keys", &sorted(b.path.durable_keys()), &sorted(keys))
}

fn set<B: BlobStore>(b: &Bench<B>, name: &str, keys: &[u16]) -> Result<CheckpointId, String>
where
    B::PersistPath: SetPath,
{
    let keys: Vec<Uuid> = keys.iter().copied().map(key).collect();
    b.path.checkpoint(name, &keys, name.as_bytes()).map_err(said)
}

fn is_set<B: BlobStore>(b: &Bench<B>, name: &str, keys: Option<&[u16]>) -> Found
where
    B::PersistPath: SetPath,
{
    let keys: Option<Vec<Uuid>> = keys.map(|keys| keys.iter().copied().map(key).collect());
    let set = b.path.read_set(name).map_err(said)?;
    same("the keys of the set", &set.map(|set| set.keys), &keys)
}

fn durable<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    persist(b, &[0, 1])?;
    are_durable(b, &[])?;
    b.sync()?;
    are_durable(b, &[0, 1])?;
    b.delete_persisted(key(0))?;
    are_durable(b, &[0, 1])?;
    b.path_has(&b.path, &[key(1)])?;
    b.sync()?;
    are_durable(b, &[1])
}

fn checkpoint<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    is_set(b, "main", None)?;
    persist(b, &[0, 1, 2])?;
    let first = set(b, "main", &[2, 0])?;
    is_set(b, "main", Some(&[2, 0]))?;
    are_durable(b, &[0, 2])?;
    let second = set(b, "empty", &[])?;
    if second <= first {
        return Err(format!("{second:?} follows {first:?}"));
    }
    let all = b.path.sets();
    let named: Vec<_> =
        all.iter().map(|set| (&*set.name, set.objects, set.meta_len, set.id)).collect();
    same("the sets", &named, &vec![("empty", 0, 5, second), ("main", 2, 4, first)])?;
    let main = b.path.read_set("main").map_err(said)?.ok_or("there is no set")?;
    same("what it says", &(&*main.meta, main.id), &(&b"main"[..], first))?;
    b.path.drop_set("main").map_err(said)?;
    b.path.drop_set("main").map_err(said)?;
    is_set(b, "main", None)?;
    are_durable(b, &[])?;
    b.path_has(&b.path, &[key(1)])
}

fn instead<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    persist(b, &[0, 1])?;
    set(b, "main", &[0])?;
    b.sync()?;
    are_durable(b, &[0, 1])?;
    b.path.drop_set("main").map_err(said)?;
    are_durable(b, &[1])?;
    // A key that is in a set can be put into the loose one, too.
    set(b, "main", &[1])?;
    b.delete_persisted(key(1))?;
    b.sync()?;
    are_durable(b, &[1])?;
    b.persist(key(1))?;
    b.sync()?;
    b.path.drop_set("main").map_err(said)?;
    are_durable(b, &[1])
}

fn replaced<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    persist(b, &[0, 1, 2, 3])?;
    set(b, "main", &[0, 1, 2])?;
    set(b, "main", &[2, 3, 1])?;
    is_set(b, "main", Some(&[2, 3, 1]))?;
    are_durable(b, &[1, 2, 3])?;
    b.path_has(&b.path, &[1, 2, 3].map(key))?;
    // The spill copy is still known.
    b.has(key(0), 100)?;
    set(b, "main", &[])?;
    are_durable(b, &[])
}

fn refusals<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    persist(b, &[0, 1])?;
    set(b, "main", &[0])?;
    let long = "x".repeat(256);
    let large = vec![0; (1 << 20) + 1];
    let invalid = ErrorKind::InvalidInput;
    for (name, keys, meta, kind) in [
        ("main", &[0, 9][..], &[][..], ErrorKind::NotFound),
        ("main", &[1, 1], &[], invalid),
        ("", &[1], &[], invalid),
        (&long, &[1], &[], invalid),
        ("main", &[1], &large, invalid),
    ] {
        let keys: Vec<Uuid> = keys.iter().copied().map(key).collect();
        refused("checkpoint", b.path.checkpoint(name, &keys, meta), kind)?;
    }
    is_set(b, "main", Some(&[0]))?;
    are_durable(b, &[0])?;
    let longest = "x".repeat(255);
    b.path.checkpoint(&longest, &[key(1)], &vec![7; 1 << 20]).map_err(said)?;
    are_durable(b, &[0, 1])
}

fn shared<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    persist(b, &[0, 1])?;
    set(b, "a", &[0, 1])?;
    set(b, "b", &[1])?;
    for nth in 0..2 {
        b.delete(key(nth))?;
        b.register(key(nth))?;
    }
    b.path.drop_set("a").map_err(said)?;
    are_durable(b, &[1])?;
    // Registered, and so readable as long as that.
    b.has(key(0), 100)?;
    b.has(key(1), 100)?;
    b.delete(key(0))?;
    b.lacks(key(0))?;
    // To remove it from the loose set, where it is not, takes it from no named one.
    b.delete_persisted(key(1))?;
    b.sync()?;
    are_durable(b, &[1])?;
    b.path.drop_set("b").map_err(said)?;
    are_durable(b, &[])
}

fn objects<B: BlobStore>(b: &Bench<B>) -> Found
where
    B::PersistPath: SetPath,
{
    persist(b, &[0, 1])?;
    set(b, "main", &[0])?;
    let mut all = b.path.objects();
    all.sort_unstable_by_key(|(key, _)| *key);
    let said: Vec<_> = all.iter().map(|(key, info)| (*key, info.durable)).collect();
    same("the objects", &said, &vec![(key(0), true), (key(1), false)])?;
    for (key, info) in all {
        let crc = crate::codec::checksum::crc32(&super::body(key, 100), 0);
        let got = (info.meta, info.stored_len, info.crc);
        same("what is said of it", &got, &(super::meta(100), 100, crc))?;
        same("when it was made", &info.created.map(|at| at.as_millis()), &Some(0x0198_c1a4_0b7e))?;
    }
    Ok(())
}
