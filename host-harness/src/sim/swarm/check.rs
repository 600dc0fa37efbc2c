//! The checkers: what must hold in a world at every event, whatever the machines believe.
//!
//! Source of truth: ARCHITECTURE.md, "The handover", and the emulated machines themselves.
//! Invariants: nothing here asks a migration machine; each rule can be broken, as the tests with
//! planted flaws show. Deliberately not here: what happens, and when.

use monitor_core::{
    device::Conduct,
    units::{DeviceSlot, Micros, PageNumber, SuName, Tick},
    vm::{MigrationMark, Ownership, Standing},
};

use super::{
    fault::End,
    neighbor::{Line, Neighbors, Partner},
    plan::SuPlan,
    shared::{Copy, SLOTS_MAX, Shared, Spot, VmFacts, epoch_of, epochs_of},
};
use crate::{
    cluster::Witness,
    machine::{Device, Machine},
    workload::{self, Verdict},
};

/// The rules of every moment.
pub(super) fn at_event(shared: &Shared<'_>) {
    for vm in 0..shared.vms.len() {
        one_runner(shared, vm);
        one_user_a_device(shared, vm);
    }
}

/// At most one copy may run, and it is the owner's, under the owner's epoch, behind both steps of
/// its claim.
fn one_runner(shared: &Shared<'_>, vm: usize) {
    let copies = shared.copies.borrow();
    let mut runner: Option<&Copy<'_>> = None;
    for copy in copies.iter().filter(|it| it.vm == vm && it.machine.is_running()) {
        let name = shared.vms[vm].block.name();
        if !copy.is_there {
            shared.violate(format!("{name} runs on an SU that has ended it"));
        }
        if let Some(other) = runner.replace(copy) {
            let (one, two) = (shared.sus[other.su], shared.sus[copy.su]);
            shared.violate(format!("{name} runs on {one} and on {two}"));
        }
        enough_processors(shared, copy);
        let record = shared.record(vm);
        let facts = &shared.vms[vm];
        let epochs = epochs_of(copy.machine);
        for (slot, epoch) in epochs.into_iter().enumerate().take(facts.devices.len()) {
            let has = epoch.map(|epoch| Ownership::running(shared.sus[copy.su], epoch));
            // What does not go with the guest may be detached at any time.
            let may_lack = || facts.conduct(slot) != Some(Conduct::Move) && has.is_none();
            if has != record && !may_lack() {
                let (has, record) = (Shown(has), Shown(record));
                shared.violate(format!("{name} runs as {has}, the record is {record}"));
            }
        }
    }
}

/// No VM has more processors at work than its SU has for it.
fn enough_processors(shared: &Shared<'_>, copy: &Copy<'_>) {
    let (attached, pool) = (copy.machine.processors().attached(), shared.hardware[copy.su].pool);
    if attached.count() > u32::from(pool) {
        let name = shared.vms[copy.vm].block.name();
        shared.violate(format!("{name} has processors {attached}, and its SU has {pool}"));
    }
}

/// An ownership as messages show it.
struct Shown(Option<Ownership>);

impl std::fmt::Display for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(it) => {
                write!(formatter, "({}, {}, {:?})", it.owner, it.epoch.get(), it.standing)
            }
            None => formatter.write_str("(nobody)"),
        }
    }
}

/// At most one copy can use a device, and who uses it owns the VM.
fn one_user_a_device(shared: &Shared<'_>, vm: usize) {
    let copies = shared.copies.borrow();
    let (mut users, mut does_late) = ([0; SLOTS_MAX], [false; SLOTS_MAX]);
    let looks: [_; SLOTS_MAX] =
        std::array::from_fn(|slot| shared.vms[vm].devices.get(slot).map(|it| it.look()));
    for copy in copies.iter().filter(|it| it.vm == vm && it.is_there) {
        for ((slot, epoch), look) in epochs_of(copy.machine).into_iter().enumerate().zip(looks) {
            users[slot] += u8::from(epoch.is_some() && epoch == look.map(|it| it.highest));
            let transfer = look.and_then(|it| it.transfer);
            does_late[slot] |= copy.is_offered && epoch.is_some() && epoch == transfer;
        }
    }
    let name = shared.vms[vm].block.name();
    for (slot, look) in looks.into_iter().enumerate() {
        let Some(look) = look else {
            break;
        };
        if users[slot] > 1 {
            shared.violate(format!("{name}: device {slot} can be used on two SUs"));
        }
        if let Some(epoch) = look.transfer {
            let runs = |it: &Ownership| it.epoch == epoch && it.standing == Standing::Running;
            if !shared.record(vm).as_ref().is_some_and(runs) {
                shared.violate(format!("{name}: device {slot} did I/O of another epoch"));
            }
        }
        if does_late[slot] {
            shared.violate(format!("{name}: device {slot} did I/O at the source behind COMMIT"));
        }
        if let Some(fault) = look.fault {
            shared.violate(format!("{name}: {fault}"));
        }
    }
}

/// A device is waited for no longer than the attempt allows.
pub(super) fn drain_ends(spot: &Spot<'_>, since: Option<Tick>, limit: Micros) {
    /// Monitors and their ports take their time, too.
    const SLACK: Micros = Micros::from_millis(1);
    let shared = &spot.shared;
    if since.is_some_and(|since| since.after(limit).after(SLACK) < shared.now()) {
        let name = shared.vms[spot.vm].block.name();
        shared.violate(format!("{name}: a drain goes on behind its end"));
    }
}

/// A subchannel is taken over when nothing is on its way any more.
pub(super) fn at_capture(spot: &Spot<'_>, slot: DeviceSlot, is_awaited: bool) {
    let shared = &spot.shared;
    let machine = spot.copy.get().map(|copy| shared.machine(copy));
    let is_quiet = machine.is_some_and(|it| it.with_subsystem(|it| it.quiet(slot)));
    if is_awaited || !is_quiet {
        let (name, slot) = (shared.vms[spot.vm].block.name(), slot.get());
        shared.violate(format!("{name}: device {slot} is taken over with its I/O under way"));
    }
}

/// A copy that runs for the first time is what the source was when it was stopped.
pub(super) fn before_resume(spot: &Spot<'_>, copy: usize) {
    let shared = &spot.shared;
    let has_run = shared.copies.borrow()[copy].has_run;
    let (End::Target, Some(peer), false) = (spot.end, spot.peer.get(), has_run) else {
        return;
    };
    same_copies(shared, spot.vm, shared.machine(peer), shared.machine(copy));
    same_hardware(spot, shared.machine(peer), shared.machine(copy));
    nothing_stays_attached(shared, spot.vm, shared.machine(peer), shared.machine(copy));
}

/// What does not go with the guest can be used on neither SU when the guest comes.
fn nothing_stays_attached(shared: &Shared<'_>, vm: usize, source: &Machine, target: &Machine) {
    let facts = &shared.vms[vm];
    let name = facts.block.name();
    for slot in staying_slots(facts) {
        if epoch_of(source, slot).is_some() {
            shared.violate(format!("{name}: device {slot} is still attached at the source"));
        }
        if epoch_of(target, slot).is_some() {
            shared.violate(format!("{name}: device {slot} is attached at the target too early"));
        }
    }
}

/// The slots of the devices that do not go with the guest.
fn staying_slots(facts: &VmFacts) -> impl Iterator<Item = usize> {
    let conducts = (0..facts.devices.len()).map(|slot| (slot, facts.conduct(slot)));
    let stay = conducts.filter(|(_, conduct)| *conduct != Some(Conduct::Move));
    stay.map(|(slot, _)| slot)
}

/// The guest has what it was given at its start, its SU has that too, and a processor that it has
/// lost does nothing any more.
fn same_hardware(spot: &Spot<'_>, source: &Machine, target: &Machine) {
    let (shared, name) = (&spot.shared, spot.shared.vms[spot.vm].block.name());
    let (was, is) = (source.processors(), target.processors());
    let SuPlan { pool, facilities } = shared.hardware[spot.su];
    if was.fitted(pool) != Some(is) {
        shared.violate(format!("{name}: the processors do not stand as they should"));
    }
    if source.facilities() != target.facilities() || source.cpu_id() != target.cpu_id() {
        shared.violate(format!("{name}: the guest has not what it was given"));
    }
    if let Some(facility) = target.facilities().first_missing_in(&facilities) {
        shared.violate(format!("{name}: the SU lacks facility {facility}"));
    }
    for lost in was.attached().without(is.attached()).iter() {
        if !workload::has_left(target, lost) {
            shared.violate(format!("{name}: processor {lost} was lost at its work"));
        }
    }
}

/// A copy whose guest does not run is what the source is as soon as the target says so.
pub(super) fn without_resume(spot: &Spot<'_>) {
    if let (Some(peer), Some(copy), false) =
        (spot.peer.get(), spot.copy.get(), spot.shared.vms[spot.vm].runs)
    {
        same_copies(&spot.shared, spot.vm, spot.shared.machine(peer), spot.shared.machine(copy));
    }
}

/// Both machines hold the same: memory, keys, registers, subchannels.
fn same_copies(shared: &Shared<'_>, vm: usize, source: &Machine, target: &Machine) {
    let name = shared.vms[vm].block.name();
    for page in (0..source.storage.page_count().get()).map(PageNumber::new) {
        if source.storage.state(page) != target.storage.state(page) {
            shared.violate(format!("{name}: the state of page {page} is not what it was"));
            break;
        }
        if !source.storage.has_same_page(&target.storage, page) {
            shared.violate(format!("{name}: page {page} is not what it was at the source"));
            break;
        }
    }
    for page in (0..source.storage.page_count().get()).map(PageNumber::new) {
        if source.storage.key(page) != target.storage.key(page) {
            shared.violate(format!("{name}: the key of page {page} is not what it was"));
            break;
        }
    }
    let (source, target) = (Witness::of(source), Witness::of(target));
    if !source.goes_on_in(&target) {
        shared.violate(format!("{name}: registers or the machine as a whole are not the same"));
    }
    let moving = shared.vms[vm].devices.len() - staying_slots(&shared.vms[vm]).count();
    if source.subchannels.get(..moving) != target.subchannels.get(..moving) {
        shared.violate(format!("{name}: the subchannels are not the same"));
    }
}

/// When an attempt is undone, each page that the target does not have as it is now is marked.
pub(super) fn before_untracking(spot: &Spot<'_>) {
    let shared = &spot.shared;
    let (Some(copy), Some(peer)) = (spot.copy.get(), spot.peer.get()) else {
        return;
    };
    let (has_run, is_there) = {
        let copies = shared.copies.borrow();
        (copies[peer].has_run, copies[peer].is_there)
    };
    if has_run || !is_there || spot.is_restored {
        return;
    }
    let (source, target) = (&shared.machine(copy).storage, &shared.machine(peer).storage);
    // What the keys alone know is marked with the next collection.
    source.collect();
    let (pages, keys) = (source.pages_map(), source.keys_map());
    for page in (0..source.page_count().get()).map(PageNumber::new) {
        // A page that has lost its content or changed its state is marked like a key.
        let is_of_state = source.state(page) != target.state(page) && keys.is_marked(page);
        let is_marked = pages.is_marked(page) || is_of_state;
        if !is_marked && !source.has_same_page(target, page) {
            let name = shared.vms[spot.vm].block.name();
            shared.violate(format!("{name}: the change of page {page} was forgotten"));
            return;
        }
        let is_marked = pages.is_marked(page) || keys.is_marked(page);
        if !is_marked && source.key(page) != target.key(page) {
            let name = shared.vms[spot.vm].block.name();
            shared.violate(format!("{name}: the change of the key of page {page} was forgotten"));
            return;
        }
    }
}

/// A copy that is ended is not the owner's, nor one that may still be needed: until the target
/// has run, it may be lost, and the source's is the only copy that is known to be good.
pub(super) fn after_destroy(spot: &Spot<'_>, copy: usize) {
    let shared = &spot.shared;
    let has_run = |peer: usize| shared.copies.borrow()[peer].has_run;
    let is_needed = spot.end == End::Source && !spot.peer.get().is_some_and(has_run);
    if is_needed && shared.vms[spot.vm].runs {
        let name = shared.vms[spot.vm].block.name();
        shared.violate(format!("{name}: the source's copy was ended before the target has run"));
    }
    let Some(record) = shared.record(spot.vm) else {
        return;
    };
    let epoch =
        shared.copies.borrow()[copy].machine.with_subsystem(|it| it.epoch(DeviceSlot::new(0)));
    if record.owner == shared.sus[spot.su] && epoch == Some(record.epoch) {
        let name = shared.vms[spot.vm].block.name();
        shared.violate(format!("{name}: the copy of its owner was ended"));
    }
}

/// What must hold when a world has come to rest: each VM is there once, and has all that it did.
pub(super) fn at_rest(shared: &Shared<'_>) {
    for (vm, facts) in shared.vms.iter().enumerate() {
        let name = facts.block.name();
        let copies = shared.copies.borrow();
        let owner = shared.record(vm).map(|it| it.owner);
        if owner.is_none_or(|owner| is_lost(shared, owner)) {
            continue;
        }
        let home =
            copies.iter().find(|it| it.vm == vm && it.is_there && Some(shared.sus[it.su]) == owner);
        let Some(home) = home else {
            shared.violate(format!("{name} is not where its record says"));
            continue;
        };
        if home.machine.is_running() != facts.runs {
            let what = if facts.runs { "does not run anywhere" } else { "runs and should not" };
            shared.violate(format!("{name} {what}"));
        }
        let initial = facts.block.processors();
        if initial.fitted(shared.hardware[home.su].pool) != Some(home.machine.processors()) {
            shared.violate(format!("{name} has not the processors that it should have"));
        }
        if home.mark != MigrationMark::None {
            shared.violate(format!("{name} keeps its migration mark"));
        }
        devices_are_where_they_belong(shared, home);
        if facts.runs {
            guest_is_whole(shared, vm, home.machine);
        }
    }
}

/// The devices of a VM are attached as its definition says: an attempt that failed has given back
/// what it had detached, one that was completed has not.
fn devices_are_where_they_belong(shared: &Shared<'_>, home: &Copy<'_>) {
    let facts = &shared.vms[home.vm];
    let name = facts.block.name();
    for (slot, is_detached) in home.detached.iter().enumerate() {
        let is_attached = epoch_of(home.machine, slot).is_some();
        if is_attached == *is_detached {
            let what = if is_attached { "is attached" } else { "is not attached" };
            shared.violate(format!("{name}: device {slot} {what}, unlike in the definition"));
        }
    }
}

/// Whether the VM's owner went down with it.
fn is_lost(shared: &Shared<'_>, owner: SuName) -> bool {
    let place = shared.sus.iter().position(|su| *su == owner);
    place.is_none_or(|su| shared.lost.borrow()[su])
}

/// The guest has everything that it has done, and its journal is on the disk.
fn guest_is_whole(shared: &Shared<'_>, vm: usize, machine: &Machine) {
    let facts = &shared.vms[vm];
    let name = facts.block.name();
    machine.stop();
    let journals = facts.guest.journal.iter();
    let journals: Vec<_> =
        journals.filter_map(|it| facts.devices.get(usize::from(it.get()))).collect();
    let disks: Vec<_> = journals.iter().filter_map(|it| it.disk()).collect();
    let devices = &facts.devices;
    let verdict = workload::check(machine, &facts.guest, &disks);
    for fault in &verdict.faults {
        shared.violate(format!("{name}: {fault}"));
    }
    let (seen, failed) = (verdict.counts.io_faults, devices.iter().map(|it| it.failed()).sum());
    // The status of the latest failure of each device may still be pending.
    let pending = devices.len() as u64;
    if !(u64::saturating_sub(failed, pending)..=failed).contains(&seen) {
        shared.violate(format!("{name}: {seen} failures of I/O seen, there were {failed}"));
    }
    let who = format_args!("{name} journal");
    let (records, disks) = (verdict.counts.records, disks.len());
    shared.trace.say(shared.now(), who, format_args!("{records} records on {disks} disks"));
    let in_tracks = journals.iter().filter(|it| it.sense_id().device_type == 0x3390);
    let written: usize = in_tracks.filter_map(|it| it.disk()).map(|disk| disk.log().len()).sum();
    if written > 0 {
        shared.trace.say(shared.now(), who, format_args!("{written} records are in tracks"));
    }
    for (visits, what) in
        [(verdict.counts.key_visits, "keys"), (verdict.counts.state_visits, "page states")]
    {
        if visits > 0 {
            let who = format_args!("{name} pages");
            shared.trace.say(shared.now(), who, format_args!("{visits} visits to {what}"));
        }
    }
    neighbors_agree(shared, vm, &verdict);
}

/// What the neighbors have seen of the guest is what it has done.
fn neighbors_agree(shared: &Shared<'_>, vm: usize, verdict: &Verdict) {
    let VmFacts { block, neighbors, .. } = &shared.vms[vm];
    let name = block.name();
    let Heard { answered, written } = Heard::of(shared, vm);
    shared.trace.note(shared.now(), 4, answered.rotate_left(32) ^ written);
    if let Some(line) = &neighbors.line {
        let sight = line.sight(shared.now());
        if sight.doubled > 0 || sight.answered > verdict.counts.answers + ANSWERS_UNDER_WAY {
            shared.violate(format!("{name}: answers to the station came twice: {sight:?}"));
        }
        let who = format_args!("{name} station");
        shared.trace.say(shared.now(), who, format_args!("{answered} pings were answered"));
    }
    if neighbors.partner.is_some() {
        let read = verdict.counts.messages;
        // The latest one may be on its way.
        if read > written || read + 1 < written {
            shared.violate(format!("{name}: {read} messages read, {written} were written"));
        }
        let who = format_args!("{name} partner");
        shared.trace.say(shared.now(), who, format_args!("{written} messages were taken"));
    }
}

/// Answers of one channel program, which the guest counts when it has ended.
const ANSWERS_UNDER_WAY: u64 = 4;

/// What the neighbors of a guest had heard of it at some moment.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// Pings that were answered.
    answered: u64,
    /// Messages that were taken.
    written: u64,
}

impl Heard {
    fn of(shared: &Shared<'_>, vm: usize) -> Self {
        let Neighbors { line, partner } = &shared.vms[vm].neighbors;
        let answered = line.as_ref().map_or(0, |line| line.sight(shared.now()).answered);
        Self { answered, written: partner.as_ref().map_or(0, Partner::written) }
    }
}

/// What the neighbors of all guests had heard at some moment.
pub(super) struct Echo(Vec<Heard>);

impl Echo {
    /// What they have heard so far.
    pub(super) fn now(shared: &Shared<'_>) -> Self {
        Self((0..shared.vms.len()).map(|vm| Heard::of(shared, vm)).collect())
    }

    /// The first guest that a neighbor has not heard of since, or not from where it is.
    pub(super) fn missing(&self, shared: &Shared<'_>) -> Option<usize> {
        let all = self.0.iter().enumerate();
        let mut missing = all.filter(|(vm, before)| {
            let Some(su) = at_work(shared, *vm) else {
                return false;
            };
            let Neighbors { line, partner } = &shared.vms[*vm].neighbors;
            let now = Heard::of(shared, *vm);
            let is_found = |line: &Line| now.answered > before.answered && line.finds_guest_at(su);
            let line = line.as_ref().is_none_or(is_found);
            !line || partner.is_some() && now.written == before.written
        });
        missing.next().map(|(vm, _)| vm)
    }

    /// Every neighbor has heard since of its guest, from where that is.
    pub(super) fn require(&self, shared: &Shared<'_>) {
        if let Some(vm) = self.missing(shared) {
            let name = shared.vms[vm].block.name();
            shared.violate(format!("{name}: a neighbor does not hear of it where it is"));
        }
    }
}

/// The SU where the guest of a VM runs, if it has not gone down with its SU.
fn at_work(shared: &Shared<'_>, vm: usize) -> Option<usize> {
    let copies = shared.copies.borrow();
    let copy = copies.iter().find(|it| it.vm == vm && it.is_there && it.machine.is_running())?;
    Some(copy.su)
}
