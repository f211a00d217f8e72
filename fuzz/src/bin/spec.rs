//! Searches for input that breaks `medallion_fuzz::spec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medallion_fuzz::spec(bytes));
