//! What follows a failure from outside: monitors start again, operators decide, SUs are gone.
//!
//! Source of truth: ARCHITECTURE.md, "Restart of a monitor" and "The handover". Invariants: a
//! monitor that starts again knows its journal and finds its hardware, and nothing else; an
//! operator decides with evidence that is true. Deliberately not here: what a machine makes of it.

use std::rc::Rc;

use monitor_core::{
    migrate::{SourcePhase, TargetPhase, Verdict},
    units::{Incarnation, Micros, Tick},
    vm::{Ownership, Standing},
};

use super::{
    fault::{End, FaultKind},
    run::{self, NEVER},
    world::{Deed, World},
};

/// Monitors that begin at the target only to answer, for one attempt.
const ANSWERERS_MAX: u8 = 2;

/// How often an operator looks at a VM that is held.
const LOOK: Micros = Micros::from_millis(200);

impl World<'_> {
    /// A monitor is to crash so many effects later, the first one at once.
    pub(super) fn light(&mut self, run: usize, end: End, count: u8, now: Tick) {
        let this = &mut self.runs[run];
        if !this.is_there(end) {
            return;
        }
        if count > 1 {
            this.spots[end.place()].light(count - 1);
            return;
        }
        let before = this.phases;
        this.spots[end.place()].struck(FaultKind::Restart);
        self.attribute(run, before);
        self.fall(run, end, now);
        self.runs[run].wake_for_link(end.other(), now);
    }

    /// A monitor has crashed; it starts again after a while.
    pub(super) fn fall(&mut self, run: usize, end: End, now: Tick) {
        let this = &mut self.runs[run];
        let spot = &this.spots[end.place()];
        spot.say(format_args!("the monitor crashes"));
        this.crash(end);
        this.spots[end.place()].kill();
        this.wire.borrow_mut().cut(now);
        if let Some(copy) = this.spots[end.place()].copy.get() {
            self.shared.wake(copy);
        }
        let pause = Micros::new(1_000 + self.shared.draw(100_000));
        self.deeds.push((now.after(pause), Deed::Restart(run, end)));
    }

    /// A monitor starts again from what its journal says.
    pub(super) fn restart(&mut self, run: usize, end: End, now: Tick) {
        let this = &mut self.runs[run];
        let spot = Rc::new(this.spots[end.place()].again());
        spot.say(format_args!("the monitor starts again"));
        this.spots[end.place()] = Rc::clone(&spot);
        let local = Tick::new(now.get() + self.offsets[spot.su]);
        let Some(lent) = self.lender.next() else {
            self.shared.violate("the simulator has no memory left for a monitor".to_owned());
            return;
        };
        let before = this.phases;
        match end {
            End::Source => {
                this.source = run::restored_source(&spot, &this.wire, lent, this.slots, local);
                this.phases.source = match &this.source {
                    Some(source) => source.machine().phase(),
                    None if this.phases.source == SourcePhase::Released => SourcePhase::Released,
                    // Nothing was done to the guest that would have to be undone.
                    None => SourcePhase::RolledBack,
                };
            }
            End::Target => {
                let reception = this.reception;
                this.target = run::restored_target(&spot, &this.wire, lent, reception, local);
                this.phases.target = match &this.target {
                    Some(target) => target.machine().phase(),
                    None if this.phases.target == TargetPhase::Completed => TargetPhase::Completed,
                    None => TargetPhase::Dropped,
                };
            }
        }
        if this.is_there(end) {
            this.wakes[end.place()] = now;
        }
        self.entered(run, before, now);
        self.settle(run, now);
    }

    /// Lets a new connection stand if somebody listens at the target.
    pub(super) fn connect(&mut self, run: usize, now: Tick) {
        let this = &mut self.runs[run];
        if !this.wire.borrow().is_connecting(now) || this.source.is_none() {
            return;
        }
        let restarts = Deed::Restart(run, End::Target);
        let is_down = self.deeds.iter().any(|(_, deed)| *deed == restarts)
            || self.shared.lost.borrow()[this.spots[1].su];
        let answers = !is_down && this.target.is_none() && this.answerers < ANSWERERS_MAX;
        let is_heard = this.target.is_some() || answers;
        if !this.wire.borrow_mut().connect(now, is_heard) {
            return;
        }
        this.spots[1].say(format_args!("a new connection stands"));
        if answers {
            self.answer(run);
        }
        self.stir(run, now);
    }

    /// A monitor that knows nothing of the attempt begins, to answer the source.
    fn answer(&mut self, run: usize) {
        let Some(lent) = self.lender.next() else {
            return;
        };
        let this = &mut self.runs[run];
        this.answerers += 1;
        let spot = Rc::new(this.spots[1].again());
        this.spots[1] = Rc::clone(&spot);
        let mut reception = this.reception;
        let later = reception.incarnation.get() + 100 * u64::from(this.answerers);
        reception.incarnation = Incarnation::new(later);
        this.wire.borrow_mut().welcome(End::Target);
        this.target = Some(run::target(&spot, &this.wire, lent, reception));
    }

    /// An operator looks at a VM that is held in doubt, and decides if there is evidence.
    pub(super) fn operate(&mut self, run: usize, now: Tick) {
        let this = &mut self.runs[run];
        if this.is_over {
            return;
        }
        let restarts = Deed::Restart(run, End::Source);
        if self.deeds.iter().any(|(_, deed)| *deed == restarts) {
            // There is nobody to be asked: the monitor comes back.
            self.deeds.push((now.after(LOOK), Deed::Operate(run)));
            return;
        }
        let Some(source) = &mut this.source else {
            return;
        };
        if source.machine().phase() != SourcePhase::InDoubt {
            return;
        }
        self.deeds.push((now.after(LOOK), Deed::Operate(run)));
        let target = this.spots[1].copy.get();
        let has_run = target.is_some_and(|it| {
            let copy = &self.shared.copies.borrow()[it];
            // A guest that does not run shows that it is there by being owned.
            let is_owned = || {
                let su = self.shared.sus[copy.su];
                let is_its = |it: &Ownership| it.owner == su && it.standing == Standing::Running;
                let record = self.shared.record(copy.vm);
                !self.shared.vms[copy.vm].runs && record.as_ref().is_some_and(is_its)
            };
            copy.has_run || is_owned()
        });
        let is_lost = self.shared.lost.borrow()[this.spots[1].su];
        let epoch = source.machine().epoch().next();
        let local = Tick::new(now.get() + self.offsets[this.spots[0].su]);
        // Evidence about another epoch is evidence about another move.
        let wrong = source.decide(local, Verdict::TargetRuns(epoch.next()));
        if wrong.is_ok() {
            self.shared.violate("an operator's wrong evidence was taken".to_owned());
        }
        let verdict = match (is_lost, has_run) {
            (_, true) if !is_lost => Verdict::TargetRuns(epoch),
            (true, false) => Verdict::TargetLost(epoch),
            // What ran on an SU that is lost cannot go on from an older copy.
            _ => {
                if is_lost && source.machine().is_resolved() {
                    self.give_up(run, now);
                }
                return;
            }
        };
        if source.decide(local, verdict).is_ok() {
            this.spots[0].say(format_args!("an operator decides: {verdict:?}"));
            this.is_decided = true;
            self.stir(run, now);
        }
    }

    /// The target ran and is lost with all that it did: the copy here stays stopped.
    fn give_up(&mut self, run: usize, now: Tick) {
        let this = &mut self.runs[run];
        this.source = None;
        this.wakes[0] = NEVER;
        self.settle(run, now);
    }

    /// An SU is lost with everything that it has.
    pub(super) fn lose_su(&mut self, su: usize, now: Tick) {
        if std::mem::replace(&mut self.shared.lost.borrow_mut()[su], true) {
            return;
        }
        self.shared.trace.say(
            now,
            format_args!("{}", self.shared.sus[su]),
            format_args!("the SU is lost"),
        );
        for copy in self.shared.copies.borrow_mut().iter_mut().filter(|it| it.su == su) {
            copy.machine.stop();
            copy.is_there = false;
            copy.wake = NEVER;
        }
        for run in 0..self.runs.len() {
            if self.runs[run].is_over {
                continue;
            }
            for end in End::BOTH {
                let this = &mut self.runs[run];
                if this.spots[end.place()].su == su {
                    this.spots[end.place()].kill();
                    (this.source, this.target) = match end {
                        End::Source => (None, this.target.take()),
                        End::Target => (this.source.take(), None),
                    };
                    this.wakes[end.place()] = NEVER;
                    this.wire.borrow_mut().cut(now);
                    self.deeds.retain(|(_, deed)| *deed != Deed::Restart(run, end));
                }
            }
            self.stir(run, now);
            self.settle(run, now);
        }
    }
}
