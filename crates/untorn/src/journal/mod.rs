//! Programs that keep their state in memory, and every event on disk before anyone sees its effect.

pub mod wal;
