//! What passes over lines: the cluster directory's packets, who asks it, and the connections of a
//! serial line.
//!
//! Source of truth: `monitor_core::wire`, `monitor_core::driver::RemoteDirectory` and `SerialLink`.
//! Deliberately not here: how calls are made.

use core::hint::black_box;

use link_check::{any, consume, ports::Opaque};
use monitor_core::{
    driver,
    ports::{ClusterDirectory, Link},
    wire::{
        ANSWER_BYTES, DirectoryOperation, DirectoryQuestion, DirectoryReply, Gatherer,
        QUESTION_BYTES,
    },
};

use crate::calls::calls;

type RemoteDirectory = driver::RemoteDirectory<Opaque>;
type SerialLink = driver::SerialLink<Opaque>;

pub(crate) fn calls() {
    packets();
    remote();
    serial();
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

fn serial() {
    let mut link = SerialLink::new(Opaque);
    let mut bytes = any::<[u8; 64]>();
    calls! {
        SerialLink::listen(&mut link);
        SerialLink::open(&mut link, any());
        SerialLink::line(&mut link);
        SerialLink::first_type(&mut link);
    }
    consume(<SerialLink as Link>::try_send(black_box(&mut link), black_box(&bytes)));
    consume(<SerialLink as Link>::try_receive(black_box(&mut link), black_box(&mut bytes)));
    <SerialLink as Link>::reconnect(black_box(&mut link));
    consume(<SerialLink as Link>::poll_connected(black_box(&mut link)));
}
