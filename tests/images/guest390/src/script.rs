//! What the guest's system does and says when the monitor tells it of a migration.
//!
//! Source of truth: VM2000 manual, guest messages of a live migration, to the letter. Invariants:
//! each event of a migration is answered once, at its end. Deliberately not here: announcing LAN
//! lines on the network, for which this guest has no adapter.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::{
    interface::{CONFIGURATION_BYTES, INITIAL_CONFIGURATION, LAN_COUNT, LAN_MAX, answer, request},
    monitor::{self, Name, answer as say_answer, say},
};

/// Whether RECOVERY-START is locked.
static LOCKED: AtomicBool = AtomicBool::new(false);
/// The server configuration that the guest runs on, as it knows.
static CONFIGURATION: [AtomicU64; CONFIGURATION_BYTES / 8] =
    [const { AtomicU64::new(0) }; CONFIGURATION_BYTES / 8];

/// Learns the server configuration.
pub(crate) fn learn_configuration() {
    let name = monitor::configuration();
    for (word, bytes) in CONFIGURATION.iter().zip(name.0.as_chunks().0) {
        word.store(u64::from_be_bytes(*bytes), Relaxed);
    }
}

fn known_configuration() -> Name<CONFIGURATION_BYTES> {
    let mut name = [0; CONFIGURATION_BYTES];
    for (bytes, word) in name.as_chunks_mut().0.iter_mut().zip(&CONFIGURATION) {
        *bytes = word.load(Relaxed).to_be_bytes();
    }
    Name(name)
}

/// Does what belongs to an event of a migration, and answers.
pub(crate) fn run(event: u32) {
    match event {
        request::MOVE_COMING => {
            say(format_args!("% ETMDR01 DYNAMIC RECONFIGURATION WITH FUNCTION 'MIGRATE' STARTED"));
            lock(true);
            say_answer(answer::READY);
        }
        request::MOVE_ABANDONED => {
            lock(false);
            say_answer(answer::READY);
        }
        request::MOVED => {
            let source = known_configuration();
            learn_configuration();
            let (target, initial) = (
                known_configuration(),
                monitor::text::<CONFIGURATION_BYTES>(INITIAL_CONFIGURATION),
            );
            say(format_args!(
                "% ETMDR03 LIVE MIGRATION FROM SOURCE CONFIGURATION '{source}' TO TARGET \
                 CONFIGURATION '{target}' FINISHED. INITIAL CONFIGURATION WAS '{initial}'"
            ));
            say_answer(answer::RESUMED);
        }
        request::NETWORK_UP => {
            for number in 0..monitor::parameter(LAN_COUNT).min(LAN_MAX as u64) {
                match monitor::lan_line(number) {
                    (name, false) => say(format_args!("% BCA07DC LINE \"{name}\" active")),
                    (name, true) => say(format_args!("% BCA05EC VLAN-LINE \"{name}\" active")),
                }
            }
            lock(false);
            say_answer(answer::READY);
        }
        _ => {}
    }
}

/// Sets RECOVERY-START, and says so if that is a change.
fn lock(locked: bool) {
    let name = |locked| if locked { "LOCKED" } else { "*AUTOMATIC" };
    if LOCKED.swap(locked, Relaxed) != locked {
        say(format_args!(
            "% MCS1002 GLOBAL MSCF CONFIGURATION PARAMETER 'RECOVERY-START' CHANGED FROM '{}' TO \
             '{}'",
            name(!locked),
            name(locked)
        ));
    }
}
