//! Virtual machines: control blocks, states, findings, reasons, tables.
//!
//! Source of truth: `monitor_core::vm`. Deliberately not here: how calls are made.

use core::hint::black_box;

use link_check::{any, bytes, consume};
use monitor_core::vm::{
    Activity, BlockError, Finding, Findings, MachineImage, Obstacle, Ownership, Privileges, Reason,
    SharedVmTable, StateError, TableError, VmBlock, VmState, VmTable,
};

use crate::calls::{calls, flags, operators, shows};

pub(crate) fn calls() {
    block();
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
        Findings::push(&mut any(), finding);
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
