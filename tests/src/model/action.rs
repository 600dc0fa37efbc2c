//! What can happen in a state of the world.
//!
//! Source of truth: the ports, which promise what may come of what was started. Invariants: the
//! same state always gives the same actions in the same order; a fault is offered only while the
//! bounds admit it. Deliberately not here: what comes of an action.

use monitor_core::{
    migrate::{SourcePhase, TargetPhase},
    vm::Operation,
};

use super::{
    bounds::{Bounds, Fault},
    ends::Machine,
    state::{Ask, Device, Item, Kept, Link, OPERATIONS, State, Su},
};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
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
    /// This end of a link sees that the link is cut or closed.
    SeeCut(u8, usize),
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
    /// Of a fault: this SU is lost.
    LoseSu(u8),
}

/// What happens without a fault once everything has begun, the most urgent first.
pub(super) fn course(state: &State, actions: &mut Vec<Action>) {
    actions.extend((0..state.delayed.len()).map(Action::Land));
    for (number, su) in state.numbered() {
        if su.asked.is_some() {
            actions.push(Action::Directory(number));
        }
        let owed = OPERATIONS.into_iter().filter(|operation| su.owes(*operation));
        actions.extend(owed.map(|operation| Action::Done(number, operation)));
        if su.told.is_some() {
            actions.push(Action::Answer(number));
        }
    }
    for (number, link) in (0..).zip(&state.links) {
        for side in [1, 0] {
            if is_deliverable(link, side) {
                actions.push(Action::Deliver(number, side));
            }
        }
    }
    for (number, link) in (0..).zip(&state.links) {
        for side in [1, 0] {
            if link.is_open[side] && (link.is_cut || !link.is_open[1 - side]) {
                actions.push(Action::SeeCut(number, side));
            }
        }
    }
    for (number, su) in state.numbered() {
        if su.end.as_ref().is_some_and(|end| end.get().deadline().is_some()) {
            actions.push(Action::Deadline(number));
        }
    }
}

/// Whether something reaches this end.
fn is_deliverable(link: &Link, side: usize) -> bool {
    link.is_open[side]
        && match link.queues[side].as_slice() {
            [] | [Item::Hole] => false,
            [..] => true,
        }
}

/// Everything that can happen.
pub(super) fn all(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    begin(state, bounds, actions);
    stores(state, bounds, actions);
    course(state, actions);
    for (number, su) in state.numbered().filter(|(_, su)| !su.is_lost) {
        su_faults(state, bounds, number, su, actions);
    }
    for (number, link) in (0..).zip(&state.links) {
        link_faults(state, bounds, number, link, actions);
    }
    if state.admits(bounds, Fault::Stray) {
        let comes = |(number, (from, to, _)): (usize, &(u8, u8, _))| {
            let end = state.su(*to).end.as_ref()?;
            let link = &state.links[usize::from(state.su(*to).link)];
            let is_peer = link.sus.contains(from);
            (is_peer && end.get().uses_link()).then_some(Action::Stray(number))
        };
        actions.extend(state.past.iter().enumerate().filter_map(comes));
    }
}

fn begin(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    if state.links.len() >= usize::from(bounds.attempts) {
        return;
    }
    let is_idle = |su: &Su| su.end.is_none() && !su.is_lost && su.owed == 0 && su.asked.is_none();
    for (from, source) in state.numbered() {
        if source.copy.runs.is_none() || !is_idle(source) {
            continue;
        }
        for (to, target) in state.numbered() {
            if from != to && is_idle(target) && !target.copy.is_built {
                actions.push(Action::Begin { from, to });
            }
        }
    }
}

/// Stores that an attempt may miss: while memory is copied, or before the last I/O has ended.
fn stores(state: &State, bounds: &Bounds, actions: &mut Vec<Action>) {
    if state.guest[0] >= bounds.stores {
        return;
    }
    for (number, su) in state.numbered() {
        let is_copied =
            su.end.as_ref().map(Kept::get).and_then(Machine::source_phase).is_some_and(|phase| {
                matches!(phase, SourcePhase::Precopy | SourcePhase::Suspended)
            });
        let can_store = su.copy.runs.is_some() || matches!(su.copy.device, Device::Usable(_));
        if is_copied && can_store {
            actions.push(Action::Store(number));
        }
    }
}

fn su_faults(state: &State, bounds: &Bounds, number: u8, su: &Su, actions: &mut Vec<Action>) {
    if state.admits(bounds, Fault::Failure) {
        let may_fail = |operation: &Operation| su.owes(*operation) && !su.is_overtaken(*operation);
        let owed = OPERATIONS.into_iter().filter(may_fail);
        let owed = owed.filter(|operation| *operation != Operation::DestroyVm);
        actions.extend(owed.map(|operation| Action::Fail(number, operation)));
    }
    if state.admits(bounds, Fault::Directory)
        && let Some(ask) = su.asked
    {
        actions.push(Action::Delay(number));
        if ask != Ask::Read {
            actions.push(Action::LoseAnswer(number));
        }
    }
    let machine = su.end.as_ref().map(Kept::get);
    match machine.and_then(Machine::source_phase) {
        Some(SourcePhase::Suspended) => {
            if state.admits(bounds, Fault::Overrun) {
                actions.push(Action::Overrun(number));
            }
            if state.admits(bounds, Fault::Cancel) {
                actions.push(Action::Cancel(number));
            }
        }
        Some(SourcePhase::Checking | SourcePhase::Preparing | SourcePhase::Precopy)
            if state.admits(bounds, Fault::Cancel) =>
        {
            actions.push(Action::Cancel(number));
        }
        _ => {}
    }
    if state.admits(bounds, Fault::SuLoss) && !state.links.is_empty() {
        actions.push(Action::LoseSu(number));
    }
}

fn link_faults(state: &State, bounds: &Bounds, number: u8, link: &Link, actions: &mut Vec<Action>) {
    if link.is_open == [false; 2] {
        return;
    }
    if state.admits(bounds, Fault::Cut) && !link.is_cut && link.is_open == [true; 2] {
        actions.push(Action::Cut(number));
    }
    if !state.admits(bounds, Fault::Loss) {
        return;
    }
    for side in [1, 0] {
        if link.is_open[side] && matches!(link.queues[side].first(), Some(Item::Frame(..))) {
            actions.push(Action::Lose(number, side));
            actions.push(Action::Spoil(number, side));
        }
    }
}

/// Whether nothing is left to do for the machines: each is over, or holds the guest for good.
pub(super) fn is_settled(su: &Su) -> bool {
    let phases = su.end.as_ref().map(|end| (end.get().source_phase(), end.get().target_phase()));
    match phases {
        None | Some((_, Some(TargetPhase::Dropped | TargetPhase::Empty))) => true,
        Some((phase, _)) => phase == Some(SourcePhase::InDoubt),
    }
}
