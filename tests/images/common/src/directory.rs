//! The golden packets between a monitor and the cluster directory, and the values that they are.
//!
//! Source of truth: the files in `tests/golden/directory`. Invariant: each operation and each
//! answer has one file here. Deliberately not here: how the files are written, which the test
//! `directory_golden` does.

use alloc::vec::Vec;

use monitor_core::{
    units::{Epoch, SuName, VmName},
    vm::{DirectoryAnswer, Ownership, Standing},
    wire::{ANSWER_BYTES, DirectoryOperation, DirectoryQuestion, DirectoryReply, QUESTION_BYTES},
};

use crate::{codec::parse_hex, random::Digest};

/// The number of the question in all packets.
const NUMBER: u64 = 0x00DF_1A2B_3C4D_5E70;

/// Name and text of each golden file.
const FILES: [(&str, &str); 7] = [
    ("question-read", include_str!("../../../golden/directory/question-read.hex")),
    (
        "question-compare-and-set",
        include_str!("../../../golden/directory/question-compare-and-set.hex"),
    ),
    ("answer-record", include_str!("../../../golden/directory/answer-record.hex")),
    ("answer-won", include_str!("../../../golden/directory/answer-won.hex")),
    ("answer-lost", include_str!("../../../golden/directory/answer-lost.hex")),
    ("answer-missing", include_str!("../../../golden/directory/answer-missing.hex")),
    ("answer-unreachable", include_str!("../../../golden/directory/answer-unreachable.hex")),
];

fn record(owner: &str, epoch: u64) -> Ownership {
    Ownership::running(SuName::new(owner).expect("a name"), Epoch::new(epoch))
}

/// The claim of the move of VM12PROD from ABGSE501 to ABGSE701.
fn claim() -> DirectoryOperation {
    DirectoryOperation::CompareAndSet {
        expected: record("ABGSE501", 7),
        new: record("ABGSE701", 8).at(Standing::Claimed),
    }
}

/// A question of each operation, with the name of its file.
///
/// # Panics
/// Never: the names are names.
#[must_use]
pub fn questions() -> [(&'static str, DirectoryQuestion); 2] {
    let vm = VmName::new("VM12PROD").expect("a name");
    let question = |operation| DirectoryQuestion { number: NUMBER, vm, operation };
    [
        ("question-read", question(DirectoryOperation::Read)),
        ("question-compare-and-set", question(claim())),
    ]
}

/// A reply with each answer, with the name of its file.
///
/// # Panics
/// Never: the names are names.
#[must_use]
pub fn replies() -> [(&'static str, DirectoryReply); 5] {
    let reply = |answer| DirectoryReply { number: NUMBER, answer };
    [
        ("answer-record", reply(DirectoryAnswer::Record(record("ABGSE501", 7)))),
        ("answer-won", reply(DirectoryAnswer::Won)),
        ("answer-lost", reply(DirectoryAnswer::Lost(record("ABGSE501", 9)))),
        ("answer-missing", reply(DirectoryAnswer::Missing)),
        ("answer-unreachable", reply(DirectoryAnswer::Unreachable)),
    ]
}

/// Encodes each value and decodes each golden packet; gives their number and a digest of what was
/// encoded.
///
/// # Panics
/// When a value does not encode to its golden bytes, or these do not decode to it.
#[must_use]
pub fn check() -> (usize, Digest) {
    let mut digest = Digest::new();
    let (questions, replies) = (questions(), replies());
    assert_eq!(FILES.len(), questions.len() + replies.len(), "each file is a value");
    for (name, question) in questions {
        let bytes = golden(name);
        let packet: &[u8; QUESTION_BYTES] = bytes.as_slice().try_into().expect("a question");
        assert_eq!(question.emit(), *packet, "{name} encodes to other bytes");
        assert_eq!(DirectoryQuestion::parse(packet), Ok(question), "{name}");
        digest.add(packet);
    }
    for (name, reply) in replies {
        let bytes = golden(name);
        let packet: &[u8; ANSWER_BYTES] = bytes.as_slice().try_into().expect("an answer");
        assert_eq!(reply.emit(), *packet, "{name} encodes to other bytes");
        assert_eq!(DirectoryReply::parse(packet), Ok(reply), "{name}");
        digest.add(packet);
    }
    (FILES.len(), digest)
}

/// The bytes of the golden file of this name.
fn golden(name: &str) -> Vec<u8> {
    let file = FILES.iter().find(|(file, _)| *file == name);
    parse_hex(file.unwrap_or_else(|| panic!("no golden packet {name}")).1)
}
