//! The cluster directory over a byte stream: packets, and who asks.
//!
//! Source of truth: `monitor_core::wire` and `monitor_core::driver::RemoteDirectory`. Deliberately
//! not here: how calls are made.

use core::hint::black_box;

use link_check::{any, consume, ports::Opaque};
use monitor_core::{
    driver,
    ports::ClusterDirectory,
    wire::{
        ANSWER_BYTES, DirectoryOperation, DirectoryQuestion, DirectoryReply, Gatherer,
        QUESTION_BYTES,
    },
};

use crate::calls::calls;

type RemoteDirectory = driver::RemoteDirectory<Opaque>;

pub(crate) fn calls() {
    packets();
    remote();
}

fn packets() {
    let operation = if any() {
        DirectoryOperation::Read
    } else {
        DirectoryOperation::CompareAndSet { expected: any(), new: any() }
    };
    let question = DirectoryQuestion { number: any(), vm: any(), operation };
    let reply = DirectoryReply { number: any(), answer: any() };
    let (question_bytes, answer_bytes) =
        (any::<[u8; QUESTION_BYTES]>(), any::<[u8; ANSWER_BYTES]>());
    calls! {
        DirectoryQuestion::emit(&question);
        DirectoryQuestion::parse(&question_bytes);
        DirectoryReply::emit(&reply);
        DirectoryReply::parse(&answer_bytes);
    }
    let mut questions = Gatherer::of_questions();
    let mut answers = Gatherer::of_answers();
    calls! {
        Gatherer::take(&mut questions, any());
        Gatherer::clear(&mut questions);
        Gatherer::take(&mut answers, any());
        Gatherer::clear(&mut answers);
    }
}

fn remote() {
    let mut remote = RemoteDirectory::new(Opaque, any(), any());
    calls! {
        RemoteDirectory::set_now(&mut remote, any());
        RemoteDirectory::forget(&mut remote);
        RemoteDirectory::deadline(&remote);
        RemoteDirectory::link(&mut remote);
    }
    consume(<RemoteDirectory as ClusterDirectory>::start_read(black_box(&mut remote), any()));
    consume(<RemoteDirectory as ClusterDirectory>::start_compare_and_set(
        black_box(&mut remote),
        any(),
        any(),
        any(),
    ));
    consume(<RemoteDirectory as ClusterDirectory>::poll_answer(black_box(&mut remote)));
}
