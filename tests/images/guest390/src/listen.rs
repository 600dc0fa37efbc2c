//! The guest's ear: it repeats each line that is typed on its console.
//!
//! Source of truth: [`crate::interface`]. Invariant: what was typed of a line so far is in guest
//! storage, so that it may be typed to its end on another machine. Deliberately not here: commands.

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use crate::monitor::{self, Name};

/// Bytes of the longest line; what is beyond is cut off.
const LINE_BYTES: usize = 64;

static LINE: [AtomicU8; LINE_BYTES] = [const { AtomicU8::new(b' ') }; LINE_BYTES];
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Takes what was typed.
pub(crate) fn regular() {
    for byte in monitor::input() {
        if byte == b'\n' {
            repeat();
        } else if let Some(target) = LINE.get(LENGTH.load(Relaxed)) {
            target.store(byte, Relaxed);
            LENGTH.fetch_add(1, Relaxed);
        }
    }
}

fn repeat() {
    let line = Name(LINE.each_ref().map(|byte| byte.swap(b' ', Relaxed)));
    LENGTH.store(0, Relaxed);
    monitor::say(format_args!("GUEST HEARS {line}"));
}
