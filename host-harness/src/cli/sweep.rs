//! `su390 sweep` and `su390 replay`: worlds by the seed, on all cores or one under the glass.
//!
//! Source of truth: `sim::swarm` for the worlds. Invariants: what is printed of a range of seeds
//! depends on the range alone, but for the time it took; the last line counts worlds and
//! violations. Deliberately not here: any world.

use std::{
    fmt::Write as _,
    io::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use crate::sim::swarm::{
    self, Bench, ENOUGH_SEEDS, Ending, FaultKind, Order, Phase, Profile, Tally, Violation,
};

use super::{
    Open, Status, Streams,
    arguments::{ReplayCommand, SweepCommand},
    complain,
};

/// Worlds that one thread takes at a time.
const BATCH: u64 = 16;

/// Violations of which seed and text are shown.
const SHOWN: usize = 20;

/// A world in which something was wrong.
struct Finding {
    order: Order,
    violations: Vec<Violation>,
}

/// What a range of seeds has come to.
#[derive(Default)]
struct Total {
    tally: Tally,
    findings: Vec<Finding>,
}

/// Runs every world of the command.
pub(super) fn sweep(command: &SweepCommand, open: Open<'_>) -> Status {
    let begin = Instant::now();
    let total = run_all(command);
    let seconds = begin.elapsed().as_secs_f64();
    let mut text = table(&total.tally);
    for finding in total.findings.iter().take(SHOWN) {
        let Order { seed, profile, .. } = finding.order;
        for violation in &finding.violations {
            let _infallible = writeln!(text, "seed {seed}: {}", violation.what);
        }
        let _infallible = writeln!(text, "    su390 replay {seed} --profile {}", profile.name());
    }
    let is_short = command.profile.is_some() || total.tally.worlds < ENOUGH_SEEDS;
    let missed = swarm::missed(&total.tally);
    for (phase, kind) in &missed {
        let _infallible = writeln!(text, "not met: {}, {kind}", phase.name());
    }
    if is_short && !missed.is_empty() {
        let _infallible =
            writeln!(text, "fewer than {ENOUGH_SEEDS} seeds of all profiles need not meet all");
    }
    let worlds = total.tally.worlds;
    let rate = worlds as f64 / seconds.max(1e-9);
    let _infallible =
        writeln!(text, "{seconds:.1} s, {rate:.0} worlds/s with {} threads", command.jobs());
    let _infallible = writeln!(text, "{worlds} worlds, {} violations", total.tally.violations);
    let is_good = total.tally.violations == 0 && (is_short || missed.is_empty());
    show(&text, open(command.color), is_good)
}

/// Writes what has come out; the exit status says whether it is good.
fn show(text: &str, Streams { mut out, mut err }: Streams, is_good: bool) -> Status {
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        complain(&mut *err, &error);
        return Status::Usage;
    }
    if is_good { Status::Completed } else { Status::Unverified }
}

fn run_all(command: &SweepCommand) -> Total {
    let (next, end) = (AtomicU64::new(command.seeds.0), command.seeds.1);
    let total = Mutex::new(Total::default());
    thread::scope(|scope| {
        for _ in 0..command.jobs() {
            scope.spawn(|| {
                let mut bench = Bench::new();
                loop {
                    let first = next.fetch_add(BATCH, Relaxed);
                    if first >= end {
                        return;
                    }
                    let part = run_batch(first..end.min(first + BATCH), command, &mut bench);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.tally.add(&part.tally);
                    total.findings.extend(part.findings);
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.findings.sort_by_key(|finding| finding.order.seed);
    total
}

fn run_batch(seeds: std::ops::Range<u64>, command: &SweepCommand, bench: &mut Bench) -> Total {
    let mut total = Total::default();
    for seed in seeds {
        let order = Order::new(seed, command.profile_of(seed));
        let outcome = swarm::run(order, bench);
        total.tally.add(&outcome.tally);
        if !outcome.violations.is_empty() {
            total.findings.push(Finding { order, violations: outcome.violations });
        }
    }
    total
}

/// How often each phase met each fault, and how the attempts ended that did.
fn table(tally: &Tally) -> String {
    let mut text = String::new();
    let _infallible = write!(text, "attempts:");
    for ending in Ending::ALL {
        let _infallible = write!(text, " {} {}", tally.attempts(ending), ending.name());
    }
    text.push('\n');
    let _infallible = write!(text, "{:<22}{:<20}{:>9}", "phase", "fault", "met");
    for ending in Ending::ALL {
        let _infallible = write!(text, "{:>12}", ending.name());
    }
    text.push('\n');
    for phase in Phase::all() {
        for kind in FaultKind::ALL {
            let met = tally.met(phase, kind);
            if met == 0 {
                continue;
            }
            let _infallible = write!(text, "{:<22}{:<20}{met:>9}", phase.name(), kind.name());
            for ending in Ending::ALL {
                let _infallible = write!(text, "{:>12}", tally.count(phase, kind, ending));
            }
            text.push('\n');
        }
    }
    text
}

/// Runs one world and shows what happens in it.
pub(super) fn replay(command: &ReplayCommand, open: Open<'_>) -> Status {
    let profile = command.profile.unwrap_or_else(|| profile_of(command.seed));
    let order = Order { is_traced: true, ..Order::new(command.seed, profile) };
    let outcome = swarm::run(order, &mut Bench::new());
    let mut text = String::new();
    for line in &outcome.lines {
        text.push_str(line);
        text.push('\n');
    }
    let _infallible = writeln!(
        text,
        "{} events in {} ms of virtual time, hash {:016x}",
        outcome.events,
        outcome.time_us / 1000,
        outcome.hash
    );
    for violation in &outcome.violations {
        let _infallible = writeln!(text, "violation: {}", violation.what);
    }
    let count = outcome.violations.len().min(1);
    let _infallible = writeln!(text, "1 worlds, {count} violations");
    show(&text, open(command.color), count == 0)
}

/// The profile of a seed when none is named: each in its turn.
pub(super) fn profile_of(seed: u64) -> Profile {
    let place = seed % Profile::ALL.len() as u64;
    Profile::ALL[usize::try_from(place).unwrap_or(0)]
}
