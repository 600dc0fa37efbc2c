//! Bytes as a frame, through every decoder of the wire.
//!
//! Source of truth: `integration_tests::fuzz::frame`. Deliberately not here: what is done.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| integration_tests::fuzz::frame(data));
