//! What a pool knows of its backend: values of one type go in and come out. Neither the backend's type nor the codec's shows.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use uuid::Uuid;

use super::backend::{BackingStoreT, BlobStore, Strategy};
use super::batch::{Batch, Meta, Object, codec_id};
use super::compress::{self, Compression};
use crate::codec::Codec;
use crate::sync::{Mutex, lock};
use crate::{Error, ErrorKind, Result};

/// Buffers that are kept for the next use are no larger.
const KEEP: usize = 2 << 20;
/// And no more of them.
const BUFFERS: usize = 16;

/// A value to be written.
pub(crate) struct Item<'a, T> {
    pub(crate) key: Uuid,
    pub(crate) weight: u64,
    pub(crate) value: &'a T,
}

pub(crate) trait Tier<T>: Send + Sync {
    /// What a value weighs, in bytes, by what it is encoded to.
    fn weigh(&self, value: &T) -> Result<u64>;

    /// Writes values, to the spill or to a path of the same store, and says of each how it went.
    fn write(&self, items: &[Item<'_, T>], dest: Option<&dyn Any>) -> Vec<Result<()>>;

    /// Copies what is stored by the keys to a path: all or none.
    fn copy(&self, dest: &dyn Any, keys: &[Uuid]) -> Result<()>;

    fn read(&self, key: Uuid) -> Result<T>;

    /// Reads if that need not wait for the disk.
    #[cfg(feature = "tokio")]
    fn read_nowait(&self, key: Uuid) -> Result<Option<T>>;

    /// Objects are read fastest in the order of this.
    fn order(&self, key: Uuid) -> u64;

    /// Makes a key of a path readable, and says what its value weighs, if that is known.
    fn register(&self, src: &dyn Any, key: Uuid) -> Result<Option<u64>>;
}

/// Values as bytes of a codec, in a backend that moves bytes.
pub(crate) struct Blobs<B, C> {
    backing: Arc<B>,
    codec: C,
    id: u16,
    tag: u64,
    compression: Compression,
    batches: Mutex<Vec<Batch>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl<B: BlobStore, C> Blobs<B, C> {
    pub(crate) fn new(
        backing: Arc<B>,
        codec: C,
        name: &str,
        tag: u64,
        compression: Compression,
    ) -> Self {
        let (batches, buffers) = (Mutex::default(), Mutex::default());
        Self { backing, codec, id: codec_id(name), tag, compression, batches, buffers }
    }

    fn decode<T>(&self, object: &Object<'_>) -> Result<T>
    where
        C: Codec<T>,
    {
        self.is_ours(&object.meta)?;
        if object.meta.compression == Compression::None {
            return guarded("decode", || self.codec.decode(object.bytes));
        }
        let mut raw = Vec::new();
        compress::expand(object.meta.compression, object.bytes, object.meta.raw_len, &mut raw)?;
        guarded("decode", || self.codec.decode(&raw))
    }

    /// Whether an object is of this codec and type. Bytes that came from elsewhere say neither.
    fn is_ours(&self, meta: &Meta) -> Result<()> {
        let what = if meta.codec != 0 && meta.codec != self.id {
            format!("the object is in codec {}, the pool's is {}", meta.codec, self.id)
        } else if meta.tag != 0 && self.tag != 0 && meta.tag != self.tag {
            let (theirs, ours) = (meta.tag, self.tag);
            format!("the object is of the type tagged {theirs:016x}, the pool's is {ours:016x}")
        } else {
            return Ok(());
        };
        Err(Error::of_caller(ErrorKind::Precondition, "load", what))
    }

    fn buffer(&self) -> Vec<u8> {
        lock(&self.buffers).pop().unwrap_or_default()
    }

    fn give_back(&self, buffer: Vec<u8>) {
        let mut buffers = lock(&self.buffers);
        if buffer.capacity() <= KEEP && buffers.len() < BUFFERS {
            buffers.push(buffer);
        }
    }
}

impl<T, B, C> Tier<T> for Blobs<B, C>
where
    B: BlobStore,
    C: Codec<T> + Send + Sync + 'static,
{
    fn weigh(&self, value: &T) -> Result<u64> {
        let mut count = Count(0);
        guarded("weigh", || self.codec.encode_to(value, &mut count))?;
        Ok(count.0.saturating_add(size_of::<T>() as u64))
    }

    fn write(&self, items: &[Item<'_, T>], dest: Option<&dyn Any>) -> Vec<Result<()>> {
        let mut batch = lock(&self.batches).pop().unwrap_or_default();
        let mut results: Vec<Result<()>> = items
            .iter()
            .map(|item| {
                let meta = Meta::new(self.id, self.tag, item.weight);
                batch.push(item.key, meta, self.compression, |out| {
                    guarded("encode", || self.codec.encode(item.value, out))
                })
            })
            .collect();
        let put = if batch.is_empty() {
            Ok(())
        } else {
            match dest {
                None => self.backing.put(&mut batch),
                Some(dest) => {
                    own::<B>(dest).and_then(|path| self.backing.put_persisted(path, &mut batch))
                }
            }
        };
        if let Err(error) = put {
            let error = Arc::new(error);
            for result in results.iter_mut().filter(|result| result.is_ok()) {
                *result = Err(Error::share(&error));
            }
        }
        batch.clear(KEEP);
        let mut batches = lock(&self.batches);
        if batches.len() < BUFFERS {
            batches.push(batch);
        }
        results
    }

    fn copy(&self, dest: &dyn Any, keys: &[Uuid]) -> Result<()> {
        self.backing.persist_many(own::<B>(dest)?, keys)
    }

    fn read(&self, key: Uuid) -> Result<T> {
        let mut buffer = self.buffer();
        let read = self.backing.get(key, &mut buffer).and_then(|object| self.decode(&object));
        self.give_back(buffer);
        read
    }

    #[cfg(feature = "tokio")]
    fn read_nowait(&self, key: Uuid) -> Result<Option<T>> {
        let mut buffer = self.buffer();
        let read = match self.backing.get_nowait(key, &mut buffer) {
            Ok(Some(object)) => self.decode(&object).map(Some),
            Ok(None) => Ok(None),
            Err(e) => Err(e),
        };
        self.give_back(buffer);
        read
    }

    fn order(&self, key: Uuid) -> u64 {
        self.backing.look(key).map_or(0, |known| known.order)
    }

    fn register(&self, src: &dyn Any, key: Uuid) -> Result<Option<u64>> {
        self.backing.register(own::<B>(src)?, key)?;
        let Some(known) = self.backing.look(key) else { return Ok(None) };
        self.is_ours(&known.meta)?;
        let guess = known.meta.raw_len.saturating_add(size_of::<T>() as u64);
        Ok(Some(if known.meta.weight == 0 { guess } else { known.meta.weight }))
    }
}

/// The path as the backend knows it.
fn own<B: BackingStoreT>(path: &dyn Any) -> Result<&B::PersistPath> {
    path.downcast_ref().ok_or_else(other_store)
}

/// Values that a backend stores its own way.
pub(crate) struct Strategic<B>(pub(super) Arc<B>);

impl<T, B: Strategy<T>> Tier<T> for Strategic<B> {
    fn weigh(&self, _: &T) -> Result<u64> {
        Ok(1)
    }

    fn write(&self, items: &[Item<'_, T>], dest: Option<&dyn Any>) -> Vec<Result<()>> {
        items
            .iter()
            .map(|item| {
                guarded("store", || self.0.store(item.key, item.value))?;
                match dest {
                    Some(dest) => self.0.persist(own::<B>(dest)?, item.key),
                    None => Ok(()),
                }
            })
            .collect()
    }

    fn copy(&self, dest: &dyn Any, keys: &[Uuid]) -> Result<()> {
        let path = own::<B>(dest)?;
        keys.iter().try_for_each(|key| self.0.persist(path, *key))
    }

    fn read(&self, key: Uuid) -> Result<T> {
        guarded("load", || self.0.load(key))
    }

    #[cfg(feature = "tokio")]
    fn read_nowait(&self, _: Uuid) -> Result<Option<T>> {
        Ok(None)
    }

    fn order(&self, _: Uuid) -> u64 {
        0
    }

    fn register(&self, src: &dyn Any, key: Uuid) -> Result<Option<u64>> {
        self.0.register(own::<B>(src)?, key).map(|()| None)
    }
}

#[cold]
pub(crate) fn other_store() -> Error {
    let what = "the path was tracked by another store; track it with the store of this pool";
    Error::of_caller(ErrorKind::Precondition, "use a path", what)
}

/// Runs code of the user's; a panic in it is an error, and ends nothing of ours.
pub(crate) fn guarded<R>(operation: &'static str, call: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        let what = format!("it panicked: {text}");
        Err(Error::of_caller(ErrorKind::Codec, operation, what))
    })
}

/// Counts bytes, and keeps none.
struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
