#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapgate_fuzz::migration::check(data));
