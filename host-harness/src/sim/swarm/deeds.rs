//! What is done to a world from outside: moves are begun, faults are made ready, monitors fall.
//!
//! Source of truth: the plan. Invariants: a VM is in one attempt at a time; what has lost its
//! meaning when its moment comes, since the attempt is over, is left out. Deliberately not here:
//! what the ports and the wire make of a fault.

use std::{cell::RefCell, rc::Rc};

use monitor_core::{
    migrate::{Attempt, Reception, SourcePhase, TargetPhase},
    units::{Incarnation, Micros, PageCount, StreamId, Tick},
};

use super::{
    fault::{End, FaultKind, Profile},
    plan::{MovePlan, To, limits},
    run::{self, Phases, Run},
    shared::Spot,
    wire::Wire,
    world::{Deed, World},
};

/// How long a move waits when its VM, or another one of its SU, is in another attempt.
const PATIENCE: Micros = Micros::from_millis(7);

/// A move that could not begin so long after the calm is left out.
const MOVES_END: Micros = Micros::from_millis(10_000);

impl World<'_> {
    /// Begins a move, or puts it off while the VM is in another attempt.
    pub(super) fn begin_move(&mut self, number: usize, now: Tick) {
        let planned = self.plan.moves[number].clone();
        let vm = planned.vm;
        let is_busy = self.runs.iter().any(|run| !run.is_over && run.spots[0].vm == vm);
        if is_busy {
            self.put_off(number, now);
            return;
        }
        let Some(home) = self.home(vm) else {
            return;
        };
        let su = self.shared.copies.borrow()[home].su;
        // One VM at a time leaves an SU: the others wait.
        if self.runs.iter().any(|run| !run.is_over && run.spots[0].su == su) {
            self.put_off(number, now);
            return;
        }
        let to = self.destination(vm, su, planned.to);
        if self.shared.lost.borrow()[to] {
            return;
        }
        self.begin_run(number, &planned, (home, su, to), now);
    }

    /// The move is tried again later.
    fn put_off(&mut self, number: usize, now: Tick) {
        if now < self.plan.calm_at.after(MOVES_END) {
            self.deeds.push((now.after(PATIENCE), Deed::Move(number)));
        }
    }

    /// The copy of the VM that its record names.
    fn home(&self, vm: usize) -> Option<usize> {
        let owner = self.shared.record(vm)?.owner;
        let copies = self.shared.copies.borrow();
        copies.iter().position(|it| it.vm == vm && it.is_there && self.shared.sus[it.su] == owner)
    }

    fn destination(&self, vm: usize, su: usize, to: To) -> usize {
        let count = self.shared.sus.len();
        match to {
            To::Home if self.plan.vms[vm].home != su => self.plan.vms[vm].home,
            To::Home => (su + 1) % count,
            To::Next(places) => (su + 1 + places % (count - 1)) % count,
        }
    }

    fn begin_run(
        &mut self,
        number: usize,
        planned: &MovePlan,
        (home, su, to): (usize, usize, usize),
        now: Tick,
    ) {
        let (vm, run) = (planned.vm, self.runs.len());
        let (Some(here), Some(there)) = (self.lender.next(), self.lender.next()) else {
            return;
        };
        let Some(record) = self.shared.record(vm) else {
            return;
        };
        self.shared.attach_by_hand(su, home, record.epoch);
        let spot = |end, su| Rc::new(Spot::new(Rc::clone(&self.shared), (run, end), (vm, su)));
        let spots = [spot(End::Source, su), spot(End::Target, to)];
        spots[0].copy.set(Some(home));
        spots[1].peer.set(Some(home));
        let facts = &self.shared.vms[vm];
        let attempt = Attempt {
            stream: StreamId::new(run as u64 + 1),
            vm: facts.block.name(),
            source: self.shared.sus[su],
            target: self.shared.sus[to],
            epoch: record.epoch,
            activity: facts.block.state().activity(),
            pages: facts.block.memory(),
            processors: facts.block.processor_count(),
            coordination: planned.coordination,
            limits: planned.limits,
        };
        let incarnation = Incarnation::new((run as u64 + 1) * 1_000);
        let mut reception =
            Reception::new(self.shared.sus[to], incarnation, PageCount::new(1 << 32));
        reception.frame_bytes_max = planned.frame_bytes_max;
        reception.window = planned.window;
        reception.limits = planned.limits;
        let wire = Rc::new(RefCell::new(Wire::new(planned.link)));
        let epoch = record.epoch;
        let mut source = run::source(&spots[0], &wire, here, planned.slots, home, epoch);
        let target = run::target(&spots[1], &wire, there, reception);
        let local = Tick::new(now.get() + self.offsets[su]);
        let started = source.start(local, attempt);
        debug_assert!(started.is_ok(), "a new machine refuses an attempt");
        spots[0].say(format_args!("a move begins, to {}", attempt.target));
        let phases = Phases { source: SourcePhase::Idle, target: TargetPhase::Empty };
        self.runs.push(Run {
            number,
            attempt,
            reception,
            spots,
            wire,
            source: Some(source),
            target: Some(target),
            phases,
            wakes: [now; 2],
            is_sending: [false; 2],
            is_over: false,
            slots: planned.slots,
            was_in_doubt: false,
            stepped: [now; 2],
            answerers: 0,
            is_decided: false,
        });
        self.met.push(Vec::new());
        self.begun(run, now);
    }

    /// Brings a fault of the plan about, or makes it ready for the use of its port.
    pub(super) fn inflict(&mut self, place: usize, now: Tick) {
        let fault = self.plan.faults[place];
        let open = self.runs.iter().position(|it| it.number == fault.on_move && !it.is_over);
        let Some(run) = open.filter(|_| now < self.plan.calm_at) else {
            return;
        };
        let this = &mut self.runs[run];
        let (before, end) = (this.phases, fault.end);
        let spot = Rc::clone(&this.spots[end.place()]);
        let mut wire = this.wire.borrow_mut();
        let span = fault.span;
        match fault.kind {
            FaultKind::Delay => wire.delay(now, span),
            FaultKind::OneWay => wire.block(end, now, span),
            FaultKind::Partition => {
                wire.block(End::Source, now, span.plus(span));
                wire.block(End::Target, now, span.plus(span));
            }
            FaultKind::Cut => wire.cut(now),
            FaultKind::SlowLink => wire.slow_down(now, span),
            FaultKind::CutAtByte => {
                // Single frames are short: half of the cuts are near.
                let mut noise = self.shared.noise.borrow_mut();
                let most = noise.pick(&[300, 300_000]);
                let bytes = noise.scaled(1, most);
                wire.cut_after(end, bytes as usize);
                return;
            }
            FaultKind::ClockStep => self.offsets[spot.su] += span.get(),
            kind @ (FaultKind::IoFails
            | FaultKind::IoWaits
            | FaultKind::IoLate
            | FaultKind::IoLost) => {
                for device in &self.shared.vms[spot.vm].devices {
                    device.misbehave(kind, span);
                }
            }
            FaultKind::Cancel => {
                drop(wire);
                self.cancel(run, now);
                return;
            }
            FaultKind::Restart => {
                drop(wire);
                self.light(run, end, fault.count, now);
                return;
            }
            FaultKind::LimitsChange => {
                drop(wire);
                self.change_limits(run, now);
                return;
            }
            FaultKind::SuLost => {
                drop(wire);
                spot.struck(FaultKind::SuLost);
                self.attribute(run, before);
                self.lose_su(spot.su, now);
                return;
            }
            kind => {
                spot.arm(kind, fault.count, span);
                return;
            }
        }
        drop(wire);
        spot.struck(fault.kind);
        self.attribute(run, before);
        self.stir(run, now);
    }

    /// Both ends of an attempt look about.
    pub(super) fn stir(&mut self, run: usize, now: Tick) {
        let this = &mut self.runs[run];
        for end in End::BOTH {
            if this.is_there(end) {
                this.wakes[end.place()] = now;
            }
        }
    }

    fn cancel(&mut self, run: usize, now: Tick) {
        let this = &mut self.runs[run];
        let before = this.phases;
        let local = Tick::new(now.get() + self.offsets[this.spots[0].su]);
        let Some(source) = &mut this.source else {
            return;
        };
        if source.cancel(local).is_ok() {
            this.spots[0].struck(FaultKind::Cancel);
            self.attribute(run, before);
            self.stir(run, now);
        }
    }

    fn change_limits(&mut self, run: usize, now: Tick) {
        let limits = limits(&mut self.shared.noise.borrow_mut(), Profile::Budget);
        let this = &mut self.runs[run];
        let before = this.phases;
        let Some(source) = &mut this.source else {
            return;
        };
        if source.set_limits(limits).is_ok() {
            this.attempt.limits = limits;
            this.spots[0].struck(FaultKind::LimitsChange);
            self.attribute(run, before);
            self.stir(run, now);
        }
    }
}
