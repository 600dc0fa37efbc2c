//! The swarm: whole worlds, each made from one seed, to see what breaks.
//!
//! A world has two or three SUs and VMs, at least two moves, some at once and in both directions,
//! and faults of its profile. The migration machines, their drivers, the emulated machines and
//! the guests are the real ones; faults are in the ports and in the wire. Time goes from event to
//! event. Checkers outside of the core look at the emulated machines after every event.
//!
//! Source of truth: the seed, for everything. Invariants: the same seed and profile give the same
//! world, to the last event; a world has no thread, no clock and no order that a hash makes.
//! Deliberately not here: running many worlds at once, which the command line does.

mod build;
mod check;
mod deeds;
mod device;
mod directory;
mod draw;
mod fault;
mod neighbor;
mod plan;
mod reach;
mod recover;
mod run;
mod shared;
mod tally;
mod trace;
mod vm;
mod wire;
mod world;

use std::{
    cell::OnceCell,
    sync::{Arc, atomic::AtomicU64},
};

pub use fault::{End, FaultKind, Profile};
pub use reach::{ENOUGH_SEEDS, missed, why_unreachable};
pub use shared::{Flaw, Violation};
pub use tally::{Ending, Phase, Tally};

use crate::machine::Machine;
use plan::Plan;
use run::Lent;
use world::World;

/// Sets of memory for monitors: two for each attempt, and as many again for restarts.
const LENT: usize = 24;

/// Copies of VMs that one world can come to have.
const COPIES: usize = 12;

/// Memory that worlds use one after the other.
#[derive(Debug)]
pub struct Bench {
    lent: Vec<Lent>,
    /// Memory for the storage of guests.
    spare: Vec<Vec<AtomicU64>>,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// Memory for one world at a time.
    #[must_use]
    pub fn new() -> Self {
        Self { lent: (0..LENT).map(|_| Lent::new()).collect(), spare: Vec::new() }
    }
}

/// A world to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// From which everything follows.
    pub seed: u64,
    /// What may befall it.
    pub profile: Profile,
    /// A wrong deed that is planted.
    pub flaw: Option<Flaw>,
    /// Whether lines for people are wanted.
    pub is_traced: bool,
}

impl Order {
    /// The world of a seed, with nothing planted and no trace.
    #[must_use]
    pub const fn new(seed: u64, profile: Profile) -> Self {
        Self { seed, profile, flaw: None, is_traced: false }
    }
}

/// What came of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What may not be, in the order in which it was found.
    pub violations: Vec<Violation>,
    /// What the attempts met, and how they ended.
    pub tally: Tally,
    /// Of everything that happened, in its order.
    pub hash: u64,
    /// Events.
    pub events: u64,
    /// Virtual time, in microseconds.
    pub time_us: u64,
    /// The trace, if it was wanted.
    pub lines: Vec<String>,
}

/// Runs the world of an order.
#[must_use]
pub fn run(order: Order, bench: &mut Bench) -> Outcome {
    let arena: Vec<OnceCell<Arc<Machine>>> = (0..COPIES).map(|_| OnceCell::new()).collect();
    let plan = Plan::new(order.seed, order.profile);
    let shared = build::shared(&plan, &arena, std::mem::take(&mut bench.spare), order);
    let mut world = World::new(plan, shared, bench.lent.iter_mut());
    world.live();
    let shared = &world.shared;
    let violations = shared.violations.take();
    let mut tally = std::mem::take(&mut world.tally);
    tally.worlds = 1;
    tally.violations = u64::from(!violations.is_empty());
    let outcome = Outcome {
        violations,
        tally,
        hash: shared.trace.hash(),
        events: world.events,
        time_us: shared.now().since(plan::DAWN).get(),
        lines: shared.trace.take_lines(),
    };
    let spare = shared.spare.take();
    drop(world);
    let machines = arena.into_iter().filter_map(OnceCell::into_inner);
    let words = machines.filter_map(Arc::into_inner).map(|it| it.storage.into_words());
    bench.spare = words.chain(spare).collect();
    outcome
}
