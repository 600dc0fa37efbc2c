//! Driver of the source end.
//!
//! Source of truth and invariants: see [`crate::driver`]. The order in one step: effects,
//! completions, frames, deadline, and effects behind each, so that the machine's queue has room.

use super::{
    EFFECTS_PER_STEP, FRAMES_PER_STEP, Ports, VmPorts, Wait, Waiting, fill, has_said,
    next_completion, save_journal, say,
    stream::{Identity, Stream},
};
use crate::{
    device::DeviceEntry,
    fmt::warning,
    limits::{CONTROL_BYTES_MAX, FINDINGS_MAX, JOURNAL_BYTES_MAX},
    memory::DirtyBitmap,
    message::{Notice, Parties},
    migrate::{
        Arrival, Attempt, Effect, Input, Limits, LinkFault, SentRun, Source, SourceJournal,
        SourceLoan, SourcePhase, Stage, StepError, Verdict,
    },
    ports::{Checksum, ClusterDirectory, ErrorKind, Link, OperatorConsole, PortError},
    units::{ByteCount, Sequence, Tick},
    vm::{DirectoryAnswer, Findings, GuestEvent, Operation, VmBlock},
    wire::{
        DecodeError, Fault, Field, Frame, Header, emit_definition, emit_device, pages,
        parse_findings,
    },
};

/// The memory that is lent to a source driver.
#[derive(Debug)]
pub struct SourceMemory<'s> {
    /// Map of pages that the target does not have as they are now.
    pub pages: DirtyBitmap<'s>,
    /// Map of keys that the target does not have as they are now.
    pub keys: DirtyBitmap<'s>,
    /// Slots for frames under way.
    pub window: &'s mut [Option<SentRun>],
    /// The VM's devices.
    pub devices: &'s mut [DeviceEntry],
    /// Buffer for a frame to be sent, [`super::BUFFER_BYTES`].
    pub outgoing: &'s mut [u8],
    /// Buffer for a frame to be received; the source receives short ones.
    pub incoming: &'s mut [u8],
}

/// Moves one VM away: the machine, its memory, its ports.
#[derive(Debug)]
pub struct SourceDriver<'s, V, L, D, C, K> {
    machine: Source,
    definition: VmBlock,
    pages: DirtyBitmap<'s>,
    keys: DirtyBitmap<'s>,
    window: &'s mut [Option<SentRun>],
    devices: &'s mut [DeviceEntry],
    findings: Findings,
    stream: Stream<'s>,
    waiting: Waiting,
    over_since: Option<Tick>,
    is_reconnecting: bool,
    ports: Ports<V, L, D, C, K>,
}

impl<'s, V, L, D, C, K> SourceDriver<'s, V, L, D, C, K>
where
    V: VmPorts,
    L: Link,
    D: ClusterDirectory,
    C: OperatorConsole,
    K: Checksum,
{
    /// A driver for the VM of `definition`.
    #[must_use]
    pub fn new(definition: VmBlock, memory: SourceMemory<'s>, ports: Ports<V, L, D, C, K>) -> Self {
        Self::around(Source::new(), definition, memory, ports)
    }

    fn around(
        machine: Source,
        definition: VmBlock,
        memory: SourceMemory<'s>,
        ports: Ports<V, L, D, C, K>,
    ) -> Self {
        let SourceMemory { pages, keys, window, devices, outgoing, incoming } = memory;
        Self {
            machine,
            definition,
            pages,
            keys,
            window,
            devices,
            findings: Findings::new(),
            stream: Stream::new(outgoing, incoming),
            waiting: Waiting::new(),
            over_since: None,
            is_reconnecting: false,
            ports,
        }
    }

    /// A driver for a monitor that was restarted and has found this journal; see
    /// [`Source::restore`] for what is lent. There is no connection yet.
    #[must_use]
    pub fn restore(
        now: Tick,
        journal: &SourceJournal,
        definition: VmBlock,
        memory: SourceMemory<'s>,
        ports: Ports<V, L, D, C, K>,
    ) -> Self {
        let machine = Source::restore(now, journal);
        let mut driver = Self::around(machine, definition, memory, ports);
        // The peer numbers its frames on.
        driver.stream.restart();
        driver
    }

    /// Begins the attempt.
    ///
    /// # Errors
    /// Refused when an attempt was begun already.
    pub fn start(&mut self, now: Tick, attempt: Attempt) -> Result<(), StepError<SourcePhase>> {
        self.machine.start(now, attempt)
    }

    /// Ends the attempt at the operator's wish.
    ///
    /// # Errors
    /// Refused when there is no attempt, or behind COMMIT.
    pub fn cancel(&mut self, now: Tick) -> Result<(), StepError<SourcePhase>> {
        self.machine.cancel(now)
    }

    /// Takes an operator's decision about a VM that is held in doubt.
    ///
    /// # Errors
    /// See [`Source::decide`].
    pub fn decide(&mut self, now: Tick, verdict: Verdict) -> Result<(), StepError<SourcePhase>> {
        self.machine.decide(now, verdict)
    }

    /// Changes the limits of time of the attempt that is under way.
    ///
    /// # Errors
    /// Refused when there is no attempt.
    pub const fn set_limits(&mut self, limits: Limits) -> Result<(), StepError<SourcePhase>> {
        self.machine.set_limits(limits)
    }

    /// The machine, for its getters.
    #[must_use]
    pub const fn machine(&self) -> &Source {
        &self.machine
    }

    /// What the check found.
    #[must_use]
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Pages that are dirty now.
    #[must_use]
    pub fn dirty_pages(&self) -> u64 {
        self.pages.count().get()
    }

    /// Bytes sent and received.
    #[must_use]
    pub const fn bytes(&self) -> (u64, u64) {
        self.stream.bytes()
    }

    /// The ports.
    #[must_use]
    pub const fn ports(&mut self) -> &mut Ports<V, L, D, C, K> {
        &mut self.ports
    }

    /// Gives the devices' leases back to whoever lent them.
    #[must_use]
    pub fn devices(&self) -> &[DeviceEntry] {
        self.devices
    }

    /// Does what can be done now, without blocking.
    pub fn step(&mut self, now: Tick) -> Wait {
        self.keep_connected(now);
        let mut busy = self.perform_effects(now);
        for _ in 0..EFFECTS_PER_STEP {
            if !self.machine.takes_input() {
                break;
            }
            let Some(input) = next_completion(&mut self.ports) else {
                break;
            };
            self.feed(now, input);
            busy |= self.perform_effects(now);
        }
        busy |= self.receive_frames(now);
        if self.machine.takes_input()
            && self.machine.poll_deadline().is_some_and(|deadline| deadline <= now)
        {
            self.feed(now, Input::Deadline);
            busy |= self.perform_effects(now);
        }
        let sending = self.stream.is_sending() || !self.waiting.is_empty();
        if matches!(self.machine.phase(), SourcePhase::Released | SourcePhase::RolledBack) {
            self.over_since.get_or_insert(now);
        }
        let patience = self.machine.attempt().map_or(Limits::DEFAULT, |it| it.limits).peer_answer;
        let last_words = self.over_since.map(|since| since.after(patience));
        Wait {
            busy: busy && !sending,
            sending,
            deadline: self.machine.poll_deadline().or(last_words),
            finished: has_said(self.over_since, sending, now, patience),
        }
    }

    /// Hands an input to the machine. A frame that it refuses costs the peer the link.
    fn feed(&mut self, now: Tick, input: Input) {
        let taken = self.with_machine(|machine, loan| machine.handle(now, input, loan));
        let Err(error) = taken else {
            return;
        };
        if let (Input::Frame(arrival), true) = (input, error != StepError::EffectsPending) {
            let kind = arrival.frame.frame_type();
            warning!("the target sent frame type {} out of place", kind.code());
            self.lose_link(now, LinkFault::OutOfPhase(kind));
        } else {
            warning!("an input was out of place in the source");
        }
    }

    /// Has a lost connection replaced as long as the machine wants it.
    fn keep_connected(&mut self, now: Tick) {
        if !self.machine.wants_link() {
            self.is_reconnecting = false;
        } else if !self.is_reconnecting {
            self.ports.link.reconnect();
            self.is_reconnecting = true;
        } else if self.machine.takes_input() && self.ports.link.poll_connected() {
            self.is_reconnecting = false;
            self.stream.restart();
            self.waiting.clear();
            self.feed(now, Input::LinkUp);
        }
    }

    fn with_machine<R>(
        &mut self,
        action: impl FnOnce(&mut Source, &mut SourceLoan<'_, 's>) -> R,
    ) -> R {
        let mut loan = SourceLoan {
            pages: self.pages,
            keys: self.keys,
            window: self.window,
            devices: self.devices,
            findings: &mut self.findings,
        };
        action(&mut self.machine, &mut loan)
    }

    /// The link is over: what was not sent is dropped, and the machine decides what it means.
    fn lose_link(&mut self, now: Tick, fault: LinkFault) {
        self.drop_frames();
        let lost = Input::LinkLost(fault);
        if self.with_machine(|machine, loan| machine.handle(now, lost, loan)).is_err() {
            warning!("the link was lost behind the end of the attempt");
        }
    }

    fn receive_frames(&mut self, now: Tick) -> bool {
        let mut busy = false;
        for _ in 0..FRAMES_PER_STEP {
            if !self.machine.uses_link() || !self.machine.takes_input() {
                return busy;
            }
            let ports = &mut self.ports;
            match self.stream.receive(&mut ports.link, &mut ports.checksum) {
                Ok(None) => return busy,
                Ok(Some(header)) => {
                    self.take_frame(now, &header);
                    self.stream.consume();
                    busy |= self.perform_effects(now);
                }
                Err(fault) => {
                    self.lose_link(now, fault);
                    self.perform_effects(now);
                    return true;
                }
            }
        }
        true
    }

    fn take_frame(&mut self, now: Tick, header: &Header) {
        let Ok(Some(kind)) = header.frame_type() else {
            return;
        };
        let parsed = Frame::parse(kind, self.stream.body()).and_then(|frame| {
            if matches!(frame, Frame::Findings(_)) {
                parse_findings(self.stream.body(), &mut self.findings)?;
                let (attached, surplus) =
                    (self.definition.processors().attached(), self.findings.surplus());
                // What is taken is there, and something is left.
                if !surplus.without(attached).is_empty() || attached.without(surplus).is_empty() {
                    return Err(DecodeError::new(Fault::OutOfRange, Field::Blocked));
                }
            }
            Ok(frame)
        });
        match parsed {
            Ok(frame) => {
                let sequence = header.sequence.get();
                let (stream, epoch) = (header.stream, header.epoch);
                self.feed(now, Input::Frame(Arrival { stream, epoch, sequence, frame }));
            }
            Err(error) => self.lose_link(now, LinkFault::Damaged(error)),
        }
    }

    /// Performs effects until there is none, or the link takes no more. Gives whether the bound
    /// of one step was reached before.
    fn perform_effects(&mut self, now: Tick) -> bool {
        for _ in 0..EFFECTS_PER_STEP {
            if !self.machine.uses_link() {
                self.drop_frames();
            } else if let Err(fault) = self.stream.flush(&mut self.ports.link) {
                self.lose_link(now, fault);
            }
            while let Some((sequence, frame)) = self.waiting.front().copied() {
                if !self.send(now, sequence, frame) {
                    break;
                }
                self.waiting.pop_front();
            }
            let blocked = !self.waiting.is_empty() && !self.machine.owes_guest();
            if blocked || self.waiting.is_full() {
                return false;
            }
            let next = self.with_machine(|machine, loan| machine.poll_effect(now, loan));
            let Some(effect) = next else {
                return false;
            };
            self.perform(now, effect);
        }
        true
    }

    /// Forgets what was not sent.
    fn drop_frames(&mut self) {
        self.stream.drop_outgoing();
        self.waiting.clear();
    }

    /// Performs one effect. A frame that finds no room waits.
    fn perform(&mut self, now: Tick, effect: Effect) {
        let failed = match effect {
            Effect::Send { sequence, frame } => {
                let waits = !self.waiting.is_empty() || !self.send(now, sequence, frame);
                if waits && self.waiting.push_back((sequence, frame)).is_err() {
                    warning!("a frame found no place to wait");
                }
                None
            }
            Effect::Start(operation) => self.start_operation(now, operation),
            Effect::StopTracking => {
                if self.ports.vm.stop_tracking().is_err() {
                    warning!("tracking of changes could not be ended");
                }
                None
            }
            Effect::Collect => {
                let collected = self.ports.vm.collect(&self.pages, &self.keys);
                collected.is_err().then_some(Input::Failed(Operation::TrackChanges))
            }
            Effect::Tell(event) => self.tell(event),
            Effect::ReadRecord => {
                let asked = self.ports.directory.start_read(self.definition.name());
                asked.is_err().then_some(Input::Directory(DirectoryAnswer::Unreachable))
            }
            Effect::CompareAndSet { expected, new } => {
                let vm = self.definition.name();
                let asked = self.ports.directory.start_compare_and_set(vm, expected, new);
                asked.is_err().then_some(Input::Directory(DirectoryAnswer::Unreachable))
            }
            Effect::Notice(notice) => {
                self.say(notice);
                None
            }
            Effect::ReportFindings { by_target } => {
                self.report_findings(by_target);
                None
            }
            Effect::Mark(mark) => {
                if self.ports.vm.mark(mark).is_err() {
                    warning!("the migration mark could not be changed");
                }
                None
            }
            Effect::Save(stage) => {
                let mut bytes = [0; JOURNAL_BYTES_MAX];
                let journal = self.machine.journal(stage).filter(|_| stage != Stage::Over);
                let length = match journal {
                    Some(journal) => journal.emit(&mut bytes),
                    None => Some(0),
                };
                let bytes = length.and_then(|length| bytes.get(..length));
                Some(save_journal(&mut self.ports.vm, bytes))
            }
            Effect::Store { .. } => None,
        };
        if let Some(input) = failed {
            self.feed(now, input);
        }
    }

    /// Tells the guest; of a coming move together with what it takes from it.
    fn tell(&mut self, event: GuestEvent) -> Option<Input> {
        let vm = &mut self.ports.vm;
        let is_told = (event != GuestEvent::MoveComing
            || vm.foretell(self.findings.surplus()).is_ok())
            && vm.start_tell(event).is_ok();
        (!is_told).then_some(Input::Failed(Operation::TellGuest))
    }

    fn start_operation(&mut self, now: Tick, operation: Operation) -> Option<Input> {
        let epoch = self.machine.epoch();
        let vm = &mut self.ports.vm;
        let started = match operation {
            Operation::TrackChanges => {
                let done = vm.start_tracking().map(|()| Input::Done(operation));
                let input = done.unwrap_or(Input::Failed(operation));
                self.feed(now, input);
                return None;
            }
            Operation::StopProcessors => vm.start_stop(),
            Operation::ResumeProcessors => vm.start_resume(),
            Operation::QuiesceDevice(slot) => vm.start_quiesce(slot),
            Operation::DetachDevice(slot) => vm.start_detach(slot),
            Operation::AttachDevice(slot) => vm.start_attach(slot, epoch),
            Operation::RemoveDevice(slot) => vm.start_remove(slot),
            Operation::DestroyVm => vm.start_destroy(),
            Operation::AssignDevice(_)
            | Operation::CheckVm
            | Operation::BuildVm
            | Operation::MoveState
            | Operation::TellGuest
            | Operation::SaveJournal => return Some(Input::Failed(operation)),
        };
        failed(operation, started.map_err(|error| error.kind()))
    }

    fn say(&mut self, notice: Notice) {
        let Some(attempt) = self.machine.attempt() else {
            return;
        };
        let parties = Parties {
            index: Some(self.definition.index()),
            name: attempt.vm,
            source: attempt.source,
            target: attempt.target,
        };
        say(&mut self.ports.console, notice, &parties);
    }

    fn report_findings(&mut self, by_target: bool) {
        for position in 0..FINDINGS_MAX {
            let Some(finding) = self.findings.listed().get(position).copied() else {
                break;
            };
            self.say(Notice::Rejected { finding, by_target });
        }
        if self.findings.unlisted() > 0 {
            self.say(Notice::MoreFindings(self.findings.unlisted()));
        }
    }

    /// Writes a frame into the buffer; gives `false` when there is no room yet.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the wire layer writes all that is not bulk"
    )]
    fn send(&mut self, now: Tick, sequence: Sequence, frame: Frame) -> bool {
        let identity = Identity { stream: self.machine.stream(), epoch: self.frame_epoch() };
        let body_bytes = match frame {
            Frame::Pages(run) => pages::pages_body_bytes(run),
            Frame::Keys(_) => pages::keys_body_bytes(),
            _ if frame.is_bulk() => CONTROL_BYTES_MAX,
            _ => 256,
        };
        let Some(body) = self.stream.begin(body_bytes) else {
            return false;
        };
        let filled = match frame {
            Frame::Pages(run) => fill::pages(&mut self.ports.vm, run, body),
            Frame::Keys(run) => fill::keys(&mut self.ports.vm, run, body),
            Frame::Processor { index, rehearsal } => {
                let given = self.definition.facilities();
                fill::processor(&mut self.ports.vm, &given, index, rehearsal, body)
            }
            Frame::Subchannel(slot) => {
                let device = self.devices.get(usize::from(slot.get())).map(|it| it.descriptor);
                fill::subchannel(&mut self.ports.vm, slot, device, body)
            }
            Frame::Machine { rehearsal } => fill::machine(&mut self.ports.vm, rehearsal, body),
            Frame::Definition => emit_definition(&self.definition, body),
            Frame::Device(slot) => self
                .devices
                .get(usize::from(slot.get()))
                .and_then(|entry| emit_device(slot, &entry.descriptor.emit(), body)),
            _ => frame.emit(body),
        };
        let checksum = &mut self.ports.checksum;
        match filled {
            Some(length) => {
                self.stream.finish(identity, sequence, &frame, length, checksum);
                let saved = body_bytes.saturating_sub(length);
                if matches!(frame, Frame::Pages(_)) && saved != 0 {
                    self.note_saved(sequence, saved);
                }
            }
            None => {
                self.stream.fill(identity, sequence, checksum);
                self.feed(now, Input::Failed(Operation::MoveState));
            }
        }
        true
    }

    /// A frame of pages was shorter than it was named, since some of them have no content.
    fn note_saved(&mut self, sequence: Sequence, bytes: usize) {
        let bytes = ByteCount::new(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.with_machine(|machine, loan| machine.note_saved(sequence, bytes, loan));
    }

    /// Frames carry the epoch with which the attempt began, also after a revocation.
    fn frame_epoch(&self) -> crate::units::Epoch {
        self.machine.attempt().map_or(self.machine.epoch(), |attempt| attempt.epoch)
    }
}

/// The input of an operation that could not be started, which has no completion.
pub(super) fn failed(operation: Operation, started: Result<(), ErrorKind>) -> Option<Input> {
    started.is_err().then_some(Input::Failed(operation))
}
