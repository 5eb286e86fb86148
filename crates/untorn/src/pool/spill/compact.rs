//! What is alive in segments that are mostly garbage is moved to others, and they are taken away.

use std::sync::{MutexGuard, PoisonError, TryLockError};

use super::super::backend::Compacted;
use super::super::batch::{Batch, Part};
use super::super::segment::{Scanned, Segment};
use super::Spill;
use super::table::At;
use crate::{ErrorKind, Result};

/// So many bytes are moved with one write.
const PIECE: usize = 1 << 20;

impl Spill {
    /// Compacts every segment of which less than half is alive.
    pub(in crate::pool) fn compact(&self) -> Result<Compacted> {
        let mut all = Compacted::default();
        while let Some(one) = self.compact_one(true)? {
            all.segments = all.segments.saturating_add(one.segments);
            all.moved_bytes = all.moved_bytes.saturating_add(one.moved_bytes);
            all.freed_bytes = all.freed_bytes.saturating_add(one.freed_bytes);
        }
        Ok(all)
    }

    /// Compacts the segment that gains the most. `None` if there is none, or one is compacted now and `wait` is not asked for.
    pub(super) fn compact_one(&self, wait: bool) -> Result<Option<Compacted>> {
        let Some(_alone) = self.alone(wait) else { return Ok(None) };
        let Some((number, segment, end)) = self.with(super::Table::victim) else {
            return Ok(None);
        };
        let before = self.usage().disk_bytes;
        let moved = self.move_live(number, &segment);
        let gone = self.with(|table| table.compacted(number, end, moved.is_ok()));
        let segments = u64::from(gone.is_some());
        gone.map_or(Ok(()), |gone| self.take_away(&gone))?;
        let freed_bytes = before.saturating_sub(self.usage().disk_bytes);
        Ok(Some(Compacted { segments, moved_bytes: moved?, freed_bytes }))
    }

    fn alone(&self, wait: bool) -> Option<MutexGuard<'_, ()>> {
        if wait {
            return Some(self.compacting.lock().unwrap_or_else(PoisonError::into_inner));
        }
        match self.compacting.try_lock() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Copies what verifies and is alive; what does not verify stays where it is.
    fn move_live(&self, number: u32, segment: &Segment) -> Result<u64> {
        let (mut batch, mut from) = (Batch::new(), Vec::new());
        let (mut buf, mut moved) = (Vec::new(), 0_u64);
        segment.scan(self.limits.object, &mut |_| (), &mut |found: Scanned| {
            let (key, at) = (found.header.key, At::Segment { number, at: found.at });
            let alive = self.with(|table| table.find(key).is_some_and(|here| here.at == at));
            if !alive || !found.sound {
                return Ok(());
            }
            let object = segment.read(found.at, found.header.stored_len, key, &mut buf)?;
            batch.push_stored(key, object.meta, object.bytes);
            from.push(at);
            if batch.bytes_len() >= PIECE {
                moved = moved.saturating_add(self.flush(&mut batch, &mut from)?);
            }
            Ok(())
        })?;
        Ok(moved.saturating_add(self.flush(&mut batch, &mut from)?))
    }

    fn flush(&self, batch: &mut Batch, from: &mut Vec<At>) -> Result<u64> {
        if batch.is_empty() {
            return Ok(0);
        }
        let parts: Vec<(usize, Part)> = batch.parts.iter().copied().enumerate().collect();
        let need = self.need(&parts);
        if !self.with(|table| table.reserve(need, self.limits.disk)) {
            let what = format!("no room to move {need} bytes below the limit");
            return Err(self.refuse(ErrorKind::OverBudget, what));
        }
        let mut writing = super::Writing::new(self, need);
        writing.run(batch, &parts)?;
        let moved = writing.moved(from);
        batch.clear(PIECE.saturating_mul(2));
        from.clear();
        Ok(moved)
    }
}
