//! Files of kithara-storage 0.0.1-alpha5 read here and ours read there, both at work on one name, and how that crate fails,
//! reproduced on it, with the outcome here beside it.

mod exchange;
mod failures;
mod files;
