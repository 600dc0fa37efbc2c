//! What is no frame, or a wrong one, is refused: no byte string makes the decoder panic, and each
//! refusal names the field.
//!
//! Source of truth: PROTOCOL.md, "Fields". Invariants: what is accepted has one encoding, so that
//! a decoded frame encodes to the same bytes again; images may have blocks that are skipped.
//! Deliberately not here: frames that are right and come at the wrong time.

use std::fs;

use monitor_core::{
    limits::{BODY_BYTES_MAX, HEADER_BYTES},
    wire::{DecodeError, FILLER_TYPE, Fault, Field, FrameFlags, Header, VERSION_MAX},
};
use portable_tests::{
    codec::{Content, decode, header, seal, types},
    golden::golden,
};
use proptest::prelude::*;

/// Every golden frame with its name.
fn golden_frames() -> Vec<(String, Vec<u8>)> {
    types().into_iter().map(|(_, name)| (name.clone(), golden(&name))).collect()
}

/// The header of a golden frame with something changed, and check values that fit.
fn with_header(name: &str, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let bytes = golden(name);
    let mut header = decode(&bytes).expect("a golden frame decodes").0;
    change(&mut header);
    [&header.emit(), &bytes[HEADER_BYTES..]].concat()
}

/// A golden frame with these bytes at this offset of its body, and check values that fit.
fn with_body(name: &str, offset: usize, bytes: &[u8]) -> Vec<u8> {
    let frame = golden(name);
    let (header, _) = decode(&frame).expect("a golden frame decodes");
    let mut body = frame[HEADER_BYTES..].to_vec();
    body[offset..offset + bytes.len()].copy_from_slice(bytes);
    seal(header.type_code, header.sequence.get(), &body)
}

fn refusal(bytes: &[u8]) -> Option<(Fault, Field)> {
    decode(bytes).err().map(|DecodeError { fault, field }| (fault, field))
}

/// What is accepted encodes to the same bytes; an image at least to the same value.
fn assert_one_encoding(bytes: &[u8]) {
    let Ok((header, content)) = decode(bytes) else {
        return;
    };
    assert_eq!(content.type_code(), header.type_code);
    let again = seal(header.type_code, header.sequence.get(), &content.body());
    match &content {
        Content::Processor { .. } | Content::Subchannel { .. } => {
            assert_eq!(decode(&again).map(|(_, it)| it), Ok(content));
        }
        Content::Skipped => assert_eq!(again.len(), HEADER_BYTES),
        _ => assert_eq!(again[HEADER_BYTES..], bytes[HEADER_BYTES..again.len()], "{content:?}"),
    }
}

#[test]
fn each_cut_of_a_golden_frame_is_no_frame() {
    for (name, bytes) in golden_frames() {
        for length in 0..bytes.len() {
            let expected = Some((Fault::Truncated, Field::Length));
            assert_eq!(refusal(&bytes[..length]), expected, "{name} after {length} bytes");
        }
    }
}

#[test]
fn each_shorter_body_is_refused_unless_only_optional_blocks_are_missing() {
    for (name, bytes) in golden_frames() {
        let type_code = decode(&bytes).expect("a golden frame decodes").0.type_code;
        let body = &bytes[HEADER_BYTES..];
        let accepted: Vec<usize> = (0..body.len())
            .filter(|length| decode(&seal(type_code, 1, &body[..*length])).is_ok())
            .collect();
        let expected: &[usize] = match name.as_str() {
            // Behind the ninth block and each further one but the last.
            "PROCESSOR" => &[991, 1003, 1035, 1075, 1147, 1163, 1188, 1204, 1220],
            // Behind each block but the last.
            "MACHINE" => &[12, 150, 168, 194, 204, 335],
            // Before the operation-request block.
            "SUBCHANNEL" => &[114],
            _ => &[],
        };
        assert_eq!(accepted, expected, "{name}");
    }
}

#[test]
fn each_longer_body_is_refused() {
    for (name, bytes) in golden_frames() {
        let type_code = decode(&bytes).expect("a golden frame decodes").0.type_code;
        if type_code == FILLER_TYPE {
            continue;
        }
        let body = [&bytes[HEADER_BYTES..], &[0]].concat();
        assert!(refusal(&seal(type_code, 1, &body)).is_some(), "{name}");
    }
}

#[test]
fn each_flipped_bit_is_found_by_a_check_value() {
    for (name, bytes) in golden_frames() {
        // Of page bodies one bit a byte is enough; of all others each bit is flipped.
        let is_long = bytes.len() > 4096;
        for bit in (0..bytes.len() * 8).filter(|bit| !is_long || (bit / 8) % 8 == bit % 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0..4 => (Fault::Unknown, Field::Magic),
                4..HEADER_BYTES => (Fault::Damaged, Field::HeaderCheck),
                _ => (Fault::Damaged, Field::BodyCheck),
            };
            assert_eq!(refusal(&flipped), Some(expected), "{name}, bit {bit}");
        }
    }
}

#[test]
fn foreign_streams_are_told_by_their_magic() {
    let foreign: [&[u8]; 5] = [
        b"HTTP/1.1 400 Bad Request",
        b"SSH-2.0-OpenSSH_9.9p1 Debian-3",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        b"MLMV",
        b"",
    ];
    for beginning in foreign {
        let mut bytes = beginning.to_vec();
        bytes.resize(HEADER_BYTES, 0);
        assert_eq!(refusal(&bytes), Some((Fault::Unknown, Field::Magic)), "{beginning:?}");
    }
}

#[test]
fn damage_is_told_before_a_wrong_version() {
    let mut bytes = with_header("HELLO", |header| header.version = VERSION_MAX + 1);
    assert_eq!(refusal(&bytes), Some((Fault::Unknown, Field::Version)));
    bytes[20] ^= 1;
    assert_eq!(refusal(&bytes), Some((Fault::Damaged, Field::HeaderCheck)));
}

#[test]
fn each_wrong_header_field_is_named() {
    let of = |change: fn(&mut Header)| refusal(&with_header("HELLO", change));
    assert_eq!(of(|it| it.version = 0), Some((Fault::Unknown, Field::Version)));
    assert_eq!(of(|it| it.version = 0xFFFF), Some((Fault::Unknown, Field::Version)));
    assert_eq!(of(|it| it.type_code = 0), Some((Fault::Unknown, Field::Type)));
    assert_eq!(of(|it| it.type_code = 0x7EFF), Some((Fault::Unknown, Field::Type)));
    let unknown_flag = of(|it| it.flags = FrameFlags::from_bits_retain(0x0002));
    assert_eq!(unknown_flag, Some((Fault::Unknown, Field::Flags)));
    let too_long = u32::try_from(BODY_BYTES_MAX + 1).expect("a limit fits");
    for length in [too_long, 1 << 20, u32::MAX] {
        let bytes = with_header("HELLO", |header| header.length = length);
        assert_eq!(refusal(&bytes), Some((Fault::OutOfRange, Field::Length)), "{length}");
    }
    assert_eq!(of(|it| it.body_check ^= 1), Some((Fault::Damaged, Field::BodyCheck)));
}

#[test]
fn reserved_bytes_of_the_header_must_be_zero() {
    for offset in [10, 11] {
        let mut bytes = golden("BUILD");
        bytes[offset] = 1;
        let check = monitor_core::wire::checksum::crc32c(0, &bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&check.to_be_bytes());
        assert_eq!(refusal(&bytes), Some((Fault::NotZero, Field::Reserved)), "byte {offset}");
    }
}

#[test]
fn unknown_type_is_skipped_unless_it_must_be_understood() {
    let known: Vec<u16> = types().into_iter().map(|(code, _)| code).collect();
    for type_code in (0..=u16::MAX).filter(|code| *code == FILLER_TYPE || !known.contains(code)) {
        let mut head = header(type_code, 1, b"later");
        head.flags = FrameFlags::empty();
        let optional = [&head.emit(), b"later".as_slice()].concat();
        let outcome = decode(&optional).map(|(_, content)| content);
        let zero = DecodeError::new(Fault::Unknown, Field::Type);
        let expected = if type_code == 0 { Err(zero) } else { Ok(Content::Skipped) };
        assert_eq!(outcome, expected, "{type_code:#06x}");
        head.flags = FrameFlags::MUST_UNDERSTAND;
        let required = [&head.emit(), b"later".as_slice()].concat();
        assert_eq!(refusal(&required), Some((Fault::Unknown, Field::Type)), "{type_code:#06x}");
    }
}

/// A golden frame, an offset in its body, bytes that are wrong there, and the refusal.
type Wrong = (&'static str, usize, &'static [u8], Fault, Field);

const WRONG_CONTROL: [Wrong; 30] = [
    ("HELLO", 0, &[0, 0], Fault::OutOfRange, Field::VersionMin),
    ("HELLO", 0, &[0, 2], Fault::OutOfRange, Field::VersionMin),
    ("HELLO", 4, &[0, 0, 0x10, 0xBF], Fault::OutOfRange, Field::FrameBytes),
    ("HELLO", 4, &[0, 4, 0, 0xC1], Fault::OutOfRange, Field::FrameBytes),
    ("HELLO", 8, &[0, 0, 0, 0], Fault::OutOfRange, Field::Window),
    ("HELLO", 12, &[0, 0, 0, 1, 0, 0, 0, 1], Fault::OutOfRange, Field::PageCount),
    ("HELLO", 20, &[9], Fault::Unknown, Field::VmName),
    ("HELLO", 20, &[7], Fault::NotZero, Field::VmName),
    ("HELLO", 21, &[0x0A], Fault::Unknown, Field::VmName),
    ("HELLO", 29, &[65], Fault::Unknown, Field::SourceName),
    ("HELLO", 93, b"X", Fault::NotZero, Field::SourceName),
    ("HELLO", 95, &[0x80], Fault::Unknown, Field::TargetName),
    ("ABORT", 0, &[0, 0], Fault::Unknown, Field::Reason),
    ("ABORT", 0, &[0, 25], Fault::Unknown, Field::Reason),
    ("STATUS", 0, &[0, 0], Fault::Unknown, Field::LoadState),
    ("STATUS", 0, &[0, 9], Fault::Unknown, Field::LoadState),
    ("STATUS", 2, &[0, 1], Fault::NotZero, Field::Reason),
    ("STATUS", 0, &[0, 7, 0, 0], Fault::Unknown, Field::Reason),
    ("CHECK", 0, &[0x10, 1], Fault::OutOfRange, Field::DeviceCount),
    ("PASS-END", 0, &[0, 65], Fault::OutOfRange, Field::Pass),
    ("REHEARSAL-END", 0, &[0, 65], Fault::OutOfRange, Field::ProcessorCount),
    ("LOAD-END", 0, &[0xFF, 0xFF], Fault::OutOfRange, Field::ProcessorCount),
    ("LOAD-END", 2, &[0x10, 1], Fault::OutOfRange, Field::DeviceCount),
    ("ABORTED", 8, &[0xFF, 0xFF], Fault::Unknown, Field::Reason),
    ("FINDINGS", 0, &[0, 65], Fault::OutOfRange, Field::FindingCount),
    ("FINDINGS", 0, &[0, 3], Fault::Truncated, Field::FindingCode),
    ("FINDINGS", 0, &[0, 1], Fault::Trailing, Field::Body),
    ("FINDINGS", 12, &[0, 0], Fault::Unknown, Field::FindingCode),
    ("FINDINGS", 14, &[5], Fault::Unknown, Field::FindingDevice),
    ("FINDINGS", 19, &[1], Fault::NotZero, Field::Reserved),
];

const WRONG_BULK: [Wrong; 43] = [
    ("DEFINITION", 0, &[0], Fault::OutOfRange, Field::VmIndex),
    ("DEFINITION", 0, &[100], Fault::OutOfRange, Field::VmIndex),
    ("DEFINITION", 1, &[0], Fault::Unknown, Field::VmState),
    ("DEFINITION", 2, &[0, 0], Fault::OutOfRange, Field::ProcessorCount),
    ("DEFINITION", 2, &[0, 65], Fault::OutOfRange, Field::ProcessorCount),
    ("DEFINITION", 4, &[0, 0], Fault::OutOfRange, Field::Quota),
    ("DEFINITION", 6, &[0x27, 0x11], Fault::OutOfRange, Field::Limit),
    ("DEFINITION", 8, &[0x80, 0], Fault::Unknown, Field::Privileges),
    ("DEFINITION", 10, &[2], Fault::Unknown, Field::Diff),
    ("DEFINITION", 11, &[1], Fault::NotZero, Field::Reserved),
    ("DEFINITION", 16, &[0; 8], Fault::OutOfRange, Field::PageCount),
    ("DEFINITION", 16, &[0, 0, 0, 1, 0, 0, 0, 1], Fault::OutOfRange, Field::PageCount),
    ("DEFINITION", 24, &[0; 9], Fault::OutOfRange, Field::VmName),
    ("DEFINITION", 33, &[3], Fault::NotZero, Field::GroupName),
    ("DEFINITION", 42, &[25], Fault::Unknown, Field::Configuration),
    ("DEFINITION", 74, &[0x10], Fault::OutOfRange, Field::Blocked),
    ("DEFINITION", 75, &[0x80], Fault::OutOfRange, Field::Blocked),
    ("DEFINITION", 82, &[0x02], Fault::OutOfRange, Field::Blocked),
    ("DEFINITION", 82, &[0x0D], Fault::OutOfRange, Field::Blocked),
    ("DEVICE", 0, &[0x10, 0], Fault::OutOfRange, Field::Slot),
    ("DEVICE", 2, &[0], Fault::Unknown, Field::Device),
    ("DEVICE", 6, &[7], Fault::Unknown, Field::Device),
    ("PAGES", 0, &[0, 0, 0, 0, 4, 0, 0, 0], Fault::OutOfRange, Field::Group),
    ("PAGES", 8, &[0; 8], Fault::OutOfRange, Field::Mask),
    ("PAGES", 15, &[0b1111], Fault::Truncated, Field::PageBody),
    ("PAGES", 15, &[0b1000], Fault::Trailing, Field::PageBody),
    ("PAGES", 79, &[0x10], Fault::NotZero, Field::Keys),
    ("PAGES", 81, &[0], Fault::Truncated, Field::PageBody),
    ("PAGES", 82, &[4], Fault::Trailing, Field::PageBody),
    ("PAGES", 82, &[5], Fault::Unknown, Field::States),
    ("PAGES", 143, &[1], Fault::NotZero, Field::States),
    ("KEYS", 0, &[0xFF], Fault::OutOfRange, Field::Group),
    ("KEYS", 15, &[0], Fault::OutOfRange, Field::Mask),
    ("KEYS", 19, &[0x10], Fault::NotZero, Field::Keys),
    ("KEYS", 80, &[0xFF], Fault::Unknown, Field::States),
    ("KEYS", 83, &[2], Fault::NotZero, Field::States),
    ("PROCESSOR", 0, &[0, 64], Fault::OutOfRange, Field::ProcessorIndex),
    ("PROCESSOR", 2, &[0, 2], Fault::Unknown, Field::Rehearsal),
    ("PROCESSOR", 28, &[0], Fault::Unknown, Field::ProcessorImage),
    ("MACHINE", 0, &[0, 2], Fault::Unknown, Field::Rehearsal),
    ("MACHINE", 11, &[4], Fault::Unknown, Field::MachineImage),
    ("SUBCHANNEL", 0, &[0x10, 0], Fault::OutOfRange, Field::Slot),
    ("SUBCHANNEL", 6, &[0xFF], Fault::Unknown, Field::SubchannelImage),
];

#[test]
fn each_wrong_body_field_is_named_and_stands_in_the_protocol() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md"));
    let text = text.expect("PROTOCOL.md is readable");
    for (name, offset, bytes, fault, field) in WRONG_CONTROL.into_iter().chain(WRONG_BULK) {
        let frame = with_body(name, offset, bytes);
        assert_eq!(refusal(&frame), Some((fault, field)), "{name}, {bytes:?} at {offset}");
        assert!(text.contains(&format!("\n| {field:?} |")), "PROTOCOL.md has {field:?}");
    }
}

#[test]
fn each_greatest_value_is_accepted() {
    let accepted: [(&str, usize, &[u8]); 8] = [
        ("HELLO", 4, &[0, 0, 0x10, 0xC0]),
        ("HELLO", 12, &[0, 0, 0, 1, 0, 0, 0, 0]),
        ("CHECK", 0, &[0x10, 0]),
        ("PASS-END", 0, &[0, 64]),
        ("LOAD-END", 0, &[0, 64, 0x10, 0]),
        ("KEYS", 0, &[0, 0, 0, 0, 3, 0xFF, 0xFF, 0xFF]),
        ("DEFINITION", 6, &[0x27, 0x10]),
        ("PROCESSOR", 0, &[0, 63]),
    ];
    for (name, offset, bytes) in accepted {
        let frame = with_body(name, offset, bytes);
        assert_eq!(refusal(&frame), None, "{name}, {bytes:?} at {offset}");
        assert_one_encoding(&frame);
    }
}

/// Any type that has a meaning.
fn any_type() -> impl Strategy<Value = (u16, String)> {
    let mut known = types();
    known.retain(|(code, _)| *code != FILLER_TYPE);
    proptest::sample::select(known)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x390),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bytes_at_random_are_no_frame(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn header_at_random_behind_the_magic_is_damaged(rest in any::<[u8; 44]>()) {
        let bytes = [b"VMLM".as_slice(), &rest].concat();
        prop_assert_eq!(refusal(&bytes), Some((Fault::Damaged, Field::HeaderCheck)));
    }

    #[test]
    fn body_at_random_has_one_encoding_or_none(
        (type_code, _) in any_type(),
        body in proptest::collection::vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..300),
    ) {
        assert_one_encoding(&seal(type_code, 1, &body));
    }

    #[test]
    fn golden_body_with_changed_bytes_has_one_encoding_or_none(
        (type_code, name) in any_type(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in prop_oneof![9 => Just(0), 1 => 0..40_usize],
    ) {
        let mut body = golden(&name)[HEADER_BYTES..].to_vec();
        body.truncate(body.len().saturating_sub(cut));
        let length = body.len().max(1);
        for (place, value) in changes {
            // Most of what decides stands at the beginning.
            let place = if value % 2 == 0 { place % length } else { place % length.min(96) };
            if let Some(byte) = body.get_mut(place) {
                *byte = value;
            }
        }
        assert_one_encoding(&seal(type_code, 1, &body));
    }
}
