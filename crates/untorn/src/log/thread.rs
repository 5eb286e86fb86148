//! The log's own thread, only where the options ask for it: syncs at an interval, and the mark of an idle log.

use std::sync::atomic::Ordering::Acquire;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Inner, Log, SyncPolicy};
use crate::{Error, Result};

/// After so long without a sync the log counts as idle.
const IDLE: Duration = Duration::from_secs(1);

pub(super) fn start(log: &Log) -> Result<()> {
    if !log.0.options.sync_thread {
        return Ok(());
    }
    let inner = Arc::downgrade(&log.0);
    let pause = match log.0.options.sync_policy {
        SyncPolicy::Interval(every) => every,
        _ => IDLE,
    };
    // It ends by itself once nobody else holds the log, at the latest one pause later.
    let spawned = std::thread::Builder::new()
        .name("untorn-log".to_owned())
        .spawn(move || while turn(&inner, pause) {});
    spawned.map(drop).map_err(|e| Error::system("start the thread of", &log.0.path, e))
}

fn turn(inner: &Weak<Inner>, pause: Duration) -> bool {
    std::thread::park_timeout(pause);
    let Some(inner) = inner.upgrade() else { return false };
    let log = Log(inner);
    if log.0.queue().closed || log.0.poison.is_set() {
        return false;
    }
    if matches!(log.0.options.sync_policy, SyncPolicy::Interval(_)) {
        // An error poisons the log, and reaches all who wait.
        drop(log.sync());
    }
    let mut lane = log.0.lane();
    if log.0.written.load(Acquire) == log.0.durable.load(Acquire) {
        // Best effort: a mark only lets the next open vouch for more.
        drop(log.0.mark(&mut lane));
    }
    true
}
