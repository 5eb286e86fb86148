//! Any bytes are given to `FixedLe`: what it decodes encodes to the same bytes, and no count in them makes it take more memory than four times what there is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use untorn::codec::{Codec, FixedLe};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ended = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.dealloc(address, layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ended = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.realloc(address, layout, size) }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    number: i64,
    wide: u128,
    real: f32,
    letter: char,
    text: String,
    bytes: Vec<u8>,
    words: Vec<String>,
    map: BTreeMap<String, Vec<Option<u16>>>,
    choice: Choice,
}

#[derive(Debug, Serialize, Deserialize)]
enum Choice {
    None,
    One(u32),
    Many { a: (u8, i16), b: Result<u64, String> },
    Deep(Vec<Choice>),
}

#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

fuzz_target!(|bytes: &[u8]| {
    one::<Everything>(bytes, true);
    one::<Vec<u64>>(bytes, false);
    one::<Vec<(u8, String)>>(bytes, false);
    one::<Vec<()>>(bytes, false);
    one::<Vec<Vec<f64>>>(bytes, false);
    one::<Choice>(bytes, false);
    one::<Chain>(bytes, false);
    one::<String>(bytes, false);
});

/// Elements may be larger in memory than they are in bytes: a `String` is 24 and takes 8.
fn one<T: Debug + Serialize + DeserializeOwned>(bytes: &[u8], sorted: bool) {
    for lenient in [false, true] {
        LARGEST.set(0);
        let decoded: Result<T, _> =
            if lenient { FixedLe::lenient().decode(bytes) } else { FixedLe.decode(bytes) };
        let largest = LARGEST.get();
        assert!(
            largest <= 4 * size_of::<Choice>() * bytes.len().max(64),
            "{largest} for {}",
            bytes.len()
        );
        let Ok(value) = decoded else { continue };
        let mut again = Vec::new();
        FixedLe.encode(&value, &mut again).expect("what was decoded encodes");
        let same = bytes.starts_with(&again) && (lenient || again.len() == bytes.len());
        // Of a map, entries may come in another order, and twice.
        assert!(same || sorted, "{value:?}");
    }
}
