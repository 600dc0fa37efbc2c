//! The seam between the machine and guest code: what a program may touch while it runs.
//!
//! Source of truth: Principles of Operation for the instructions that the methods stand for.
//!
//! Invariants: a [`Program`] is immutable, it is "the code"; whatever it remembers lies in the
//! registers and the storage of its [`Context`], so that a copy of these goes on by itself. An
//! instruction that the problem state does not have fails there before it does anything.
//! Deliberately not here: guest code, and the budget, which the processor keeps.

use super::{
    Exception, Floating, IoInterruption, Step, Storage, lock, timing::guest_time, vm::Machine,
};
use monitor_core::{
    channel::{Irb, Orb, Schib},
    processor::ProcessorImage,
    units::{ConfigurationName, SubchannelNumber, Tick},
    vm::{GuestAnswer, GuestEvent},
};

/// Guest code.
pub trait Program: Send + Sync {
    /// Runs on one processor for at most `budget` units of work. It reads and writes `context`
    /// and nothing else.
    ///
    /// # Errors
    /// Fails with a program exception, for which the processor takes a program interruption.
    fn run(&self, context: &mut Context<'_>, budget: u32) -> Result<Step, Exception>;

    /// What the monitor answers for a guest that cannot be told of this event. Most can, and
    /// answer for themselves.
    fn answer(&self, _event: GuestEvent) -> Option<GuestAnswer> {
        None
    }
}

/// The condition code of an I/O instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionCode {
    /// 0: done; for TEST SUBCHANNEL, status was stored and cleared.
    Done,
    /// 1: status is pending; for TEST SUBCHANNEL, there was none to clear.
    Status,
    /// 2: the subchannel is busy with a function, or has none to which the instruction applies.
    Busy,
    /// 3: there is no such subchannel, it is not enabled, or no device is attached to it.
    NotOperational,
}

/// One processor of one machine, as guest code sees it.
#[derive(Debug)]
pub struct Context<'a> {
    /// The number of this processor.
    pub processor: u16,
    /// The registers of this processor.
    pub state: &'a mut ProcessorImage,
    /// The storage of the VM, by absolute addresses and without protection.
    pub storage: &'a Storage,
    pub(super) machine: &'a Machine,
    pub(super) host_now: Tick,
    /// The program has changed what interruptions are admitted, or given control elsewhere: it
    /// returns, and the step goes on.
    pub(super) is_open_anew: bool,
    /// The program has signaled a processor, which may wait.
    pub(super) has_signaled: bool,
}

impl<'a> Context<'a> {
    pub(super) const fn new(
        processor: u16,
        state: &'a mut ProcessorImage,
        machine: &'a Machine,
        host_now: Tick,
    ) -> Self {
        let storage = &machine.storage;
        let (is_open_anew, has_signaled) = (false, false);
        Self { processor, state, storage, machine, host_now, is_open_anew, has_signaled }
    }
}

impl Context<'_> {
    /// The guest's time: the host's clock and the epoch of this processor's TOD clock.
    #[must_use]
    pub fn now(&self) -> Tick {
        guest_time(self.state, self.host_now)
    }

    /// START SUBCHANNEL: accepts the channel program that `orb` names.
    ///
    /// # Errors
    /// Fails in the problem state, and with an operand exception when `orb` is not well formed.
    pub fn start_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
        orb: &Orb,
    ) -> Result<ConditionCode, Exception> {
        self.privileged()?;
        lock(&self.machine.subsystem).start(subchannel, orb, self.host_now)
    }

    /// TEST SUBCHANNEL: gives the status and clears it.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn test_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
    ) -> Result<(ConditionCode, Irb), Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.subsystem).test(subchannel))
    }

    /// STORE SUBCHANNEL: gives the subchannel's information block, changing nothing.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_subchannel(
        &self,
        subchannel: SubchannelNumber,
    ) -> Result<Option<Schib>, Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.subsystem).store(subchannel))
    }

    /// MODIFY SUBCHANNEL: takes from `schib` what the program may set.
    ///
    /// # Errors
    /// Fails in the problem state, and with an operand exception when `schib` is not well formed.
    pub fn modify_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
        schib: &Schib,
    ) -> Result<ConditionCode, Exception> {
        self.privileged()?;
        lock(&self.machine.subsystem).modify(subchannel, schib)
    }

    /// HALT SUBCHANNEL.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn halt_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
    ) -> Result<ConditionCode, Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.subsystem).halt(subchannel))
    }

    /// CLEAR SUBCHANNEL.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn clear_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
    ) -> Result<ConditionCode, Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.subsystem).clear(subchannel))
    }

    /// CANCEL SUBCHANNEL: takes back a start whose program has not begun or is suspended.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn cancel_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
    ) -> Result<ConditionCode, Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.subsystem).cancel(subchannel))
    }

    /// RESUME SUBCHANNEL.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn resume_subchannel(
        &mut self,
        subchannel: SubchannelNumber,
    ) -> Result<ConditionCode, Exception> {
        self.privileged()?;
        Ok(lock(&self.machine.subsystem).resume(subchannel, self.host_now))
    }

    /// STORE CHANNEL REPORT WORD: gives the oldest one, or zero with condition code
    /// [`ConditionCode::Status`].
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_channel_report(&mut self) -> Result<(ConditionCode, u32), Exception> {
        self.privileged()?;
        let report = self.machine.with_floating(Floating::take_report);
        Ok(report.map_or((ConditionCode::Status, 0), |report| (ConditionCode::Done, report)))
    }

    /// TEST PENDING INTERRUPTION: takes an interruption that control register 6 admits, and says
    /// so with condition code [`ConditionCode::Status`].
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn test_pending_interruption(
        &mut self,
    ) -> Result<(ConditionCode, Option<IoInterruption>), Exception> {
        self.privileged()?;
        let admitted = self.state.control[6].to_be_bytes()[4];
        let taken = self.machine.take_io_interruption(admitted);
        Ok((if taken.is_some() { ConditionCode::Status } else { ConditionCode::Done }, taken))
    }

    /// STORE SYSTEM INFORMATION: the designation of the server configuration on which this copy
    /// of the VM runs.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn store_system_information(&self) -> Result<ConfigurationName, Exception> {
        self.privileged()?;
        Ok(self.machine.configuration())
    }

    /// SERVICE CALL: hands the monitor the answer to the service signal with this parameter.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn call_monitor(&mut self, parameter: u64, answer: GuestAnswer) -> Result<(), Exception> {
        self.privileged()?;
        lock(&self.machine.questions).answer(parameter, answer);
        Ok(())
    }

    /// The number of processors of this VM.
    #[must_use]
    pub fn processor_count(&self) -> u16 {
        self.machine.processor_count()
    }
}
