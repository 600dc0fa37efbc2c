//! The channel subsystem of one VM: I/O instructions, interruptions, and what the monitor does with
//! subchannels.
//!
//! Source of truth: Principles of Operation, chapters "I/O Instructions" and "I/O Interruptions",
//! "Channel-Subsystem Recovery" (channel reports).
//!
//! Invariants: interruptions are derived from the subchannels, so that they move with these; the
//! lowest subclass comes first. An operand that is not well formed is refused before anything is
//! looked for. Deliberately not here: the queue of channel reports, which the machine has.

use super::{operand, subchannel::Subchannel};
use crate::machine::{Access, ConditionCode, Device, Exception, Path, SenseId, Storage};
use monitor_core::{
    channel::{ChannelReportWord, Irb, Orb, Pmcw, Schib, ScswControl, SubchannelImage},
    device::DeviceDescriptor,
    units::{DeviceSlot, Epoch, Micros, SubchannelNumber, Tick, VmName},
};
use std::{fmt, mem, sync::Arc};

/// A device as one VM on one SU has it.
#[derive(Clone, Debug)]
pub struct AttachedDevice {
    /// What the monitor knows of the device.
    pub descriptor: DeviceDescriptor,
    /// The device itself.
    pub device: Arc<dyn Device>,
    /// How long it takes to reach the device, in addition to what its commands take.
    pub latency: Micros,
    /// The paths by which this SU reaches it, at most eight; none if it does not have it.
    pub paths: Vec<Path>,
    /// Other SUs that reach it, from which the VM may have come.
    pub other_systems: Vec<u16>,
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
    /// This SU does not have the device.
    NoPath,
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
            Self::NoPath => "no path leads to the device",
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

impl std::error::Error for ChannelError {}

/// The bit of an interruption identification that says that an adapter interrupts.
const ADAPTER: u32 = 1 << 31;

/// An I/O interruption on its way to a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoInterruption {
    /// The subchannel that interrupts; none when it is an adapter.
    pub subchannel: Option<SubchannelNumber>,
    /// What its last start gave; zero of an adapter.
    pub parameter: u32,
    /// Its interruption subclass.
    pub subclass: u8,
}

impl IoInterruption {
    /// What a processor or TEST PENDING INTERRUPTION stores: subsystem identification, parameter,
    /// and interruption identification.
    #[must_use]
    pub fn to_words(self) -> [u32; 3] {
        let subclass = u32::from(self.subclass) << 27;
        match self.subchannel {
            Some(number) => [0x0001_0000 | u32::from(number.get()), self.parameter, subclass],
            None => [0, 0, ADAPTER | subclass],
        }
    }
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
        Self { descriptor, device, latency, paths: vec![path], other_systems: Vec::new() }
    }

    /// The same, which these SUs reach too.
    #[must_use]
    pub fn reached_from(self, other_systems: Vec<u16>) -> Self {
        Self { other_systems, ..self }
    }

    /// The same with the paths of the device.
    pub(super) fn describe(&self, pmcw: Pmcw) -> Pmcw {
        let mut channel_paths = [0; 8];
        for (place, path) in channel_paths.iter_mut().zip(&self.paths) {
            *place = path.channel;
        }
        let count = u32::try_from(self.paths.len()).unwrap_or(8);
        let paths = !0xFF_u8.checked_shr(count).unwrap_or(0);
        Pmcw {
            logical_paths: paths,
            installed_paths: paths,
            available_paths: paths,
            channel_paths,
            ..pmcw
        }
    }
}

/// The channel subsystem of one VM.
#[derive(Debug)]
pub struct Subsystem {
    subchannels: Vec<Subchannel>,
    /// What has happened to subchannels and paths, oldest first.
    reports: Vec<ChannelReportWord>,
}

/// I/O instructions.
impl Subsystem {
    /// A subsystem with one disabled subchannel for each device; none is attached yet. The order
    /// of the devices is that of their slots.
    #[must_use]
    pub fn new(vm: VmName, devices: Vec<AttachedDevice>) -> Self {
        let subchannels = devices.into_iter().map(|device| Subchannel::new(vm, device)).collect();
        Self { subchannels, reports: Vec::new() }
    }

    /// START SUBCHANNEL.
    ///
    /// # Errors
    /// Fails with an operand exception when `orb` is not well formed.
    pub fn start(
        &mut self,
        number: SubchannelNumber,
        orb: &Orb,
        now: Tick,
    ) -> Result<ConditionCode, Exception> {
        operand::check_request(orb)?;
        Ok(self.instruct(number, |subchannel| subchannel.start(orb, now)))
    }

    /// TEST SUBCHANNEL: gives the status and clears it.
    pub fn test(&mut self, number: SubchannelNumber) -> (ConditionCode, Irb) {
        let none = (ConditionCode::NotOperational, Irb::default());
        self.numbered_mut(number).map_or(none, Subchannel::test)
    }

    /// STORE SUBCHANNEL.
    #[must_use]
    pub fn store(&self, number: SubchannelNumber) -> Option<Schib> {
        let mut all = self.subchannels.iter();
        all.find(|subchannel| subchannel.number == number).map(|subchannel| subchannel.schib)
    }

    /// What the device behind a subchannel is.
    #[must_use]
    pub fn sense_id(&self, number: SubchannelNumber) -> Option<SenseId> {
        let mut all = self.subchannels.iter();
        all.find(|subchannel| subchannel.number == number).map(|it| it.attached.device.sense_id())
    }

    /// MODIFY SUBCHANNEL: takes from `schib` what the program may set.
    ///
    /// # Errors
    /// Fails with an operand exception when `schib` is not well formed.
    pub fn modify(
        &mut self,
        number: SubchannelNumber,
        schib: &Schib,
    ) -> Result<ConditionCode, Exception> {
        operand::check_control_word(&schib.pmcw)?;
        Ok(self.instruct(number, |subchannel| subchannel.modify(schib)))
    }

    /// HALT SUBCHANNEL. It is performed with the next step.
    pub fn halt(&mut self, number: SubchannelNumber) -> ConditionCode {
        self.instruct(number, Subchannel::halt)
    }

    /// CLEAR SUBCHANNEL. It is performed with the next step.
    pub fn clear(&mut self, number: SubchannelNumber) -> ConditionCode {
        self.instruct(number, Subchannel::clear)
    }

    /// CANCEL SUBCHANNEL: takes back a start whose program has not begun or is suspended.
    pub fn cancel(&mut self, number: SubchannelNumber) -> ConditionCode {
        self.instruct(number, Subchannel::cancel)
    }

    /// RESUME SUBCHANNEL.
    pub fn resume(&mut self, number: SubchannelNumber, now: Tick) -> ConditionCode {
        self.instruct(number, |subchannel| subchannel.resume(now))
    }

    /// TEST PENDING INTERRUPTION, with these subclasses admitted: takes an interruption without
    /// interrupting. Condition code [`ConditionCode::Status`] says that there was one.
    pub fn test_pending(&mut self, admitted: u8) -> (ConditionCode, Option<IoInterruption>) {
        let taken = self.take_interruption(admitted);
        (if taken.is_some() { ConditionCode::Status } else { ConditionCode::Done }, taken)
    }

    /// Takes the pending interruption of the lowest subclass among `admitted`, of which the
    /// leftmost bit is subclass 0.
    pub(in crate::machine) fn take_interruption(&mut self, admitted: u8) -> Option<IoInterruption> {
        let pending = self.subchannels.iter_mut().filter(|it| it.interrupts(admitted));
        let first = pending.min_by_key(|it| it.schib.pmcw.interruption_subclass())?;
        first.note_interruption();
        Some(IoInterruption {
            subchannel: Some(first.number),
            parameter: first.schib.pmcw.interruption_parameter,
            subclass: first.schib.pmcw.interruption_subclass(),
        })
    }

    fn instruct(
        &mut self,
        number: SubchannelNumber,
        action: impl FnOnce(&mut Subchannel) -> ConditionCode,
    ) -> ConditionCode {
        self.numbered_mut(number).map_or(ConditionCode::NotOperational, action)
    }

    /// Does what is due in all subchannels, and says when the next thing is.
    pub fn step(&mut self, now: Tick, storage: &Storage) -> Option<Tick> {
        for subchannel in &mut self.subchannels {
            subchannel.advance(now, storage);
        }
        self.subchannels.iter().filter_map(|subchannel| subchannel.next_due(now)).min()
    }

    fn numbered_mut(&mut self, number: SubchannelNumber) -> Option<&mut Subchannel> {
        self.subchannels.iter_mut().find(|subchannel| subchannel.number == number)
    }
}

/// What the monitor does.
impl Subsystem {
    /// The epoch under which the device is attached; `None` when it is not.
    #[must_use]
    pub fn epoch(&self, slot: DeviceSlot) -> Option<Epoch> {
        self.at(slot).ok().and_then(|subchannel| subchannel.epoch)
    }

    /// Whether no channel program is in flight; one that is held and not begun is not, nor is one
    /// that has suspended itself.
    #[must_use]
    pub fn quiet(&self, slot: DeviceSlot) -> bool {
        self.at(slot).is_ok_and(Subchannel::is_at_rest)
    }

    /// Assigns the device of this slot: from now on the guest knows it by the subchannel number
    /// of `descriptor`; a device that is not assigned yet and has this number here takes another
    /// one. An alias has the number of `descriptor` for the guest, whichever it is here. Gives
    /// whether the number has to be virtualized, since it is another one here.
    ///
    /// # Errors
    /// Fails when there is no device in the slot, or one that cannot take the place of this one.
    pub fn assign(
        &mut self,
        slot: DeviceSlot,
        descriptor: &DeviceDescriptor,
    ) -> Result<bool, ChannelError> {
        let subchannel = self.at_mut(slot)?;
        let AttachedDevice { descriptor: own, paths, .. } = &subchannel.attached;
        let is_named_so = subchannel.is_alias() || own.number == descriptor.number;
        if !is_named_so || !descriptor.is_replaced_by(own) {
            return Err(ChannelError::OtherDevice);
        }
        if paths.is_empty() {
            return Err(ChannelError::NoPath);
        }
        let differs = descriptor.differs_from(own);
        self.renumber(slot, descriptor.subchannel)?;
        Ok(differs)
    }

    /// Detaches a quiet device from the guest, for which the subchannel is not operational from
    /// now on for START SUBCHANNEL, as without a path. Gives whether it was done: not, when the
    /// guest uses the device, as `has_job` or the subchannel says. An alias is never kept: a start
    /// or a resumption that waits for it is ended with the deferred condition code 3, and the
    /// guest starts it again on the base. A status that is pending, and a program that has
    /// suspended itself, stay as they are.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn withdraw(&mut self, slot: DeviceSlot, has_job: bool) -> Result<bool, ChannelError> {
        let subchannel = self.at_mut(slot)?;
        let scsw = &subchannel.schib.scsw;
        let is_used = scsw.is_status_pending() || scsw.control.intersects(ScswControl::FUNCTIONS);
        if !subchannel.is_alias() && (has_job || is_used) {
            return Ok(false);
        }
        subchannel.withdraw();
        Ok(true)
    }

    /// From now on a start is accepted but its channel program is not begun. A program whose
    /// device waits with the first command is given up at the device, and begins anew later.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn hold(&mut self, slot: DeviceSlot) -> Result<(), ChannelError> {
        self.at_mut(slot)?.hold();
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

    /// Ends every hold: the guest goes on, and its I/O with it.
    pub fn release_all(&mut self) {
        for subchannel in &mut self.subchannels {
            subchannel.held = false;
        }
    }

    /// Resets the device for a VM that is started anew under `epoch`: the device keeps nothing that
    /// an earlier start has set up, on whatever SU that was.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn reset(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), ChannelError> {
        let subchannel = self.at_mut(slot)?;
        let access = subchannel.access(epoch, 0x80);
        let AttachedDevice { device, other_systems, .. } = &subchannel.attached;
        for system in other_systems.iter().copied().chain([access.path.system]) {
            device.reset(&Access { path: Path { system, ..access.path }, ..access });
        }
        Ok(())
    }

    /// Makes the device usable under `epoch`, and ends a hold. What the VM has set up by its paths
    /// on other SUs, path groups and reservations, it has by those of this SU from now on.
    ///
    /// # Errors
    /// Fails when there is no such device, no path leads to it, or it has seen a higher epoch.
    pub fn attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Result<(), ChannelError> {
        let subchannel = self.at_mut(slot)?;
        let access = subchannel.access(epoch, 0x80);
        let AttachedDevice { device, other_systems, paths, .. } = &subchannel.attached;
        if paths.is_empty() {
            return Err(ChannelError::NoPath);
        }
        device.admit(&access).map_err(|_| ChannelError::Fenced)?;
        for system in other_systems {
            let from = Access { path: Path { system: *system, ..access.path }, ..access };
            device.adopt(&from, &access).map_err(|_| ChannelError::Fenced)?;
        }
        subchannel.epoch = Some(epoch);
        subchannel.held = false;
        Ok(())
    }

    /// Takes the device away; nothing reaches it any more. A channel program that has not begun is
    /// pending again; one that was in the middle ends with an interface-control check.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn detach(&mut self, slot: DeviceSlot) -> Result<(), ChannelError> {
        self.at_mut(slot)?.detach();
        Ok(())
    }

    /// Takes the device away for good, or brings it back: the guest is told by a channel report,
    /// and finds that the subchannel has a device no more, or again. It is not enabled then, and
    /// has nothing to do.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn install(&mut self, slot: DeviceSlot, is_there: bool) -> Result<(), ChannelError> {
        let subchannel = self.at_mut(slot)?;
        if subchannel.schib.pmcw.has_device() != is_there {
            subchannel.install(is_there);
            let report = ChannelReportWord::of_subchannel(subchannel.number);
            self.reports.push(report);
        }
        Ok(())
    }

    /// Varies the paths of `mask` on or off; the guest is told by channel reports.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn vary_paths(
        &mut self,
        slot: DeviceSlot,
        mask: u8,
        is_online: bool,
    ) -> Result<(), ChannelError> {
        let pmcw = &mut self.at_mut(slot)?.schib.pmcw;
        let mask = mask & pmcw.installed_paths;
        let before = pmcw.available_paths;
        pmcw.available_paths = if is_online { before | mask } else { before & !mask };
        let changed = before ^ pmcw.available_paths;
        let condition = if is_online {
            ChannelReportWord::INITIALIZED
        } else {
            ChannelReportWord::PERMANENT_ERROR
        };
        let channels = pmcw.channel_paths;
        for (place, channel) in channels.into_iter().enumerate() {
            if changed & (0x80 >> place) != 0 {
                let source = ChannelReportWord::CHANNEL_PATH;
                self.reports.push(ChannelReportWord::of(source, condition, u16::from(channel)));
            }
        }
        Ok(())
    }

    /// From now on the device answers on all paths but those of `mask`. The guest finds out when
    /// it uses one.
    ///
    /// # Errors
    /// Fails when there is no such device.
    pub fn cut_paths(&mut self, slot: DeviceSlot, mask: u8) -> Result<(), ChannelError> {
        self.at_mut(slot)?.cut_paths = mask;
        Ok(())
    }

    /// What has happened to subchannels and paths since the last time, oldest first.
    pub fn take_reports(&mut self) -> Vec<ChannelReportWord> {
        mem::take(&mut self.reports)
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
        let Subchannel { number, schib, orb, sense, .. } = self.at(slot)?;
        // An alias may be another one here than the guest knows.
        let device = schib.pmcw.device;
        let (subchannel, schib, orb, sense) = (*number, *schib, *orb, *sense);
        *image = SubchannelImage { subchannel, device, schib, orb, sense };
        Ok(())
    }

    /// Loads the state of the subchannel from `image`; the subchannel takes its number. An alias
    /// that has this number here takes another one: it is not assigned yet. The paths are those of
    /// this SU, and where they differ the guest is told by a channel report.
    ///
    /// # Errors
    /// Fails when there is no such device, the image is of another one, its number is taken, or
    /// it shows an I/O in flight.
    pub fn restore(
        &mut self,
        slot: DeviceSlot,
        image: &SubchannelImage,
    ) -> Result<(), ChannelError> {
        let before = self.at(slot)?.number;
        let other = self.numbered_mut(image.subchannel).filter(|other| other.number != before);
        let is_taken = other.is_some_and(|other| !other.is_alias());
        let own = self.at(slot)?;
        let is_named_so = own.is_alias() || image.device == own.attached.descriptor.number;
        if is_taken || !is_named_so {
            return Err(ChannelError::OtherDevice);
        }
        if !image.is_movable() {
            return Err(ChannelError::NotMovable);
        }
        self.renumber(slot, image.subchannel)?;
        let subchannel = self.at_mut(slot)?;
        if subchannel.receive(image) {
            let condition = ChannelReportWord::INSTALLED_PARAMETERS_MODIFIED;
            let number = image.subchannel.get();
            let source = ChannelReportWord::SUBCHANNEL;
            self.reports.push(ChannelReportWord::of(source, condition, number));
        }
        Ok(())
    }

    /// Gives the subchannel a number; the one that has it takes its own in exchange.
    fn renumber(&mut self, slot: DeviceSlot, number: SubchannelNumber) -> Result<(), ChannelError> {
        let before = self.at(slot)?.number;
        if let Some(other) = self.numbered_mut(number) {
            other.number = before;
        }
        self.at_mut(slot)?.number = number;
        Ok(())
    }

    fn at(&self, slot: DeviceSlot) -> Result<&Subchannel, ChannelError> {
        self.subchannels.get(usize::from(slot.get())).ok_or(ChannelError::NoSuchSlot)
    }

    fn at_mut(&mut self, slot: DeviceSlot) -> Result<&mut Subchannel, ChannelError> {
        self.subchannels.get_mut(usize::from(slot.get())).ok_or(ChannelError::NoSuchSlot)
    }
}
