//! Tests of the wire form of a processor image: fixed bytes, every field, every refusal.
//!
//! Source of truth: PROTOCOL.md ("Processor image"). Deliberately not here: the rules of blocks in
//! general, which are tested where they are defined.

use super::*;
use crate::wire::checksum::crc32c;
use std::vec::Vec;

/// An image in which every field differs from all others and from its initial value.
fn distinct() -> ProcessorImage {
    ProcessorImage {
        psw: Psw::new(0x0705_2001_8000_0000, 0x0000_00AB_CDEF_0124),
        state: CpuState::Operating,
        sigp_order: 0x09,
        general: core::array::from_fn(|n| 0x1000_0000_0000_0000 + u64::try_from(n).unwrap()),
        access: core::array::from_fn(|n| 0x2000_0000 + u32::try_from(n).unwrap()),
        control: core::array::from_fn(|n| 0x3000_0000_0000_0000 + u64::try_from(n).unwrap()),
        vector: core::array::from_fn(|n| (0x41 << 120) + u128::try_from(n).unwrap()),
        floating_control: 0x5000_0001,
        prefix: 0x0006_0000,
        tod_programmable: 0x7001,
        cpu_timer: -0x8002,
        clock_comparator: 0x9003,
        breaking_event: 0xA004,
        program_parameter: 0xB005,
        tod_epoch: TodEpoch { index: -2, difference: 0xC006 },
        external_call: Some(0xD007),
        emergency_signals: 0xE000_0000_0000_0008,
        malfunction_alerts: 0xE100_0000_0000_0009,
        machine_check: MachineCheck { code: 0x1_7015, address: 0x1_8016, damage: 0x1_9017 },
        restart_pending: true,
        service_signal: Some(0xF009),
        pfault_token: 0x1_000A,
        pfault_select: 0x1_100B,
        pfault_compare: 0x1_200C,
        guarded_storage: [0x1_300D, 0x1_300E, 0x1_300F, 0x1_3010],
        runtime_instrumentation: core::array::from_fn(|n| 0x80 | u8::try_from(n).unwrap()),
        execute_target: 0x1_4011,
        prediction_blocked: true,
        etoken: [0x1_5012, 0x1_5013],
        control_program: 0x1_6014,
    }
}

fn encoded(image: &ProcessorImage) -> Vec<u8> {
    let mut buffer = [0; PROCESSOR_BYTES_MAX];
    let length = image.emit(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// Where the head of each block lies.
fn block_offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = Vec::new();
    let mut offset = 0;
    while offset < bytes.len() {
        offsets.push(offset);
        offset += 8 + usize::from(u16::from_be_bytes([bytes[offset + 6], bytes[offset + 7]]));
    }
    offsets
}

fn without_block(bytes: &[u8], number: usize) -> Vec<u8> {
    let mut bounds = block_offsets(bytes);
    bounds.push(bytes.len());
    [&bytes[..bounds[number - 1]], &bytes[bounds[number]..]].concat()
}

#[test]
fn every_field_survives_the_wire() {
    let image = distinct();
    assert_eq!(ProcessorImage::parse(&encoded(&image)), Ok(image));
}

#[test]
fn each_field_alone_survives_the_wire() {
    type Change = fn(&mut ProcessorImage, ProcessorImage);
    let changes: [Change; 30] = [
        |image, from| image.psw = from.psw,
        |image, from| image.state = from.state,
        |image, from| image.sigp_order = from.sigp_order,
        |image, from| image.general = from.general,
        |image, from| image.access = from.access,
        |image, from| image.control = from.control,
        |image, from| image.vector = from.vector,
        |image, from| image.floating_control = from.floating_control,
        |image, from| image.prefix = from.prefix,
        |image, from| image.tod_programmable = from.tod_programmable,
        |image, from| image.cpu_timer = from.cpu_timer,
        |image, from| image.clock_comparator = from.clock_comparator,
        |image, from| image.breaking_event = from.breaking_event,
        |image, from| image.program_parameter = from.program_parameter,
        |image, from| image.tod_epoch = from.tod_epoch,
        |image, from| image.external_call = from.external_call,
        |image, from| image.emergency_signals = from.emergency_signals,
        |image, from| image.malfunction_alerts = from.malfunction_alerts,
        |image, from| image.machine_check = from.machine_check,
        |image, from| image.restart_pending = from.restart_pending,
        |image, from| image.service_signal = from.service_signal,
        |image, from| image.pfault_token = from.pfault_token,
        |image, from| image.pfault_select = from.pfault_select,
        |image, from| image.pfault_compare = from.pfault_compare,
        |image, from| image.guarded_storage = from.guarded_storage,
        |image, from| image.runtime_instrumentation = from.runtime_instrumentation,
        |image, from| image.execute_target = from.execute_target,
        |image, from| image.prediction_blocked = from.prediction_blocked,
        |image, from| image.etoken = from.etoken,
        |image, from| image.control_program = from.control_program,
    ];
    let mut all = ProcessorImage::initial();
    for (number, change) in changes.iter().enumerate() {
        let mut image = ProcessorImage::initial();
        change(&mut image, distinct());
        assert_ne!(image, ProcessorImage::initial(), "change {number}");
        assert_eq!(ProcessorImage::parse(&encoded(&image)), Ok(image), "change {number}");
        change(&mut all, distinct());
    }
    assert_eq!(all, distinct());
}

#[test]
fn encoding_is_these_bytes() {
    let bytes = encoded(&distinct());
    assert_eq!(bytes.len(), 1244);
    assert_eq!(bytes.len(), encoded_bytes_max());
    assert_eq!(bytes[..8], [0x80, 1, 0, 1, 0, 0, 0, 18]);
    assert_eq!(bytes[8..16], [0x07, 0x05, 0x20, 0x01, 0x80, 0, 0, 0]);
    assert_eq!(bytes[16..26], [0, 0, 0, 0xAB, 0xCD, 0xEF, 0x01, 0x24, 2, 9]);
    assert_eq!(bytes[26..34], [0x80, 2, 0, 1, 0, 0, 0, 128]);
    assert_eq!(bytes[154..162], [0x10, 0, 0, 0, 0, 0, 0, 15]);
    let offsets = [
        0, 26, 162, 234, 370, 890, 902, 950, 967, 987, 999, 1031, 1071, 1143, 1159, 1184, 1200,
        1216,
    ];
    assert_eq!(block_offsets(&bytes), offsets);
    assert_eq!(bytes[950..967], [0x80, 8, 0, 1, 0, 0, 0, 9, 0xFE, 0, 0, 0, 0, 0, 0, 0xC0, 6]);
    assert_eq!(bytes[975..987], [1, 0xD0, 7, 0xE0, 0, 0, 0, 0, 0, 0, 8, 1]);
    assert_eq!(crc32c(0, &bytes), 0xE8AD_B67D);
}

#[test]
fn image_after_reset_has_the_mandatory_blocks_alone() {
    let bytes = encoded(&ProcessorImage::initial());
    assert_eq!(bytes.len(), 987);
    assert_eq!(block_offsets(&bytes).len(), 9);
    assert_eq!(ProcessorImage::parse(&bytes), Ok(ProcessorImage::initial()));
}

#[test]
fn buffer_that_is_too_short_is_refused_at_every_length() {
    let mut buffer = [0; 1244];
    for length in 0..1244 {
        let outcome = distinct().emit(&mut buffer[..length]);
        assert!(matches!(outcome, Err(ImageError::NoRoom(_))), "{length} bytes: {outcome:?}");
    }
    assert_eq!(distinct().emit(&mut buffer), Ok(1244));
}

#[test]
fn each_missing_mandatory_block_is_named() {
    let bytes = encoded(&distinct());
    for number in 1..=9_u16 {
        let outcome = ProcessorImage::parse(&without_block(&bytes, usize::from(number)));
        assert_eq!(outcome, Err(ImageError::Missing(0x8000 | number)));
    }
    assert_eq!(ProcessorImage::parse(&[]), Err(ImageError::Missing(0x8001)));
    for number in 10..=18 {
        let outcome = ProcessorImage::parse(&without_block(&bytes, number));
        assert!(outcome.is_ok_and(|image| image != distinct()), "block {number}");
    }
}

#[test]
fn every_truncation_is_refused_but_those_between_optional_blocks() {
    let bytes = encoded(&distinct());
    let bounds = block_offsets(&bytes);
    for length in 0..bytes.len() {
        let outcome = ProcessorImage::parse(&bytes[..length]);
        let whole = length >= 987 && bounds.contains(&length);
        assert_eq!(outcome.is_ok(), whole, "{length} bytes: {outcome:?}");
    }
    assert_eq!(ProcessorImage::parse(&bytes[..100]), Err(ImageError::Truncated(0x8002)));
    assert_eq!(ProcessorImage::parse(&bytes[..28]), Err(ImageError::Truncated(0)));
}

#[test]
fn unknown_block_is_refused_only_when_it_must_be_understood() {
    let bytes = encoded(&distinct());
    let with = |tag: u8| [&bytes[..], &[tag, 19, 0, 1, 0, 0, 0, 2, 7, 7]].concat();
    assert_eq!(ProcessorImage::parse(&with(0)), Ok(distinct()));
    assert_eq!(ProcessorImage::parse(&with(0x80)), Err(ImageError::Unknown(0x8013)));
}

#[test]
fn unknown_version_counts_as_unknown_block() {
    let mut bytes = encoded(&distinct());
    bytes[1216 + 3] = 2;
    assert_eq!(ProcessorImage::parse(&bytes), Err(ImageError::Unknown(0x8012)));
    bytes[1216] = 0;
    let skipped = ProcessorImage { machine_check: MachineCheck::NONE, ..distinct() };
    assert_eq!(ProcessorImage::parse(&bytes), Ok(skipped));
}

#[test]
fn duplicate_misplaced_and_wrongly_long_blocks_are_refused() {
    let bytes = encoded(&distinct());
    let last = &bytes[1216..];
    let duplicate = [&bytes[..], last].concat();
    assert_eq!(ProcessorImage::parse(&duplicate), Err(ImageError::Duplicate(0x8012)));
    let misplaced = [&bytes[..], &bytes[..26]].concat();
    assert_eq!(ProcessorImage::parse(&misplaced), Err(ImageError::OutOfOrder(0x8001)));
    let mut longer = [&bytes[..], &[0]].concat();
    longer[1216 + 7] = 21;
    assert_eq!(ProcessorImage::parse(&longer), Err(ImageError::WrongLength(0x8012)));
    let excess = [0; PROCESSOR_BYTES_MAX + 1];
    assert_eq!(ProcessorImage::parse(&excess), Err(ImageError::TooLong));
}

#[test]
fn values_without_meaning_are_refused() {
    let altered = |offset: usize, value: u8| {
        let mut bytes = encoded(&distinct());
        bytes[offset] = value;
        ProcessorImage::parse(&bytes)
    };
    assert_eq!(altered(24, 0), Err(ImageError::Invalid(0x8001)));
    assert_eq!(altered(24, 5), Err(ImageError::Invalid(0x8001)));
    assert_eq!(altered(975, 0), Err(ImageError::Invalid(0x8009)));
    assert_eq!(altered(975, 2), Err(ImageError::Invalid(0x8009)));
    assert_eq!(altered(986, 2), Err(ImageError::Invalid(0x8009)));
    assert_eq!(altered(1167, 2), Err(ImageError::Invalid(0x800F)));
}

#[test]
fn no_altered_byte_makes_parsing_panic_or_go_unseen() {
    let bytes = encoded(&distinct());
    for offset in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[offset] ^= 0xFF;
        assert_ne!(ProcessorImage::parse(&altered), Ok(distinct()), "byte {offset}");
    }
}
