//! Files of grin_store 5.5.2: those that are checked in for the library's tests, made again and compared.

mod files;
mod fixtures;
