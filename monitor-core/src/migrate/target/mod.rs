//! The target machine: answers, sets up the VM, receives it, claims it, runs it.
//!
//! Source of truth: ARCHITECTURE.md, "Machines" and "The handover". Invariants:
//! 1. The copy here runs only after this target has won the record; it claims only after COMMIT
//!    of the present incarnation.
//! 2. While a claim is under way the load is neither dropped nor said to be.
//! 3. Each load has its own incarnation; a load that was given up is never taken up again.
//! 4. What was set up for the VM and must be given back stands in `debts`.
//!
//! Deliberately not here: ports, clocks, page bodies.

mod answer;
mod claim;
mod receive;
mod recover;
mod running;
mod undo;

use bitflags::bitflags;

use self::{
    answer::{Answering, Building},
    claim::Claiming,
    receive::Receiving,
    running::Running,
    undo::Undoing,
};
use super::{
    attempt::{Reception, TargetLoan},
    effect::{Effect, Outbox},
    input::{Arrival, Input, StepError},
    journal::Stage,
    line::Line,
};
use crate::{
    device::Reassignment,
    fmt::info,
    message::Notice,
    units::{Epoch, Incarnation, PageCount, StreamId, SuName, Tick, VmName},
    vm::{Activity, Disposition, Operation, Ownership, Reason, Standing},
    wire::Frame,
};

bitflags! {
    /// What was set up for the VM and must be given back when the attempt ends here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Debts: u8 {
        const VM_BUILT = 0x01;
        const DEVICES_ASSIGNED = 0x02;
        const ANNOUNCED = 0x04;
        const GUEST_TOLD = 0x08;
    }

    /// What the operator was told once and need not be told again.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    struct Said: u8 {
        const HELD = 0x01;
        const NOT_STARTED = 0x02;
    }
}

/// Where the attempt stands; the data of a phase is in its variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Empty,
    Answering(Answering),
    Building(Building),
    Receiving(Receiving),
    Loaded { since: Tick },
    Claiming(Claiming),
    Running(Running),
    Undoing(Undoing),
    Completed,
    Dropped(Reason),
}

/// The phase alone, for tables, logs and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TargetPhase {
    /// Nothing was announced.
    Empty,
    /// A VM is being announced and held against this SU.
    Answering,
    /// The VM is being set up, its devices are being assigned.
    Building,
    /// Pages and state arrive.
    Receiving,
    /// Everything has arrived; COMMIT may come.
    Loaded,
    /// COMMIT has come; the record is being claimed.
    Claiming,
    /// The VM runs here.
    Running,
    /// The attempt has failed and what was set up is being given back.
    Undoing,
    /// The move is complete.
    Completed,
    /// Nothing of the attempt is left here.
    Dropped,
}

impl TargetPhase {
    /// Every phase.
    pub const ALL: [Self; 10] = [
        Self::Empty,
        Self::Answering,
        Self::Building,
        Self::Receiving,
        Self::Loaded,
        Self::Claiming,
        Self::Running,
        Self::Undoing,
        Self::Completed,
        Self::Dropped,
    ];
}

impl Phase {
    const fn kind(self) -> TargetPhase {
        match self {
            Self::Empty => TargetPhase::Empty,
            Self::Answering(_) => TargetPhase::Answering,
            Self::Building(_) => TargetPhase::Building,
            Self::Receiving(_) => TargetPhase::Receiving,
            Self::Loaded { .. } => TargetPhase::Loaded,
            Self::Claiming(_) => TargetPhase::Claiming,
            Self::Running(_) => TargetPhase::Running,
            Self::Undoing(_) => TargetPhase::Undoing,
            Self::Completed => TargetPhase::Completed,
            Self::Dropped(_) => TargetPhase::Dropped,
        }
    }
}

/// What HELLO has said about the VM and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Announcement {
    /// Identity of the attempt on the wire.
    pub stream: StreamId,
    /// The epoch under which the source owns the VM.
    pub epoch: Epoch,
    /// The VM.
    pub vm: VmName,
    /// The SU from which it comes.
    pub source: SuName,
    /// Pages of its storage.
    pub pages: PageCount,
    /// Its virtual processors; known once the definition has come.
    pub processors: u16,
    /// Its devices; known once they are described.
    pub devices: u16,
    /// What it is doing; known once the definition has come.
    pub activity: Activity,
}

/// The machine of the target end.
#[derive(Debug)]
#[cfg_attr(feature = "_model", derive(Clone, PartialEq, Eq, Hash))]
pub struct Target {
    reception: Reception,
    announced: Option<Announcement>,
    incarnation: Incarnation,
    phase: Phase,
    out: Outbox,
    debts: Debts,
    devices: Reassignment,
    heard: Tick,
    /// What the operator knows already.
    said: Said,
    line: Line,
    /// The last frame of the source that is stored.
    stored: u64,
    /// Who has asked for an attempt of which nothing is known here.
    asked: Option<(StreamId, Epoch)>,
    /// What the journal says; `Over` while nothing is to be kept.
    saved: Stage,
}

/// The result of a step of this machine.
pub(super) type Step = Result<(), StepError<TargetPhase>>;

impl Target {
    /// A machine to which nothing was announced yet. One machine serves one attempt.
    #[must_use]
    pub fn new(reception: Reception) -> Self {
        Self {
            incarnation: reception.incarnation,
            reception,
            announced: None,
            phase: Phase::Empty,
            out: Outbox::new(),
            debts: Debts::empty(),
            devices: Reassignment::default(),
            heard: Tick::new(0),
            said: Said::empty(),
            line: Line::Up,
            stored: 0,
            asked: None,
            saved: Stage::Over,
        }
    }

    /// The definition has arrived with the last DEFINITION frame: the driver tells what of it the
    /// machine decides on.
    pub const fn describe(&mut self, processors: u16, pages: PageCount, activity: Activity) {
        if let Some(announced) = &mut self.announced {
            announced.processors = processors;
            announced.activity = activity;
            announced.pages = pages;
        }
    }

    /// Takes an input.
    ///
    /// # Errors
    /// `OutOfPhase`, `Foreign` or `Mismatch`: the machine is unchanged; when the input was a
    /// frame, the link must be given up, by `LinkLost`. `EffectsPending`: poll effects first.
    pub fn handle(&mut self, now: Tick, input: Input, loan: &mut TargetLoan<'_>) -> Step {
        // A lost link drops the frames that wait, so that it always finds room.
        if let Input::LinkLost(fault) = input {
            return self.lose_link(now, fault);
        }
        if let Input::Done(Operation::SaveJournal) | Input::Failed(Operation::SaveJournal) = input
            && !self.awaits_journal()
        {
            return Ok(());
        }
        if !self.out.has_room() {
            return Err(StepError::EffectsPending);
        }
        if let Input::Frame(arrival) = input {
            if self.announced.is_some_and(|known| is_foreign(&known, &arrival)) {
                return Err(StepError::Foreign);
            }
            self.heard = now;
            if arrival.frame == Frame::Resume {
                return self.answer_status(&arrival);
            }
            // On a new connection the source asks before it says anything else.
            if self.line.is_greeting() {
                return Err(self.out_of_phase(input));
            }
        }
        if input == Input::LinkUp {
            self.line = self.line.connected(now);
            return Ok(());
        }
        match self.phase {
            Phase::Empty => self.in_empty(now, input),
            Phase::Answering(answering) => self.in_answering(now, answering, input, loan),
            Phase::Building(building) => self.in_building(now, building, input, loan),
            Phase::Receiving(receiving) => self.in_receiving(now, receiving, input, loan),
            Phase::Loaded { since } => self.in_loaded(now, since, input),
            Phase::Claiming(claiming) => self.in_claiming(now, claiming, input, loan),
            Phase::Running(running) => self.in_running(now, running, input, loan),
            Phase::Undoing(undoing) => self.in_undoing(now, undoing, input, loan),
            Phase::Completed => self.in_completed(input, loan),
            Phase::Dropped(reason) => self.in_dropped(reason, input),
        }
    }

    /// The next thing to do. To be called until it gives `None` after each input.
    #[must_use]
    pub fn poll_effect(&mut self, now: Tick, loan: &mut TargetLoan<'_>) -> Option<Effect> {
        if let Some(effect) = self.out.pop() {
            return Some(effect);
        }
        match self.phase {
            Phase::Empty
            | Phase::Answering(_)
            | Phase::Receiving(_)
            | Phase::Loaded { .. }
            | Phase::Completed
            | Phase::Dropped(_) => None,
            Phase::Running(running) => self.next_in_running(now, running, loan),
            Phase::Building(building) => self.next_in_building(now, building, loan),
            Phase::Claiming(claiming) => self.next_in_claiming(now, claiming, loan),
            Phase::Undoing(undoing) => self.next_in_undoing(undoing, loan),
        }
    }

    /// When to call `handle` with `Deadline` at the latest, or `None`. Calling it early does no
    /// harm.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Tick> {
        let limits = self.reception.limits;
        match self.phase {
            Phase::Empty | Phase::Completed | Phase::Dropped(_) => None,
            // Before BUILD the guest is asked for its consent, which takes its own time.
            Phase::Answering(_) => {
                Some(self.heard.after(limits.peer_answer.plus(limits.guest_answer)))
            }
            Phase::Receiving(_) => Some(self.patience(self.heard)),
            Phase::Loaded { since } => Some(self.patience(since.max(self.heard))),
            Phase::Building(building) => Some(building.deadline(limits)),
            Phase::Claiming(claiming) => claiming.deadline(),
            Phase::Running(running) => Some(running.deadline(self.heard, self.line, limits)),
            Phase::Undoing(_) => None,
        }
    }

    /// The phase.
    #[must_use]
    pub const fn phase(&self) -> TargetPhase {
        self.phase.kind()
    }

    /// Why the attempt failed, once it is dropped or being undone.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self.phase {
            Phase::Dropped(reason) => Some(reason),
            Phase::Undoing(undoing) => Some(undoing.reason()),
            Phase::Empty
            | Phase::Answering(_)
            | Phase::Building(_)
            | Phase::Receiving(_)
            | Phase::Loaded { .. }
            | Phase::Claiming(_)
            | Phase::Running(_)
            | Phase::Completed => None,
        }
    }

    /// What has become of the guest, as far as this end knows.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self.phase {
            Phase::Claiming(_) => Disposition::HeldAtTarget,
            Phase::Running(_) | Phase::Completed => Disposition::RunsAtTarget,
            Phase::Empty
            | Phase::Answering(_)
            | Phase::Building(_)
            | Phase::Receiving(_)
            | Phase::Loaded { .. }
            | Phase::Undoing(_)
            | Phase::Dropped(_) => Disposition::RunsAtSource,
        }
    }

    /// What was announced.
    #[must_use]
    pub const fn announced(&self) -> Option<&Announcement> {
        self.announced.as_ref()
    }

    /// What this target is.
    #[must_use]
    pub const fn reception(&self) -> &Reception {
        &self.reception
    }

    /// The identity of the attempt on the wire; zero before HELLO.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        let asked = self.asked.map_or(StreamId::new(0), |(stream, _)| stream);
        self.announced.as_ref().map_or(asked, |known| known.stream)
    }

    /// The epoch under which the source owns the VM; frames carry it, before and after the claim.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let asked = self.asked.map_or(Epoch::new(0), |(_, epoch)| epoch);
        self.announced.as_ref().map_or(asked, |known| known.epoch)
    }

    /// The epoch under which the VM is owned here once the claim is won.
    #[must_use]
    pub fn claimed_epoch(&self) -> Epoch {
        self.epoch().next()
    }

    /// The incarnation of the present load.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether the link is still used; a driver that still has bytes for it drops them if not.
    #[must_use]
    pub const fn uses_link(&self) -> bool {
        self.out.link_open()
    }

    /// Whether what comes from the source is still heard, on a new connection too.
    #[must_use]
    pub const fn listens(&self) -> bool {
        self.line.is_up() || self.line.is_greeting()
    }

    /// Whether effects must go on although a frame waits for room on the link: what was begun for
    /// the guest, or is being given back, does not depend on the peer.
    #[must_use]
    pub const fn owes_guest(&self) -> bool {
        match self.phase {
            Phase::Empty
            | Phase::Answering(_)
            | Phase::Building(_)
            | Phase::Receiving(_)
            | Phase::Loaded { .. } => false,
            Phase::Claiming(_)
            | Phase::Running(_)
            | Phase::Undoing(_)
            | Phase::Completed
            | Phase::Dropped(_) => true,
        }
    }

    /// Whether a whole step's effects find room; if not, effects must be polled first.
    #[must_use]
    pub fn takes_input(&self) -> bool {
        self.out.has_room()
    }

    /// Forgets how many frames were sent, which decides nothing: a search takes states for one
    /// that differ in nothing else.
    #[cfg(feature = "_model")]
    pub fn forget_sequence(&mut self) {
        self.out.forget_sequence();
        self.stored = 0;
    }

    /// Forgets what an operator was told, and what was stored of a load that is complete or given
    /// up: unlike `forget_sequence`, this changes nothing that the source can still learn.
    #[cfg(feature = "_model")]
    pub fn forget_words(&mut self) {
        self.out.forget_sequence();
        self.said = Said::empty();
        match self.phase {
            Phase::Empty
            | Phase::Answering(_)
            | Phase::Building(_)
            | Phase::Receiving(_)
            | Phase::Loaded { .. } => return,
            Phase::Claiming(_) | Phase::Running(_) | Phase::Completed => {}
            Phase::Undoing(undoing) => self.phase = Phase::Undoing(undoing.for_any_reason()),
            Phase::Dropped(_) => self.phase = Phase::Dropped(Reason::Cancelled),
        }
        self.stored = 0;
    }

    /// Whether the VM's processors run, or will.
    fn guest_runs(&self) -> bool {
        self.announced.as_ref().is_some_and(|known| known.activity == Activity::Running)
    }

    /// The record before and after the step that brings it to this standing.
    fn claim_records(&self, standing: Standing) -> Option<(Ownership, Ownership)> {
        let known = self.announced.as_ref()?;
        let claimed = Ownership::claimed(self.reception.su, known.epoch.next());
        Some(match standing {
            Standing::Claimed => (Ownership::running(known.source, known.epoch), claimed),
            Standing::Running => (claimed, claimed.at(Standing::Running)),
        })
    }

    /// Tells the operator once what keeps the guest from running.
    fn say_once(&mut self, said: Said, notice: Notice) {
        if !self.said.contains(said) {
            self.said.insert(said);
            self.out.push(Effect::Notice(notice));
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        info!("target enters phase {}", self.phase_number());
    }

    /// The phase as a number, for logs that print no text.
    #[expect(clippy::as_conversions, reason = "a fieldless enum is numbered from 0")]
    const fn phase_number(&self) -> u8 {
        self.phase.kind() as u8
    }

    const fn out_of_phase(&self, input: Input) -> StepError<TargetPhase> {
        StepError::OutOfPhase { phase: self.phase.kind(), input: input.kind() }
    }

    /// A frame that says that the source has ended the attempt; any other one is out of phase.
    fn source_ends(&mut self, now: Tick, input: Input, frame: Frame) -> Step {
        match frame {
            Frame::Abort(reason) => {
                info!("the source ended the attempt for reason {}", reason.code());
                self.abort(now, reason);
                Ok(())
            }
            Frame::Hello(_)
            | Frame::Definition
            | Frame::Device(_)
            | Frame::Check(_)
            | Frame::Build
            | Frame::Pages(_)
            | Frame::Keys(_)
            | Frame::PassEnd(_)
            | Frame::Processor { .. }
            | Frame::Subchannel(_)
            | Frame::RehearsalEnd(_)
            | Frame::LoadEnd { .. }
            | Frame::Recopy
            | Frame::Machine { .. }
            | Frame::Commit(_)
            | Frame::Released
            | Frame::Findings(_)
            | Frame::Built(_)
            | Frame::Ack(_)
            | Frame::Rehearsed(_)
            | Frame::Ready(_)
            | Frame::Resume
            | Frame::Status(_)
            | Frame::Running(_)
            | Frame::Completed
            | Frame::Aborted { .. } => Err(self.out_of_phase(input)),
        }
    }
}

/// Whether a frame belongs to another attempt than the announced one.
fn is_foreign(known: &Announcement, arrival: &Arrival) -> bool {
    known.stream != arrival.stream || known.epoch != arrival.epoch
}
