#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tapgate_fuzz::journal_bytes::check(data));
