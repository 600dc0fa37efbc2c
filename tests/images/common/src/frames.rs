//! Headers, images and whole frames at random: what is written is read again, and what is
//! accepted has one encoding.
//!
//! Source of truth: PROTOCOL.md. Invariant: refusals, too, are part of the digests, so that two
//! machines that give the same digest refuse the same, by the same field. Deliberately not here:
//! which field is refused, which `wire_garbage` has.

use alloc::{boxed::Box, format, vec::Vec};

use monitor_core::{
    limits::{BODY_BYTES_MAX, HEADER_BYTES, PROCESSOR_BYTES_MAX},
    processor::{CpuState, ProcessorImage, Psw, TodEpoch},
    units::{Epoch, Sequence, StreamId},
    wire::{FrameFlags, FrameType, Header, VERSION_MAX},
};

use crate::{
    codec::{Content, decode, seal, types},
    golden::golden,
    random::{Digest, Random},
};

/// Headers that are written and read.
const HEADERS: u64 = 500;

/// Processors that are written and read.
const IMAGES: u64 = 100;

/// Frames that are changed for each type.
const CHANGES: u64 = 60;

/// Writes headers with values at random in every field, and reads them.
///
/// # Panics
/// When one is read as something else.
#[must_use]
pub fn headers(random: &mut Random) -> Digest {
    let mut digest = Digest::new();
    for _ in 0..HEADERS {
        let header = Header {
            version: VERSION_MAX,
            type_code: FrameType::ALL[random.index(FrameType::ALL.len())].code(),
            flags: FrameFlags::MUST_UNDERSTAND,
            length: u32::try_from(random.index(BODY_BYTES_MAX + 1)).unwrap_or_default(),
            stream: StreamId::new(random.next()),
            epoch: Epoch::new(random.next()),
            sequence: Sequence::new(random.next()),
            body_check: low(random),
        };
        let bytes = header.emit();
        assert_eq!(Header::parse(&bytes), Ok(header));
        digest.add(&bytes);
    }
    digest
}

/// Writes processors with values at random in every register, and reads them.
///
/// # Panics
/// When one is read as something else.
#[must_use]
pub fn images(random: &mut Random) -> Digest {
    let mut digest = Digest::new();
    for _ in 0..IMAGES {
        let image = image(random);
        let mut bytes = [0; PROCESSOR_BYTES_MAX];
        let length = image.emit(&mut bytes).expect("an image fits");
        assert!(ProcessorImage::parse(&bytes[..length]).as_ref() == Ok(&*image));
        digest.add(&bytes[..length]);
    }
    digest
}

/// A number of 32 bits.
fn low(random: &mut Random) -> u32 {
    u32::try_from(random.next() >> 32).unwrap_or_default()
}

fn image(random: &mut Random) -> Box<ProcessorImage> {
    let mut image = Box::new(ProcessorImage::initial());
    image.psw = Psw::new(random.next(), random.next());
    image.state = CpuState::from_code(1 + random.byte() % 4).expect("there are four states");
    image.general = core::array::from_fn(|_| random.next());
    image.access = core::array::from_fn(|_| low(random));
    image.control = core::array::from_fn(|_| random.next());
    image.vector =
        core::array::from_fn(|_| u128::from(random.next()) << 64 | u128::from(random.next()));
    image.cpu_timer = random.next().cast_signed();
    image.clock_comparator = random.next();
    image.tod_programmable = low(random);
    let index = random.byte().cast_signed();
    image.tod_epoch = TodEpoch { index, difference: random.next() };
    image.service_signal = (random.byte().is_multiple_of(2)).then(|| low(random));
    image.emergency_signals = random.next();
    image.runtime_instrumentation = core::array::from_fn(|_| random.byte());
    image.execute_target = random.next();
    image
}

/// Changes up to three bytes in bodies of the golden frames; gives how many are accepted, and a
/// digest of what all of them are.
///
/// # Panics
/// When one is accepted and encodes to something else.
#[must_use]
pub fn changed(random: &mut Random) -> (u64, Digest) {
    let (mut accepted, mut digest) = (0, Digest::new());
    for (code, name) in types() {
        let body = golden(&name)[HEADER_BYTES..].to_vec();
        for sequence in 1..=CHANGES {
            let bytes = seal(code, sequence, &change(body.clone(), random));
            match decode(&bytes) {
                Ok((_, content)) => {
                    accepted += 1;
                    digest.add(&assert_one_encoding(&name, &bytes, &content));
                }
                Err(error) => digest.add(format!("{error:?}").as_bytes()),
            }
        }
    }
    (accepted, digest)
}

fn change(mut body: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..random.below(4) {
        // Most of what decides stands at the beginning.
        let bound = body.len().min(if random.byte().is_multiple_of(2) { 96 } else { 4096 });
        let (place, value) = (random.index(bound.max(1)), random.byte());
        if let Some(byte) = body.get_mut(place) {
            *byte = value;
        }
    }
    if random.byte().is_multiple_of(10) {
        body.truncate(random.index(body.len() + 1));
    }
    body
}

/// What is accepted encodes to the same bytes; an image at least to the same value.
fn assert_one_encoding(name: &str, bytes: &[u8], content: &Content) -> Vec<u8> {
    let (header, _) = decode(bytes).expect("it was accepted");
    let again = seal(header.type_code, header.sequence.get(), &content.body());
    if matches!(
        content,
        Content::Processor { .. } | Content::Machine { .. } | Content::Subchannel { .. }
    ) {
        let value = decode(&again).map(|(_, content)| content);
        assert!(value.as_ref() == Ok(content), "{name} is read as something else");
    } else if !matches!(content, Content::Skipped) {
        assert!(again == bytes, "{name} has two encodings");
    }
    again
}
