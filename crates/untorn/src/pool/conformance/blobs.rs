//! The promises of `BackingStoreT` and `BlobStore`.

use super::{Bench, BlobStore, Case, Found, KEYS, batch, key, refused, said, same};
use crate::ErrorKind;

pub(super) fn cases<B: BlobStore>() -> Vec<Case<B>> {
    vec![
        ("objects of all sizes come back", sizes),
        ("what is not known is not found, and may be deleted", unknown),
        ("what is deleted is forgotten, and can be put again", forgotten),
        ("usage counts spill copies", usage),
        ("what is put twice is there once", twice),
        ("what is persisted can be registered", persisted),
        ("to persist again is no error", persisted_again),
        (
            "what is to go from a path is gone at once, and stays readable where it is registered",
            gone,
        ),
        ("a removal that was staged can be taken back", taken_back),
        ("to register again is no error", registered_again),
        ("a spill copy and a registration are one object", both),
        ("many are persisted, or none", all_or_none),
        ("what is put to a path is registered", put_persisted),
        ("a path has what was persisted to it, whatever another has", two_paths),
        ("what is too much is refused whole", limit),
        ("a compaction loses nothing", compaction),
        ("an empty batch is no error", empty),
    ]
}

fn sizes<B: BlobStore>(b: &Bench<B>) -> Found {
    let sizes = [0, 1, 63, 64, 65, 4096, 100_000, 1 << 20, 2, 0];
    let objects: Vec<_> = (0..).map(key).zip(sizes).collect();
    b.put(objects.get(..4).unwrap_or_default())?;
    b.put(objects.get(4..).unwrap_or_default())?;
    let mut buf = Vec::new();
    for (key, len) in &objects {
        b.has_in(*key, *len, &mut buf)?;
    }
    for (key, len) in objects.iter().rev() {
        b.has(*key, *len)?;
    }
    Ok(())
}

fn unknown<B: BlobStore>(b: &Bench<B>) -> Found {
    b.lacks(key(0))?;
    b.delete(key(0))?;
    b.delete(key(0))?;
    refused("persist", b.store.persist(&b.path, key(0)), ErrorKind::NotFound)?;
    refused("register", b.store.register(&b.path, key(0)), ErrorKind::NotFound)?;
    refused("register_many", b.store.register_many(&b.path, &[key(0)]), ErrorKind::NotFound)?;
    b.delete_persisted(key(0))?;
    b.sync()?;
    b.path_has(&b.path, &[])
}

fn forgotten<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100), (key(1), 200)])?;
    b.delete(key(0))?;
    b.lacks(key(0))?;
    b.has(key(1), 200)?;
    b.put(&[(key(0), 100)])?;
    b.has(key(0), 100)
}

fn usage<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100), (key(1), 200), (key(2), 300_000)])?;
    let usage = b.store.usage();
    same("objects", &usage.objects, &3)?;
    if usage.live_bytes < 300_300 {
        return Err(format!("it counts {} bytes of 300300", usage.live_bytes));
    }
    for nth in 0..3 {
        b.delete(key(nth))?;
    }
    let usage = b.store.usage();
    same("objects and bytes of nothing", &(usage.objects, usage.live_bytes), &(0, 0))
}

fn twice<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100)])?;
    b.put(&[(key(0), 100), (key(1), 50)])?;
    same("objects", &b.store.usage().objects, &2)?;
    b.has(key(0), 100)?;
    b.delete(key(0))?;
    b.lacks(key(0))?;
    same("objects", &b.store.usage().objects, &1)
}

fn persisted<B: BlobStore>(b: &Bench<B>) -> Found {
    for (nth, len) in [(0, 0), (1, 1), (2, 1 << 20), (3, 5000)] {
        b.put(&[(key(nth), len)])?;
        b.persist(key(nth))?;
    }
    let keys = [0, 1, 2, 3].map(key);
    b.path_has(&b.path, &keys)?;
    b.sync()?;
    b.path_has(&b.path, &keys)?;
    for (nth, len) in [(0, 0), (1, 1), (2, 1 << 20), (3, 5000)] {
        b.has(key(nth), len)?;
        b.delete(key(nth))?;
        b.lacks(key(nth))?;
        b.register(key(nth))?;
        b.has(key(nth), len)?;
        b.delete(key(nth))?;
        b.lacks(key(nth))?;
    }
    b.path_has(&b.path, &keys)?;
    same("objects in the spill", &b.store.usage().objects, &0)
}

fn persisted_again<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100)])?;
    b.persist(key(0))?;
    b.persist(key(0))?;
    b.sync()?;
    b.persist(key(0))?;
    b.delete(key(0))?;
    // The path has it, so nothing need be known of it.
    b.persist(key(0))?;
    b.sync()?;
    b.sync()?;
    b.path_has(&b.path, &[key(0)])?;
    b.register(key(0))?;
    b.persist(key(0))?;
    b.has(key(0), 100)
}

fn gone<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100), (key(1), 300_000)])?;
    for nth in 0..2 {
        b.persist(key(nth))?;
    }
    b.sync()?;
    for (nth, len) in [(0, 100), (1, 300_000)] {
        b.delete(key(nth))?;
        b.register(key(nth))?;
        b.delete_persisted(key(nth))?;
        b.delete_persisted(key(nth))?;
        b.has(key(nth), len)?;
    }
    b.path_has(&b.path, &[])?;
    b.sync()?;
    b.path_has(&b.path, &[])?;
    for (nth, len) in [(0, 100), (1, 300_000)] {
        b.has(key(nth), len)?;
        b.delete(key(nth))?;
        b.lacks(key(nth))?;
        refused("register", b.store.register(&b.path, key(nth)), ErrorKind::NotFound)?;
    }
    // What was staged only.
    b.put(&[(key(2), 10)])?;
    b.persist(key(2))?;
    b.delete_persisted(key(2))?;
    b.path_has(&b.path, &[])?;
    b.sync()?;
    b.path_has(&b.path, &[])?;
    b.has(key(2), 10)
}

fn taken_back<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100)])?;
    b.persist(key(0))?;
    b.sync()?;
    b.delete_persisted(key(0))?;
    b.path_has(&b.path, &[])?;
    b.persist(key(0))?;
    b.path_has(&b.path, &[key(0)])?;
    b.sync()?;
    b.path_has(&b.path, &[key(0)])?;
    b.delete(key(0))?;
    b.register(key(0))?;
    b.has(key(0), 100)
}

fn registered_again<B: BlobStore>(b: &Bench<B>) -> Found {
    let objects: Vec<_> = (0..4).map(|nth| (key(nth), 100)).collect();
    let keys = [0, 1, 2, 3].map(key);
    b.put(&objects)?;
    b.store.persist_many(&b.path, &keys).map_err(said)?;
    b.sync()?;
    for key in keys {
        b.delete(key)?;
    }
    b.register(key(0))?;
    b.register(key(0))?;
    b.store.register_many(&b.path, &keys).map_err(said)?;
    for key in keys {
        b.has(key, 100)?;
    }
    b.delete(key(0))?;
    b.lacks(key(0))?;
    let many = b.store.register_many(&b.path, &[key(0), key(9)]);
    refused("register_many", many, ErrorKind::NotFound)
}

fn both<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100)])?;
    b.persist(key(0))?;
    b.sync()?;
    b.register(key(0))?;
    b.has(key(0), 100)?;
    b.delete(key(0))?;
    b.lacks(key(0))?;
    // The other way round.
    b.register(key(0))?;
    b.put(&[(key(0), 100)])?;
    b.has(key(0), 100)?;
    b.delete(key(0))?;
    b.lacks(key(0))
}

fn all_or_none<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[(key(0), 100), (key(1), 300_000)])?;
    let many = b.store.persist_many(&b.path, &[key(0), key(1), key(9)]);
    refused("persist_many", many, ErrorKind::NotFound)?;
    b.path_has(&b.path, &[])?;
    b.sync()?;
    b.path_has(&b.path, &[])?;
    b.store.persist_many(&b.path, &[]).map_err(said)?;
    b.store.persist_many(&b.path, &[key(0), key(1), key(0)]).map_err(said)?;
    b.sync()?;
    b.path_has(&b.path, &[key(0), key(1)])
}

fn put_persisted<B: BlobStore>(b: &Bench<B>) -> Found {
    let objects = [(key(0), 0), (key(1), 100), (key(2), 1 << 20)];
    b.store.put_persisted(&b.path, &mut batch(&objects)?).map_err(said)?;
    let keys = [0, 1, 2].map(key);
    b.path_has(&b.path, &keys)?;
    for (key, len) in objects {
        b.has(key, len)?;
    }
    same("objects in the spill", &b.store.usage().objects, &0)?;
    b.sync()?;
    for (key, len) in objects {
        b.delete(key)?;
        b.lacks(key)?;
        b.store.put_persisted(&b.path, &mut batch(&[(key, len)])?).map_err(said)?;
        b.has(key, len)?;
    }
    b.path_has(&b.path, &keys)
}

fn two_paths<B: BlobStore>(b: &Bench<B>) -> Found {
    for (nth, len) in [(0, 100), (1, 300_000)] {
        b.put(&[(key(nth), len)])?;
        b.persist(key(nth))?;
        b.sync()?;
        b.path_has(&b.other, &[])?;
        b.delete(key(nth))?;
        refused("register", b.store.register(&b.other, key(nth)), ErrorKind::NotFound)?;
        // What is registered from one is persisted to the other.
        b.register(key(nth))?;
        b.store.persist(&b.other, key(nth)).map_err(said)?;
        b.store.sync_persisted(&b.other).map_err(said)?;
        b.path_has(&b.other, &[key(nth)])?;
        b.delete(key(nth))?;
        b.delete_persisted(key(nth))?;
        b.sync()?;
        b.path_has(&b.path, &[])?;
        b.store.register(&b.other, key(nth)).map_err(said)?;
        b.has(key(nth), len)?;
        b.store.delete_persisted(&b.other, key(nth)).map_err(said)?;
        b.store.sync_persisted(&b.other).map_err(said)?;
        b.has(key(nth), len)?;
        b.delete(key(nth))?;
        b.lacks(key(nth))?;
    }
    Ok(())
}

fn limit<B: BlobStore>(b: &Bench<B>) -> Found {
    const LARGEST: u64 = 64 << 20;
    let limit = b.store.usage().disk_limit;
    let Some(limit) = usize::try_from(limit).ok().filter(|_| limit <= LARGEST) else {
        return Ok(());
    };
    b.put(&[(key(0), 100)])?;
    let mut much = batch(&[(key(1), 100), (key(2), limit), (key(3), 10)])?;
    refused("put", b.store.put(&mut much), ErrorKind::OverBudget)?;
    for nth in 1..4 {
        b.lacks(key(nth))?;
    }
    b.has(key(0), 100)?;
    same("objects", &b.store.usage().objects, &1)?;
    b.put(&[(key(1), 100)])?;
    b.has(key(1), 100)
}

fn compaction<B: BlobStore>(b: &Bench<B>) -> Found {
    let objects: Vec<_> = (0..KEYS).map(|nth| (key(nth), 20_000)).collect();
    for some in objects.chunks(5) {
        b.put(some)?;
    }
    let (stay, go): (Vec<_>, Vec<_>) =
        objects.into_iter().enumerate().partition(|(nth, _)| nth.is_multiple_of(5));
    for (_, (key, _)) in &go {
        b.delete(*key)?;
    }
    b.store.compact().map_err(said)?;
    for (_, (key, len)) in stay {
        b.has(key, len)?;
        b.persist(key)?;
    }
    for (_, (key, _)) in go {
        b.lacks(key)?;
    }
    b.sync()?;
    b.store.compact().map_err(said)?;
    b.has(key(0), 20_000)
}

fn empty<B: BlobStore>(b: &Bench<B>) -> Found {
    b.put(&[])?;
    b.store.put_persisted(&b.path, &mut batch(&[])?).map_err(said)?;
    b.sync()?;
    b.path_has(&b.path, &[])
}
