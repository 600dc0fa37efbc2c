//! Bytes as what comes over a line: packets of the directory, commands, and what happens to
//! connections over a serial line and to a directory behind a link.
//!
//! Source of truth: PROTOCOL.md, "Serial lines" and "Directory"; `monitor_core::message::command`.
//! What is read is written back to the same bytes or value. Invariant: rubbish is of few different
//! bytes, so that no fuzzer finds a check value that fits it. Deliberately not here: frames, which
//! [`super::frame`] and [`super::stream`] have.

mod remote;
mod serial;

use monitor_core::{
    message::command::{Command, Evidence, parse},
    units::VmIndex,
    vm::VmId,
    wire::{
        ANSWER_MAGIC, DirectoryQuestion, DirectoryReply, Gatherer, QUESTION_MAGIC, checksum::crc32c,
    },
};

use super::bytes::Bytes;

/// Bytes of which rubbish is made: those of the beginnings of packets and frames, and others.
const RUBBISH: [u8; 8] = [b'V', b'M', b'D', b'A', b'L', 0, 1, 0x7F];

/// What a line of a command is often made of.
const WORDS: [&str; 16] = [
    "MIGRATE-VM ",
    "CANCEL-VM-MIGRATION ",
    "RESOLVE-VM-MIGRATION ",
    "SHOW-VM-STATUS",
    "END",
    "VM-IDENTIFICATION=",
    "VM-ID=",
    "SERVER-UNIT-NAME=",
    "ANSWER=",
    "*UNIQUE",
    "*TARGET-RUNS",
    "*TARGET-LOST",
    "VM12PROD",
    "ABGSE701",
    "12",
    ",",
];

/// Takes bytes as packets, as a command, or as what happens to a line.
///
/// # Panics
/// When a decoder panics or reads what it does not write, or a connection breaks a rule.
pub fn line(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    match first % 7 {
        0 => one_encoding(rest, QUESTION_MAGIC, |bytes| {
            DirectoryQuestion::parse(bytes).ok().map(|question| question.emit())
        }),
        1 => one_encoding(rest, ANSWER_MAGIC, |bytes| {
            DirectoryReply::parse(bytes).ok().map(|reply| reply.emit())
        }),
        2 => gathering(rest, QUESTION_MAGIC, Gatherer::of_questions()),
        3 => gathering(rest, ANSWER_MAGIC, Gatherer::of_answers()),
        4 => command(rest),
        5 => serial::course(&mut Bytes::new(rest)),
        _ => remote::course(&mut Bytes::new(rest)),
    }
}

/// Rubbish drawn from the bytes.
fn rubbish(bytes: &mut Bytes<'_>) -> Option<Vec<u8>> {
    let count = usize::from(bytes.byte()?);
    let chosen = bytes.take(count).iter();
    Some(chosen.map(|byte| RUBBISH[usize::from(*byte) % RUBBISH.len()]).collect())
}

/// These bytes as a packet: zeros behind them, and the check value that fits.
fn sealed<const N: usize>(data: &[u8], magic: u32) -> [u8; N] {
    let mut packet = core::array::from_fn(|place| data.get(place).copied().unwrap_or_default());
    packet[..4].copy_from_slice(&magic.to_be_bytes());
    let check = crc32c(0, &packet[..N - 4]);
    packet[N - 4..].copy_from_slice(&check.to_be_bytes());
    packet
}

/// A packet that is accepted has one encoding, and none when its check value does not fit.
fn one_encoding<const N: usize>(
    data: &[u8],
    magic: u32,
    again: impl Fn(&[u8; N]) -> Option<[u8; N]>,
) {
    let packet: [u8; N] = sealed(data, magic);
    if let Some(encoded) = again(&packet) {
        assert_eq!(encoded[..], packet[..], "a packet has one encoding");
    }
    let mut damaged = packet;
    let place = data.last().map_or(0, |last| usize::from(*last)) % N;
    damaged[place] ^= 0x10;
    assert!(again(&damaged).is_none(), "a damaged packet is refused");
}

/// A stream of rubbish, packets that are whole, cut or damaged, and new beginnings: what is
/// gathered is what a search of the whole stream finds, and the last good packet is among it.
fn gathering<const N: usize>(data: &[u8], magic: u32, mut gatherer: Gatherer<N>) {
    let mut bytes = Bytes::new(data);
    let good: [u8; N] = sealed(bytes.take(8), magic);
    let (mut stream, mut found) = (Vec::new(), Vec::new());
    while let Some(what) = bytes.byte() {
        let mut packet = good;
        let piece = match (what % 5, bytes.byte().map_or(0, usize::from)) {
            (0, _) => rubbish(&mut bytes).unwrap_or_default(),
            (1, _) => packet.to_vec(),
            (2, place) => packet[..place % N].to_vec(),
            (3, place) => {
                packet[place % N] ^= 1;
                packet.to_vec()
            }
            _ => {
                gatherer.clear();
                assert_eq!(found, searched(&stream, magic));
                (stream, found) = (Vec::new(), Vec::new());
                continue;
            }
        };
        found.extend(piece.iter().filter_map(|byte| gatherer.take(*byte)));
        stream.extend(piece);
    }
    found.extend(good.iter().filter_map(|byte| gatherer.take(*byte)));
    stream.extend(good);
    assert_eq!(found, searched(&stream, magic));
    assert_eq!(found.last(), Some(&good), "a good packet is found behind anything");
}

/// The packets of a stream, from its beginning on.
fn searched<const N: usize>(stream: &[u8], magic: u32) -> Vec<[u8; N]> {
    let mut found = Vec::new();
    let mut rest = stream;
    while let Some(packet) = rest.first_chunk::<N>() {
        let is_packet = *packet == sealed::<N>(&packet[..N - 4], magic);
        if is_packet {
            found.push(*packet);
        }
        rest = &rest[if is_packet { N } else { 1 }..];
    }
    found
}

/// A line on the console: some bytes stand for whole words, the others for characters.
fn command(data: &[u8]) {
    let mut line = String::new();
    for byte in data {
        match byte {
            0x80..0xC0 => line.push_str(WORDS[usize::from(*byte) % WORDS.len()]),
            _ => line.push(char::from(*byte)),
        }
    }
    let read = parse(&line);
    assert_eq!(parse(&line.to_ascii_lowercase()), read, "{line:?}: capitals mean nothing");
    assert_eq!(parse(&format!(" {line}\r\n")), read, "{line:?}: blanks around it mean nothing");
    match read {
        Ok(command) => assert_eq!(parse(&typed(command)), read, "{line:?}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}: {text:?}");
        }
    }
}

/// The line with which an operator types this command.
fn typed(command: Command) -> String {
    let named = |vm| match vm {
        VmId::Index(index) => VmIndex::get(index).to_string(),
        VmId::Name(name) => name.to_string(),
    };
    match command {
        Command::MigrateVm { vm, target } => {
            let target = target.map_or("*UNIQUE".to_owned(), |name| name.to_string());
            format!("/MIGRATE-VM VM-ID={},SERVER-UNIT-NAME={target}", named(vm))
        }
        Command::CancelMigration { vm } => format!("/CANCEL-VM-MIGRATION {}", named(vm)),
        Command::ResolveMigration { vm, answer } => {
            let answer = match answer {
                Evidence::TargetRuns => "*TARGET-RUNS",
                Evidence::TargetLost => "*TARGET-LOST",
            };
            format!("RESOLVE-VM-MIGRATION ANSWER={answer},VM={}", named(vm))
        }
        Command::ShowStatus => "SHOW-VM-STATUS".to_owned(),
        Command::End => "/END".to_owned(),
    }
}
