//! Initial program loading: lays the guest out in an empty machine.
//!
//! Source of truth: `nucleus` for the layout. Invariants: what the guest needs to know of its
//! plan is in its storage afterwards; registers that no workload uses hold a pattern, so that a
//! lost one shows. Deliberately not here: what the guest does itself in its first step, which is
//! to enable its subchannels ([`super::system`]).

use std::fmt;

use guest::open_psw;
use monitor_core::{
    processor::ProcessorImage,
    units::{PageCount, ProcessorIndex},
};

use super::{
    GuestPlan, Kind, Rate, hot_set, idle, journal, key_value, keys, messages, network,
    nucleus::{Block, BlockName, LINE_NAME_BYTES, LINES_MAX, Layout, PAGE, code, low_core, prefix},
    processors, states, sweep, system,
};
use crate::machine::{AddressFault, ImageError, Machine};

/// Why a guest cannot be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IplError {
    /// The guest needs this much storage, and has less.
    MemoryTooSmall {
        /// Pages that it needs at least.
        needed: PageCount,
    },
    /// A kind of workload is named twice.
    KindTwice,
    /// The memory-only guest is to do something else as well.
    NotAlone,
    /// A journal is wanted, but there is no disk for it.
    NoJournalDisk,
    /// Pings are to be answered, but there is no LAN line.
    NoLine,
    /// There are too many LAN lines, or one has too long a name.
    LinesTooLong,
    /// The machine does not take the storage or a processor of the guest.
    MachineRefuses,
    /// The image file of a disk cannot be used.
    NoImage(ImageError),
    /// A device has seen a higher epoch of the VM.
    Fenced,
}

impl fmt::Display for IplError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MemoryTooSmall { needed } => {
                write!(formatter, "memory too small, the guest needs {needed} pages")
            }
            Self::KindTwice => formatter.write_str("a workload is named twice"),
            Self::NotAlone => formatter.write_str("memory-only goes with no other workload"),
            Self::NoJournalDisk => formatter.write_str("no disk for the journal"),
            Self::NoLine => formatter.write_str("no LAN line for the network workload"),
            Self::LinesTooLong => formatter.write_str("too many LAN lines, or too long a name"),
            Self::MachineRefuses => formatter.write_str("the machine refuses the guest"),
            Self::NoImage(error) => write!(formatter, "the image file of a disk {error}"),
            Self::Fenced => formatter.write_str(
                "the image file of a disk has seen a higher epoch of the VM than its directory",
            ),
        }
    }
}

impl std::error::Error for IplError {}

impl From<AddressFault> for IplError {
    fn from(_: AddressFault) -> Self {
        Self::MachineRefuses
    }
}

/// Loads the guest of `plan` into a machine whose program is [`super::Guest`]; its processors
/// are ready to run.
///
/// # Errors
/// Fails when the plan contradicts itself, or the machine is too small for it.
pub fn ipl(machine: &Machine, plan: &GuestPlan) -> Result<(), IplError> {
    let processor_count = machine.processor_count();
    let storage = &machine.storage;
    let layout = Layout::new(plan, storage.page_count(), processor_count)?;
    refuse_contradictions(plan)?;
    storage.fill(plan.fill, plan.seed);
    for page in 0..prefix(processor_count) / PAGE {
        storage.store_bytes(page * PAGE, &[0; PAGE as usize])?;
    }
    system::define(storage, plan)?;
    for kind in &plan.kinds {
        define_workload(machine, plan, layout, *kind)?;
    }
    for processor in 0..processor_count {
        let new = open_psw(code::MAIN).with_io(false).with_external(false);
        for (offset, address) in
            [(low_core::EXTERNAL_NEW, code::EXTERNAL), (low_core::IO_NEW, code::IO)]
        {
            let psw = new.with_address(address);
            storage.store_bytes(prefix(processor) + offset, &psw.to_bytes())?;
        }
        if has_tasks(plan) {
            processors::define(storage, processor)?;
        }
        machine
            .restore(ProcessorIndex::new(processor), &initial_image(machine, plan, processor))
            .map_err(|_| IplError::MachineRefuses)?;
    }
    Ok(())
}

fn refuse_contradictions(plan: &GuestPlan) -> Result<(), IplError> {
    for (number, kind) in plan.kinds.iter().enumerate() {
        let same = |other: &Kind| block_of(*other) as u64 == block_of(*kind) as u64;
        if plan.kinds.iter().skip(number + 1).any(same) {
            return Err(IplError::KindTwice);
        }
        if matches!(kind, Kind::MemoryOnly { .. }) && plan.kinds.len() > 1 {
            return Err(IplError::NotAlone);
        }
        if matches!(kind, Kind::Journal { .. }) && plan.journal.is_empty() {
            return Err(IplError::NoJournalDisk);
        }
        if matches!(kind, Kind::Network) && plan.lines.is_empty() {
            return Err(IplError::NoLine);
        }
    }
    let is_long = |line: &super::LanLine| line.name.len() > LINE_NAME_BYTES;
    if plan.lines.len() > LINES_MAX || plan.lines.iter().any(is_long) {
        return Err(IplError::LinesTooLong);
    }
    Ok(())
}

/// The control block of a kind of workload.
pub(super) fn block_of(kind: Kind) -> BlockName {
    match kind {
        Kind::Idle => BlockName::Idle,
        Kind::HotSet { .. } => BlockName::HotSet,
        Kind::Sweep { .. } | Kind::MemoryOnly { .. } => BlockName::Sweep,
        Kind::KeyValue { .. } => BlockName::KeyValue,
        Kind::Journal { .. } => BlockName::Journal,
        Kind::Network => BlockName::Network,
        Kind::Processors { .. } => BlockName::Processors,
        Kind::Keys { .. } => BlockName::Keys,
        Kind::PageStates { .. } => BlockName::States,
        Kind::Messages { .. } => BlockName::Messages,
    }
}

fn define_workload(
    machine: &Machine,
    plan: &GuestPlan,
    layout: Layout,
    kind: Kind,
) -> Result<(), IplError> {
    let storage = &machine.storage;
    let block = Block::new(storage, block_of(kind));
    match kind {
        Kind::Idle => idle::define(block)?,
        Kind::HotSet { rate, .. } => {
            hot_set::define(block, storage, layout.hot_set)?;
            define_rate(block, rate)?;
        }
        Kind::Sweep { rate } | Kind::MemoryOnly { rate } => {
            sweep::define(storage, layout.sweep)?;
            define_rate(block, rate)?;
        }
        Kind::KeyValue { slots, rate } => {
            key_value::define(block, storage, layout.key_value, slots.max(1))?;
            define_rate(block, rate)?;
        }
        Kind::Journal { interval_us } => {
            journal::define(machine, layout.journal, &plan.journal, interval_us)?;
        }
        Kind::Network => {
            network::define(block, storage, layout.network)?;
            block.define(1, 1)?;
        }
        Kind::Messages { subchannel } => messages::define(block, layout.messages, subchannel)?,
        Kind::Processors { interval_us } => block.define(1, interval_us.max(1))?,
        Kind::Keys { rate, .. } => {
            keys::define(block, storage, layout.keys)?;
            define_rate(block, rate)?;
        }
        Kind::PageStates { rate, .. } => {
            states::define(block, storage, layout.states)?;
            define_rate(block, rate)?;
        }
    }
    Ok(())
}

/// Writes a rate; a rate of nothing at all is one unit in the longest time.
fn define_rate(block: Block<'_>, rate: Rate) -> Result<(), AddressFault> {
    match rate {
        Rate::PerSecond(0) => block.define(1, u64::MAX),
        Rate::PerSecond(units) => block.define(u64::from(units), 1_000_000),
        Rate::Unpaced => block.define(0, 1),
    }
}

/// Whether each processor has a task.
pub(super) fn has_tasks(plan: &GuestPlan) -> bool {
    plan.kinds.iter().any(|kind| matches!(kind, Kind::Processors { .. }))
}

/// The registers at IPL. [`super::check()`] compares what the guest does not change.
pub(super) fn initial_image(machine: &Machine, plan: &GuestPlan, processor: u16) -> ProcessorImage {
    let mut image = guest::initial_image(plan.seed, processor, &machine.facilities());
    if has_tasks(plan) {
        processors::begin(&mut image, plan.seed, processor);
    }
    image
}
