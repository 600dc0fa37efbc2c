//! Frames as the machines see them: every type with the values that decide something.
//!
//! Source of truth: PROTOCOL.md, "Frames". The bodies of the bulk types (definition, device,
//! pages, keys, processor, machine, subchannel, findings) hold more than the value here; the
//! driver fills and reads that part in place. Invariant: a parsed frame is complete, its counts
//! and indices are within `limits`, and nothing trails.

use super::error::{DecodeError, Fault, Field};
use super::field::{Reader, Writer};
use super::header::FrameType;
use super::pages::parse_run;
use super::status::Status;
use crate::{
    limits::{
        DEVICES_MAX, FINDINGS_MAX, FRAME_BYTES_MAX, GUEST_PAGES_MAX, HEADER_BYTES, PAGE_BYTES,
        PAGES_PREFIX_BYTES, PASSES_MAX, PROCESSORS_MAX,
    },
    memory::PageRun,
    units::{DeviceSlot, Incarnation, Micros, PageCount, ProcessorIndex, SuName, VmName},
    vm::Reason,
};

/// The first frame of both directions: who speaks, which versions, which limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Hello {
    /// Oldest version that the sender speaks.
    pub version_min: u16,
    /// Newest version that the sender speaks.
    pub version_max: u16,
    /// The longest frame that the sender takes.
    pub frame_bytes_max: u32,
    /// The most frames that may be under way to the sender, unacknowledged.
    pub window: u32,
    /// The most pages of a VM that the sender takes (target), or those of the VM (source).
    pub pages: PageCount,
    /// Name of the VM.
    pub vm: VmName,
    /// Name of the source SU.
    pub source: SuName,
    /// Name of the target SU.
    pub target: SuName,
}

/// A frame, without the bulk of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Frame {
    /// Both directions, first: versions and limits.
    Hello(Hello),
    /// Source: the attempt is over, the guest stays at the source.
    Abort(Reason),
    /// Source, first on a connection that takes the place of a lost one: where do you stand?
    Resume,
    /// Target, first on such a connection: here.
    Status(Status),
    /// Source: the VM's control block (bulk).
    Definition,
    /// Source: one device of the VM (bulk).
    Device(DeviceSlot),
    /// Source: the VM is described, with this many devices; hold it against your SU.
    Check(u16),
    /// Source: set up the VM and assign its devices.
    Build,
    /// Source: pages with their keys (bulk).
    Pages(PageRun),
    /// Source: keys alone (bulk).
    Keys(PageRun),
    /// Source: a pass over the memory has ended; acknowledge when all before is stored.
    PassEnd(u16),
    /// Source: one processor (bulk), in a rehearsal or in earnest.
    Processor {
        /// Which processor.
        index: ProcessorIndex,
        /// Whether this is a rehearsal, to be overwritten later.
        rehearsal: bool,
    },
    /// Source: one subchannel (bulk).
    Subchannel(DeviceSlot),
    /// Source: end of a rehearsal of this many processors.
    RehearsalEnd(u16),
    /// Source: everything is sent: so many processors and subchannels in earnest.
    LoadEnd {
        /// Processors sent since the guest was stopped.
        processors: u16,
        /// Subchannels sent since the guest was stopped.
        subchannels: u16,
    },
    /// Source: the guest runs again at the source; what was loaded will be sent anew.
    Recopy,
    /// Source: the machine as a whole (bulk).
    Machine {
        /// Whether this is a rehearsal, to be overwritten later.
        rehearsal: bool,
    },
    /// Source: the load with this incarnation may claim the VM.
    Commit(Incarnation),
    /// Source: its copy is gone.
    Released,
    /// Target: this many obstacles were found (bulk); none means accepted.
    Findings(u16),
    /// Target: the VM is set up; this load has this incarnation.
    Built(Incarnation),
    /// Target: everything up to this frame is stored.
    Ack(u64),
    /// Target: the rehearsed state is restored; it took this long.
    Rehearsed(Micros),
    /// Target: the load with this incarnation is complete.
    Ready(Incarnation),
    /// Target: the VM runs here, from the load with this incarnation.
    Running(Incarnation),
    /// Target: the guest has reported itself ready.
    Completed,
    /// Target: the load with this incarnation is dropped and will never run.
    Aborted {
        /// Which load.
        incarnation: Incarnation,
        /// Why.
        reason: Reason,
    },
}

impl Frame {
    /// The type of the frame.
    #[must_use]
    pub const fn frame_type(&self) -> FrameType {
        match self {
            Self::Hello(_) => FrameType::Hello,
            Self::Abort(_) => FrameType::Abort,
            Self::Resume => FrameType::Resume,
            Self::Status(_) => FrameType::Status,
            Self::Definition => FrameType::Definition,
            Self::Device(_) => FrameType::Device,
            Self::Check(_) => FrameType::Check,
            Self::Build => FrameType::Build,
            Self::Pages(_) => FrameType::Pages,
            Self::Keys(_) => FrameType::Keys,
            Self::PassEnd(_) => FrameType::PassEnd,
            Self::Processor { .. } => FrameType::Processor,
            Self::Subchannel(_) => FrameType::Subchannel,
            Self::RehearsalEnd(_) => FrameType::RehearsalEnd,
            Self::LoadEnd { .. } => FrameType::LoadEnd,
            Self::Recopy => FrameType::Recopy,
            Self::Machine { .. } => FrameType::Machine,
            Self::Commit(_) => FrameType::Commit,
            Self::Released => FrameType::Released,
            Self::Findings(_) => FrameType::Findings,
            Self::Built(_) => FrameType::Built,
            Self::Ack(_) => FrameType::Ack,
            Self::Rehearsed(_) => FrameType::Rehearsed,
            Self::Ready(_) => FrameType::Ready,
            Self::Running(_) => FrameType::Running,
            Self::Completed => FrameType::Completed,
            Self::Aborted { .. } => FrameType::Aborted,
        }
    }

    /// Whether the driver has to fill or read a bulk part of the body.
    #[must_use]
    pub const fn is_bulk(&self) -> bool {
        matches!(
            self,
            Self::Definition
                | Self::Device(_)
                | Self::Pages(_)
                | Self::Keys(_)
                | Self::Processor { .. }
                | Self::Subchannel(_)
                | Self::Machine { .. }
                | Self::Findings(_)
        )
    }

    /// Writes the body of a frame that is not bulk; gives its length, or `None` when there is
    /// not enough room or the frame is bulk.
    #[must_use]
    pub fn emit(&self, target: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(target);
        match *self {
            Self::Hello(hello) => hello.emit(&mut writer),
            Self::Abort(reason) => writer.u16(reason.code()),
            Self::Status(status) => status.emit(&mut writer),
            Self::Check(count) | Self::PassEnd(count) | Self::RehearsalEnd(count) => {
                writer.u16(count);
            }
            Self::LoadEnd { processors, subchannels } => {
                writer.u16(processors);
                writer.u16(subchannels);
            }
            Self::Commit(incarnation)
            | Self::Built(incarnation)
            | Self::Ready(incarnation)
            | Self::Running(incarnation) => writer.u64(incarnation.get()),
            Self::Ack(sequence) => writer.u64(sequence),
            Self::Rehearsed(time) => writer.u64(time.get()),
            Self::Aborted { incarnation, reason } => {
                writer.u64(incarnation.get());
                writer.u16(reason.code());
            }
            Self::Resume | Self::Build | Self::Recopy | Self::Released | Self::Completed => {}
            Self::Definition
            | Self::Device(_)
            | Self::Pages(_)
            | Self::Keys(_)
            | Self::Processor { .. }
            | Self::Subchannel(_)
            | Self::Machine { .. }
            | Self::Findings(_) => return None,
        }
        writer.finish()
    }

    /// Parses the body of a frame of this type. Of a bulk frame the deciding values are parsed
    /// and the length is checked; the driver reads the rest.
    ///
    /// # Errors
    /// Names the field that is wrong.
    pub fn parse(kind: FrameType, body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let frame = match kind {
            FrameType::Hello => Self::Hello(Hello::parse(&mut reader)?),
            FrameType::Abort => Self::Abort(reason(&mut reader)?),
            FrameType::Resume => Self::Resume,
            FrameType::Status => Self::Status(Status::parse(&mut reader)?),
            FrameType::Definition => return Ok(Self::Definition),
            FrameType::Device => return device_body(body).map(|(slot, _)| Self::Device(slot)),
            FrameType::Check => {
                Self::Check(count(&mut reader, Field::DeviceCount, usize::from(DEVICES_MAX))?)
            }
            FrameType::Build => Self::Build,
            FrameType::Pages => return parse_run(body, true).map(Self::Pages),
            FrameType::Keys => return parse_run(body, false).map(Self::Keys),
            FrameType::PassEnd => Self::PassEnd(count(&mut reader, Field::Pass, PASSES_MAX)?),
            FrameType::Processor => {
                return processor_body(body)
                    .map(|(index, rehearsal, _)| Self::Processor { index, rehearsal });
            }
            FrameType::Subchannel => {
                return subchannel_body(body).map(|(slot, _)| Self::Subchannel(slot));
            }
            FrameType::RehearsalEnd => Self::RehearsalEnd(processors(&mut reader)?),
            FrameType::LoadEnd => Self::LoadEnd {
                processors: processors(&mut reader)?,
                subchannels: count(&mut reader, Field::DeviceCount, usize::from(DEVICES_MAX))?,
            },
            FrameType::Recopy => Self::Recopy,
            FrameType::Machine => {
                return machine_body(body).map(|(rehearsal, _)| Self::Machine { rehearsal });
            }
            FrameType::Commit => Self::Commit(incarnation(&mut reader)?),
            FrameType::Released => Self::Released,
            FrameType::Findings => {
                return count(&mut reader, Field::FindingCount, FINDINGS_MAX).map(Self::Findings);
            }
            FrameType::Built => Self::Built(incarnation(&mut reader)?),
            FrameType::Ack => Self::Ack(reader.u64(Field::Sequence)?),
            FrameType::Rehearsed => Self::Rehearsed(Micros::new(reader.u64(Field::RestoreTime)?)),
            FrameType::Ready => Self::Ready(incarnation(&mut reader)?),
            FrameType::Running => Self::Running(incarnation(&mut reader)?),
            FrameType::Completed => Self::Completed,
            FrameType::Aborted => Self::Aborted {
                incarnation: incarnation(&mut reader)?,
                reason: reason(&mut reader)?,
            },
        };
        reader.finish().map(|()| frame)
    }
}

impl Hello {
    fn emit(&self, writer: &mut Writer<'_>) {
        writer.u16(self.version_min);
        writer.u16(self.version_max);
        writer.u32(self.frame_bytes_max);
        writer.u32(self.window);
        writer.u64(self.pages.get());
        writer.text(&self.vm);
        writer.text(&self.source);
        writer.text(&self.target);
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let range = |field| DecodeError::new(Fault::OutOfRange, field);
        let hello = Self {
            version_min: reader.u16(Field::VersionMin)?,
            version_max: reader.u16(Field::VersionMax)?,
            frame_bytes_max: reader.u32(Field::FrameBytes)?,
            window: reader.u32(Field::Window)?,
            pages: PageCount::new(reader.u64(Field::PageCount)?),
            vm: reader.text(Field::VmName)?,
            source: reader.text(Field::SourceName)?,
            target: reader.text(Field::TargetName)?,
        };
        if hello.version_min == 0 || hello.version_min > hello.version_max {
            return Err(range(Field::VersionMin));
        }
        // A receiver that cannot take one page and its prefix can take no VM at all.
        let bytes = usize::try_from(hello.frame_bytes_max).unwrap_or(usize::MAX);
        if !(SMALLEST_FRAME..=FRAME_BYTES_MAX).contains(&bytes) {
            return Err(range(Field::FrameBytes));
        }
        if hello.window == 0 {
            return Err(range(Field::Window));
        }
        if hello.pages.get() > GUEST_PAGES_MAX {
            return Err(range(Field::PageCount));
        }
        Ok(hello)
    }
}

/// A frame with one page.
const SMALLEST_FRAME: usize = HEADER_BYTES + PAGES_PREFIX_BYTES + PAGE_BYTES;

/// Writes the body of a DEVICE frame: slot, then the descriptor's bytes.
#[must_use]
pub fn emit_device(slot: DeviceSlot, descriptor: &[u8], target: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(target);
    writer.u16(slot.get());
    writer.bytes(descriptor);
    writer.finish()
}

/// Splits the body of a DEVICE frame into the slot and the descriptor's bytes.
///
/// # Errors
/// Names the field that is wrong.
pub fn device_body(body: &[u8]) -> Result<(DeviceSlot, &[u8]), DecodeError> {
    let mut reader = Reader::new(body);
    let slot = device_slot(&mut reader)?;
    Ok((slot, reader.rest()))
}

/// Writes what stands before the blocks in the body of a PROCESSOR frame.
#[must_use]
pub fn emit_processor(
    index: ProcessorIndex,
    rehearsal: bool,
    target: &mut [u8],
) -> Option<&mut [u8]> {
    let (head, blocks) = target.split_first_chunk_mut::<4>()?;
    let [index_high, index_low] = index.get().to_be_bytes();
    *head = [index_high, index_low, 0, u8::from(rehearsal)];
    Some(blocks)
}

/// Splits the body of a PROCESSOR frame into index, rehearsal, and the image's blocks.
///
/// # Errors
/// Names the field that is wrong.
pub fn processor_body(body: &[u8]) -> Result<(ProcessorIndex, bool, &[u8]), DecodeError> {
    let mut reader = Reader::new(body);
    let index = reader.u16(Field::ProcessorIndex)?;
    if index >= PROCESSORS_MAX {
        return Err(DecodeError::new(Fault::OutOfRange, Field::ProcessorIndex));
    }
    Ok((ProcessorIndex::new(index), rehearsal(&mut reader)?, reader.rest()))
}

/// Writes what stands before the blocks in the body of a MACHINE frame.
#[must_use]
pub fn emit_machine(rehearsal: bool, target: &mut [u8]) -> Option<&mut [u8]> {
    let (head, blocks) = target.split_first_chunk_mut::<2>()?;
    *head = u16::from(rehearsal).to_be_bytes();
    Some(blocks)
}

/// Splits the body of a MACHINE frame into rehearsal and the image's blocks.
///
/// # Errors
/// Names the field that is wrong.
pub fn machine_body(body: &[u8]) -> Result<(bool, &[u8]), DecodeError> {
    let mut reader = Reader::new(body);
    Ok((rehearsal(&mut reader)?, reader.rest()))
}

/// Writes what stands before the blocks in the body of a SUBCHANNEL frame.
#[must_use]
pub fn emit_subchannel(slot: DeviceSlot, target: &mut [u8]) -> Option<&mut [u8]> {
    let (head, blocks) = target.split_first_chunk_mut::<2>()?;
    *head = slot.get().to_be_bytes();
    Some(blocks)
}

/// Splits the body of a SUBCHANNEL frame into the slot and the image's blocks.
///
/// # Errors
/// Names the field that is wrong.
pub fn subchannel_body(body: &[u8]) -> Result<(DeviceSlot, &[u8]), DecodeError> {
    device_body(body)
}

fn rehearsal(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u16(Field::Rehearsal)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::new(Fault::Unknown, Field::Rehearsal)),
    }
}

fn device_slot(reader: &mut Reader<'_>) -> Result<DeviceSlot, DecodeError> {
    let slot = reader.u16(Field::Slot)?;
    if slot >= DEVICES_MAX {
        return Err(DecodeError::new(Fault::OutOfRange, Field::Slot));
    }
    Ok(DeviceSlot::new(slot))
}

fn count(reader: &mut Reader<'_>, field: Field, max: usize) -> Result<u16, DecodeError> {
    let count = reader.u16(field)?;
    if usize::from(count) > max {
        return Err(DecodeError::new(Fault::OutOfRange, field));
    }
    Ok(count)
}

fn processors(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    count(reader, Field::ProcessorCount, usize::from(PROCESSORS_MAX))
}

fn incarnation(reader: &mut Reader<'_>) -> Result<Incarnation, DecodeError> {
    reader.u64(Field::Incarnation).map(Incarnation::new)
}

fn reason(reader: &mut Reader<'_>) -> Result<Reason, DecodeError> {
    let code = reader.u16(Field::Reason)?;
    Reason::from_code(code).ok_or(DecodeError::new(Fault::Unknown, Field::Reason))
}
