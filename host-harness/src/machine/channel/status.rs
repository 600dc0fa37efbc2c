//! The status of a subchannel: how functions end, what the guest is shown, and what it clears.
//!
//! Source of truth: Principles of Operation, "Subchannel-Status Word", "TEST SUBCHANNEL", "Primary,
//! Secondary, Alert and Intermediate Status".
//!
//! Invariants: taking an interruption clears no status, and TEST SUBCHANNEL clears what it shows.
//! That the interruption of a pending status has been taken is noted in the block's model-dependent
//! area; so it is taken exactly once, also when the subchannel moves in between. Deliberately not
//! here: what leads to an end.

use super::{
    ccw::{Check, Command},
    program::{ENDED, End},
    subchannel::Subchannel,
};
use crate::machine::ConditionCode;
use monitor_core::channel::{DeviceStatus, Irb, Scsw, ScswControl, ScswFlags, SubchannelStatus};
use std::mem;

/// Bit of the model-dependent area: the interruption of the pending status has been taken.
const INTERRUPTION_TAKEN: u8 = 0x80;

/// Kinds of status, and that it is pending.
const STATUS: ScswControl = ScswControl::ALERT_STATUS
    .union(ScswControl::INTERMEDIATE_STATUS)
    .union(ScswControl::PRIMARY_STATUS)
    .union(ScswControl::SECONDARY_STATUS)
    .union(ScswControl::STATUS_PENDING);

/// Status that tells of an end.
const PRIMARY_AND_SECONDARY: ScswControl =
    ScswControl::PRIMARY_STATUS.union(ScswControl::SECONDARY_STATUS);

/// Activities that last when a status was fetched.
const LASTING: ScswControl = ScswControl::SUBCHANNEL_ACTIVE.union(ScswControl::DEVICE_ACTIVE);

impl Subchannel {
    /// Whether an interruption of one of these subclasses is pending.
    pub(super) const fn interrupts(&self, admitted: u8) -> bool {
        let subclass = self.schib.pmcw.interruption_subclass();
        let [area, ..] = self.schib.model_area;
        self.schib.scsw.is_status_pending()
            && area & INTERRUPTION_TAKEN == 0
            && admitted & (0x80 >> subclass) != 0
    }

    /// Notes that the interruption was taken.
    pub(super) const fn note_interruption(&mut self) {
        self.schib.model_area[0] |= INTERRUPTION_TAKEN;
    }

    /// Whether status is pending that is not intermediate.
    pub(super) fn has_final_status(&self) -> bool {
        let status = self.schib.scsw.control.intersection(STATUS);
        status.contains(ScswControl::STATUS_PENDING)
            && status != ScswControl::STATUS_PENDING | ScswControl::INTERMEDIATE_STATUS
    }

    /// TEST SUBCHANNEL: gives the status and takes away what it told.
    pub(super) fn test(&mut self) -> (ConditionCode, Irb) {
        let pmcw = &self.schib.pmcw;
        if !pmcw.has_device() || !pmcw.is_enabled() {
            return (ConditionCode::NotOperational, Irb::default());
        }
        let scsw = self.schib.scsw;
        if !scsw.is_status_pending() {
            return (ConditionCode::Status, Irb::of_status(scsw, 0));
        }
        let mut irb = Irb::of_status(scsw, pmcw.last_used_path);
        if scsw.flags.contains(ScswFlags::EXTENDED_CONTROL) {
            irb = irb.with_sense(&mem::take(&mut self.sense));
        }
        if self.has_final_status() {
            let control = scsw.control.intersection(LASTING);
            self.schib.scsw = Scsw { control, ..Scsw::default() };
            self.orb = None;
        } else {
            self.clear_intermediate();
        }
        self.schib.model_area[0] &= !INTERRUPTION_TAKEN;
        (ConditionCode::Done, irb)
    }

    /// Clears an intermediate status; the function that it is of goes on.
    fn clear_intermediate(&mut self) {
        let scsw = &mut self.schib.scsw;
        scsw.control.remove(STATUS);
        scsw.flags.remove(ScswFlags::ZERO_CONDITION_CODE);
        scsw.subchannel_status.remove(SubchannelStatus::PROGRAM_CONTROLLED_INTERRUPTION);
        if scsw.control.contains(ScswControl::SUSPENDED) {
            scsw.flags.remove(ScswFlags::PATH_NOT_OPERATIONAL);
        }
    }

    /// Withdraws status that was not fetched: another function comes in between.
    pub(super) fn withdraw_status(&mut self) {
        let scsw = &mut self.schib.scsw;
        scsw.control.remove(STATUS);
        scsw.subchannel_status.remove(SubchannelStatus::PROGRAM_CONTROLLED_INTERRUPTION);
        self.schib.model_area[0] &= !INTERRUPTION_TAKEN;
    }

    /// Makes status of these kinds pending, in addition to what is pending already.
    fn present(&mut self, kinds: ScswControl) {
        let scsw = &mut self.schib.scsw;
        if !scsw.is_status_pending() {
            self.schib.model_area[0] &= !INTERRUPTION_TAKEN;
        }
        scsw.control.insert(kinds | ScswControl::STATUS_PENDING);
        let usual = SubchannelStatus::PROGRAM_CONTROLLED_INTERRUPTION;
        if scsw.device_status.difference(ENDED) != DeviceStatus::empty()
            || scsw.subchannel_status.difference(usual) != SubchannelStatus::empty()
        {
            scsw.control.insert(ScswControl::ALERT_STATUS);
        }
        let is_check = scsw.device_status.contains(DeviceStatus::UNIT_CHECK);
        if is_check && self.schib.pmcw.has_concurrent_sense() {
            scsw.flags.insert(ScswFlags::EXTENDED_CONTROL);
        }
    }

    /// Intermediate status: the program goes on.
    pub(super) fn interrupt(&mut self, behind: u32, status: SubchannelStatus) {
        let scsw = &mut self.schib.scsw;
        scsw.program_address = behind;
        scsw.subchannel_status.insert(status);
        self.present(ScswControl::INTERMEDIATE_STATUS);
    }

    /// Takes over how the last command ended; some device status comes later.
    fn take_end(&mut self, end: &End, later: DeviceStatus) {
        let scsw = &mut self.schib.scsw;
        scsw.program_address = end.behind;
        scsw.device_status = end.device_status.difference(later);
        scsw.subchannel_status.insert(end.subchannel_status);
        scsw.residual_count = end.residual_count;
    }

    fn remove_activities(&mut self) {
        self.schib.scsw.control.remove(ScswControl::ACTIVITIES);
    }

    /// Channel end and device end together.
    pub(super) fn end_all(&mut self, end: &End) {
        self.take_end(end, DeviceStatus::empty());
        self.remove_activities();
        self.present(PRIMARY_AND_SECONDARY);
    }

    /// Channel end; device end comes later.
    pub(super) fn end_channel(&mut self, end: &End) {
        self.take_end(end, DeviceStatus::DEVICE_END);
        self.remove_activities();
        self.schib.scsw.control.insert(ScswControl::DEVICE_ACTIVE);
        self.present(ScswControl::PRIMARY_STATUS);
    }

    /// Device end after channel end.
    pub(super) fn end_device(&mut self, end: &End) {
        let scsw = &mut self.schib.scsw;
        scsw.control.remove(ScswControl::DEVICE_ACTIVE);
        let late = end.device_status.intersection(DeviceStatus::DEVICE_END);
        // A function that was accepted in between has waited for this, and begins now.
        if !late.is_empty() && !scsw.control.contains(ScswControl::START_PENDING) {
            scsw.device_status.insert(late);
            self.present(ScswControl::SECONDARY_STATUS);
        }
    }

    /// The channel cannot go on before it has given a command to the device.
    pub(super) fn end_checked(&mut self, check: &Check) {
        let scsw = &mut self.schib.scsw;
        scsw.program_address = check.behind;
        scsw.device_status = DeviceStatus::empty();
        scsw.subchannel_status.insert(check.status);
        self.remove_activities();
        self.present(PRIMARY_AND_SECONDARY);
    }

    /// The device was taken away under a program that has begun.
    pub(super) fn end_severed(&mut self) {
        let status = SubchannelStatus::INTERFACE_CONTROL_CHECK;
        self.schib.scsw.subchannel_status.insert(status);
        self.remove_activities();
        self.present(PRIMARY_AND_SECONDARY);
    }

    /// No path leads to the device: deferred condition code 3.
    pub(super) fn end_unreached(&mut self) {
        self.schib.scsw = self.schib.scsw.with_deferred_condition_code(3);
        self.remove_activities();
        self.present(ScswControl::ALERT_STATUS);
    }

    /// The device had something to tell instead of a command: deferred condition code 1.
    pub(super) fn end_before_start(&mut self, status: DeviceStatus) {
        self.schib.scsw = self.schib.scsw.with_deferred_condition_code(1);
        self.schib.scsw.device_status = status;
        self.remove_activities();
        self.present(ScswControl::ALERT_STATUS);
    }

    /// Status that nobody asked for.
    pub(super) fn alert(&mut self, status: DeviceStatus) {
        self.schib.scsw = Scsw { device_status: status, ..Scsw::default() };
        self.present(ScswControl::ALERT_STATUS);
    }

    /// The program waits at this command.
    pub(super) fn suspend(&mut self, command: &Command, quietly: bool) {
        self.remove_activities();
        let scsw = &mut self.schib.scsw;
        scsw.control.insert(ScswControl::SUSPENDED);
        scsw.program_address = command.behind;
        scsw.device_status = DeviceStatus::empty();
        scsw.residual_count = command.count;
        if !quietly {
            self.present(ScswControl::INTERMEDIATE_STATUS);
        }
    }

    /// The halt function is performed; a device that was at work has ended it.
    pub(super) fn end_halt(&mut self, had_device: bool) {
        self.remove_activities();
        if had_device {
            self.schib.scsw.device_status = ENDED;
            self.present(PRIMARY_AND_SECONDARY);
        } else {
            self.present(ScswControl::empty());
        }
    }

    /// The clear function is performed.
    pub(super) fn end_clear(&mut self) {
        let pmcw = &mut self.schib.pmcw;
        pmcw.operational_paths = 0xFF;
        pmcw.last_used_path = 0;
        pmcw.not_operational_paths = 0;
        let control = ScswControl::CLEAR_FUNCTION;
        self.schib.scsw = Scsw { control, ..Scsw::default() };
        self.present(ScswControl::empty());
    }
}
