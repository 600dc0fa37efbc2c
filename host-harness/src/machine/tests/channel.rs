//! Channel programs, hold and move of subchannels, devices and their fence.
//!
//! Source of truth: the heads of `channel` and `device`.

use super::*;

#[test]
fn channel_program_ends_when_due_and_marks_the_page_it_reads_into() {
    let disk = Arc::new(Disk::new());
    let machine = machine(&disk);
    ready(&machine, 1);
    machine.storage.store(0x5000, 0x1122_3344_5566_7788).unwrap();
    let write = put_program(&machine, 0x01);
    assert_eq!(start(&machine, &write, 0), ConditionCode::Done);
    machine.step_channel(at(200));
    assert_eq!(disk.log()[0].block, 5);
    assert_eq!(disk.log()[0].head[..8], 0x1122_3344_5566_7788_u64.to_be_bytes());
    assert_eq!(
        status(&machine).device_status,
        DeviceStatus::CHANNEL_END | DeviceStatus::DEVICE_END
    );

    machine.storage.store(0x5000, 0).unwrap();
    let read = put_program(&machine, 0x02);
    machine.start_tracking();
    assert_eq!(start(&machine, &read, 1000), ConditionCode::Done);
    assert_eq!(machine.step_channel(at(1199)), Some(at(1200)));
    assert!(!quiet(&machine));
    assert_eq!(machine.storage.load(0x5000), Ok(0));
    assert_eq!(marked_pages(&machine), [] as [u64; 0]);
    assert_eq!(machine.step_channel(at(1200)), None);
    assert!(quiet(&machine));
    assert_eq!(machine.storage.load(0x5000), Ok(0x1122_3344_5566_7788));
    assert_eq!(marked_pages(&machine), [5]);
}

#[test]
fn channel_sets_reference_where_it_writes_from_and_change_where_it_reads_into() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    let page = monitor_core::units::PageNumber::new(5);
    for (code, key) in [(0x01, 0x04), (0x02, 0x06)] {
        machine.storage.set_key(page, 0);
        start(&machine, &put_program(&machine, code), 0);
        machine.step_channel(at(200));
        status(&machine);
        assert_eq!(machine.storage.key(page), key);
    }
}

#[test]
fn start_is_refused_unless_attached_enabled_and_idle() {
    let machine = machine(&Arc::new(Disk::new()));
    let orb = Orb::of_program(0x1000, 0);
    assert_eq!(start(&machine, &orb, 0), ConditionCode::NotOperational);
    ready(&machine, 1);
    machine.with_subsystem(|subsystem| enable(subsystem, false));
    assert_eq!(start(&machine, &orb, 0), ConditionCode::NotOperational);
    machine.with_subsystem(|subsystem| enable(subsystem, true));
    assert_eq!(start(&machine, &orb, 0), ConditionCode::Done);
    assert_eq!(start(&machine, &orb, 0), ConditionCode::Busy);
    machine.step_channel(at(200));
    assert_eq!(start(&machine, &orb, 200), ConditionCode::Status);
    machine.with_subsystem(|subsystem| {
        assert_eq!(subsystem.test(SUBCHANNEL).0, ConditionCode::Done);
        assert_eq!(subsystem.test(SUBCHANNEL).0, ConditionCode::Status);
        let other = SubchannelNumber::new(0x11);
        assert_eq!(subsystem.test(other).0, ConditionCode::NotOperational);
        subsystem.detach(SLOT).unwrap();
    });
    assert_eq!(start(&machine, &orb, 200), ConditionCode::NotOperational);
}

#[test]
fn wrong_program_ends_with_a_check_and_sense() {
    let disk = Arc::new(Disk::new());
    let machine = machine(&disk);
    ready(&machine, 1);
    let end_of = |orb: &Orb| {
        assert_eq!(start(&machine, orb, 0), ConditionCode::Done);
        machine.step_channel(at(1000));
        status(&machine)
    };
    let rejected = end_of(&put_program(&machine, 0x55));
    assert!(rejected.device_status.contains(DeviceStatus::UNIT_CHECK));
    assert!(rejected.control.contains(ScswControl::ALERT_STATUS));
    machine.storage.store(0x1000, 0x0420_0020_0000_5000).unwrap();
    end_of(&Orb::of_program(0x1000, 0));
    assert_eq!(machine.storage.load(0x5000), Ok(0x80 << 56), "sense says command reject");

    let beyond = end_of(&Orb::of_program(0x0010_0000, 0));
    assert_eq!(beyond.subchannel_status, SubchannelStatus::PROGRAM_CHECK);
    let chain: Vec<u8> = 0x0360_0001_0000_0000_u64.to_be_bytes().repeat(1024);
    machine.storage.store_bytes(0x6000, &chain).unwrap();
    let endless = end_of(&Orb::of_program(0x6000, 0));
    assert_eq!(endless.subchannel_status, SubchannelStatus::PROGRAM_CHECK);
    let format_0 = Orb { flags: 0, ..Orb::of_program(0x1000, 0) };
    assert_eq!(end_of(&format_0).subchannel_status, SubchannelStatus::PROGRAM_CHECK);
    assert_eq!(disk.log(), []);
}

#[test]
fn device_refuses_the_lower_epoch_and_counts_it() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    let orb = put_program(&source, 0x01);
    start(&source, &orb, 0);
    ready(&target, 2);
    source.step_channel(at(200));
    assert!(status(&source).device_status.contains(DeviceStatus::UNIT_CHECK));
    assert_eq!((disk.log(), disk.fenced_count()), (vec![], 1));

    start(&target, &put_program(&target, 0x01), 300);
    target.step_channel(at(500));
    assert_eq!(disk.log().iter().map(|write| write.epoch).collect::<Vec<_>>(), [Epoch::new(2)]);
    let again = source.with_subsystem(|subsystem| subsystem.attach(SLOT, Epoch::new(1)));
    assert_eq!(again, Err(ChannelError::Fenced));
}

#[test]
fn held_start_moves_and_is_carried_out_once_on_the_target() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    ready(&target, 1);
    source.with_subsystem(|subsystem| subsystem.hold(SLOT)).unwrap();
    assert_eq!(start(&source, &put_program(&source, 0x01), 0), ConditionCode::Done);
    assert_eq!(source.step_channel(at(1000)), None);
    assert!(quiet(&source));

    target.with_subsystem(|subsystem| subsystem.detach(SLOT)).unwrap();
    put_program(&target, 0x01);
    let image = image(&source);
    target.with_subsystem(|subsystem| subsystem.restore(SLOT, &image)).unwrap();
    assert_eq!(target.step_channel(at(2000)), None, "not attached yet");
    target.with_subsystem(|subsystem| subsystem.attach(SLOT, Epoch::new(2))).unwrap();
    assert_eq!(target.step_channel(at(2000)), Some(at(2200)));
    assert_eq!(target.step_channel(at(2200)), None);
    assert_eq!(target.step_channel(at(9000)), None);
    assert_eq!(disk.log().len(), 1);
    assert_eq!(status(&target).control.bits(), 0x4007);
}

#[test]
fn held_start_is_carried_out_on_the_source_after_release_or_attach() {
    let release = |subsystem: &mut Subsystem| subsystem.release(SLOT);
    let attach = |subsystem: &mut Subsystem| subsystem.attach(SLOT, Epoch::new(1));
    for give_back in [release, attach] {
        let disk = Arc::new(Disk::new());
        let source = machine(&disk);
        ready(&source, 1);
        source.with_subsystem(|subsystem| subsystem.hold(SLOT)).unwrap();
        start(&source, &put_program(&source, 0x01), 0);
        source.with_subsystem(give_back).unwrap();
        assert_eq!(source.step_channel(at(500)), Some(at(700)));
        source.step_channel(at(700));
        assert_eq!(disk.log().len(), 1);
    }
}

#[test]
fn subchannel_number_of_another_slot_is_refused_and_a_new_one_is_taken() {
    let mut one = attached(Arc::new(Disk::new()));
    let mut other = attached(Arc::new(Disk::new()));
    one.descriptor.subchannel = SubchannelNumber::new(1);
    other.descriptor.subchannel = SubchannelNumber::new(2);
    let mut subsystem = Subsystem::new(VmName::new("VM12PROD").unwrap(), vec![one, other]);
    let image =
        |number| SubchannelImage::idle(SubchannelNumber::new(number), DeviceNumber::new(0x9920));
    assert_eq!(subsystem.restore(SLOT, &image(2)), Err(ChannelError::OtherDevice));
    assert_eq!(subsystem.restore(SLOT, &image(3)), Ok(()));
    let known = [1, 2, 3].map(|number| subsystem.store(SubchannelNumber::new(number)).is_some());
    assert_eq!(known, [false, true, true]);
}

#[test]
fn detached_device_is_never_reached_by_what_was_in_flight() {
    let disk = Arc::new(Disk::new());
    let machine = machine(&disk);
    ready(&machine, 1);
    start(&machine, &put_program(&machine, 0x01), 0);
    machine.with_subsystem(|subsystem| subsystem.detach(SLOT)).unwrap();
    assert_eq!(machine.step_channel(at(1000)), None);
    assert_eq!(disk.log(), []);
}

#[test]
fn image_in_flight_or_of_another_device_is_refused() {
    let disk = Arc::new(Disk::new());
    let (source, target) = (machine(&disk), machine(&disk));
    ready(&source, 1);
    start(&source, &put_program(&source, 0x01), 0);
    let flying = image(&source);
    let other = SubchannelImage::idle(SUBCHANNEL, DeviceNumber::new(1));
    target.with_subsystem(|subsystem| {
        assert_eq!(subsystem.restore(SLOT, &flying), Err(ChannelError::NotMovable));
        assert_eq!(subsystem.restore(SLOT, &other), Err(ChannelError::OtherDevice));
        assert_eq!(subsystem.hold(DeviceSlot::new(1)), Err(ChannelError::NoSuchSlot));
    });
}

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl LineSink for Lines {
    fn line(&self, text: &str) {
        lock(&self.0).push(text.to_owned());
    }
}

fn access(epoch: u64) -> Access {
    Access::new(VmName::new("VM12PROD").unwrap(), Epoch::new(epoch), Path::default())
}

/// The first sense bytes of a command that ended with unit check.
fn refusal(outcome: Outcome) -> Option<[u8; 2]> {
    let Outcome::Ended(ending) = outcome else {
        return None;
    };
    let refused = ending.status.contains(DeviceStatus::UNIT_CHECK);
    refused.then_some([ending.sense[0], ending.sense[1]])
}

#[test]
fn console_shows_lines_and_lan_sends_frames_of_the_attached_copy_alone() {
    let lines = Arc::new(Lines::default());
    let mac = [2, 0, 0, 0, 0, 1];
    let (console, lan) = (Console::new(lines.clone()), Lan::new(mac, &Switch::new()));
    let write = |device: &dyn Device, epoch, text: &[u8]| {
        device.execute(&mut access(epoch), command::WRITE, &mut Buffer::output(text))
    };
    let shown =
        console.execute(&mut access(2), WRITE_LINE, &mut Buffer::output(&ebcdic::encode("READY")));
    assert_eq!(shown, Outcome::NORMAL);
    assert_eq!(refusal(write(&console, 1, b"GHOST")), Some(Refusal::Fenced.sense()));
    assert_eq!(*lock(&lines.0), ["READY"]);
    let address = [10, 0, 0, 2];
    let here = Frame::gratuitous_arp(mac, address).to_bytes();
    assert_eq!(write(&lan, 2, &here), Outcome::NORMAL);
    assert_eq!(refusal(write(&lan, 1, b"GHOST")), Some(Refusal::Fenced.sense()));
    assert_eq!(lan.announcements(), [(mac, address)]);
    assert_eq!((lan.counts().sent, lan.counts().sent_bytes), (1, 42));
}

#[test]
fn disk_reads_back_what_was_written_and_zeros_elsewhere() {
    let disk = Disk::new();
    let mut access = access(1);
    let mut execute = |code, data: &mut Buffer| disk.execute(&mut access, code, data);
    let block = Buffer::output;
    let rejected = Some(Refusal::CommandReject.sense());
    assert_eq!(refusal(execute(command::WRITE, &mut block(&[1]))), rejected, "none selected");
    execute(command::CONTROL, &mut block(&9_u32.to_be_bytes()));
    assert_eq!(execute(command::WRITE, &mut block(&[7; 4096])), Outcome::NORMAL);
    assert_eq!(refusal(execute(command::WRITE, &mut block(&[7; 4097]))), rejected);
    assert_eq!(refusal(execute(0x55, &mut block(&[]))), rejected);
    let mut read = Buffer::input(4096);
    assert_eq!(execute(command::READ, &mut read), Outcome::NORMAL, "the block behind");
    assert_eq!(read.given(), [0; 4096]);
    execute(command::CONTROL, &mut block(&9_u32.to_be_bytes()));
    let mut read = Buffer::input(5000);
    execute(command::READ, &mut read);
    assert_eq!(read.given(), [7; 4096]);
    assert_eq!(disk.log().len(), 1);
}

#[test]
fn sense_id_tells_the_kind_of_device() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    machine.storage.store(0x1000, 0xE420_0020_0000_5000).unwrap();
    start(&machine, &Orb::of_program(0x1000, 0), 0);
    machine.step_channel(at(200));
    assert_eq!(machine.storage.load(0x5000), Ok(0xFF63_1080_9336_1000));
    assert_eq!(status(&machine).residual_count, 25);
}
