#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqt_conformance::fuzz::varints(data));
