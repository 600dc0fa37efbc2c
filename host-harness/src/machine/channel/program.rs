//! The channel program: carries out one command after the other on a device.
//!
//! Source of truth: Principles of Operation, "Command Chaining", "Incorrect Length",
//! "Suspension of Channel-Program Execution"; Common I/O Device Commands (sense).
//!
//! Invariants: a command is carried out at the moment when it is due, and its data moves then; what
//! follows from it comes when the device's time is over. A program that does not end takes time.
//! Deliberately not here: status as the guest sees it, which the subchannel makes.

use super::{
    ccw::{Check, Command, Fetcher, Origin},
    data::Data,
};
use crate::machine::{Access, Device, Ending, Outcome, Sense, Transfer, command};
use monitor_core::{
    channel::{DeviceStatus, SubchannelStatus},
    units::{Micros, Tick},
};
use std::mem;

/// After so many commands a program takes a microsecond, also when its device takes no time.
const COMMANDS_PER_MICROSECOND: u32 = 256;

/// Sense byte 0 of a command that the device cannot execute: command reject, intervention required.
const CANNOT_EXECUTE: u8 = 0xC0;

/// The normal status at the end of a command.
pub(super) const ENDED: DeviceStatus = DeviceStatus::CHANNEL_END.union(DeviceStatus::DEVICE_END);

/// One program on its way.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) access: Access,
    /// The address of the next command, and how the channel comes to it.
    pub(super) next: u32,
    origin: Origin,
    /// When it goes on.
    pub(super) due: Tick,
    pub(super) stage: Stage,
    /// It was resumed, and not started.
    pub(super) is_resumed: bool,
    command_count: u32,
}

/// What comes when a program goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// The device is reached.
    Reach,
    /// The next command is carried out; the device may have asked to wait with it.
    Command,
    /// Channel end.
    ChannelEnd(End),
    /// Device end.
    DeviceEnd(End),
}

/// The end of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) device_status: DeviceStatus,
    pub(super) subchannel_status: SubchannelStatus,
    pub(super) residual_count: u16,
    /// The address behind the command.
    pub(super) behind: u32,
    /// The address of the command that follows, if one does.
    next: Option<u32>,
    pub(super) device_end_after: Micros,
}

/// What came of asking for the next command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Course {
    /// It is being carried out.
    Goes {
        /// It asks for an interruption.
        interrupts: bool,
        /// It is the first one, and the device takes time for it.
        is_accepted: bool,
        /// The address behind it.
        behind: u32,
    },
    /// The device waits.
    Waits,
    /// The device is busy and has not taken the first command, which it may take later.
    Busy,
    /// The device has this to tell instead of taking the first command.
    Refused(DeviceStatus),
    /// The program suspends itself at a command with this count.
    Suspends(Command),
    /// The channel cannot go on.
    Checks(Check),
}

impl Run {
    /// A program that reaches its device at `due`.
    pub(super) const fn new(access: Access, address: u32, is_resumed: bool, due: Tick) -> Self {
        let origin = if is_resumed { Origin::Resumption } else { Origin::Request };
        let stage = Stage::Reach;
        Self { access, next: address, origin, due, stage, is_resumed, command_count: 0 }
    }

    /// Whether nothing of it has been carried out, so that it can begin anew elsewhere.
    pub(super) const fn has_not_begun(&self) -> bool {
        matches!(self.stage, Stage::Reach | Stage::Command) && self.command_count == 0
    }

    /// Whether a further command will be carried out.
    pub(super) const fn needs_device(&self) -> bool {
        match &self.stage {
            Stage::Reach | Stage::Command => true,
            Stage::ChannelEnd(end) | Stage::DeviceEnd(end) => end.next.is_some(),
        }
    }

    /// Goes on with the command that follows `end`; false when none does.
    pub(super) const fn follow(&mut self, end: &End) -> bool {
        let Some(next) = end.next else {
            return false;
        };
        (self.next, self.origin, self.stage) = (next, Origin::Command, Stage::Command);
        true
    }

    /// Carries out the next command, if the device takes it.
    pub(super) fn command(
        &mut self,
        fetcher: Fetcher<'_>,
        device: &dyn Device,
        sense: &mut Sense,
    ) -> Course {
        let command = match fetcher.fetch(self.next, self.origin) {
            Ok(command) => command,
            Err(check) => return Course::Checks(check),
        };
        if command.suspends() {
            return Course::Suspends(command);
        }
        self.carry_out(fetcher, command, device, sense)
    }

    fn carry_out(
        &mut self,
        fetcher: Fetcher<'_>,
        command: Command,
        device: &dyn Device,
        sense: &mut Sense,
    ) -> Course {
        let mut data = Data::new(fetcher, command);
        let ending = match self.execute(command.code, &mut data, device, sense) {
            Outcome::Pending => return Course::Waits,
            Outcome::Ended(ending) => ending,
        };
        if ending.status.contains(DeviceStatus::UNIT_CHECK) {
            *sense = ending.sense;
        }
        let is_first = self.command_count == 0;
        if is_first && ending.status.contains(DeviceStatus::BUSY) && !data.has_moved() {
            // With status modifier it is the control unit that is busy.
            let is_alone = DeviceStatus::BUSY | DeviceStatus::STATUS_MODIFIER;
            let told = ending.status.difference(is_alone);
            return if told.is_empty() { Course::Busy } else { Course::Refused(ending.status) };
        }
        self.command_count = self.command_count.wrapping_add(1);
        self.access.command_index = self.access.command_index.saturating_add(1);
        let end = end_of(&fetcher, &data, &ending);
        let pause = u64::from(self.command_count.is_multiple_of(COMMANDS_PER_MICROSECOND));
        self.due = self.due.after(ending.duration).after(Micros::new(pause));
        self.stage = Stage::ChannelEnd(end);
        Course::Goes {
            interrupts: command.interrupts() || data.interrupts,
            is_accepted: is_first && data.is_touched,
            behind: end.behind,
        }
    }

    fn execute(
        &mut self,
        code: u8,
        data: &mut Data<'_>,
        device: &dyn Device,
        sense: &mut Sense,
    ) -> Outcome {
        match code {
            command::NO_OPERATION => device.no_operation(&mut self.access),
            command::SENSE => {
                let sense = mem::take(sense);
                data.give(&sense[..device.sense_length().min(sense.len())]);
                Outcome::NORMAL
            }
            command::SENSE_ID => {
                data.give(&device.sense_id().to_bytes());
                Outcome::NORMAL
            }
            code => {
                sense.fill(0);
                device.execute(&mut self.access, code, data)
            }
        }
    }
}

/// What the end of a command means for the program.
fn end_of(fetcher: &Fetcher<'_>, data: &Data<'_>, ending: &Ending) -> End {
    let last = &data.command;
    let (mut device_status, mut subchannel_status) =
        (status_of(data, ending), SubchannelStatus::empty());
    let mut behind = last.behind;
    if let Some(check) = data.check {
        subchannel_status = check.status;
        behind = check.behind;
        if !data.has_moved() && !ending.status.contains(DeviceStatus::UNIT_CHECK) {
            // The channel has found the fault before it gave the command to the device.
            device_status = DeviceStatus::empty();
        }
    } else if has_incorrect_length(fetcher, data, device_status) {
        subchannel_status = SubchannelStatus::INCORRECT_LENGTH;
    }
    let modifies = ending.status.contains(DeviceStatus::STATUS_MODIFIER);
    let is_normal = ending.status.difference(DeviceStatus::STATUS_MODIFIER) == ENDED
        && subchannel_status.is_empty();
    let chains = is_normal && last.chains_command();
    let next = if modifies { behind.wrapping_add(8) } else { behind };
    End {
        device_status,
        subchannel_status,
        residual_count: data.left,
        behind: if chains && modifies { next } else { behind },
        next: chains.then_some(next),
        device_end_after: ending.device_end_after,
    }
}

/// What the device reports. A command that it cannot execute, as it finds before there is data, is
/// refused with unit check alone: it does not begin, and has no end.
fn status_of(data: &Data<'_>, ending: &Ending) -> DeviceStatus {
    let [reason, ..] = ending.sense;
    let is_check = ending.status.contains(DeviceStatus::UNIT_CHECK);
    if is_check && !data.is_touched && reason & CANNOT_EXECUTE != 0 {
        ending.status.difference(ENDED)
    } else {
        ending.status
    }
}

/// Whether the count was not the length of the data, and the program wants to know.
const fn has_incorrect_length(
    fetcher: &Fetcher<'_>,
    data: &Data<'_>,
    status: DeviceStatus,
) -> bool {
    let is_check = status.contains(DeviceStatus::UNIT_CHECK);
    let is_refused = is_check && !status.contains(DeviceStatus::CHANNEL_END);
    // A command that has begun and failed was not immediate, also when it has moved nothing.
    let is_immediate = !data.is_touched && !is_check;
    let is_wanted =
        !is_immediate || (fetcher.orb.is_format_1() && !fetcher.orb.suppresses_length());
    let is_wrong = data.left != 0 || data.is_exceeded;
    !is_refused && is_wanted && !data.command.suppresses_length() && is_wrong
}
