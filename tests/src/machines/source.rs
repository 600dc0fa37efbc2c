//! The source machine with its surroundings.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". The rules that this end keeps watch over:
//! COMMIT is sent once for a load; behind it the processors start only after ABORTED of that load
//! or a won record; frames are numbered without a gap; nothing is started twice; an attempt that
//! is undone leaves nothing of it behind; what does not go with the guest is detached while the
//! guest runs, and so at COMMIT.

use monitor_core::{
    device::{DeviceEntry, DeviceKind},
    memory::{AtomicWord, DirtyBitmap},
    migrate::{
        Arrival, Attempt, Coordination, Effect, Input, SentRun, Source, SourceJournal, SourceLoan,
        SourcePhase, Stage, Verdict,
    },
    units::{Incarnation, PageNumber, StreamId, Tick},
    vm::{
        Activity, DirectoryAnswer, Disposition, Findings, GuestAnswer, MigrationMark, Obstacle,
        Operation, ProcessorSet, Reason,
    },
    wire::{Frame, FrameType, LoadState, Status},
};

use super::{
    Case, DEVICES, EPOCH, End, FIRST_LOAD, LIMITS, NEXT_LOAD, NOW, Name, Owed, PAGES, Refusal,
    STREAM, Stimulus, case, common_inputs, devices, fact, frame, frames_of_codes, hello, records,
    source_su, target_su, vm_name,
};

/// Connections that are lost in one course before COMMIT.
const LOSSES_MAX: u8 = 1;

/// Words of a map of one group.
const MAP_WORDS: usize = 3;

/// Bytes of a frame with exactly one page.
const SMALL_FRAME: u32 = 48 + 16 + 64 + 4096;

/// The source machine, the memory lent to it, what is owed to it, and what was done to the guest.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct SourceEnd {
    machine: Source,
    attempt: Attempt,
    pages: [u64; MAP_WORDS],
    keys: [u64; MAP_WORDS],
    window: [Option<SentRun>; 2],
    devices: [DeviceEntry; DEVICES as usize],
    findings: Findings,
    owed: Owed,
    /// Number of the last frame that was sent.
    sent: u64,
    /// Whether frames that were numbered may have been lost with a connection.
    has_lost_frames: bool,
    /// Connections that were lost before COMMIT.
    losses: u8,
    /// The load that the target has named last.
    load: Incarnation,
    committed: [Option<Incarnation>; 2],
    /// The loads of which the target has said that they are dropped: the first, the next.
    dropped: [bool; 2],
    may_resume: bool,
    is_tracked: bool,
    is_marked: bool,
    is_stopped: bool,
    /// Whether the journal can be written.
    has_journal: bool,
    /// What the guest loses by the move.
    surplus: ProcessorSet,
    /// Whether it has left that.
    has_left: bool,
    breach: Option<&'static str>,
}

impl SourceEnd {
    /// A source without an attempt, for a guest in this state.
    #[must_use]
    pub fn new(activity: Activity, coordination: Coordination) -> Self {
        let attempt = Attempt {
            stream: STREAM,
            vm: vm_name(),
            source: source_su(),
            target: target_su(),
            epoch: EPOCH,
            activity,
            pages: PAGES,
            processors: 1,
            coordination,
            limits: LIMITS,
        };
        Self {
            machine: Source::new(),
            attempt,
            pages: [0; MAP_WORDS],
            keys: [0; MAP_WORDS],
            window: [None; 2],
            devices: devices(DeviceKind::Disk).map(|it| DeviceEntry::attached(it, EPOCH)),
            findings: Findings::new(),
            owed: Owed::default(),
            sent: 0,
            has_lost_frames: false,
            losses: 0,
            load: FIRST_LOAD,
            committed: [None; 2],
            dropped: [false; 2],
            may_resume: true,
            is_tracked: false,
            is_marked: false,
            is_stopped: false,
            has_journal: true,
            surplus: ProcessorSet::EMPTY,
            has_left: false,
            breach: None,
        }
    }

    /// The same with a device that does not go with the guest.
    #[must_use]
    pub fn with_device(mut self, kind: DeviceKind) -> Self {
        self.devices = devices(kind).map(|it| DeviceEntry::attached(it, EPOCH));
        self
    }

    /// Whether the search is to go on from here. The consent that one attempt needs decides only
    /// about the preparation, and so does the loss of processors; what follows, the attempt that
    /// has neither shows as well.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        let copies = (SourcePhase::Precopy..=SourcePhase::Releasing).contains(&self.phase());
        let is_shown_elsewhere = self.attempt.activity == Activity::Running
            && self.attempt.coordination == Coordination::Required;
        !(copies && (is_shown_elsewhere || !self.surplus.is_empty()))
    }

    fn with_loan<R>(
        &mut self,
        action: impl FnOnce(&mut Source, &mut SourceLoan<'_, '_>) -> R,
    ) -> R {
        let (pages, keys) = (self.pages.map(AtomicWord::new), self.keys.map(AtomicWord::new));
        let map = |words| DirtyBitmap::try_new(words, PAGES).expect("three words are one group");
        let mut loan = SourceLoan {
            pages: map(&pages),
            keys: map(&keys),
            window: &mut self.window,
            devices: &mut self.devices,
            findings: &mut self.findings,
        };
        let result = action(&mut self.machine, &mut loan);
        self.pages = pages.map(AtomicWord::into_inner);
        self.keys = keys.map(AtomicWord::into_inner);
        result
    }

    /// The same with a journal that cannot be written.
    #[must_use]
    pub const fn without_journal(mut self) -> Self {
        self.has_journal = false;
        self
    }

    /// The same for a guest that loses a processor by the move.
    #[must_use]
    pub const fn losing_processors(mut self) -> Self {
        self.surplus = ProcessorSet::from_bits(2);
        self
    }

    /// The end after a restart of its monitor, which has found this stage in its journal.
    #[must_use]
    pub fn restored(mut self, stage: Stage) -> Self {
        let journal = SourceJournal { attempt: self.attempt, epoch: EPOCH, stage };
        self.machine = Source::restore(NOW, &journal);
        for entry in &mut self.devices {
            *entry = DeviceEntry::quiesced(entry.descriptor, EPOCH);
        }
        self.may_resume = !matches!(stage, Stage::Offered(_) | Stage::Moved);
        (self.is_tracked, self.is_marked, self.has_lost_frames) = (true, true, true);
        self.is_stopped = self.attempt.activity == Activity::Running;
        while self.poll(NOW).is_some() {}
        self
    }

    /// The end of a save comes at once.
    fn answer_save(&mut self, now: Tick) {
        let saved = Operation::SaveJournal;
        let input = if self.has_journal { Input::Done(saved) } else { Input::Failed(saved) };
        let answered = self.with_loan(|machine, loan| machine.handle(now, input, loan));
        if answered.is_err() {
            self.breaks("the end of a save is taken at once");
        }
    }

    fn breaks(&mut self, rule: &'static str) {
        self.breach = self.breach.or(Some(rule));
    }

    /// The load that is not the present one.
    fn other_load(&self) -> Incarnation {
        if self.load == FIRST_LOAD { NEXT_LOAD } else { FIRST_LOAD }
    }

    fn hellos() -> [Case; 5] {
        let whole = hello(48 + 16 + 64 + 64 * 4096, 2);
        let mut elsewhere = whole;
        elsewhere.target = source_su();
        let mut newer = whole;
        (newer.version_min, newer.version_max) = (u16::MAX, u16::MAX);
        let foreign = Arrival {
            stream: StreamId::new(1),
            epoch: EPOCH,
            sequence: 1,
            frame: Frame::Hello(whole),
        };
        [
            frame("", Frame::Hello(whole)),
            frame("with small frames and a window of one", Frame::Hello(hello(SMALL_FRAME, 1))),
            frame("of another target", Frame::Hello(elsewhere)),
            frame("of unknown versions", Frame::Hello(newer)),
            case("HELLO", "of another attempt", Input::Frame(foreign)),
        ]
    }

    fn target_frames(&self) -> Vec<Case> {
        let (own, other) = (self.load, self.other_load());
        let aborted = |incarnation| Frame::Aborted { incarnation, reason: Reason::BuildFailed };
        vec![
            frame("", Frame::Abort(Reason::Cancelled)),
            frame("without obstacle", Frame::Findings(0)),
            frame("with an obstacle", Frame::Findings(1)),
            frame("present load", Frame::Built(own)),
            frame("other load", Frame::Built(other)),
            frame("of nothing", Frame::Ack(0)),
            frame("of the last but one", Frame::Ack(self.sent.saturating_sub(1))),
            frame("of everything", Frame::Ack(self.sent)),
            frame("of what was not sent", Frame::Ack(self.sent + 9)),
            frame("", Frame::Rehearsed(monitor_core::units::Micros::new(1))),
            frame("present load", Frame::Ready(own)),
            frame("other load", Frame::Ready(other)),
            frame("present load", Frame::Running(own)),
            frame("other load", Frame::Running(other)),
            frame("", Frame::Completed),
            frame("present load", aborted(own)),
            frame("other load", aborted(other)),
        ]
    }

    /// What the target can say on a new connection.
    fn statuses(&self) -> Vec<Case> {
        let states = [
            ("unknown", LoadState::Unknown),
            ("receiving", LoadState::Receiving),
            ("loaded", LoadState::Loaded),
            ("claiming", LoadState::Claiming),
            ("running", LoadState::Running),
            ("completed", LoadState::Completed),
            ("dropped", LoadState::Dropped(Reason::BuildFailed)),
            ("ending", LoadState::Ending),
        ];
        let status =
            |state, incarnation, stored| Frame::Status(Status { state, incarnation, stored });
        let mut cases: Vec<Case> = states
            .into_iter()
            .map(|(name, state)| frame(name, status(state, self.load, self.sent)))
            .collect();
        let other = self.other_load();
        cases.push(frame("running, other load", status(LoadState::Running, other, 0)));
        cases.push(frame("receiving, nothing stored", status(LoadState::Receiving, self.load, 0)));
        let beyond = status(LoadState::Receiving, self.load, self.sent + 9);
        cases.push(frame("receiving, stored what was not sent", beyond));
        cases
    }

    /// Frames are numbered on with each connection before COMMIT, so that these need a bound.
    fn is_within_losses(&self, case: &Case) -> bool {
        let is_loss = matches!(case.stimulus, Stimulus::Input(_, Input::LinkLost(_)));
        !is_loss || self.losses < LOSSES_MAX || self.phase() > SourcePhase::Suspended
    }

    /// What the guest and the rules have from an input that was taken.
    fn note_input(&mut self, input: &Input) {
        match *input {
            Input::LinkLost(_) => {
                self.has_lost_frames = true;
                self.losses = self.losses.saturating_add(1);
            }
            Input::Frame(Arrival { frame: Frame::Built(load), .. }) => self.load = load,
            Input::Frame(Arrival { frame: Frame::Aborted { incarnation, .. }, .. }) => {
                if let Some(place) = place(incarnation) {
                    self.dropped[place] = true;
                }
                self.may_resume |= self.committed.iter().flatten().last() == Some(&incarnation);
            }
            Input::Directory(DirectoryAnswer::Won) => self.may_resume = true,
            Input::Directory(DirectoryAnswer::Lost(record))
                if record == records()[1] || record == records()[3] =>
            {
                self.may_resume = true;
            }
            Input::Done(Operation::ResumeProcessors) => self.is_stopped = false,
            Input::Guest(GuestAnswer::Ready) if !self.surplus.is_empty() => self.has_left = true,
            _ => {}
        }
    }

    fn note_effect(&mut self, effect: &Effect) {
        if !self.owed.note(effect) {
            self.breaks("nothing is started while it is under way");
        }
        match *effect {
            Effect::Send { sequence, frame } => {
                let is_next = sequence.get() == self.sent + 1;
                let is_behind_loss = self.has_lost_frames && sequence.get() > self.sent;
                if !is_next && !is_behind_loss {
                    self.breaks("frames are numbered without a gap");
                }
                self.has_lost_frames = false;
                self.sent = sequence.get();
                if let Frame::Commit(load) = frame {
                    self.note_commit(load);
                }
                if frame == Frame::Build && !self.surplus.is_empty() && !self.has_left {
                    self.breaks("a guest loses no processor that it has not left");
                }
            }
            Effect::Start(Operation::StopProcessors) => self.is_stopped = true,
            Effect::Start(Operation::DetachDevice(_)) if self.is_stopped => {
                self.breaks("a device is detached while the guest runs");
            }
            Effect::Start(Operation::TrackChanges) => self.is_tracked = true,
            Effect::StopTracking => self.is_tracked = false,
            Effect::Mark(mark) => self.is_marked = mark != MigrationMark::None,
            Effect::Start(Operation::ResumeProcessors) if !self.may_resume => {
                self.breaks("behind COMMIT the guest runs here only by ABORTED or a won record");
            }
            _ => {}
        }
        if may_fail_at_once(effect) && !self.machine.takes_input() {
            self.breaks("there is room for the failure of what is started");
        }
    }

    fn note_commit(&mut self, load: Incarnation) {
        let usable = |entry: &DeviceEntry| entry.lease.is_usable();
        if self.devices.iter().any(usable) {
            self.breaks("no device is usable here at COMMIT");
        }
        if self.committed.contains(&Some(load)) {
            self.breaks("COMMIT is sent once for a load");
        }
        match self.committed.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(load),
            None => self.breaks("COMMIT is sent once for a load"),
        }
        self.may_resume = place(load).is_some_and(|place| self.dropped[place]);
    }
}

/// The place of a load among those of an attempt; none of a load that there is not.
fn place(load: Incarnation) -> Option<usize> {
    [FIRST_LOAD, NEXT_LOAD].into_iter().position(|known| known == load)
}

/// Whether the driver may have to answer this effect by a failure before the next poll.
fn may_fail_at_once(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Start(_)
            | Effect::Tell(_)
            | Effect::Collect
            | Effect::ReadRecord
            | Effect::CompareAndSet { .. }
            | Effect::Save(_)
    )
}

impl End for SourceEnd {
    type Phase = SourcePhase;

    fn cases(&self) -> Vec<Case> {
        let command = |detail, stimulus| Case { name: Name { kind: "command", detail }, stimulus };
        let mut cases = vec![
            command("start", Stimulus::Start),
            command("cancel", Stimulus::Cancel(NOW)),
            Case {
                name: Name { kind: "guest stores", detail: "" },
                stimulus: Stimulus::GuestStores,
            },
        ];
        cases.extend(Self::hellos());
        for (detail, epoch) in [("own", EPOCH), ("of the target", EPOCH.next())] {
            let name = |kind| Name { kind, detail };
            let (runs, lost) = (Verdict::TargetRuns(epoch), Verdict::TargetLost(epoch));
            cases.push(Case {
                name: name("target runs, epoch"),
                stimulus: Stimulus::Decide(NOW, runs),
            });
            cases.push(Case {
                name: name("target lost, epoch"),
                stimulus: Stimulus::Decide(NOW, lost),
            });
        }
        cases.extend(self.target_frames());
        cases.extend(self.statuses());
        cases.extend(frames_of_codes(FrameType::Definition.code()..=FrameType::Released.code()));
        cases.push(case("stored", "", Input::Stored(1)));
        cases.extend(common_inputs(self.machine.poll_deadline()));
        cases.retain(|case| self.is_within_losses(case));
        cases
    }

    fn apply(&mut self, case: &Case) -> Result<(), Refusal> {
        let attempt = self.attempt;
        match case.stimulus {
            Stimulus::Start => self.machine.start(NOW, attempt)?,
            Stimulus::Cancel(now) => self.machine.cancel(now)?,
            Stimulus::Decide(now, verdict) => self.machine.decide(now, verdict)?,
            Stimulus::Input(now, input) => {
                let kept = self.findings.clone();
                if let Input::Frame(Arrival { frame: Frame::Findings(count), .. }) = input {
                    self.findings.clear();
                    (0..count).for_each(|_| self.findings.add(Obstacle::MemoryShort));
                    self.findings.set_surplus(self.surplus);
                }
                if let Err(error) = self.with_loan(|machine, loan| machine.handle(now, input, loan))
                {
                    self.findings = kept;
                    return Err(error.into());
                }
                if self.owed.expects(&input) {
                    self.note_input(&input);
                }
            }
            Stimulus::GuestStores => self.with_loan(|_, loan| {
                let marked = loan.pages.mark(PageNumber::new(0));
                marked.and(loan.keys.mark(PageNumber::new(1))).map_err(|_| Refusal::Mismatch)
            })?,
        }
        Ok(())
    }

    fn can_happen(&self, case: &Case) -> bool {
        match case.stimulus {
            Stimulus::Start | Stimulus::Cancel(_) | Stimulus::Decide(..) => true,
            Stimulus::GuestStores => {
                self.phase() == SourcePhase::Precopy && self.machine.statistics().passes.is_empty()
            }
            // Pages are read and changes collected without a question.
            Stimulus::Input(_, Input::Failed(Operation::MoveState | Operation::TrackChanges))
                if matches!(self.phase(), SourcePhase::Precopy | SourcePhase::Suspended) =>
            {
                true
            }
            Stimulus::Input(_, input) => self.owed.expects(&input),
        }
    }

    fn consume(&mut self, case: &Case) {
        if let Stimulus::Input(_, input) = case.stimulus {
            self.owed.consume(&input);
        }
    }

    fn poll(&mut self, now: Tick) -> Option<Effect> {
        let effect = self.with_loan(|machine, loan| machine.poll_effect(now, loan))?;
        self.note_effect(&effect);
        if matches!(effect, Effect::Save(_)) {
            self.answer_save(now);
        }
        Some(effect)
    }

    fn takes_input(&self) -> bool {
        self.machine.takes_input()
    }

    fn phase(&self) -> SourcePhase {
        self.machine.phase()
    }

    fn disposition(&self) -> Disposition {
        self.machine.disposition()
    }

    fn facts(&self) -> Vec<String> {
        let machine = &self.machine;
        let mut facts = vec![
            format!("epoch {}", machine.epoch().get()),
            format!("stream {}", machine.stream().get()),
            format!("journal {}", machine.journal(Stage::Open).is_some()),
            fact("uses link", machine.uses_link()),
            fact("wants link", machine.wants_link()),
            fact("owes guest", machine.owes_guest()),
            fact("resolved", machine.is_resolved()),
            fact("due", machine.poll_deadline().is_some()),
        ];
        facts.extend(machine.reason().map(|reason| format!("{reason:?}")));
        facts.extend(machine.statistics().peer_state.map(|state| format!("peer {state:?}")));
        facts
    }

    fn is_undoing(&self) -> bool {
        self.machine.phase() == SourcePhase::Undoing
    }

    fn is_undone(&self) -> bool {
        self.machine.phase() == SourcePhase::RolledBack
    }

    fn good_course(&self) -> Option<Case> {
        if let Some(input) = self.owed.good_answer() {
            return Some(case("good answer", "", input));
        }
        let deadline = self.machine.poll_deadline()?;
        let name = Name { kind: "deadline", detail: "due" };
        Some(Case { name, stimulus: Stimulus::Input(deadline, Input::Deadline) })
    }

    fn key(&self) -> Self {
        let mut key = self.clone();
        key.machine.forget_reconnections();
        match self.machine.phase() {
            SourcePhase::Idle
            | SourcePhase::Checking
            | SourcePhase::Preparing
            | SourcePhase::Precopy
            | SourcePhase::Suspended => {}
            SourcePhase::Offered
            | SourcePhase::InDoubt
            | SourcePhase::Releasing
            | SourcePhase::Undoing
            | SourcePhase::Released
            | SourcePhase::RolledBack => {
                key.machine.forget_measurements();
                (key.pages, key.keys, key.window, key.sent) = Default::default();
                (key.losses, key.has_lost_frames) = Default::default();
                if self.is_undoing() || self.is_undone() {
                    (key.load, key.committed) = (FIRST_LOAD, [None; 2]);
                }
            }
        }
        key
    }

    fn breach(&self) -> Option<&'static str> {
        self.breach
    }

    fn settle(&mut self) {
        if !self.is_undone() {
            return;
        }
        if self.is_tracked || self.is_marked || self.is_stopped {
            self.breaks("an undone attempt leaves no tracking, no mark and no stopped processor");
        }
        if self.window.iter().any(Option::is_some) {
            self.breaks("an undone attempt has no page under way");
        }
        if !self.devices.iter().all(|entry| entry.lease.is_usable()) {
            self.breaks("an undone attempt leaves every device usable");
        }
    }
}
