//! Counts the allocations of each thread, to show that a scan makes none per record, and how much is allocated at most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes. What one thread allocates and another frees is counted wrong; nobody here does that while it is looked at.
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// A thread that is ending has no counters any more, and nobody asks for them.
fn note(more: usize, less: usize) {
    if more > 0 {
        let _ended = COUNT.try_with(|count| count.set(count.get() + 1));
    }
    let _ended = LIVE.try_with(|live| {
        let now = live.get() + more as i64 - less as i64;
        live.set(now);
        let _ended = PEAK.try_with(|peak| peak.set(peak.get().max(now)));
    });
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.realloc(address, layout, size) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller keeps the rules of the method of the same name.
        unsafe { System.dealloc(address, layout) }
    }
}

/// How often this thread has allocated so far.
pub fn count() -> u64 {
    COUNT.get()
}

/// The most bytes that this thread had allocated at once during `work`, above what it had before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.get();
    PEAK.set(before);
    let value = work();
    (value, u64::try_from(PEAK.get() - before).unwrap_or(0))
}

/// As [`peak`], above what is kept: what `work` returns is not counted.
pub fn extra<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.get();
    let (value, peak) = peak(work);
    let kept = u64::try_from(LIVE.get() - before).unwrap_or(0);
    (value, peak.saturating_sub(kept))
}
