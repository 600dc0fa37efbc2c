//! Tests of the questions to the directory and its answers; their bytes are the golden vectors'.

use std::vec::Vec;

use super::*;
use crate::units::SuName;

fn owned(su: &str, epoch: u64) -> Ownership {
    Ownership::running(SuName::new(su).unwrap(), Epoch::new(epoch))
}

fn question(operation: DirectoryOperation) -> DirectoryQuestion {
    DirectoryQuestion { number: 7, vm: VmName::new("VM12PROD").unwrap(), operation }
}

fn claim() -> DirectoryQuestion {
    let (expected, new) = (owned("ABGSE501", 3), owned("ABGSE701", 4).at(Standing::Claimed));
    question(DirectoryOperation::CompareAndSet { expected, new })
}

fn answers() -> [DirectoryAnswer; 5] {
    [
        DirectoryAnswer::Record(owned("A", 1)),
        DirectoryAnswer::Won,
        DirectoryAnswer::Lost(owned(&"B".repeat(64), u64::MAX).at(Standing::Claimed)),
        DirectoryAnswer::Missing,
        DirectoryAnswer::Unreachable,
    ]
}

/// The refusal of a question in which a byte has another value, and the check value fits.
fn refusal(of: DirectoryQuestion, offset: usize, value: u8) -> (Fault, Field) {
    let mut bytes = of.emit();
    bytes[offset] = value;
    seal(&mut bytes);
    let error = DirectoryQuestion::parse(&bytes).unwrap_err();
    (error.fault, error.field)
}

#[test]
fn every_question_and_answer_is_read_as_it_was_written() {
    for asked in [question(DirectoryOperation::Read), claim()] {
        assert_eq!(DirectoryQuestion::parse(&asked.emit()), Ok(asked));
    }
    for (number, answer) in (0..).zip(answers()) {
        let reply = DirectoryReply { number, answer };
        assert_eq!(DirectoryReply::parse(&reply.emit()), Ok(reply));
    }
}

#[test]
fn each_wrong_field_is_refused_by_its_name() {
    let read = question(DirectoryOperation::Read);
    assert_eq!(refusal(read, 0, b'X'), (Fault::Unknown, Field::Magic));
    assert_eq!(refusal(read, 5, 2), (Fault::Unknown, Field::Version));
    assert_eq!(refusal(read, 7, 0), (Fault::Unknown, Field::Operation));
    assert_eq!(refusal(read, 7, 3), (Fault::Unknown, Field::Operation));
    assert_eq!(refusal(read, 17, 7), (Fault::Unknown, Field::VmName));
    assert_eq!(refusal(read, 25, 2), (Fault::NotZero, Field::Reserved));
    for standing in [0, 3] {
        assert_eq!(refusal(claim(), 25, standing), (Fault::Unknown, Field::Standing));
    }
    assert_eq!(refusal(claim(), 34, 0), (Fault::NotZero, Field::Owner));
    assert_eq!(refusal(claim(), 34, 65), (Fault::Unknown, Field::Owner));
    let nameless = DirectoryQuestion { vm: VmName::EMPTY, ..read };
    assert_eq!(refusal(nameless, 16, 0), (Fault::Unknown, Field::VmName));
    let ownerless = Ownership::running(SuName::EMPTY, Epoch::new(1));
    let answer = DirectoryAnswer::Record(ownerless);
    let refused = DirectoryReply::parse(&DirectoryReply { number: 1, answer }.emit());
    assert_eq!(refused, Err(DecodeError::new(Fault::Unknown, Field::Owner)));
    for code in [0, 6] {
        let mut bytes = DirectoryReply { number: 1, answer: DirectoryAnswer::Won }.emit();
        bytes[7] = code;
        seal(&mut bytes);
        let refused = DirectoryReply::parse(&bytes);
        assert_eq!(refused, Err(DecodeError::new(Fault::Unknown, Field::Answer)));
    }
}

#[test]
fn every_flipped_bit_of_an_answer_is_refused() {
    let bytes = DirectoryReply { number: 9, answer: DirectoryAnswer::Won }.emit();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes;
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = DirectoryReply::parse(&damaged).unwrap_err();
        let field = if bit < 32 { Field::Magic } else { Field::Check };
        assert_eq!(error.field, field, "bit {bit}");
    }
}

#[test]
fn whole_packets_are_found_behind_any_beginning_and_any_damage() {
    let replies = answers().map(|answer| DirectoryReply { number: 5, answer }.emit());
    let gathered = |stream: &[u8]| {
        let mut gatherer = Gatherer::of_answers();
        let found = stream.iter().filter_map(|byte| gatherer.take(*byte));
        found.map(|bytes| DirectoryReply::parse(&bytes).unwrap().answer).collect::<Vec<_>>()
    };
    let whole = replies.concat();
    assert_eq!(gathered(&whole), answers());
    for cut in 1..ANSWER_BYTES {
        assert_eq!(gathered(&whole[cut..]), answers()[1..], "the first {cut} bytes are missing");
        let (head, tail) = (&whole[..ANSWER_BYTES - cut], &whole[ANSWER_BYTES..]);
        assert_eq!(gathered(&[head, tail].concat()), answers()[1..], "{cut} bytes are missing");
    }
    // A name may look like the beginning of a packet, and an echo of a question is no answer.
    let vm = VmName::new("VMDAVMDA").unwrap();
    let echo = DirectoryQuestion { vm, ..claim() }.emit();
    assert_eq!(gathered(&[&b"VMVMDVMDA"[..], &echo, &whole].concat()), answers());
}

#[test]
fn gatherer_forgets_the_beginning_of_a_stream_that_was_cut() {
    let bytes = claim().emit();
    let mut gatherer = Gatherer::of_questions();
    assert!(bytes[..100].iter().all(|byte| gatherer.take(*byte).is_none()));
    gatherer.clear();
    assert!(bytes[100..].iter().all(|byte| gatherer.take(*byte).is_none()));
    let found = bytes.iter().find_map(|byte| gatherer.take(*byte)).unwrap();
    assert_eq!(DirectoryQuestion::parse(&found), Ok(claim()));
}

#[test]
fn gatherer_gives_no_packet_of_another_kind() {
    let mut bytes = DirectoryReply { number: 9, answer: DirectoryAnswer::Won }.emit();
    bytes[3] = b'X';
    seal(&mut bytes);
    let mut gatherer = Gatherer::of_answers();
    assert!(bytes.iter().all(|byte| gatherer.take(*byte).is_none()));
}

#[test]
fn packets_have_the_lengths_of_the_protocol() {
    assert_eq!((QUESTION_BYTES, ANSWER_BYTES), (177, 94));
}
