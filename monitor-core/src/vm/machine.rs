//! The image of what belongs to a VM's machine as a whole, and to no processor and no subchannel.
//!
//! Source of truth: PROTOCOL.md ("Machine image"); Principles of Operation, "Channel-Subsystem
//! Recovery" (channel reports), SET CHANNEL MONITOR, "Interruption"; the event masks of the
//! service-call processor and the suppression masks of adapter interruptions as control programs
//! know them.
//!
//! Invariants: taking an image takes nothing away, so a report is presented exactly once, where
//! the guest runs. Numbers of blocks are never used for another purpose; a block beside the first
//! one is sent only when its state is not the one of a reset. Deliberately not here: I/O
//! interruptions, which follow from the subchannels; the first service signal, which the image of
//! processor 0 carries.

use crate::{
    limits::{CHANNEL_REPORTS_MAX, MACHINE_BYTES_MAX, PAGE_FAULTS_MAX, SERVICE_SIGNALS_MAX},
    processor::MachineCheck,
    wire::{
        Writer,
        blocks::{
            BLOCK_HEAD_BYTES, BlockHead, BlockReader, BlockWriter, FieldReader, ImageError,
            MUST_UNDERSTAND,
        },
    },
};
use heapless::Vec;
use static_assertions::const_assert;

/// The bits of a measurement mode: update of measurement blocks, and device-connect time.
const MODES: u8 = 0x03;

/// What SET CHANNEL MONITOR has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Measurement {
    /// Access key, 0 to 15, with which measurement blocks are stored.
    pub key: u8,
    /// What is measured: 0x02 updates measurement blocks, 0x01 device-connect time.
    pub modes: u8,
    /// Address of the measurement blocks.
    pub origin: u64,
}

/// What the control program takes from the service-call processor, and sends to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EventMasks {
    /// Bytes of a mask as the control program has given it, 0 before it has.
    pub length: u16,
    /// Events that it takes, left-aligned.
    pub receive: u64,
    /// Events that it sends, left-aligned.
    pub send: u64,
}

/// Which adapter interruptions are suppressed, one bit an interruption subclass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdapterMasks {
    /// Subclasses in the mode of single interruptions.
    pub single: u8,
    /// Subclasses in which no more interruption is made.
    pub none: u8,
}

/// Interruptions that any processor may take and that follow from no other state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FloatingInterruptions {
    /// Subclasses in which an adapter interruption is pending; the leftmost bit is subclass 0.
    pub adapters: u8,
    /// Whether the operator has pressed the interrupt key.
    pub interrupt_key: bool,
    /// Whether the machine check of channel reports was taken: reports make no other one before
    /// STORE CHANNEL REPORT WORD has found none.
    pub reports_told: bool,
    /// A pending machine check, as external damage is.
    pub machine_check: MachineCheck,
    /// Tokens of page faults that have ended (DIAGNOSE X'258'), oldest first. A monitor that has
    /// more of them tells the guest before it stops it.
    pub page_faults: Vec<u64, PAGE_FAULTS_MAX>,
    /// Parameters of service signals that wait until the pending one, which the image of processor
    /// 0 carries, is taken; oldest first. A monitor that has more of them drops the oldest ones:
    /// what came last is how it ended.
    pub service_signals: Vec<u32, SERVICE_SIGNALS_MAX>,
}

impl FloatingInterruptions {
    /// Nothing is pending.
    pub const NONE: Self = Self {
        adapters: 0,
        interrupt_key: false,
        reports_told: false,
        machine_check: MachineCheck::NONE,
        page_faults: Vec::new(),
        service_signals: Vec::new(),
    };

    fn write(&self, value: &mut Writer<'_>) {
        let Self { adapters, interrupt_key, reports_told, machine_check, .. } = self;
        let Self { page_faults, service_signals, .. } = self;
        value.u8(*adapters);
        value.u8(u8::from(*interrupt_key));
        value.u8(u8::from(*reports_told));
        machine_check.write(value);
        value.u16(u16::try_from(page_faults.len()).unwrap_or(u16::MAX));
        let tokens = page_faults.iter().copied().chain(core::iter::repeat(0));
        tokens.take(PAGE_FAULTS_MAX).for_each(|token| value.u64(token));
        value.u16(u16::try_from(service_signals.len()).unwrap_or(u16::MAX));
        let signals = service_signals.iter().copied().chain(core::iter::repeat(0));
        signals.take(SERVICE_SIGNALS_MAX).for_each(|parameter| value.u32(parameter));
    }

    /// Reads the value of the block; `false` when it has no meaning.
    fn read(&mut self, value: &mut FieldReader<'_>) -> bool {
        self.adapters = value.u8();
        let (key, told) = (value.u8(), value.u8());
        (self.interrupt_key, self.reports_told) = (key == 1, told == 1);
        self.machine_check = MachineCheck::read(value);
        let token_count = value.u16();
        let tokens = read_queue(&mut self.page_faults, token_count, value.u64s());
        let signal_count = value.u16();
        let signals = read_queue(&mut self.service_signals, signal_count, value.u32s());
        key <= 1 && told <= 1 && tokens && signals
    }
}

/// Fills a queue with the first `count` of these; `false` unless there are so many, and the others
/// are zero.
fn read_queue<T: Copy + Default + PartialEq, const N: usize>(
    queue: &mut Vec<T, N>,
    count: u16,
    all: [T; N],
) -> bool {
    let Some((first, rest)) = all.split_at_checked(usize::from(count)) else {
        return false;
    };
    queue.clear();
    queue.extend_from_slice(first).is_ok() && rest.iter().all(|item| *item == T::default())
}

/// All state of the machine as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MachineImage {
    /// The highest channel subsystem that the guest has enabled, 0 to 255.
    pub channel_subsystem_max: u8,
    /// The highest subchannel set that the guest has enabled, 0 to 3.
    pub subchannel_set_max: u8,
    /// Channel report words that the guest has not stored yet, oldest first.
    pub reports: Vec<u32, CHANNEL_REPORTS_MAX>,
    /// What SET CHANNEL MONITOR has set.
    pub measurement: Measurement,
    /// Masks of the service-call processor.
    pub events: EventMasks,
    /// Suppression of adapter interruptions.
    pub adapters: AdapterMasks,
    /// Interruptions that are pending beside those of subchannels, reports and services.
    pub floating: FloatingInterruptions,
    /// What the TOD clock of the SU, not that of the guest, showed when the guest last ran; 0 when
    /// nobody says. By it the next SU sees whether its own clock is behind
    /// ([`TodEpoch::resumed`](crate::processor::TodEpoch::resumed)).
    pub stopped_tod: u64,
}

/// The blocks of an image, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ChannelSubsystem,
    Reports,
    Measurement,
    Events,
    Adapters,
    Floating,
    Clock,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::ChannelSubsystem,
        Self::Reports,
        Self::Measurement,
        Self::Events,
        Self::Adapters,
        Self::Floating,
        Self::Clock,
    ];

    /// Number, and bytes of the value.
    const fn layout(self) -> (u16, usize) {
        match self {
            Self::ChannelSubsystem => (1, 2),
            Self::Reports => (2, REPORTS_BYTES),
            Self::Measurement => (3, 10),
            Self::Events => (4, 18),
            Self::Adapters => (5, 2),
            Self::Floating => (6, FLOATING_BYTES),
            Self::Clock => (7, 8),
        }
    }

    const fn head(self) -> BlockHead {
        let (number, length) = self.layout();
        BlockHead { tag: number | MUST_UNDERSTAND, version: 1, length }
    }

    fn known(number: u16, version: u16) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.layout().0 == number);
        known.filter(|_| version == 1)
    }
}

/// Bytes of the block of reports: their number, and a word for each that there can be.
const REPORTS_BYTES: usize = 2 + 4 * CHANNEL_REPORTS_MAX;

/// Bytes of the block of interruptions: subclasses, key, whether reports were told, machine check,
/// and the tokens and service signals with their numbers.
const FLOATING_BYTES: usize =
    1 + 1 + 1 + 20 + 2 + 8 * PAGE_FAULTS_MAX + 2 + 4 * SERVICE_SIGNALS_MAX;

const_assert!(
    7 * BLOCK_HEAD_BYTES + 2 + REPORTS_BYTES + 10 + 18 + 2 + FLOATING_BYTES + 8
        <= MACHINE_BYTES_MAX
);

impl MachineImage {
    /// The state after a reset: nothing is enabled, measured or pending.
    #[must_use]
    pub const fn initial() -> Self {
        Self {
            channel_subsystem_max: 0,
            subchannel_set_max: 0,
            reports: Vec::new(),
            measurement: Measurement { key: 0, modes: 0, origin: 0 },
            events: EventMasks { length: 0, receive: 0, send: 0 },
            adapters: AdapterMasks { single: 0, none: 0 },
            floating: FloatingInterruptions::NONE,
            stopped_tod: 0,
        }
    }

    /// Writes the encoding to the front of `target` and says how long it is.
    ///
    /// # Errors
    /// Fails when `target` is too short, which [`MACHINE_BYTES_MAX`] never is.
    pub fn emit(&self, target: &mut [u8]) -> Result<usize, ImageError> {
        let mut writer = BlockWriter::new(target);
        for kind in Kind::ALL {
            if self.uses(kind) {
                writer.write(kind.head(), |value| self.write(kind, value))?;
            }
        }
        Ok(writer.length())
    }

    /// Reads an encoding that fills `bytes` exactly.
    ///
    /// # Errors
    /// Names the block that is unknown, truncated, of another length, there twice, out of order,
    /// missing, or without meaning.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.len() > MACHINE_BYTES_MAX {
            return Err(ImageError::TooLong);
        }
        let mut image = Self::initial();
        let mut is_whole = false;
        let mut reader = BlockReader::new(bytes);
        while let Some(block) = reader.next_block()? {
            let Some(kind) = Kind::known(block.number(), block.version) else {
                block.skip()?;
                continue;
            };
            is_whole |= kind == Kind::ChannelSubsystem;
            let mut value = block.fields(kind.head().length)?;
            if !image.read(kind, &mut value) {
                return Err(ImageError::Invalid(block.tag));
            }
        }
        if !is_whole {
            return Err(ImageError::Missing(Kind::ChannelSubsystem.head().tag));
        }
        Ok(image)
    }

    /// Whether the image cannot do without the block.
    fn uses(&self, kind: Kind) -> bool {
        match kind {
            Kind::ChannelSubsystem => true,
            Kind::Reports => !self.reports.is_empty(),
            Kind::Measurement => self.measurement != Measurement::default(),
            Kind::Events => self.events != EventMasks::default(),
            Kind::Adapters => self.adapters != AdapterMasks::default(),
            Kind::Floating => self.floating != FloatingInterruptions::NONE,
            Kind::Clock => self.stopped_tod != 0,
        }
    }

    fn write(&self, kind: Kind, value: &mut Writer<'_>) {
        match kind {
            Kind::ChannelSubsystem => {
                value.u8(self.channel_subsystem_max);
                value.u8(self.subchannel_set_max);
            }
            Kind::Reports => {
                value.u16(u16::try_from(self.reports.len()).unwrap_or(u16::MAX));
                let words = self.reports.iter().copied().chain(core::iter::repeat(0));
                words.take(CHANNEL_REPORTS_MAX).for_each(|word| value.u32(word));
            }
            Kind::Measurement => {
                value.u8(self.measurement.key);
                value.u8(self.measurement.modes);
                value.u64(self.measurement.origin);
            }
            Kind::Events => {
                value.u16(self.events.length);
                value.u64(self.events.receive);
                value.u64(self.events.send);
            }
            Kind::Adapters => {
                value.u8(self.adapters.single);
                value.u8(self.adapters.none);
            }
            Kind::Floating => {
                self.floating.write(value);
            }
            Kind::Clock => value.u64(self.stopped_tod),
        }
    }

    /// Reads the value of a block; `false` when it has no meaning.
    fn read(&mut self, kind: Kind, value: &mut FieldReader<'_>) -> bool {
        match kind {
            Kind::ChannelSubsystem => {
                self.channel_subsystem_max = value.u8();
                self.subchannel_set_max = value.u8();
                self.subchannel_set_max <= 3
            }
            Kind::Reports => {
                let count = usize::from(value.u16());
                let words: [u32; CHANNEL_REPORTS_MAX] = value.u32s();
                let Some((reports, rest)) = words.split_at_checked(count) else {
                    return false;
                };
                self.reports = reports.iter().copied().collect();
                count > 0 && rest.iter().all(|word| *word == 0)
            }
            Kind::Measurement => {
                let (key, modes, origin) = (value.u8(), value.u8(), value.u64());
                self.measurement = Measurement { key, modes, origin };
                key <= 15 && modes & !MODES == 0
            }
            Kind::Events => {
                let (length, receive, send) = (value.u16(), value.u64(), value.u64());
                self.events = EventMasks { length, receive, send };
                true
            }
            Kind::Adapters => {
                self.adapters = AdapterMasks { single: value.u8(), none: value.u8() };
                true
            }
            Kind::Floating => self.floating.read(value),
            Kind::Clock => {
                self.stopped_tod = value.u64();
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> MachineImage {
        MachineImage {
            channel_subsystem_max: 1,
            subchannel_set_max: 3,
            reports: [0x4083_0012, 0x6083_0013].into_iter().collect(),
            measurement: Measurement { key: 3, modes: 2, origin: 0x0002_0000 },
            events: EventMasks { length: 4, receive: 0x8000_0004 << 32, send: 0x4000_0000 << 32 },
            adapters: AdapterMasks { single: 0x10, none: 0x08 },
            floating: FloatingInterruptions {
                adapters: 0x20,
                interrupt_key: true,
                reports_told: true,
                machine_check: MachineCheck { code: 1 << 58, address: 0x5000, damage: 0x0200 },
                page_faults: [0x1111, 0x2222].into_iter().collect(),
                service_signals: [0x12, 0x21].into_iter().collect(),
            },
            stopped_tod: 0xE123_4567_89AB_C000,
        }
    }

    fn encoded(image: &MachineImage) -> std::vec::Vec<u8> {
        let mut bytes = [0; MACHINE_BYTES_MAX];
        let length = image.emit(&mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn image_is_read_as_it_was_written() {
        for image in [MachineImage::initial(), MachineImage::default(), sample()] {
            assert_eq!(MachineImage::parse(&encoded(&image)), Ok(image));
        }
        let mut full = sample();
        full.reports = (1..).take(CHANNEL_REPORTS_MAX).collect();
        full.floating.page_faults = (1..).take(PAGE_FAULTS_MAX).collect();
        full.floating.service_signals = (1..).take(SERVICE_SIGNALS_MAX).collect();
        assert_eq!(MachineImage::parse(&encoded(&full)), Ok(full));
    }

    /// Each part of the state has its own bytes: an image that lacks one is another image.
    #[test]
    fn every_part_of_the_state_is_in_the_encoding() {
        type Change = fn(&mut MachineImage);
        let changes: [Change; 22] = [
            |image| image.stopped_tod += 1,
            |image| image.channel_subsystem_max = 2,
            |image| image.subchannel_set_max = 2,
            |image| image.reports.truncate(1),
            |image| image.reports[0] ^= 1,
            |image| image.measurement.key = 4,
            |image| image.measurement.modes = 1,
            |image| image.measurement.origin += 32,
            |image| image.events.length = 8,
            |image| image.events.receive ^= 1 << 40,
            |image| image.events.send ^= 1 << 41,
            |image| (image.adapters.single, image.adapters.none) = (8, 16),
            |image| image.floating.adapters = 0x40,
            |image| image.floating.interrupt_key = false,
            |image| image.floating.reports_told = false,
            |image| image.floating.machine_check.code += 1,
            |image| image.floating.machine_check.address += 1,
            |image| image.floating.machine_check.damage += 1,
            |image| image.floating.page_faults.truncate(1),
            |image| image.floating.page_faults[1] += 1,
            |image| image.floating.service_signals.truncate(1),
            |image| image.floating.service_signals[1] += 1,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = sample();
            change(&mut other);
            assert_ne!(encoded(&other), encoded(&sample()), "change {number}");
            assert_eq!(MachineImage::parse(&encoded(&other)), Ok(other), "change {number}");
        }
    }

    #[test]
    fn machine_after_a_reset_takes_one_block() {
        assert_eq!(encoded(&MachineImage::initial()), [0x80, 1, 0, 1, 0, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn values_without_meaning_are_refused() {
        let first = encoded(&MachineImage::initial());
        let refused = |offset: usize, value| {
            let mut bytes = encoded(&sample());
            bytes[offset] = value;
            MachineImage::parse(&bytes)
        };
        let reports = first.len() + BLOCK_HEAD_BYTES;
        let measurement = reports + REPORTS_BYTES + BLOCK_HEAD_BYTES;
        assert_eq!(refused(9, 4), Err(ImageError::Invalid(0x8001)));
        assert_eq!(refused(reports + 1, 33), Err(ImageError::Invalid(0x8002)));
        assert_eq!(refused(reports + 1, 1), Err(ImageError::Invalid(0x8002)));
        assert_eq!(refused(reports + 1, 0), Err(ImageError::Invalid(0x8002)));
        let floating = measurement + 10 + 18 + 2 + 3 * BLOCK_HEAD_BYTES;
        assert_eq!(refused(floating + 1, 2), Err(ImageError::Invalid(0x8006)));
        assert_eq!(refused(floating + 2, 2), Err(ImageError::Invalid(0x8006)));
        assert_eq!(refused(floating + 24, 9), Err(ImageError::Invalid(0x8006)));
        assert_eq!(refused(floating + 24, 1), Err(ImageError::Invalid(0x8006)));
        assert_eq!(refused(floating + 90, 9), Err(ImageError::Invalid(0x8006)));
        assert_eq!(refused(floating + 90, 1), Err(ImageError::Invalid(0x8006)));
        assert_eq!(refused(measurement, 16), Err(ImageError::Invalid(0x8003)));
        assert_eq!(refused(measurement + 1, 4), Err(ImageError::Invalid(0x8003)));
        assert_eq!(MachineImage::parse(&[]), Err(ImageError::Missing(0x8001)));
        assert_eq!(MachineImage::parse(&first[..9]), Err(ImageError::Truncated(0x8001)));
        assert_eq!(MachineImage::parse(&[0; MACHINE_BYTES_MAX + 1]), Err(ImageError::TooLong));
    }

    #[test]
    fn unknown_block_is_refused_only_when_it_must_be_understood() {
        let mut bytes = encoded(&sample());
        bytes.extend([0x00, 8, 0, 1, 0, 0, 0, 1, 9]);
        assert_eq!(MachineImage::parse(&bytes), Ok(sample()));
        let tag = bytes.len() - 9;
        bytes[tag] = 0x80;
        assert_eq!(MachineImage::parse(&bytes), Err(ImageError::Unknown(0x8008)));
    }
}
