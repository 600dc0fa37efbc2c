//! Processors that are not attached, and what the guest was given at its start.

use super::*;
use monitor_core::{
    memory::{PageState, StateOrder},
    units::PageNumber,
    vm::{Facility, FacilityList, ProcessorSet, ProcessorStanding, Processors},
};

const SECOND: ProcessorIndex = ProcessorIndex::new(1);

fn block() -> VmBlock {
    let (index, name) = (VmIndex::new(12).unwrap(), VmName::new("VM12PROD").unwrap());
    VmBlock::new(index, name, PageCount::new(16), 2).unwrap()
}

fn machine_of(
    block: VmBlock,
    program: impl Fn(&mut Context<'_>, u32) -> Result<Step, Exception> + Send + Sync + 'static,
) -> Machine {
    let configuration = ConfigurationName::new("390SU- 500-10B").unwrap();
    let machine = Machine::new(&block, configuration, Arc::new(Code(program)), Vec::new());
    let mut image = ProcessorImage::initial();
    image.state = CpuState::Operating;
    for index in [PROCESSOR, SECOND] {
        machine.restore(index, &image).unwrap();
    }
    machine
}

fn blocked() -> VmBlock {
    let narrow = block().processors().fitted(1).unwrap();
    block().with_processors(narrow).unwrap()
}

fn steps(machine: &Machine, index: ProcessorIndex) -> u64 {
    let mut image = ProcessorImage::initial();
    machine.capture(index, &mut image).unwrap();
    image.general[1]
}

#[test]
fn a_blocked_processor_does_nothing_and_keeps_what_it_has() {
    let machine = machine_of(blocked(), count);
    let mut image = ProcessorImage::initial();
    image.state = CpuState::Operating;
    (image.general[1], image.emergency_signals, image.restart_pending) = (7, 1, true);
    machine.restore(SECOND, &image).unwrap();
    machine.resume(at(0));
    assert!(machine.step_processor(0, at(1), 1).is_some());
    assert_eq!(machine.step_processor(1, at(1), 1), None);
    let mut kept = ProcessorImage::initial();
    machine.capture(SECOND, &mut kept).unwrap();
    assert_eq!(kept, image);
    assert_eq!(steps(&machine, PROCESSOR), 1);
}

#[test]
fn the_guest_sees_which_processors_are_operational_and_which_it_will_lose() {
    let machine = machine_of(block(), |context, _| {
        context.state.general[1] = context.operational_processors()?.bits();
        context.state.general[2] = context.departing_processors()?.bits();
        Ok(Step::default())
    });
    machine.resume(at(0));
    machine.foretell(ProcessorSet::of(SECOND));
    machine.step_processor(0, at(1), 1);
    let seen = state(&machine).general;
    assert_eq!((seen[1], seen[2]), (0b11, 0b10));
    machine.thaw();
    machine.step_processor(0, at(2), 1);
    assert_eq!(state(&machine).general[2], 0);
}

/// A guest whose processor 0 detaches (register 3 is 1) or attaches (2) the other one.
fn configurable(block: VmBlock) -> Machine {
    machine_of(block, |context, _| {
        if context.processor == 0 {
            context.state.general[4] = u64::from(match context.state.general[3] {
                1 => context.detach_processor(SECOND)?,
                2 => context.attach_processor(SECOND)?,
                _ => context.detach_processor(PROCESSOR)?,
            });
        }
        count(context, 1)
    })
}

fn order(machine: &Machine, order: u64) -> bool {
    let mut image = state(machine);
    image.general[3] = order;
    machine.restore(PROCESSOR, &image).unwrap();
    machine.step_processor(0, at(1), 1);
    state(machine).general[4] == 1
}

#[test]
fn the_guest_detaches_and_attaches_a_processor_but_not_in_the_course_of_a_move() {
    let machine = configurable(block());
    machine.set_pool(2);
    machine.resume(at(0));
    assert!(order(&machine, 1));
    assert_eq!(machine.processors().standing(SECOND), Some(ProcessorStanding::DetachedByGuest));
    assert_eq!(machine.step_processor(1, at(1), 1), None);
    let announced = machine.frozen(block());
    assert_eq!(announced.processors().detached(), ProcessorSet::of(SECOND));
    assert!(!order(&machine, 2));
    machine.thaw();
    assert!(order(&machine, 2));
    assert!(machine.step_processor(1, at(1), 1).is_some());
    assert!(!order(&machine, 2) && !order(&machine, 0));
}

#[test]
fn a_detached_processor_comes_back_only_where_there_is_one_for_it() {
    let set = ProcessorSet::EMPTY;
    let detached = Processors::standing_so(2, ProcessorSet::of(SECOND), set).unwrap();
    let machine = configurable(block().with_processors(detached).unwrap());
    machine.resume(at(0));
    machine.set_pool(1);
    assert!(!order(&machine, 2));
    machine.set_pool(2);
    assert!(order(&machine, 2));
}

#[test]
fn a_blocked_processor_is_not_for_the_guest_to_attach() {
    let machine = configurable(blocked());
    machine.resume(at(0));
    assert!(!order(&machine, 2) && !order(&machine, 1));
    assert_eq!(machine.processors().standing(SECOND), Some(ProcessorStanding::Blocked));
}

#[test]
fn the_guest_sees_the_facilities_and_the_cpu_id_of_its_start() {
    // Page states have no bit that a guest could see.
    let given = FacilityList::of(&[Facility::VECTOR, Facility::PAGE_STATES]);
    let vm = block().with_facilities(given).with_cpu_id(0xFF00_0001_2827_0000);
    let machine = machine_of(vm, |context, _| {
        context.state.general[1] = context.store_facility_list().words()[2];
        context.state.general[2] = context.store_cpu_id()?;
        context.state.general[3] = context.store_facility_list().words()[3];
        Ok(Step::default())
    });
    machine.resume(at(0));
    machine.step_processor(0, at(1), 1);
    let seen = state(&machine).general;
    assert_eq!((seen[1], seen[2], seen[3]), (1 << 62, 0xFF00_0001_2827_0000, 0));
}

#[test]
fn a_guest_that_was_not_given_page_states_cannot_change_any() {
    for (given, found) in [
        (FacilityList::EMPTY, Err(Exception::Operation)),
        (FacilityList::of(&[Facility::PAGE_STATES]), Ok(PageState::Stable)),
    ] {
        let machine = machine_of(block().with_facilities(given), move |context, _| {
            assert_eq!(context.set_page_state(0x5000, StateOrder::SetUnused), found);
            context.state.general[1] = 1;
            Ok(Step::default())
        });
        machine.resume(at(0));
        machine.step_processor(0, at(1), 1);
        assert_eq!(state(&machine).general[1], 1);
        let now = machine.storage.state(PageNumber::new(5));
        assert_eq!(now == PageState::Stable, found.is_err());
    }
}

#[test]
fn state_of_a_facility_that_the_vm_lacks_is_not_loaded() {
    let vm = block().with_facilities(FacilityList::of(&[Facility::ETOKEN]));
    let mut ports = VmPorts::new();
    ports.install(Arc::new(machine_of(vm, count)));
    let mut image = ProcessorImage::initial();
    image.etoken = [1, 2];
    assert_eq!(ports.restore(PROCESSOR, &image), Ok(()));
    image.guarded_storage[1] = 1;
    let refused = ports.restore(PROCESSOR, &image).map_err(|failure| failure.kind);
    assert_eq!(refused, Err(ErrorKind::Refused));
}
