//! A world in its course: events in the order of their moments, one after the other.
//!
//! Source of truth: the plan. Invariants: time goes from event to event and never back; at one
//! moment the directory comes first, then what is planned, the machines, and the monitors; the
//! checkers look after every event. Deliberately not here: what a fault does, and what may not
//! be.

use std::{rc::Rc, slice};

use monitor_core::{
    driver::Wait,
    migrate::{SourcePhase, TargetPhase},
    units::{Micros, Tick},
};

use super::{
    check,
    fault::{End, FaultKind},
    plan::{Plan, When},
    run::{Lent, NEVER, Phases, Run},
    shared::Shared,
    tally::{Ending, Phase, Tally},
};

/// Virtual time in which a world has to come to rest once it is calm.
const REST: Micros = Micros::from_millis(120_000);

/// Virtual time that guests run on when all is at rest, so that they show what they have.
const AFTERGLOW: Micros = Micros::from_millis(12);

/// Virtual time in which the neighbors of a guest have to hear of it.
const SILENCE: Micros = Micros::from_millis(2_000);

/// Work of one processor in one step.
const STEP_BUDGET: u32 = 400;

/// What is to happen at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A move begins.
    Move(usize),
    /// A fault is made ready.
    Inflict(usize),
    /// A monitor starts again.
    Restart(usize, End),
    /// An operator looks at an attempt in doubt.
    Operate(usize),
}

/// A world.
pub(super) struct World<'a> {
    pub(super) plan: Plan,
    pub(super) shared: Rc<Shared<'a>>,
    pub(super) lender: slice::IterMut<'a, Lent>,
    pub(super) runs: Vec<Run<'a>>,
    pub(super) deeds: Vec<(Tick, Deed)>,
    /// How far the clock of each monitor is ahead.
    pub(super) offsets: [u64; 3],
    /// What each attempt has met.
    pub(super) met: Vec<Vec<(Phase, FaultKind)>>,
    pub(super) tally: Tally,
    pub(super) events: u64,
    /// How often each fault of the plan was made ready.
    readied: Vec<u8>,
}

/// A fault that brings its own phase about again is not made ready for ever.
const READY_MAX: u8 = 2;

/// Whether a source in this phase has said COMMIT, and not taken it back.
const fn is_offered(phase: SourcePhase) -> bool {
    use SourcePhase as S;
    matches!(phase, S::Offered | S::InDoubt | S::Releasing | S::Released)
}

impl<'a> World<'a> {
    /// A world at its dawn.
    pub(super) fn new(
        plan: Plan,
        shared: Rc<Shared<'a>>,
        lender: slice::IterMut<'a, Lent>,
    ) -> Self {
        let moves = plan.moves.iter().enumerate();
        let readied = vec![0; plan.faults.len()];
        let deeds = moves.map(|(number, it)| (it.at, Deed::Move(number))).collect();
        Self {
            offsets: plan.offsets,
            plan,
            shared,
            lender,
            runs: Vec::new(),
            deeds,
            met: Vec::new(),
            tally: Tally::default(),
            events: 0,
            readied,
        }
    }

    /// Runs the world until it is at rest, and judges it.
    pub(super) fn live(&mut self) {
        let end = self.plan.calm_at.after(REST);
        loop {
            let now = self.next_event();
            // Nothing happens any more where every VM was lost.
            let is_over = now == NEVER && self.runs.iter().all(|run| run.is_over);
            if is_over {
                break;
            }
            if now >= end {
                self.restless();
                break;
            }
            self.step(now);
            if self.is_at_rest() || !self.shared.violations.borrow().is_empty() {
                break;
            }
        }
        if self.shared.violations.borrow().is_empty() {
            self.glow();
            check::at_rest(&self.shared);
        }
    }

    /// Lets the guests run on for a while, until their neighbors have heard of them.
    fn glow(&mut self) {
        let (begin, echo) = (self.shared.now(), check::Echo::now(&self.shared));
        loop {
            let now = self.next_event();
            let is_heard = now >= begin.after(AFTERGLOW) && echo.missing(&self.shared).is_none();
            if is_heard || now >= begin.after(SILENCE) || now == NEVER {
                break;
            }
            self.step(now);
        }
        echo.require(&self.shared);
    }

    fn next_event(&self) -> Tick {
        let deeds = self.deeds.iter().map(|(at, _)| *at);
        let copies = self.shared.copies.borrow();
        let wakes = copies.iter().map(|copy| copy.wake);
        let runs = self.runs.iter().filter(|run| !run.is_over).flat_map(|run| run.wakes);
        let written = self.shared.directory.borrow().next_event();
        let neighbors = self.shared.vms.iter().filter_map(|it| it.neighbors.next_event());
        let next = deeds.chain(wakes).chain(runs).chain(written).chain(neighbors);
        let next = next.min().unwrap_or(NEVER);
        next.max(self.shared.now())
    }

    fn step(&mut self, now: Tick) {
        self.events += 1;
        self.shared.clock.set(now);
        self.shared.directory.borrow_mut().advance(now);
        self.do_deeds(now);
        self.shared.step_neighbors(now);
        self.step_machines(now);
        for run in 0..self.runs.len() {
            for end in End::BOTH {
                if !self.runs[run].is_over && self.runs[run].wakes[end.place()] <= now {
                    self.step_end(run, end, now);
                }
            }
        }
        check::at_event(&self.shared);
    }

    fn do_deeds(&mut self, now: Tick) {
        while let Some(place) = self.deeds.iter().position(|(at, _)| *at <= now) {
            let (_, deed) = self.deeds.swap_remove(place);
            match deed {
                Deed::Move(number) => self.begin_move(number, now),
                Deed::Inflict(fault) => self.inflict(fault, now),
                Deed::Restart(run, end) => self.restart(run, end, now),
                Deed::Operate(run) => self.operate(run, now),
            }
        }
    }

    fn step_machines(&mut self, now: Tick) {
        let count = self.shared.copies.borrow().len();
        for copy in 0..count {
            let (wake, machine) = {
                let copies = self.shared.copies.borrow();
                (copies[copy].wake, copies[copy].machine)
            };
            if wake > now {
                continue;
            }
            let concerned = self.runs.iter_mut().filter(|run| !run.is_over);
            let mut is_moving = false;
            for run in concerned {
                for end in End::BOTH {
                    if run.spots[end.place()].copy.get() == Some(copy) {
                        run.wakes[end.place()] = run.wakes[end.place()].min(now);
                        is_moving = true;
                    }
                }
            }
            let mut next = machine.step_channel(now).unwrap_or(NEVER);
            for index in 0..machine.processor_count() {
                if let Some(step) = machine.step_processor(index, now, STEP_BUDGET) {
                    let at_once = if step.worked > 0 { now } else { NEVER };
                    next = next.min(step.next_due.unwrap_or(at_once));
                }
            }
            // A guest that is paced is not looked at more often than matters.
            let pause = Micros::new(if is_moving { 250 } else { 4_000 });
            let next = if next == NEVER { NEVER } else { next.max(now.after(pause)) };
            let due = machine.step_channel(now).unwrap_or(NEVER).max(now.after(Micros::new(1)));
            self.shared.copies.borrow_mut()[copy].wake = next.min(due);
        }
    }

    /// Steps one monitor and looks at what has become of it.
    fn step_end(&mut self, run: usize, end: End, now: Tick) {
        self.connect(run, now);
        let this = &mut self.runs[run];
        let before = this.phases;
        let local = Tick::new(now.get() + self.offsets[this.spots[end.place()].su]);
        let Some(wait) = this.step(end, now, local) else {
            this.wakes[end.place()] = NEVER;
            return;
        };
        this.spots[0].peer.set(this.spots[1].copy.get());
        this.check_drain(before);
        self.attribute(run, before);
        self.entered(run, before, now);
        let this = &mut self.runs[run];
        if this.spots[end.place()].is_dead() {
            this.spots[end.place()].struck(FaultKind::Restart);
            self.attribute(run, before);
            self.fall(run, end, now);
        } else if wait.finished {
            self.finish(run, end, now);
        } else {
            self.rest(run, end, wait, now);
        }
        self.runs[run].wake_for_link(end.other(), now);
        self.settle(run, now);
    }

    /// Sets the moment at which a monitor is stepped again.
    fn rest(&mut self, run: usize, end: End, wait: Wait, now: Tick) {
        let this = &mut self.runs[run];
        let soon = now.after(Micros::new(1));
        let offset = self.offsets[this.spots[end.place()].su];
        let deadline = wait.deadline.map(|at| Tick::new(at.get().saturating_sub(offset)));
        let busy = wait.busy.then_some(soon);
        let events = this.next_event(end, now);
        let next = [deadline, busy, events].into_iter().flatten().min().unwrap_or(NEVER);
        this.wakes[end.place()] = next.max(soon);
    }

    /// Says which phases the faults have met that have struck since the last time.
    pub(super) fn attribute(&mut self, run: usize, before: Phases) {
        let struck: Vec<_> = self.shared.struck.borrow_mut().drain(..).collect();
        for it in struck {
            let after = self.runs[it.run].phases;
            let before = if it.run == run { before } else { after };
            let on_link = it.kind.place() <= FaultKind::SlowLink.place();
            for phases in [before, after] {
                for end in End::BOTH {
                    if end != it.end && !on_link {
                        continue;
                    }
                    let phase = match end {
                        End::Source => Phase::Source(phases.source),
                        End::Target => Phase::Target(phases.target),
                    };
                    let met = &mut self.met[it.run];
                    if !met.contains(&(phase, it.kind)) {
                        met.push((phase, it.kind));
                    }
                }
            }
            let now = self.shared.now();
            self.shared.trace.note(now, 3, it.kind.place() as u64);
            let spot = &self.runs[it.run].spots[it.end.place()];
            spot.say(format_args!("* {} strikes", it.kind));
        }
    }

    /// Faults that wait for the first phases are made ready at the beginning.
    pub(super) fn begun(&mut self, run: usize, now: Tick) {
        let nothing = Phases { source: SourcePhase::Released, target: TargetPhase::Completed };
        self.make_ready(run, nothing, now);
    }

    /// Notes that an end has entered a phase, and makes the faults ready that wait for it.
    pub(super) fn entered(&mut self, run: usize, before: Phases, now: Tick) {
        let phases = self.runs[run].phases;
        if phases == before {
            return;
        }
        self.shared.trace.note(now, 1, phases.source as u64 * 64 + phases.target as u64);
        let this = &self.runs[run];
        if let Some(copy) = this.spots[0].copy.get() {
            self.shared.copies.borrow_mut()[copy].is_offered = is_offered(phases.source);
        }
        if phases.source != before.source {
            this.spots[0].say(format_args!("{:?} -> {:?}", before.source, phases.source));
        }
        if phases.target == TargetPhase::Running && before.target == TargetPhase::Claiming {
            check::without_resume(&this.spots[1]);
        }
        if phases.target != before.target {
            this.spots[1].say(format_args!("{:?} -> {:?}", before.target, phases.target));
        }
        if phases.source == SourcePhase::InDoubt && !self.runs[run].was_in_doubt {
            self.runs[run].was_in_doubt = true;
            let patience = Micros::new(20_000 + self.shared.draw(2_000_000));
            self.deeds.push((now.after(patience), Deed::Operate(run)));
        }
        self.make_ready(run, before, now);
    }

    fn make_ready(&mut self, run: usize, before: Phases, now: Tick) {
        let Run { phases, number, .. } = self.runs[run];
        for (place, fault) in self.plan.faults.iter().enumerate() {
            let begins = match fault.when {
                When::Source(phase) => phase == phases.source && phase != before.source,
                When::Target(phase) => phase == phases.target && phase != before.target,
            };
            let readied = &mut self.readied[place];
            if begins && fault.on_move == number && *readied < READY_MAX {
                *readied += 1;
                self.deeds.push((now.after(fault.delay), Deed::Inflict(place)));
            }
        }
    }

    fn finish(&mut self, run: usize, end: End, now: Tick) {
        let this = &mut self.runs[run];
        match end {
            End::Source => this.source = None,
            End::Target => this.target = None,
        }
        this.wire.borrow_mut().close(end, now);
        this.wakes[end.place()] = NEVER;
    }

    /// Ends an attempt of which both ends have ended.
    pub(super) fn settle(&mut self, run: usize, now: Tick) {
        let this = &mut self.runs[run];
        let restarts = |end| {
            let restart = Deed::Restart(run, end);
            self.deeds.iter().any(|(_, deed)| *deed == restart)
        };
        let is_open =
            this.source.is_some() || this.target.is_some() || End::BOTH.into_iter().any(restarts);
        if is_open || this.is_over {
            return;
        }
        this.is_over = true;
        if let Some(copy) = this.spots[0].copy.get() {
            self.shared.machine(copy).thaw();
        }
        let ending = self.ending(run);
        let this = &self.runs[run];
        self.shared.trace.note(now, 2, ending as u64);
        this.spots[0].say(format_args!("the attempt has ended: {}", ending.name()));
        self.tally.note(&self.met[run], ending);
    }

    fn ending(&self, run: usize) -> Ending {
        let this = &self.runs[run];
        let lost = self.shared.lost.borrow();
        if this.spots.iter().any(|spot| lost[spot.su]) {
            return Ending::Lost;
        }
        match this.phases.source {
            _ if this.is_decided => Ending::Decided,
            SourcePhase::Released if this.wire.borrow().connections() > 1 => Ending::Resumed,
            SourcePhase::Released => Ending::Completed,
            SourcePhase::InDoubt => Ending::Held,
            _ if this.was_in_doubt => Ending::TakenBack,
            _ => Ending::RolledBack,
        }
    }

    fn is_at_rest(&self) -> bool {
        self.shared.is_calm()
            && self.runs.iter().all(|run| run.is_over)
            && self
                .deeds
                .iter()
                .all(|(_, deed)| matches!(deed, Deed::Inflict(_) | Deed::Operate(_)))
    }

    fn restless(&self) {
        for run in self.runs.iter().filter(|run| !run.is_over) {
            let name = run.attempt.vm;
            let Phases { source, target } = run.phases;
            self.shared.violate(format!("{name} does not come to rest: {source:?}, {target:?}"));
        }
        if self.runs.iter().all(|run| run.is_over) {
            self.shared.violate("the world does not come to rest".to_owned());
        }
    }
}
