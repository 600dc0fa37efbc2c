//! What a monitor keeps of an attempt so that it can go on after a restart of the monitor itself.
//!
//! Guest storage, processors and devices survive such a restart; the machines, bitmaps, leases
//! and the link do not. A stage is saved *before* what it announces is done, so that a restarted
//! monitor never knows less than the guest, the peer or the directory have seen. The loss of the
//! whole SU is another matter: nothing survives it but the ownership record.
//!
//! Source of truth: ARCHITECTURE.md, "Restart of a monitor". Invariants: a journal is one short
//! record that replaces the one before; one that is damaged is refused by field, never guessed.
//! Deliberately not here: bitmaps and windows, since an attempt that was interrupted before
//! COMMIT is undone and the next one begins with all pages.

use super::{Announcement, Attempt, Coordination, Limits};
use crate::{
    limits::JOURNAL_BYTES_MAX,
    units::{Epoch, Incarnation, Micros, PageCount, StreamId, SuName},
    vm::{Activity, Reason},
    wire::{DecodeError, Fault, Field, Reader, Writer, checksum::crc32c},
};

/// First four bytes of each journal: `VMLJ` in ASCII.
const MAGIC: u32 = 0x564D_4C4A;

/// Version of the layout; a journal is read by the monitor that wrote it, or a newer one.
const VERSION: u16 = 1;

/// How far an attempt has come, as far as a restarted monitor needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stage {
    /// Source: the attempt has begun; COMMIT is not sent.
    Open,
    /// Source: COMMIT of this load is about to be sent, or was.
    Offered(Incarnation),
    /// Source: the VM is this SU's, and the attempt is being undone.
    Undoing(Reason),
    /// Source: the VM runs on the target; this end gives back what it had.
    Moved,
    /// Target: the VM is about to be set up, or was; nothing was claimed.
    Building,
    /// Target: the record is about to be claimed for this load, or was.
    Claiming(Incarnation),
    /// Target: the VM runs here, from this load.
    Running(Incarnation),
    /// Target: the guest has reported itself ready, too.
    Completed(Incarnation),
    /// Either end: nothing of the attempt is left.
    Over,
}

impl Stage {
    const fn codes(self) -> (u16, u16, u64) {
        match self {
            Self::Open => (1, 0, 0),
            Self::Offered(incarnation) => (2, 0, incarnation.get()),
            Self::Undoing(reason) => (3, reason.code(), 0),
            Self::Moved => (4, 0, 0),
            Self::Building => (5, 0, 0),
            Self::Claiming(incarnation) => (6, 0, incarnation.get()),
            Self::Running(incarnation) => (7, 0, incarnation.get()),
            Self::Completed(incarnation) => (8, 0, incarnation.get()),
            Self::Over => (9, 0, 0),
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let unknown = |field| DecodeError::new(Fault::Unknown, field);
        let code = reader.u16(Field::LoadState)?;
        let reason = reader.u16(Field::Reason)?;
        let incarnation = Incarnation::new(reader.u64(Field::Incarnation)?);
        match code {
            1 => Ok(Self::Open),
            2 => Ok(Self::Offered(incarnation)),
            3 => Reason::from_code(reason).map(Self::Undoing).ok_or(unknown(Field::Reason)),
            4 => Ok(Self::Moved),
            5 => Ok(Self::Building),
            6 => Ok(Self::Claiming(incarnation)),
            7 => Ok(Self::Running(incarnation)),
            8 => Ok(Self::Completed(incarnation)),
            _ => Err(unknown(Field::LoadState)),
        }
    }

    /// Whether a source can have come to this stage.
    const fn is_of_source(self) -> bool {
        matches!(self, Self::Open | Self::Offered(_) | Self::Undoing(_) | Self::Moved)
    }
}

/// What the source's monitor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceJournal {
    /// The attempt.
    pub attempt: Attempt,
    /// The epoch under which the VM is owned here; later than the attempt's after a revocation.
    pub epoch: Epoch,
    /// How far it has come.
    pub stage: Stage,
}

/// What the target's monitor keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetJournal {
    /// The VM and its source.
    pub announced: Announcement,
    /// The load that was the present one.
    pub incarnation: Incarnation,
    /// How far it has come.
    pub stage: Stage,
}

impl SourceJournal {
    /// Writes the journal; gives its length, or `None` when there is not enough room.
    #[must_use]
    pub fn emit(&self, target: &mut [u8; JOURNAL_BYTES_MAX]) -> Option<usize> {
        seal(target, self.stage, |writer| {
            let attempt = &self.attempt;
            writer.u64(self.epoch.get());
            writer.u64(attempt.stream.get());
            writer.u64(attempt.epoch.get());
            writer.u64(attempt.pages.get());
            writer.u16(attempt.processors);
            writer.u8(attempt.activity.code());
            writer.u8(u8::from(attempt.coordination == Coordination::IfPossible));
            writer.text(&attempt.vm);
            writer.text(&attempt.source);
            writer.text(&attempt.target);
            emit_limits(&attempt.limits, writer);
        })
    }

    /// Reads a journal.
    ///
    /// # Errors
    /// Names the field that is wrong; the stage is one of the source.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (stage, mut reader) = open(bytes)?;
        if !stage.is_of_source() {
            return Err(DecodeError::new(Fault::OutOfRange, Field::LoadState));
        }
        let epoch = Epoch::new(reader.u64(Field::Epoch)?);
        let stream = StreamId::new(reader.u64(Field::Stream)?);
        let announced_epoch = Epoch::new(reader.u64(Field::Epoch)?);
        let pages = PageCount::new(reader.u64(Field::PageCount)?);
        let processors = reader.u16(Field::ProcessorCount)?;
        let activity = activity(&mut reader)?;
        let coordination = match reader.u8(Field::Privileges)? {
            0 => Coordination::Required,
            1 => Coordination::IfPossible,
            _ => return Err(DecodeError::new(Fault::Unknown, Field::Privileges)),
        };
        let vm = reader.text(Field::VmName)?;
        let source = reader.text(Field::SourceName)?;
        let target = reader.text(Field::TargetName)?;
        let limits = parse_limits(&mut reader)?;
        reader.finish()?;
        let attempt = Attempt {
            stream,
            vm,
            source,
            target,
            epoch: announced_epoch,
            activity,
            pages,
            processors,
            coordination,
            limits,
        };
        Ok(Self { attempt, epoch, stage })
    }
}

impl TargetJournal {
    /// Writes the journal; gives its length, or `None` when there is not enough room.
    #[must_use]
    pub fn emit(&self, target: &mut [u8; JOURNAL_BYTES_MAX]) -> Option<usize> {
        seal(target, self.stage, |writer| {
            let known = &self.announced;
            writer.u64(self.incarnation.get());
            writer.u64(known.stream.get());
            writer.u64(known.epoch.get());
            writer.u64(known.pages.get());
            writer.u16(known.processors);
            writer.u16(known.devices);
            writer.u8(known.activity.code());
            writer.text(&known.vm);
            writer.text(&known.source);
        })
    }

    /// Reads a journal.
    ///
    /// # Errors
    /// Names the field that is wrong; the stage is one of the target.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (stage, mut reader) = open(bytes)?;
        if stage.is_of_source() {
            return Err(DecodeError::new(Fault::OutOfRange, Field::LoadState));
        }
        let incarnation = Incarnation::new(reader.u64(Field::Incarnation)?);
        let stream = StreamId::new(reader.u64(Field::Stream)?);
        let epoch = Epoch::new(reader.u64(Field::Epoch)?);
        let pages = PageCount::new(reader.u64(Field::PageCount)?);
        let processors = reader.u16(Field::ProcessorCount)?;
        let devices = reader.u16(Field::DeviceCount)?;
        let activity = activity(&mut reader)?;
        let vm = reader.text(Field::VmName)?;
        let source: SuName = reader.text(Field::SourceName)?;
        reader.finish()?;
        let announced =
            Announcement { stream, epoch, vm, source, pages, processors, devices, activity };
        Ok(Self { announced, incarnation, stage })
    }
}

/// Writes magic, version, stage, what `fill` writes, and the check value.
fn seal(
    target: &mut [u8; JOURNAL_BYTES_MAX],
    stage: Stage,
    fill: impl FnOnce(&mut Writer<'_>),
) -> Option<usize> {
    let mut writer = Writer::new(target);
    let (code, reason, incarnation) = stage.codes();
    writer.u32(MAGIC);
    writer.u16(VERSION);
    writer.u16(code);
    writer.u16(reason);
    writer.u64(incarnation);
    fill(&mut writer);
    let length = writer.finish()?;
    let check = crc32c(0, target.get(..length)?);
    let mut tail = Writer::new(target.get_mut(length..)?);
    tail.u32(check);
    length.checked_add(tail.finish()?)
}

/// Checks magic, check value and version; gives the stage and what is left to read.
fn open(bytes: &[u8]) -> Result<(Stage, Reader<'_>), DecodeError> {
    let truncated = DecodeError::new(Fault::Truncated, Field::Length);
    let (checked, check) = bytes.split_last_chunk::<4>().ok_or(truncated)?;
    let mut reader = Reader::new(checked);
    if reader.u32(Field::Magic)? != MAGIC {
        return Err(DecodeError::new(Fault::Unknown, Field::Magic));
    }
    if crc32c(0, checked) != u32::from_be_bytes(*check) {
        return Err(DecodeError::new(Fault::Damaged, Field::BodyCheck));
    }
    if reader.u16(Field::Version)? != VERSION {
        return Err(DecodeError::new(Fault::Unknown, Field::Version));
    }
    let stage = Stage::parse(&mut reader)?;
    Ok((stage, reader))
}

fn activity(reader: &mut Reader<'_>) -> Result<Activity, DecodeError> {
    let code = reader.u8(Field::VmState)?;
    Activity::from_code(code).ok_or(DecodeError::new(Fault::Unknown, Field::VmState))
}

fn emit_limits(limits: &Limits, writer: &mut Writer<'_>) {
    for span in [
        limits.blackout,
        limits.total,
        limits.guest_answer,
        limits.peer_answer,
        limits.build,
        limits.drain,
        limits.retry,
        limits.reconnect,
    ] {
        writer.u64(span.get());
    }
    writer.u8(limits.overruns);
}

fn parse_limits(reader: &mut Reader<'_>) -> Result<Limits, DecodeError> {
    let mut span = || reader.u64(Field::Limit).map(Micros::new);
    Ok(Limits {
        blackout: span()?,
        total: span()?,
        guest_answer: span()?,
        peer_answer: span()?,
        build: span()?,
        drain: span()?,
        retry: span()?,
        reconnect: span()?,
        overruns: reader.u8(Field::Limit)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::VmName;

    const SOURCE_STAGES: [Stage; 4] = [
        Stage::Open,
        Stage::Offered(Incarnation::new(7)),
        Stage::Undoing(Reason::LinkLost),
        Stage::Moved,
    ];

    const TARGET_STAGES: [Stage; 4] = [
        Stage::Building,
        Stage::Claiming(Incarnation::new(7)),
        Stage::Running(Incarnation::new(7)),
        Stage::Completed(Incarnation::new(7)),
    ];

    fn source_journal(stage: Stage) -> SourceJournal {
        let su = |name| SuName::new(name).unwrap();
        let attempt = Attempt {
            stream: StreamId::new(3),
            vm: VmName::new("VM12PROD").unwrap(),
            source: su("ABGSE501"),
            target: su("ABGSE701"),
            epoch: Epoch::new(4),
            activity: Activity::Running,
            pages: PageCount::new(1 << 32),
            processors: 64,
            coordination: Coordination::IfPossible,
            limits: Limits { overruns: 9, ..Limits::DEFAULT },
        };
        SourceJournal { attempt, epoch: Epoch::new(5), stage }
    }

    fn target_journal(stage: Stage) -> TargetJournal {
        let announced = Announcement {
            stream: StreamId::new(3),
            epoch: Epoch::new(4),
            vm: VmName::new("VM12PROD").unwrap(),
            source: SuName::new("ABGSE501").unwrap(),
            pages: PageCount::new(512),
            processors: 2,
            devices: 4096,
            activity: Activity::Running,
        };
        TargetJournal { announced, incarnation: Incarnation::new(8), stage }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_and_by_its_own_end_alone() {
        let mut bytes = [0; JOURNAL_BYTES_MAX];
        for stage in SOURCE_STAGES {
            let mut journal = source_journal(stage);
            let length = journal.emit(&mut bytes).unwrap();
            assert_eq!(SourceJournal::parse(&bytes[..length]), Ok(journal));
            journal.attempt.coordination = Coordination::Required;
            let length = journal.emit(&mut bytes).unwrap();
            assert_eq!(SourceJournal::parse(&bytes[..length]), Ok(journal));
            let refused = TargetJournal::parse(&bytes[..length]).unwrap_err();
            assert_eq!(refused.field, Field::LoadState);
        }
        for stage in TARGET_STAGES {
            let journal = target_journal(stage);
            let length = journal.emit(&mut bytes).unwrap();
            assert_eq!(TargetJournal::parse(&bytes[..length]), Ok(journal));
            let refused = SourceJournal::parse(&bytes[..length]).unwrap_err();
            assert_eq!(refused.field, Field::LoadState);
        }
    }

    #[test]
    fn a_journal_that_was_cut_or_changed_in_one_bit_is_refused() {
        let mut bytes = [0; JOURNAL_BYTES_MAX];
        let journal = source_journal(Stage::Offered(Incarnation::new(7)));
        let length = journal.emit(&mut bytes).unwrap();
        for cut in 0..length {
            assert!(SourceJournal::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..length * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SourceJournal::parse(&damaged[..length]).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_longest_names_fit() {
        let long = "X".repeat(64);
        let mut journal = source_journal(Stage::Open);
        journal.attempt.source = SuName::new(&long).unwrap();
        journal.attempt.target = SuName::new(&long).unwrap();
        assert!(journal.emit(&mut [0; JOURNAL_BYTES_MAX]).is_some());
    }
}
