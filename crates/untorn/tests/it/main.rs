//! The tests of the public face, in one binary.

#[cfg(test)]
mod aio;
#[cfg(test)]
mod alloc;
#[cfg(test)]
mod append;
#[cfg(test)]
mod append_failures;
#[cfg(test)]
mod append_model;
#[cfg(test)]
mod append_rot;
#[cfg(test)]
mod chunked_failures;
#[cfg(test)]
mod chunked_model;
#[cfg(test)]
#[cfg(feature = "blake3")]
mod chunked_rot;
#[cfg(test)]
mod codec;
#[cfg(test)]
#[cfg(feature = "blake3")]
mod fold_artifacts;
#[cfg(test)]
mod fold_check;
#[cfg(test)]
mod fold_damage;
#[cfg(test)]
mod fold_failures;
#[cfg(test)]
mod fold_golden;
#[cfg(test)]
mod fold_kit;
#[cfg(test)]
#[cfg(feature = "blake3")]
mod fold_model;
#[cfg(test)]
mod fold_readers;
#[cfg(test)]
mod fold_rot;
#[cfg(test)]
mod fold_versions;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod log;
#[cfg(test)]
mod log_failures;
#[cfg(test)]
mod pool_async;
#[cfg(test)]
mod pool_disk;
#[cfg(test)]
mod pool_failures;
#[cfg(test)]
mod pool_faults;
#[cfg(test)]
mod pool_golden;
#[cfg(test)]
mod pool_kit;
#[cfg(test)]
mod pool_memory;
#[cfg(test)]
mod pool_rot;
#[cfg(test)]
mod pool_threads;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod resource;
#[cfg(test)]
mod seam;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod sim_explorer;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod sync_count;
#[cfg(test)]
mod sync_count_fold;
#[cfg(test)]
mod sync_count_pool;
#[cfg(test)]
#[cfg(feature = "json")]
mod wal;
