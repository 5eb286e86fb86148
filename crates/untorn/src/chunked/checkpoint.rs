//! Makes written ranges durable, and then trusted.
//!
//! ```text
//! take completed writes   SYNC DATA   append to the map, SYNC MAP   (first time: meta, SYNC, SYNC PART)   trusted
//! ```
//!
//! # Invariants
//! - K1 A range is recorded only after its bytes were synced.
//! - K2 `meta`, which makes the map count, is durable after the map, the names of `data` and `map`, and that of the part are.
//! - K3 What a checkpoint took is trusted when its record is durable, and not before.

use super::ResourceExt;
use super::format::{Change, Extent, Meta, encode_full};
use super::inner::{Home, Inner};
use super::ledger::Taken;
use super::options::{CheckpointPolicy, ChunkedOptions, Resume};
use super::part::{MAP, Part};
use crate::codec::checksum::crc32;
use crate::fs::{File, Fs, SyncSite};
use crate::log::{LogOptions, LogReport, Piece, State};
use crate::{Durability, Error, ErrorKind, OnDamage, Result, commit};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// Whether anything was trusted anew, and how many bytes are trusted.
type Settled = (bool, Result<u64>);

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

impl<R: ResourceExt> Inner<R> {
    /// Makes all completed writes durable and trusted; how many bytes are trusted then.
    pub(super) fn checkpoint(&self) -> Result<u64> {
        self.presence.refuse("checkpoint")?;
        if self.is_passthrough() {
            self.resource.load().sync()?;
            return Ok(self.presence.coverage().covered());
        }
        if !self.options.resumable() {
            let what = "nothing is known by which the bytes could be known again; open it with an identity, or with Resume::Always";
            return Err(Error::new(ErrorKind::Precondition, "checkpoint", &self.canonical, what));
        }
        let settled = match self.home().as_mut() {
            Some(home) => self.settle(home),
            None => (false, Err(self.no_part("checkpoint"))),
        };
        self.tell_settled(settled)
    }

    /// Makes a checkpoint if so much was written since the last one. One at a time: who finds one running goes on.
    pub(super) fn checkpoint_if_due(&self) -> Result<()> {
        let CheckpointPolicy::Bytes(window) = self.options.checkpoint else { return Ok(()) };
        if !self.keeps_account() || self.ledger().dirty() < window {
            return Ok(());
        }
        let Ok(mut home) = self.home.try_lock() else { return Ok(()) };
        let settled = match home.as_mut() {
            Some(home) if self.ledger().dirty() >= window => self.settle(home),
            _ => return Ok(()),
        };
        drop(home);
        self.tell_settled(settled).map(drop)
    }

    /// Tells the observers, now that `home` is let go.
    fn tell_settled(&self, (new, settled): Settled) -> Result<u64> {
        if let (true, Ok(trusted)) = (new, &settled) {
            self.tell(|observer| observer.on_checkpoint(*trusted));
        }
        settled
    }

    fn settle(&self, home: &mut Home) -> Settled {
        let taken = self.ledger().take();
        let done = if taken.is_empty() { Ok(()) } else { self.record(home, &taken) };
        if let Err(error) = done {
            self.ledger().give_back(&taken);
            return (false, Err(error));
        }
        (!taken.is_empty(), Ok(self.ledger().trusted()))
    }

    fn record(&self, home: &mut Home, taken: &[Taken]) -> Result<()> {
        self.resource.load().write_out()?;
        let settled =
            taken.iter().map(|taken| settled(home, taken)).collect::<Result<Vec<Extent>>>()?;
        let synced = self.options.durability == Durability::Synced;
        if synced {
            let started = self.options.fs.monotonic();
            commit::sync_data(&*home.data, SyncSite::ChunkData)
                .map_err(|e| self.poison(Some(home), e))?; // K1
            self.counts.synced(self.options.fs.monotonic().saturating_sub(started));
        }
        let records = self.ledger().records(&settled);
        let recorded = match &home.map {
            Some(map) if !self.needs_meta(home) => map
                .change(&Change::Cover(records.clone()).encode())
                .and_then(|ticket| ticket.wait().map(drop)),
            _ => self.begin_map(home, &records),
        };
        recorded.map_err(|e| self.map_failed(home, e))?;
        self.ledger().trust(taken, &records); // K3
        if let (Some(map), Some(meta)) = (&home.map, &home.meta)
            && map.due()
        {
            // Only tidying: what it says is recorded already.
            let full = encode_full(meta.part_id, &self.ledger().trusted_extents());
            map.full(&full).map_err(|e| self.map_failed(home, e))?;
        }
        Ok(())
    }

    /// Whether `meta` is missing, or says of an unsynced life what is now synced.
    fn needs_meta(&self, home: &Home) -> bool {
        let buffered = self.options.durability == Durability::Buffered;
        home.meta.as_ref().is_none_or(|meta| meta.buffered && !buffered)
    }

    /// The first record of a map, and then `meta`, which makes it count (K2).
    fn begin_map(&self, home: &mut Home, records: &[Extent]) -> Result<()> {
        let meta = match &home.meta {
            Some(meta) => Meta { buffered: false, ..meta.clone() },
            None => self.new_meta(home)?,
        };
        if home.map.is_none() {
            // Of a checkpoint that failed before it had a `meta`.
            home.part.remove_map()?;
            commit::make_dir(&*home.part.dir, MAP.as_ref(), 0o700)?;
            home.map = Some(open_map(&home.part, &self.options, &mut |_| Ok(()))?.0);
        }
        let mut all = self.ledger().trusted_extents();
        all.retain(|old| {
            !records.iter().any(|new| new.start <= old.start && old.start < new.end())
        });
        all.extend(records);
        all.sort_unstable_by_key(|extent| extent.start);
        if let Some(map) = &home.map {
            map.full(&encode_full(meta.part_id, &all))?;
        }
        if home.meta.is_none() && self.options.durability == Durability::Synced {
            commit::sync_dir(&*home.part.at.dir, SyncSite::ChunkPart)?;
        }
        home.part.set_meta(&encoded(&self.options, &meta)?, self.options.durability)?;
        home.meta = Some(meta);
        Ok(())
    }

    fn new_meta(&self, home: &Home) -> Result<Meta> {
        let mut part_id = [0; 16];
        let fs = &self.options.fs;
        fs.entropy(&mut part_id).map_err(|e| Error::system("begin", &home.part.path(), e))?;
        let shift = self.options.chunk_bytes().trailing_zeros();
        Ok(Meta {
            vouched: self.options.resume == Resume::Always,
            buffered: self.options.durability == Durability::Buffered,
            chunk_shift: u8::try_from(shift).unwrap_or(0),
            part_id,
            created_ms: u64::try_from(fs.now().as_millis()).unwrap_or(0),
            name: home.to.name.as_bytes().to_vec(),
            identity: self.options.identity.clone(),
        })
    }
}

/// The bytes of a `meta`; too much of them is the caller's error.
pub(super) fn encoded(options: &ChunkedOptions, meta: &Meta) -> Result<Vec<u8>> {
    meta.encode().ok_or_else(|| {
        let what = "the identity takes more than 16 KiB; shorten its texts";
        let source = options.identity.source.as_deref().unwrap_or_default();
        Error::new(ErrorKind::InvalidInput, "checkpoint", source.as_ref(), what)
    })
}

/// The extent of what was taken; what has no checksum yet is read back.
fn settled(home: &Home, taken: &Taken) -> Result<Extent> {
    let len = u32::try_from(taken.end.saturating_sub(taken.start)).unwrap_or(u32::MAX);
    let crc = match taken.crc {
        Some(crc) => crc,
        None => checksum(&*home.data, taken.start, u64::from(len))?,
    };
    Ok(Extent { start: taken.start, len, crc })
}

/// The checksum of bytes on the disk.
pub(super) fn checksum(file: &dyn File, start: u64, len: u64) -> Result<u32> {
    let mut crc = 0;
    read_blocks(file, start, len, &mut |block| {
        crc = crc32(block, crc);
        Ok(())
    })?;
    Ok(crc)
}

/// Hands out the bytes block by block.
pub(super) fn read_blocks(
    file: &dyn File,
    start: u64,
    len: u64,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(BLOCK).min(BLOCK)];
    let mut at = start;
    let end = start.saturating_add(len);
    while at < end {
        let want = usize::try_from(end.saturating_sub(at)).unwrap_or(BLOCK).min(BLOCK);
        let block = buffer.get_mut(..want).unwrap_or_default();
        let got = file.read_at(block, at);
        let got = got.map_err(|e| Error::system("read", file.path(), e).at(at))?;
        if got < want {
            let what = "the file is shorter than what was written to it";
            return Err(Error::new(ErrorKind::Damaged, "read", file.path(), what).at(at));
        }
        each(block)?;
        at = at.saturating_add(got as u64);
    }
    Ok(())
}

/// Opens the map of a part, or makes it.
pub(super) fn open_map(
    part: &Part,
    options: &ChunkedOptions,
    each: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<(State, LogReport)> {
    let on_damage = match options.on_damage {
        OnDamage::Refuse => OnDamage::Refuse,
        _ => OnDamage::Truncate,
    };
    let log = map_options(Arc::clone(&options.fs))
        .segment_bytes(options.map_segment_bytes)
        .durability(options.durability)
        .on_damage(on_damage);
    State::open(part.dir.path().join(MAP), log, each)
}

/// How the log of a map is opened.
pub(super) fn map_options(fs: Arc<dyn Fs>) -> LogOptions {
    LogOptions::new().owner(*b"CHNK").fs(fs)
}
