//! Files of grin_store 5.5.2: those that are checked in for the tests of the library, made again and compared; files that both
//! crates write in turn; and how that crate fails, reproduced on it, with what untorn does beside it.

mod cross;
mod failures;
mod files;
mod fixtures;
mod ours;
