//! [`Machine`]: one VM's copy on one server unit.
//!
//! Source of truth: ARCHITECTURE.md ("The emulated machine").
//!
//! Invariants: a processor steps only while the VM runs, and [`Machine::stop`] returns only after
//! the last store of every processor has been made and noted; locks are taken in the order
//! processor, subsystem, device, and those of signals last. Deliberately not here: threads that
//! step the machine.

use super::{
    AttachedDevice, Exception, Floating, Processor, Program, Step, Storage, Subsystem, lock,
    makeup::Makeup,
    questions::{Questions, parameter},
    signals::Signals,
};
use monitor_core::{
    limits::SERVICE_SIGNALS_MAX,
    processor::{CpuState, ProcessorImage},
    units::{ConfigurationName, ProcessorIndex, Tick},
    vm::{Facility, FloatingInterruptions, GuestAnswer, GuestEvent, VmBlock},
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

/// A processor that does nothing more: no interruption ends its wait, or it is check-stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The processor.
    pub processor: u16,
    /// The program exception that it met last.
    pub exception: Option<Exception>,
}

/// A processor and what others see and change of it, which does not wait for the end of a step.
#[derive(Debug)]
struct Place {
    processor: Mutex<Processor>,
    signals: Mutex<Signals>,
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
    pub(super) questions: Mutex<Questions>,
    pub(super) makeup: Makeup,
    processors: Vec<Place>,
    /// Service signals, the oldest first. The first one is in the image of processor 0, the others
    /// in that of the machine.
    service_signals: Mutex<VecDeque<u32>>,
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
        if block.facilities().has(Facility::KEY_REMOVAL) {
            storage.remove_keys();
        }
        let processors = 0..block.processor_count();
        Self {
            storage,
            subsystem: Mutex::new(Subsystem::new(block.name(), devices)),
            floating: Mutex::default(),
            program,
            questions: Mutex::default(),
            makeup: Makeup::new(block),
            processors: processors.map(Place::new).collect(),
            service_signals: Mutex::default(),
            configuration,
            running: AtomicBool::new(false),
            visitors: AtomicU32::new(0),
            moments: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// The number of processors, in whatever standing.
    #[must_use]
    pub fn processor_count(&self) -> u16 {
        u16::try_from(self.processors.len()).unwrap_or(u16::MAX)
    }

    /// The designation of the server configuration that the guest sees.
    #[must_use]
    pub const fn configuration(&self) -> ConfigurationName {
        self.configuration
    }

    /// Steps one processor; `None` when the VM is stopped, or the processor is not attached or not
    /// there at all.
    pub fn step_processor(&self, index: u16, now: Tick, budget: u32) -> Option<Step> {
        let processor = &self.processors.get(usize::from(index))?.processor;
        if self.visitors.load(Acquire) != 0 && self.running.load(Acquire) {
            return Some(Step { worked: 0, next_due: Some(now) });
        }
        let mut processor = lock(processor);
        if !self.running.load(Acquire) || !self.makeup.is_attached(index) {
            return None;
        }
        // A thread may have read its clock before the resume, and the guest's does not go back.
        let now = self.note_step(now);
        Some(processor.step(now, budget, self))
    }

    /// Lets the channel subsystem do what is due, and says when it has something to do next.
    pub fn step_channel(&self, now: Tick) -> Option<Tick> {
        lock(&self.subsystem).step(now, &self.storage)
    }

    /// Gives access to the channel subsystem, for whoever attaches devices or looks at them.
    pub fn with_subsystem<T>(&self, action: impl FnOnce(&mut Subsystem) -> T) -> T {
        let mut subsystem = lock(&self.subsystem);
        let result = action(&mut subsystem);
        for report in subsystem.take_reports() {
            self.with_floating(|floating| floating.push_report(report.get()));
        }
        result
    }

    /// Stops the VM. On return no processor is in a step, and its last store has been noted; CPU
    /// timers are counted up to the last step of any processor.
    pub fn stop(&self) {
        let ran = self.running.swap(false, AcqRel);
        self.await_steps();
        let Some(last) = lock(&self.moments).last_step.filter(|_| ran) else {
            return;
        };
        for place in &self.processors {
            let mut processor = self.visit(place);
            if lock(&place.signals).state == CpuState::Operating {
                processor.count_to(last);
            }
        }
    }

    /// Lets the processors step from `now` on, and starts that were held begin. The clock of a
    /// guest that came goes on where it was, or ahead of that.
    pub fn resume(&self, now: Tick) {
        lock(&self.subsystem).release_all();
        let stopped_tod = self.with_floating(Floating::take_stopped_tod);
        for place in &self.processors {
            let mut processor = self.visit(place);
            processor.keep_clock(stopped_tod, now);
            processor.begin(now);
        }
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

    /// Tells the guest of an event, unless the answer is known without it: makes a service signal
    /// pending, with a parameter of 1 to 4 in the order of the events, and the number of the
    /// question in front of it. Gives the ticket that the answer will have.
    pub fn tell(&self, event: GuestEvent) -> u64 {
        let ticket = lock(&self.questions).ask(event);
        let parameter = parameter(event, ticket);
        match self.program.answer(event) {
            Some(answer) => lock(&self.questions).answer(u64::from(parameter), answer),
            None => {
                let mut signals = lock(&self.service_signals);
                signals.push_back(parameter);
                if signals.len() > 1 + SERVICE_SIGNALS_MAX {
                    // The first one is pending, the next one is the oldest of those that wait.
                    signals.remove(1);
                }
            }
        }
        ticket
    }

    /// The oldest answer of the guest that was not taken yet, to whatever question.
    pub fn take_answer(&self) -> Option<GuestAnswer> {
        self.take_ticket().map(|(_, answer)| answer)
    }

    /// The same with the ticket of its question.
    pub(super) fn take_ticket(&self) -> Option<(u64, GuestAnswer)> {
        lock(&self.questions).take()
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
        let place = self.place(index)?;
        let processor = self.visit(place);
        image.clone_from(&processor.state);
        lock(&place.signals).put(image);
        if index.get() == 0 {
            image.service_signal = lock(&self.service_signals).front().copied();
        }
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
        let place = self.place(index)?;
        let mut processor = self.visit(place);
        processor.load(image);
        *lock(&place.signals) = Signals::of(image);
        if index.get() == 0 {
            let mut signals = lock(&self.service_signals);
            signals.clear();
            signals.extend(image.service_signal);
        }
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

    /// What the host's clock showed when the guest last ran here, if it ever did.
    pub(super) fn ran_at(&self) -> Option<Tick> {
        let moments = lock(&self.moments);
        moments.last_step.max(Some(moments.resumed)).filter(|moment| moment.get() != 0)
    }

    /// The first processor that does nothing more, if there is one.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        *lock(&self.fault)
    }

    pub(super) fn note_fault(&self, processor: u16, exception: Option<Exception>) {
        lock(&self.fault).get_or_insert(Fault { processor, exception });
    }

    /// What others see and change of a processor.
    pub(super) fn signals(&self, index: u16) -> Option<&Mutex<Signals>> {
        self.processors.get(usize::from(index)).map(|place| &place.signals)
    }

    /// A processor that is in no step and that nobody looks at.
    pub(super) fn try_processor(&self, index: u16) -> Option<MutexGuard<'_, Processor>> {
        self.processors.get(usize::from(index))?.processor.try_lock().ok()
    }

    /// The oldest service signal, which is no longer pending then.
    pub(super) fn take_service_signal(&self) -> Option<u32> {
        lock(&self.service_signals).pop_front()
    }

    /// Puts the service signals behind the first one into an image.
    pub(super) fn put_waiting_signals(&self, image: &mut FloatingInterruptions) {
        image.service_signals = lock(&self.service_signals).iter().skip(1).copied().collect();
    }

    /// Lets these service signals wait behind the first one, and no others.
    pub(super) fn set_waiting_signals(&self, waiting: &[u32]) {
        let mut signals = lock(&self.service_signals);
        signals.truncate(1);
        signals.extend(waiting);
    }

    fn place(&self, index: ProcessorIndex) -> Result<&Place, NoSuchProcessor> {
        self.processors.get(usize::from(index.get())).ok_or(NoSuchProcessor)
    }

    /// Takes a processor between two of its steps. A processor that is stepped without a pause
    /// would otherwise be locked again before anybody else has woken up.
    fn visit<'a>(&self, place: &'a Place) -> MutexGuard<'a, Processor> {
        self.visitors.fetch_add(1, AcqRel);
        let guard = lock(&place.processor);
        self.visitors.fetch_sub(1, AcqRel);
        guard
    }

    /// Waits until every step that is under way has ended.
    fn await_steps(&self) {
        for place in &self.processors {
            drop(self.visit(place));
        }
    }

    /// The moment of a step that was to be at `now`, which is not before the resume.
    fn note_step(&self, now: Tick) -> Tick {
        let mut moments = lock(&self.moments);
        let now = now.max(moments.resumed);
        moments.first_step.get_or_insert(now);
        moments.last_step = moments.last_step.max(Some(now));
        now
    }
}

impl Place {
    fn new(index: u16) -> Self {
        Self { processor: Mutex::new(Processor::new(index)), signals: Mutex::default() }
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
