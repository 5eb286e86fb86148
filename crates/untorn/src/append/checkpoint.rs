//! Writes down where everything ends, so that the records before it can go.
//!
//! # Invariants
//! - P1 Data, ends and sums are synced before the full form says so, and that is durable before the log's front goes.
//! - P2 A head's space is given back when its record is durable and no state that is held shows it.

use super::store::{END, Store};
use crate::commit::sync_data;
use crate::fs::SyncSite;
use crate::{Outcome, Result};

impl Store {
    /// A failure is this handle's end or is tried again after the next commit; the commits stand either way.
    pub(super) fn checkpoint_if_due(&mut self) {
        if self.since >= self.settings.checkpoint_bytes {
            drop(self.checkpoint(false));
        }
    }

    /// See the module. `closed` says that nothing is written to the files after it.
    ///
    /// Costs two syncs for each column, four with ends, and one of the log; two more if a segment of it can go.
    pub(super) fn checkpoint(&mut self, closed: bool) -> Result<()> {
        self.check("checkpoint")?;
        self.punch_heads();
        if let Err(error) = self.sync_columns() {
            return Err(self.poison_by(error.with_outcome(Outcome::Unchanged)));
        }
        let full = self.full(closed).encode();
        match self.log.full_synced(&full) {
            Ok(()) => {}
            // It stands; what could not be removed goes at the next open.
            Err(error) if error.outcome() == Outcome::Applied => {}
            Err(error) if error.outcome() == Outcome::Unchanged && !self.unsynced => {
                return Err(error);
            }
            Err(error) => return Err(self.poison_by(error)),
        }
        self.since = 0;
        self.unsynced = false;
        self.in_use = !closed;
        self.shared.made_durable();
        Ok(())
    }

    fn sync_columns(&mut self) -> Result<()> {
        for member in &mut self.members {
            member.data.sync(SyncSite::AppendData)?;
            sync_data(&*member.data.files.sums, SyncSite::AppendSums)?;
            if let Some(ends) = &mut member.ends {
                ends.sync(SyncSite::AppendEnds)?;
                sync_data(&*ends.files.sums, SyncSite::AppendSums)?;
            }
        }
        Ok(())
    }

    /// Gives back the space before the first elements, where nobody is shown it (P2). That it cannot be done is no failure.
    pub(super) fn punch_heads(&mut self) -> u64 {
        if !self.members.iter().any(|member| member.head_to_punch) {
            return 0;
        }
        let firsts: Vec<u64> = self.members.iter().map(|member| member.first).collect();
        if self.shared.shows_below(&firsts) {
            return 0;
        }
        let mut freed = 0_u64;
        for member in self.members.iter_mut().filter(|member| member.head_to_punch) {
            member.head_to_punch = false;
            let data = &member.data.files;
            freed = freed.saturating_add(punch(&*data.file, data.base, member.first_byte));
            if let Some(ends) = &member.ends {
                // The end of the last dropped element is the start of the first one.
                let kept = member.first.saturating_sub(1).saturating_mul(END);
                punch(&*ends.files.file, ends.files.base, kept);
            }
        }
        freed
    }
}

/// Whole blocks below `keep` become a hole; says how many bytes.
fn punch(file: &dyn crate::fs::File, base: u64, keep: u64) -> u64 {
    let len = super::blocks::start_of(super::blocks::block_of(keep));
    match file.punch(base, len) {
        Ok(()) if len > 0 => len,
        _ => 0,
    }
}
