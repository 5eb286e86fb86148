//! Counts the memory that a thread takes, to show that no length field on disk makes it take much.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn note(size: usize) {
    // A thread that is ending has no counter any more, and no test either.
    let _ended = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.realloc(address, layout, size) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.dealloc(address, layout) }
    }
}

/// The size of the largest piece of memory that this thread asks for while `f` runs.
pub(crate) fn largest_during(f: impl FnOnce()) -> usize {
    LARGEST.set(0);
    f();
    LARGEST.get()
}

#[test]
fn the_counter_counts() {
    let largest = largest_during(|| drop(std::hint::black_box(vec![1_u8; 12_345])));
    assert_eq!(largest, 12_345);
}
