//! The faults of a run: which are planned, which are due, and who has inflicted them.
//!
//! A moment is noticed where a frame or a question passes (module `watch`). What passes there is
//! held back until every fault of the moment was inflicted: those of the link and the directory
//! at once, the others in the thread of the monitor that they befall. So a fault always hits the
//! same place, whatever the threads do.
//!
//! Source of truth: the help of `su390 migrate`. Invariants: each fault is inflicted at most once;
//! nothing is held for a monitor that has ended. Deliberately not here: what a monitor does.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool, AtomicU32,
        Ordering::{AcqRel, Acquire, Release},
    },
    mpsc,
};

use monitor_core::{
    limits::DEVICES_MAX,
    units::{DeviceSlot, Micros, Tick},
};

use super::{Clock, Event};
use crate::{
    config::{Fault, FaultPoint, Moment},
    console::{Inflicted, Stamp},
    machine::Machine,
};

/// How long a slow directory cannot be reached.
const SLOW: Micros = Micros::from_millis(2_000);

/// One of the two ends of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// A fault that is due, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    place: usize,
    pub(super) fault: Fault,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Planned,
    Due,
    Inflicted(Tick),
    /// The monitor that had to inflict it has ended before.
    Missed,
}

/// What all threads of a run know of its faults.
#[derive(Debug)]
pub(super) struct Faults {
    clock: Clock,
    began: Tick,
    events: Mutex<mpsc::Sender<Event>>,
    /// Whether a moment may still come at which something is to happen.
    watches: AtomicBool,
    /// How often the connection was cut.
    cuts: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    points: Vec<(FaultPoint, Course)>,
    has_left: [bool; 2],
    is_lost: [bool; 2],
    gave_up: bool,
    severed: bool,
    /// Until when the directory cannot be reached.
    gone_until: Option<Tick>,
    answers_to_lose: u32,
    /// The VM's machine on the target.
    copy: Option<Arc<Machine>>,
}

impl Faults {
    /// Faults that are still to come.
    pub(super) fn new(points: &[FaultPoint], clock: Clock, events: mpsc::Sender<Event>) -> Self {
        let points: Vec<_> = points.iter().map(|point| (*point, Course::Planned)).collect();
        Self {
            clock,
            began: clock.now(),
            events: Mutex::new(events),
            watches: AtomicBool::new(!points.is_empty()),
            cuts: AtomicU32::new(0),
            state: Mutex::new(State { points, ..State::default() }),
        }
    }

    /// Whether moments have to be noticed.
    pub(super) fn watches(&self) -> bool {
        self.watches.load(Acquire)
    }

    /// The moment has come. What passes is to be held back as long as this gives `true`.
    pub(super) fn reach(&self, moment: Moment) -> bool {
        if !self.watches() {
            return false;
        }
        let mut state = self.state();
        let mut due = Vec::new();
        for (place, (point, course)) in state.points.iter_mut().enumerate() {
            if point.moment == moment && *course == Course::Planned {
                *course = Course::Due;
                due.push(Due { place, fault: point.fault });
            }
        }
        for due in due.into_iter().filter(|due| owner(due.fault).is_none()) {
            state.begin(due.fault, self.clock.now());
            if matches!(due.fault, Fault::CutLink | Fault::SeverLink) {
                self.cuts.fetch_add(1, AcqRel);
            }
            self.settle(&mut state, due, "");
        }
        state.miss_orphans();
        let waits = |(point, course): &(FaultPoint, Course)| {
            point.moment == moment && *course == Course::Due
        };
        state.points.iter().any(waits)
    }

    /// A fault that this monitor has to inflict now.
    pub(super) fn due(&self, side: Side) -> Option<Due> {
        if !self.watches() {
            return None;
        }
        let state = self.state();
        let mut places = state.points.iter().enumerate();
        places.find_map(|(place, (point, course))| {
            let fault = point.fault;
            (*course == Course::Due && owner(fault) == Some(side)).then_some(Due { place, fault })
        })
    }

    /// The fault was inflicted; `note` says what is not as its name says.
    pub(super) fn done(&self, due: Due, note: &'static str) {
        self.settle(&mut self.state(), due, note);
    }

    fn settle(&self, state: &mut State, due: Due, note: &str) {
        let now = self.clock.now();
        if let Some((point, course)) = state.points.get_mut(due.place) {
            *course = Course::Inflicted(now);
            let text = format!("{point}: {}{note}", text(point.fault));
            let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody listens any more only when the run is over.
            drop(events.send(Event::Fault(Stamp::now(), text)));
        }
        let to_come =
            |(_, course): &(FaultPoint, Course)| matches!(course, Course::Planned | Course::Due);
        self.watches.store(state.points.iter().any(to_come), Release);
    }

    /// How often the connection was cut; both ends notice it at their next use.
    pub(super) fn cuts(&self) -> u32 {
        self.cuts.load(Acquire)
    }

    /// Whether there is no link any more.
    pub(super) fn is_severed(&self) -> bool {
        self.state().severed
    }

    /// Whether the directory cannot be reached now.
    pub(super) fn is_directory_gone(&self) -> bool {
        self.state().gone_until.is_some_and(|until| self.clock.now() < until)
    }

    /// Whether an answer of the directory that has just come is lost.
    pub(super) fn takes_answer(&self) -> bool {
        let mut state = self.state();
        let takes = state.answers_to_lose > 0;
        state.answers_to_lose = state.answers_to_lose.saturating_sub(1);
        takes
    }

    /// The VM was set up on the target.
    pub(super) fn built(&self, copy: &Arc<Machine>) {
        self.state().copy.get_or_insert_with(|| Arc::clone(copy));
    }

    /// The VM's machine on the target, if it was set up there.
    pub(super) fn copy(&self) -> Option<Arc<Machine>> {
        self.state().copy.clone()
    }

    /// An SU is gone for good, and with it the machine.
    pub(super) fn lose(&self, side: Side, machine: Option<&Machine>) {
        if let Some(machine) = machine {
            machine.stop();
            machine.with_subsystem(|subsystem| {
                let mut slots = (0..DEVICES_MAX).map(DeviceSlot::new);
                while slots.next().is_some_and(|slot| subsystem.detach(slot).is_ok()) {}
            });
        }
        self.state().is_lost[side as usize] = true;
    }

    /// Whether an SU is gone.
    pub(super) fn is_lost(&self, side: Side) -> bool {
        self.state().is_lost[side as usize]
    }

    /// A monitor does nothing more.
    pub(super) fn leave(&self, side: Side) {
        let mut state = self.state();
        state.has_left[side as usize] = true;
        state.miss_orphans();
    }

    /// Whether a monitor has ended.
    pub(super) fn has_left(&self, side: Side) -> bool {
        self.state().has_left[side as usize]
    }

    /// The source has lost its patience with a doubt.
    pub(super) fn give_up(&self) {
        self.state().gave_up = true;
    }

    /// Whether the doubt stays for good.
    pub(super) fn gave_up(&self) -> bool {
        self.state().gave_up
    }

    /// What has become of each fault.
    pub(super) fn report(&self) -> Vec<Inflicted> {
        let inflicted = |(point, course): &(FaultPoint, Course)| Inflicted {
            point: point.to_string(),
            at_ms: match course {
                Course::Inflicted(at) => Some(at.since(self.began).get() / 1000),
                Course::Planned | Course::Due | Course::Missed => None,
            },
        };
        self.state().points.iter().map(inflicted).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What a fault of the link or the directory means for everybody.
    fn begin(&mut self, fault: Fault, now: Tick) {
        match fault {
            Fault::SeverLink => self.severed = true,
            Fault::GoneDirectory => self.gone_until = Some(Tick::new(u64::MAX)),
            Fault::SlowDirectory => self.gone_until = Some(now.after(SLOW)),
            Fault::LostAnswer => self.answers_to_lose += 1,
            Fault::CutLink
            | Fault::RestartSource
            | Fault::RestartTarget
            | Fault::LoseSource
            | Fault::LoseTarget
            | Fault::Cancel => {}
        }
    }

    /// Nobody is there any more who could inflict these.
    fn miss_orphans(&mut self) {
        for (point, course) in &mut self.points {
            let orphaned = owner(point.fault).is_some_and(|side| self.has_left[side as usize]);
            if orphaned && matches!(course, Course::Planned | Course::Due) {
                *course = Course::Missed;
            }
        }
    }
}

/// Whose monitor inflicts a fault; those of link and directory happen at once.
const fn owner(fault: Fault) -> Option<Side> {
    match fault {
        Fault::RestartSource | Fault::LoseSource | Fault::Cancel => Some(Side::Source),
        Fault::RestartTarget | Fault::LoseTarget => Some(Side::Target),
        Fault::CutLink
        | Fault::SeverLink
        | Fault::GoneDirectory
        | Fault::SlowDirectory
        | Fault::LostAnswer => None,
    }
}

/// What happens, in words.
const fn text(fault: Fault) -> &'static str {
    match fault {
        Fault::CutLink => "the connection is cut",
        Fault::SeverLink => "the connection is cut for good",
        Fault::GoneDirectory => "the cluster directory cannot be reached any more",
        Fault::SlowDirectory => "the cluster directory cannot be reached for 2 s",
        Fault::LostAnswer => "the next answer of the cluster directory is lost",
        Fault::RestartSource => "the monitor of the source is restarted",
        Fault::RestartTarget => "the monitor of the target is restarted",
        Fault::LoseSource => "the source SU is lost",
        Fault::LoseTarget => "the target SU is lost",
        Fault::Cancel => "the operator cancels the move",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(points: &[(Fault, Moment)]) -> (Faults, mpsc::Receiver<Event>) {
        let point =
            |(fault, moment): &(Fault, Moment)| FaultPoint { fault: *fault, moment: *moment };
        let points: Vec<_> = points.iter().map(point).collect();
        let (sender, events) = mpsc::channel();
        (Faults::new(&points, Clock::start(), sender), events)
    }

    #[test]
    fn a_moment_is_held_until_its_fault_is_inflicted_by_its_own_monitor() {
        let (faults, events) = faults(&[(Fault::RestartTarget, Moment::Commit)]);
        assert!(!faults.reach(Moment::Ready));
        assert_eq!(faults.due(Side::Target), None);
        assert!(faults.reach(Moment::Commit) && faults.reach(Moment::Commit));
        assert_eq!(faults.due(Side::Source), None);
        let due = faults.due(Side::Target).unwrap();
        faults.done(due, "");
        assert!(!faults.reach(Moment::Commit) && !faults.watches());
        assert!(matches!(events.try_recv(), Ok(Event::Fault(_, text)) if text.contains("target")));
        assert!(faults.report().iter().all(|it| it.at_ms.is_some()));
    }

    #[test]
    fn nothing_is_held_for_a_monitor_that_has_ended() {
        let (faults, _events) = faults(&[(Fault::LoseSource, Moment::Release)]);
        faults.leave(Side::Source);
        assert!(!faults.reach(Moment::Release));
        assert_eq!(faults.report().first().map(|it| it.at_ms), Some(None));
    }

    #[test]
    fn an_answer_is_lost_once_and_a_directory_that_is_gone_stays_gone() {
        let (faults, _events) =
            faults(&[(Fault::LostAnswer, Moment::Check), (Fault::GoneDirectory, Moment::Claim)]);
        assert!(!faults.reach(Moment::Check));
        assert!(faults.takes_answer() && !faults.takes_answer());
        assert!(!faults.is_directory_gone());
        assert!(!faults.reach(Moment::Claim) && faults.is_directory_gone());
    }
}
