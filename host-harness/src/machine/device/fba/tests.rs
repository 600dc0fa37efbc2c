//! Behavior of an FBA disk, command by command.
//!
//! Source of truth: the head of `fba`.

use super::*;
use crate::machine::device::{Buffer, Path};
use monitor_core::units::{Epoch, VmName};

const CE_DE: u8 = 0x0C;
const UNIT_CHECK: u8 = 0x0E;
const BLOCK: usize = FbaDisk::BLOCK_BYTES;

struct Run<'a> {
    disk: &'a FbaDisk,
    access: Access,
}

/// Device status, first sense byte, what was given, and how much was taken.
type End = (u8, u8, Vec<u8>, usize);

fn access(vm: &str, epoch: u64, system: u16) -> Access {
    Access::new(VmName::new(vm).unwrap(), Epoch::new(epoch), Path { system, channel: 0 })
}

fn run(disk: &FbaDisk) -> Run<'_> {
    Run { disk, access: access("VM1", 1, 1) }
}

impl Run<'_> {
    fn try_transfer(&mut self, command: u8, mut data: Buffer) -> Option<End> {
        let Outcome::Ended(ending) = self.disk.execute(&mut self.access, command, &mut data) else {
            return None;
        };
        self.access.command_index += 1;
        Some((ending.status.bits(), ending.sense[0], data.given().to_vec(), data.taken()))
    }

    fn write(&mut self, command: u8, bytes: &[u8]) -> End {
        self.try_transfer(command, Buffer::output(bytes)).unwrap()
    }

    fn read(&mut self, command: u8, room: usize) -> End {
        self.try_transfer(command, Buffer::input(room)).unwrap()
    }

    fn define_extent(&mut self, mask: u8, block: u32, first: u32, last: u32) -> End {
        self.write(0x63, &extent(mask, block, first, last))
    }

    fn locate(&mut self, operation: u8, count: u16, block: u32) -> End {
        let mut bytes = [operation, 0, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&count.to_be_bytes());
        bytes[4..].copy_from_slice(&block.to_be_bytes());
        self.write(0x43, &bytes)
    }
}

fn extent(mask: u8, block: u32, first: u32, last: u32) -> Vec<u8> {
    let words = [block, first, last].map(u32::to_be_bytes).concat();
    [vec![mask, 0, 0, 0], words].concat()
}

fn took(count: usize) -> End {
    (CE_DE, 0, Vec::new(), count)
}

fn rejected(taken: usize) -> End {
    (UNIT_CHECK, 0x80, Vec::new(), taken)
}

/// A program with an extent over the whole disk of 100 blocks.
fn ready(disk: &FbaDisk) -> Run<'_> {
    let mut run = run(disk);
    assert_eq!(run.define_extent(0xC0, 0, 0, 99), took(16));
    run
}

#[test]
fn located_blocks_are_written_and_read() {
    let disk = FbaDisk::in_memory(100);
    let bytes: Vec<u8> = (0..2 * BLOCK).map(|n| (n / 7) as u8).collect();
    let mut program = ready(&disk);
    assert_eq!(program.locate(0x01, 2, 4), took(8));
    assert_eq!(program.write(0x41, &bytes), took(1024));
    assert_eq!(program.locate(0x06, 2, 4), took(8));
    assert_eq!(program.read(0x42, 2000), (CE_DE, 0, bytes.clone(), 0));
    assert_eq!(program.locate(0x06, 1, 5), took(8));
    assert_eq!(program.read(0x42, 100), (CE_DE, 0, bytes[BLOCK..BLOCK + 100].to_vec(), 0));
    assert_eq!(program.locate(0x06, 1, 6), took(8));
    assert_eq!(program.read(0x42, 512), (CE_DE, 0, vec![0; 512], 0));
}

#[test]
fn blocks_are_padded_and_each_write_is_logged() {
    let disk = FbaDisk::in_memory(100);
    for (block, byte) in [(10, 1), (10, 2)] {
        let mut program = ready(&disk);
        program.locate(0x05, 2, block);
        assert_eq!(program.write(0x41, &[byte; 600]), took(600));
    }
    let mut program = ready(&disk);
    program.locate(0x06, 2, 10);
    let (.., found, _) = program.read(0x42, 1024);
    assert_eq!((&found[..600], &found[600..]), (&[2; 600][..], &[0; 424][..]));
    let log = disk.log();
    let seen: Vec<_> = log.iter().map(|it| (it.block, it.head[0], it.sequence)).collect();
    assert_eq!(seen, [(10, 1, 1), (10, 2, 2)]);
    assert_eq!((log[0].vm, log[0].epoch), (VmName::new("VM1").unwrap(), Epoch::new(1)));
}

#[test]
fn transfer_follows_the_locate_that_is_for_it() {
    let disk = FbaDisk::in_memory(100);
    assert_eq!(ready(&disk).write(0x41, &[0; 512]), rejected(0));
    assert_eq!(ready(&disk).read(0x42, 512), rejected(0));
    let mut program = ready(&disk);
    program.locate(0x06, 1, 1);
    assert_eq!(program.write(0x41, &[0; 512]), rejected(0));
    let mut program = ready(&disk);
    program.locate(0x01, 1, 1);
    assert_eq!(program.read(0x42, 512), rejected(0));
    let mut program = ready(&disk);
    program.locate(0x01, 1, 1);
    assert_eq!(program.write(0x41, &[0; 512]), took(512));
    assert_eq!(program.write(0x41, &[0; 512]), rejected(0), "a locate is good for one transfer");
    assert_eq!(disk.log().len(), 1);
}

#[test]
fn extent_bounds_what_is_located() {
    let disk = FbaDisk::in_memory(100);
    let mut program = run(&disk);
    assert_eq!(program.define_extent(0, 50, 1000, 1009), took(16));
    assert_eq!(program.locate(0x01, 10, 1000), took(8));
    assert_eq!(program.write(0x41, &[7; 512]), took(512));
    assert_eq!(disk.log()[0].block, 50);
    for (count, block) in [(0, 1000), (11, 1000), (1, 999), (2, 1009), (1, u32::MAX)] {
        let mut program = run(&disk);
        program.define_extent(0, 50, 1000, 1009);
        assert_eq!(program.locate(0x06, count, block), rejected(8), "{count} from {block}");
    }
    for (mask, block, first, last) in [
        (0, 0, 5, 4),
        (0, 0, 0, 100),
        (0, 91, 0, 9),
        (0, u32::MAX, 0, 1),
        (0x80, 0, 0, 9),
        (0x01, 0, 0, 9),
        (0x08, 0, 0, 9),
    ] {
        assert_eq!(run(&disk).define_extent(mask, block, first, last), rejected(16));
    }
    assert_eq!(ready(&disk).define_extent(0, 0, 0, 9), rejected(16), "only one extent");
    assert_eq!(run(&disk).locate(0x06, 1, 1), rejected(8), "no extent");
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let disk = FbaDisk::in_memory(100);
    assert_eq!(run(&disk).write(0x63, &[0; 15]), rejected(15));
    assert_eq!(ready(&disk).write(0x43, &[0x06; 7]), rejected(7));
    for operation in [0x00, 0x02, 0x04, 0x07, 0x26, 0x86] {
        assert_eq!(ready(&disk).locate(operation, 1, 1), rejected(8), "{operation:#x}");
    }
    let mut protected = run(&disk);
    protected.define_extent(0x40, 0, 0, 99);
    assert_eq!(protected.locate(0x01, 1, 1), rejected(8), "the mask inhibits writes");
    assert_eq!(protected.locate(0x06, 1, 1), took(8));
    for command in [0x01, 0x07, 0x31, 0x47, 0xFF] {
        assert_eq!(run(&disk).write(command, &[0; 16]), rejected(0), "{command:#x}");
    }
}

#[test]
fn disk_says_what_it_is() {
    let disk = FbaDisk::in_memory(100);
    assert_eq!(disk.sense_id().to_bytes(), [0xFF, 0x63, 0x10, 0x01, 0x93, 0x36, 0x00]);
    let (status, _, told, _) = run(&disk).read(0x64, 32);
    assert_eq!((status, &told[..6]), (CE_DE, &[0x30, 0x08, 0x21, 0x11, 2, 0][..]));
    assert_eq!(told[14..18], 100_u32.to_be_bytes());
    assert_eq!(run(&disk).read(0x02, 24), (CE_DE, 0, vec![0; 24], 0));
}

#[test]
fn reserved_disk_makes_others_wait_and_moves_with_its_vm() {
    let disk = FbaDisk::in_memory(100);
    let (status, _, sense, _) = run(&disk).read(0xB4, 32);
    assert_eq!((status, sense.len()), (CE_DE, 24));
    let mut other = Run { disk: &disk, access: access("VM2", 1, 2) };
    assert_eq!(other.try_transfer(0x64, Buffer::input(32)), None);
    assert_eq!(ready(&disk).read(0x94, 24), rejected(0), "an extent is defined");
    let new = access("VM1", 2, 2);
    assert_eq!(disk.adopt(&access("VM1", 1, 1), &new), Ok(()));
    let mut moved = Run { disk: &disk, access: new };
    assert_eq!(moved.read(0x64, 32).0, CE_DE);
    assert_eq!((run(&disk).read(0x64, 32), disk.fenced_count()), (rejected(0), 1));
    assert_eq!(Run { disk: &disk, access: new }.read(0x94, 24).0, CE_DE);
    assert_eq!(other.read(0x64, 32).0, CE_DE);
}

#[test]
fn file_is_one_disk_for_all_who_open_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.fba");
    let (one, other) =
        (FbaDisk::in_file(&path, 100).unwrap(), FbaDisk::in_file(&path, 100).unwrap());
    let mut program = ready(&one);
    program.locate(0x01, 1, 99);
    program.write(0x41, b"shared");
    let mut program = Run { disk: &other, access: access("VM1", 2, 2) };
    program.define_extent(0, 0, 0, 99);
    program.locate(0x06, 1, 99);
    assert_eq!(program.read(0x42, 6), (CE_DE, 0, b"shared".to_vec(), 0));
    let fenced = run(&one).read(0x64, 32);
    assert_eq!((fenced.0, other.fenced_count()), (UNIT_CHECK, 1));
}
