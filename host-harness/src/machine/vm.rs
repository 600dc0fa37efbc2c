//! [`Machine`]: one VM's copy on one server unit.
//!
//! Source of truth: ARCHITECTURE.md ("The emulated machine").
//!
//! Invariants: a processor steps only while the VM runs, and [`Machine::stop`] returns only after
//! the last store of every processor has been made and noted; locks are taken in the order
//! processor, subsystem, device. Deliberately not here: threads that step the machine.

use super::{
    AddressFault, AttachedDevice, Floating, Processor, Program, Step, Storage, Subsystem, lock,
};
use monitor_core::{
    processor::ProcessorImage,
    units::{ConfigurationName, ProcessorIndex, Tick},
    vm::{GuestAnswer, GuestEvent, VmBlock},
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};

/// An addressing exception that stopped a processor for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The processor.
    pub processor: u16,
    /// The address that it used.
    pub error: AddressFault,
}

/// The VM has no processor of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchProcessor;

impl fmt::Display for NoSuchProcessor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("no processor of this number")
    }
}

impl std::error::Error for NoSuchProcessor {}

/// One VM's copy on one server unit.
pub struct Machine {
    /// The guest's storage.
    pub storage: Storage,
    pub(super) subsystem: Mutex<Subsystem>,
    pub(super) floating: Mutex<Floating>,
    pub(super) program: Arc<dyn Program>,
    pub(super) answers: Mutex<VecDeque<GuestAnswer>>,
    processors: Vec<Mutex<Processor>>,
    configuration: ConfigurationName,
    running: AtomicBool,
    /// Who waits for a processor between two of its steps; the steps let them in first.
    visitors: AtomicU32,
    moments: Mutex<Moments>,
    fault: Mutex<Option<Fault>>,
}

/// When the processors were at work.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    resumed: Tick,
    first_step: Option<Tick>,
    last_step: Option<Tick>,
}

impl Machine {
    /// A stopped machine with zero storage, for the VM that `block` defines.
    #[must_use]
    pub fn new(
        block: &VmBlock,
        configuration: ConfigurationName,
        program: Arc<dyn Program>,
        devices: Vec<AttachedDevice>,
    ) -> Self {
        Self::with_storage(block, configuration, program, devices, Storage::new(block.memory()))
    }

    /// The same with this storage, which is as large as `block` says.
    #[must_use]
    pub fn with_storage(
        block: &VmBlock,
        configuration: ConfigurationName,
        program: Arc<dyn Program>,
        devices: Vec<AttachedDevice>,
        storage: Storage,
    ) -> Self {
        let processors = 0..block.processor_count();
        Self {
            storage,
            subsystem: Mutex::new(Subsystem::new(block.name(), devices)),
            floating: Mutex::default(),
            program,
            answers: Mutex::default(),
            processors: processors.map(|index| Mutex::new(Processor::new(index))).collect(),
            configuration,
            running: AtomicBool::new(false),
            visitors: AtomicU32::new(0),
            moments: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// The number of processors.
    #[must_use]
    pub fn processor_count(&self) -> u16 {
        u16::try_from(self.processors.len()).unwrap_or(u16::MAX)
    }

    /// The designation of the server configuration that the guest sees.
    #[must_use]
    pub const fn configuration(&self) -> ConfigurationName {
        self.configuration
    }

    /// Steps one processor; `None` when the VM is stopped or there is no such processor.
    pub fn step_processor(&self, index: u16, now: Tick, budget: u32) -> Option<Step> {
        let processor = self.processors.get(usize::from(index))?;
        if self.visitors.load(Acquire) != 0 && self.running.load(Acquire) {
            return Some(Step { worked: 0, next_due: Some(now) });
        }
        let mut processor = lock(processor);
        if !self.running.load(Acquire) {
            return None;
        }
        self.note_step(now);
        Some(processor.step(now, budget, self))
    }

    /// Lets the channel subsystem do what is due, and says when it has something to do next.
    pub fn step_channel(&self, now: Tick) -> Option<Tick> {
        lock(&self.subsystem).step(now, &self.storage)
    }

    /// Gives access to the channel subsystem, for whoever attaches devices or looks at them.
    pub fn with_subsystem<T>(&self, action: impl FnOnce(&mut Subsystem) -> T) -> T {
        action(&mut lock(&self.subsystem))
    }

    /// Stops the VM. On return no processor is in a step, and its last store has been noted.
    pub fn stop(&self) {
        self.running.store(false, Release);
        self.await_steps();
    }

    /// Lets the processors step from `now` on.
    pub fn resume(&self, now: Tick) {
        let mut moments = lock(&self.moments);
        moments.resumed = now;
        moments.first_step = None;
        self.running.store(true, Release);
    }

    /// Whether the processors may step.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.load(Acquire)
    }

    /// Notes every change of a page or key from now on. On return no step is under way that does
    /// not know it.
    pub fn start_tracking(&self) {
        self.storage.start_tracking();
        self.await_steps();
        drop(lock(&self.subsystem));
        // What the keys have noted so far is of no interest: every page is marked after this.
        self.storage.forget_noted();
    }

    /// Tells the guest of an event, unless the answer is known without it: posts a service-signal
    /// interruption to processor 0, with a parameter of 1 to 4 in the order of the events.
    pub fn tell(&self, event: GuestEvent) {
        if let Some(answer) = self.program.answer(event) {
            lock(&self.answers).push_back(answer);
            return;
        }
        let parameter = match event {
            GuestEvent::MoveComing => 1,
            GuestEvent::MoveAbandoned => 2,
            GuestEvent::Moved => 3,
            GuestEvent::NetworkUp => 4,
        };
        if let Some(processor) = self.processors.first() {
            self.visit(processor).post_service_signal(parameter);
        }
    }

    /// The oldest answer of the guest that was not taken yet.
    pub fn take_answer(&self) -> Option<GuestAnswer> {
        lock(&self.answers).pop_front()
    }

    /// Writes the registers of one processor into `image`, between two of its steps.
    ///
    /// # Errors
    /// Fails when there is no such processor.
    pub fn capture(
        &self,
        index: ProcessorIndex,
        image: &mut ProcessorImage,
    ) -> Result<(), NoSuchProcessor> {
        image.clone_from(&self.visit(self.processor(index)?).state);
        Ok(())
    }

    /// Loads the registers of one processor from `image`.
    ///
    /// # Errors
    /// Fails when there is no such processor.
    pub fn restore(
        &self,
        index: ProcessorIndex,
        image: &ProcessorImage,
    ) -> Result<(), NoSuchProcessor> {
        self.visit(self.processor(index)?).state.clone_from(image);
        Ok(())
    }

    /// When the first step after the last resume began, if there was one.
    #[must_use]
    pub fn first_step_at(&self) -> Option<Tick> {
        lock(&self.moments).first_step
    }

    /// When the latest step began, if there was one. A stop that is measured from here is never
    /// shown shorter than it was.
    #[must_use]
    pub fn last_step_at(&self) -> Option<Tick> {
        lock(&self.moments).last_step
    }

    /// The first addressing exception that stopped a processor, if there was one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        *lock(&self.fault)
    }

    pub(super) fn note_fault(&self, processor: u16, error: AddressFault) {
        lock(&self.fault).get_or_insert(Fault { processor, error });
    }

    fn processor(&self, index: ProcessorIndex) -> Result<&Mutex<Processor>, NoSuchProcessor> {
        self.processors.get(usize::from(index.get())).ok_or(NoSuchProcessor)
    }

    /// Takes a processor between two of its steps. A processor that is stepped without a pause
    /// would otherwise be locked again before anybody else has woken up.
    fn visit<'a>(&self, processor: &'a Mutex<Processor>) -> MutexGuard<'a, Processor> {
        self.visitors.fetch_add(1, AcqRel);
        let guard = lock(processor);
        self.visitors.fetch_sub(1, AcqRel);
        guard
    }

    /// Waits until every step that is under way has ended.
    fn await_steps(&self) {
        for processor in &self.processors {
            drop(self.visit(processor));
        }
    }

    /// A thread may have read its clock before the resume, hence the later of both moments.
    fn note_step(&self, now: Tick) {
        let mut moments = lock(&self.moments);
        let now = now.max(moments.resumed);
        moments.first_step.get_or_insert(now);
        moments.last_step = moments.last_step.max(Some(now));
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Machine")
            .field("storage", &self.storage)
            .field("running", &self.running)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
