//! The cases, each a file.

mod append;
mod blocks;
mod buffered;
mod chunk;
mod endure;
mod fold;
mod frame;
mod fresh;
mod open;
mod pool;
mod recovery;
mod reopen;
mod replay;
mod rolls;
mod single;
mod threads;
mod update;
mod window;

pub use fold::{FOLD, child};
pub use pool::{POOL, child as pool_child};
pub use fresh::{ONE_RECORD, one_record};

use crate::Result;
use crate::args::Args;
use crate::report::Report;
use crate::scratch::Scratch;

pub const NAMES: [&str; 47] = [
    "single",
    "threads",
    "window",
    "buffered",
    "replay",
    "rolls",
    "open",
    "update",
    "endure",
    "frame",
    "blocks",
    "recovery",
    "reopen",
    "fresh",
    "chunk-order",
    "chunk-random",
    "chunk-4k",
    "chunk-read",
    "chunk-active",
    "chunk-calls",
    "chunk-wake",
    "chunk-waiters",
    "chunk-many",
    "chunk-open",
    "append-fixed",
    "append-varied",
    "append-single",
    "append-group",
    "append-memory",
    "append-read",
    "append-typed",
    "append-lookup",
    "append-touch",
    "append-beside",
    "append-crowd",
    "append-open",
    "append-reopen",
    "append-rewind",
    "append-compact",
    "append-head",
    "append-copy",
    "fold-load",
    "fold-synced",
    "fold-pgss",
    "pool-16k",
    "pool-200",
    "pool-16m",
];

pub fn run(case: &str, args: &Args, scratch: &Scratch, report: &mut Report) -> Result<()> {
    match case {
        "single" => single::run(args, scratch, report),
        "threads" => threads::run(args, scratch, report),
        "window" => window::run(args, scratch, report),
        "buffered" => buffered::run(args, scratch, report),
        "replay" => replay::run(args, scratch, report),
        "rolls" => rolls::run(args, scratch, report),
        "open" => open::run(args, scratch, report),
        "update" => update::run(args, scratch, report),
        "endure" => endure::run(args, scratch, report),
        "frame" => frame::run(args, scratch, report),
        "blocks" => blocks::run(args, scratch, report),
        "recovery" => recovery::run(args, scratch, report),
        "reopen" => reopen::run(args, scratch, report),
        "fresh" => fresh::run(args, scratch, report),
        "chunk-order" => chunk::fill::in_order(args, scratch, report),
        "chunk-random" => chunk::fill::at_random(args, scratch, report),
        "chunk-4k" => chunk::small::run(args, scratch, report),
        "chunk-read" => chunk::read::committed(args, scratch, report),
        "chunk-active" => chunk::read::active(args, scratch, report),
        "chunk-calls" => chunk::calls::run(args, scratch, report),
        "chunk-wake" => chunk::wake::run(args, scratch, report),
        "chunk-waiters" => chunk::waiters::run(args, scratch, report),
        "chunk-many" => chunk::many::run(args, scratch, report),
        "chunk-open" => chunk::open::run(args, scratch, report),
        "append-fixed" => append::writing::fixed(args, scratch, report),
        "append-varied" => append::writing::variable(args, scratch, report),
        "append-single" => append::writing::single(args, scratch, report),
        "append-group" => append::writing::group(args, scratch, report),
        "append-memory" => append::writing::memory(args, scratch, report),
        "append-read" => append::reading::fixed(args, scratch, report),
        "append-typed" => append::reading::typed(args, scratch, report),
        "append-lookup" => append::reading::variable(args, scratch, report),
        "append-touch" => append::touching::run(args, scratch, report),
        "append-beside" => append::beside::one(args, scratch, report),
        "append-crowd" => append::beside::crowd(args, scratch, report),
        "append-open" => append::opening::closed(args, scratch, report),
        "append-reopen" => append::opening::killed(args, scratch, report),
        "append-rewind" => append::cutting::tail(args, scratch, report),
        "append-compact" => append::cutting::compact(args, scratch, report),
        "append-head" => append::cutting::head(args, scratch, report),
        "append-copy" => append::copying::run(args, scratch, report),
        "fold-load" => fold::load(args, scratch, report),
        "fold-synced" => fold::synced(args, scratch, report),
        "fold-pgss" => fold::pgss::run(args, scratch, report),
        "pool-16k" => pool::middle(args, scratch, report),
        "pool-200" => pool::small(args, scratch, report),
        "pool-16m" => pool::large(args, scratch, report),
        _ => Err(format!("there is no case {case}").into()),
    }
}
