//! What the guest's system does and says when the monitor tells it of a migration.
//!
//! A script is a list of actions, one after the other, each finished before the next begins. An
//! action is a pure function of the event, the number of the step and a few facts.
//!
//! | event | actions |
//! | --- | --- |
//! | move coming | ETMDR01, work taken from processors that are lost, MCS1002 to locked, ready; or ETMDR04, refused; or nothing |
//! | move abandoned | processors to work again, MCS1002 back if it was locked, ready |
//! | moved | processors that are there to work again, ETMDR03, resumed |
//! | network up | each line announced and reported, MCS1002 back if it was locked, ready |
//!
//! Source of truth: VM2000 manual, guest messages of a live migration, to the letter. Invariant:
//! each event has at most one answer, at the end. Deliberately not here: channel programs and
//! interruptions ([`super::system`]).

use monitor_core::vm::{GuestAnswer, GuestEvent};

use super::Manner;

/// One action of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Writes a console line.
    Say(&'static str),
    /// Locks RECOVERY-START and says so.
    Lock,
    /// Sets RECOVERY-START back to automatic and says so.
    Unlock,
    /// Notes the new server configuration and says that the migration is finished.
    Finish,
    /// Sends the announcement of the LAN line with this number.
    Announce(u64),
    /// Says that the LAN line with this number is active.
    Report(u64),
    /// Tells the processors that the move takes away to leave their work.
    Leave,
    /// Waits until they have.
    AwaitLeft,
    /// Lets all processors that are operational go on with their work.
    Return,
    /// Nothing in this step.
    Pass,
    /// Answers the monitor; the script has ended.
    Answer(GuestAnswer),
    /// The script has ended without an answer.
    End,
}

/// What a script depends on beside event and step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) manner: Manner,
    /// Whether RECOVERY-START is locked at this moment.
    pub(super) locked: bool,
    pub(super) line_count: u64,
}

const STARTED: &str = "% ETMDR01 DYNAMIC RECONFIGURATION WITH FUNCTION 'MIGRATE' STARTED";
const REJECTED: &str = "% ETMDR04 DYNAMIC RECONFIGURATION WITH FUNCTION 'MIGRATE' REJECTED";
/// The line that goes with [`Action::Lock`].
pub(super) const LOCKED: &str = "% MCS1002 GLOBAL MSCF CONFIGURATION PARAMETER 'RECOVERY-START' \
     CHANGED FROM '*AUTOMATIC' TO 'LOCKED'";
/// The line that goes with [`Action::Unlock`].
pub(super) const UNLOCKED: &str = "% MCS1002 GLOBAL MSCF CONFIGURATION PARAMETER \
     'RECOVERY-START' CHANGED FROM 'LOCKED' TO '*AUTOMATIC'";

/// The action of a step; steps count from 0.
pub(super) fn action(event: GuestEvent, step: u64, facts: Facts) -> Action {
    if facts.manner == Manner::Silent {
        return Action::End;
    }
    match (event, step) {
        (GuestEvent::MoveComing, _) => move_coming(step, facts),
        (GuestEvent::MoveAbandoned | GuestEvent::Moved, 0) => Action::Return,
        (GuestEvent::MoveAbandoned, 1) => unlock(facts),
        (GuestEvent::MoveAbandoned, _) => Action::Answer(GuestAnswer::Ready),
        (GuestEvent::Moved, 1) => Action::Finish,
        (GuestEvent::Moved, _) => Action::Answer(GuestAnswer::Resumed),
        (GuestEvent::NetworkUp, _) => match step.checked_sub(2 * facts.line_count) {
            None if step.is_multiple_of(2) => Action::Announce(step / 2),
            None => Action::Report(step / 2),
            Some(0) => unlock(facts),
            Some(_) => Action::Answer(GuestAnswer::Ready),
        },
    }
}

fn move_coming(step: u64, facts: Facts) -> Action {
    match (facts.manner, step) {
        (Manner::Accept, 0) => Action::Say(STARTED),
        (Manner::Accept, 1) => Action::Leave,
        (Manner::Accept, 2) => Action::AwaitLeft,
        (Manner::Accept, 3) if facts.locked => Action::Pass,
        (Manner::Accept, 3) => Action::Lock,
        (Manner::Accept, _) => Action::Answer(GuestAnswer::Ready),
        (Manner::Refuse, 0) => Action::Say(REJECTED),
        (Manner::Refuse, _) => Action::Answer(GuestAnswer::Refused),
        (Manner::Silent, _) => Action::End,
    }
}

fn unlock(facts: Facts) -> Action {
    if facts.locked { Action::Unlock } else { Action::Pass }
}

/// The line that goes with [`Action::Finish`].
pub(super) fn finished(source: &str, target: &str, initial: &str) -> String {
    format!(
        "% ETMDR03 LIVE MIGRATION FROM SOURCE CONFIGURATION '{source}' TO TARGET CONFIGURATION \
         '{target}' FINISHED. INITIAL CONFIGURATION WAS '{initial}'"
    )
}

/// The line that goes with [`Action::Report`].
pub(super) fn active(name: &str, vlan: bool) -> String {
    if vlan {
        format!("% BCA05EC VLAN-LINE \"{name}\" active")
    } else {
        format!("% BCA07DC LINE \"{name}\" active")
    }
}

/// The event of the parameter that came with a service signal: four bits, behind as many with the
/// number of the question.
pub(super) fn event_of(parameter: u64) -> Option<GuestEvent> {
    match parameter & 0xF {
        _ if parameter > 0xFF => None,
        1 => Some(GuestEvent::MoveComing),
        2 => Some(GuestEvent::MoveAbandoned),
        3 => Some(GuestEvent::Moved),
        4 => Some(GuestEvent::NetworkUp),
        _ => None,
    }
}
