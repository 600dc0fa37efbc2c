//! Target, recovery: a lost connection, another one in its place, a restart of the monitor.
//!
//! Source of truth: PROTOCOL.md, "Lost connections"; ARCHITECTURE.md, "Restart of a monitor".
//! Invariants: STATUS changes nothing but what has to arrive anew; a load that is not known is
//! never said to be dropped; a claim that may be under way is settled after a restart as before.

use super::{Debts, Phase, Step, Target, claim::Claiming, running::Running, undo::Undoing};
use crate::{
    fmt::info,
    migrate::{
        attempt::Reception,
        effect::Effect,
        input::{Arrival, Input, LinkFault},
        journal::{Stage, TargetJournal},
        line::Line,
    },
    units::Tick,
    vm::{GuestEvent, Reason},
    wire::{Frame, LoadState, Status},
};

impl Target {
    /// The machine of a monitor that was restarted and has found this journal. A load of which
    /// nothing was claimed is given up; a claim is settled by the same compare-and-set.
    ///
    /// The devices that are lent are to be [`crate::device::DeviceEntry::assigned`], described as
    /// they were announced. Starting processors that run, assigning an alias that the VM has,
    /// attaching a device that is attached under the same epoch, and removing one that the VM does
    /// not have, have to succeed.
    #[must_use]
    pub fn restore(now: Tick, reception: Reception, journal: &TargetJournal) -> Self {
        let TargetJournal { announced, incarnation, stage } = *journal;
        let mut target = Self::new(reception);
        target.announced = Some(announced);
        target.heard = now;
        target.saved = stage;
        target.line = Line::Down { lost: now };
        target.out.give_up_link();
        target.incarnation = incarnation;
        // Nothing pays them while the record is this target's; when it is not, all is owed.
        target.debts = Debts::ANNOUNCED | Debts::VM_BUILT | Debts::DEVICES_ASSIGNED;
        target.phase = match stage {
            Stage::Claiming(_) => Phase::Claiming(Claiming::restored(now)),
            Stage::Running(_) => Phase::Running(Running::restored(now, false)),
            Stage::Completed(_) => Phase::Running(Running::restored(now, true)),
            Stage::Over => Phase::Dropped(Reason::MonitorRestarted),
            // The other stages are none of a target.
            Stage::Building
            | Stage::Open
            | Stage::Offered(_)
            | Stage::Undoing(_)
            | Stage::Moved => Phase::Undoing(Undoing::first(Reason::MonitorRestarted)),
        };
        // What the guest has answered the former monitor is not known, so it is told once more.
        if matches!(stage, Stage::Running(_)) && target.guest_runs() {
            target.debts.insert(Debts::GUEST_TOLD);
            target.out.push(Effect::Tell(GuestEvent::Moved));
        }
        target
    }

    /// What the journal is to say at this stage; `None` before a VM was announced.
    #[must_use]
    pub const fn journal(&self, stage: Stage) -> Option<TargetJournal> {
        match self.announced {
            Some(announced) => {
                Some(TargetJournal { announced, incarnation: self.incarnation, stage })
            }
            None => None,
        }
    }

    /// Queues the writing of the journal.
    pub(super) fn save(&mut self, stage: Stage) {
        self.saved = stage;
        self.out.push(Effect::Save(stage));
    }

    /// Whether the attempt goes on when the journal is written.
    pub(super) const fn awaits_journal(&self) -> bool {
        match self.phase {
            Phase::Building(building) => building.awaits_journal(),
            Phase::Claiming(claiming) => matches!(claiming, Claiming::Saving),
            Phase::Empty
            | Phase::Answering(_)
            | Phase::Receiving(_)
            | Phase::Loaded { .. }
            | Phase::Running(_)
            | Phase::Undoing(_)
            | Phase::Completed
            | Phase::Dropped(_) => false,
        }
    }

    /// Whether another connection is awaited in place of one that was lost.
    #[must_use]
    pub const fn wants_link(&self) -> bool {
        self.line.wants_link()
    }

    /// How long the source, or a line that is lost, is waited for.
    pub(super) fn patience(&self, since: Tick) -> Tick {
        let limits = self.reception.limits;
        self.line.deadline(since, limits.peer_answer, limits.reconnect)
    }

    /// What a lost connection means: before COMMIT the load is kept for a while, behind it the
    /// record alone decides.
    pub(super) fn lose_link(&mut self, now: Tick, fault: LinkFault) -> Step {
        self.out.give_up_link();
        info!("link lost in phase {}", self.phase_number());
        let lost = self.line.after_loss(now);
        self.line = Line::Gone;
        match self.phase {
            Phase::Empty => self.enter(Phase::Dropped(fault.reason())),
            Phase::Answering(_) | Phase::Building(_) => self.abort(now, fault.reason()),
            Phase::Receiving(_) | Phase::Loaded { .. } if !fault.is_recoverable() => {
                self.abort(now, fault.reason());
            }
            // The guest is owed the rest whoever is at the other end.
            Phase::Receiving(_)
            | Phase::Loaded { .. }
            | Phase::Claiming(_)
            | Phase::Running(_)
            | Phase::Undoing(_) => self.line = lost,
            // Behind the end of an attempt the source closes the link.
            Phase::Completed | Phase::Dropped(_) => {}
        }
        Ok(())
    }

    /// Answers RESUME. The state of a load that is not complete comes anew.
    pub(super) fn answer_status(&mut self, arrival: &Arrival) -> Step {
        // It is the first frame of a connection, or what is asked for is not known here.
        if !self.line.is_greeting() && self.phase != Phase::Empty {
            return Err(self.out_of_phase(Input::Frame(*arrival)));
        }
        let state = match self.phase {
            Phase::Empty => {
                self.asked = Some((arrival.stream, arrival.epoch));
                LoadState::Unknown
            }
            Phase::Answering(_) | Phase::Building(_) => {
                return Err(self.out_of_phase(Input::Frame(*arrival)));
            }
            Phase::Receiving(receiving) => {
                self.phase = Phase::Receiving(receiving.anew());
                LoadState::Receiving
            }
            Phase::Loaded { .. } => LoadState::Loaded,
            Phase::Claiming(_) => LoadState::Claiming,
            Phase::Running(running) if running.has_completed() => LoadState::Completed,
            Phase::Running(_) => LoadState::Running,
            Phase::Undoing(_) => LoadState::Ending,
            Phase::Completed => LoadState::Completed,
            Phase::Dropped(reason) => LoadState::Dropped(reason),
        };
        self.line = Line::Up;
        self.out.take_link();
        let Self { incarnation, stored, .. } = *self;
        self.out.send(Frame::Status(Status { state, incarnation, stored }));
        Ok(())
    }
}
