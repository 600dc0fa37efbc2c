//! Channel programs on devices that wait for somebody else: a line of the network, the other side
//! of an adapter, the operator.
//!
//! Source of truth: the heads of the devices. Invariant: what is asserted went through a channel
//! subsystem, as a guest would see it. Deliberately not here: what the devices do by themselves.

use super::*;
use monitor_core::channel::Scsw;

/// A channel subsystem with one device, which is attached under `epoch` and enabled.
pub(super) struct System {
    pub(super) subsystem: Subsystem,
    pub(super) storage: Storage,
    now: u64,
}

impl System {
    pub(super) fn new(device: Arc<dyn Device>, epoch: u64) -> Self {
        let name = VmName::new("VM12PROD").unwrap();
        let mut subsystem = Subsystem::new(name, vec![attached(device)]);
        subsystem.attach(SLOT, Epoch::new(epoch)).unwrap();
        assert_eq!(enable(&mut subsystem, true), ConditionCode::Done);
        Self { subsystem, storage: Storage::new(PageCount::new(16)), now: 0 }
    }

    /// Starts one command with the area at 0x5000.
    pub(super) fn start(&mut self, code: u8, flags: u8, count: u16) {
        let word = u64::from(code) << 56 | u64::from(flags) << 48 | u64::from(count) << 32 | 0x5000;
        self.storage.store(0x1000, word).unwrap();
        let orb = Orb::of_program(0x1000, PARAMETER);
        let condition = self.subsystem.start(SUBCHANNEL, &orb, at(self.now));
        assert_eq!(condition, Ok(ConditionCode::Done));
    }

    pub(super) fn step(&mut self) {
        self.now += 100;
        self.subsystem.step(at(self.now), &self.storage);
    }

    /// The status, if there is one.
    pub(super) fn status(&mut self) -> Option<Scsw> {
        let (condition, irb) = self.subsystem.test(SUBCHANNEL);
        (condition == ConditionCode::Done).then_some(irb.scsw)
    }

    pub(super) fn area(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.storage.load_bytes(0x5000, &mut bytes).unwrap();
        bytes
    }
}

/// Suppress length indication.
const SUPPRESS: u8 = 0x20;

const ENDED: DeviceStatus = DeviceStatus::CHANNEL_END.union(DeviceStatus::DEVICE_END);

#[test]
fn read_that_waits_for_a_frame_begins_anew_at_the_adapter_of_the_target() {
    let switch = Switch::new();
    let macs: [MacAddress; 3] = [[2, 0, 0, 0, 5, 1], [2, 0, 0, 0, 7, 1], [2, 0, 0, 0, 9, 1]];
    let [here, there] = [macs[0], macs[1]].map(|mac| Arc::new(Lan::new(mac, &switch)));
    let peer = switch.plug(macs[2]);
    let mut source = System::new(here, 1);
    source.start(command::READ, SUPPRESS, 256);
    (0..10).for_each(|_| source.step());
    assert_eq!(source.status(), None);
    assert!(!source.subsystem.quiet(SLOT));

    source.subsystem.hold(SLOT).unwrap();
    source.step();
    assert!(source.subsystem.quiet(SLOT), "nothing was transferred, so it can begin anew");
    source.subsystem.detach(SLOT).unwrap();
    let mut image = SubchannelImage::idle(SUBCHANNEL, DeviceNumber::new(0));
    source.subsystem.capture(SLOT, &mut image).unwrap();
    assert!(image.is_movable());

    let mut target = System::new(there, 1);
    target.subsystem.detach(SLOT).unwrap();
    target.subsystem.restore(SLOT, &image).unwrap();
    let program = source.storage.load(0x1000).unwrap();
    target.storage.store(0x1000, program).unwrap();
    target.subsystem.attach(SLOT, Epoch::new(2)).unwrap();
    target.step();
    let frame = |target| Frame { target, source: [0; 6], kind: TYPE_LOCAL, payload: vec![7; 46] };
    peer.send(frame(macs[0]));
    (0..5).for_each(|_| target.step());
    assert_eq!(target.status(), None, "the frame went to the adapter that was left");
    peer.send(frame(macs[1]));
    (0..5).for_each(|_| target.step());
    let status = target.status().unwrap();
    assert_eq!((status.device_status, status.residual_count), (ENDED, 256 - 60));
    assert_eq!(target.area(6), macs[1]);
}

/// Two sides of an adapter, of which one writes and the other one reads so many bytes; their
/// status and what was read.
fn across(written: u16, room: u16, flags: u8) -> (Scsw, Scsw, Vec<u8>) {
    let (here, there) = Ctc::pair();
    let (mut writes, mut reads) = (System::new(here, 1), System::new(there, 1));
    let bytes: Vec<u8> = (0..written).map(|number| number as u8 | 1).collect();
    writes.storage.store_bytes(0x5000, &bytes).unwrap();
    writes.start(command::WRITE, flags, written);
    (0..3).for_each(|_| writes.step());
    reads.step();
    let called = reads.status().unwrap();
    assert_eq!(called.device_status, DeviceStatus::ATTENTION);
    reads.start(command::READ, flags, room);
    for _ in 0..20 {
        writes.step();
        reads.step();
    }
    let (sent, taken) = (writes.status().unwrap(), reads.status().unwrap());
    (sent, taken, reads.area(usize::from(room)))
}

#[test]
fn residual_counts_tell_what_an_adapter_has_not_transferred() {
    for (written, room) in [(100, 100), (100, 4096), (4096, 100)] {
        let (sent, taken, area) = across(written, room, SUPPRESS);
        let moved = written.min(room);
        assert_eq!((sent.device_status, taken.device_status), (ENDED, ENDED));
        assert_eq!(sent.residual_count, written - moved, "{written} to {room}");
        assert_eq!(taken.residual_count, room - moved, "{written} to {room}");
        let count = area.iter().filter(|byte| **byte != 0).count();
        assert_eq!(count, usize::from(moved));
    }
}

#[test]
fn length_that_does_not_fit_the_other_side_is_incorrect_unless_that_is_suppressed() {
    let is_incorrect =
        |status: Scsw| status.subchannel_status == SubchannelStatus::INCORRECT_LENGTH;
    for (written, room, wrong) in
        [(100, 100, [false, false]), (100, 4096, [false, true]), (4096, 100, [true, false])]
    {
        let (sent, taken, _) = across(written, room, 0);
        assert_eq!([is_incorrect(sent), is_incorrect(taken)], wrong, "{written} to {room}");
    }
}

#[test]
fn adapter_whose_other_side_is_gone_ends_with_unit_check_and_sense() {
    let (here, there) = Ctc::pair();
    let mut system = System::new(here, 1);
    let other = System::new(Arc::<Ctc>::clone(&there), 1);
    system.start(command::WRITE, SUPPRESS, 16);
    (0..3).for_each(|_| system.step());
    assert_eq!(system.status(), None);
    there.disconnect();
    (0..5).for_each(|_| system.step());
    let status = system.status().unwrap();
    assert!(status.device_status.contains(DeviceStatus::UNIT_CHECK), "{status:?}");
    system.start(command::SENSE, SUPPRESS, 32);
    (0..5).for_each(|_| system.step());
    assert_eq!(system.area(2), [0x40, 0x00]);
    drop(other);
}

#[test]
fn halted_write_has_given_nothing_to_the_other_side() {
    let (here, there) = Ctc::pair();
    let (mut writes, mut reads) = (System::new(here, 1), System::new(there, 1));
    writes.start(command::WRITE, SUPPRESS, 16);
    (0..3).for_each(|_| writes.step());
    assert_eq!(writes.subsystem.halt(SUBCHANNEL), ConditionCode::Done);
    writes.step();
    assert!(writes.status().is_some());
    // What called is gone before the other side has looked.
    reads.step();
    assert_eq!(reads.status(), None);
}

#[derive(Debug)]
struct Nowhere;

impl LineSink for Nowhere {
    fn line(&self, _text: &str) {}
}

#[test]
fn inquiry_waits_for_a_line_of_the_operator_who_calls_by_attention() {
    let console = Arc::new(Console::new(Arc::new(Nowhere)));
    let mut system = System::new(Arc::<Console>::clone(&console), 1);
    assert!(console.enter("SHOW-VM"));
    system.step();
    assert_eq!(system.status().unwrap().device_status, DeviceStatus::ATTENTION);
    system.start(READ_INQUIRY, SUPPRESS, 80);
    (0..5).for_each(|_| system.step());
    let status = system.status().unwrap();
    assert_eq!((status.device_status, status.residual_count), (ENDED, 73));
    assert_eq!(ebcdic::decode(&system.area(7)), "SHOW-VM");

    system.start(READ_INQUIRY, SUPPRESS, 80);
    (0..5).for_each(|_| system.step());
    assert_eq!(system.status(), None);
    assert!(console.cancel_line());
    (0..5).for_each(|_| system.step());
    let canceled = ENDED | DeviceStatus::UNIT_EXCEPTION;
    assert_eq!(system.status().unwrap().device_status, canceled);
}
