//! Bytes as images of processors and subchannels, and as stored status.
//!
//! Source of truth: `integration_tests::fuzz::images`. Deliberately not here: what is done.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| integration_tests::fuzz::images(data));
