//! Words that chain data: more of them than a device would want, and such as change on the way.
//!
//! Source of truth: Principles of Operation, "Data Chaining"; the head of [`Transfer`]. Invariant:
//! what is asserted went through a channel subsystem, to a disk, a tape, a line or a console.

use super::{disks::*, *};
use crate::machine::ebcdic;

const CHAIN_DATA: u8 = 0x80;

/// A machine with an FBA disk, block 0 of which begins with this word, and a program that takes
/// it there; the words that are put behind are those of the transfer.
fn located(operation: u8, head: u64, transfer: &[(u8, u8, u16, u32)]) -> (Machine, Orb) {
    let disk = FbaDisk::in_memory(8);
    let name = VmName::new("VM12PROD").unwrap();
    let access = Access::new(name, Epoch::new(1), Path { system: 1, channel: 0 });
    disk.put(&access, 0, &head.to_be_bytes());
    let disk: Arc<dyn Device> = Arc::new(disk);
    let machine = machine_on(1, "VM12PROD", &disk);
    ready(&machine, 1);
    let extent = [0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    machine.storage.store_bytes(0x1100, &extent).unwrap();
    machine.storage.store_bytes(0x1110, &[operation, 0, 0, 1, 0, 0, 0, 0]).unwrap();
    let locate = [(0x63, CHAIN, 16, 0x1100), (0x43, CHAIN, 8, 0x1110)];
    let orb = put(&machine, &[&locate, transfer].concat());
    (machine, orb)
}

#[test]
fn read_into_the_word_that_is_chained_to_moves_what_that_word_says_then() {
    // The word that is read allows more than the one that lies there at the begin.
    let word = u64::from(0x2000_u16) << 32 | 0x5000;
    let transfer = [(0x42, CHAIN_DATA, 8, 0x1018), (0, 0, 1, 0x5000)];
    let (machine, orb) = located(0x06, word, &transfer);
    assert_eq!(start(&machine, &orb, 0), ConditionCode::Done);
    machine.step_channel(at(LATENCY.get()));
    machine.step_channel(at(2 * LATENCY.get()));
    let status = status(&machine);
    assert_eq!(machine.storage.load(0x1018), Ok(word));
    assert_eq!(status.device_status, NORMAL);
    assert_eq!(status.subchannel_status, SubchannelStatus::INCORRECT_LENGTH);
    assert_eq!(status.residual_count, 0x2000 - 504);
}

/// Puts words at 0x2000 that write so many bytes from `address` on with this command, one byte
/// each.
fn put_bytewise(machine: &Machine, code: u8, address: u32, count: u32) {
    for byte in 0..count {
        let flags = if byte + 1 < count { CHAIN_DATA } else { 0 };
        let word = u64::from(u32::from_be_bytes([code, flags, 0, 1])) << 32;
        let word = word | u64::from(address + byte);
        machine.storage.store(u64::from(0x2000 + 8 * byte), word).unwrap();
    }
}

/// The words at 0x2000.
const BYTEWISE: (u8, u8, u16, u32) = (0x08, 0, 0, 0x2000);

#[test]
fn block_of_many_small_words_is_written_as_a_whole() {
    let (machine, orb) = located(0x01, 0, &[BYTEWISE]);
    let block: Vec<u8> = (0..512).map(|byte| byte as u8 | 1).collect();
    machine.storage.store_bytes(0x5000, &block).unwrap();
    put_bytewise(&machine, 0x41, 0x5000, 512);
    let written = carry_out(&machine, &orb, 0);
    assert_eq!((written.device_status, written.subchannel_status.bits()), (NORMAL, 0));
    machine.storage.store_bytes(0x1110, &[0x06]).unwrap();
    put(&machine, &[(0x63, CHAIN, 16, 0x1100), (0x43, CHAIN, 8, 0x1110), (0x42, 0, 512, 0x6000)]);
    carry_out(&machine, &orb, LATE);
    let mut found = [0; 512];
    machine.storage.load_bytes(0x6000, &mut found).unwrap();
    assert!(found[..] == block);
}

#[test]
fn record_of_many_small_words_is_written_as_a_whole() {
    const LENGTH: usize = 400;
    let disk: Arc<dyn Device> = Arc::new(CkdDisk::in_memory(3));
    let machine = machine_on(1, "VM12PROD", &disk);
    ready(&machine, 1);
    machine.storage.store_bytes(0x5000, b"\0\x01\0\x02\x01\0\x01\x90").unwrap();
    // A format write, then an update.
    for (record, code, from) in [(0, 0x1D, 0x5000), (1, 0x05, 0x5008)] {
        let now = u64::from(code) * LATE;
        machine.storage.store_bytes(0x5008, &[code; LENGTH]).unwrap();
        put_bytewise(&machine, code, from, 0x5008 + LENGTH as u32 - from);
        let written = carry_out(&machine, &find(&machine, record, BYTEWISE), now);
        assert_eq!((written.device_status, written.subchannel_status.bits()), (NORMAL, 0));
        let read = find(&machine, 1, (0x06, 0, LENGTH as u16, 0x6000));
        carry_out(&machine, &read, now + LATE);
        let mut found = [0; LENGTH];
        machine.storage.load_bytes(0x6000, &mut found).unwrap();
        assert_eq!(found, [code; LENGTH]);
    }
}

/// What the command comes to with `bytes` from words of one byte each: device status, subchannel
/// status and residual count.
fn write_bytewise(machine: &Machine, code: u8, bytes: &[u8], now: u64) -> (u8, u8, u16) {
    machine.storage.store_bytes(0x5000, bytes).unwrap();
    put_bytewise(machine, code, 0x5000, bytes.len() as u32);
    let orb = Orb::of_program(0x2000, PARAMETER);
    let scsw = carry_out(machine, &orb, now);
    (scsw.device_status.bits(), scsw.subchannel_status.bits(), scsw.residual_count)
}

const ENDED: (u8, u8, u16) = (0x0C, 0, 0);

#[test]
fn tape_gets_a_block_of_many_small_words_and_none_of_words_that_are_wrong() {
    let tape: Arc<dyn Device> = Arc::new(Tape::new(100_000));
    let machine = machine_on(1, "VM12PROD", &tape);
    ready(&machine, 1);
    let block: Vec<u8> = (0..1000_u32).map(|byte| byte as u8).collect();
    assert_eq!(write_bytewise(&machine, command::WRITE, &block, 0), ENDED);
    // A word that is chained to has to have a count.
    put_bytewise(&machine, command::WRITE, 0x5000, 8);
    machine.storage.store(0x2000 + 8 * 7, 0x5007).unwrap();
    let wrong = carry_out(&machine, &Orb::of_program(0x2000, PARAMETER), LATE);
    assert_eq!(wrong.subchannel_status, SubchannelStatus::PROGRAM_CHECK);
    // Back by one block, which is the good one, and read.
    let orb = put(&machine, &[(0x27, CHAIN, 0, 0), (0x02, 0, 1000, 0x6000)]);
    assert_eq!(carry_out(&machine, &orb, 2 * LATE).device_status, NORMAL);
    let mut found = vec![0; 1000];
    machine.storage.load_bytes(0x6000, &mut found).unwrap();
    assert!(found == block);
}

#[test]
fn line_gets_a_frame_of_many_small_words_and_none_that_is_too_long() {
    let switch = Switch::new();
    let (mac, peer) = ([2, 0, 0, 0, 5, 1], [2, 0, 0, 0, 9, 1]);
    let lan: Arc<dyn Device> = Arc::new(Lan::new(mac, &switch));
    let port = switch.plug(peer);
    let machine = machine_on(1, "VM12PROD", &lan);
    ready(&machine, 1);
    let frame = Frame { target: peer, source: mac, kind: TYPE_LOCAL, payload: vec![7; 1200] };
    assert_eq!(write_bytewise(&machine, command::WRITE, &frame.to_bytes(), 0), ENDED);
    assert_eq!(port.receive(), Some(frame));
    let (device, ..) = write_bytewise(&machine, command::WRITE, &[7; 1515], LATE);
    assert_eq!((device, port.receive()), (0x0E, None));
}

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl LineSink for Lines {
    fn line(&self, text: &str) {
        lock(&self.0).push(text.to_owned());
    }
}

#[test]
fn console_shows_a_text_of_many_small_words() {
    let lines = Arc::<Lines>::default();
    let console: Arc<dyn Device> = Arc::new(Console::new(lines.clone()));
    let machine = machine_on(1, "VM12PROD", &console);
    ready(&machine, 1);
    let text = "LINE ".repeat(100);
    assert_eq!(write_bytewise(&machine, WRITE_LINE, &ebcdic::encode(&text), 0), ENDED);
    assert_eq!(*lock(&lines.0), [text]);
}
