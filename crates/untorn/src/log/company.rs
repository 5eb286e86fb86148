//! Who leads waits a moment for those who will be back at once: without that, the threads that a sync has just woken
//! would miss the next one, and half of all syncs would carry a single record.

use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::lane::Lane;

/// Never longer than this, and than half a sync.
const LONGEST: Duration = Duration::from_micros(500);
/// After so many groups in a row that did not gather, only each sixteenth tries.
const PATIENCE: u32 = 4;
const SELDOM: u32 = 16;

/// What the last group tells of the next.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// How many threads waited when the last group was acknowledged.
    pub(super) expected: u32,
    /// How long the last sync took.
    pub(super) sync: Duration,
    /// How many groups in a row did not gather.
    fruitless: u32,
}

impl Inner {
    /// Waits until as many wait as did for the last group, or for half a sync. One thread alone never waits.
    pub(super) fn gather(&self, lane: &mut Lane) {
        let expected = lane.company.expected;
        let fruitless = lane.company.fruitless;
        let tries = fruitless < PATIENCE || fruitless.is_multiple_of(SELDOM);
        if expected < 2 || !tries {
            lane.company.fruitless = fruitless.saturating_add(u32::from(!tries));
            return;
        }
        let next = self.queue().groups.front().map(|pending| Arc::clone(&pending.group));
        let Some(next) = next else { return };
        let here = next.gather(expected, LONGEST.min(lane.company.sync.div_f32(2.0)));
        let gathered = here >= expected.div_ceil(2);
        lane.company.fruitless = if gathered { 0 } else { fruitless.saturating_add(1) };
    }

    /// How many threads wait for the group that is written next.
    pub(super) fn waiting_next(&self) -> u32 {
        self.queue().groups.front().map_or(0, |pending| pending.group.waiting())
    }
}
