//! `fold follow`: a fold that is kept up to date.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use untorn::ErrorKind;
use untorn::aio::fold::{
    ExpiryRepair, FollowEnd, FollowState, Follower, NdjsonSource, Phase, Scope,
};
use untorn::fold::{AppendLogSnapshot, FoldOptions, WatchCursor};

use super::args::FoldFollow;
use super::{At, apply, many, own};
use crate::exit::{Failure, Result, code};
use crate::input;
use crate::out::Out;

/// A signal is noticed within this.
const NAP: Duration = Duration::from_millis(50);

fn source(args: &FoldFollow) -> Result<NdjsonSource> {
    let source = if args.from == Path::new("-") {
        NdjsonSource::stdin()
    } else {
        // A mistake in the name is told at once; a file that goes away later is waited for.
        std::fs::metadata(&args.from).map_err(|e| Failure::io("open", &args.from, e))?;
        NdjsonSource::growing_file(&args.from)
    };
    Ok(match &args.name {
        Some(name) => source.named(name),
        None => source,
    })
}

fn scope(prefixes: &[String]) -> Scope {
    if prefixes.is_empty() { Scope::All } else { Scope::Prefixes(prefixes.to_vec()) }
}

fn repair(name: &str) -> ExpiryRepair {
    match name {
        "fail" => ExpiryRepair::Fail,
        "relist" => ExpiryRepair::Relist,
        _ => ExpiryRepair::RelistIfTruth,
    }
}

pub(super) fn follow(args: &FoldFollow, out: &mut Out) -> Result<u8> {
    let source = source(args)?;
    let fold = own(&args.dir, FoldOptions::new())?;
    apply::tell(&args.dir, fold.recovery(), out);
    input::watch_signals(|| ())?;
    let runtime = Builder::new_current_thread().enable_time().max_blocking_threads(2).build();
    let runtime = runtime
        .map_err(|e| Failure::plain(ErrorKind::Io, format!("cannot start a runtime: {e}")))?;
    let updates = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&updates);
    let follower = Follower::builder(fold, source)
        .scope(scope(&args.prefixes))
        .on_expired(repair(&args.repair))
        .on_applied(move |batch, _| {
            counted.fetch_add(batch.len() as u64, Ordering::Relaxed);
        });
    let end = runtime.block_on(async {
        let handle = follower.spawn();
        let mut state = handle.state();
        watch_it(&mut state, out).await;
        if input::stopped() { handle.stop().await } else { handle.join().await }
    });
    done(end, updates.load(Ordering::Relaxed), runtime, out)
}

/// Tells what it does, until it ends or a signal comes.
async fn watch_it(state: &mut watch::Receiver<FollowState>, out: &Out) {
    let mut told = String::new();
    loop {
        let words = {
            let now = state.borrow_and_update();
            if matches!(now.phase, Phase::Stopped { .. }) {
                return;
            }
            words(&now.phase, &now.cursor, told.is_empty())
        };
        if let Some(words) = words.filter(|words| *words != told) {
            out.note(format_args!("{words}"));
            told = words;
        }
        // Nobody changes it any more: it is over.
        if let Ok(Err(_)) = tokio::time::timeout(NAP, state.changed()).await {
            return;
        }
        if input::stopped() {
            return;
        }
    }
}

/// What a person wants to know: that it has everything, and why it waits.
fn words(phase: &Phase, cursor: &WatchCursor, first: bool) -> Option<String> {
    match phase {
        Phase::Live if first => Some(format!("live at cursor {cursor}")),
        Phase::Relisting { .. } => Some("comparing with a listing of the source".to_owned()),
        Phase::Backoff { cause, .. } => Some(format!("it will be tried again: {cause}")),
        _ => None,
    }
}

fn done(
    end: FollowEnd<AppendLogSnapshot>,
    updates: u64,
    runtime: Runtime,
    out: &mut Out,
) -> Result<u8> {
    #[derive(Serialize)]
    struct Followed {
        updates: u64,
        #[serde(flatten)]
        at: At,
    }
    let mut fold = end.store;
    // A pipe may be in the middle of a read for ever.
    runtime.shutdown_background();
    let synced = fold.sync();
    let closed = fold.close();
    end.result?;
    let cursor = synced?;
    closed?;
    if out.json() {
        out.value(&Followed { updates, at: At::of(&cursor) })?;
    } else {
        out.line(format_args!("{} applied, cursor {cursor}", many(updates, "update")))?;
    }
    Ok(code::OK)
}
