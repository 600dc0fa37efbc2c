//! The edges of what the wire layer takes: the greatest that it accepts and the least that it
//! refuses, both values of each flag, and what its refusals say.
//!
//! Source of truth: PROTOCOL.md. Deliberately not here: whole frames, which the golden frames and
//! the damaged ones in `tests` have.

use std::{format, vec, vec::Vec};

use super::{
    DecodeError, Fault, Field, Frame, FrameFlags, FrameType, Header, LoadState, Status,
    VERSION_MAX, blocks::ImageError, emit_definition, emit_machine, emit_processor,
    findings::parse_findings, machine_body, parse_definition, processor_body,
};
use crate::{
    limits::{BODY_BYTES_MAX, FINDINGS_MAX},
    memory::PageRun,
    units::{
        DeviceSlot, Epoch, GroupNumber, Incarnation, Micros, PageCount, ProcessorIndex, Sequence,
        StreamId, VmIndex, VmName,
    },
    vm::{
        Activity, FacilityList, Findings, Obstacle, ProcessorSet, Processors, Reason, VmBlock,
        VmState,
    },
};

/// A header of a frame with a body of so many bytes.
fn header(length: usize) -> Header {
    Header {
        version: VERSION_MAX,
        type_code: FrameType::Pages.code(),
        flags: FrameFlags::MUST_UNDERSTAND,
        length: u32::try_from(length).unwrap(),
        stream: StreamId::new(1),
        epoch: Epoch::new(1),
        sequence: Sequence::new(1),
        body_check: 0,
    }
}

#[test]
fn longest_body_is_taken_and_a_longer_one_refused() {
    let longest = header(BODY_BYTES_MAX);
    assert_eq!(Header::parse(&longest.emit()), Ok(longest));
    let refused = DecodeError::new(Fault::OutOfRange, Field::Length);
    assert_eq!(Header::parse(&header(BODY_BYTES_MAX + 1).emit()), Err(refused));
}

/// A body of FINDINGS with so many of them.
fn findings_body(count: usize) -> Vec<u8> {
    let mut body = vec![];
    body.extend(u16::try_from(count).unwrap().to_be_bytes());
    body.extend([0, 3]);
    body.extend([0; 8]);
    for _ in 0..count {
        body.extend(Obstacle::MemoryShort.code().to_be_bytes());
        body.extend([0; 6]);
    }
    body
}

#[test]
fn full_list_of_findings_is_taken_and_a_longer_one_refused() {
    let mut findings = Findings::new();
    assert_eq!(parse_findings(&findings_body(FINDINGS_MAX), &mut findings), Ok(()));
    assert_eq!((findings.listed().len(), findings.unlisted()), (FINDINGS_MAX, 3));
    for count in [FINDINGS_MAX + 1, FINDINGS_MAX + 2] {
        let refused = DecodeError::new(Fault::OutOfRange, Field::FindingCount);
        assert_eq!(parse_findings(&findings_body(count), &mut findings), Err(refused));
    }
}

#[test]
fn definition_says_whether_the_configuration_differs() {
    let (index, name) = (VmIndex::new(12).unwrap(), VmName::new("VM12PROD").unwrap());
    let block = VmBlock::new(index, name, PageCount::new(64), 2).unwrap();
    let mut body = [0; 256];
    for differs in [false, true] {
        let block = block.with_state(VmState::new(Activity::Down).with_diff(differs));
        let length = emit_definition(&block, &mut body).unwrap();
        assert_eq!(parse_definition(&body[..length]), Ok(block));
        body[10] = 2;
        let refused = DecodeError::new(Fault::Unknown, Field::Diff);
        assert_eq!(parse_definition(&body[..length]), Err(refused));
    }
}

#[test]
fn definition_carries_standings_facilities_and_cpu_id_and_refuses_what_contradicts_itself() {
    let (index, name) = (VmIndex::new(12).unwrap(), VmName::new("VM12PROD").unwrap());
    let set = ProcessorSet::from_bits;
    let processors = Processors::standing_so(4, set(0b0010), set(0b1000)).unwrap();
    let block = VmBlock::new(index, name, PageCount::new(64), 4)
        .and_then(|block| block.with_processors(processors))
        .unwrap()
        .with_facilities(FacilityList::new([1, 2, 3, 4]))
        .with_cpu_id(0xFF01_2345_2827_0000);
    let mut body = [0; 256];
    let length = emit_definition(&block, &mut body).unwrap();
    assert_eq!(parse_definition(&body[..length]), Ok(block));
    let refused = Err(DecodeError::new(Fault::OutOfRange, Field::Blocked));
    // Processor 4 does not exist, 1 is detached, and one at least has to be left.
    for blocked in [0b1_0000, 0b0010, 0b1101] {
        body[82] = blocked;
        assert_eq!(parse_definition(&body[..length]), refused);
    }
}

#[test]
fn processor_says_whether_it_is_a_rehearsal() {
    for rehearsal in [false, true] {
        let (index, mut body) = (ProcessorIndex::new(63), [0; 8]);
        emit_processor(index, rehearsal, &mut body).unwrap();
        assert_eq!(processor_body(&body), Ok((index, rehearsal, &[0; 4][..])));
        body[3] = 2;
        let refused = DecodeError::new(Fault::Unknown, Field::Rehearsal);
        assert_eq!(processor_body(&body), Err(refused));
    }
}

#[test]
fn machine_says_whether_it_is_a_rehearsal() {
    for rehearsal in [false, true] {
        let mut body = [0; 6];
        emit_machine(rehearsal, &mut body).unwrap();
        assert_eq!(machine_body(&body), Ok((rehearsal, &[0; 4][..])));
        body[1] = 2;
        let refused = DecodeError::new(Fault::Unknown, Field::Rehearsal);
        assert_eq!(machine_body(&body), Err(refused));
    }
}

#[test]
fn driver_fills_the_bodies_of_bulk_alone() {
    let run = PageRun { group: GroupNumber::new(0), mask: 1 };
    let index = ProcessorIndex::new(0);
    let bulk = [
        Frame::Definition,
        Frame::Device(DeviceSlot::new(0)),
        Frame::Pages(run),
        Frame::Keys(run),
        Frame::Processor { index, rehearsal: true },
        Frame::Machine { rehearsal: true },
        Frame::Subchannel(DeviceSlot::new(0)),
        Frame::Findings(0),
    ];
    let incarnation = Incarnation::new(7);
    let plain = [
        Frame::Abort(Reason::Cancelled),
        Frame::Build,
        Frame::PassEnd(1),
        Frame::LoadEnd { processors: 1, subchannels: 0 },
        Frame::Recopy,
        Frame::Commit(incarnation),
        Frame::Ack(1),
        Frame::Rehearsed(Micros::new(1)),
        Frame::Aborted { incarnation, reason: Reason::Cancelled },
    ];
    assert!(bulk.iter().all(Frame::is_bulk));
    assert!(!plain.iter().any(Frame::is_bulk));
}

#[test]
fn status_says_each_state_of_a_load_and_a_reason_for_a_dropped_one_alone() {
    let dropped = LoadState::Dropped(Reason::Cancelled);
    let states = [
        (1, LoadState::Unknown),
        (2, LoadState::Receiving),
        (3, LoadState::Loaded),
        (4, LoadState::Claiming),
        (5, LoadState::Running),
        (6, LoadState::Completed),
        (7, dropped),
        (8, LoadState::Ending),
    ];
    let refused = |fault, field| Err(DecodeError::new(fault, field));
    for (code, state) in states {
        let frame = Frame::Status(Status { state, incarnation: Incarnation::new(7), stored: 9 });
        let mut body = [0; 20];
        assert_eq!(frame.emit(&mut body), Some(20));
        assert_eq!(body[1], code);
        assert_eq!(Frame::parse(FrameType::Status, &body), Ok(frame));
        body[2] = 0xFF;
        let fault = if state == dropped { Fault::Unknown } else { Fault::NotZero };
        assert_eq!(Frame::parse(FrameType::Status, &body), refused(fault, Field::Reason));
    }
    for code in [0, 9] {
        let mut body = [0; 20];
        body[1] = code;
        let unknown = refused(Fault::Unknown, Field::LoadState);
        assert_eq!(Frame::parse(FrameType::Status, &body), unknown);
    }
}

#[test]
fn refusals_name_what_is_wrong_and_where() {
    let refused = DecodeError::new(Fault::OutOfRange, Field::Length);
    assert_eq!(format!("{refused}"), "value out of range in field Length");
    let damaged = DecodeError::new(Fault::Damaged, Field::BodyCheck);
    assert_eq!(format!("{damaged}"), "check value does not fit in field BodyCheck");
    assert_eq!(format!("{}", ImageError::Missing(0x8001)), "block 0x8001 is missing");
    assert_eq!(format!("{}", ImageError::TooLong), "image too long");
}
