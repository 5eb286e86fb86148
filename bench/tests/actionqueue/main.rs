//! Files of actionqueue-storage 0.1.2 read here and ours read there, and what that crate loses, reproduced on it, with the
//! outcome here beside it.

mod files;
mod snapshot_failures;
mod snapshots;
mod wal;
mod wal_failures;
