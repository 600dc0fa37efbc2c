//! Bytes as a course of a migration machine: commands, frames with any values, ends of
//! operations, answers, deadlines and the passing of time, in any order.
//!
//! Source of truth: ARCHITECTURE.md, "Machines" and "The handover"; the rules that no course may
//! break stand in [`crate::machines`]. Invariants: time does not go back; a case is chosen by its
//! name and not by its place, so that inputs keep their meaning when cases are added.
//! Deliberately not here: the search over all courses ([`crate::explore`]), whose clock stands.

use monitor_core::{
    migrate::{Arrival, Coordination, Input, SourcePhase, TargetPhase},
    units::{Epoch, Micros, StreamId, Tick},
    vm::Activity,
    wire::{DecodeError, Frame},
};

use super::{
    bodies::{Said, draw},
    bytes::Bytes,
    seeds::at,
};
use crate::{
    explore::Polling,
    machines::{
        Case, EPOCH, End, FIRST_LOAD, NEXT_LOAD, NOW, Name, Refusal, STREAM, SourceEnd, Stimulus,
        TargetEnd, frame_name,
    },
};

/// More effects than any step of a machine with a small VM has.
const EFFECTS_LIMIT: usize = 64;

/// More steps than any undoing of a small VM has.
const UNDOING_STEPS_LIMIT: usize = 32;

/// More cases than a course of interest has.
const CASES_LIMIT: usize = 512;

/// Takes bytes as a course of a source; gives the phase to which it leads.
///
/// # Panics
/// When a rule is broken.
#[must_use]
pub fn source_course(data: &[u8]) -> Option<SourcePhase> {
    let mut bytes = Bytes::new(data);
    let starts = [
        (Activity::Running, Coordination::Required),
        (Activity::Running, Coordination::IfPossible),
        (Activity::Down, Coordination::Required),
    ];
    let (activity, coordination) = bytes.one_of(&starts)?;
    run(SourceEnd::new(activity, coordination), bytes)
}

/// Takes bytes as a course of a target; gives the phase to which it leads.
///
/// # Panics
/// When a rule is broken.
#[must_use]
pub fn target_course(data: &[u8]) -> Option<TargetPhase> {
    run(TargetEnd::new(), Bytes::new(data))
}

fn run<E: End>(end: E, mut bytes: Bytes<'_>) -> Option<E::Phase> {
    let polling = bytes.one_of(&[Polling::AfterEachInput, Polling::AtAnyTime])?;
    let mut course = Course { end, polling, now: NOW, moments: vec![NOW], names: Vec::new() };
    while course.names.len() < CASES_LIMIT && course.step(&mut bytes).is_some() {}
    let phase = course.end.phase();
    course.finish();
    Some(phase)
}

/// A machine, and what has happened to it.
struct Course<E> {
    end: E,
    polling: Polling,
    now: Tick,
    /// Every moment at which something may have happened, the latest last.
    moments: Vec<Tick>,
    names: Vec<Name>,
}

impl<E: End> Course<E> {
    /// One thing happens; `None` when the bytes have run out.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        match bytes.byte()? % 8 {
            0 => {
                if let Some(case) = self.end.good_course() {
                    self.try_case(case);
                }
            }
            1 => self.advance(self.now.after(Micros::new(1 << (bytes.byte()? % 42)))),
            2 => self.poll(),
            3 => {
                if let Some(case) = draw_frame(bytes)? {
                    self.try_case(case);
                }
            }
            _ => {
                let code = bytes.u16()?;
                let chosen = self.end.cases().into_iter();
                if let Some(case) = chosen.min_by_key(|case| code_of(case.name).wrapping_sub(code))
                {
                    self.try_case(case);
                }
            }
        }
        Some(())
    }

    fn try_case(&mut self, case: Case) {
        let case = self.at_present(case);
        self.names.push(case.name);
        let can_happen = self.end.can_happen(&case);
        // A question that is still to be polled waits for its answer already.
        if !can_happen && self.polling == Polling::AtAnyTime {
            return;
        }
        let before = self.end.clone();
        let result = self.end.apply(&case);
        if result.is_err() && self.end != before {
            self.require_no_trace(&before, case, result);
        }
        if !matches!(case.stimulus, Stimulus::GuestStores) {
            let is_unchanged = self.end == before;
            // A guest that answered what was not asked may still answer what was.
            if can_happen && (result.is_ok() || case.name.kind != "guest") {
                self.end.consume(&case);
            }
            let effect_count =
                if self.polling == Polling::AfterEachInput { self.drain() } else { 0 };
            self.require(
                can_happen || result.is_err() || (is_unchanged && effect_count == 0),
                "an answer that nobody waits for changes nothing",
            );
        }
        if !can_happen {
            self.end = before;
        }
        self.require_kept();
    }

    /// The case at the present moment, or at its own if that is later.
    fn at_present(&mut self, case: Case) -> Case {
        let (case, now) = at(case, self.now);
        self.advance(now);
        case
    }

    fn advance(&mut self, moment: Tick) {
        if moment > self.now {
            self.now = moment;
            self.moments.push(moment);
        }
    }

    /// What is refused changes nothing but when the peer was heard last: at that former moment a
    /// refused frame changes nothing at all.
    fn require_no_trace(&self, before: &E, case: Case, result: Result<(), Refusal>) {
        let rule = "what is refused changes nothing";
        let Stimulus::Input(_, input @ Input::Frame(_)) = case.stimulus else {
            return self.require(false, rule);
        };
        let leaves_no_trace = |moment: &Tick| {
            let mut twin = before.clone();
            let again = twin.apply(&Case { stimulus: Stimulus::Input(*moment, input), ..case });
            again == result && twin == *before
        };
        self.require(self.moments.iter().rev().any(leaves_no_trace), rule);
    }

    /// Polls one effect.
    fn poll(&mut self) {
        if self.end.poll(self.now).is_none() {
            self.end.settle();
        }
        self.require_kept();
    }

    /// Polls all effects; gives their number.
    fn drain(&mut self) -> usize {
        for count in 0..EFFECTS_LIMIT {
            if self.end.poll(self.now).is_none() {
                self.end.settle();
                return count;
            }
        }
        self.require(false, "the effects of a step come to an end");
        EFFECTS_LIMIT
    }

    /// When all is polled there is room again, and what is being undone comes to its end when it
    /// is well answered.
    fn finish(mut self) {
        self.names.push(Name { kind: "good course", detail: "" });
        self.drain();
        self.require(self.end.takes_input(), "when all is polled there is room");
        for _ in 0..UNDOING_STEPS_LIMIT {
            if !self.end.is_undoing() {
                break;
            }
            if let Some(case) = self.end.good_course() {
                let case = self.at_present(case);
                let _ = self.end.apply(&case);
                self.end.consume(&case);
            }
            self.drain();
        }
        self.require(!self.end.is_undoing(), "undoing ends");
        self.require_kept();
    }

    fn require_kept(&self) {
        if let Some(rule) = self.end.breach() {
            self.require(false, rule);
        }
    }

    /// Panics with the course unless the rule is kept.
    fn require(&self, is_kept: bool, rule: &str) {
        let names = || self.names.iter().map(Name::to_string).collect::<Vec<_>>().join("\n  ");
        assert!(is_kept, "rule broken: {rule}, at {:?} after\n  {}", self.now, names());
    }
}

/// A number for a name that stays when other names are added: FNV-1a, folded.
pub(super) fn code_of(name: Name) -> u16 {
    let bytes = name.kind.bytes().chain([0]).chain(name.detail.bytes());
    let hash = bytes
        .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

/// A frame with values that may be any; the inner `None` when they make no frame.
fn draw_frame(bytes: &mut Bytes<'_>) -> Option<Option<Case>> {
    let identity = bytes.byte()?;
    let load = if identity & 1 == 0 { FIRST_LOAD } else { NEXT_LOAD };
    let said = Said { heard: u64::from(identity >> 4), load, is_second: false };
    let (kind, body) = draw(bytes, said)?;
    let Ok::<_, DecodeError>(frame) = Frame::parse(kind, &body) else {
        return Some(None);
    };
    let arrival = Arrival {
        stream: if identity & 6 == 6 { StreamId::new(0) } else { STREAM },
        epoch: if identity & 10 == 10 { Epoch::new(u64::MAX) } else { EPOCH },
        sequence: u64::from(identity),
        // The rules of a source know two loads.
        frame: if matches!(frame, Frame::Built(_)) { Frame::Built(load) } else { frame },
    };
    let name = Name { kind: frame_name(&frame), detail: "with any values" };
    let stimulus = Stimulus::Input(NOW, Input::Frame(arrival));
    Some(Some(Case { name, stimulus }))
}
