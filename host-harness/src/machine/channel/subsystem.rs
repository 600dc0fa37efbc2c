//! Subchannels: the start of a channel program, its end, and the interruption that tells of it.
//!
//! Source of truth: Principles of Operation, chapters "I/O Instructions" and "I/O Interruptions".
//!
//! Invariants: all state that the guest could notice is in the subchannel's information block,
//! the operation-request block and the sense bytes, so that an image of these goes on elsewhere.
//! That the interruption of a pending status has been taken is noted in the block's
//! model-dependent area; so it is taken exactly once. An I/O carries the epoch under which its
//! device was attached. Deliberately not here: HALT and CLEAR SUBCHANNEL, path management.

use super::program::Run;
use crate::machine::{Access, ConditionCode, Device, Path, Sense, Storage};
use monitor_core::{
    channel::{
        DeviceStatus, Orb, Pmcw, Schib, Scsw, ScswControl, SubchannelImage, SubchannelStatus,
    },
    device::DeviceDescriptor,
    units::{DeviceSlot, Epoch, Micros, SubchannelNumber, Tick, VmName},
};
use std::{fmt, sync::Arc};

/// Bit of the model-dependent area: the interruption of the pending status has been taken.
const INTERRUPTION_TAKEN: u8 = 0x80;

/// A device as one VM on one SU has it.
#[derive(Clone, Debug)]
pub struct AttachedDevice {
    /// What the monitor knows of the device.
    pub descriptor: DeviceDescriptor,
    /// The device itself.
    pub device: Arc<dyn Device>,
    /// How long it takes to reach the device, in addition to what its commands take.
    pub latency: Micros,
    /// The paths by which this SU reaches it, at most eight.
    pub paths: Vec<Path>,
}

/// Why the monitor's operation on a subchannel fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    /// There is no device in this slot.
    NoSuchSlot,
    /// The descriptor or image belongs to another device.
    OtherDevice,
    /// The image shows an I/O in flight, which cannot be carried.
    NotMovable,
    /// The device has seen a higher epoch.
    Fenced,
}

impl ChannelError {
    /// What to tell an operator.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSuchSlot => "no device in this slot",
            Self::OtherDevice => "subchannel belongs to another device",
            Self::NotMovable => "subchannel has an I/O in flight",
            Self::Fenced => "device is fenced by a higher epoch",
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for ChannelError {}

/// An I/O interruption on its way to a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) struct IoInterruption {
    pub(in crate::machine) subchannel: SubchannelNumber,
    pub(in crate::machine) parameter: u32,
    pub(in crate::machine) subclass: u8,
}

#[derive(Debug)]
struct Subchannel {
    attached: AttachedDevice,
    number: SubchannelNumber,
    schib: Schib,
    /// What the last accepted start was given, until its status is fetched.
    orb: Option<Orb>,
    sense: Sense,
    /// The epoch under which the device is usable, if it is.
    epoch: Option<Epoch>,
    held: bool,
    /// When the channel program that is in flight ends.
    due: Option<Tick>,
}

impl AttachedDevice {
    /// A device that is reached by one path.
    #[must_use]
    pub fn new(
        descriptor: DeviceDescriptor,
        device: Arc<dyn Device>,
        latency: Micros,
        path: Path,
    ) -> Self {
        Self { descriptor, device, latency, paths: vec![path] }
    }

    /// The begin of a channel program.
    fn access(&self, vm: VmName, epoch: Epoch) -> Access {
        Access::new(vm, epoch, self.paths.first().copied().unwrap_or_default())
    }
}

impl Subchannel {
    fn new(attached: AttachedDevice) -> Self {
        let descriptor = attached.descriptor;
        let pmcw = Pmcw::of_device(descriptor.number);
        Self {
            attached,
            number: descriptor.subchannel,
            schib: Schib { pmcw, ..Schib::default() },
            orb: None,
            sense: [0; 32],
            epoch: None,
            held: false,
            due: None,
        }
    }

    fn start(&mut self, orb: &Orb, now: Tick) -> ConditionCode {
        let Schib { pmcw, scsw, .. } = &mut self.schib;
        if self.epoch.is_none() || !pmcw.is_enabled() {
            return ConditionCode::NotOperational;
        }
        if scsw.is_status_pending() {
            return ConditionCode::Status;
        }
        if scsw.control.intersects(ScswControl::FUNCTIONS) {
            return ConditionCode::Busy;
        }
        pmcw.interruption_parameter = orb.interruption_parameter;
        let control = ScswControl::START_FUNCTION | ScswControl::START_PENDING;
        *scsw = Scsw { control, ..Scsw::default() };
        self.orb = Some(*orb);
        self.begin(now);
        ConditionCode::Done
    }

    /// Begins the channel program of a pending start, unless it is held or not attached.
    fn begin(&mut self, now: Tick) {
        let control = &mut self.schib.scsw.control;
        if self.held || self.epoch.is_none() || !control.contains(ScswControl::START_PENDING) {
            return;
        }
        control.remove(ScswControl::START_PENDING);
        control.insert(ScswControl::SUBCHANNEL_ACTIVE | ScswControl::DEVICE_ACTIVE);
        self.due = Some(now.after(self.attached.latency));
    }

    /// Carries out the channel program if it is due, and makes its status pending.
    fn end_if_due(&mut self, now: Tick, vm: VmName, storage: &Storage) {
        let (Some(orb), Some(epoch)) = (self.orb, self.epoch) else {
            return;
        };
        if self.due.take_if(|due| *due <= now).is_none() {
            return;
        }
        let device = &*self.attached.device;
        let access = self.attached.access(vm, epoch);
        let ending = Run { storage, device, access, sense: &mut self.sense }.complete(&orb);
        let alert = ending.device_status.contains(DeviceStatus::UNIT_CHECK)
            || ending.subchannel_status != SubchannelStatus::empty();
        let mut control = ScswControl::START_FUNCTION
            | ScswControl::PRIMARY_STATUS
            | ScswControl::SECONDARY_STATUS
            | ScswControl::STATUS_PENDING;
        control.set(ScswControl::ALERT_STATUS, alert);
        self.schib.scsw = Scsw { control, ..ending };
    }

    /// Whether an interruption of one of these subclasses is pending.
    fn interrupts(&self, admitted: u8) -> bool {
        let subclass = self.schib.pmcw.interruption_subclass();
        self.schib.scsw.is_status_pending()
            && self.schib.model_area[0] & INTERRUPTION_TAKEN == 0
            && admitted & (0x80 >> subclass) != 0
    }

    /// Gives the status and takes away what it told.
    fn test(&mut self) -> (ConditionCode, Scsw) {
        let status = self.schib.scsw;
        if !status.is_status_pending() {
            return (ConditionCode::Status, status);
        }
        self.schib.scsw = Scsw::default();
        self.schib.model_area[0] &= !INTERRUPTION_TAKEN;
        self.orb = None;
        (ConditionCode::Done, status)
    }
}

/// The channel subsystem of one VM.
#[derive(Debug)]
pub struct Subsystem {
    vm: VmName,
    subchannels: Vec<Subchannel>,
}

impl Subsystem {
    /// A subsystem with one disabled subchannel for each device; none is attached yet. The order
    /// of the devices is that of their slots.
    #[must_use]
    pub fn new(vm: VmName, devices: Vec<AttachedDevice>) -> Self {
        Self { vm, subchannels: devices.into_iter().map(Subchannel::new).collect() }
    }

    /// START SUBCHANNEL.
    pub fn start(&mut self, number: SubchannelNumber, orb: &Orb, now: Tick) -> ConditionCode {
        let found = self.numbered_mut(number);
        found.map_or(ConditionCode::NotOperational, |subchannel| subchannel.start(orb, now))
    }

    /// TEST SUBCHANNEL: gives the status and clears it.
    pub fn test(&mut self, number: SubchannelNumber) -> (ConditionCode, Scsw) {
        let none = (ConditionCode::NotOperational, Scsw::default());
        self.numbered_mut(number).map_or(none, Subchannel::test)
    }

    /// STORE SUBCHANNEL.
    #[must_use]
    pub fn store(&self, number: SubchannelNumber) -> Option<Schib> {
        let mut all = self.subchannels.iter();
        all.find(|subchannel| subchannel.number == number).map(|subchannel| subchannel.schib)
    }

    /// MODIFY SUBCHANNEL.
    pub fn modify(
        &mut self,
        number: SubchannelNumber,
        enabled: bool,
        isc: u8,
        intparm: u32,
    ) -> ConditionCode {
        let Some(Subchannel { schib: Schib { pmcw, scsw, .. }, .. }) = self.numbered_mut(number)
        else {
            return ConditionCode::NotOperational;
        };
        if scsw.is_status_pending() {
            return ConditionCode::Status;
        }
        if scsw.control.intersects(ScswControl::FUNCTIONS) {
            return ConditionCode::Busy;
        }
        *pmcw = pmcw.with_enabled(enabled).with_interruption_subclass(isc);
        pmcw.interruption_parameter = intparm;
        ConditionCode::Done
    }

    /// Ends the channel programs that are due, begins those whose hold has ended, and says when
    /// the next one is due.
    pub fn step(&mut self, now: Tick, storage: &Storage) -> Option<Tick> {
        for subchannel in &mut self.subchannels {
            subchannel.end_if_due(now, self.vm, storage);
            subchannel.begin(now);
        }
        self.subchannels.iter().filter_map(|subchannel| subchannel.due).min()
    }

    /// Takes the pending interruption of the lowest subclass among `admitted`, of which the
    /// leftmost bit is subclass 0.
    pub(in crate::machine) fn take_interruption(&mut self, admitted: u8) -> Option<IoInterruption> {
        let pending = self.subchannels.iter_mut().filter(|it| it.interrupts(admitted));
        let first = pending.min_by_key(|it| it.schib.pmcw.interruption_subclass())?;
        first.schib.model_area[0] |= INTERRUPTION_TAKEN;
        Some(IoInterruption {
            subchannel: first.number,
            parameter: first.schib.pmcw.interruption_parameter,
            subclass: first.schib.pmcw.interruption_subclass(),
        })
    }

    /// The epoch under which the device is attached; `None` when it is not.
    #[must_use]
    pub fn epoch(&self, slot: DeviceSlot) -> Option<Epoch> {
        self.at(slot).ok().and_then(|subchannel| subchannel.epoch)
    }

    /// Whether no channel program is in flight; one that is held and not begun is not.
    #[must_use]
    pub fn quiet(&self, slot: DeviceSlot) -> bool {
        self.at(slot).is_ok_and(|subchannel| subchannel.due.is_none())
    }

    /// Whether this slot has this very device.
    ///
    /// # Errors
    /// Fails when there is no device in the slot, or another one.
    pub fn check(
        &self,
        slot: DeviceSlot,
        descriptor: &DeviceDescriptor,
    ) -> Result<(), ChannelError> {
        let own = &self.at(slot)?.attached.descriptor;
        let same = (own.number, own.kind, own.identity)
            == (descriptor.number, descriptor.kind, descriptor.identity);
        if same { Ok(()) } else { Err(ChannelError::OtherDevice) }
    }

    /// From now on a start is accepted but its channel program is not begun.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn hold(&mut self, slot: DeviceSlot) -> Result<(), ChannelError> {
        self.at_mut(slot)?.held = true;
        Ok(())
    }

    /// Ends a hold; a start that was held begins with the next step.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn release(&mut self, slot: DeviceSlot) -> Result<(), ChannelError> {
        self.at_mut(slot)?.held = false;
        Ok(())
    }

    /// Makes the device usable under `epoch`, and ends a hold.
    ///
    /// # Errors
    /// Fails when there is no such device, or it has seen a higher epoch.
    pub fn attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), ChannelError> {
        let vm = self.vm;
        let subchannel = self.at_mut(slot)?;
        let access = subchannel.attached.access(vm, epoch);
        subchannel.attached.device.admit(&access).map_err(|_| ChannelError::Fenced)?;
        subchannel.epoch = Some(epoch);
        subchannel.held = false;
        Ok(())
    }

    /// Takes the device away; an I/O in flight never reaches it, and its start is pending again.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn detach(&mut self, slot: DeviceSlot) -> Result<(), ChannelError> {
        let subchannel = self.at_mut(slot)?;
        subchannel.epoch = None;
        if subchannel.due.take().is_some() {
            let control = ScswControl::START_FUNCTION | ScswControl::START_PENDING;
            subchannel.schib.scsw.control = control;
        }
        Ok(())
    }

    /// Writes the state of the subchannel into `image`, changing nothing.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn capture(
        &self,
        slot: DeviceSlot,
        image: &mut SubchannelImage,
    ) -> Result<(), ChannelError> {
        let Subchannel { attached, number, schib, orb, sense, .. } = self.at(slot)?;
        let device = attached.descriptor.number;
        let (subchannel, schib, orb, sense) = (*number, *schib, *orb, *sense);
        *image = SubchannelImage { subchannel, device, schib, orb, sense };
        Ok(())
    }

    /// Loads the state of the subchannel from `image`; the subchannel takes its number.
    ///
    /// # Errors
    /// Fails when there is no such device, the image is of another one, its number is taken, or
    /// it shows an I/O in flight.
    pub fn restore(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), ChannelError> {
        let own = usize::from(slot.get());
        let mut others = self.subchannels.iter().enumerate().filter(|(index, _)| *index != own);
        let taken = others.any(|(_, other)| other.number == image.subchannel);
        let subchannel = self.at_mut(slot)?;
        if taken || image.device != subchannel.attached.descriptor.number {
            return Err(ChannelError::OtherDevice);
        }
        if !image.is_movable() {
            return Err(ChannelError::NotMovable);
        }
        subchannel.number = image.subchannel;
        subchannel.schib = image.schib;
        subchannel.orb = image.orb;
        subchannel.sense = image.sense;
        subchannel.due = None;
        Ok(())
    }

    fn numbered_mut(&mut self, number: SubchannelNumber) -> Option<&mut Subchannel> {
        self.subchannels.iter_mut().find(|subchannel| subchannel.number == number)
    }

    fn at(&self, slot: DeviceSlot) -> Result<&Subchannel, ChannelError> {
        self.subchannels.get(usize::from(slot.get())).ok_or(ChannelError::NoSuchSlot)
    }

    fn at_mut(&mut self, slot: DeviceSlot) -> Result<&mut Subchannel, ChannelError> {
        self.subchannels.get_mut(usize::from(slot.get())).ok_or(ChannelError::NoSuchSlot)
    }
}
