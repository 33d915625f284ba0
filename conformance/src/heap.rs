//! What a thread takes from the heap: how much it holds, the most it has held, and how much it
//! has asked for altogether.
//!
//! A binary that wants to know installs the allocator that counts:
//!
//! ```
//! use moqt_conformance::heap::{Counting, Measured};
//!
//! #[global_allocator]
//! static ALLOCATOR: Counting = Counting;
//!
//! let measured = Measured::begin();
//! drop(vec![0_u8; 1000]);
//! assert_eq!((measured.held(), measured.peak(), measured.allocated()), (0, 1000, 1000));
//! ```
//!
//! Where it is not installed every count stays 0, so that a bound on one holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting for the thread that asks. What one thread allocates and
/// another frees is counted wrong; nobody does that here.
#[derive(Debug)]
pub struct Counting;

/// What the thread takes from a moment on.
///
/// One may begin while another is measuring, and ends before it.
#[derive(Debug)]
pub struct Measured {
    held: i64,
    allocated: u64,
    /// The peak when this began, for the one that was measuring already.
    outer_peak: i64,
}

impl Measured {
    /// Counts from now on.
    pub fn begin() -> Self {
        let held = HELD.get();
        Self { held, allocated: ALLOCATED.get(), outer_peak: PEAK.replace(held) }
    }

    /// How many bytes more are held now than at the beginning.
    pub fn held(&self) -> i64 {
        HELD.get() - self.held
    }

    /// The most bytes that were held at once beyond those at the beginning.
    pub fn peak(&self) -> i64 {
        PEAK.get() - self.held
    }

    /// The bytes asked for since the beginning, whether they have been given back or not. What
    /// grows counts with all of its new size.
    pub fn allocated(&self) -> u64 {
        ALLOCATED.get() - self.allocated
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        PEAK.set(PEAK.get().max(self.outer_peak));
    }
}

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// A thread that is ending counts no more.

fn count(bytes: usize) {
    let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + bytes as u64));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + signed(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn discount(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get() - signed(bytes)));
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// SAFETY: everything is left to the system's allocator.
#[allow(unsafe_code, reason = "the only way to count")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        discount(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        discount(layout.size());
        count(new_size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
