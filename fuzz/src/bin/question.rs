//! Searches for input that breaks `medallion_fuzz::question`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| medallion_fuzz::question(bytes));
