//! Bytes as a course of the target machine.
//!
//! Source of truth: `integration_tests::fuzz::target`. Deliberately not here: what is done.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| integration_tests::fuzz::target(data));
