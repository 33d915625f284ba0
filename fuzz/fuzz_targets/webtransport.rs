#![no_main]

use moqt_conformance::heap::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqt_conformance::fuzz::webtransport(data));
