//! A program without the standard library, on the host: its own entry point, allocator and
//! panic handler. It sets up one connection and exits with 0 if that asked for its control
//! stream.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::sync::Arc;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int, c_void};

use moqt_engine::{Action, Config, Dir, Draft, MoqtConnection, Role, Timestamp, Transport};

#[link(name = "c")]
unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn free(pointer: *mut c_void);
    fn abort() -> !;
}

struct CAllocator;

#[global_allocator]
static ALLOCATOR: CAllocator = CAllocator;

// SAFETY: C's allocator, with the size rounded up as C11 asks.
unsafe impl GlobalAlloc for CAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment is a power of two and divides the size.
        unsafe {
            aligned_alloc(layout.align().max(8), layout.pad_to_align().size().next_multiple_of(8))
                .cast()
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _layout: Layout) {
        // SAFETY: it came from `alloc`.
        unsafe { free(pointer.cast()) }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: it takes nothing and does not return.
    unsafe { abort() }
}

/// The precompiled `core` and `alloc` refer to these; since panics abort, nobody calls them.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: it takes nothing and does not return.
    unsafe { abort() }
}

#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let now = Timestamp::ZERO;
    let config = Arc::new(Config::default());
    let mut connection =
        MoqtConnection::new(Role::Client, Draft::D18, Transport::Quic, config, now);
    connection.handle_streams_available(now, Dir::Uni, 1);
    let opened = matches!(connection.poll_action(), Some(Action::OpenStream { .. }));
    c_int::from(!opened)
}
