//! Counts the memory that a thread takes, to show that no length field on disk makes it take much, and how much of it is kept.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn note(size: usize) {
    // A thread that is ending has no counter any more, and no test either.
    let _ended = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
    hold(size, 0);
}

fn hold(more: usize, less: usize) {
    let _ended = HELD.try_with(|held| {
        held.set(held.get().wrapping_add_unsigned(more).wrapping_sub_unsigned(less));
    });
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
        hold(0, layout.size());
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.realloc(address, layout, size) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        hold(0, layout.size());
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

/// How many bytes more this thread holds after `f` than before.
pub(crate) fn held_after(f: impl FnOnce()) -> isize {
    let before = HELD.get();
    f();
    HELD.get().wrapping_sub(before)
}

#[test]
fn the_counter_counts() {
    let mut kept = Vec::new();
    let held = held_after(|| {
        drop(std::hint::black_box(vec![1_u8; 99_999]));
        kept = std::hint::black_box(vec![1_u8; 12_345]);
    });
    assert_eq!((held, kept.len()), (12_345, 12_345));
    let largest = largest_during(|| drop(std::hint::black_box(vec![1_u8; 12_345])));
    assert_eq!(largest, 12_345);
}
