//! What is measured: each case does one thing a given number of times, on a fixture that is
//! named in its documentation. The binaries and benches here only count and print.

mod alloc_count;
pub mod codec;
pub mod connection;
pub mod floods;
pub mod goodput;
pub mod loopback;
pub mod relay;
pub mod relays;
pub mod udp;

pub use alloc_count::CountingAllocator;

/// Something to measure once, prepared so that only [`run`](Self::run) counts.
pub trait Case {
    /// Does it, on as many objects (messages, …) as it was prepared for.
    fn run(&mut self) -> u64;
}
