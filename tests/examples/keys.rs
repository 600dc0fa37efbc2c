//! What changed storage keys cost in the blackout: a guest of 4 GiB, 1 % of whose keys change just
//! before the stop, moved by both drivers in one thread.
//!
//! Run with `cargo run --release -p integration-tests --example keys`. The time is that of both
//! ends together, from the stop to the last key: reading, framing, checking, storing, and an
//! acknowledgement for each frame; no line is in between.
//!
//! Source of truth: the statistics of the source, and the clock of this machine. Deliberately not
//! here: the time of the drivers' other work in the blackout.

use std::time::Instant;

use host_harness::machine::Tracking;
use integration_tests::rig::{Moment, Rig};
use monitor_core::{limits::HEADER_BYTES, units::PageNumber, wire::pages::keys_body_bytes};

/// Pages of 4 GiB.
const PAGES: u64 = 1 << 20;

/// One key of so many changes.
const EACH: u64 = 100;

fn main() {
    println!("tracking  spread      keys  frames      bytes      time");
    for tracking in [Tracking::Marks, Tracking::Keys] {
        measure(tracking, "random", |n| splitmix(n) % PAGES);
        measure(tracking, "together", |n| n);
    }
}

/// Moves a guest of which these keys change.
fn measure(tracking: Tracking, spread: &str, page: impl Fn(u64) -> u64) {
    let mut rig = Rig::new(PAGES);
    rig.guest.storage.track_by(tracking);
    let (mut stopped, mut last) = (None, None);
    let ended = rig.attempt(&mut |moment, scene| match moment {
        Moment::Stopping => {
            for n in 0..PAGES / EACH {
                let number = PageNumber::new(page(n));
                scene.guest.storage.set_key(number, scene.guest.storage.key(number) ^ 0xF0);
            }
        }
        Moment::Stopped => stopped = Some(Instant::now()),
        Moment::KeysRead(_) if stopped.is_some() => last = Some(Instant::now()),
        _ => {}
    });
    let sent = ended.statistics.stopped_keys;
    let bytes = u64::from(sent.frames) * (HEADER_BYTES + keys_body_bytes()) as u64;
    let time = stopped.zip(last).map(|(stopped, last)| last - stopped).unwrap_or_default();
    let tracking = format!("{tracking:?}");
    println!(
        "{tracking:<9} {spread:<9} {:>6} {:>7} {bytes:>10} {:>6} us",
        sent.keys.get(),
        sent.frames,
        time.as_micros()
    );
}

/// The splitmix64 sequence.
const fn splitmix(n: u64) -> u64 {
    let mut mixed = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
