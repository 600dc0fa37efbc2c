//! The ports over a machine: what fails without one, and which completions come.
//!
//! Source of truth: `monitor_core::ports`.

use super::*;

fn ports(disk: &Arc<Disk>) -> (VmPorts, Arc<Machine>) {
    let machine = Arc::new(machine(disk));
    ready(&machine, 1);
    let mut ports = VmPorts::new();
    ports.install(machine.clone());
    (ports, machine)
}

#[test]
fn ports_without_a_machine_are_not_ready() {
    let mut ports = VmPorts::new();
    assert_eq!(ports.start_stop().map_err(|failure| failure.kind), Err(ErrorKind::NotReady));
    let told = ports.start_tell(GuestEvent::Moved);
    assert_eq!(told.map_err(|failure| failure.kind), Err(ErrorKind::NotReady));
    assert_eq!((ports.processor_count(), ports.page_count().get()), (0, 0));
    assert_eq!(ports.poll_completion(), None);
}

#[test]
fn quiesce_ends_when_the_io_in_flight_has_ended() {
    let (mut ports, machine) = ports(&Arc::new(Disk::new()));
    let orb = put_program(&machine, 0x01);
    start(&machine, &orb, 0);
    ports.set_now(at(100));
    ports.start_quiesce(SLOT).unwrap();
    assert_eq!(ports.poll_completion(), None);
    ports.set_now(at(200));
    let done = Completion::Done(Operation::QuiesceDevice(SLOT));
    assert_eq!(ports.poll_completion(), Some(done));
    assert_eq!(ports.poll_completion(), None);
    status(&machine);
    start(&machine, &orb, 300);
    assert_eq!(machine.step_channel(at(1000)), None, "a new start is held");
}

#[test]
fn quiesce_that_cannot_end_is_completed_as_failed() {
    for attach in [true, false] {
        let (mut ports, machine) = ports(&Arc::new(Disk::new()));
        start(&machine, &put_program(&machine, 0x01), 0);
        ports.start_quiesce(SLOT).unwrap();
        let mut expected = vec![];
        let kind = if attach {
            ports.start_attach(SLOT, Epoch::new(1)).unwrap();
            expected.push(Completion::Done(Operation::AttachDevice(SLOT)));
            ErrorKind::Refused
        } else {
            ports.remove();
            ErrorKind::NotReady
        };
        expected.insert(0, Completion::Failed(Operation::QuiesceDevice(SLOT), kind));
        let completions: Vec<_> = std::iter::from_fn(|| ports.poll_completion()).collect();
        assert_eq!(completions, expected);
    }
}

#[test]
fn processors_stop_and_resume_and_take_images_only_while_stopped() {
    let (mut ports, machine) = ports(&Arc::new(Disk::new()));
    ports.set_now(at(5));
    ports.start_resume().unwrap();
    assert!(machine.is_running());
    let image = state(&machine);
    let running = ports.restore(PROCESSOR, &image).map_err(|failure| failure.kind);
    assert_eq!(running, Err(ErrorKind::NotReady));
    ports.start_stop().unwrap();
    assert!(!machine.is_running());
    assert_eq!(ports.restore(PROCESSOR, &image), Ok(()));
    let beyond = ports.restore(ProcessorIndex::new(2), &image).map_err(|failure| failure.kind);
    assert_eq!(beyond, Err(ErrorKind::OutOfRange));
    assert_eq!(ports.poll_completion(), Some(Completion::Done(Operation::ResumeProcessors)));
    assert_eq!(ports.poll_completion(), Some(Completion::Done(Operation::StopProcessors)));
}

#[test]
fn device_is_assigned_only_if_it_is_the_same_one() {
    let (mut ports, machine) = ports(&Arc::new(Disk::new()));
    let mut descriptor = descriptor();
    ports.start_assign(SLOT, &descriptor).unwrap();
    assert_eq!(ports.poll_completion(), Some(Completion::Done(Operation::AssignDevice(SLOT))));
    descriptor.identity = 8;
    let other = ports.start_assign(SLOT, &descriptor).map_err(|failure| failure.kind);
    assert_eq!(other, Err(ErrorKind::Refused));
    ports.start_remove(SLOT).unwrap();
    assert_eq!(ports.poll_completion(), Some(Completion::Done(Operation::RemoveDevice(SLOT))));
    let orb = put_program(&machine, 0x01);
    assert_eq!(start(&machine, &orb, 0), ConditionCode::NotOperational);
}

#[test]
fn start_that_was_carried_over_begins_with_the_guest_and_not_with_the_device() {
    let disk = Arc::new(Disk::new());
    let source = machine(&disk);
    ready(&source, 1);
    source.with_subsystem(|subsystem| subsystem.hold(SLOT)).unwrap();
    start(&source, &put_program(&source, 0x01), 0);
    let (mut ports, target) = ports(&disk);
    target.with_subsystem(|subsystem| subsystem.detach(SLOT)).unwrap();
    put_program(&target, 0x01);
    ports.restore_subchannel(SLOT, &image(&source)).unwrap();
    ports.start_attach(SLOT, Epoch::new(2)).unwrap();
    assert_eq!(target.step_channel(at(1000)), None);
    assert_eq!(image(&target), image(&source));
    ports.set_now(at(2000));
    ports.start_resume().unwrap();
    target.step_channel(at(2000));
    target.step_channel(at(2200));
    assert_eq!(disk.log().iter().map(|write| write.epoch).collect::<Vec<_>>(), [Epoch::new(2)]);
}

#[test]
fn attach_of_a_fenced_copy_is_refused() {
    let disk = Arc::new(Disk::new());
    let (mut ports, _source) = ports(&disk);
    let target = machine(&disk);
    ready(&target, 2);
    let fenced = ports.start_attach(SLOT, Epoch::new(1)).map_err(|failure| failure.kind);
    assert_eq!(fenced, Err(ErrorKind::Refused));
    assert_eq!(ports.poll_completion(), None);
}
