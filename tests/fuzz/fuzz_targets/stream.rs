//! Bytes as the stream of a peer and what else happens, into a real driver.
//!
//! Source of truth: `integration_tests::fuzz::stream`. Deliberately not here: what is done.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| integration_tests::fuzz::stream(data));
