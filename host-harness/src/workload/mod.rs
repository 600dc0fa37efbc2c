//! Guests that keep their whole state in guest storage and registers.
//!
//! A guest is a small operating system and workloads. [`Guest`] is its code: a value without
//! state. Everything that it remembers is in storage, registers and subchannels, so that a copy
//! made of these goes on at another server unit, and a copy that lacks a page or a register is
//! found out by [`check()`].
//!
//! Source of truth: `nucleus` for where things are; the file of each workload for what it does.
//! Invariants: processor 0 runs the system and all workloads but the hot set; the hot set runs
//! on processor 1 if there is one, else on processor 0; the processors workload runs on each; the
//! work of a processor that a move takes away stands still until it is back. Deliberately not
//! here: threads and clocks; a guest is stepped by its machine.

mod check;
mod hot_set;
mod idle;
mod ipl;
mod journal;
mod key_value;
mod keys;
mod messages;
mod network;
mod nucleus;
mod peer;
mod processors;
mod request;
mod routine;
mod script;
mod states;
mod sweep;
mod system;
#[cfg(test)]
mod tests;
mod tracks;
mod verdict;
mod visits;

pub use check::{check, has_left};
pub use ipl::{IplError, ipl};
pub use journal::{JOURNAL_BLOCKS, JOURNAL_DISKS_MAX};
pub use messages::message;
pub use peer::{Peer, Sight};
pub use tracks::JOURNAL_CYLINDERS;
pub use verdict::{Counts, Fault, Verdict};

use std::sync::Arc;

use monitor_core::units::{ConfigurationName, PageCount, ProcessorIndex, SubchannelNumber, Tick};

use crate::machine::{Context, Exception, Fill, Program, ProtocolAddress, Step};
use nucleus::{Block, BlockName, code};
use routine::Routine;

/// How fast a workload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many units of work each second: pages or operations.
    PerSecond(u32),
    /// As many as the processor can do.
    Unpaced,
}

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A timer that ticks a hundred times a second.
    Idle,
    /// Random pages of a window are dirtied.
    HotSet {
        /// Pages of the window.
        window: PageCount,
        /// Dirtyings.
        rate: Rate,
    },
    /// All pages that no other workload uses are dirtied in order.
    Sweep {
        /// Pages.
        rate: Rate,
    },
    /// As the sweep, in a guest that has nothing else, not even an operating system.
    MemoryOnly {
        /// Pages.
        rate: Rate,
    },
    /// A hash table with checksums is read and written at random.
    KeyValue {
        /// Slots of the table; 64 fit in a page.
        slots: u64,
        /// Operations.
        rate: Rate,
    },
    /// Numbered records are written to disks.
    Journal {
        /// Time from one record of a disk to the next.
        interval_us: u64,
    },
    /// Pings on the LAN lines are answered.
    Network,
    /// The messages of a partner at a channel-to-channel adapter are read.
    Messages {
        /// The adapter's subchannel.
        subchannel: SubchannelNumber,
    },
    /// Storage keys are set, used and reset, and found as they were left.
    Keys {
        /// Pages whose keys are used.
        pages: PageCount,
        /// Visits to pages.
        rate: Rate,
    },
    /// The host is told which pages are needed, and those are found as they were left.
    PageStates {
        /// Pages whose states change.
        pages: PageCount,
        /// Visits to pages.
        rate: Rate,
    },
    /// Every processor uses its timers and signals the others.
    Processors {
        /// Time from one round of a processor to the next.
        interval_us: u64,
    },
}

/// How the guest answers when it is told of a coming move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It secures itself and is ready.
    #[default]
    Accept,
    /// It refuses.
    Refuse,
    /// It answers nothing that it is told.
    Silent,
}

/// A line into the local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanLine {
    /// Its name, such as `L#MANLO1`.
    pub name: String,
    /// Whether it is a VLAN line.
    pub vlan: bool,
    /// Its subchannel.
    pub subchannel: SubchannelNumber,
}

/// The guest's protocol address on the line with this number.
#[must_use]
pub const fn line_address(line: u64) -> ProtocolAddress {
    let [.., low] = line.to_be_bytes();
    [10, 0, low, 2]
}

/// What a guest is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPlan {
    /// The workloads, each kind at most once.
    pub kinds: Vec<Kind>,
    /// How the guest answers.
    pub manner: Manner,
    /// What storage is filled with before the workloads are laid out.
    pub fill: Fill,
    /// The seed of everything random.
    pub seed: u64,
    /// The console's subchannel.
    pub console: SubchannelNumber,
    /// The subchannels of the journal's disks, which no other guest writes; of more than
    /// [`JOURNAL_DISKS_MAX`] the first ones are taken.
    pub journal: Vec<SubchannelNumber>,
    /// The lines that are announced after a move.
    pub lines: Vec<LanLine>,
    /// The server configuration at the VM's creation.
    pub initial_configuration: ConfigurationName,
}

impl GuestPlan {
    /// The code of the guest.
    #[must_use]
    pub fn program(&self) -> Arc<dyn Program> {
        if self.kinds.iter().any(|kind| matches!(kind, Kind::MemoryOnly { .. })) {
            Arc::new(sweep::MemoryOnly)
        } else {
            Arc::new(Guest)
        }
    }
}

/// The code of all guests with an operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guest;

impl Program for Guest {
    fn run(&self, context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
        match context.state.psw.address {
            code::MAIN => main(context, budget),
            code::EXTERNAL => handle(context, system::external_interruption),
            code::IO => handle(context, system::io_interruption),
            code::SUPERVISOR => handle(context, processors::supervisor_call),
            code::PROGRAM => handle(context, processors::program_interruption),
            _ => routine::run(context, budget, &ROUTINES),
        }
    }
}

/// The routines of all workloads.
const ROUTINES: [Routine; 1] = [processors::TASK];

/// Runs a handler, which ends by loading a PSW.
fn handle(
    context: &mut Context<'_>,
    handler: fn(&mut Context<'_>) -> Result<(), Exception>,
) -> Result<Step, Exception> {
    handler(context)?;
    Ok(worked(1, context.now()))
}

/// A step that did `count` units of work and has nothing else to do before `next`.
fn worked(count: u64, next: Tick) -> Step {
    Step { worked: u32::try_from(count).unwrap_or(u32::MAX), next_due: Some(next) }
}

/// A workload's part of the dispatcher.
type Run = fn(&mut Context<'_>, u32) -> Result<Step, Exception>;

/// All workloads; one that can be unpaced comes after those that cannot.
const WORKLOADS: [(BlockName, Run); 10] = [
    (BlockName::Idle, |context, budget| Ok(idle::run(context, budget)?)),
    (BlockName::Network, network::run),
    (BlockName::Messages, messages::run),
    (BlockName::Journal, journal::run),
    (BlockName::Processors, processors::run),
    (BlockName::Keys, keys::run),
    (BlockName::States, states::run),
    (BlockName::KeyValue, |context, budget| Ok(key_value::run(context, budget)?)),
    (BlockName::Sweep, sweep::run),
    (BlockName::HotSet, |context, budget| Ok(hot_set::run(context, budget)?)),
];

/// The processor of the hot set.
fn hot_set_processor(processor_count: u16) -> u16 {
    u16::from(processor_count > 1)
}

/// Whether a processor runs a workload.
fn runs_on(name: BlockName, processor: u16, processor_count: u16) -> bool {
    match name {
        BlockName::HotSet => processor == hot_set_processor(processor_count),
        BlockName::Processors => true,
        BlockName::System
        | BlockName::Idle
        | BlockName::Sweep
        | BlockName::KeyValue
        | BlockName::Journal
        | BlockName::Keys
        | BlockName::States
        | BlockName::Messages
        | BlockName::Network => processor == 0,
    }
}

/// The processor without which the work of a kind stands still.
#[must_use]
pub fn serving(kind: Kind, processor_count: u16) -> ProcessorIndex {
    let is_hot_set = matches!(kind, Kind::HotSet { .. });
    ProcessorIndex::new(if is_hot_set { hot_set_processor(processor_count) } else { 0 })
}

/// The dispatcher: the system first, then the workloads of this processor in turn.
fn main(context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
    if context.processor != 0 && system::leaves(context)? {
        return Ok(Step::default());
    }
    let system = if context.processor == 0 { system::run(context)? } else { Step::default() };
    let mut total = system.worked;
    let share = budget.div_ceil(8);
    loop {
        let mut round = Step::default();
        for (name, run) in WORKLOADS {
            let is_mine = runs_on(name, context.processor, context.processor_count());
            if !is_mine || !Block::new(context.storage, name).is_present()? {
                continue;
            }
            let left = budget.saturating_sub(total);
            if left == 0 {
                return Ok(worked(u64::from(total), context.now()));
            }
            let step = run(context, left.min(share))?;
            total += step.worked;
            if context.has_to_return() {
                return Ok(worked(u64::from(total), context.now()));
            }
            round = joined(round, step);
        }
        // A round without work tells when the next is due; before it, more may be due at once.
        if round.worked == 0 {
            let next_due = joined(system, round).next_due;
            let has_timer = Block::new(context.storage, BlockName::Processors).is_present()?;
            if next_due.is_none() && has_timer {
                processors::wait(context)?;
            }
            return Ok(Step { worked: total, next_due });
        }
    }
}

/// Two steps as one: the work of both, and the earlier moment.
fn joined(one: Step, two: Step) -> Step {
    let next_due = match (one.next_due, two.next_due) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (first, second) => first.or(second),
    };
    Step { worked: one.worked + two.worked, next_due }
}
