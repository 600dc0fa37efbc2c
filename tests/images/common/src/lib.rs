//! Tests of `monitor-core` that need no operating system: the host and each bare image run them
//! and write the same lines, byte for byte.
//!
//! An image calls [`report`] with its console, and a global allocator behind `alloc`; 2 MiB are
//! enough. The lines stand in the image's expected console, which the host's test `portable`
//! holds against its own lines.
//!
//! Source of truth: `tests/golden` for the bytes on the wire. Invariants: seeds are fixed, lines
//! have neither times nor anything of the machine; a rule that is broken is a panic that names
//! it. Deliberately not here: migrations.
#![no_std]

extern crate alloc;

use alloc::format;

use random::Random;

pub mod bitmap;
pub mod codec;
pub mod directory;
pub mod frames;
pub mod golden;
pub mod random;
pub mod samples;

/// What all numbers at random follow from.
const SEED: u64 = 0x390;

/// Runs everything and gives its lines.
///
/// # Panics
/// When the core breaks a rule.
pub fn report(line: &mut dyn FnMut(&str)) {
    let golden = golden::check();
    line(&format!("golden frames: {} are their bytes, digest {:016x}", golden.0, golden.1.get()));
    let packets = directory::check();
    line(&format!(
        "directory packets: {} are their bytes, digest {:016x}",
        packets.0,
        packets.1.get()
    ));
    let random = &mut Random::new(SEED);
    line(&format!("bitmap: courses equal a set, digest {:016x}", bitmap::courses(random).get()));
    let headers = frames::headers(random);
    line(&format!("headers: each is read as it was written, digest {:016x}", headers.get()));
    let images = frames::images(random);
    line(&format!("processors: each is read as it was written, digest {:016x}", images.get()));
    let (accepted, bodies) = frames::changed(random);
    line(&format!(
        "changed frames: {accepted} accepted, each with one encoding, digest {:016x}",
        bodies.get()
    ));
}
