//! The channel subsystem of a monitor system, with the two adapters of a link: it writes to one
//! and reads from the other.
//!
//! A READ is started when the other side has called by attention, never before: two sides that
//! wait for each other with commands that do not go together would stop each other.
//!
//! Source of truth: the protocol of a pair of adapters in `super`; Principles of Operation for
//! the instructions. Invariants: one program a device at a time; a buffer belongs to its program
//! from the start to the status. Deliberately not here: what the bytes mean.

use std::sync::Arc;

use monitor_core::{
    channel::{DeviceStatus, Orb, Scsw},
    device::{Assignment, DeviceDescriptor, DeviceKind},
    units::{
        DeviceNumber, DeviceSlot, Epoch, Micros, Mnemonic, PageCount, SubchannelNumber, Tick,
        VmName,
    },
};

use super::message::MESSAGE_BYTES_MAX;
use crate::machine::{
    AttachedDevice, ConditionCode, Ctc, Device, Path, Storage, Subsystem, command,
};

/// The subchannel of the adapter that is written to.
const SENDS: SubchannelNumber = SubchannelNumber::new(0);
/// The subchannel of the adapter that is read from.
const RECEIVES: SubchannelNumber = SubchannelNumber::new(1);

const PAGE: u32 = 4096;
/// Where the channel program of an adapter is.
const PROGRAMS: [u32; 2] = [0, 8];
/// Where its buffer is.
const BUFFERS: [u32; 2] = [PAGE, 17 * PAGE];
/// Pages of the monitor's storage.
const PAGES: PageCount = PageCount::new(33);

/// Suppress length indication: a message is shorter than the room for it.
const SUPPRESS: u64 = 0x20;

/// The epoch of a monitor system: nobody else has its adapters.
const EPOCH: Epoch = Epoch::new(1);

/// What has happened at an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The other side calls.
    Called,
    /// The program has ended well.
    Done,
    /// It has not: the other side is gone.
    Failed,
}

/// The channel subsystem of one monitor system.
#[derive(Debug)]
pub(super) struct Channel {
    sides: [Arc<Ctc>; 2],
    storage: Storage,
    subsystem: Subsystem,
    is_sending: bool,
    is_receiving: bool,
}

impl Channel {
    /// A channel subsystem whose adapters are not ready: the one to write to, the one to read
    /// from.
    pub(super) fn new(sends: Arc<Ctc>, receives: Arc<Ctc>) -> Self {
        let sides = [sends, receives];
        let subsystem = subsystem(&sides);
        let storage = Storage::new(PAGES);
        Self { sides, storage, subsystem, is_sending: false, is_receiving: false }
    }

    /// Gives up all that is under way; the adapters are not ready until [`Channel::open`].
    pub(super) fn close(&mut self) {
        for side in &self.sides {
            side.disconnect();
        }
        // A system reset: subchannels are as they were at first.
        self.subsystem = subsystem(&self.sides);
        (self.is_sending, self.is_receiving) = (false, false);
    }

    /// Makes the adapters ready.
    pub(super) fn open(&mut self) {
        for (slot, number) in [(0, SENDS), (1, RECEIVES)] {
            // The adapters are this system's alone, so that none is refused.
            let attached = self.subsystem.attach(DeviceSlot::new(slot), EPOCH);
            debug_assert!(attached.is_ok(), "an adapter is refused");
            if let Some(mut schib) = self.subsystem.store(number) {
                schib.pmcw = schib.pmcw.with_enabled(true);
                let modified = self.subsystem.modify(number, &schib);
                debug_assert_eq!(modified, Ok(ConditionCode::Done), "an adapter is not enabled");
            }
        }
    }

    /// Whether a program that writes is under way.
    pub(super) const fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// Whether a program that reads is under way.
    pub(super) const fn is_receiving(&self) -> bool {
        self.is_receiving
    }

    /// Lets the programs go on, and says when there is more to do.
    pub(super) fn step(&mut self, now: Tick) -> Option<Tick> {
        self.subsystem.step(now, &self.storage)
    }

    /// What has happened at the adapter that is written to. It is called only when the other side
    /// is gone.
    pub(super) fn sent(&mut self) -> Option<News> {
        let was_sending = std::mem::take(&mut self.is_sending);
        match self.news(SENDS) {
            None => {
                self.is_sending = was_sending;
                None
            }
            Some(News::Called) => was_sending.then_some(News::Failed),
            news => news,
        }
    }

    /// What has happened at the adapter that is read from.
    pub(super) fn received(&mut self) -> Option<News> {
        let news = self.news(RECEIVES)?;
        // It may have been called once more in place of the program.
        self.is_receiving = false;
        Some(news)
    }

    fn news(&mut self, number: SubchannelNumber) -> Option<News> {
        let (condition, irb) = self.subsystem.test(number);
        (condition == ConditionCode::Done).then(|| news_of(&irb.scsw))
    }

    /// Starts to write a message; false when the adapter does not take it now.
    pub(super) fn send(&mut self, message: &[u8], now: Tick) -> bool {
        let stored = self.storage.store_bytes(u64::from(BUFFERS[0]), message);
        debug_assert!(stored.is_ok(), "a message is longer than its buffer");
        self.is_sending = self.start(0, SENDS, command::WRITE, message.len(), now);
        self.is_sending
    }

    /// Starts to read a message; false when the adapter does not take it now.
    pub(super) fn receive(&mut self, now: Tick) -> bool {
        self.is_receiving = self.start(1, RECEIVES, command::READ, MESSAGE_BYTES_MAX, now);
        self.is_receiving
    }

    /// What was read last, and whatever was behind it.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut message = vec![0; MESSAGE_BYTES_MAX];
        let loaded = self.storage.load_bytes(u64::from(BUFFERS[1]), &mut message);
        debug_assert!(loaded.is_ok(), "the buffer is not in storage");
        message
    }

    fn start(
        &mut self,
        index: usize,
        number: SubchannelNumber,
        code: u8,
        byte_count: usize,
        now: Tick,
    ) -> bool {
        let (program, buffer) = (PROGRAMS[index], BUFFERS[index]);
        let word =
            u64::from(code) << 56 | SUPPRESS << 48 | (byte_count as u64) << 32 | u64::from(buffer);
        let stored = self.storage.store(u64::from(program), word);
        debug_assert!(stored.is_ok(), "the program is not in storage");
        let orb = Orb::of_program(program, 0);
        self.subsystem.start(number, &orb, now) == Ok(ConditionCode::Done)
    }
}

/// What a status tells.
fn news_of(status: &Scsw) -> News {
    let is_ended = status.device_status.contains(DeviceStatus::CHANNEL_END);
    let failures = DeviceStatus::UNIT_CHECK | DeviceStatus::UNIT_EXCEPTION | DeviceStatus::BUSY;
    if !status.subchannel_status.is_empty() || status.device_status.intersects(failures) {
        News::Failed
    } else if is_ended {
        News::Done
    } else {
        News::Called
    }
}

/// The subsystem after a system reset.
fn subsystem(sides: &[Arc<Ctc>; 2]) -> Subsystem {
    let name = VmName::new("VM0001").unwrap_or(VmName::EMPTY);
    let device = |(number, side): (u16, &Arc<Ctc>)| {
        let descriptor = DeviceDescriptor {
            mnemonic: Mnemonic::EMPTY,
            number: DeviceNumber::new(0x0E40 + number),
            kind: DeviceKind::ChannelToChannel,
            assignment: Assignment::Exclusive,
            subchannel: SubchannelNumber::new(number),
            identity: u64::from(number),
            ..DeviceDescriptor::VACANT
        };
        let side: Arc<dyn Device> = Arc::<Ctc>::clone(side);
        AttachedDevice::new(descriptor, side, Micros::new(0), Path::default())
    };
    Subsystem::new(name, (0..).zip(sides).map(device).collect())
}
