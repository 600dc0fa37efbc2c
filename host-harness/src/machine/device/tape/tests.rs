//! Behavior of a tape drive, command by command.
//!
//! Source of truth: the head of `tape`.

use super::{command::*, *};
use crate::machine::device::{Buffer, Path};
use monitor_core::units::Epoch;

const CE_DE: u8 = 0x0C;
const UNIT_CHECK: u8 = 0x0E;
const UNIT_EXCEPTION: u8 = 0x0D;

fn access(vm: &str, epoch: u64, system: u16) -> Access {
    Access::new(VmName::new(vm).unwrap(), Epoch::new(epoch), Path { system, channel: 0 })
}

fn execute(tape: &Tape, access: &Access, code: u8, mut data: Buffer) -> (Ending, Vec<u8>) {
    let Outcome::Ended(ending) = tape.execute(&mut access.clone(), code, &mut data) else {
        panic!("a drive does not wait");
    };
    (ending, data.given().to_vec())
}

/// Device status and the sense bytes 0, 1 and 3 of a command without data.
fn control(tape: &Tape, code: u8) -> (u8, [u8; 3]) {
    write(tape, code, &[])
}

fn write(tape: &Tape, code: u8, bytes: &[u8]) -> (u8, [u8; 3]) {
    let (ending, _) = execute(tape, &access("VM1", 1, 1), code, Buffer::output(bytes));
    (ending.status.bits(), [ending.sense[0], ending.sense[1], ending.sense[3]])
}

fn read(tape: &Tape) -> (u8, Vec<u8>) {
    let (ending, bytes) = execute(tape, &access("VM1", 1, 1), READ_FORWARD, Buffer::input(1000));
    (ending.status.bits(), bytes)
}

const GOOD: (u8, [u8; 3]) = (CE_DE, [0; 3]);

/// Two files of two blocks and one.
fn tape() -> Tape {
    let tape = Tape::new(100_000);
    for (code, bytes) in [
        (WRITE, &b"one"[..]),
        (WRITE, b"two"),
        (WRITE_TAPE_MARK, b""),
        (WRITE, b"three"),
        (WRITE_TAPE_MARK, b""),
    ] {
        assert_eq!(write(&tape, code, bytes), GOOD);
    }
    assert_eq!(control(&tape, REWIND), GOOD);
    tape
}

#[test]
fn blocks_are_read_in_order_and_marks_are_exceptions() {
    let tape = tape();
    let read = || read(&tape);
    let found: Vec<_> = (0..5).map(|_| read()).collect();
    let data = |text: &str| (CE_DE, text.as_bytes().to_vec());
    let mark = (UNIT_EXCEPTION, Vec::new());
    assert_eq!(found, [data("one"), data("two"), mark.clone(), data("three"), mark]);
    assert_eq!(read().0, UNIT_CHECK, "nothing behind the last block");
    assert_eq!(control(&tape, FORWARD_SPACE_BLOCK), (UNIT_CHECK, [0x08, 0x40, 0x36]));
}

#[test]
fn tape_is_spaced_by_blocks_and_by_files() {
    let tape = tape();
    assert_eq!(control(&tape, FORWARD_SPACE_BLOCK), GOOD);
    assert_eq!(read(&tape).1, b"two");
    assert_eq!(control(&tape, BACKSPACE_BLOCK), GOOD);
    assert_eq!(read(&tape).1, b"two");
    assert_eq!(control(&tape, FORWARD_SPACE_BLOCK).0, UNIT_EXCEPTION, "a mark");
    assert_eq!(read(&tape).1, b"three");
    assert_eq!(control(&tape, BACKSPACE_FILE), GOOD);
    assert_eq!(read(&tape).0, UNIT_EXCEPTION, "the mark is ahead again");
    assert_eq!(control(&tape, FORWARD_SPACE_FILE), GOOD);
    assert_eq!(control(&tape, FORWARD_SPACE_FILE).0, UNIT_CHECK, "no other file");
    assert_eq!(control(&tape, BACKSPACE_BLOCK).0, UNIT_EXCEPTION);
}

#[test]
fn block_is_read_backward_from_its_end() {
    let tape = tape();
    control(&tape, FORWARD_SPACE_FILE);
    let back = || execute(&tape, &access("VM1", 1, 1), READ_BACKWARD, Buffer::input(9));
    assert_eq!(back().0.status.bits(), UNIT_EXCEPTION, "the mark");
    assert_eq!(back().1, b"owt");
    assert_eq!(read(&tape).1, b"two");
}

#[test]
fn load_point_stops_the_way_back() {
    let tape = tape();
    assert_eq!(control(&tape, BACKSPACE_BLOCK), (UNIT_CHECK, [0, 0x48, 0x39]));
    assert_eq!(control(&tape, BACKSPACE_FILE), (UNIT_CHECK, [0, 0x48, 0x39]));
}

#[test]
fn write_erases_what_is_behind() {
    let tape = tape();
    assert_eq!(write(&tape, WRITE, b"new"), GOOD);
    assert_eq!(read(&tape).0, UNIT_CHECK);
    control(&tape, REWIND);
    assert_eq!(read(&tape).1, b"new");
    control(&tape, REWIND);
    assert_eq!(control(&tape, ERASE_GAP), GOOD);
    assert_eq!(read(&tape).0, UNIT_CHECK);
}

#[test]
fn end_of_tape_warns_and_then_refuses() {
    let tape = Tape::new(1000);
    let block = [7; 900];
    assert_eq!(write(&tape, WRITE, &block), GOOD);
    assert_eq!(write(&tape, WRITE, &block).0, UNIT_EXCEPTION);
    assert_eq!(write(&tape, WRITE_TAPE_MARK, &[]).0, UNIT_EXCEPTION);
    let refused = (0..100).map(|_| write(&tape, WRITE, &block)).find(|end| end.0 == UNIT_CHECK);
    assert_eq!(refused, Some((UNIT_CHECK, [0x10, 0x40, 0x38])));
}

#[test]
fn rewind_ends_at_the_device_later_than_at_the_channel() {
    let tape = tape();
    control(&tape, FORWARD_SPACE_FILE);
    let (ending, _) = execute(&tape, &access("VM1", 1, 1), REWIND, Buffer::default());
    assert_eq!(ending.device_end_after, Micros::new(3 * BLOCK_US));
    assert_eq!(read(&tape).1, b"one");
}

#[test]
fn unloaded_drive_is_not_ready_until_it_is_loaded() {
    let tape = tape();
    assert_eq!(control(&tape, REWIND_UNLOAD), GOOD);
    for code in [WRITE, READ_FORWARD, REWIND, WRITE_TAPE_MARK] {
        assert_eq!(control(&tape, code), (UNIT_CHECK, [0x40, 0x40, 0x43]), "{code:#x}");
    }
    assert_eq!(write(&tape, MODE_SET, &[0x20]), GOOD);
    tape.load(true);
    assert_eq!(write(&tape, WRITE, b"x"), (UNIT_CHECK, [0x80, 0x4A, 0x30]));
    assert_eq!(read(&tape).1, b"one");
}

#[test]
fn block_is_located_by_the_identifier_that_was_read() {
    let tape = tape();
    control(&tape, FORWARD_SPACE_FILE);
    let (_, id) = execute(&tape, &access("VM1", 1, 1), READ_BLOCK_ID, Buffer::input(8));
    assert_eq!(id, [1, 0, 0, 3, 1, 0, 0, 3]);
    control(&tape, REWIND);
    assert_eq!(write(&tape, LOCATE_BLOCK, &id[..4]), GOOD);
    assert_eq!(read(&tape).1, b"three");
    assert_eq!(write(&tape, LOCATE_BLOCK, &[1, 0, 0, 6]).0, UNIT_CHECK);
}

#[test]
fn assigned_drive_is_for_one_system() {
    let tape = tape();
    assert_eq!(write(&tape, ASSIGN, &[0; 11]), GOOD);
    assert_eq!(tape.assigned(), Some((VmName::new("VM1").unwrap(), 1)));
    for other in [access("VM1", 1, 2), access("VM2", 1, 1)] {
        for code in [READ_FORWARD, ASSIGN, UNASSIGN] {
            let (ending, _) = execute(&tape, &other, code, Buffer::output(&[0; 11]));
            assert_eq!((ending.sense[0], ending.sense[3]), (0x01, 0x45));
        }
    }
    assert_eq!(read(&tape).1, b"one");
    assert_eq!(write(&tape, UNASSIGN, &[0; 11]), GOOD);
    let (_, bytes) = execute(&tape, &access("VM2", 1, 1), READ_FORWARD, Buffer::input(9));
    assert_eq!(bytes, b"two", "the position is the drive's");
    write(&tape, ASSIGN, &[0; 11]);
    tape.reset(&access("VM1", 1, 2));
    assert!(tape.assigned().is_some());
    tape.reset(&access("VM1", 1, 1));
    assert_eq!(tape.assigned(), None);
}

#[test]
fn wrong_commands_and_old_epochs_are_refused() {
    let tape = tape();
    assert_eq!(control(&tape, 0x55), (UNIT_CHECK, [0x80, 0x48, 0x27]));
    assert_eq!(write(&tape, ASSIGN, &[0; 10]).0, UNIT_CHECK);
    tape.admit(&access("VM1", 2, 2)).unwrap();
    assert_eq!((read(&tape).0, tape.fenced_count()), (UNIT_CHECK, 1));
    assert_eq!(tape.sense_id().device_type, 0x3490);
}
