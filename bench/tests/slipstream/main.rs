//! Files and artifacts of beyond-slipstream 0.8.6 read here and ours read there, and how that crate fails, reproduced on it, with
//! the outcome here beside it.

mod artifacts;
mod failures;
mod files;
mod snapshots;
mod watched;
