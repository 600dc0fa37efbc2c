//! Random channel programs against a simple model of tracks: lists of records.
//!
//! Source of truth: the model here. Invariant: the same seed gives the same programs.

use super::*;
use guest::random::next;

/// A record of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    number: u8,
    key: Vec<u8>,
    data: Vec<u8>,
}

impl Record {
    fn length(&self) -> usize {
        8 + self.key.len() + self.data.len()
    }

    fn bytes(&self, head: u8) -> Vec<u8> {
        record([1, head], self.number, &self.key, &self.data)
    }

    fn status(&self) -> u8 {
        if self.data.is_empty() { UNIT_EXCEPTION } else { CE_DE }
    }
}

/// The tracks of cylinder 1.
struct Model {
    tracks: Vec<Vec<Record>>,
}

impl Model {
    fn new() -> Self {
        let zero = Record { number: 0, key: Vec::new(), data: vec![0; 8] };
        Self { tracks: vec![vec![zero]; 15] }
    }

    /// The place of the record behind this one, over the index point if need be.
    fn behind(&self, head: usize, at: usize) -> Option<usize> {
        let track = &self.tracks[head];
        let order = (at + 1..track.len()).chain(0..track.len());
        order.into_iter().find(|index| track[*index].number != 0)
    }

    fn has_room(&self, head: usize, at: usize, new: &Record) -> bool {
        let before: usize = self.tracks[head][..=at].iter().map(Record::length).sum();
        5 + before + new.length() + 8 < 56_832
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        (next(&mut self.0) >> 16) as usize % bound
    }

    fn bytes(&mut self, bound: usize) -> Vec<u8> {
        (0..self.below(bound)).map(|_| self.below(256) as u8).collect()
    }

    fn record(&mut self) -> Record {
        let bound = if self.below(8) == 0 { 30_000 } else { 40 };
        let number = 1 + self.below(5) as u8;
        let data = self.bytes(bound);
        // Few keys, so that searches meet them.
        let key = vec![self.below(4) as u8; self.below(4)];
        Record { number, key, data }
    }
}

/// Puts `bytes` over the front of `target`, and zeros over the rest.
fn overwrite(target: &mut [u8], bytes: &[u8]) {
    target.fill(0);
    let length = bytes.len().min(target.len());
    target[..length].copy_from_slice(&bytes[..length]);
}

fn reads(random: &mut Random, model: &Model, run: &mut Run<'_>, head: usize, mut at: usize) {
    for step in 0..=random.below(4) {
        let (command, room) = ([0x06, 0x0E, 0x12, 0x1E][random.below(4)], random.below(60) + 1);
        let is_current = step == 0 && matches!(command, 0x06 | 0x0E);
        if !is_current {
            let Some(behind) = model.behind(head, at) else {
                assert_eq!(run.read(command, room), check(NO_RECORD, 0));
                return;
            };
            at = behind;
        }
        let found = &model.tracks[head][at];
        let all = found.bytes(head as u8);
        let (bytes, status) = match command {
            0x06 => (&all[8 + found.key.len()..], found.status()),
            0x0E => (&all[8..], found.status()),
            0x12 => (&all[..8], CE_DE),
            _ => (&all[..], found.status()),
        };
        let wanted = end(status, &bytes[..room.min(bytes.len())]);
        assert_eq!(run.read(command, room), wanted, "{command:#x}");
        if command == 0x12 {
            // What follows reads of this record if it reads fields, and of the next one otherwise.
            return;
        }
    }
}

fn updates(random: &mut Random, model: &mut Model, run: &mut Run<'_>, head: usize, at: usize) {
    let bytes = random.bytes(50);
    let found = &mut model.tracks[head][at];
    let key_length = found.key.len();
    let with_key = random.below(2) == 0;
    let command = if with_key { 0x0D } else { 0x05 };
    if found.data.is_empty() {
        assert_eq!(run.write(command, &bytes), took(UNIT_EXCEPTION, 0));
        return;
    }
    let mut fields = [found.key.clone(), found.data.clone()].concat();
    let first = if with_key { 0 } else { key_length };
    overwrite(&mut fields[first..], &bytes);
    let taken = bytes.len().min(fields.len() - first);
    assert_eq!(run.write(command, &bytes), took(CE_DE, taken));
    found.data = fields.split_off(key_length);
    found.key = fields;
}

fn formats(random: &mut Random, model: &mut Model, run: &mut Run<'_>, head: usize, mut at: usize) {
    for _ in 0..=random.below(4) {
        if random.below(6) == 0 {
            assert_eq!(run.write(0x11, &[0; 8]).status, CE_DE);
            model.tracks[head].truncate(at + 1);
            return;
        }
        let new = random.record();
        let bytes = new.bytes(head as u8);
        if !model.has_room(head, at, &new) {
            assert_eq!(run.write(0x1D, &bytes), check(TRACK_FORMAT, 8));
            return;
        }
        assert_eq!(run.write(0x1D, &bytes), took(CE_DE, bytes.len()));
        model.tracks[head].truncate(at + 1);
        model.tracks[head].push(new);
        at += 1;
    }
}

/// One channel program: finds a record by its number, on this track or a later one, and uses it.
fn step(random: &mut Random, model: &mut Model, disk: &CkdDisk) {
    let (start, head) = (random.below(3), random.below(3));
    let number = random.below(6) as u8;
    let multitrack = start != head;
    let mut run = run(disk);
    run.seek(1, start as u8);
    let command = if multitrack { 0xB1 } else { 0x31 };
    let place = model.tracks[head].iter().position(|it| it.number == number);
    let place = place.filter(|_| start <= head);
    let status = run.find(command, &[0, 1, 0, head as u8, number]);
    assert_eq!(status == FOUND, place.is_some(), "record {number} of track {head}");
    let Some(at) = place else {
        return;
    };
    match random.below(3) {
        0 => reads(random, model, &mut run, head, at),
        1 => updates(random, model, &mut run, head, at),
        _ => formats(random, model, &mut run, head, at),
    }
}

#[test]
fn random_programs_leave_the_tracks_that_the_model_has() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let (disk, mut model) = (CkdDisk::in_memory(2), Model::new());
        for _ in 0..150 {
            step(&mut random, &mut model, &disk);
        }
        for head in 0..3 {
            let mut run = run(&disk);
            run.seek(1, head);
            let track = &model.tracks[usize::from(head)];
            let wanted: Vec<u8> = track[1..].iter().flat_map(|it| it.bytes(head)).collect();
            assert_eq!(run.read(0x5E, 60_000).bytes, wanted, "seed {seed}, track {head}");
            assert_eq!(run.seek(1, head).read(0x16, 16).bytes, track[0].bytes(head));
        }
    }
}

#[test]
fn commands_at_random_end_and_break_no_track() {
    const COMMANDS: [u8; 32] = [
        0x02, 0x05, 0x06, 0x07, 0x0B, 0x0D, 0x0E, 0x11, 0x12, 0x15, 0x16, 0x1A, 0x1B, 0x1D, 0x1E,
        0x1F, 0x23, 0x29, 0x31, 0x39, 0x47, 0x51, 0x5E, 0x63, 0x64, 0x85, 0x8D, 0x92, 0x9D, 0xB1,
        0xDE, 0xE9,
    ];
    let disk = CkdDisk::in_memory(2);
    let mut random = Random(7);
    for _ in 0..4000 {
        let mut run = run(&disk);
        for _ in 0..12 {
            let command = COMMANDS[random.below(COMMANDS.len())];
            let mut bytes = random.bytes(24);
            // Mostly small numbers, so that tracks and operations exist.
            bytes.iter_mut().for_each(|byte| *byte &= [0x00, 0x01, 0xC3][random.below(3)]);
            let data = match command & 0x03 {
                0x02 => Buffer::input(random.below(300)),
                _ => Buffer::output(&bytes),
            };
            let end = run.try_transfer(command, data).unwrap();
            assert_eq!(end.status & CE_DE, CE_DE);
            assert_ne!(end.sense[0], 0x10, "{command:#x} has broken a track");
            if end.status == UNIT_CHECK {
                break;
            }
        }
    }
}
