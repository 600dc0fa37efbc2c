//! Random channel programs on disks, with words that chain data into the program itself: none ends
//! in a panic, none leaves its device busy, and the same one again tells the same.
//!
//! Source of truth: the seed. Invariant: a failure names it. Deliberately not here: what a program
//! has to come to, which the tests of the disks and of the channel say.

use super::{
    bench::{CHAIN, CHAIN_DATA, INDIRECT, INTERRUPT, PROGRAM, SKIP, SUPPRESS, TRANSFER, ccw},
    channel_random::Draw,
    disks::machine_on,
    *,
};
use monitor_core::channel::Irb;

/// Disks of each kind that are tried, and the programs on each.
const DISKS: u64 = 700;
const PROGRAMS_PER_DISK: usize = 3;
/// The most words that carry one byte each.
const SMALL_WORDS_MAX: u32 = 400;
/// Blocks of a disk.
const BLOCKS: u32 = 16;
/// Where parameters of commands lie, and data.
const PARAMETERS: u32 = 0x2000;
const AREA: u32 = 0x3000;
/// No program goes on for so long, unless it branches back again and again.
const BOUND_US: u64 = 4_000_000;
/// No command takes so long.
const COMMAND_US_MAX: u64 = 100_000;

/// Words, and the parameters to which they refer.
type Begin = (Vec<u64>, Vec<u8>);

/// A disk, the commands that it knows, and what a program on it begins with so that a transfer has
/// its place.
struct Kind {
    disk: fn(contents: &[u8]) -> Arc<dyn Device>,
    commands: &'static [u8],
    read: u8,
    begin: fn(&mut Draw, contents: &[u8]) -> Begin,
}

const FBA: Kind = Kind {
    disk: |contents| {
        let disk = FbaDisk::in_memory(BLOCKS);
        let path = Path { system: 1, channel: 0 };
        let access = Access::new(VmName::new("VM12PROD").unwrap(), Epoch::new(1), path);
        disk.put(&access, 0, contents);
        Arc::new(disk)
    },
    commands: &[0x41, 0x42, 0x41, 0x42, 0x43, 0x63, 0x02, 0x64, 0xA4, 0x04, 0xE4, 0x03, 0xB4],
    read: 0x42,
    begin: |draw, _| {
        let operation = [0x01, 0x06][draw.below(2) as usize];
        let words = vec![ccw(0x63, CHAIN, 16, PARAMETERS), ccw(0x43, CHAIN, 8, PARAMETERS + 16)];
        let extent = [0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, BLOCKS as u8 - 1];
        let [first, count] = [draw.below(8) as u8, 1 + draw.below(8) as u8];
        (words, [&extent[..], &[operation, 0, 0, count, 0, 0, 0, first]].concat())
    },
};

const CKD: Kind = Kind {
    disk: |_| Arc::new(CkdDisk::in_memory(2)),
    commands: &[
        0x05, 0x06, 0x0D, 0x0E, 0x1D, 0x1D, 0x9D, 0x1E, 0x5E, 0x12, 0x11, 0x16, 0x31, 0x29, 0x47,
        0x63, 0x07, 0x1F, 0x23, 0x02, 0x64, 0xA4, 0x86, 0x04, 0xE4, 0x03, 0xB4,
    ],
    read: 0x06,
    begin: |draw, contents| {
        let mut words = vec![
            ccw(0x07, CHAIN, 6, PARAMETERS),
            ccw(0x31, CHAIN, 5, PARAMETERS + 2),
            ccw(TRANSFER, 0, 0, PROGRAM + 8),
        ];
        let record = draw.below(2) as u8;
        if record == 0 {
            // A record that later programs can read.
            words.push(ccw(0x1D, CHAIN | SUPPRESS, 2000, PARAMETERS + 8));
        }
        let [high, low] = (8 * draw.below(200) as u16).to_be_bytes();
        let ids = [0, 0, 0, 1, 0, 2, record, 0, 0, 1, 0, 2, 1, 0, high, low];
        (words, [&ids[..], &contents[..1600]].concat())
    },
};

/// A word of a command, or one that is chained to.
fn word(draw: &mut Draw, commands: &[u8]) -> u64 {
    let code = commands[draw.below(commands.len() as u64) as usize];
    let mut flags = 0;
    for (flag, chances) in [(CHAIN_DATA, 3), (CHAIN, 2), (SKIP, 8), (INDIRECT, 20), (INTERRUPT, 9)]
    {
        flags |= if draw.one_in(chances) { flag } else { 0 };
    }
    flags |= if draw.one_in(5) { 0 } else { SUPPRESS };
    let count = match draw.below(4) {
        0 => 8,
        1 => 1 + draw.below(40),
        2 => 512,
        _ => 1 + draw.below(0x8000),
    };
    let address = match draw.below(4) {
        0 => PROGRAM + 8 * draw.below(16) as u32,
        1 => PARAMETERS + 8 * draw.below(4) as u32,
        _ => AREA + 8 * draw.below(0x400) as u32,
    };
    ccw(code, flags, count as u16, address)
}

/// Data that could also be words.
fn contents(draw: &mut Draw, kind: &Kind) -> Vec<u8> {
    (0..0x400).flat_map(|_| word(draw, kind.commands).to_be_bytes()).collect()
}

/// The words of a program, and its parameters.
fn program(draw: &mut Draw, kind: &Kind) -> Begin {
    let contents = contents(draw, kind);
    let (mut words, parameters) = (kind.begin)(draw, &contents);
    if draw.one_in(3) {
        // Reads into the word that is chained to.
        let behind = PROGRAM + 8 * (words.len() as u32 + 1);
        words.push(ccw(kind.read, CHAIN_DATA, 8, behind));
    } else if draw.one_in(3) {
        // Many small words.
        let code = kind.commands[draw.below(2) as usize];
        let count = draw.below(u64::from(SMALL_WORDS_MAX)) as u32;
        words.extend((0..count).map(|byte| ccw(code, CHAIN_DATA, 1, AREA + byte)));
    }
    let rest = 1 + draw.below(16);
    words.extend((0..rest).map(|_| word(draw, kind.commands)));
    (words, parameters)
}

/// What is told of the programs on a disk.
#[derive(Debug, PartialEq)]
struct Told {
    ends: Vec<Irb>,
    now: u64,
    storage: Vec<u8>,
}

/// Runs a few programs, each of which finds what those before have left on the disk.
fn run(kind: &Kind, seed: u64) -> Told {
    let draw = &mut Draw(seed);
    let machine = machine_on(1, "VM12PROD", &(kind.disk)(&contents(draw, kind)));
    ready(&machine, 1);
    let (mut now, mut ends) = (0, Vec::new());
    for _ in 0..PROGRAMS_PER_DISK {
        let (words, parameters) = program(draw, kind);
        let words: Vec<u8> = words.into_iter().flat_map(u64::to_be_bytes).collect();
        let data = contents(draw, kind);
        for (address, bytes) in [(PROGRAM, words), (PARAMETERS, parameters), (AREA, data)] {
            machine.storage.store_bytes(u64::from(address), &bytes).unwrap();
        }
        let orb = Orb::of_program(PROGRAM, PARAMETER);
        assert_eq!(start(&machine, &orb, now), ConditionCode::Done, "seed {seed}");
        let bound = now + BOUND_US;
        while let Some(due) = machine.step_channel(at(now)).filter(|_| now < bound) {
            assert!(due.get() <= now + COMMAND_US_MAX, "seed {seed}: busy until {due:?}");
            now = due.get().max(now);
        }
        let (condition, irb) = machine.with_subsystem(|subsystem| subsystem.test(SUBCHANNEL));
        let is_final = irb.scsw.control.contains(ScswControl::SECONDARY_STATUS);
        if condition == ConditionCode::Done && is_final {
            ends.push(irb);
        } else {
            // The words that were read branch back again and again.
            machine.with_subsystem(|subsystem| subsystem.clear(SUBCHANNEL));
            machine.step_channel(at(now));
            status(&machine);
        }
        assert!(quiet(&machine), "seed {seed}");
    }
    Told { ends, now, storage: stored(&machine) }
}

fn stored(machine: &Machine) -> Vec<u8> {
    let mut bytes = vec![0; 0x1_0000];
    machine.storage.load_bytes(0, &mut bytes).unwrap();
    bytes
}

fn run_all(kind: &Kind) {
    let (mut ended, mut done) = (0, 0);
    for seed in 0..DISKS {
        let told = run(kind, seed);
        assert!(told == run(kind, seed), "seed {seed}: it does not tell the same again");
        let is_good = |irb: &&Irb| !irb.scsw.device_status.contains(DeviceStatus::UNIT_CHECK);
        ended += told.ends.len();
        done += told.ends.iter().filter(is_good).count();
    }
    let all = DISKS as usize * PROGRAMS_PER_DISK;
    assert!(ended * 100 >= all * 99, "{ended} of {all} programs have ended");
    assert!(done * 4 >= all, "{done} of {all} programs were not refused");
}

#[test]
fn random_programs_on_a_disk_of_blocks_end_and_tell_the_same_again() {
    run_all(&FBA);
}

#[test]
fn random_programs_on_a_disk_of_tracks_end_and_tell_the_same_again() {
    run_all(&CKD);
}
