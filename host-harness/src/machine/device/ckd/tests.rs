//! Behavior of a CKD disk, command by command.
//!
//! Source of truth: the heads of the modules of `ckd`; sense bytes as Hercules gives them.

use super::*;
use crate::machine::device::Path;
use monitor_core::units::{Epoch, VmName};

mod format;
mod property;
mod sharing;

/// A channel program on its way: what its commands have in common.
struct Run<'a> {
    disk: &'a CkdDisk,
    access: Access,
}

/// How a command ended: device status, sense bytes 0, 1 and 7, and what was transferred.
#[derive(Debug, PartialEq, Eq)]
struct End {
    status: u8,
    sense: [u8; 3],
    bytes: Vec<u8>,
    taken: usize,
}

const CE_DE: u8 = 0x0C;
const FOUND: u8 = 0x4C;
const UNIT_EXCEPTION: u8 = 0x0D;
const UNIT_CHECK: u8 = 0x0E;

fn access(vm: &str, epoch: u64, system: u16) -> Access {
    Access::new(VmName::new(vm).unwrap(), Epoch::new(epoch), Path { system, channel: 0 })
}

fn run(disk: &CkdDisk) -> Run<'_> {
    Run { disk, access: access("VM1", 1, 1) }
}

impl Run<'_> {
    fn try_transfer(&mut self, command: u8, mut data: Buffer) -> Option<End> {
        let Outcome::Ended(ending) = self.disk.execute(&mut self.access, command, &mut data) else {
            return None;
        };
        self.access.command_index += 1;
        let sense = [ending.sense[0], ending.sense[1], ending.sense[7]];
        let (bytes, taken) = (data.given().to_vec(), data.taken());
        Some(End { status: ending.status.bits(), sense, bytes, taken })
    }

    fn write(&mut self, command: u8, bytes: &[u8]) -> End {
        self.try_transfer(command, Buffer::output(bytes)).unwrap()
    }

    fn read(&mut self, command: u8, room: usize) -> End {
        self.try_transfer(command, Buffer::input(room)).unwrap()
    }

    fn seek(&mut self, cylinder: u8, head: u8) -> &mut Self {
        assert_eq!(self.write(0x07, &[0, 0, 0, cylinder, 0, head]).status, CE_DE);
        self
    }

    /// Searches until the record is found or the search ends otherwise, as search and TIC do.
    fn find(&mut self, command: u8, argument: &[u8]) -> u8 {
        loop {
            match self.write(command, argument).status {
                CE_DE => {}
                status => return status,
            }
        }
    }

    fn find_record(&mut self, cylinder: u8, head: u8, record: u8) -> &mut Self {
        self.seek(cylinder, head);
        assert_eq!(self.find(0x31, &[0, cylinder, 0, head, record]), FOUND);
        self
    }

    fn define_extent(&mut self, mask: u8, first: [u8; 2], last: [u8; 2]) -> &mut Self {
        let end = self.write(0x63, &extent(mask, first, last));
        assert_eq!((end.status, end.taken), (CE_DE, 16), "{end:?}");
        self
    }

    fn locate(&mut self, operation: u8, count: u8, track: [u8; 2], record: u8, length: u16) -> End {
        self.write(0x47, &location(operation, count, track, record, length))
    }
}

fn extent(mask: u8, first: [u8; 2], last: [u8; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    (bytes[0], bytes[1]) = (mask, 0xC0);
    (bytes[9], bytes[11], bytes[13], bytes[15]) = (first[0], first[1], last[0], last[1]);
    bytes
}

fn location(operation: u8, count: u8, track: [u8; 2], record: u8, length: u16) -> [u8; 16] {
    let mut bytes = [0; 16];
    (bytes[0], bytes[3], bytes[12], bytes[13]) = (operation, count, record, 0xFF);
    (bytes[5], bytes[7], bytes[9], bytes[11]) = (track[0], track[1], track[0], track[1]);
    bytes[1] = if length == 0 { 0 } else { 0x80 };
    bytes[14..].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// The count area of a record, with its key and its data.
fn record(track: [u8; 2], number: u8, key: &[u8], data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    let head = [0, track[0], 0, track[1], number, key.len() as u8, length[0], length[1]];
    [&head, key, data].concat()
}

fn end(status: u8, bytes: &[u8]) -> End {
    End { status, sense: [0; 3], bytes: bytes.to_vec(), taken: 0 }
}

fn took(status: u8, taken: usize) -> End {
    End { status, sense: [0; 3], bytes: Vec::new(), taken }
}

fn check(sense: [u8; 3], taken: usize) -> End {
    End { status: UNIT_CHECK, sense, bytes: Vec::new(), taken }
}

const INVALID_COMMAND: [u8; 3] = [0x80, 0, 1];
const SEQUENCE: [u8; 3] = [0x80, 0, 2];
const SHORT: [u8; 3] = [0x80, 0, 3];
const PARAMETER: [u8; 3] = [0x80, 0, 4];
const PROTECTED: [u8; 3] = [0, 4, 0];
const NO_RECORD: [u8; 3] = [0, 8, 0];
const END_OF_CYLINDER: [u8; 3] = [0, 0x20, 0];
const TRACK_FORMAT: [u8; 3] = [0, 0x40, 0];

/// A disk with three records on cylinder 1, head 2: one with a key, one without, and an end of
/// file.
fn disk() -> CkdDisk {
    let disk = CkdDisk::in_memory(5);
    let mut run = run(&disk);
    run.find_record(1, 2, 0);
    for (number, key, data) in
        [(1, &b"KEYA"[..], &b"first record"[..]), (2, b"", b"second"), (3, b"KEYC", b"")]
    {
        let bytes = record([1, 2], number, key, data);
        assert_eq!(run.write(0x1D, &bytes), took(CE_DE, bytes.len()));
    }
    disk
}

#[test]
fn record_found_by_its_number_is_read() {
    let disk = disk();
    assert_eq!(run(&disk).find_record(1, 2, 1).read(0x06, 100), end(CE_DE, b"first record"));
    assert_eq!(run(&disk).find_record(1, 2, 1).read(0x06, 5), end(CE_DE, b"first"));
    let key_and_data = run(&disk).find_record(1, 2, 1).read(0x0E, 100);
    assert_eq!(key_and_data, end(CE_DE, b"KEYAfirst record"));
    let next = run(&disk).find_record(1, 2, 1).read(0x1E, 100);
    assert_eq!(next, end(CE_DE, &record([1, 2], 2, b"", b"second")));
    let next = run(&disk).find_record(1, 2, 1).read(0x12, 8);
    assert_eq!(next, end(CE_DE, &record([1, 2], 2, b"", b"second")[..8]));
}

#[test]
fn reads_go_from_record_to_record_and_pass_over_record_zero_at_the_index() {
    let disk = disk();
    let mut run = run(&disk);
    run.seek(1, 2);
    let found: Vec<_> = (0..5).map(|_| run.read(0x06, 20)).collect();
    let [first, second] = [end(CE_DE, b"first record"), end(CE_DE, b"second")];
    assert_eq!(found[..2], [first, second]);
    assert_eq!(found[2], end(UNIT_EXCEPTION, b""));
    assert_eq!(found[3..], [end(CE_DE, b"first record"), end(CE_DE, b"second")]);
}

#[test]
fn record_without_data_ends_with_unit_exception() {
    let disk = disk();
    assert_eq!(run(&disk).find_record(1, 2, 3).read(0x06, 10), end(UNIT_EXCEPTION, b""));
    assert_eq!(run(&disk).find_record(1, 2, 3).read(0x0E, 10), end(UNIT_EXCEPTION, b"KEYC"));
    assert_eq!(run(&disk).find_record(1, 2, 3).write(0x05, b"xyz"), took(UNIT_EXCEPTION, 0));
    assert_eq!(run(&disk).find_record(1, 2, 3).write(0x0D, b"xyz"), took(UNIT_EXCEPTION, 0));
}

#[test]
fn home_address_and_record_zero_are_read_from_the_begin_of_the_track() {
    let disk = disk();
    let mut run = run(&disk);
    run.find_record(1, 2, 2);
    assert_eq!(run.read(0x1A, 10), end(CE_DE, &[0, 0, 1, 0, 2]));
    let zero = record([1, 2], 0, b"", &[0; 8]);
    assert_eq!(run.read(0x16, 16), end(CE_DE, &zero));
    assert_eq!(run.read(0x9A, 5), end(CE_DE, &[0, 0, 1, 0, 3]), "the next track");
    assert_eq!(run.read(0x96, 3), end(CE_DE, &[0, 1, 0]), "and the next");
    assert_eq!(run.write(0x39, &[0, 1, 0, 4]), took(FOUND, 4));
    assert_eq!(run.write(0x39, &[0, 1, 0, 5]), took(CE_DE, 4));
    assert_eq!(run.write(0xB9, &[0, 1, 0, 5]), took(FOUND, 4));
}

#[test]
fn whole_track_is_read_by_read_multiple_and_by_read_track() {
    let disk = disk();
    let records = [
        record([1, 2], 1, b"KEYA", b"first record"),
        record([1, 2], 2, b"", b"second"),
        record([1, 2], 3, b"KEYC", b""),
    ];
    let mut program = run(&disk);
    program.seek(1, 2);
    assert_eq!(program.read(0x5E, 1000), end(CE_DE, &records.concat()));
    assert_eq!(program.read(0x5E, 1000), end(CE_DE, b""), "the next track");
    assert_eq!(run(&disk).find_record(1, 2, 2).read(0x5E, 99), end(CE_DE, &records[2]));

    let mut program = run(&disk);
    program.define_extent(0, [0, 0], [4, 14]);
    assert_eq!(program.locate(0x0C, 2, [1, 2], 0, 0).status, CE_DE);
    let zero = record([1, 2], 0, b"", &[0; 8]);
    let all = [zero, records.concat(), vec![0xFF; 8]].concat();
    assert_eq!(program.read(0xDE, 1000), end(CE_DE, &all));
    let next = [record([1, 3], 0, b"", &[0; 8]), vec![0xFF; 8]].concat();
    assert_eq!(program.read(0xDE, 1000), end(CE_DE, &next));
    assert_eq!(program.read(0xDE, 1000), check(SEQUENCE, 0), "the domain is over");
}

#[test]
fn search_wraps_the_track_once_and_then_finds_no_record() {
    let disk = disk();
    let mut missing = run(&disk);
    missing.seek(1, 2);
    let ends: Vec<_> = (0..9).map(|_| missing.write(0x31, &[0, 1, 0, 2, 9])).collect();
    // Records 0 to 3 twice: once from where the search begins, once behind the index point.
    assert!(ends[..8].iter().all(|end| *end == took(CE_DE, 5)), "{ends:?}");
    assert_eq!(ends[8], check(NO_RECORD, 0));

    let mut wrapped = run(&disk);
    wrapped.find_record(1, 2, 3);
    assert_eq!(wrapped.find(0x31, &[0, 1, 0, 2, 1]), FOUND, "a record before the begin");
    assert_eq!(wrapped.read(0x06, 5), end(CE_DE, b"first"));
}

#[test]
fn search_for_higher_and_for_equal_or_higher_records_compares() {
    let disk = disk();
    for (command, wanted, status) in
        [(0x51, 0, CE_DE), (0x71, 0, FOUND), (0x31, 0, FOUND), (0x31, 1, CE_DE), (0x71, 1, CE_DE)]
    {
        let mut run = run(&disk);
        let found = run.seek(1, 2).write(command, &[0, 1, 0, 2, wanted]);
        assert_eq!(found, took(status, 5), "{command:#x} {wanted}");
    }
    let mut program = run(&disk);
    assert_eq!(program.seek(1, 2).find(0x51, &[0, 1, 0, 2, 1]), FOUND);
    assert_eq!(program.read(0x06, 20), end(CE_DE, b"second"));
    let mut program = run(&disk);
    assert_eq!(program.seek(1, 2).write(0x31, &[0, 1]), took(FOUND, 2), "the rest is not asked");
    assert_eq!(program.write(0x05, b"x"), check(SEQUENCE, 0), "but entitles to no write");
}

#[test]
fn record_is_found_by_its_key() {
    let disk = disk();
    let mut program = run(&disk);
    program.seek(1, 2);
    assert_eq!(program.write(0x29, b"KEYC"), took(CE_DE, 4));
    assert_eq!(program.write(0x29, b"KEYC"), took(CE_DE, 0), "the second record has no key");
    assert_eq!(program.write(0x29, b"KEYC"), took(FOUND, 4));
    assert_eq!(program.find(0x29, b"KEYA"), FOUND);
    assert_eq!(program.write(0x05, b"changed"), took(CE_DE, 7));
    let read = run(&disk).find_record(1, 2, 1).read(0x0E, 100);
    assert_eq!(read, end(CE_DE, b"KEYAchanged\0\0\0\0\0"));
    let mut program = run(&disk);
    assert_eq!(program.seek(1, 2).find(0x49, b"KEYA"), FOUND);
    assert_eq!(program.read(0x06, 10), end(UNIT_EXCEPTION, b""), "KEYC is higher");
    assert_eq!(run(&disk).seek(1, 2).find(0x69, b"KEYB"), FOUND);
    assert_eq!(run(&disk).seek(1, 2).find(0x29, b"KEYX"), UNIT_CHECK);
}

#[test]
fn multitrack_search_goes_to_the_end_of_the_cylinder() {
    let disk = disk();
    let mut found = run(&disk);
    assert_eq!(found.seek(1, 0).find(0xB1, &[0, 1, 0, 2, 2]), FOUND);
    assert_eq!(found.read(0x06, 10), end(CE_DE, b"second"));
    assert_eq!(run(&disk).seek(1, 0).find(0xA9, b"KEYA"), FOUND);

    let mut missing = run(&disk);
    missing.seek(1, 12);
    let last = (0..9).map(|_| missing.write(0xB1, &[9; 5])).find(|end| end.status != CE_DE);
    assert_eq!(last, Some(check(END_OF_CYLINDER, 0)));
    let mut program = run(&disk);
    assert_eq!(program.seek(1, 1).read(0x86, 5), end(CE_DE, b"first"), "no record on track 1");
    assert_eq!(run(&disk).seek(1, 13).read(0x86, 5), check(END_OF_CYLINDER, 0));
    assert_eq!(run(&disk).seek(1, 13).read(0x06, 5), check(NO_RECORD, 0));
}

#[test]
fn nothing_is_read_or_searched_before_a_track_is_chosen() {
    let disk = disk();
    for command in [0x06, 0x0E, 0x12, 0x16, 0x1A, 0x1E, 0x5E] {
        assert_eq!(run(&disk).read(command, 100), check(SEQUENCE, 0), "{command:#x}");
    }
    for command in [0x29, 0x31, 0x51, 0x71, 0xB1, 0x39, 0x23, 0x1B] {
        assert_eq!(run(&disk).write(command, &[0; 6]), check(SEQUENCE, 0), "{command:#x}");
    }
}

#[test]
fn seeks_go_to_tracks_that_there_are() {
    let disk = disk();
    for (command, address, expected) in [
        (0x07, [0, 0, 0, 4, 0, 14], took(CE_DE, 6)),
        (0x0B, [0, 0, 0, 4, 0, 0], took(CE_DE, 6)),
        (0x07, [0, 0, 0, 5, 0, 0], check(PARAMETER, 6)),
        (0x07, [0, 0, 0, 4, 0, 15], check(PARAMETER, 6)),
        (0x07, [0, 1, 0, 0, 0, 0], check(PARAMETER, 6)),
    ] {
        assert_eq!(run(&disk).write(command, &address), expected);
    }
    assert_eq!(run(&disk).write(0x07, &[0; 5]), check(SHORT, 5));
    let mut program = run(&disk);
    program.seek(1, 0);
    assert_eq!(program.write(0x1B, &[0, 0, 7, 7, 0, 2]), took(CE_DE, 6), "the cylinder stays");
    assert_eq!(program.read(0x06, 6), end(CE_DE, b"first "));
    assert_eq!(run(&disk).write(0x13, &[]), check(INVALID_COMMAND, 0), "no RECALIBRATE");
}

#[test]
fn file_mask_protects_against_seeks_and_writes() {
    let disk = disk();
    let masked = |mask: u8| {
        let mut run = run(&disk);
        run.seek(1, 0);
        assert_eq!(run.write(0x1F, &[mask]), took(CE_DE, 1));
        run
    };
    for (mask, seek, seek_cylinder, seek_head) in [
        (0x00, CE_DE, CE_DE, CE_DE),
        (0x08, UNIT_CHECK, CE_DE, CE_DE),
        (0x10, UNIT_CHECK, UNIT_CHECK, CE_DE),
        (0x18, UNIT_CHECK, UNIT_CHECK, UNIT_CHECK),
    ] {
        let ends = [0x07, 0x0B, 0x1B].map(|command| masked(mask).write(command, &[0; 6]));
        assert_eq!(ends.each_ref().map(|end| end.status), [seek, seek_cylinder, seek_head]);
        assert!(ends.iter().all(|end| end.status == CE_DE || *end == check(PROTECTED, 0)));
    }
    assert_eq!(masked(0x18).find(0xB1, &[9; 5]), UNIT_CHECK, "no multitrack either");
    for (mask, write, format) in
        [(0x00, CE_DE, CE_DE), (0x40, UNIT_CHECK, UNIT_CHECK), (0x80, CE_DE, UNIT_CHECK)]
    {
        let mut run = masked(mask);
        assert_eq!(run.find_record(1, 2, 2).write(0x05, b"SECOND").status, write);
        let new = record([1, 3], 1, b"", b"x");
        let mut run = masked(mask);
        assert_eq!(run.find_record(1, 3, 0).write(0x1D, &new).status, format);
    }
    assert_eq!(masked(0).write(0x1F, &[0]), check(SEQUENCE, 0), "only once");
    assert_eq!(run(&disk).write(0x1F, &[0x20]), check(PARAMETER, 1));
}

#[test]
fn nothing_but_what_the_disk_has_is_accepted() {
    let disk = disk();
    for command in [0x00, 0x01, 0x13, 0x19, 0x33, 0x41, 0x4B, 0x7F, 0xFA] {
        assert_eq!(run(&disk).write(command, &[0; 32]), check(INVALID_COMMAND, 0));
    }
}

#[test]
fn disk_says_what_it_is() {
    let disk = disk();
    assert_eq!(disk.sense_id().to_bytes(), [0xFF, 0x39, 0x90, 0xC2, 0x33, 0x90, 0x02]);
    let told = run(&disk).read(0x64, 64).bytes;
    assert_eq!(
        told[..16],
        [0x39, 0x90, 0xC2, 0x33, 0x90, 2, 0xD0, 0, 0, 0, 0x20, 0x26, 0, 5, 0, 15]
    );
    assert_eq!(told[44..46], 57_326_u16.to_be_bytes());
    assert_eq!(CkdDisk::in_memory(3000).sense_id().device_model, 0x0A);
}

#[test]
fn sense_bytes_say_where_the_arm_is() {
    let disk = disk();
    let mut program = run(&disk);
    program.seek(1, 13);
    let outcome = disk.execute(&mut program.access, 0x31, &mut Buffer::output(&[9; 5]));
    assert!(matches!(outcome, Outcome::Ended(Ending { status, .. }) if status.bits() == CE_DE));
    program.access.command_index += 1;
    let Outcome::Ended(ending) = disk.execute(&mut program.access, 0x13, &mut Buffer::default())
    else {
        panic!("the disk waits");
    };
    assert_eq!(ending.sense[5..8], [1, 13, 1]);
    assert_eq!((ending.sense[27], &ending.sense[29..]), (0x80, &[0, 1, 13][..]));
}
