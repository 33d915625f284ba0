//! Counts the bytes of the heap that a thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counting what the thread that asks holds. What one thread allocates
/// and another frees is counted wrong; nobody does that here.
#[derive(Debug)]
pub(crate) struct LiveBytes;

/// What a thread holds since a moment.
#[derive(Debug)]
pub(crate) struct Measured(i64);

impl Measured {
    pub(crate) fn begin() -> Self {
        Self(LIVE.get())
    }

    /// How many bytes more there are now than at that moment.
    pub(crate) fn now(&self) -> i64 {
        LIVE.get() - self.0
    }
}

fn count(bytes: usize, sign: i64) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    // A thread that is ending counts no more.
    let _ = LIVE.try_with(|live| live.set(live.get() + sign * bytes));
}

// SAFETY: everything is left to the system's allocator.
#[allow(unsafe_code, reason = "the only way to count")]
unsafe impl GlobalAlloc for LiveBytes {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(new_size, 1);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
