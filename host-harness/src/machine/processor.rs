//! One virtual processor: its registers, and the step that runs guest code.
//!
//! Source of truth: Principles of Operation, chapter "Control" (CPU states, resets).
//!
//! Invariants: an order of another processor is carried out between two steps; the CPU timer is
//! counted from the begin of an operating state to its end. What others see and change of the
//! processor lies beside it ([`super::signals`]), and its registers hold none of that.
//! Deliberately not here: scheduling, and interruptions ([`super::interruption`]).

use super::{
    AddressFault, Context,
    exception::Exception,
    lock,
    signals::{Signals, order, store_status_of_stop},
    timing,
    vm::Machine,
};
use monitor_core::{
    processor::{CpuState, ProcessorImage, Psw},
    units::Tick,
};

/// Bits of a PSW's mask that are zero in every PSW with which a processor goes on.
const UNASSIGNED: u64 = 0xB808_00FE_7FFF_FFFF;

/// What a processor did in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Units of work that were done.
    pub worked: u32,
    /// There is nothing to do before this moment. `None` with nothing worked means that only an
    /// interruption from elsewhere wakes the processor. A program gives it in the guest's time, a
    /// processor passes it on in the host's, or the moment of its next timer if that is earlier.
    pub next_due: Option<Tick>,
}

/// One virtual processor.
#[derive(Debug)]
pub struct Processor {
    pub(super) state: ProcessorImage,
    index: u16,
    /// The host's time up to which the CPU timer is counted.
    counted_to: Tick,
    /// The program exception that came last.
    exception: Option<Exception>,
}

impl Processor {
    /// A processor as it is after an initial reset, which is stopped.
    #[must_use]
    pub fn new(index: u16) -> Self {
        let state = ProcessorImage::initial();
        Self { state, index, counted_to: Tick::new(0), exception: None }
    }

    pub(super) const fn index(&self) -> u16 {
        self.index
    }

    /// Loads the registers of `image`, without what others see and change.
    pub(super) fn load(&mut self, image: &ProcessorImage) {
        self.state.clone_from(image);
        Signals::default().put(&mut self.state);
        self.state.service_signal = None;
    }

    /// The guest has last run where the SU's clock showed `stopped_tod`, and its clock does not go
    /// back.
    pub(super) fn keep_clock(&mut self, stopped_tod: u64, now: Tick) {
        let epoch = &mut self.state.tod_epoch;
        *epoch = epoch.resumed(stopped_tod, timing::clock(now));
    }

    /// The processor operates from `now` on.
    pub(super) const fn begin(&mut self, now: Tick) {
        self.counted_to = now;
    }

    /// The processor has operated until `now`.
    pub(super) fn count_to(&mut self, now: Tick) {
        timing::count_down(&mut self.state, now.since(self.counted_to));
        self.counted_to = self.counted_to.max(now);
    }

    /// Carries out what others have ordered, takes the pending interruptions that are admitted,
    /// then runs the guest's program for at most `budget` units of work.
    pub(super) fn step(&mut self, now: Tick, budget: u32, vm: &Machine) -> Step {
        if !self.obey(now, vm) {
            return Step::default();
        }
        self.count_to(now);
        self.advance(now, budget, vm).unwrap_or_else(|_| {
            // The prefix area is outside of storage: nothing can be told to the program.
            if let Some(signals) = vm.signals(self.index) {
                lock(signals).state = CpuState::CheckStop;
            }
            vm.alert(self.index);
            vm.note_fault(self.index, Some(Exception::Addressing));
            Step::default()
        })
    }

    fn advance(&mut self, now: Tick, budget: u32, vm: &Machine) -> Result<Step, AddressFault> {
        let mut worked: u32 = 0;
        loop {
            self.take_interruptions(now, vm)?;
            if self.stop_if_ordered(vm) {
                return Ok(Step { worked, next_due: None });
            }
            if self.state.psw.wait() {
                self.note_end(vm);
                return Ok(Step { worked, next_due: self.next_timer(now) });
            }
            let (ran, goes_on, signaled) = self.run(now, budget - worked, vm);
            match ran {
                Ok(step) if !goes_on => {
                    let due = step.next_due.map(|due| timing::host_time(&self.state, due));
                    let due = if signaled { Some(now) } else { due };
                    let next_due = due.into_iter().chain(self.next_timer(now)).min();
                    return Ok(Step { worked: worked + step.worked, next_due });
                }
                Ok(step) => worked = worked.saturating_add(step.worked.max(1)),
                Err(exception) => {
                    worked += 1;
                    self.exception = Some(exception);
                    self.take_program(exception, vm)?;
                    self.note_end(vm);
                }
            }
            if worked >= budget {
                return Ok(Step { worked, next_due: Some(now) });
            }
        }
    }

    /// Tells of a wait that no interruption ends.
    fn note_end(&self, vm: &Machine) {
        let psw = self.state.psw;
        if psw.wait() && !psw.io() && !psw.external() && !psw.machine_check() {
            vm.note_fault(self.index, self.exception);
        }
    }

    /// Runs the program; tells whether the step goes on with what the program has let in, and
    /// whether others have been signaled.
    fn run(
        &mut self,
        now: Tick,
        budget: u32,
        vm: &Machine,
    ) -> (Result<Step, Exception>, bool, bool) {
        if !is_well_formed(self.state.psw) {
            return (Err(Exception::Specification), false, false);
        }
        let mut context = Context::new(self.index, &mut self.state, vm, now);
        let ran = vm.program.run(&mut context, budget);
        (ran, context.is_open_anew, context.has_signaled)
    }

    /// Carries out an order that does not wait for interruptions; says whether the processor
    /// operates then.
    fn obey(&mut self, now: Tick, vm: &Machine) -> bool {
        let Some(signals) = vm.signals(self.index) else {
            return false;
        };
        let mut signals = lock(signals);
        let is_stopped = signals.state == CpuState::Stopped;
        match signals.order {
            order::RESET | order::INITIAL_RESET => {
                if signals.order == order::INITIAL_RESET {
                    reset(&mut self.state);
                }
                *signals = Signals::default();
            }
            order::START if is_stopped => {
                signals.state = CpuState::Operating;
                signals.order = 0;
            }
            order::START => signals.order = 0,
            order::STOP if is_stopped => signals.order = 0,
            order::STOP_AND_STORE_STATUS if is_stopped => {
                store_status_of_stop(&self.state, &vm.storage);
                signals.order = 0;
            }
            _ => {}
        }
        if signals.restart && signals.state == CpuState::Stopped {
            signals.state = CpuState::Operating;
        }
        let operates = signals.state == CpuState::Operating;
        if operates && is_stopped {
            self.begin(now);
        }
        operates
    }

    /// Stops when that is ordered. All admitted interruptions have been taken before.
    fn stop_if_ordered(&self, vm: &Machine) -> bool {
        let Some(signals) = vm.signals(self.index) else {
            return false;
        };
        let mut signals = lock(signals);
        let stops = matches!(signals.order, order::STOP | order::STOP_AND_STORE_STATUS);
        if stops {
            if signals.order == order::STOP_AND_STORE_STATUS {
                store_status_of_stop(&self.state, &vm.storage);
            }
            signals.state = CpuState::Stopped;
            signals.order = 0;
        }
        stops
    }
}

/// What an initial CPU reset sets in the registers: it leaves general, access, floating-point and
/// vector registers, and the TOD clock.
fn reset(state: &mut ProcessorImage) {
    let initial = ProcessorImage::initial();
    *state = ProcessorImage {
        general: state.general,
        access: state.access,
        vector: state.vector,
        tod_epoch: state.tod_epoch,
        control_program: state.control_program,
        ..initial
    };
}

/// Whether a processor goes on with this PSW.
const fn is_well_formed(psw: Psw) -> bool {
    let is_mode = psw.basic_addressing() || !psw.extended_addressing();
    psw.mask & UNASSIGNED == 0 && is_mode
}
