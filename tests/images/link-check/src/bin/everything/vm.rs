//! Virtual machines: control blocks, states, findings, reasons, tables.
//!
//! Source of truth: `monitor_core::vm`. Deliberately not here: how calls are made.

use core::hint::black_box;

use link_check::{any, bytes, consume};
use monitor_core::vm::{
    Activity, BlockError, Facility, FacilityList, Finding, Findings, MachineImage, Obstacle,
    Ownership, Privileges, ProcessorSet, Processors, Reason, SharedVmTable, StandingError,
    StateError, TableError, VmBlock, VmState, VmTable,
};

use crate::calls::{calls, flags, operators, shows};

pub(crate) fn calls() {
    block();
    facilities();
    processors();
    state();
    findings();
    ownership();
    machine();
    tables();
    flags!(Privileges);
    operators!(Privileges);
}

fn machine() {
    let mut buffer: [u8; 64] = any();
    calls! {
        MachineImage::initial();
        MachineImage::emit(&any(), &mut buffer[..]);
        MachineImage::parse(bytes());
    }
}

fn ownership() {
    calls! {
        Ownership::running(any(), any());
        Ownership::claimed(any(), any());
        Ownership::at(any(), any());
    }
}

fn block() {
    calls! {
        VmBlock::new(any(), any(), any(), any());
        VmBlock::with_processors(any(), any());
        VmBlock::with_facilities(any(), any());
        VmBlock::with_cpu_id(any(), any());
        VmBlock::with_cpu_quota_hundredths(any(), any());
        VmBlock::with_cpu_limit_hundredths(any(), any());
        VmBlock::with_group(any(), any());
        VmBlock::with_privileges(any(), any());
        VmBlock::with_initial_configuration(any(), any());
        VmBlock::with_migration_count(any(), any());
        VmBlock::with_state(any(), any());
        VmBlock::index(&any());
        VmBlock::name(&any());
        VmBlock::memory(&any());
        VmBlock::processor_count(&any());
        VmBlock::processors(&any());
        VmBlock::facilities(&any());
        VmBlock::cpu_id(&any());
        VmBlock::cpu_quota_hundredths(&any());
        VmBlock::cpu_limit_hundredths(&any());
        VmBlock::group(&any());
        VmBlock::privileges(&any());
        VmBlock::initial_configuration(&any());
        VmBlock::migration_count(&any());
        VmBlock::state(&any());
    }
    shows!(BlockError);
}

fn facilities() {
    let list: FacilityList = any();
    calls! {
        Facility::new(any());
        Facility::number(any());
        FacilityList::new(any());
        FacilityList::of(black_box(&[Facility::VECTOR][..]));
        FacilityList::numbered(bytes());
        FacilityList::words(&list);
        FacilityList::has(&list, any());
        FacilityList::with(list, any());
        FacilityList::without(list, any());
        FacilityList::common(list, &any());
        FacilityList::joined(list, &any());
        FacilityList::beyond(list, &any());
        FacilityList::unfit_for(list, &any());
        FacilityList::is_subset_of(&list, &any());
        FacilityList::is_empty(&list);
        FacilityList::first_missing_in(&list, &any());
    }
    for facility in FacilityList::iter(list) {
        consume(facility);
    }
    shows!(Facility);
}

fn processors() {
    let processors: Processors = any();
    calls! {
        ProcessorSet::from_bits(any());
        ProcessorSet::bits(any());
        ProcessorSet::first(any());
        ProcessorSet::of(any());
        ProcessorSet::joined(any(), any());
        ProcessorSet::common(any(), any());
        ProcessorSet::without(any(), any());
        ProcessorSet::contains(any(), any());
        ProcessorSet::is_empty(any());
        ProcessorSet::count(any());
        Processors::new(any());
        Processors::standing_so(any(), any(), any());
        Processors::count(&processors);
        Processors::attached(&processors);
        Processors::detached(&processors);
        Processors::blocked(&processors);
        Processors::standing(&processors, any());
        Processors::fitted(&processors, any());
        Processors::detach(&processors, any());
        Processors::attach(&processors, any(), any());
    }
    for index in ProcessorSet::iter(any()) {
        consume(index);
    }
    shows!(ProcessorSet);
    shows!(StandingError);
}

fn state() {
    calls! {
        Activity::code(any());
        Activity::from_code(any());
        Activity::text(any());
        VmState::new(any());
        VmState::with_diff(any(), any());
        VmState::activity(&any());
        VmState::mark(&any());
        VmState::is_diff(&any());
        VmState::start_guest(any());
        VmState::hold(any());
        VmState::resume(any());
        VmState::go_down(any());
        VmState::with_mark(any(), any());
        VmState::arrive(any(), any());
    }
    shows!(StateError);
    shows!(VmState);
}

fn findings() {
    let finding: Finding = any();
    consume(<Findings as Default>::default());
    calls! {
        Obstacle::code(any());
        Obstacle::from_code(any());
        Reason::code(any());
        Reason::from_code(any());
        Reason::blame(any());
        Reason::text(any());
        Findings::new();
        Findings::add(&mut any(), any());
        Findings::add_device(&mut any(), any(), any());
        Findings::add_facility(&mut any(), any(), any());
        Findings::push(&mut any(), finding);
        Findings::set_pool(&mut any(), any());
        Findings::pool(&any());
        Findings::set_surplus(&mut any(), any());
        Findings::surplus(&any());
        Findings::set_unlisted(&mut any(), any());
        Findings::listed(&any());
        Findings::unlisted(&any());
        Findings::is_empty(&any());
        Findings::clear(&mut any());
    }
    shows!(Reason);
}

fn tables() {
    let mut slots: [Option<VmBlock>; 4] = any();
    let mut table = VmTable::new(black_box(&mut slots[..]));
    calls! {
        VmTable::insert(&mut table, any());
        VmTable::get(&table, any());
        VmTable::update(&mut table, any());
        VmTable::remove(&mut table, any());
    }
    for block in VmTable::iter(&table) {
        consume(block);
    }
    let shared = SharedVmTable::new(black_box(&mut slots[..]));
    consume(SharedVmTable::with(black_box(&shared), |table| table.insert(any())));
    shows!(TableError);
}
