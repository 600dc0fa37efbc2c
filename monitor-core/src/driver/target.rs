//! Driver of the target end.
//!
//! Source of truth and invariants: see [`crate::driver`]. What a frame carries in bulk is stored
//! straight from the receive buffer, before the next frame is taken.

use super::{
    EFFECTS_PER_STEP, FRAMES_PER_STEP, Ports, VmPorts, Wait, Waiting, has_said, next_completion,
    save_journal, say,
    source::failed,
    stream::{Identity, Stream},
};
use crate::{
    channel::SubchannelImage,
    device::{DeviceDescriptor, DeviceEntry},
    fmt::warning,
    limits::{CONTROL_BYTES_MAX, JOURNAL_BYTES_MAX},
    memory::PageRun,
    message::{Notice, Parties},
    migrate::{
        Arrival, Effect, Input, LinkFault, Reception, Stage, StepError, Target, TargetJournal,
        TargetLoan, TargetPhase,
    },
    ports::{Checksum, ClusterDirectory, Link, OperatorConsole, PortError},
    processor::ProcessorImage,
    units::{Sequence, Tick},
    vm::{DirectoryAnswer, FacilityList, Findings, MachineImage, Operation, VmBlock},
    wire::{
        DecodeError, Fault, Field, Frame, Header, device_body, emit_findings, machine_body, pages,
        parse_definition, processor_body, subchannel_body,
    },
};

/// The memory that is lent to a target driver.
#[derive(Debug)]
pub struct TargetMemory<'s> {
    /// Slots for the VM's devices: [`DeviceEntry::vacant`] in each.
    pub devices: &'s mut [DeviceEntry],
    /// Buffer for a frame to be sent; the target sends short ones.
    pub outgoing: &'s mut [u8],
    /// Buffer for a frame to be received, [`super::BUFFER_BYTES`].
    pub incoming: &'s mut [u8],
}

/// Receives one VM: the machine, its memory, its ports.
#[derive(Debug)]
pub struct TargetDriver<'s, V, L, D, C, K> {
    machine: Target,
    definition: Option<VmBlock>,
    devices: &'s mut [DeviceEntry],
    findings: Findings,
    stream: Stream<'s>,
    waiting: Waiting,
    over_since: Option<Tick>,
    is_reconnecting: bool,
    ports: Ports<V, L, D, C, K>,
}

impl<'s, V, L, D, C, K> TargetDriver<'s, V, L, D, C, K>
where
    V: VmPorts,
    L: Link,
    D: ClusterDirectory,
    C: OperatorConsole,
    K: Checksum,
{
    /// A driver that waits for an announcement.
    #[must_use]
    pub fn new(
        reception: Reception,
        memory: TargetMemory<'s>,
        ports: Ports<V, L, D, C, K>,
    ) -> Self {
        Self::around(Target::new(reception), memory, ports)
    }

    fn around(machine: Target, memory: TargetMemory<'s>, ports: Ports<V, L, D, C, K>) -> Self {
        let TargetMemory { devices, outgoing, incoming } = memory;
        Self {
            machine,
            definition: None,
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
    /// [`Target::restore`] for what is lent. There is no connection yet.
    #[must_use]
    pub fn restore(
        now: Tick,
        reception: Reception,
        journal: &TargetJournal,
        definition: VmBlock,
        memory: TargetMemory<'s>,
        ports: Ports<V, L, D, C, K>,
    ) -> Self {
        let machine = Target::restore(now, reception, journal);
        let mut driver = Self::around(machine, memory, ports);
        driver.definition = Some(definition);
        // The peer numbers its frames on.
        driver.stream.restart();
        driver
    }

    /// The machine, for its getters.
    #[must_use]
    pub const fn machine(&self) -> &Target {
        &self.machine
    }

    /// The VM's control block, once it was announced.
    #[must_use]
    pub const fn definition(&self) -> Option<&VmBlock> {
        self.definition.as_ref()
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

    /// The VM's devices and their leases on this SU.
    #[must_use]
    pub fn devices(&self) -> &[DeviceEntry] {
        let count = self.machine.announced().map_or(0, |known| usize::from(known.devices));
        self.devices.get(..count).unwrap_or(&[])
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
        if matches!(self.machine.phase(), TargetPhase::Completed | TargetPhase::Dropped) {
            self.over_since.get_or_insert(now);
        }
        // A dropped target answers COMMIT as long as the link is there.
        let answers = self.machine.phase() == TargetPhase::Dropped && self.machine.listens();
        let patience = self.machine.reception().limits.peer_answer;
        let last_words = self.over_since.map(|since| since.after(patience));
        Wait {
            busy: busy && !sending,
            sending,
            deadline: self.machine.poll_deadline().or(last_words),
            finished: has_said(self.over_since, sending || answers, now, patience),
        }
    }

    /// Hands an input to the machine. A frame that it refuses costs the peer the link.
    fn feed(&mut self, now: Tick, input: Input) {
        let mut loan = TargetLoan { devices: self.devices };
        let Err(error) = self.machine.handle(now, input, &mut loan) else {
            return;
        };
        if let (Input::Frame(arrival), true) = (input, error != StepError::EffectsPending) {
            let kind = arrival.frame.frame_type();
            warning!("the source sent frame type {} out of place", kind.code());
            self.lose_link(now, LinkFault::OutOfPhase(kind));
        } else {
            warning!("an input was out of place in the target");
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

    /// The link is over: what was not sent is dropped, and the machine decides what it means.
    fn lose_link(&mut self, now: Tick, fault: LinkFault) {
        self.stream.drop_outgoing();
        self.waiting.clear();
        let mut loan = TargetLoan { devices: self.devices };
        if self.machine.handle(now, Input::LinkLost(fault), &mut loan).is_err() {
            warning!("the link was lost behind the end of the attempt");
        }
    }

    fn receive_frames(&mut self, now: Tick) -> bool {
        let mut busy = false;
        for _ in 0..FRAMES_PER_STEP {
            // A frame waits until the effects of the one before are performed, so that its bulk
            // is still in the buffer when it is stored.
            if !self.machine.listens() || !self.waiting.is_empty() || !self.machine.takes_input() {
                return busy;
            }
            let ports = &mut self.ports;
            match self.stream.receive(&mut ports.link, &mut ports.checksum) {
                Ok(None) => return busy,
                Ok(Some(header)) => {
                    self.take_frame(now, &header);
                    busy |= self.perform_effects(now);
                    self.stream.consume();
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
        let parsed = Frame::parse(kind, self.stream.body());
        match parsed.and_then(|frame| self.take_description(frame).map(|()| frame)) {
            Ok(frame) => {
                let sequence = header.sequence.get();
                let (stream, epoch) = (header.stream, header.epoch);
                self.feed(now, Input::Frame(Arrival { stream, epoch, sequence, frame }));
                if let (Frame::Definition, Some(block)) = (frame, self.definition) {
                    let activity = block.state().activity();
                    self.machine.describe(block.processor_count(), block.memory(), activity);
                }
            }
            Err(error) => self.lose_link(now, LinkFault::Damaged(error)),
        }
    }

    /// Keeps what describes the VM; the machine decides afterwards whether it was in its place.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only two frames describe the VM")]
    fn take_description(&mut self, frame: Frame) -> Result<(), DecodeError> {
        if self.machine.phase() != TargetPhase::Answering {
            return Ok(());
        }
        match frame {
            Frame::Definition => {
                let block = parse_definition(self.stream.body())?;
                let announced = self.machine.announced();
                // The record that will be claimed is that of the VM in HELLO.
                if announced.is_some_and(|known| known.vm != block.name()) {
                    return Err(DecodeError::new(Fault::OutOfRange, Field::VmName));
                }
                if announced.is_some_and(|known| known.pages != block.memory()) {
                    return Err(DecodeError::new(Fault::OutOfRange, Field::PageCount));
                }
                self.definition = Some(block);
                Ok(())
            }
            Frame::Device(slot) => {
                let (_, bytes) = device_body(self.stream.body())?;
                let wrong = DecodeError::new(Fault::Unknown, Field::Device);
                let bytes = bytes.try_into().map_err(|_| wrong)?;
                let descriptor = DeviceDescriptor::parse(bytes).map_err(|_| wrong)?;
                let place = self.devices.get_mut(usize::from(slot.get()));
                *place.ok_or(DecodeError::new(Fault::OutOfRange, Field::Slot))? =
                    DeviceEntry::free(descriptor);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Performs effects until there is none, or the link takes no more. Gives whether the bound
    /// of one step was reached before.
    fn perform_effects(&mut self, now: Tick) -> bool {
        for _ in 0..EFFECTS_PER_STEP {
            if self.machine.listens()
                && let Err(fault) = self.stream.flush(&mut self.ports.link)
            {
                self.lose_link(now, fault);
            }
            while let Some((sequence, frame)) = self.waiting.front().copied() {
                if !self.send(sequence, frame) {
                    break;
                }
                self.waiting.pop_front();
            }
            let blocked = !self.waiting.is_empty() && !self.machine.owes_guest();
            if blocked || self.waiting.is_full() {
                return false;
            }
            let mut loan = TargetLoan { devices: self.devices };
            let Some(effect) = self.machine.poll_effect(now, &mut loan) else {
                return false;
            };
            self.perform(now, effect);
        }
        true
    }

    /// Performs one effect. A frame that finds no room waits.
    fn perform(&mut self, now: Tick, effect: Effect) {
        let input = match effect {
            Effect::Send { sequence, frame } => {
                let waits = !self.waiting.is_empty() || !self.send(sequence, frame);
                if waits && self.waiting.push_back((sequence, frame)).is_err() {
                    warning!("a frame found no place to wait");
                }
                None
            }
            Effect::Store { sequence, frame } => Some(self.store(sequence, frame)),
            Effect::Start(operation) => self.start_operation(operation),
            Effect::Tell(event) => {
                let told = self.ports.vm.start_tell(event);
                told.is_err().then_some(Input::Failed(Operation::TellGuest))
            }
            Effect::CompareAndSet { expected, new } => {
                let vm = self.machine.announced().map_or(crate::units::VmName::EMPTY, |it| it.vm);
                let asked = self.ports.directory.start_compare_and_set(vm, expected, new);
                asked.is_err().then_some(Input::Directory(DirectoryAnswer::Unreachable))
            }
            Effect::Notice(notice) => {
                self.say(notice);
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
            Effect::StopTracking
            | Effect::Collect
            | Effect::ReadRecord
            | Effect::ReportFindings { .. } => None,
        };
        if let Some(input) = input {
            self.feed(now, input);
        }
    }

    fn start_operation(&mut self, operation: Operation) -> Option<Input> {
        let epoch = self.machine.claimed_epoch();
        let vm = &mut self.ports.vm;
        let started = match operation {
            Operation::CheckVm => return Some(self.check()),
            Operation::BuildVm => match &self.definition {
                Some(block) => vm.start_build(block),
                None => return Some(Input::Failed(operation)),
            },
            Operation::AssignDevice(slot) => match self.devices.get(usize::from(slot.get())) {
                Some(entry) => vm.start_assign(slot, &entry.descriptor),
                None => return Some(Input::Failed(operation)),
            },
            Operation::AttachDevice(slot) => vm.start_attach(slot, epoch),
            Operation::RemoveDevice(slot) => vm.start_remove(slot),
            Operation::ResumeProcessors => vm.start_resume(),
            Operation::DestroyVm => vm.start_destroy(),
            Operation::QuiesceDevice(_)
            | Operation::DetachDevice(_)
            | Operation::TrackChanges
            | Operation::StopProcessors
            | Operation::MoveState
            | Operation::TellGuest
            | Operation::SaveJournal => return Some(Input::Failed(operation)),
        };
        failed(operation, started.map_err(|error| error.kind()))
    }

    /// Holds the announced VM against this SU.
    fn check(&mut self) -> Input {
        self.findings.clear();
        let count = self.machine.announced().map_or(0, |known| usize::from(known.devices));
        let (Some(block), Some(entries)) = (&self.definition, self.devices.get(..count)) else {
            return Input::Failed(Operation::CheckVm);
        };
        let mut descriptors = entries.iter().map(|entry| entry.descriptor);
        let block = *block;
        match self.ports.vm.check(&block, &mut descriptors, &mut self.findings) {
            Ok(()) => {
                self.fit_processors(block);
                let listed = u16::try_from(self.findings.listed().len()).unwrap_or(u16::MAX);
                Input::Checked(listed)
            }
            Err(_) => Input::Failed(Operation::CheckVm),
        }
    }

    /// From here on the definition has the processors as they will stand on this SU, and the source
    /// learns which of them are blocked by that. An SU without any has found an obstacle.
    fn fit_processors(&mut self, block: VmBlock) {
        let here = block.processors().fitted(self.findings.pool());
        if let Some(fitted) = here.and_then(|here| block.with_processors(here).ok()) {
            let attached = block.processors().attached();
            self.findings.set_surplus(attached.common(fitted.processors().blocked()));
            self.definition = Some(fitted);
        }
    }

    fn say(&mut self, notice: Notice) {
        let Some(known) = self.machine.announced() else {
            return;
        };
        let parties = Parties {
            index: self.definition.as_ref().map(VmBlock::index),
            name: known.vm,
            source: known.source,
            target: self.machine.reception().su,
        };
        say(&mut self.ports.console, notice, &parties);
    }

    /// Stores the bulk of the frame in the receive buffer.
    #[expect(clippy::wildcard_enum_match_arm, reason = "only what has bulk can be stored")]
    fn store(&mut self, sequence: u64, frame: Frame) -> Input {
        let given = self.definition.map_or(FacilityList::EMPTY, |block| block.facilities());
        let vm = &mut self.ports.vm;
        let body = self.stream.body();
        let stored = match frame {
            Frame::Pages(run) => store_pages(vm, run, body).is_some(),
            Frame::Keys(run) => store_keys(vm, run, body).is_some(),
            Frame::Processor { index, .. } => processor_body(body)
                .ok()
                .and_then(|(_, _, blocks)| ProcessorImage::parse(blocks).ok())
                // The check was for what the definition says, and for no more.
                .filter(|image| image.needs().is_subset_of(&given))
                .is_some_and(|image| vm.restore(index, &image).is_ok()),
            Frame::Machine { .. } => machine_body(body)
                .ok()
                .and_then(|(_, blocks)| MachineImage::parse(blocks).ok())
                .is_some_and(|image| vm.restore_machine(&image).is_ok()),
            Frame::Subchannel(slot) => subchannel_body(body)
                .ok()
                .and_then(|(_, blocks)| SubchannelImage::parse(blocks).ok())
                .is_some_and(|image| vm.restore_subchannel(slot, &image).is_ok()),
            _ => false,
        };
        if stored { Input::Stored(sequence) } else { Input::Failed(Operation::MoveState) }
    }

    /// Writes a frame into the buffer; gives `false` when there is no room yet.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the wire layer writes all that is not bulk"
    )]
    fn send(&mut self, sequence: Sequence, frame: Frame) -> bool {
        let identity = Identity { stream: self.machine.stream(), epoch: self.machine.epoch() };
        let body_bytes = if frame.is_bulk() { CONTROL_BYTES_MAX } else { 256 };
        let Some(body) = self.stream.begin(body_bytes) else {
            return false;
        };
        let filled = match frame {
            Frame::Findings(_) => emit_findings(&self.findings, body),
            _ => frame.emit(body),
        };
        let checksum = &mut self.ports.checksum;
        match filled {
            Some(length) => self.stream.finish(identity, sequence, &frame, length, checksum),
            None => self.stream.fill(identity, sequence, checksum),
        }
        true
    }
}

fn store_pages<V: VmPorts>(vm: &mut V, run: PageRun, body: &[u8]) -> Option<()> {
    let content = pages::with_content(run, pages::states_of(run, body))?;
    store_keys(vm, run, body)?;
    if content.is_empty() {
        return Some(());
    }
    vm.copy_in(content, pages::pages_of(body)).ok()
}

/// Stores keys and states; what a page has held that has no content any more is dropped by that.
fn store_keys<V: VmPorts>(vm: &mut V, run: PageRun, body: &[u8]) -> Option<()> {
    vm.states_in(run, pages::states_of(run, body)).ok()?;
    if vm.has_keys() { vm.keys_in(run, pages::keys_of(run, body)).ok() } else { Some(()) }
}
