//! What belongs to the machine as a whole, and to no processor and no subchannel.
//!
//! Source of truth: Principles of Operation, "Channel-Subsystem Recovery" (channel reports), SET
//! CHANNEL MONITOR; `monitor_core::vm::MachineImage` for what there is.
//!
//! Invariants: all of it is in one image, so that a copy that lacks it is found out; a report is
//! given once, and reports are told by one machine check until none is left. The lock of a
//! [`Floating`] is the last one that is taken. Deliberately not here: I/O interruptions of
//! subchannels, which follow from those, and service signals, which `vm` has.

use monitor_core::{
    processor::MachineCheck,
    vm::{AdapterMasks, EventMasks, MachineImage, Measurement},
};

use super::{Context, Exception, IoInterruption, Machine, lock, timing};

/// Bit of a channel report word: reports behind this one were lost.
const OVERFLOW: u32 = 0x2000_0000;

/// The state of one machine as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floating {
    state: MachineImage,
}

impl Floating {
    /// Queues a channel report word. When the queue is full, the report is lost, and the newest
    /// one in the queue says so.
    pub fn push_report(&mut self, report: u32) {
        let reports = &mut self.state.reports;
        if reports.push(report).is_err()
            && let Some(newest) = reports.last_mut()
        {
            *newest |= OVERFLOW;
        }
    }

    /// The oldest channel report word, which is taken out; STORE CHANNEL REPORT WORD gives it. When
    /// it finds none, the next report is told by a machine check again.
    pub fn take_report(&mut self) -> Option<u32> {
        let MachineImage { reports, floating, .. } = &mut self.state;
        floating.reports_told &= !reports.is_empty();
        (!reports.is_empty()).then(|| reports.remove(0))
    }

    /// Takes the machine check of channel reports, if it is pending: there are reports, and none
    /// was taken since STORE CHANNEL REPORT WORD has found none.
    pub(super) fn take_report_check(&mut self) -> bool {
        let MachineImage { reports, floating, .. } = &mut self.state;
        !reports.is_empty() && !std::mem::replace(&mut floating.reports_told, true)
    }

    /// What the clock of the SU from where the guest came showed when it last ran there; 0 when
    /// it did not come, or has gone on since.
    pub(super) const fn take_stopped_tod(&mut self) -> u64 {
        std::mem::replace(&mut self.state.stopped_tod, 0)
    }

    /// The operator presses the interrupt key.
    pub const fn press_interrupt_key(&mut self) {
        self.state.floating.interrupt_key = true;
    }

    /// Takes the interruption of the interrupt key, if it is pending.
    pub(super) const fn take_interrupt_key(&mut self) -> bool {
        std::mem::replace(&mut self.state.floating.interrupt_key, false)
    }

    /// An adapter wants to interrupt in this subclass, 0 to 7, unless that is suppressed. In the
    /// mode of single interruptions it suppresses further ones.
    pub const fn interrupt_by_adapter(&mut self, subclass: u8) {
        let bit = 0x80_u8.rotate_right(subclass as u32);
        let masks = &mut self.state.adapters;
        if masks.none & bit == 0 {
            masks.none |= masks.single & bit;
            self.state.floating.adapters |= bit;
        }
    }

    /// The first subclass among `admitted`, of which the leftmost bit is subclass 0, in which an
    /// adapter interruption is pending.
    const fn adapter_subclass(&self, admitted: u8) -> Option<u8> {
        match self.state.floating.adapters & admitted {
            0 => None,
            pending => Some(pending.leading_zeros() as u8),
        }
    }

    /// Takes the adapter interruption of the first subclass among `admitted`.
    fn take_adapter(&mut self, admitted: u8) -> Option<IoInterruption> {
        let subclass = self.adapter_subclass(admitted)?;
        self.state.floating.adapters &= !0x80_u8.rotate_right(u32::from(subclass));
        Some(IoInterruption { subchannel: None, parameter: 0, subclass })
    }

    /// Makes a machine check pending, together with one that is.
    pub const fn check(&mut self, check: MachineCheck) {
        let pending = &mut self.state.floating.machine_check;
        pending.code |= check.code;
        pending.address |= check.address;
        pending.damage |= check.damage;
    }

    /// Takes the pending machine check when one of these conditions is among its own.
    pub(super) const fn take_check(&mut self, conditions: u64) -> Option<MachineCheck> {
        let pending = &mut self.state.floating.machine_check;
        if pending.code & conditions == 0 {
            return None;
        }
        Some(std::mem::replace(pending, MachineCheck::NONE))
    }

    /// Tells that a page fault has ended; false when too many ends have not been told yet.
    pub fn end_page_fault(&mut self, token: u64) -> bool {
        self.state.floating.page_faults.push(token).is_ok()
    }

    /// Takes the oldest end of a page fault.
    pub(super) fn take_page_fault(&mut self) -> Option<u64> {
        let tokens = &mut self.state.floating.page_faults;
        (!tokens.is_empty()).then(|| tokens.remove(0))
    }

    /// What SET CHANNEL MONITOR has set.
    #[must_use]
    pub const fn measurement(&self) -> Measurement {
        self.state.measurement
    }

    /// The masks that the service-call processor was given.
    #[must_use]
    pub const fn events(&self) -> EventMasks {
        self.state.events
    }

    /// Which adapter interruptions are suppressed.
    #[must_use]
    pub const fn adapters(&self) -> AdapterMasks {
        self.state.adapters
    }

    /// The highest channel subsystem and the highest subchannel set that are enabled.
    #[must_use]
    pub const fn enabled_sets(&self) -> (u8, u8) {
        (self.state.channel_subsystem_max, self.state.subchannel_set_max)
    }
}

impl Machine {
    /// Gives access to what belongs to the machine as a whole.
    pub fn with_floating<T>(&self, action: impl FnOnce(&mut Floating) -> T) -> T {
        action(&mut lock(&self.floating))
    }

    /// Writes what belongs to the machine as a whole into `image`, changing nothing.
    pub fn capture_machine(&self, image: &mut MachineImage) {
        image.clone_from(&lock(&self.floating).state);
        self.put_waiting_signals(&mut image.floating);
        if let Some(ran) = self.ran_at() {
            image.stopped_tod = timing::clock(ran);
        }
    }

    /// Loads what belongs to the machine as a whole from `image`.
    pub fn restore_machine(&self, image: &MachineImage) {
        self.set_waiting_signals(&image.floating.service_signals);
        let state = &mut lock(&self.floating).state;
        state.clone_from(image);
        state.floating.service_signals.clear();
    }
}

impl Machine {
    /// Takes the pending I/O interruption of the lowest subclass among `admitted`, of which the
    /// leftmost bit is subclass 0; in a subclass, those of subchannels go first.
    pub(super) fn take_io_interruption(&self, admitted: u8) -> Option<IoInterruption> {
        let adapter = self.with_floating(|floating| floating.adapter_subclass(admitted));
        let up_to = |subclass: u8| admitted & !(0x7F_u8 >> subclass);
        let first = lock(&self.subsystem).take_interruption(adapter.map_or(admitted, up_to));
        // Another processor may have taken that of the adapter meanwhile.
        first
            .or_else(|| self.with_floating(|floating| floating.take_adapter(admitted)))
            .or_else(|| lock(&self.subsystem).take_interruption(admitted))
    }
}

impl Context<'_> {
    /// SET CHANNEL MONITOR.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn set_channel_monitor(&mut self, measurement: Measurement) -> Result<(), Exception> {
        self.privileged()?;
        self.machine.with_floating(|floating| floating.state.measurement = measurement);
        Ok(())
    }

    /// SERVICE CALL, write event mask.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn write_event_masks(&mut self, events: EventMasks) -> Result<(), Exception> {
        self.privileged()?;
        self.machine.with_floating(|floating| floating.state.events = events);
        Ok(())
    }

    /// CHANNEL SUBSYSTEM CALL, set domain attributes: enables all subchannel sets.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn enable_subchannel_sets(&mut self) -> Result<(), Exception> {
        self.privileged()?;
        self.machine.with_floating(|floating| floating.state.subchannel_set_max = 3);
        Ok(())
    }

    /// SET INTERRUPTION CONTROLS of adapters: suppresses interruptions of some subclasses.
    ///
    /// # Errors
    /// Fails in the problem state.
    pub fn suppress_adapter_interruptions(
        &mut self,
        adapters: AdapterMasks,
    ) -> Result<(), Exception> {
        self.privileged()?;
        self.machine.with_floating(|floating| floating.state.adapters = adapters);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_core::limits::CHANNEL_REPORTS_MAX;

    #[test]
    fn reports_are_given_once_and_in_order() {
        let mut floating = Floating::default();
        floating.push_report(0x4083_0001);
        floating.push_report(0x4083_0002);
        assert_eq!(floating.take_report(), Some(0x4083_0001));
        assert_eq!(floating.take_report(), Some(0x4083_0002));
        assert_eq!(floating.take_report(), None);
    }

    #[test]
    fn reports_have_one_machine_check_until_one_more_was_asked_for_than_there_are() {
        let mut floating = Floating::default();
        assert!(!floating.take_report_check());
        floating.push_report(0x4083_0001);
        assert_eq!([0; 2].map(|_| floating.take_report_check()), [true, false]);
        floating.push_report(0x4083_0002);
        assert!(!floating.take_report_check(), "it is told with the first one");
        assert_eq!([0; 2].map(|_| floating.take_report().is_some()), [true; 2]);
        floating.push_report(0x4083_0003);
        assert!(!floating.take_report_check(), "the program has not seen the end");
        assert_eq!([0; 2].map(|_| floating.take_report().is_some()), [true, false]);
        assert!(!floating.take_report_check(), "there is nothing to tell");
        floating.push_report(0x4083_0004);
        assert_eq!([0; 2].map(|_| floating.take_report_check()), [true, false]);
    }

    #[test]
    fn full_queue_says_that_reports_were_lost() {
        let mut floating = Floating::default();
        for number in 1..=40 {
            floating.push_report(number);
        }
        let taken: Vec<u32> = std::iter::from_fn(|| floating.take_report()).collect();
        assert_eq!(taken.len(), CHANNEL_REPORTS_MAX);
        assert_eq!(taken[30..], [31, 32 | OVERFLOW]);
    }
}
