//! Bytes as a course of the source machine.
//!
//! Source of truth: `integration_tests::fuzz::source`. Deliberately not here: what is done.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| integration_tests::fuzz::source(data));
