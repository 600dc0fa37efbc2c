//! Whole frames, as all tests of the wire put them together and take them apart.
//!
//! Source of truth: PROTOCOL.md; the functions of `monitor_core::wire`, called here in the order
//! in which the drivers call them. Invariant: what one byte string holds is decided here once, so
//! that all tests mean the same. Deliberately not here: any expectation.

use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec, vec::Vec};

use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    limits::{CONTROL_BYTES_MAX, HEADER_BYTES},
    memory::PageRun,
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, ProcessorIndex, Sequence, StreamId},
    vm::{Findings, MachineImage, VmBlock},
    wire::{
        DecodeError, FILLER_TYPE, Fault, Field, Frame, FrameFlags, FrameType, Header, VERSION_MAX,
        checksum::crc32c, device_body, emit_definition, emit_device, emit_findings, emit_machine,
        emit_processor, emit_subchannel, machine_body, pages, parse_definition, parse_findings,
        processor_body, subchannel_body,
    },
};

/// What a frame says, with the bulk of its body.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A frame without bulk.
    Plain(Frame),
    /// The definition of the VM.
    Definition(VmBlock),
    /// One device.
    Device(DeviceSlot, DeviceDescriptor),
    /// Pages of one group, with a key each.
    Pages {
        /// Which pages.
        run: PageRun,
        /// Their keys.
        keys: Vec<u8>,
        /// Their states.
        states: Vec<u8>,
        /// The contents of those that have any.
        pages: Vec<u8>,
    },
    /// Keys of pages of one group.
    Keys {
        /// Which pages.
        run: PageRun,
        /// Their keys.
        keys: Vec<u8>,
        /// Their states.
        states: Vec<u8>,
    },
    /// The state of one processor.
    Processor {
        /// Which processor.
        index: ProcessorIndex,
        /// Whether the guest still runs.
        rehearsal: bool,
        /// Its state.
        image: Box<ProcessorImage>,
    },
    /// The state of the machine as a whole.
    Machine {
        /// Whether the guest still runs.
        rehearsal: bool,
        /// Its state.
        image: Box<MachineImage>,
    },
    /// The state of one subchannel.
    Subchannel {
        /// The device.
        slot: DeviceSlot,
        /// Its state.
        image: Box<SubchannelImage>,
    },
    /// What the check found.
    Findings(Box<Findings>),
    /// A frame without a meaning.
    Skipped,
}

impl Content {
    /// The number of the type of its frame.
    #[must_use]
    pub fn type_code(&self) -> u16 {
        match self {
            Self::Plain(frame) => frame.frame_type().code(),
            Self::Definition(_) => FrameType::Definition.code(),
            Self::Device(..) => FrameType::Device.code(),
            Self::Pages { .. } => FrameType::Pages.code(),
            Self::Keys { .. } => FrameType::Keys.code(),
            Self::Processor { .. } => FrameType::Processor.code(),
            Self::Machine { .. } => FrameType::Machine.code(),
            Self::Subchannel { .. } => FrameType::Subchannel.code(),
            Self::Findings(_) => FrameType::Findings.code(),
            Self::Skipped => FILLER_TYPE,
        }
    }

    /// The body of its frame.
    ///
    /// # Panics
    /// When the core finds no room for it, although there is.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![0; CONTROL_BYTES_MAX];
        let length = match self {
            Self::Plain(frame) => frame.emit(&mut body).expect("a control frame fits"),
            Self::Definition(block) => emit_definition(block, &mut body).expect("fits"),
            Self::Device(slot, device) => {
                emit_device(*slot, &device.emit(), &mut body).expect("a device fits")
            }
            Self::Pages { run, keys, states, pages } => {
                body.resize(pages::pages_body_bytes(*run), 0);
                let parts = pages::begin_pages(*run, &mut body).expect("the body has this size");
                parts.keys.copy_from_slice(keys);
                parts.states.copy_from_slice(states);
                parts.pages[..pages.len()].copy_from_slice(pages);
                let content = pages::with_content(*run, states).expect("states of all pages");
                pages::pages_body_bytes(content)
            }
            Self::Keys { run, keys, states } => {
                let parts = pages::begin_keys(*run, &mut body).expect("keys fit");
                parts.keys.copy_from_slice(keys);
                parts.states.copy_from_slice(states);
                pages::keys_body_bytes()
            }
            Self::Processor { index, rehearsal, image } => {
                let blocks = emit_processor(*index, *rehearsal, &mut body).expect("fits");
                4 + image.emit(blocks).expect("an image fits")
            }
            Self::Machine { rehearsal, image } => {
                let blocks = emit_machine(*rehearsal, &mut body).expect("fits");
                2 + image.emit(blocks).expect("an image fits")
            }
            Self::Subchannel { slot, image } => {
                let blocks = emit_subchannel(*slot, &mut body).expect("fits");
                2 + image.emit(blocks).expect("an image fits")
            }
            Self::Findings(findings) => emit_findings(findings, &mut body).expect("fits"),
            Self::Skipped => 0,
        };
        body.truncate(length);
        body
    }
}

/// The header that fits this body, of a frame under this number.
///
/// # Panics
/// When the body is longer than a length on the wire.
#[must_use]
pub fn header(type_code: u16, sequence: u64, body: &[u8]) -> Header {
    let must =
        if type_code == FILLER_TYPE { FrameFlags::empty() } else { FrameFlags::MUST_UNDERSTAND };
    Header {
        version: VERSION_MAX,
        type_code,
        flags: must,
        length: u32::try_from(body.len()).expect("a body is short"),
        stream: StreamId::new(0x0390),
        epoch: Epoch::new(7),
        sequence: Sequence::new(sequence),
        body_check: crc32c(0, body),
    }
}

/// A frame with this body, in which both check values fit.
#[must_use]
pub fn seal(type_code: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    [header(type_code, sequence, body).emit().as_slice(), body].concat()
}

/// Takes a frame apart as a receiver does: header, body check, body, bulk.
///
/// # Errors
/// Refuses what is no frame of this protocol, by field.
pub fn decode(bytes: &[u8]) -> Result<(Header, Content), DecodeError> {
    let truncated = DecodeError::new(Fault::Truncated, Field::Length);
    let (head, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(truncated)?;
    let header = Header::parse(head)?;
    let body = body.get(..header.body_bytes()).ok_or(truncated)?;
    if crc32c(0, body) != header.body_check {
        return Err(DecodeError::new(Fault::Damaged, Field::BodyCheck));
    }
    let content = match header.frame_type()? {
        Some(kind) => bulk(Frame::parse(kind, body)?, body)?,
        None => Content::Skipped,
    };
    Ok((header, content))
}

fn bulk(frame: Frame, body: &[u8]) -> Result<Content, DecodeError> {
    let wrong = |field| DecodeError::new(Fault::Unknown, field);
    Ok(match frame {
        Frame::Definition => Content::Definition(parse_definition(body)?),
        Frame::Device(slot) => {
            let (_, descriptor) = device_body(body)?;
            let descriptor = descriptor.try_into().map_err(|_| wrong(Field::Device))?;
            let device = DeviceDescriptor::parse(descriptor).map_err(|_| wrong(Field::Device))?;
            Content::Device(slot, device)
        }
        Frame::Pages(run) => Content::Pages {
            run,
            keys: pages::keys_of(run, body).to_vec(),
            states: pages::states_of(run, body).to_vec(),
            pages: pages::pages_of(body).to_vec(),
        },
        Frame::Keys(run) => Content::Keys {
            run,
            keys: pages::keys_of(run, body).to_vec(),
            states: pages::states_of(run, body).to_vec(),
        },
        Frame::Processor { index, rehearsal } => {
            let (_, _, blocks) = processor_body(body)?;
            let image = ProcessorImage::parse(blocks).map_err(|_| wrong(Field::ProcessorImage))?;
            Content::Processor { index, rehearsal, image: Box::new(image) }
        }
        Frame::Machine { rehearsal } => {
            let (_, blocks) = machine_body(body)?;
            let image = MachineImage::parse(blocks).map_err(|_| wrong(Field::MachineImage))?;
            Content::Machine { rehearsal, image: Box::new(image) }
        }
        Frame::Subchannel(slot) => {
            let (_, blocks) = subchannel_body(body)?;
            let image =
                SubchannelImage::parse(blocks).map_err(|_| wrong(Field::SubchannelImage))?;
            Content::Subchannel { slot, image: Box::new(image) }
        }
        Frame::Findings(_) => {
            let mut findings = Findings::new();
            parse_findings(body, &mut findings)?;
            Content::Findings(Box::new(findings))
        }
        plain => Content::Plain(plain),
    })
}

/// Number and name of every type that has a golden file: those with a meaning, and the filler.
#[must_use]
pub fn types() -> Vec<(u16, String)> {
    let known = FrameType::ALL.into_iter().map(|kind| (kind.code(), name(kind)));
    known.chain([(FILLER_TYPE, "FILLER".to_owned())]).collect()
}

/// The name of a type as PROTOCOL.md has it, such as `PASS-END`.
fn name(kind: FrameType) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The bytes of a text of hexadecimal bytes: `#` begins a comment, `00*16` is a byte 16 times.
///
/// # Panics
/// When the text is something else.
#[must_use]
pub fn parse_hex(text: &str) -> Vec<u8> {
    let code = text.lines().map(|line| line.split('#').next().unwrap_or(line));
    code.flat_map(str::split_whitespace)
        .flat_map(|token| match token.split_once('*') {
            Some((byte, count)) => hex(byte).repeat(count.parse().expect("a count")),
            None => hex(token),
        })
        .collect()
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits")).collect()
}
