#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapgate_fuzz::answers::check(data));
