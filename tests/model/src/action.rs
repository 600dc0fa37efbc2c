//! What can happen in a state of the world.
//!
//! Source of truth: the ports, which promise what may come of what was started. Invariants: the
//! same state always gives the same actions in the same order; a fault is offered only while the
//! bounds admit it. Deliberately not here: what comes of an action.

use std::fmt;

use monitor_core::{
    migrate::{SourcePhase, TargetPhase},
    vm::Operation,
};

use super::{
    bounds::{Bounds, Fault},
    ends::Machine,
    state::{Ask, Device, Item, Kept, Link, OPERATIONS, State, Su},
    step::effect_count,
};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The operator of one SU begins to move the VM to another one.
    Begin {
        /// Where it runs.
        from: u8,
        /// Where it is to run.
        to: u8,
    },
    /// The guest stores on this SU, or I/O of it.
    Store(u8),
    /// The front of a link's queue reaches this end of it.
    Deliver(u8, usize),
    /// This end of a link sees that the connection is cut or closed.
    SeeCut(u8, usize),
    /// A new connection stands in the place of the one that was lost.
    Connect(u8),
    /// An operation of this SU succeeds.
    Done(u8, Operation),
    /// The guest answers on this SU.
    Answer(u8),
    /// The directory does what this SU asked, and answers.
    Directory(u8),
    /// A delayed write lands.
    Land(usize),
    /// The deadline of this SU's machine passes.
    Deadline(u8),
    /// The operator of this SU, which is in doubt, has seen that the target runs the VM, or that
    /// it is lost.
    Decide(u8),
    /// Of a fault: an operation of this SU fails.
    Fail(u8, Operation),
    /// Of a fault: the directory does what this SU asked, and its answer is lost.
    LoseAnswer(u8),
    /// Of a fault: what this SU asked stays under way, and the SU waits no longer.
    Delay(u8),
    /// Of a fault: the front of the queue to this end is lost.
    Lose(u8, usize),
    /// Of a fault: the front of the queue to this end is damaged, doubled or overtaken.
    Spoil(u8, usize),
    /// Of a fault: the link is cut.
    Cut(u8),
    /// Of a fault: a frame comes again, and the link does not notice.
    Stray(usize),
    /// Of a fault: the operator of this SU ends the attempt.
    Cancel(u8),
    /// Of a fault: the blackout takes too long.
    Overrun(u8),
    /// Of a fault: the monitor of this SU is restarted; what is under way comes to its end, or
    /// does not.
    Restart(u8, bool),
    /// Of a fault: this SU is lost.
    LoseSu(u8),
}

/// What goes wrong while an event is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The monitor is restarted behind so many effects, before the next one.
    Restart(u8),
    /// The journal cannot be written.
    Journal,
}

/// An event, and what goes wrong with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// The event.
    pub event: Event,
    /// What goes wrong while it is dealt with.
    pub mishap: Option<Mishap>,
}

impl From<Event> for Action {
    fn from(event: Event) -> Self {
        Self { event, mishap: None }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.event)?;
        self.mishap.map_or(Ok(()), |mishap| write!(formatter, " with {mishap:?}"))
    }
}

impl Action {
    /// The fault that it is.
    pub(super) const fn fault(self) -> Option<Fault> {
        match (self.event, self.mishap) {
            (_, Some(Mishap::Restart(_))) | (Event::Restart(..), None) => Some(Fault::Restart),
            (_, Some(Mishap::Journal)) => Some(Fault::Journal),
            (Event::Fail(..), None) => Some(Fault::Failure),
            (Event::LoseAnswer(_) | Event::Delay(_), None) => Some(Fault::Directory),
            (Event::Lose(..) | Event::Spoil(..), None) => Some(Fault::Loss),
            (Event::Cut(_), None) => Some(Fault::Cut),
            (Event::Stray(_), None) => Some(Fault::Stray),
            (Event::Cancel(_), None) => Some(Fault::Cancel),
            (Event::Overrun(_), None) => Some(Fault::Overrun),
            (Event::LoseSu(_), None) => Some(Fault::SuLoss),
            (
                Event::Begin { .. }
                | Event::Store(_)
                | Event::Deliver(..)
                | Event::SeeCut(..)
                | Event::Connect(_)
                | Event::Done(..)
                | Event::Answer(_)
                | Event::Directory(_)
                | Event::Land(_)
                | Event::Deadline(_)
                | Event::Decide(_),
                None,
            ) => None,
        }
    }
}

/// What happens without a fault once everything has begun, the most urgent first.
pub(super) fn course(state: &State, events: &mut Vec<Event>) {
    events.extend((0..state.delayed.len()).map(Event::Land));
    for (number, su) in state.numbered() {
        if su.asked.is_some() {
            events.push(Event::Directory(number));
        }
        let owed = OPERATIONS.into_iter().filter(|operation| su.owes(*operation));
        events.extend(owed.map(|operation| Event::Done(number, operation)));
        if su.told.is_some() {
            events.push(Event::Answer(number));
        }
    }
    for (number, link) in (0..).zip(&state.links) {
        let reached = [1, 0].into_iter().filter(|side| is_deliverable(link, *side));
        events.extend(reached.map(|side| Event::Deliver(number, side)));
    }
    for (number, link) in (0..).zip(&state.links) {
        let is_cut = |side: usize| link.is_open[side] && (link.is_cut || !link.is_open[1 - side]);
        let cut = [1, 0].into_iter().filter(|side| is_cut(*side));
        events.extend(cut.map(|side| Event::SeeCut(number, side)));
        if is_connectable(state, number, link) {
            events.push(Event::Connect(number));
        }
    }
    for (number, su) in state.numbered() {
        if su.end.as_ref().is_some_and(|end| end.get().deadline().is_some()) {
            events.push(Event::Deadline(number));
        }
    }
}

/// Whether something reaches this end.
fn is_deliverable(link: &Link, side: usize) -> bool {
    let is_hole = matches!(link.queues[side].as_slice(), [] | [Item::Hole]);
    link.is_open[side] && !is_hole
}

/// Whether both ends are there for another connection. A monitor answers for what it knows: by
/// its machine, by its journal, or that it knows nothing.
fn is_connectable(state: &State, number: u8, link: &Link) -> bool {
    let [source, target] = link.sus.map(|su| state.su(su));
    let wants =
        |su: &Su| su.link == number && su.end.as_ref().is_some_and(|end| end.get().wants_link());
    let answers = if target.end.is_some() { wants(target) } else { !target.is_lost };
    link.is_open == [false; 2] && wants(source) && answers
}

/// Everything that can happen.
pub(super) fn all(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    let mut events = Vec::new();
    begin(state, bounds, &mut events);
    course(state, &mut events);
    let may_restart = state.admits(bounds, Fault::Restart);
    let may_fail = state.admits(bounds, Fault::Journal);
    for event in events.iter().copied().filter(|event| !matches!(event, Event::Land(_))) {
        let mishap = |mishap| Action { event, mishap: Some(mishap) };
        if may_restart {
            let count = effect_count(state, event);
            actions.extend((1..count).map(Mishap::Restart).map(mishap));
        }
        if may_fail {
            actions.push(mishap(Mishap::Journal));
        }
    }
    stores(state, bounds, &mut events);
    for (number, su) in state.numbered().filter(|(_, su)| !su.is_lost) {
        su_events(state, bounds, number, su, &mut events);
    }
    for (number, link) in (0..).zip(&state.links) {
        link_events(state, bounds, number, link, &mut events);
    }
    strays(state, bounds, &mut events);
    actions.extend(events.into_iter().map(Action::from));
}

fn begin(state: &State, bounds: &Bounds, events: &mut Vec<Event>) {
    if state.links.len() >= usize::from(bounds.attempts) {
        return;
    }
    let is_idle = |su: &Su| su.end.is_none() && !su.is_lost;
    for (from, source) in state.numbered() {
        if source.copy.runs.is_none() || !is_idle(source) {
            continue;
        }
        for (to, target) in state.numbered() {
            if from != to && is_idle(target) && !target.copy.is_built {
                events.push(Event::Begin { from, to });
            }
        }
    }
}

/// Stores that an attempt may miss: while memory is copied, or before the last I/O has ended.
fn stores(state: &State, bounds: &Bounds, events: &mut Vec<Event>) {
    if state.guest[0] >= bounds.stores {
        return;
    }
    for (number, su) in state.numbered() {
        let phase = su.end.as_ref().map(Kept::get).and_then(Machine::source_phase);
        let is_copied = matches!(phase, Some(SourcePhase::Precopy | SourcePhase::Suspended));
        let can_store = su.copy.runs.is_some() || matches!(su.copy.devices[0], Device::Usable(_));
        if is_copied && can_store {
            events.push(Event::Store(number));
        }
    }
}

fn su_events(state: &State, bounds: &Bounds, number: u8, su: &Su, events: &mut Vec<Event>) {
    if state.admits(bounds, Fault::Failure) {
        let may_fail = |operation: &Operation| {
            let is_certain = su.is_settled(*operation) || *operation == Operation::DestroyVm;
            su.owes(*operation) && !is_certain
        };
        let owed = OPERATIONS.into_iter().filter(may_fail);
        events.extend(owed.map(|operation| Event::Fail(number, operation)));
    }
    if let (Some(ask), true) = (su.asked, state.admits(bounds, Fault::Directory)) {
        events.push(Event::Delay(number));
        if ask != Ask::Read {
            events.push(Event::LoseAnswer(number));
        }
    }
    match su.end.as_ref().map(Kept::get).and_then(Machine::source_phase) {
        Some(SourcePhase::InDoubt) => events.push(Event::Decide(number)),
        Some(
            phase @ (SourcePhase::Checking
            | SourcePhase::Preparing
            | SourcePhase::Precopy
            | SourcePhase::Suspended),
        ) => {
            if state.admits(bounds, Fault::Cancel) {
                events.push(Event::Cancel(number));
            }
            if phase == SourcePhase::Suspended && state.admits(bounds, Fault::Overrun) {
                events.push(Event::Overrun(number));
            }
        }
        _ => {}
    }
    if state.admits(bounds, Fault::Restart) && (su.end.is_some() || su.journal.is_some()) {
        events.push(Event::Restart(number, false));
        if su.owed != 0 {
            events.push(Event::Restart(number, true));
        }
    }
    if state.admits(bounds, Fault::SuLoss) && !state.links.is_empty() {
        events.push(Event::LoseSu(number));
    }
}

fn link_events(state: &State, bounds: &Bounds, number: u8, link: &Link, events: &mut Vec<Event>) {
    if state.admits(bounds, Fault::Cut) && !link.is_cut && link.is_open == [true; 2] {
        events.push(Event::Cut(number));
    }
    if !state.admits(bounds, Fault::Loss) {
        return;
    }
    for side in [1, 0] {
        if link.is_open[side] && matches!(link.queues[side].first(), Some(Item::Frame(..))) {
            events.push(Event::Lose(number, side));
            events.push(Event::Spoil(number, side));
        }
    }
}

fn strays(state: &State, bounds: &Bounds, events: &mut Vec<Event>) {
    if !state.admits(bounds, Fault::Stray) {
        return;
    }
    for (number, (from, to, _)) in state.past.iter().enumerate() {
        let su = state.su(*to);
        let hears = su.end.as_ref().is_some_and(|end| end.get().uses_link());
        if hears && state.links[usize::from(su.link)].sus.contains(from) {
            events.push(Event::Stray(number));
        }
    }
}

/// Whether nothing is left to do for the machine of this SU.
pub(super) fn is_at_rest(su: &Su) -> bool {
    let phases = su.end.as_ref().map(|end| (end.get().source_phase(), end.get().target_phase()));
    matches!(phases, None | Some((_, Some(TargetPhase::Dropped | TargetPhase::Empty))))
}

/// Whether this SU holds a guest of which it does not know whether it runs elsewhere.
pub(super) fn is_in_doubt(su: &Su) -> bool {
    let phase = su.end.as_ref().map(Kept::get).and_then(Machine::source_phase);
    phase == Some(SourcePhase::InDoubt)
}
