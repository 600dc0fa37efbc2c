//! What a VM is made of on one server unit: which processors it has, facilities, CPU
//! identification.
//!
//! Source of truth: VM2000 manual, CPU states ATT, DET and BLOCK; Principles of Operation, STORE
//! CPU ID, STORE FACILITY LIST EXTENDED, and the SCLP commands that configure processors.
//!
//! Invariants: a processor that is not attached executes nothing, is not operational to the others,
//! and keeps its registers and what is pending for it; while the VM is being moved no standing
//! changes. Deliberately not here: the registers, and what becomes of a standing at a move, which
//! the core decides.

use super::{Context, Exception, Machine, lock};
use monitor_core::{
    limits::PROCESSORS_MAX,
    units::ProcessorIndex,
    vm::{FacilityList, ProcessorSet, Processors, StandingError, VmBlock},
};
use std::sync::{
    Mutex,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

/// What the VM of a machine is made of.
#[derive(Debug)]
pub(super) struct Makeup {
    facilities: FacilityList,
    cpu_id: u64,
    standings: Mutex<Standings>,
    /// The attached processors, for the steps.
    attached: AtomicU64,
}

#[derive(Debug)]
struct Standings {
    processors: Processors,
    /// Processors that the SU has for the VM.
    pool: u16,
    /// Whether the VM is being moved.
    is_frozen: bool,
    /// What the guest loses by a move that it is told of.
    departing: ProcessorSet,
}

impl Makeup {
    /// What `block` says.
    pub(super) fn new(block: &VmBlock) -> Self {
        let processors = block.processors();
        let departing = ProcessorSet::EMPTY;
        let standings = Standings { processors, pool: PROCESSORS_MAX, is_frozen: false, departing };
        Self {
            facilities: block.facilities(),
            cpu_id: block.cpu_id(),
            standings: Mutex::new(standings),
            attached: AtomicU64::new(processors.attached().bits()),
        }
    }

    /// Whether the processor may step.
    pub(super) fn is_attached(&self, processor: u16) -> bool {
        let attached = ProcessorSet::from_bits(self.attached.load(Acquire));
        attached.contains(ProcessorIndex::new(processor))
    }

    /// Changes a standing for the guest.
    fn change(
        &self,
        change: impl FnOnce(&Processors, u16) -> Result<Processors, StandingError>,
    ) -> bool {
        let mut standings = lock(&self.standings);
        if standings.is_frozen {
            return false;
        }
        let Ok(changed) = change(&standings.processors, standings.pool) else {
            return false;
        };
        standings.processors = changed;
        self.attached.store(changed.attached().bits(), Release);
        true
    }
}

impl Machine {
    /// The processors, each with its standing here.
    #[must_use]
    pub fn processors(&self) -> Processors {
        lock(&self.makeup.standings).processors
    }

    /// The facilities that the guest was given.
    #[must_use]
    pub const fn facilities(&self) -> FacilityList {
        self.makeup.facilities
    }

    /// The CPU identification that the guest sees.
    #[must_use]
    pub const fn cpu_id(&self) -> u64 {
        self.makeup.cpu_id
    }

    /// Says how many processors the SU has for the VM.
    pub fn set_pool(&self, pool: u16) {
        lock(&self.makeup.standings).pool = pool;
    }

    /// A move begins: `block` with the processors as they stand, which does not change before
    /// [`Machine::thaw`].
    #[must_use]
    pub fn frozen(&self, block: VmBlock) -> VmBlock {
        let mut standings = lock(&self.makeup.standings);
        standings.is_frozen = true;
        // A block of another number of processors is not of this VM.
        block.with_processors(standings.processors).unwrap_or(block)
    }

    /// The move is over: the guest may attach and detach processors again.
    pub fn thaw(&self) {
        let mut standings = lock(&self.makeup.standings);
        standings.is_frozen = false;
        standings.departing = ProcessorSet::EMPTY;
    }

    /// Keeps for the guest which processors it loses by the move that it is told of next.
    pub fn foretell(&self, surplus: ProcessorSet) {
        lock(&self.makeup.standings).departing = surplus;
    }
}

impl Context<'_> {
    /// READ CPU INFORMATION: the processors that are operational, this one among them.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn operational_processors(&self) -> Result<ProcessorSet, Exception> {
        self.privileged()?;
        Ok(self.machine.processors().attached())
    }

    /// What the monitor has foretold: the processors that are lost by the coming move.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn departing_processors(&self) -> Result<ProcessorSet, Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.makeup.standings).departing)
    }

    /// DECONFIGURE CPU: detaches another processor, which the guest has stopped before; false when
    /// it does not stand so, or the VM is being moved.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn detach_processor(&mut self, processor: ProcessorIndex) -> Result<bool, Exception> {
        self.privileged()?;
        let is_own = processor.get() == self.processor;
        let makeup = &self.machine.makeup;
        Ok(!is_own && makeup.change(|processors, _| processors.detach(processor)))
    }

    /// CONFIGURE CPU: attaches a processor that the guest had detached; false when there is none
    /// for it, or the VM is being moved.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn attach_processor(&mut self, processor: ProcessorIndex) -> Result<bool, Exception> {
        self.privileged()?;
        Ok(self.machine.makeup.change(|processors, pool| processors.attach(processor, pool)))
    }
}
