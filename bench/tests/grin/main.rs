//! Files of grin_store 5.5.2: those that are checked in for the tests of the library, made again and compared; and how that crate
//! fails, reproduced on it.

mod failures;
mod files;
mod fixtures;
