#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqt_conformance::fuzz::track_name_text(data));
