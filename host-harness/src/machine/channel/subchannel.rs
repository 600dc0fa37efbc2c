//! One subchannel: its functions, and its channel program on the way.
//!
//! Source of truth: Principles of Operation, chapters "I/O Instructions" and "Basic I/O Functions"
//! (start, halt, clear and resume function, path management).
//!
//! Invariants: all state that the guest could notice is in the subchannel's information block, the
//! operation-request block and the sense bytes, so that an image of these goes on elsewhere. A
//! program runs only on a device that is attached, and under the epoch of the attachment; none
//! begins while the subchannel is held. Deliberately not here: which status that gives (see
//! `status`), measurement, address limits, extended channel-program types.

use super::{
    ccw::Fetcher,
    program::{Course, Run, Stage},
    subsystem::AttachedDevice,
};
use crate::machine::{Access, ConditionCode, Path, Sense, Storage};
use monitor_core::{
    channel::{
        DeviceStatus, Orb, Pmcw, Schib, Scsw, ScswControl, ScswFlags, SubchannelImage,
        SubchannelStatus,
    },
    device::Conduct,
    units::{Epoch, Micros, SubchannelNumber, Tick, VmName},
};

/// When a busy device is tried again, and a waiting one asked.
pub(super) const RETRY: Micros = Micros::new(200);

/// Activities of a program on its way.
const ACTIVE: ScswControl = ScswControl::SUBCHANNEL_ACTIVE.union(ScswControl::DEVICE_ACTIVE);

/// The most stages of a program in one step.
const STAGES_MAX: usize = 4096;

/// Flags of the path-management-control word that MODIFY SUBCHANNEL sets: subclass, enablement,
/// limit mode, measurement modes, multipath mode.
const MODIFIABLE_FLAGS: u16 = 0x38FC;

/// Characteristics that it sets: extended measurement, measurement format, concurrent sense.
const MODIFIABLE_CHARACTERISTICS: u32 = 0x0000_0007;

/// A subchannel.
#[derive(Debug)]
pub(super) struct Subchannel {
    pub(super) attached: AttachedDevice,
    pub(super) vm: VmName,
    pub(super) number: SubchannelNumber,
    pub(super) schib: Schib,
    /// What the last accepted start was given, until its status is fetched.
    pub(super) orb: Option<Orb>,
    pub(super) sense: Sense,
    /// The epoch under which the device is usable, if it is.
    pub(super) epoch: Option<Epoch>,
    pub(super) held: bool,
    pub(super) run: Option<Run>,
    /// Paths, as a mask, on which the device does not answer.
    pub(super) cut_paths: u8,
    /// No start begins before.
    not_before: Tick,
    /// The program that waits because the device was busy: the device may tell it of its end.
    refused: Option<Access>,
}

impl Subchannel {
    pub(super) fn new(vm: VmName, attached: AttachedDevice) -> Self {
        let descriptor = attached.descriptor;
        let pmcw = attached.describe(Pmcw::of_device(descriptor.number));
        Self {
            attached,
            vm,
            number: descriptor.subchannel,
            schib: Schib { pmcw, ..Schib::default() },
            orb: None,
            sense: [0; 32],
            epoch: None,
            held: false,
            run: None,
            cut_paths: 0,
            not_before: Tick::new(0),
            refused: None,
        }
    }

    /// The begin of a channel program on one of the paths.
    pub(super) fn access(&self, epoch: Epoch, path: u8) -> Access {
        let paths = &self.attached.paths;
        let place = path.leading_zeros() as usize % paths.len().max(1);
        let path = paths.get(place).copied().unwrap_or(Path::default());
        Access::new(self.vm, epoch, path)
    }

    /// Whether the device is another access to its base.
    pub(super) fn is_alias(&self) -> bool {
        self.attached.descriptor.conduct() == Conduct::Alias
    }

    /// Whether there is a device and the subchannel is enabled.
    const fn is_operational(&self) -> bool {
        self.schib.pmcw.has_device() && self.schib.pmcw.is_enabled()
    }

    /// Whether a function is accepted and not told the end of.
    const fn is_busy(&self) -> bool {
        self.schib.scsw.control.intersects(ScswControl::FUNCTIONS)
    }

    const fn has(&self, control: ScswControl) -> bool {
        self.schib.scsw.control.contains(control)
    }

    /// START SUBCHANNEL.
    pub(super) fn start(&mut self, orb: &Orb, now: Tick) -> ConditionCode {
        let has_path = orb.logical_paths & self.schib.pmcw.available_paths != 0;
        if self.epoch.is_none() || !self.is_operational() || !has_path {
            return ConditionCode::NotOperational;
        }
        if self.schib.scsw.is_status_pending() {
            return ConditionCode::Status;
        }
        if self.is_busy() {
            return ConditionCode::Busy;
        }
        let Schib { pmcw, scsw, .. } = &mut self.schib;
        pmcw.interruption_parameter = orb.interruption_parameter;
        pmcw.logical_paths = orb.logical_paths;
        pmcw.not_operational_paths = 0;
        // The device may still be at work for the program before, whose status was fetched.
        let device = scsw.control.intersection(ScswControl::DEVICE_ACTIVE);
        *scsw = Scsw {
            flags: ScswFlags::from_bits_retain(orb.flags).intersection(ScswFlags::OF_REQUEST),
            control: ScswControl::START_FUNCTION | ScswControl::START_PENDING | device,
            program_address: orb.program_address,
            ..Scsw::default()
        };
        self.orb = Some(*orb);
        self.not_before = now;
        self.begin(now);
        ConditionCode::Done
    }

    /// HALT SUBCHANNEL.
    pub(super) fn halt(&mut self) -> ConditionCode {
        if !self.is_operational() {
            return ConditionCode::NotOperational;
        }
        if self.has_final_status() {
            return ConditionCode::Status;
        }
        if self.has(ScswControl::HALT_FUNCTION) || self.has(ScswControl::CLEAR_FUNCTION) {
            return ConditionCode::Busy;
        }
        self.withdraw_status();
        let control = &mut self.schib.scsw.control;
        control.insert(ScswControl::HALT_FUNCTION | ScswControl::HALT_PENDING);
        ConditionCode::Done
    }

    /// CLEAR SUBCHANNEL.
    pub(super) fn clear(&mut self) -> ConditionCode {
        if !self.is_operational() {
            return ConditionCode::NotOperational;
        }
        self.withdraw_status();
        let device = self.schib.scsw.control.intersection(ACTIVE);
        let control = ScswControl::CLEAR_FUNCTION | ScswControl::CLEAR_PENDING | device;
        self.schib.scsw = Scsw { control, ..Scsw::default() };
        self.orb = None;
        ConditionCode::Done
    }

    /// CANCEL SUBCHANNEL.
    pub(super) fn cancel(&mut self) -> ConditionCode {
        const WAITS: ScswControl = ScswControl::START_PENDING.union(ScswControl::SUSPENDED);
        if !self.is_operational() {
            return ConditionCode::NotOperational;
        }
        let control = self.schib.scsw.control;
        if control.contains(ScswControl::STATUS_PENDING) {
            return ConditionCode::Status;
        }
        let only_start =
            control.intersection(ScswControl::FUNCTIONS) == ScswControl::START_FUNCTION;
        if !only_start || !control.intersects(WAITS) {
            return ConditionCode::Busy;
        }
        let control = control.intersection(ScswControl::DEVICE_ACTIVE);
        self.schib.scsw = Scsw { control, ..Scsw::default() };
        self.orb = None;
        self.forget_busy();
        ConditionCode::Done
    }

    /// RESUME SUBCHANNEL.
    pub(super) fn resume(&mut self, now: Tick) -> ConditionCode {
        if !self.is_operational() {
            return ConditionCode::NotOperational;
        }
        let scsw = &mut self.schib.scsw;
        if scsw.is_status_pending() {
            return ConditionCode::Status;
        }
        let functions = scsw.control.intersection(ScswControl::FUNCTIONS);
        if functions != ScswControl::START_FUNCTION
            || scsw.control.contains(ScswControl::RESUME_PENDING)
            || !scsw.flags.contains(ScswFlags::SUSPEND_CONTROL)
        {
            return ConditionCode::Busy;
        }
        scsw.control.insert(ScswControl::RESUME_PENDING);
        if scsw.control.contains(ScswControl::SUSPENDED) {
            self.schib.pmcw.not_operational_paths = 0;
            if self.epoch.is_none() {
                self.end_unreached();
            }
        }
        self.begin(now);
        ConditionCode::Done
    }

    /// MODIFY SUBCHANNEL. What it does not set stays as it is.
    pub(super) fn modify(&mut self, wanted: &Schib) -> ConditionCode {
        if !self.schib.pmcw.has_device() {
            return ConditionCode::Done;
        }
        if self.schib.scsw.is_status_pending() {
            return ConditionCode::Status;
        }
        if self.is_busy() {
            return ConditionCode::Busy;
        }
        let (pmcw, new) = (&mut self.schib.pmcw, &wanted.pmcw);
        pmcw.interruption_parameter = new.interruption_parameter;
        pmcw.flags = pmcw.flags & !MODIFIABLE_FLAGS | new.flags & MODIFIABLE_FLAGS;
        pmcw.logical_paths = new.logical_paths;
        pmcw.measurement_index = new.measurement_index;
        pmcw.operational_paths = new.operational_paths;
        pmcw.characteristics = pmcw.characteristics & !MODIFIABLE_CHARACTERISTICS
            | new.characteristics & MODIFIABLE_CHARACTERISTICS;
        self.schib.measurement_address = wanted.measurement_address;
        ConditionCode::Done
    }

    /// Does what is due until `now`.
    pub(super) fn advance(&mut self, now: Tick, storage: &Storage) {
        if self.has(ScswControl::CLEAR_PENDING) {
            self.stop_program();
            self.end_clear();
        } else if self.has(ScswControl::HALT_PENDING) {
            let had_device = self.stop_program();
            self.end_halt(had_device);
        }
        for _ in 0..STAGES_MAX {
            self.begin(now);
            let Some(run) = self.run.take_if(|run| run.due <= now) else {
                break;
            };
            let is_waiting = self.go_on(run, now, storage);
            if is_waiting {
                break;
            }
        }
        self.poll();
    }

    /// When there is something to do next.
    pub(super) fn next_due(&self, now: Tick) -> Option<Tick> {
        if let Some(run) = &self.run {
            // A waiting device is asked at each step, and at least so often.
            let waits = run.due <= now && matches!(run.stage, Stage::Command);
            return Some(if waits { now.after(RETRY) } else { run.due });
        }
        let begins = self.has(ScswControl::START_PENDING) || self.is_resumed();
        (begins && self.may_begin()).then_some(self.not_before)
    }

    const fn is_resumed(&self) -> bool {
        self.schib.scsw.is_suspended() && self.has(ScswControl::RESUME_PENDING)
    }

    const fn may_begin(&self) -> bool {
        !self.held && self.epoch.is_some() && self.run.is_none()
    }

    /// Begins the program of a pending start or resumption, unless it is held or not attached.
    fn begin(&mut self, now: Tick) {
        let is_resumed = self.is_resumed();
        let is_due = self.not_before <= now;
        let (Some(epoch), true) = (self.epoch, self.may_begin() && is_due) else {
            return;
        };
        if !is_resumed && !self.has(ScswControl::START_PENDING) {
            return;
        }
        self.refused = None;
        let address = self.schib.scsw.program_address.wrapping_sub(if is_resumed { 8 } else { 0 });
        let due = now.after(self.attached.latency);
        self.run = Some(Run::new(self.access(epoch, 0x80), address, is_resumed, due));
        let control = &mut self.schib.scsw.control;
        control.remove(ScswControl::START_PENDING | ScswControl::SUSPENDED);
        control.insert(ACTIVE);
    }

    /// Lets a program go on to its next stage; true when its device waits.
    fn go_on(&mut self, mut run: Run, now: Tick, storage: &Storage) -> bool {
        match run.stage {
            Stage::Reach => {
                if self.reach(&mut run) {
                    if run.is_resumed {
                        self.schib.scsw.control.remove(ScswControl::RESUME_PENDING);
                    }
                    run.stage = Stage::Command;
                    self.run = Some(run);
                }
            }
            Stage::Command => return self.command(run, now, storage),
            Stage::ChannelEnd(end) => {
                if run.needs_device() || end.device_end_after > Micros::new(0) {
                    if !run.needs_device() {
                        self.end_channel(&end);
                    }
                    run.due = run.due.after(end.device_end_after);
                    run.stage = Stage::DeviceEnd(end);
                    self.run = Some(run);
                } else {
                    self.end_all(&end);
                }
            }
            Stage::DeviceEnd(end) => {
                if run.follow(&end) {
                    self.run = Some(run);
                } else {
                    self.end_device(&end);
                }
            }
        }
        false
    }

    /// Reaches the device by the first path that works; false when that ends the program.
    fn reach(&mut self, run: &mut Run) -> bool {
        let pmcw = &mut self.schib.pmcw;
        let usable = pmcw.logical_paths & pmcw.available_paths & pmcw.operational_paths;
        let tried = usable & self.cut_paths;
        let works = usable & !self.cut_paths;
        let path = if works == 0 { 0 } else { 0x80 >> works.leading_zeros() };
        // The paths left of the one that works were tried as well.
        let found = if path == 0 { tried } else { tried & !(path | (path - 1)) };
        pmcw.not_operational_paths |= found;
        pmcw.operational_paths &= !found;
        if pmcw.not_operational_paths != 0 {
            self.schib.scsw.flags.insert(ScswFlags::PATH_NOT_OPERATIONAL);
        }
        if path == 0 {
            self.end_unreached();
            return false;
        }
        self.schib.pmcw.last_used_path = path;
        run.access = self.access(run.access.epoch, path);
        match self.attached.device.take_unsolicited(&run.access) {
            // Device end alone: it is busy no more, as the program has waited for.
            None | Some(DeviceStatus::DEVICE_END) => return true,
            Some(status) => self.end_before_start(status),
        }
        false
    }

    /// Carries out the next command; true when the device waits.
    fn command(&mut self, mut run: Run, now: Tick, storage: &Storage) -> bool {
        let Some(orb) = self.orb else {
            return false;
        };
        let fetcher = Fetcher::new(storage, &orb);
        match run.command(fetcher, &*self.attached.device, &mut self.sense) {
            Course::Goes { interrupts, is_accepted, behind } => {
                if interrupts {
                    self.interrupt(behind, SubchannelStatus::PROGRAM_CONTROLLED_INTERRUPTION);
                }
                if is_accepted && orb.wants_initial_status() {
                    self.schib.scsw.flags.insert(ScswFlags::ZERO_CONDITION_CODE);
                    self.interrupt(behind, SubchannelStatus::empty());
                }
                self.run = Some(run);
            }
            Course::Waits => {
                run.due = run.due.max(now);
                self.run = Some(run);
                if self.held {
                    self.rewind();
                }
                return true;
            }
            Course::Busy => {
                self.not_before = now.after(RETRY);
                self.refused = Some(run.access);
                self.return_to_start(&run);
            }
            Course::Refused(status) => self.end_before_start(status),
            Course::Suspends(command) => {
                if self.has(ScswControl::RESUME_PENDING) {
                    // The word is looked at once more: the program may have changed it.
                    self.schib.scsw.control.remove(ScswControl::RESUME_PENDING);
                    let address = command.behind.wrapping_sub(8);
                    run = Run::new(run.access, address, true, run.due);
                    run.stage = Stage::Command;
                    self.run = Some(run);
                } else {
                    self.suspend(&command, orb.suppresses_suspended());
                }
            }
            Course::Checks(check) => self.end_checked(&check),
        }
        false
    }

    /// Gives up the program on its way; true when there was one.
    fn stop_program(&mut self) -> bool {
        self.forget_busy();
        let Some(run) = self.run.take() else {
            return false;
        };
        if self.epoch.is_some() {
            self.attached.device.cancel(&run.access);
        }
        true
    }

    /// The program that waits for a busy device does so no more: its end is not to be told.
    fn forget_busy(&mut self) {
        if let (Some(access), true) = (self.refused.take(), self.epoch.is_some()) {
            self.attached.device.cancel(&access);
        }
    }

    /// Makes a program pending again of which nothing was carried out.
    pub(super) fn rewind(&mut self) {
        if let Some(run) = self.run.take_if(|run| run.has_not_begun()) {
            self.attached.device.cancel(&run.access);
            self.return_to_start(&run);
        }
    }

    /// Makes the program pending, to begin where `run` did.
    fn return_to_start(&mut self, run: &Run) {
        let scsw = &mut self.schib.scsw;
        scsw.control.remove(ACTIVE);
        if run.is_resumed {
            scsw.control.insert(ScswControl::SUSPENDED | ScswControl::RESUME_PENDING);
            scsw.program_address = run.next.wrapping_add(8);
        } else {
            scsw.control.insert(ScswControl::START_PENDING);
        }
    }

    /// From now on no program begins. One that waits for the outside begins anew later.
    pub(super) fn hold(&mut self) {
        self.held = true;
        let waits = |run: &Run| matches!(run.stage, Stage::Command);
        if self.run.as_ref().is_some_and(waits) {
            self.rewind();
        }
    }

    /// Takes the device away. What has not begun is pending again; a program that would need the
    /// device ends, and one that only waits for its status goes on waiting.
    pub(super) fn detach(&mut self) {
        self.forget_busy();
        self.rewind();
        if let Some(run) = self.run.take_if(|run| run.needs_device()) {
            self.attached.device.cancel(&run.access);
            self.end_severed();
        }
        self.epoch = None;
    }

    /// Takes the device of a subchannel that is at rest away from a guest who goes on: no path
    /// leads to it any more, which ends what was to begin.
    pub(super) fn withdraw(&mut self) {
        const BEGINS: ScswControl = ScswControl::START_PENDING.union(ScswControl::RESUME_PENDING);
        self.epoch = None;
        if self.schib.scsw.control.intersects(BEGINS) {
            self.end_unreached();
        }
    }

    /// Whether nothing is on its way, so that an image of the subchannel is all that there is.
    pub(super) const fn is_at_rest(&self) -> bool {
        const PENDING: ScswControl = ScswControl::HALT_PENDING.union(ScswControl::CLEAR_PENDING);
        self.run.is_none() && !self.schib.scsw.control.intersects(PENDING)
    }

    /// Takes the device away for good, or brings it back.
    pub(super) fn install(&mut self, is_there: bool) {
        self.detach();
        let number = self.attached.descriptor.number;
        let pmcw = self.attached.describe(Pmcw::of_device(number));
        let pmcw = if is_there { pmcw } else { pmcw.without_device() };
        self.schib = Schib { pmcw, ..Schib::default() };
        (self.run, self.orb, self.sense) = (None, None, [0; 32]);
    }

    /// Takes over the state of another SU's subchannel, but for its paths: the device is reached by
    /// those of this SU, and nothing is known against them. Gives whether the guest sees others
    /// than before.
    pub(super) fn receive(&mut self, image: &SubchannelImage) -> bool {
        let here = self.schib.pmcw;
        self.schib = image.schib;
        self.orb = image.orb;
        self.sense = image.sense;
        self.run = None;
        let pmcw = &mut self.schib.pmcw;
        let seen = |it: &Pmcw| (it.installed_paths, it.available_paths, it.channel_paths);
        let differs = pmcw.has_device() && seen(pmcw) != seen(&here);
        if differs {
            // A guest that uses all paths does so here, and one that has chosen keeps to that.
            let uses_all = pmcw.logical_paths & pmcw.installed_paths == pmcw.installed_paths;
            let chosen = if uses_all { u8::MAX } else { pmcw.logical_paths };
            pmcw.logical_paths = chosen & here.installed_paths;
            pmcw.not_operational_paths &= here.installed_paths;
        }
        pmcw.installed_paths = here.installed_paths;
        pmcw.available_paths = here.available_paths;
        pmcw.operational_paths = here.operational_paths;
        pmcw.channel_paths = here.channel_paths;
        differs
    }

    /// Takes status that nobody asked for from an idle device.
    fn poll(&mut self) {
        let control = self.schib.scsw.control;
        let is_idle = self.is_operational()
            && !self.held
            && !control.intersects(ScswControl::FUNCTIONS | ScswControl::ACTIVITIES)
            && !control.contains(ScswControl::STATUS_PENDING);
        let (Some(epoch), true) = (self.epoch, is_idle) else {
            return;
        };
        let access = self.access(epoch, 0x80);
        if let Some(status) = self.attached.device.take_unsolicited(&access) {
            self.alert(status);
        }
    }
}
