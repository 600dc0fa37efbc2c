//! Writes, extents, and Locate Record domains of a CKD disk.
//!
//! Source of truth: the heads of `write` and `control`.

use super::*;

#[test]
fn update_keeps_the_other_records() {
    let disk = disk();
    assert_eq!(run(&disk).find_record(1, 2, 1).write(0x05, b"FIRST RECORD"), took(CE_DE, 12));
    assert_eq!(run(&disk).find_record(1, 2, 2).write(0x0D, b"2nd"), took(CE_DE, 3));
    let mut program = run(&disk);
    program.seek(1, 2);
    assert_eq!(program.read(0x0E, 99), end(CE_DE, b"KEYAFIRST RECORD"));
    assert_eq!(program.read(0x0E, 99), end(CE_DE, b"2nd\0\0\0"));
    assert_eq!(program.read(0x0E, 99), end(UNIT_EXCEPTION, b"KEYC"));
}

#[test]
fn update_takes_no_more_than_the_record_has() {
    let disk = disk();
    assert_eq!(run(&disk).find_record(1, 2, 2).write(0x05, b"0123456789"), took(CE_DE, 6));
    assert_eq!(run(&disk).find_record(1, 2, 2).read(0x06, 10), end(CE_DE, b"012345"));
}

#[test]
fn log_holds_updates_by_whom_and_where_and_nothing_else() {
    let disk = disk();
    assert_eq!(disk.log(), [], "formats are not updates");
    run(&disk).find_record(1, 2, 1).write(0x05, b"FIRST RECORD");
    run(&disk).find_record(1, 2, 1).write(0x0D, b"KEYBdata");
    assert_eq!(run(&disk).seek(1, 2).write(0x05, b"x"), check(SEQUENCE, 0));
    let vm = VmName::new("VM1").unwrap();
    let entry = |sequence, text: &[u8]| {
        let mut head = [0; 16];
        head[..text.len()].copy_from_slice(text);
        DiskWrite { vm, epoch: Epoch::new(1), block: 15 + 2, head, sequence }
    };
    let updates = [entry(1, b"FIRST RECORD"), entry(2, b"data")];
    assert_eq!((disk.log(), disk.last_write()), (updates.to_vec(), Some(updates[1])));
}

#[test]
fn write_that_no_search_entitles_to_is_refused() {
    let disk = disk();
    for command in [0x05, 0x0D, 0x1D, 0x11, 0x15, 0x85, 0x8D, 0x9D] {
        assert_eq!(run(&disk).seek(1, 2).write(command, &[0; 16]), check(SEQUENCE, 0));
    }
    let mut between = run(&disk);
    between.find_record(1, 2, 1);
    assert_eq!(between.write(0x23, &[0]), took(CE_DE, 1));
    assert_eq!(between.write(0x05, b"x"), check(SEQUENCE, 0), "a command stands between");
    let mut twice = run(&disk);
    twice.find_record(1, 2, 1);
    assert_eq!(twice.write(0x05, b"x"), took(CE_DE, 1));
    assert_eq!(twice.write(0x05, b"x"), check(SEQUENCE, 0), "the record is behind");
    let mut idle = run(&disk);
    idle.find_record(1, 2, 1);
    assert_eq!(disk.no_operation(&mut idle.access), Outcome::Ended(ending_of_control()));
    assert_eq!(idle.write(0x05, b"x"), check(SEQUENCE, 0));
}

fn ending_of_control() -> Ending {
    Ending { duration: Micros::new(COMMAND_US), ..Ending::NORMAL }
}

#[test]
fn format_write_erases_the_rest_of_the_track() {
    let disk = disk();
    let new = record([1, 2], 7, b"K", b"seven");
    assert_eq!(run(&disk).find_record(1, 2, 1).write(0x1D, &new), took(CE_DE, new.len()));
    let mut program = run(&disk);
    program.seek(1, 2);
    assert_eq!(program.read(0x06, 5), end(CE_DE, b"first"));
    assert_eq!(program.read(0x1E, 99), end(CE_DE, &new));
    assert_eq!(program.read(0x06, 5), end(CE_DE, b"first"), "nothing behind it");
}

#[test]
fn format_write_pads_what_is_missing() {
    let disk = disk();
    let new = record([1, 4], 1, b"", b"abcdef");
    assert_eq!(run(&disk).find_record(1, 4, 0).write(0x1D, &new[..10]), took(CE_DE, 10));
    assert_eq!(run(&disk).find_record(1, 4, 1).read(0x06, 9), end(CE_DE, b"ab\0\0\0\0"));
}

#[test]
fn erase_leaves_nothing_behind_the_record() {
    let disk = disk();
    assert_eq!(run(&disk).find_record(1, 2, 1).write(0x11, &[0; 8]), took(CE_DE, 8));
    let mut program = run(&disk);
    program.seek(1, 2);
    let counts: Vec<_> = (0..2).map(|_| program.read(0x12, 8).bytes[4]).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn record_that_does_not_fit_is_refused_and_changes_nothing() {
    let disk = disk();
    let mut program = run(&disk);
    program.find_record(2, 0, 0);
    let largest = record([2, 0], 1, b"", &vec![7; 56_664]);
    assert_eq!(program.write(0x1D, &largest), took(CE_DE, largest.len()));
    let mut more = run(&disk);
    more.find_record(2, 0, 1);
    assert_eq!(more.write(0x1D, &record([2, 0], 2, b"", &[1; 200])), check(TRACK_FORMAT, 8));
    let mut too_long = run(&disk);
    too_long.find_record(2, 1, 0);
    let long = record([2, 1], 1, b"", &vec![7; 56_665]);
    assert_eq!(too_long.write(0x1D, &long), check(TRACK_FORMAT, 8));
    let read = run(&disk).find_record(2, 0, 1).read(0x06, 60_000);
    assert_eq!((read.status, read.bytes.len()), (CE_DE, 56_664));
    assert_eq!(run(&disk).seek(2, 1).read(0x06, 8), check(NO_RECORD, 0));
    let mut end_mark = run(&disk);
    end_mark.find_record(2, 1, 0);
    assert_eq!(end_mark.write(0x1D, &[0xFF; 8]), check(TRACK_FORMAT, 8));
}

#[test]
fn record_zero_is_written_behind_the_home_address() {
    let disk = disk();
    let mut program = run(&disk);
    program.seek(1, 5);
    assert_eq!(program.write(0x1F, &[0xC0]), took(CE_DE, 1));
    assert_eq!(program.find(0x39, &[0, 1, 0, 5]), FOUND);
    let zero = record([1, 5], 0, b"", b"RECORD 0");
    assert_eq!(program.write(0x15, &zero), took(CE_DE, 16));
    assert_eq!(program.write(0x1D, &record([1, 5], 1, b"", b"x")), took(CE_DE, 9));
    let mut program = run(&disk);
    assert_eq!(program.seek(1, 5).read(0x16, 16), end(CE_DE, &zero));
    assert_eq!(program.read(0x06, 1), end(CE_DE, b"x"));
    let mut masked = run(&disk);
    masked.seek(1, 5);
    assert_eq!(masked.find(0x39, &[0, 1, 0, 5]), FOUND);
    assert_eq!(masked.write(0x15, &zero), check(SEQUENCE, 0), "the mask does not permit it");
}

#[test]
fn extent_bounds_seeks_and_multitrack_operations() {
    let disk = disk();
    let mut program = run(&disk);
    program.define_extent(0, [1, 0], [1, 2]);
    assert_eq!(program.write(0x07, &[0, 0, 0, 1, 0, 3]), check(PROTECTED, 6));
    let mut program = run(&disk);
    program.define_extent(0, [1, 0], [1, 1]).seek(1, 0);
    assert_eq!(program.read(0x86, 5), check(PROTECTED, 0), "the record is outside");
    for (bytes, sense) in [
        (extent(0, [1, 0], [0, 14]), PARAMETER),
        (extent(0, [0, 0], [5, 0]), PARAMETER),
        (extent(0, [0, 0], [4, 15]), PARAMETER),
        (extent(0x20, [0, 0], [4, 14]), PARAMETER),
    ] {
        assert_eq!(run(&disk).write(0x63, &bytes), check(sense, 16));
    }
    assert_eq!(run(&disk).write(0x63, &extent(0, [0, 0], [4, 14])[..15]), check(SHORT, 15));
    let mut program = run(&disk);
    program.define_extent(0, [1, 0], [2, 0]).define_extent(0, [1, 0], [1, 5]);
    assert_eq!(program.write(0x63, &extent(0, [1, 0], [2, 0])), check(SEQUENCE, 16));
    let mut program = run(&disk);
    program.define_extent(0, [1, 0], [2, 0]);
    assert_eq!(program.write(0x1F, &[0]), check(SEQUENCE, 0));
}

#[test]
fn located_records_are_read_and_updated() {
    let disk = disk();
    let mut program = run(&disk);
    program.define_extent(0, [0, 0], [4, 14]);
    assert_eq!(program.locate(0x06, 2, [1, 2], 1, 0), took(CE_DE, 16));
    assert_eq!(program.read(0x86, 99), end(CE_DE, b"first record"));
    assert_eq!(program.read(0x86, 99), end(CE_DE, b"second"));
    assert_eq!(program.locate(0x01, 1, [1, 2], 2, 6), took(CE_DE, 16));
    assert_eq!(program.write(0x85, b"SECOND"), took(CE_DE, 6));
    assert_eq!(program.locate(0x86, 1, [1, 2], 1, 0), took(CE_DE, 16));
    assert_eq!(program.read(0x06, 99), end(CE_DE, b"SECOND"), "data orientation: the next one");
    assert_eq!(program.locate(0x01, 1, [1, 2], 1, 16), took(CE_DE, 16));
    assert_eq!(program.write(0x8D, b"keya"), took(CE_DE, 4));
    assert_eq!(program.locate(0x16, 1, [1, 2], 1, 0), took(CE_DE, 16));
    assert_eq!(program.read(0x0E, 99).bytes[..6], *b"keya\0\0");
}

#[test]
fn record_of_another_length_than_the_domains_is_not_updated() {
    let disk = disk();
    let mut program = run(&disk);
    program.define_extent(0, [0, 0], [4, 14]);
    assert_eq!(program.locate(0x01, 1, [1, 2], 2, 7), took(CE_DE, 16));
    assert_eq!(program.write(0x85, b"SECOND+"), check(TRACK_FORMAT, 0));
    assert_eq!(run(&disk).find_record(1, 2, 2).read(0x06, 9), end(CE_DE, b"second"));
}

#[test]
fn domain_admits_only_what_it_is_for() {
    let disk = disk();
    let domain = |operation: u8, length: u16| {
        let mut run = run(&disk);
        run.define_extent(0, [0, 0], [4, 14]);
        assert_eq!(run.locate(operation, 2, [1, 2], 1, length).status, CE_DE);
        run
    };
    for command in [0x05, 0x85, 0x1D, 0x31, 0x07, 0x1F, 0x63, 0x5E, 0x64, 0xDE] {
        let refused = domain(0x06, 0).write(command, &[0; 16]);
        assert_eq!((refused.status, refused.sense), (UNIT_CHECK, SEQUENCE), "{command:#x}");
    }
    for command in [0x06, 0x86, 0x0E, 0x12, 0x1E, 0x16, 0x1A] {
        assert_eq!(domain(0x01, 12).read(command, 99), check(SEQUENCE, 0), "{command:#x}");
    }
    assert_eq!(domain(0x01, 12).write(0x85, b"FIRST RECORD"), took(CE_DE, 12));
}

#[test]
fn located_track_is_formatted_and_continued_on_the_next() {
    let disk = disk();
    let mut program = run(&disk);
    program.define_extent(0, [0, 0], [4, 14]);
    assert_eq!(program.locate(0x03, 3, [3, 14], 0, 100), took(CE_DE, 16));
    for (command, track, number) in [(0x1D, [3, 14], 1), (0x1D, [3, 14], 2), (0x9D, [4, 0], 1)] {
        let new = record(track, number, b"", &[number; 10]);
        assert_eq!(program.write(command, &new), took(CE_DE, 18), "{command:#x}");
    }
    assert_eq!(run(&disk).find_record(3, 14, 2).read(0x06, 99), end(CE_DE, &[2; 10]));
    assert_eq!(run(&disk).find_record(4, 0, 1).read(0x06, 99), end(CE_DE, &[1; 10]));
}

#[test]
fn location_that_makes_no_sense_is_refused() {
    let disk = disk();
    let refused = |change: fn(&mut [u8; 16])| {
        let mut run = run(&disk);
        run.define_extent(0, [1, 0], [1, 14]);
        let mut bytes = location(0x06, 1, [1, 2], 1, 0);
        change(&mut bytes);
        run.write(0x47, &bytes).sense
    };
    assert_eq!(refused(|_| {}), [0; 3]);
    let changes: [fn(&mut [u8; 16]); 9] = [
        |bytes| bytes[0] = 0x02,
        |bytes| bytes[0] = 0xC6,
        |bytes| bytes[1] = 0x40,
        |bytes| bytes[1] = 0x80,
        |bytes| bytes[2] = 1,
        |bytes| bytes[3] = 0,
        |bytes| bytes[7] = 15,
        |bytes| bytes[13] = 224,
        |bytes| bytes[15] = 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert_eq!(refused(change), PARAMETER, "change {number}");
    }
    assert_eq!(refused(|bytes| bytes[5] = 2), PROTECTED);
    assert_eq!(refused(|bytes| bytes[12] = 9), NO_RECORD);
    assert_eq!(run(&disk).locate(0x06, 1, [1, 2], 1, 0), check(SEQUENCE, 16), "no extent");
    for (mask, update, format) in [(0x00, true, true), (0x40, false, false), (0x80, true, false)] {
        for (operation, may) in [(0x06, true), (0x01, update), (0x03, format), (0x0B, format)] {
            let mut masked = run(&disk);
            masked.define_extent(mask, [1, 0], [1, 14]);
            let ended = masked.locate(operation, 1, [1, 2], 1, 0);
            let expected = if may { took(CE_DE, 16) } else { check(SEQUENCE, 16) };
            assert_eq!(ended, expected, "mask {mask:02X}, operation {operation:02X}");
        }
    }
    let mut home = run(&disk);
    home.define_extent(0, [0, 0], [4, 14]);
    assert_eq!(home.locate(0x56, 1, [1, 2], 0, 0), took(CE_DE, 16));
    assert_eq!(home.read(0x16, 5), end(CE_DE, &[0, 1, 0, 2, 0]));
}

#[test]
fn count_is_read_behind_the_writes_of_a_domain_that_says_so() {
    let disk = disk();
    let mut program = run(&disk);
    program.define_extent(0, [0, 0], [4, 14]);
    let mut bytes = location(0x01, 2, [1, 2], 1, 12);
    bytes[1] |= 0x01;
    assert_eq!(program.write(0x47, &bytes), took(CE_DE, 16));
    assert_eq!(program.write(0x85, b"FIRST RECORD"), took(CE_DE, 12));
    assert_eq!(program.read(0x12, 8).bytes[4], 2);
}

#[test]
fn initial_program_is_the_first_record_of_the_disk() {
    let disk = disk();
    let mut format = run(&disk);
    format.find_record(0, 0, 0);
    format.write(0x1D, &record([0, 0], 1, b"", b"PSW AND CCWS"));
    format.write(0x1D, &record([0, 0], 2, b"", b"bootstrap"));
    let mut program = run(&disk);
    assert_eq!(program.read(0x02, 24), end(CE_DE, b"PSW AND CCWS"));
    assert_eq!(program.read(0x06, 24), end(CE_DE, b"bootstrap"));
    program.seek(1, 2);
}
