//! Bytes as packets of the directory, as a command, and as what happens to a line.
//!
//! Source of truth: `integration_tests::fuzz::line`. Deliberately not here: what is done.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| integration_tests::fuzz::line(data));
