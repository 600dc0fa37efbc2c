//! A CKD disk in the hands of several systems: fence, reservation, image file.
//!
//! Source of truth: the heads of `paths` and `books`; Hercules 6.3 for the waiting.

use super::*;

const RESERVE: u8 = 0xB4;
const RELEASE: u8 = 0x94;
const STEAL: u8 = 0x14;

fn program<'a>(disk: &'a CkdDisk, vm: &str, epoch: u64, system: u16) -> Run<'a> {
    Run { disk, access: access(vm, epoch, system) }
}

#[test]
fn lower_epoch_is_fenced_and_counted() {
    let disk = disk();
    assert_eq!(disk.admit(&access("VM1", 2, 2)), Ok(()));
    let fenced = run(&disk).write(0x07, &[0; 6]);
    assert_eq!((fenced.status, fenced.sense), (UNIT_CHECK, [0x80, 0x02, 0]));
    assert_eq!(disk.admit(&access("VM1", 1, 1)), Err(Refusal::Fenced));
    assert_eq!(disk.fenced_count(), 2);
    assert_eq!(program(&disk, "VM2", 1, 1).write(0x07, &[0; 6]), took(CE_DE, 6));
}

#[test]
fn program_of_another_system_waits_for_the_release() {
    let disk = disk();
    let reserved = program(&disk, "VM1", 1, 1).read(RESERVE, 32);
    assert_eq!((reserved.status, reserved.bytes.len()), (CE_DE, 32));
    let mut other = program(&disk, "VM2", 1, 2);
    let before = other.access;
    assert_eq!(other.try_transfer(0x07, Buffer::output(&[0; 6])), None);
    assert_eq!(other.access, before, "nothing has begun");
    assert_eq!(program(&disk, "VM1", 1, 1).read(RELEASE, 32).status, CE_DE);
    assert_eq!(other.write(0x07, &[0; 6]), took(CE_DE, 6));
}

#[test]
fn stolen_reservation_is_told_and_then_waited_for() {
    let disk = disk();
    let mut holder = program(&disk, "VM1", 1, 1);
    holder.read(RESERVE, 32);
    assert_eq!(program(&disk, "VM2", 1, 2).read(STEAL, 32).status, CE_DE);
    let mut holder = program(&disk, "VM1", 1, 1);
    assert_eq!(holder.write(0x07, &[0; 6]), check([0x80, 0, 8], 0));
    assert_eq!(program(&disk, "VM1", 1, 1).try_transfer(0x07, Buffer::output(&[0; 6])), None);
}

#[test]
fn reserve_stands_alone_and_release_before_an_extent() {
    let disk = disk();
    assert_eq!(run(&disk).seek(0, 0).read(RESERVE, 32), check(SEQUENCE, 0));
    let mut extent = run(&disk);
    extent.define_extent(0, [0, 0], [1, 0]);
    assert_eq!(extent.read(RELEASE, 32), check(SEQUENCE, 0));
    let mut suspended = run(&disk);
    assert_eq!(suspended.write(0x5B, &[]).status, CE_DE);
    assert_eq!(suspended.read(RESERVE, 32).status, CE_DE);
}

#[test]
fn path_group_is_set_and_sensed() {
    let disk = disk();
    let group = *b"\x80SYSTEM 0001";
    assert_eq!(run(&disk).write(0xAF, &group), took(CE_DE, 12));
    let sensed = run(&disk).read(0x34, 12);
    assert_eq!((sensed.bytes[0], &sensed.bytes[1..]), (0xC8, &group[1..]));
    assert_eq!(run(&disk).write(0xAF, &group[..11]), check(SHORT, 11));
    assert_eq!(run(&disk).write(0xAF, b"\x00OTHER GROUP"), check(PARAMETER, 12));
    assert_eq!(run(&disk).seek(0, 0).write(0xAF, &group), check(SEQUENCE, 0));
}

#[test]
fn reservation_goes_with_the_vm_and_not_with_its_old_copy() {
    let disk = disk();
    let (old, new) = (access("VM1", 1, 1), access("VM1", 2, 2));
    program(&disk, "VM1", 1, 1).read(RESERVE, 32);
    assert_eq!(disk.adopt(&old, &new), Ok(()));
    assert_eq!(program(&disk, "VM1", 2, 2).write(0x07, &[0; 6]), took(CE_DE, 6));
    assert_eq!(program(&disk, "VM2", 1, 1).try_transfer(0x07, Buffer::output(&[0; 6])), None);
    assert_eq!(disk.adopt(&new, &old), Err(Refusal::Fenced));
    disk.reset(&old);
    assert_eq!(program(&disk, "VM2", 1, 1).try_transfer(0x07, Buffer::output(&[0; 6])), None);
    disk.reset(&new);
    assert_eq!(program(&disk, "VM2", 1, 1).write(0x07, &[0; 6]), took(CE_DE, 6));
}

#[test]
fn record_that_is_formatted_away_meanwhile_is_not_written() {
    let disk = disk();
    let mut slow = program(&disk, "VM1", 1, 1);
    slow.find_record(1, 2, 2);
    let mut quick = program(&disk, "VM2", 1, 2);
    quick.find_record(1, 2, 1).write(0x1D, &record([1, 2], 5, b"", b"fifth"));
    assert_eq!(slow.write(0x05, b"SECOND"), check(TRACK_FORMAT, 0));
    assert_eq!(run(&disk).find_record(1, 2, 5).read(0x06, 9), end(CE_DE, b"fifth"));
}

#[test]
fn file_is_one_disk_for_all_who_open_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.ckd");
    let one = CkdDisk::in_file(&path, 3).unwrap();
    let mut format = program(&one, "VM1", 1, 1);
    format.find_record(2, 14, 0).write(0x1D, &record([2, 14], 1, b"", b"shared"));
    let other = CkdDisk::in_file(&path, 3).unwrap();
    assert_eq!(
        program(&other, "VM1", 2, 2).find_record(2, 14, 1).read(0x06, 9),
        end(CE_DE, b"shared")
    );
    assert_eq!(program(&one, "VM1", 1, 1).write(0x07, &[0; 6]).sense, [0x80, 0x02, 0]);
    program(&other, "VM1", 2, 2).read(RESERVE, 32);
    assert_eq!(program(&one, "VM2", 1, 1).try_transfer(0x07, Buffer::output(&[0; 6])), None);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!((&bytes[..8], bytes.len()), (&b"CKD_P370"[..], 512 + 3 * 15 * 56_832));
}

#[test]
fn broken_track_is_an_equipment_check() {
    let image = MemoryImage::new();
    image.write(0, b"CKD_P370").unwrap();
    image.write(512 + 5, &[0, 0, 0, 0, 0, 0, 0xFF, 0xF0]).unwrap();
    let disk = CkdDisk::new(Box::new(image), 1, Keeper::default()).unwrap();
    assert_eq!(run(&disk).seek(0, 0).read(0x06, 9), check([0x10, 0, 0x10], 0));
}
