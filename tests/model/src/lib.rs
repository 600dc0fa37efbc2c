//! The migration machines in a small world, for a model checker.
//!
//! The world has one VM, two or three SUs, the ownership record, a network that may do what it
//! likes, and ports that answer at any later time or fail. The machines are those of
//! `monitor_core`: what is checked is what runs. Everything that happens is an [`Action`]; a
//! search takes each in each state.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: what must hold in every state is
//! a property in `properties`; what must hold when something happens is noted as the state's
//! breach. Deliberately not here: time, which is an action; the bytes of frames; drivers.

mod action;
mod bounds;
mod ends;
mod frame;
mod heal;
mod operate;
mod search;
mod state;
mod step;

pub use action::{Action, Event, Mishap};
pub use bounds::{Bounds, Fault};
pub use frame::frame_name;
pub use search::{Report, search};
pub use state::State;

use stateright::{Model, Property};

use self::{ends::su_of, heal::Healed, state::Device};

/// The world within its bounds.
#[derive(Debug)]
pub struct World {
    /// The bounds.
    pub bounds: Bounds,
    healed: Healed,
}

impl World {
    /// A world within these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, healed: Healed::default() }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.breach.is_none() {
            action::all(state, &self.bounds, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        step::after(state, &self.bounds, action)
    }

    fn format_step(&self, state: &State, action: Action) -> Option<String> {
        step::after(state, &self.bounds, action).map(|state| format!("{state:?}"))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("the guest runs on one SU at most", runs_once),
            Property::always("who runs the guest owns the record", runner_owns_record),
            Property::always("who uses the device owns the record", user_owns_record),
            Property::always("every step keeps the rules", breaks_nothing),
            Property::always("a world that heals comes to rest, its guest running", heals),
            Property::sometimes("the guest moves", moves),
            Property::sometimes("the source takes the record back", is_taken_back),
            Property::sometimes("the source takes back what is only claimed", is_taken_over),
        ]
    }
}

fn breaks_nothing(_: &World, state: &State) -> bool {
    state.breach.is_none()
}

fn runs_once(_: &World, state: &State) -> bool {
    state.sus.iter().filter(|su| su.copy.runs.is_some()).count() <= 1
}

fn runner_owns_record(_: &World, state: &State) -> bool {
    state.numbered().all(|(number, su)| su.copy.runs.is_none_or(|epoch| state.owns(number, epoch)))
}

fn user_owns_record(_: &World, state: &State) -> bool {
    let is_rightful = |number: u8, device: Device| match device {
        Device::Usable(epoch) => state.owns(number, epoch),
        // What the source has taken back meanwhile is fenced before its guest runs.
        Device::Ready(epoch) => {
            let record = state.record;
            let is_its = su_of(record.owner) == number;
            epoch < record.epoch.get() || (epoch == record.epoch.get() && is_its)
        }
        Device::Free | Device::Assigned | Device::Quiet(_) => true,
    };
    let mut sus = state.numbered();
    sus.all(|(number, su)| su.copy.devices.iter().all(|device| is_rightful(number, *device)))
}

fn heals(world: &World, state: &State) -> bool {
    world.healed.comes_to_rest(state, &world.bounds)
}

fn moves(_: &World, state: &State) -> bool {
    state.su(1).copy.runs.is_some()
}

fn is_taken_back(_: &World, state: &State) -> bool {
    state.owns(0, 2) && state.su(0).copy.runs.is_some()
}

fn is_taken_over(_: &World, state: &State) -> bool {
    state.owns(0, 3) && state.su(0).copy.runs.is_some()
}
