//! Disks behind the channel subsystem: searches that skip, lengths, reservations at a move, faults.
//!
//! Source of truth: the heads of `device::ckd`, `device::paths` and `device::faulty`.

use super::*;

pub(super) const CHAIN: u8 = 0x40;
const SUPPRESS: u8 = 0x20;
pub(super) const NORMAL: DeviceStatus = DeviceStatus::CHANNEL_END.union(DeviceStatus::DEVICE_END);
/// Long after each channel program has ended.
pub(super) const LATE: u64 = 100_000;

/// A machine on this SU with the device.
pub(super) fn machine_on(system: u16, vm: &str, device: &Arc<dyn Device>) -> Machine {
    let name = VmName::new(vm).unwrap();
    let block = VmBlock::new(VmIndex::new(12).unwrap(), name, PageCount::new(16), 1).unwrap();
    let configuration = ConfigurationName::new("390SU- 500-10B").unwrap();
    let path = Path { system, channel: 0 };
    let device = AttachedDevice::new(descriptor(), Arc::clone(device), LATENCY, path);
    Machine::new(&block, configuration, Arc::new(Code(count)), vec![device])
}

/// Puts a program of these commands at 0x1000: code, flags, count, address.
pub(super) fn put(machine: &Machine, commands: &[(u8, u8, u16, u32)]) -> Orb {
    for (number, (code, flags, count, address)) in (0..).zip(commands) {
        let word = u64::from(*code) << 56
            | u64::from(*flags) << 48
            | u64::from(*count) << 32
            | u64::from(*address);
        machine.storage.store(0x1000 + 8 * number, word).unwrap();
    }
    Orb::of_program(0x1000, PARAMETER)
}

/// Puts seek and search for record `record` of cylinder 1, head 2, and `then` behind them.
pub(super) fn find(machine: &Machine, record: u8, then: (u8, u8, u16, u32)) -> Orb {
    machine.storage.store_bytes(0x1100, &[0, 0, 0, 1, 0, 2, record]).unwrap();
    let commands = [(0x07, CHAIN, 6, 0x1100), (0x31, CHAIN, 5, 0x1102), (0x08, 0, 0, 0x1008), then];
    put(machine, &commands)
}

pub(super) fn carry_out(machine: &Machine, orb: &Orb, now: u64) -> monitor_core::channel::Scsw {
    assert_eq!(start(machine, orb, now), ConditionCode::Done);
    machine.step_channel(at(now + LATE));
    status(machine)
}

/// A disk on which record 1 of cylinder 1, head 2 is "RECORD 1".
pub(super) fn formatted() -> Arc<dyn Device> {
    let disk: Arc<dyn Device> = Arc::new(CkdDisk::in_memory(3));
    let machine = machine_on(1, "VM12PROD", &disk);
    ready(&machine, 1);
    let record = *b"\0\x01\0\x02\x01\0\0\x08RECORD 1";
    machine.storage.store_bytes(0x5000, &record).unwrap();
    let orb = find(&machine, 0, (0x1D, 0, 16, 0x5000));
    assert_eq!(carry_out(&machine, &orb, 0).device_status, NORMAL);
    disk
}

#[test]
fn satisfied_search_skips_the_branch_back_to_it() {
    let machine = machine_on(1, "VM12PROD", &formatted());
    ready(&machine, 1);
    let status = carry_out(&machine, &find(&machine, 1, (0x06, 0, 8, 0x5000)), 0);
    assert_eq!((status.device_status, status.residual_count), (NORMAL, 0));
    assert_eq!(status.program_address, 0x1020);
    assert_eq!(machine.storage.load(0x5000), Ok(u64::from_be_bytes(*b"RECORD 1")));
}

#[test]
fn search_for_what_is_not_there_ends_with_no_record_found() {
    let machine = machine_on(1, "VM12PROD", &formatted());
    ready(&machine, 1);
    let status = carry_out(&machine, &find(&machine, 9, (0x06, 0, 8, 0x5000)), 0);
    assert_eq!(status.device_status, NORMAL | DeviceStatus::UNIT_CHECK);
    assert_eq!((status.program_address, status.residual_count), (0x1010, 5));
    assert_eq!(image(&machine).sense[..2], [0x00, 0x08]);
}

#[test]
fn record_of_another_length_is_indicated_unless_suppressed() {
    let machine = machine_on(1, "VM12PROD", &formatted());
    ready(&machine, 1);
    for (code, count, flags, status, residual) in [
        (0x06, 20, 0, SubchannelStatus::INCORRECT_LENGTH, 12),
        (0x06, 20, SUPPRESS, SubchannelStatus::empty(), 12),
        (0x06, 5, 0, SubchannelStatus::INCORRECT_LENGTH, 0),
        (0x05, 5, 0, SubchannelStatus::INCORRECT_LENGTH, 0),
        (0x05, 8, 0, SubchannelStatus::empty(), 0),
    ] {
        let orb = find(&machine, 1, (code, flags, count, 0x5000));
        let found = carry_out(&machine, &orb, 0);
        let found = (found.device_status, found.subchannel_status, found.residual_count);
        assert_eq!(found, (NORMAL, status, residual), "{code:#x} of {count} bytes");
    }
}

#[test]
fn write_from_protected_storage_changes_no_record() {
    let machine = machine_on(1, "VM12PROD", &formatted());
    ready(&machine, 1);
    machine.storage.set_key(monitor_core::units::PageNumber::new(5), 0x38);
    let orb = find(&machine, 1, (0x05, 0, 8, 0x5000)).with_key(4);
    assert_eq!(carry_out(&machine, &orb, 0).subchannel_status, SubchannelStatus::PROTECTION_CHECK);
    carry_out(&machine, &find(&machine, 1, (0x06, 0, 8, 0x6000)), LATE);
    assert_eq!(machine.storage.load(0x6000), Ok(u64::from_be_bytes(*b"RECORD 1")));
}

#[test]
fn reserved_disk_keeps_the_start_of_another_system_waiting() {
    let disk = formatted();
    let (holder, other) = (machine_on(1, "VM12PROD", &disk), machine_on(2, "VM13TEST", &disk));
    ready(&holder, 1);
    ready(&other, 1);
    let reserve = |code| put(&holder, &[(code, SUPPRESS, 32, 0x5000)]);
    assert_eq!(carry_out(&holder, &reserve(0xB4), 0).device_status, NORMAL);
    let read = find(&other, 1, (0x06, 0, 8, 0x5000));
    assert_eq!(start(&other, &read, 0), ConditionCode::Done);
    other.step_channel(at(LATE));
    assert!(!quiet(&other));
    assert_eq!(carry_out(&holder, &reserve(0x94), 0).device_status, NORMAL);
    other.step_channel(at(2 * LATE));
    assert_eq!(status(&other).device_status, NORMAL);
    assert_eq!(other.storage.load(0x5000), Ok(u64::from_be_bytes(*b"RECORD 1")));
}

#[test]
fn reservation_moves_with_the_vm_and_a_start_that_waited_begins_at_the_target() {
    let disk = formatted();
    let [source, target] = [1, 2].map(|system| machine_on(system, "VM12PROD", &disk));
    let waiting = machine_on(3, "VM13TEST", &disk);
    let new = machine_on(4, "VM13TEST", &disk);
    ready(&source, 1);
    ready(&waiting, 1);
    let reserve = put(&source, &[(0xB4, SUPPRESS, 32, 0x5000)]);
    assert_eq!(carry_out(&source, &reserve, 0).device_status, NORMAL);
    let read = find(&waiting, 1, (0x06, 0, 8, 0x5000));
    assert_eq!(start(&waiting, &read, 0), ConditionCode::Done);
    waiting.step_channel(at(LATE));

    // The holder moves: the disk knows the target's path for its own, and nobody else's.
    let access = |vm: &str, epoch, system| {
        let path = Path { system, channel: 0 };
        Access::new(VmName::new(vm).unwrap(), Epoch::new(epoch), path)
    };
    disk.adopt(&access("VM12PROD", 1, 1), &access("VM12PROD", 2, 2)).unwrap();
    ready(&target, 2);
    let read = find(&target, 1, (0x06, 0, 8, 0x5000));
    assert_eq!(carry_out(&target, &read, LATE).device_status, NORMAL);

    // The one that waits moves too: its start is pending again, and begins at its target.
    waiting.with_subsystem(|subsystem| subsystem.hold(SLOT)).unwrap();
    assert!(quiet(&waiting));
    let moved = image(&waiting);
    assert!(moved.is_movable() && !moved.is_quiet());
    find(&new, 1, (0x06, 0, 8, 0x5000));
    new.with_subsystem(|subsystem| subsystem.restore(SLOT, &moved)).unwrap();
    new.with_subsystem(|subsystem| subsystem.attach(SLOT, Epoch::new(2))).unwrap();
    new.step_channel(at(3 * LATE));
    assert!(!quiet(&new), "the reservation is still there");
    let release = put(&target, &[(0x94, SUPPRESS, 32, 0x5000)]);
    assert_eq!(carry_out(&target, &release, 3 * LATE).device_status, NORMAL);
    new.step_channel(at(5 * LATE));
    assert_eq!(status(&new).device_status, NORMAL);
    assert_eq!(new.storage.load(0x5000), Ok(u64::from_be_bytes(*b"RECORD 1")));
}

#[test]
fn faults_of_a_device_reach_the_subchannel() {
    let faulty = Arc::new(Faulty::new(Arc::new(FbaDisk::in_memory(8))));
    let device: Arc<dyn Device> = faulty.clone();
    let machine = machine_on(1, "VM12PROD", &device);
    ready(&machine, 1);
    let read = put(&machine, &[(0x64, SUPPRESS, 32, 0x5000)]);
    let mut sense = [0; 32];
    sense[0] = 0x10;
    faulty.inject_next(Misbehavior::UnitCheck(sense));
    let checked = carry_out(&machine, &read, 0).device_status;
    assert_eq!((checked, image(&machine).sense[0]), (NORMAL | DeviceStatus::UNIT_CHECK, 0x10));

    faulty.inject_next(Misbehavior::LostDeviceEnd);
    assert_eq!(start(&machine, &read, LATE), ConditionCode::Done);
    machine.step_channel(at(2 * LATE));
    assert_eq!(status(&machine).device_status, DeviceStatus::CHANNEL_END);
    machine.step_channel(at(1_000_000_000_000));
    assert!(!quiet(&machine), "the device end never comes");
    assert_eq!(faulty.struck(), 2);
}

#[test]
fn endless_command_of_a_device_is_given_up_when_it_is_held() {
    let faulty = Arc::new(Faulty::new(Arc::new(FbaDisk::in_memory(8))));
    let device: Arc<dyn Device> = faulty.clone();
    let machine = machine_on(1, "VM12PROD", &device);
    ready(&machine, 1);
    faulty.inject_next(Misbehavior::Endless);
    let read = put(&machine, &[(0x64, SUPPRESS, 32, 0x5000)]);
    assert_eq!(start(&machine, &read, 0), ConditionCode::Done);
    machine.step_channel(at(LATE));
    assert!(!quiet(&machine));
    machine.with_subsystem(|subsystem| subsystem.hold(SLOT)).unwrap();
    assert!(quiet(&machine));
    machine.with_subsystem(|subsystem| subsystem.release(SLOT)).unwrap();
    machine.step_channel(at(3 * LATE));
    machine.step_channel(at(4 * LATE));
    assert_eq!(status(&machine).device_status, NORMAL);
}

#[test]
fn tape_that_rewinds_presents_device_end_when_it_has_come_to_the_load_point() {
    let tape: Arc<dyn Device> = Arc::new(Tape::new(100_000));
    let machine = machine_on(1, "VM12PROD", &tape);
    ready(&machine, 1);
    let write = put(&machine, &[(0x01, CHAIN, 80, 0x5000), (0x01, 0, 80, 0x5000)]);
    assert_eq!(carry_out(&machine, &write, 0).device_status, NORMAL);
    assert_eq!(start(&machine, &put(&machine, &[(0x07, 0, 1, 0)]), LATE), ConditionCode::Done);
    machine.step_channel(at(LATE + LATENCY.get() + 30));
    assert_eq!(status(&machine).device_status, DeviceStatus::CHANNEL_END);
    machine.step_channel(at(2 * LATE));
    assert_eq!(status(&machine).device_status, DeviceStatus::DEVICE_END);
}
