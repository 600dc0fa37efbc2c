//! What processors do to one another.
//!
//! Source of truth: the head of `signals`; Principles of Operation, "Signal Processor".

use super::*;
use crate::machine::{order, status};
use monitor_core::processor::STATUS_BYTES;

const OTHER: ProcessorIndex = ProcessorIndex::new(1);

/// A machine whose processor 1 has these registers, and a prefix of its own.
fn pair(image: &ProcessorImage) -> Machine {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    for (new, address) in [(0x1A0, 0x3000), (0x1B0, 0x3100_u64)] {
        machine.storage.store(0x2000 + new, 0x0000_0001_8000_0000).unwrap();
        machine.storage.store(0x2000 + new + 8, address).unwrap();
    }
    let image = ProcessorImage { prefix: 0x2000, ..image.clone() };
    machine.restore(OTHER, &image).unwrap();
    machine.resume(at(0));
    machine
}

/// Registers of a processor that is open to emergency signals and external calls.
fn open() -> ProcessorImage {
    let mut image = ProcessorImage::initial();
    image.state = CpuState::Operating;
    image.psw = Psw::new(IO_AND_EXTERNAL, 0x2000);
    image.control[0] |= 0x6000;
    image
}

fn stopped() -> ProcessorImage {
    ProcessorImage { state: CpuState::Stopped, ..open() }
}

fn other(machine: &Machine) -> ProcessorImage {
    let mut image = ProcessorImage::initial();
    machine.capture(OTHER, &mut image).unwrap();
    image
}

fn signal(machine: &Machine, code: u8, parameter: u64) -> Signaled {
    machine.signal(0, 1, code, parameter)
}

fn step(machine: &Machine, now: u64) -> Step {
    machine.step_processor(1, at(now), 1).unwrap()
}

#[test]
fn emergency_signal_comes_before_external_call_and_each_tells_its_sender() {
    let machine = pair(&open());
    assert_eq!(signal(&machine, order::EXTERNAL_CALL, 0), Signaled::Accepted);
    assert_eq!(machine.signal(1, 1, order::EMERGENCY_SIGNAL, 0), Signaled::Accepted);
    assert_eq!(signal(&machine, order::EMERGENCY_SIGNAL, 0), Signaled::Accepted);
    assert_eq!(signal(&machine, order::EMERGENCY_SIGNAL, 0), Signaled::Accepted, "merged");
    assert_eq!((other(&machine).external_call, other(&machine).emergency_signals), (Some(0), 3));
    let mut taken = Vec::new();
    for now in 1..6 {
        step(&machine, now);
        let mut image = other(&machine);
        if image.psw.address == 0x3100 {
            taken.push(machine.storage.load(0x2080).unwrap());
            image.psw = open().psw;
            machine.restore(OTHER, &image).unwrap();
        }
    }
    assert_eq!(taken, [0x0000_1201, 0x0001_1201, 0x0000_1202]);
}

#[test]
fn second_external_call_is_refused_with_its_status() {
    let machine = pair(&open());
    assert_eq!(signal(&machine, order::EXTERNAL_CALL, 0), Signaled::Accepted);
    let pending = Signaled::Status(status::CALL_PENDING);
    assert_eq!(signal(&machine, order::EXTERNAL_CALL, 0), pending);
    assert_eq!(signal(&machine, order::SENSE, 0), pending);
    step(&machine, 1);
    assert_eq!(signal(&machine, order::SENSE, 0), Signaled::Accepted);
}

#[test]
fn sense_tells_stopped_and_check_stopped_processors() {
    let rows = [
        (CpuState::Operating, Signaled::Accepted, Signaled::Accepted),
        (
            CpuState::Stopped,
            Signaled::Status(status::STOPPED),
            Signaled::Status(status::NOT_RUNNING),
        ),
        (
            CpuState::CheckStop,
            Signaled::Status(status::CHECK_STOP),
            Signaled::Status(status::CHECK_STOP),
        ),
    ];
    for (state, sensed, running) in rows {
        let machine = pair(&ProcessorImage { state, ..open() });
        assert_eq!(signal(&machine, order::SENSE, 0), sensed, "{state:?}");
        assert_eq!(signal(&machine, order::SENSE_RUNNING, 0), running, "{state:?}");
    }
    let machine = pair(&open());
    assert_eq!(machine.signal(0, 2, order::SENSE, 0), Signaled::NotOperational);
    assert_eq!(signal(&machine, 0x7F, 0), Signaled::Status(status::INVALID_ORDER));
}

#[test]
fn order_in_progress_makes_the_processor_busy_and_is_state() {
    let machine = pair(&open());
    assert_eq!(signal(&machine, order::STOP, 0), Signaled::Accepted);
    assert_eq!(signal(&machine, order::SENSE, 0), Signaled::Busy);
    let image = other(&machine);
    assert_eq!((image.sigp_order, image.state), (order::STOP, CpuState::Operating));
    let target = pair(&image);
    assert_eq!(signal(&target, order::SENSE, 0), Signaled::Busy);
    step(&target, 1);
    assert_eq!((other(&target).sigp_order, other(&target).state), (0, CpuState::Stopped));
    assert_eq!(signal(&target, order::SENSE, 0), Signaled::Status(status::STOPPED));
}

#[test]
fn stopped_processor_starts_where_it_was() {
    let machine = pair(&stopped());
    step(&machine, 1);
    assert_eq!(other(&machine).general[1], 0);
    assert_eq!(signal(&machine, order::START, 0), Signaled::Accepted);
    step(&machine, 500);
    let image = other(&machine);
    assert_eq!(
        (image.state, image.psw.address, image.general[1]),
        (CpuState::Operating, 0x2000, 1)
    );
    assert_eq!(image.cpu_timer, 0, "its timer begins with it");
}

#[test]
fn admitted_interruptions_are_taken_before_a_stop() {
    let machine = pair(&open());
    signal(&machine, order::EXTERNAL_CALL, 0);
    signal(&machine, order::STOP, 0);
    step(&machine, 1);
    let image = other(&machine);
    assert_eq!((image.state, image.psw.address), (CpuState::Stopped, 0x3100));
    assert_eq!(image.general[1], 0, "no program ran");
}

#[test]
fn restart_interrupts_an_operating_and_starts_a_stopped_processor() {
    for image in [open(), stopped()] {
        let machine = pair(&image);
        assert_eq!(signal(&machine, order::RESTART, 0), Signaled::Accepted);
        assert!(other(&machine).restart_pending);
        step(&machine, 1);
        let after = other(&machine);
        assert_eq!((after.state, after.psw.address), (CpuState::Operating, 0x3000));
        assert!(!after.restart_pending);
        assert_eq!(machine.storage.load(0x2128), Ok(0x2000), "the old PSW");
    }
}

#[test]
fn status_is_stored_at_its_place_and_at_an_address() {
    let machine = pair(&open());
    signal(&machine, order::STOP_AND_STORE_STATUS, 0);
    let busy = Signaled::Status(status::INCORRECT_STATE);
    step(&machine, 10);
    let mut expected = [0; STATUS_BYTES];
    other(&machine).store_status(&mut expected);
    let at = |address| {
        let mut found = [0; STATUS_BYTES];
        machine.storage.load_bytes(address, &mut found).unwrap();
        found
    };
    assert_eq!(at(0x1200), expected);
    assert_eq!(signal(&machine, order::STORE_STATUS, 0x5200), Signaled::Accepted);
    assert_eq!(at(0x5200), expected);
    let invalid = Signaled::Status(status::INVALID_PARAMETER);
    assert_eq!(signal(&machine, order::STORE_STATUS, 0x70_0000), invalid);
    machine.restore(OTHER, &open()).unwrap();
    assert_eq!(signal(&machine, order::STORE_STATUS, 0x5200), busy);
    assert_eq!(signal(&machine, order::SET_PREFIX, 0x4000), busy);
}

#[test]
fn stop_with_status_tells_the_architecture_at_its_absolute_place_and_marks_the_page() {
    for image in [open(), stopped()] {
        let machine = pair(&image);
        machine.storage.store(0xA0, u64::MAX).unwrap();
        machine.storage.store(0x20A0, u64::MAX).unwrap();
        machine.start_tracking();
        signal(&machine, order::STOP_AND_STORE_STATUS, 0);
        step(&machine, 10);
        assert_eq!(machine.storage.load(0xA0), Ok(0xFFFF_FF01_FFFF_FFFF));
        assert_eq!(machine.storage.load(0x20A0), Ok(u64::MAX), "no prefix applies");
        assert_eq!(marked_pages(&machine), [0, 1]);
        machine.storage.store(0xA0, u64::MAX).unwrap();
        assert_eq!(signal(&machine, order::STORE_STATUS, 0x5200), Signaled::Accepted);
        assert_eq!(machine.storage.load(0xA0), Ok(u64::MAX), "told with no address alone");
    }
}

#[test]
fn prefix_of_a_stopped_processor_is_set_if_there_is_storage_for_it() {
    let machine = pair(&stopped());
    assert_eq!(signal(&machine, order::SET_PREFIX, 0x4FFF), Signaled::Accepted);
    assert_eq!((other(&machine).prefix, other(&machine).sigp_order), (0x4000, 0), "at once");
    let invalid = Signaled::Status(status::INVALID_PARAMETER);
    assert_eq!(signal(&machine, order::SET_PREFIX, 0x70_0000), invalid);
    assert_eq!(other(&machine).prefix, 0x4000);
}

#[test]
fn resets_stop_and_clear_what_is_pending_and_only_the_initial_one_clears_registers() {
    for (code, cleared) in [(order::RESET, false), (order::INITIAL_RESET, true)] {
        let mut image = open();
        image.general[3] = 7;
        image.clock_comparator = 8;
        let machine = pair(&image);
        signal(&machine, order::EXTERNAL_CALL, 0);
        signal(&machine, order::EMERGENCY_SIGNAL, 0);
        signal(&machine, order::STOP, 0);
        assert_eq!(signal(&machine, code, 0), Signaled::Accepted, "also of a busy one");
        step(&machine, 1);
        let after = other(&machine);
        assert_eq!((after.state, after.sigp_order), (CpuState::Stopped, 0));
        assert_eq!((after.external_call, after.emergency_signals), (None, 0));
        assert_eq!((after.general[3], after.clock_comparator), (7, if cleared { 0 } else { 8 }));
        assert_eq!(after.psw == Psw::default(), cleared);
    }
}

#[test]
fn guest_code_signals_itself_and_sees_the_condition_code() {
    let code = |context: &mut Context<'_>| {
        let address = context.processor;
        let accepted = context.signal_processor(address, order::EXTERNAL_CALL, 0).unwrap();
        let refused = context.signal_processor(address, order::EXTERNAL_CALL, 0).unwrap();
        (accepted, refused, context.state.psw.condition_code(), context.has_to_return())
    };
    let (machine, found) = once(&open(), code);
    let refused = Signaled::Status(status::CALL_PENDING);
    assert_eq!(found, (Signaled::Accepted, refused, 1, true));
    assert_eq!(state(&machine).external_call, Some(0));
}
