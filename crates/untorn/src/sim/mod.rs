//! The simulated disk, and the explorer of every state in which a crash may leave it.
//!
//! [`SimFs`] keeps two things apart that a test on a real disk cannot: what programs see, and what the disk holds. It
//! lists every state that a power cut may leave and hands each out as a disk of its own. [`Explorer`] runs a program on
//! it, crashes it everywhere in every such way, and has your check look at what is left. [`Meter`] counts the calls that
//! pass through it and leaves syncs out.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "test machinery on small disks: an index or a sum that is wrong must stop the test"
)]

mod disk;
mod explorer;
mod fault;
mod handle;
mod inode;
mod meter;
mod model;
mod names;
mod page;
mod pick;
mod rng;
mod state;
mod trace;

pub use disk::{Capability, Item, SimFs};
pub use explorer::{After, Crash, Explorer, Fail, Progress, Report, Run, Value, Violation};
pub use fault::{CallKind, Effect, Fault, FaultKind};
pub use meter::{Counts, KillWhen, Meter};
pub use model::{DiskModel, FailedSync, Names, Syncs, Unwritten};
pub use pick::{ParsePickError, Pick, PowerStates};
