//! The target machine with its surroundings.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". The rules that this end keeps watch over:
//! devices are attached only after the record is claimed, and the processors start only after the
//! second step; ABORTED is not said while a step is under way, or the record is known to be the
//! target's; frames are numbered without a gap; nothing is started twice; a load that is
//! dropped leaves neither a VM nor a device behind; what does not go with the guest is not attached
//! before it runs, and of that only an alias is attached at all.

use monitor_core::{
    device::{Conduct, DeviceEntry, DeviceKind, LeaseState},
    migrate::{
        Announcement, Arrival, Effect, Input, Reception, Stage, Target, TargetJournal, TargetLoan,
        TargetPhase,
    },
    units::{DeviceSlot, Incarnation, PageCount, ProcessorIndex, StreamId, Tick},
    vm::{Activity, DirectoryAnswer, Disposition, Operation, Ownership, Reason, Standing},
    wire::{Frame, FrameType},
};

use super::{
    Case, DEVICES, EPOCH, End, FIRST_LOAD, LIMITS, NEXT_LOAD, NOW, Name, Owed, PAGES, Refusal,
    STREAM, Stimulus, case, common_inputs, devices, fact, frame, frames_of_codes, hello, page_run,
    records, source_su, target_su, vm_name,
};

/// The definition of a guest that does not run.
const DOWN: &str = "of a guest that is down";

/// The target machine, the memory lent to it, what is owed to it, and what it has set up.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct TargetEnd {
    machine: Target,
    devices: [DeviceEntry; DEVICES as usize],
    owed: Owed,
    /// Number of the last frame that was sent.
    sent: u64,
    /// Whether frames that were numbered may have been lost with a connection.
    has_lost_frames: bool,
    /// The standing that the target has asked for last.
    asked: Option<Standing>,
    /// How far the record is known to have come as the target's.
    standing: Option<Standing>,
    has_vm: bool,
    has_kept_device: bool,
    /// Answers to COMMIT by a load that is dropped already, which wait for the link.
    late_answers: u8,
    /// Whether the journal can be written.
    has_journal: bool,
    breach: Option<&'static str>,
}

impl Default for TargetEnd {
    fn default() -> Self {
        Self::new()
    }
}

impl TargetEnd {
    /// A target that waits for an announcement.
    #[must_use]
    pub fn new() -> Self {
        let reception = Reception {
            limits: LIMITS,
            ..Reception::new(target_su(), FIRST_LOAD, PageCount::new(1024))
        };
        Self {
            machine: Target::new(reception),
            devices: devices(DeviceKind::Disk).map(DeviceEntry::free),
            owed: Owed::default(),
            sent: 0,
            has_lost_frames: false,
            asked: None,
            standing: None,
            has_vm: false,
            has_kept_device: false,
            late_answers: 0,
            has_journal: true,
            breach: None,
        }
    }

    /// The same with a device that does not go with the guest.
    #[must_use]
    pub fn with_device(mut self, kind: DeviceKind) -> Self {
        self.devices = devices(kind).map(DeviceEntry::free);
        self
    }

    /// Whether the search is to go on from here: the first load and the one behind RECOPY.
    #[must_use]
    pub fn is_within_bounds(&self) -> bool {
        self.machine.incarnation() <= NEXT_LOAD
    }

    /// The same with a journal that cannot be written.
    #[must_use]
    pub const fn without_journal(mut self) -> Self {
        self.has_journal = false;
        self
    }

    /// The end after a restart of its monitor, which has found this stage in its journal.
    #[must_use]
    pub fn restored(mut self, stage: Stage) -> Self {
        let announced = Announcement {
            stream: STREAM,
            epoch: EPOCH,
            vm: vm_name(),
            source: source_su(),
            pages: PAGES,
            processors: 1,
            devices: DEVICES,
            activity: Activity::Running,
        };
        let journal = TargetJournal { announced, incarnation: FIRST_LOAD, stage };
        self.machine = Target::restore(NOW, *self.machine.reception(), &journal);
        for entry in &mut self.devices {
            *entry = DeviceEntry::assigned(entry.descriptor);
        }
        let runs = matches!(stage, Stage::Running(_) | Stage::Completed(_));
        self.standing = runs.then_some(Standing::Running);
        (self.has_vm, self.has_lost_frames) = (true, true);
        while self.poll(NOW).is_some() {}
        self
    }

    /// The end of a save comes at once.
    fn answer_save(&mut self, now: Tick) {
        let saved = Operation::SaveJournal;
        let input = if self.has_journal { Input::Done(saved) } else { Input::Failed(saved) };
        let answered = {
            let mut loan = TargetLoan { devices: &mut self.devices };
            self.machine.handle(now, input, &mut loan)
        };
        if answered.is_err() {
            self.breaks("the end of a save is taken at once");
        }
    }

    fn breaks(&mut self, rule: &'static str) {
        self.breach = self.breach.or(Some(rule));
    }

    fn source_frames(&self) -> Vec<Case> {
        let whole = hello(1 << 18, u32::MAX);
        let mut elsewhere = whole;
        elsewhere.target = source_su();
        let mut newer = whole;
        (newer.version_min, newer.version_max) = (u16::MAX, u16::MAX);
        let foreign = Arrival {
            stream: StreamId::new(1),
            epoch: EPOCH,
            sequence: 1,
            frame: Frame::Abort(Reason::Cancelled),
        };
        let own = self.machine.incarnation();
        let other = Incarnation::new(own.get() + 1);
        let processor =
            |index, rehearsal| Frame::Processor { index: ProcessorIndex::new(index), rehearsal };
        let slot = |slot| Frame::Subchannel(DeviceSlot::new(slot));
        vec![
            frame("", Frame::Hello(whole)),
            frame("to another target", Frame::Hello(elsewhere)),
            frame("of unknown versions", Frame::Hello(newer)),
            frame("", Frame::Abort(Reason::Cancelled)),
            case("ABORT", "of another attempt", Input::Frame(foreign)),
            frame("of a guest that runs", Frame::Definition),
            frame(DOWN, Frame::Definition),
            frame("in slot 0", Frame::Device(DeviceSlot::new(0))),
            frame("in slot 1", Frame::Device(DeviceSlot::new(1))),
            frame("beyond the slots", Frame::Device(DeviceSlot::new(DEVICES))),
            frame("with all devices", Frame::Check(DEVICES)),
            frame("with another number", Frame::Check(DEVICES + 1)),
            frame("", Frame::Build),
            frame("of this VM", Frame::Pages(page_run(1))),
            frame("beyond the guest", Frame::Pages(page_run(1 << PAGES.get()))),
            frame("of this VM", Frame::Keys(page_run(1))),
            frame("beyond the guest", Frame::Keys(page_run(1 << PAGES.get()))),
            frame("", Frame::PassEnd(1)),
            frame("in earnest", processor(0, false)),
            frame("in a rehearsal", processor(0, true)),
            frame("beyond the VM's", processor(1, false)),
            frame("in earnest", Frame::Machine { rehearsal: false }),
            frame("in a rehearsal", Frame::Machine { rehearsal: true }),
            frame("in slot 0", slot(0)),
            frame("in slot 1", slot(1)),
            frame("beyond the slots", slot(DEVICES)),
            frame("of all processors", Frame::RehearsalEnd(1)),
            frame("of more processors", Frame::RehearsalEnd(2)),
            frame("of everything", Frame::LoadEnd { processors: 1, subchannels: DEVICES }),
            frame("of less", Frame::LoadEnd { processors: 1, subchannels: DEVICES - 1 }),
            frame("", Frame::Recopy),
            frame("present load", Frame::Commit(own)),
            frame("other load", Frame::Commit(other)),
            frame("", Frame::Released),
            frame("", Frame::Resume),
        ]
    }

    fn note_input(&mut self, input: &Input) {
        match *input {
            Input::Frame(Arrival { frame: Frame::Commit(_), .. })
                if self.is_undone() && self.machine.uses_link() =>
            {
                self.late_answers = self.late_answers.saturating_add(1);
            }
            Input::LinkLost(_) => (self.has_lost_frames, self.late_answers) = (true, 0),
            Input::Directory(DirectoryAnswer::Won) => self.standing = self.asked,
            Input::Directory(DirectoryAnswer::Lost(record)) => self.note_record(record),
            Input::Failed(Operation::BuildVm) => self.has_vm = false,
            Input::Failed(Operation::RemoveDevice(_)) => self.has_kept_device = true,
            _ => {}
        }
    }

    /// The record is another one than was expected.
    fn note_record(&mut self, record: Ownership) {
        let [own, _, running, _, claimed] = records();
        if record == running || record == claimed {
            self.standing = self.standing.max(Some(record.standing));
        } else if record != own || self.asked == Some(Standing::Running) {
            self.standing = None;
        }
    }

    fn conduct_of(&self, slot: DeviceSlot) -> Option<Conduct> {
        let entry = self.devices.get(usize::from(slot.get()));
        entry.map(|entry| entry.descriptor.conduct())
    }

    fn runs(&self) -> bool {
        self.machine.phase() == TargetPhase::Running
    }

    fn note_attach(&mut self, slot: DeviceSlot) {
        match self.conduct_of(slot) {
            Some(Conduct::DetachForGood) => {
                self.breaks("what is detached for good is not attached here");
            }
            Some(Conduct::Alias) if !self.runs() => {
                self.breaks("an alias is attached here only when the guest runs");
            }
            Some(Conduct::Move | Conduct::Alias) | None => {}
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
                let is_claimed = self.standing.is_some() || self.owed.directory;
                if matches!(frame, Frame::Aborted { .. }) {
                    self.late_answers = self.late_answers.saturating_sub(1);
                }
                if matches!(frame, Frame::Aborted { .. }) && is_claimed {
                    self.breaks("ABORTED is not said while a claim is under way or won");
                }
            }
            Effect::Start(Operation::BuildVm) => self.has_vm = true,
            Effect::Start(Operation::DestroyVm) => self.has_vm = false,
            Effect::CompareAndSet { new, .. } => self.asked = Some(new.standing),
            Effect::Start(Operation::AttachDevice(_)) if self.standing.is_none() => {
                self.breaks("a device is attached here only after the record is claimed");
            }
            Effect::Start(Operation::AttachDevice(slot)) => self.note_attach(slot),
            Effect::Start(Operation::AssignDevice(slot)) => {
                let is_alias = self.conduct_of(slot) == Some(Conduct::Alias);
                if is_alias && !self.runs() {
                    self.breaks("an alias is assigned here only when the guest runs");
                }
            }
            Effect::Start(Operation::ResumeProcessors)
                if self.standing != Some(Standing::Running) =>
            {
                self.breaks("the guest runs here only after both steps of the claim");
            }
            _ => {}
        }
        let may_fail = matches!(
            effect,
            Effect::Start(_)
                | Effect::Tell(_)
                | Effect::Store { .. }
                | Effect::CompareAndSet { .. }
                | Effect::Save(_)
        );
        if may_fail && !self.machine.takes_input() {
            self.breaks("there is room for the failure of what is started");
        }
    }
}

impl End for TargetEnd {
    type Phase = TargetPhase;

    fn cases(&self) -> Vec<Case> {
        let mut cases = self.source_frames();
        cases.extend(frames_of_codes(FrameType::Findings.code()..=FrameType::Aborted.code()));
        cases.push(case("stored", "what was to be stored", Input::Stored(1)));
        cases.push(case("stored", "something else", Input::Stored(2)));
        cases.extend(common_inputs(self.machine.poll_deadline()));
        cases
    }

    fn apply(&mut self, case: &Case) -> Result<(), Refusal> {
        let Stimulus::Input(now, input) = case.stimulus else {
            return Err(Refusal::OutOfPhase);
        };
        let mut loan = TargetLoan { devices: &mut self.devices };
        self.machine.handle(now, input, &mut loan)?;
        if matches!(input, Input::Frame(Arrival { frame: Frame::Definition, .. })) {
            let is_down = case.name.detail == DOWN;
            let activity = if is_down { Activity::Down } else { Activity::Running };
            self.machine.describe(1, PAGES, activity);
        }
        if self.owed.expects(&input) {
            self.note_input(&input);
        }
        Ok(())
    }

    fn can_happen(&self, case: &Case) -> bool {
        match case.stimulus {
            Stimulus::Start
            | Stimulus::Cancel(_)
            | Stimulus::Decide(..)
            | Stimulus::GuestStores => false,
            // COMMIT is sent once for each of two loads.
            Stimulus::Input(_, Input::Frame(Arrival { frame: Frame::Commit(_), .. })) => {
                self.late_answers < 2
            }
            // A guest also reports itself, and none is told for sure.
            Stimulus::Input(_, Input::Guest(_) | Input::Failed(Operation::TellGuest)) => true,
            Stimulus::Input(_, input) => self.owed.expects(&input),
        }
    }

    fn consume(&mut self, case: &Case) {
        if let Stimulus::Input(_, input) = case.stimulus {
            self.owed.consume(&input);
        }
    }

    fn poll(&mut self, now: Tick) -> Option<Effect> {
        let mut loan = TargetLoan { devices: &mut self.devices };
        let effect = self.machine.poll_effect(now, &mut loan)?;
        self.note_effect(&effect);
        if matches!(effect, Effect::Save(_)) {
            self.answer_save(now);
        }
        Some(effect)
    }

    fn takes_input(&self) -> bool {
        self.machine.takes_input()
    }

    fn phase(&self) -> TargetPhase {
        self.machine.phase()
    }

    fn disposition(&self) -> Disposition {
        self.machine.disposition()
    }

    fn facts(&self) -> Vec<String> {
        let machine = &self.machine;
        let mut facts = vec![
            format!("epoch {}, then {}", machine.epoch().get(), machine.claimed_epoch().get()),
            format!("stream {}", machine.stream().get()),
            format!("journal {}", machine.journal(Stage::Building).is_some()),
            fact("announced", machine.announced().is_some()),
            fact("uses link", machine.uses_link()),
            fact("wants link", machine.wants_link()),
            fact("listens", machine.listens()),
            fact("owes guest", machine.owes_guest()),
            fact("due", machine.poll_deadline().is_some()),
        ];
        facts.extend(machine.reason().map(|reason| format!("{reason:?}")));
        facts
    }

    fn is_undoing(&self) -> bool {
        self.machine.phase() == TargetPhase::Undoing
    }

    fn is_undone(&self) -> bool {
        self.machine.phase() == TargetPhase::Dropped
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
        key.machine.forget_sequence();
        key.sent = 0;
        key
    }

    fn breach(&self) -> Option<&'static str> {
        self.breach
    }

    fn settle(&mut self) {
        if !self.is_undone() {
            return;
        }
        if self.has_vm {
            self.breaks("a dropped load leaves no VM behind");
        }
        let is_free = |entry: &DeviceEntry| entry.lease.state() == LeaseState::Free;
        if !self.has_kept_device && !self.devices.iter().all(is_free) {
            self.breaks("a dropped load leaves no device behind");
        }
    }
}
