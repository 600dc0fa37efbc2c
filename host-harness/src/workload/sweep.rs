//! Sweep workload and the memory-only guest, which has nothing else: both are written once, in the
//! package `guest`, for emulated and for real processors.
//!
//! Source of truth: `guest::sweep`. Invariant: storage and registers are lent as they are.
//! Deliberately not here: the judgement ([`super::check()`]).

use guest::{Work, layout::SWEEP_BLOCK, sweep};
use monitor_core::{
    units::Tick,
    vm::{GuestAnswer, GuestEvent},
};

use super::nucleus::{Area, BlockName, code, word_address};
use crate::machine::{AddressFault, Context, Exception, Program, Step, Storage};

/// Writes the control block and clears the byte of each page.
pub(super) fn define(mut storage: &Storage, area: Area) -> Result<(), AddressFault> {
    debug_assert_eq!(word_address(BlockName::Sweep, 0), SWEEP_BLOCK, "both know the same place");
    sweep::define(&mut storage, area)
}

/// Counts on in the pages that are due.
pub(super) fn run(context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
    let now = context.now();
    let Work { count, next_us } = sweep::run(context, now.get(), budget)?;
    Ok(super::worked(count, Tick::new(next_us)))
}

impl guest::Storage for Context<'_> {
    type Fault = Exception;

    fn load(&self, address: u64) -> Result<u64, Exception> {
        self.real().load(address)
    }

    fn store(&mut self, address: u64, value: u64) -> Result<(), Exception> {
        self.real().store(address, value)
    }
}

impl guest::Processor for Context<'_> {
    fn general(&self, number: usize) -> u64 {
        self.state.general[number]
    }

    fn set_general(&mut self, number: usize, value: u64) {
        self.state.general[number] = value;
    }
}

/// The code of the memory-only guest. It has no operating system: the monitor answers for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MemoryOnly;

impl Program for MemoryOnly {
    fn run(&self, context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
        match (context.processor, context.state.psw.address) {
            (0, code::MAIN) => run(context, budget),
            (0, _) => Err(Exception::Operation),
            _ => Ok(Step::default()),
        }
    }

    fn answer(&self, event: GuestEvent) -> Option<GuestAnswer> {
        Some(guest::answer(event))
    }
}
