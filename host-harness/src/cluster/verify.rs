//! The judge: compares both sides after a move, from outside of the core.
//!
//! Source of truth: the frozen storage and registers of the source, and what the target kept of
//! each page before its first store. Invariants: nothing is compared with what the core says;
//! each answer can be false. Deliberately not here: timing.

use monitor_core::{
    channel::{ChannelReportWord, Pmcw, SubchannelImage},
    limits::PAGE_BYTES,
    memory::PageRun,
    units::{DeviceSlot, Epoch, Micros, PageNumber, Tick, VmName},
    vm::{MachineImage, Ownership},
};

use super::{Cluster, Witness};
use crate::{
    console::Verified,
    machine::Machine,
    workload::{Counts, Kind, Manner, Rate, check, serving},
};

/// What the judge is shown.
#[derive(Debug)]
pub struct Judgement<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The VM.
    pub vm: VmName,
    /// Who has to own it, under which epoch.
    pub owner: Ownership,
    /// What the directory says of that.
    pub record: Option<Ownership>,
    /// The machine on the source, stopped for good.
    pub source: &'a Machine,
    /// The machine on the target, stopped for the comparison.
    pub target: &'a Machine,
    /// The target's state before its first step.
    pub witness: Option<&'a Witness>,
    /// Whether the guest ran, so that it has to have gone on.
    pub guest_runs: bool,
}

/// Compares both sides.
#[must_use]
pub fn judge(case: &Judgement<'_>) -> Verified {
    let frozen = Witness::of(case.source);
    let restored = case.witness.cloned().unwrap_or_else(|| Witness::of(case.target));
    let before = check(case.source, &case.cluster.plan, &[]);
    let after = check(case.target, &case.cluster.plan, &case.cluster.journal_disks());
    let went_on = !case.guest_runs
        || (case.target.fault().is_none() && has_worked(case, &before.counts, &after.counts));
    // A request that a device has refused, or whose end is missed, shows that I/O was carried over
    // wrongly.
    let failures = |counts: &Counts| (counts.io_faults, counts.io_missed);
    let accepted = failures(&after.counts) == failures(&before.counts);
    let no_answer_twice =
        case.cluster.peers.iter().all(|peer| peer.sight(Tick::new(0)).doubled == 0);
    Verified {
        memory: same_memory(case.source, case.target),
        keys: same_keys(case.source, case.target),
        processors: same_processors(&frozen, &restored) && stand_right(case),
        devices: same_devices(case, &frozen, &restored),
        io: after.journal_fault_count == 0
            && accepted
            && no_write_behind_the_fence(case)
            && no_answer_twice,
        guest: after.fault_count == after.journal_fault_count && went_on,
    }
}

/// The slowest workload whose progress is required within the time that a guest runs on before
/// it is judged, in steps per second.
const SLOWEST_PER_SECOND: u32 = 100;

/// Whether every workload has done more on the target than it had done on the source; of one that
/// is paced too slowly to show it, or whose processor is not attached, at least that it has not
/// gone back.
fn has_worked(case: &Judgement<'_>, before: &Counts, after: &Counts) -> bool {
    let (cluster, target) = (case.cluster, case.target);
    let plan = &cluster.plan;
    // A guest that announces nothing is found by its peers only when they ask everybody.
    let is_pinged = plan.manner == Manner::Accept
        && cluster.peers.iter().any(|peer| peer.interval() <= Micros::from_millis(10));
    let is_quick = |rate: &Rate| match rate {
        Rate::PerSecond(rate) => *rate >= SLOWEST_PER_SECOND,
        Rate::Unpaced => true,
    };
    plan.kinds.iter().all(|kind| {
        let (before, after, quick) = match kind {
            Kind::Idle => (before.ticks, after.ticks, true),
            Kind::HotSet { rate, .. } => (before.dirtyings, after.dirtyings, is_quick(rate)),
            Kind::Sweep { rate } | Kind::MemoryOnly { rate } => {
                (before.swept, after.swept, is_quick(rate))
            }
            Kind::KeyValue { rate, .. } => {
                (before.puts + before.gets, after.puts + after.gets, is_quick(rate))
            }
            Kind::Processors { interval_us } => {
                (before.rounds, after.rounds, *interval_us <= 10_000)
            }
            Kind::Keys { rate, .. } => (before.key_visits, after.key_visits, is_quick(rate)),
            Kind::PageStates { rate, .. } => {
                (before.state_visits, after.state_visits, is_quick(rate))
            }
            Kind::Journal { interval_us } => {
                (before.records, after.records, *interval_us <= 10_000)
            }
            Kind::Network => (before.answers, after.answers, is_pinged),
            Kind::Messages { .. } => (before.messages, after.messages, false),
        };
        let is_served =
            target.processors().attached().contains(serving(*kind, target.processor_count()));
        if quick && is_served { after > before } else { after >= before }
    })
}

/// Each page has the same content, and is zero at the target where it has none at the source.
fn same_memory(source: &Machine, target: &Machine) -> bool {
    let (mut here, mut there) = ([0; PAGE_BYTES], [0; PAGE_BYTES]);
    pages(source).all(|page| {
        let run = PageRun { group: page.group(), mask: 1 << (page.get() % 64) };
        target.storage.page_as_preserved(page, &mut there);
        let is_read = source.storage.copy_out(run, &mut here).is_ok();
        if !source.storage.state(page).has_content() {
            here.fill(0);
        }
        is_read && here == there
    }) && source.storage.page_count() == target.storage.page_count()
}

/// Keys and states.
fn same_keys(source: &Machine, target: &Machine) -> bool {
    let mut pages = pages(source);
    let (source, target) = (&source.storage, &target.storage);
    pages.all(|page| {
        source.key(page) == target.key_as_preserved(page)
            && source.state(page) == target.state_as_preserved(page)
    })
}

fn pages(machine: &Machine) -> impl Iterator<Item = PageNumber> {
    (0..machine.storage.page_count().get()).map(PageNumber::new)
}

/// All registers and the machine as a whole.
fn same_processors(frozen: &Witness, restored: &Witness) -> bool {
    let bare =
        |witness: &Witness| Witness { machine: without_paths(&witness.machine), ..witness.clone() };
    !frozen.processors.is_empty() && bare(frozen).goes_on_in(&bare(restored))
}

/// The processors stand as those of the source on an SU with so many; what the guest was given at
/// its start is what it has.
fn stand_right(case: &Judgement<'_>) -> bool {
    let pool = case.cluster.su(&case.owner.owner).map_or(0, |su| su.processor_count());
    let (source, target) = (case.source, case.target);
    source.processors().fitted(pool) == Some(target.processors())
        && source.facilities() == target.facilities()
        && source.cpu_id() == target.cpu_id()
}

/// What there is to say of a machine without that the guest sees other paths on another SU.
fn without_paths(machine: &MachineImage) -> MachineImage {
    let is_of_paths = |report: u32| {
        let condition = ChannelReportWord::new(report).condition();
        condition == ChannelReportWord::INSTALLED_PARAMETERS_MODIFIED
    };
    let mut machine = machine.clone();
    machine.reports.retain(|report| !is_of_paths(*report));
    machine
}

/// Whether a subchannel is the same, but for paths where those of the SUs differ.
fn is_same_subchannel((frozen, restored): (&SubchannelImage, &SubchannelImage)) -> bool {
    let paths = |image: &SubchannelImage| {
        let Pmcw { installed_paths, channel_paths, .. } = image.schib.pmcw;
        (installed_paths, channel_paths)
    };
    let mut expected = frozen.clone();
    if paths(frozen) != paths(restored) {
        let (pmcw, there) = (&mut expected.schib.pmcw, &restored.schib.pmcw);
        pmcw.installed_paths = there.installed_paths;
        pmcw.available_paths = there.available_paths;
        pmcw.operational_paths = there.operational_paths;
        pmcw.logical_paths = there.logical_paths;
        pmcw.channel_paths = there.channel_paths;
    }
    expected == *restored
}

/// The subchannels are equal but for the paths, the record names the right owner, and the
/// target's devices work under its epoch while the source's are gone.
fn same_devices(case: &Judgement<'_>, frozen: &Witness, restored: &Witness) -> bool {
    let slots = || (0..).map(DeviceSlot::new).take(restored.subchannels.len());
    let epoch = |machine: &Machine, slot| machine.with_subsystem(|it| it.epoch(slot));
    let has =
        |slot| case.cluster.is_to_be_attached(&case.owner.owner, slot).then_some(case.owner.epoch);
    frozen.subchannels.len() == restored.subchannels.len()
        && frozen.subchannels.iter().zip(&restored.subchannels).all(is_same_subchannel)
        && case.record == Some(case.owner)
        && slots().all(|slot| epoch(case.target, slot) == has(slot))
        && slots().all(|slot| epoch(case.source, slot).is_none())
}

/// No device took I/O of an older epoch after it had taken some of a newer one.
fn no_write_behind_the_fence(case: &Judgement<'_>) -> bool {
    case.cluster.disks.values().all(|disk| {
        let mut newest = Epoch::new(0);
        disk.logged.log().iter().filter(|write| write.vm == case.vm).all(|write| {
            let in_order = write.epoch >= newest;
            newest = newest.max(write.epoch);
            in_order
        })
    })
}
