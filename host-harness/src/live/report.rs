//! The end of a live run: both ends are heard, both copies are judged.
//!
//! Source of truth: the two machines' dispositions for where the guest is, the judge for whether
//! anything was lost. Invariants: the guest goes on for a moment after the move before it is
//! judged; it is stopped for the comparison. Deliberately not here: how it is shown.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use monitor_core::{
    units::{Epoch, Micros},
    vm::{Disposition, Ownership, Reason, VmBlock, VmId},
};

use super::{Scene, is_at_target, monitor::End, processors::Processors, runs};
use crate::{
    cluster::{Judgement, Witness, judge},
    config::{Config, Request},
    console::{Guest, Network, Outcome, Pass, Report, Spread},
    machine::Machine,
};

/// How long the guest runs on before it is judged.
const AFTERGLOW: Duration = Duration::from_millis(100);

/// Both ends, unless a thread panicked.
#[derive(Debug)]
pub(super) struct Outcomes {
    pub(super) source: thread::Result<End>,
    pub(super) target: thread::Result<End>,
}

impl Outcomes {
    /// Both ends; a panic goes on here, when all other threads have ended.
    pub(super) fn joined(self, processors: &Processors) -> Ends {
        match (self.source, self.target) {
            (Ok(source), Ok(target)) => Ends { source, target },
            (Err(panic), _) | (_, Err(panic)) => {
                processors.end();
                std::panic::resume_unwind(panic)
            }
        }
    }
}

/// Both ends.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) source: End,
    pub(super) target: End,
}

/// Makes the report; a guest that has moved is stopped and judged. Behind the last move the
/// threads of all processors are ended before.
pub(super) fn finish(
    config: &Config,
    request: &Request,
    scene: &Scene,
    witness: &Mutex<Option<Witness>>,
    ends: &Ends,
    is_last: bool,
) -> Report {
    thread::sleep(AFTERGLOW);
    let Scene { cluster, block, machine, processors, .. } = scene;
    let network = cluster.network(processors.now());
    let Ends { source, target } = ends;
    let outcome = outcome(source, target);
    let mut report = Report::new(outcome, shown(block), config.vm.on, request.target);
    report.guest = Some(guest(source, target, config, request));
    report.reason = source.reason;
    report.findings = source.findings.clone();
    report.total_ms = source.ended.since(source.began).get() / 1000;
    report.memory_bytes = block.memory().bytes().get();
    report.bytes_on_wire = source.bytes;
    report.saved_bytes = source.statistics.saved.get();
    report.keys_in_blackout = source.statistics.stopped_keys.keys.get();
    report.predicted_blackout_us = source.statistics.predicted.map(Micros::get);
    report.drain = Spread::of(source.drains.iter().map(|time| time.get()));
    report.passes = passes(source);
    report.detail = detail(source);
    report.reconnects = source.statistics.reconnects;
    report.repeated_pages = source.statistics.repeated.get();
    report.held_for_epoch = source.held_for.map(Epoch::get);
    report.decision.clone_from(&source.decision);
    report.ran_twice = processors.ran_twice();
    report.network = network.map(Network::from);
    if let Some(Guest::On(su)) = report.guest {
        let here = cluster.su(&su).and_then(|it| it.vm(VmId::Name(block.name())));
        report.state = here.map(|here| here.state().to_string());
        report.detached = cluster.detached_on(&su);
        report.usages = cluster.usages_on(&su);
    }
    let copies = [(config.vm.on, Some(machine)), (request.target, target.machine.as_ref())];
    let running = copies.iter().filter(|(_, copy)| copy.is_some_and(|copy| copy.is_running()));
    report.runs_on = running.map(|(su, _)| *su).collect();
    if outcome == Outcome::Completed
        && let Some(target) = &target.machine
    {
        report.blackout_us = blackout(machine, target, block);
        target.stop();
        if is_last {
            processors.end();
        }
        let witness = witness.lock().unwrap_or_else(PoisonError::into_inner).clone();
        report.verified = Some(judge(&Judgement {
            cluster,
            vm: block.name(),
            owner: Ownership::running(request.target, scene.epoch.next()),
            record: scene.records.record(block.name()),
            source: machine,
            target,
            witness: witness.as_ref(),
            guest_runs: runs(block),
        }));
    }
    report
}

fn shown(block: &VmBlock) -> String {
    format!("{} ({})", block.name(), block.index())
}

fn outcome(source: &End, target: &End) -> Outcome {
    if source.is_lost {
        return match target.disposition {
            Disposition::RunsAtTarget if !target.is_lost => Outcome::Completed,
            Disposition::HeldAtTarget if !target.is_lost => Outcome::InDoubt,
            Disposition::RunsAtTarget
            | Disposition::HeldAtTarget
            | Disposition::RunsAtSource
            | Disposition::HeldAtSource => Outcome::Lost,
        };
    }
    match (source.disposition, source.reason) {
        (Disposition::RunsAtTarget, _) if target.is_lost => Outcome::Lost,
        (Disposition::RunsAtTarget, _) => Outcome::Completed,
        (Disposition::RunsAtSource, Some(Reason::Rejected)) => Outcome::Rejected,
        (Disposition::RunsAtSource, _) => Outcome::Aborted,
        (Disposition::HeldAtSource | Disposition::HeldAtTarget, _) => Outcome::InDoubt,
    }
}

/// Where the guest was lost, when an SU that had it is gone.
const fn lost_with(source: &End, config: &Config, request: &Request) -> Guest {
    let at_target = matches!(source.disposition, Disposition::RunsAtTarget);
    Guest::LostWith(if at_target { request.target } else { config.vm.on })
}

/// Where the guest is: a source in doubt is answered by the target's machine, which this program
/// can see.
fn guest(source: &End, target: &End, config: &Config, request: &Request) -> Guest {
    match source.disposition {
        _ if outcome(source, target) == Outcome::Lost => lost_with(source, config, request),
        Disposition::RunsAtTarget => Guest::On(request.target),
        Disposition::RunsAtSource if source.is_lost => Guest::On(request.target),
        Disposition::RunsAtSource => Guest::On(config.vm.on),
        Disposition::HeldAtSource | Disposition::HeldAtTarget => {
            if target.disposition == Disposition::RunsAtTarget && !target.is_lost {
                Guest::On(request.target)
            } else if is_at_target(target.disposition) && !target.is_lost {
                Guest::HeldAt(request.target)
            } else {
                Guest::HeldAt(config.vm.on)
            }
        }
    }
}

fn passes(source: &End) -> Vec<Pass> {
    let pass = |it: &monitor_core::migrate::policy::PassReport| Pass {
        page_count: it.pages.get(),
        byte_count: it.bytes.get(),
        ms: it.time.get().div_ceil(1000),
    };
    source.statistics.passes.iter().map(pass).collect()
}

/// The figures behind a reason, where there are some.
fn detail(source: &End) -> Option<String> {
    let statistics = &source.statistics;
    match source.reason? {
        Reason::WillNotConverge => {
            let last = statistics.passes.last()?;
            let dirtied = last.left.get().saturating_mul(1_000_000).checked_div(last.time.get())?;
            Some(format!(
                "the guest changes {dirtied} pages/s ({} MiB/s), the link moves {} MiB/s; {} of \
                 {} pages sent in pass {} were changed again",
                dirtied / 256,
                statistics.bandwidth.mean() >> 20,
                last.left,
                last.pages,
                statistics.passes.len(),
            ))
        }
        Reason::BudgetExceeded => Some(format!(
            "{} us of blackout were predicted, {} us of them for saving, sending and restoring \
             the state; {} stops were rolled back before the target was ready",
            statistics.predicted?, statistics.state, statistics.overruns,
        )),
        _ => None,
    }
}

/// The stop of the guest: from its last step on the source to its first one on the target.
fn blackout(source: &Machine, target: &Machine, block: &VmBlock) -> Option<u64> {
    if !runs(block) {
        return Some(0);
    }
    let (last, first) = (source.last_step_at()?, target.first_step_at()?);
    // A guest that stepped on both sides at once had no blackout that could be measured.
    (first >= last).then(|| first.since(last).get())
}
