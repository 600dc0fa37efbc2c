//! One machine with the memory that is lent to it, as a value.
//!
//! Source of truth: `monitor_core::migrate`. Invariants: the guest has one page, one processor, one
//! device and perhaps another one that does not go with it; every limit of time is zero but the
//! blackout and the whole attempt, so that each deadline is due when it is tried, and no moment
//! stands in a state. Deliberately not here: what the effects of a machine do to the world.

use monitor_core::{
    device::{Assignment, DeviceDescriptor, DeviceEntry, DeviceKind},
    memory::{AtomicWord, DirtyBitmap},
    migrate::{
        Arrival, Attempt, Coordination, Effect, Input, Limits, LinkFault, Reception, SentRun,
        Source, SourceJournal, SourceLoan, SourcePhase, Stage, StepError, Target, TargetJournal,
        TargetLoan, TargetPhase,
    },
    units::{
        DeviceNumber, Epoch, Incarnation, Micros, Mnemonic, PageCount, PageNumber, StreamId,
        SuName, SubchannelNumber, Tick, VmName,
    },
    vm::{Activity, Findings, Obstacle, Reason},
    wire::Frame,
};

/// The moment at which everything happens but an overrun.
pub(super) const NOW: Tick = Tick::new(0);

/// The moment at which the blackout has taken too long.
pub(super) const OVERRUN: Tick = Tick::new(1);

/// The pages of the guest.
const PAGES: PageCount = PageCount::new(1);

/// Words of a map of one group.
const MAP_WORDS: usize = 3;

/// No limit of time but two; the blackout is what one tick exceeds.
const fn limits() -> Limits {
    let none = Micros::new(0);
    Limits {
        blackout: Micros::new(1),
        total: Micros::new(u64::MAX),
        guest_answer: none,
        peer_answer: none,
        build: none,
        drain: none,
        retry: none,
        reconnect: none,
        overruns: 1,
    }
}

/// The name of an SU.
pub(super) fn su_name(su: u8) -> SuName {
    SuName::new(["A", "B", "C"][usize::from(su)]).expect("a short name")
}

/// The SU of this name.
pub(super) fn su_of(name: SuName) -> u8 {
    (0..3).find(|su| su_name(*su) == name).expect("the name of an SU")
}

/// The device that goes with the guest.
pub(super) fn moving_device() -> DeviceDescriptor {
    DeviceDescriptor {
        mnemonic: Mnemonic::new("D0").expect("a short name"),
        number: DeviceNumber::new(0),
        kind: DeviceKind::Disk,
        assignment: Assignment::Shared,
        subchannel: SubchannelNumber::new(0),
        identity: 0,
        ..DeviceDescriptor::VACANT
    }
}

/// A device of a kind that does not go with the guest.
pub(super) fn staying_device(kind: DeviceKind, is_detached: bool) -> DeviceDescriptor {
    let number = DeviceNumber::new(1);
    let mnemonic = Mnemonic::new("D1").expect("a short name");
    DeviceDescriptor { mnemonic, number, kind, is_detached, ..moving_device() }
}

/// The source machine, and what is lent to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SourceEnd {
    /// The machine.
    pub(super) machine: Source,
    /// Whether changes of storage are noted.
    pub(super) is_tracked: bool,
    pages: [u64; MAP_WORDS],
    keys: [u64; MAP_WORDS],
    window: [Option<SentRun>; 2],
    devices: Vec<DeviceEntry>,
    findings: Findings,
}

impl SourceEnd {
    /// An end that begins an attempt from one SU to another, for a guest that runs.
    pub(super) fn begin(from: u8, to: u8, epoch: Epoch, devices: &[DeviceDescriptor]) -> Self {
        let attempt = Attempt {
            // A restarted source may count its attempts anew: only incarnations differ for sure.
            stream: StreamId::new(1),
            vm: VmName::new("VM").expect("a short name"),
            source: su_name(from),
            target: su_name(to),
            epoch,
            activity: Activity::Running,
            pages: PAGES,
            processors: 1,
            coordination: Coordination::Required,
            limits: limits(),
        };
        let mut machine = Source::new();
        machine.start(NOW, attempt).expect("a new machine begins an attempt");
        Self {
            machine,
            is_tracked: false,
            pages: [0; MAP_WORDS],
            keys: [0; MAP_WORDS],
            window: [None; 2],
            devices: devices.iter().map(|it| DeviceEntry::attached(*it, epoch)).collect(),
            findings: Findings::new(),
        }
    }

    /// An end of a monitor that was restarted.
    fn restore(journal: &SourceJournal, devices: &[DeviceDescriptor]) -> Self {
        let epoch = journal.epoch;
        Self {
            machine: Source::restore(NOW, journal),
            is_tracked: false,
            pages: [0; MAP_WORDS],
            keys: [0; MAP_WORDS],
            window: [None; 2],
            devices: devices.iter().map(|it| DeviceEntry::quiesced(*it, epoch)).collect(),
            findings: Findings::new(),
        }
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

    /// The guest, or I/O of it, stores into its page.
    pub(super) fn note_store(&mut self) {
        if self.is_tracked {
            self.with_loan(|_, loan| loan.pages.mark(PageNumber::new(0)))
                .expect("the guest has this page");
        }
    }

    fn forget(&mut self) {
        self.machine.forget_words();
        if self.machine.phase() > SourcePhase::Suspended {
            self.machine.forget_measurements();
            (self.pages, self.keys, self.window) = Default::default();
        }
    }
}

/// What an SU is to the attempt `number`.
fn reception(number: u8, su: u8) -> Reception {
    let load = Incarnation::new((u64::from(number) + 1) * 100);
    let pages_max = PageCount::new(1024);
    Reception { limits: limits(), ..Reception::new(su_name(su), load, pages_max) }
}

/// What a monitor keeps over a restart of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Journal {
    /// Of a source.
    Source(SourceJournal),
    /// Of a target.
    Target(TargetJournal),
}

impl Journal {
    /// The machine of a monitor that finds this journal.
    pub(super) fn restore(&self, number: u8, su: u8, devices: &[DeviceDescriptor]) -> Machine {
        match self {
            Self::Source(journal) => Machine::Source(SourceEnd::restore(journal, devices)),
            Self::Target(journal) => {
                Machine::Target(TargetEnd::restore(number, su, journal, devices))
            }
        }
    }
}

/// The target machine, and what is lent to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TargetEnd {
    /// The machine.
    pub(super) machine: Target,
    devices: Vec<DeviceEntry>,
}

impl TargetEnd {
    /// An end that waits for the attempt `number`.
    pub(super) fn begin(number: u8, su: u8, devices: &[DeviceDescriptor]) -> Self {
        let machine = Target::new(reception(number, su));
        Self { machine, devices: devices.iter().copied().map(DeviceEntry::free).collect() }
    }

    /// An end of a monitor that was restarted.
    fn restore(number: u8, su: u8, journal: &TargetJournal, devices: &[DeviceDescriptor]) -> Self {
        let machine = Target::restore(NOW, reception(number, su), journal);
        Self { machine, devices: devices.iter().copied().map(DeviceEntry::assigned).collect() }
    }
}

/// A machine of either end.
#[expect(clippy::large_enum_variant, reason = "a machine lies behind the pointer of `Kept`")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Machine {
    /// Of a source.
    Source(SourceEnd),
    /// Of a target.
    Target(TargetEnd),
}

impl Machine {
    /// Hands it an input; what it does not take costs a frame's sender the link.
    pub(super) fn feed(&mut self, now: Tick, input: Input) {
        if let Some(fault) = self.refusal(now, input) {
            let _ = self.refusal(now, Input::LinkLost(fault));
        }
    }

    fn refusal(&mut self, now: Tick, input: Input) -> Option<LinkFault> {
        let taken = match self {
            Self::Source(end) => {
                let kept = end.findings.clone();
                if let Input::Frame(Arrival { frame: Frame::Findings(count), .. }) = input {
                    end.findings.clear();
                    (0..count).for_each(|_| end.findings.add(Obstacle::NameTaken));
                }
                let taken = end.with_loan(|machine, loan| machine.handle(now, input, loan));
                if taken.is_err() {
                    end.findings = kept;
                }
                taken.map_err(|error| matches!(error, StepError::EffectsPending))
            }
            Self::Target(end) => {
                let mut loan = TargetLoan { devices: &mut end.devices };
                let taken = end.machine.handle(now, input, &mut loan);
                if let (Ok(()), Input::Frame(Arrival { frame: Frame::Definition, .. })) =
                    (&taken, &input)
                {
                    end.machine.describe(1, PAGES, Activity::Running);
                }
                taken.map_err(|error| matches!(error, StepError::EffectsPending))
            }
        };
        match (taken, input) {
            (Err(true), _) => panic!("a machine whose effects were polled takes input: {input:?}"),
            (Err(false), Input::Frame(arrival)) => {
                Some(LinkFault::OutOfPhase(arrival.frame.frame_type()))
            }
            _ => None,
        }
    }

    /// The next effect.
    pub(super) fn poll(&mut self, now: Tick) -> Option<Effect> {
        match self {
            Self::Source(end) => end.with_loan(|machine, loan| machine.poll_effect(now, loan)),
            Self::Target(end) => {
                end.machine.poll_effect(now, &mut TargetLoan { devices: &mut end.devices })
            }
        }
    }

    /// The deadline, if there is one.
    pub(super) fn deadline(&self) -> Option<Tick> {
        match self {
            Self::Source(end) => end.machine.poll_deadline(),
            Self::Target(end) => end.machine.poll_deadline(),
        }
    }

    /// Whether the machine still uses its link.
    pub(super) const fn uses_link(&self) -> bool {
        match self {
            Self::Source(end) => end.machine.uses_link(),
            Self::Target(end) => end.machine.listens(),
        }
    }

    /// Whether the machine wants another connection.
    pub(super) const fn wants_link(&self) -> bool {
        match self {
            Self::Source(end) => end.machine.wants_link(),
            Self::Target(end) => end.machine.wants_link(),
        }
    }

    /// What is to be kept at this stage.
    pub(super) fn journal(&self, stage: Stage) -> Option<Journal> {
        let stage = match stage {
            Stage::Over => return None,
            Stage::Undoing(_) => Stage::Undoing(Reason::Cancelled),
            stage => stage,
        };
        match self {
            Self::Source(end) => end.machine.journal(stage).map(Journal::Source),
            Self::Target(end) => end.machine.journal(stage).map(Journal::Target),
        }
    }

    /// Whether nothing can become of the machine any more.
    pub(super) const fn is_over(&self) -> bool {
        match self {
            Self::Source(end) => {
                matches!(end.machine.phase(), SourcePhase::RolledBack | SourcePhase::Released)
            }
            Self::Target(end) => match end.machine.phase() {
                TargetPhase::Completed => true,
                TargetPhase::Dropped => !end.machine.listens(),
                _ => false,
            },
        }
    }

    /// The epoch under which the guest runs here, if it does.
    pub(super) fn running_epoch(&self) -> Epoch {
        match self {
            Self::Source(end) => end.machine.epoch(),
            Self::Target(end) => end.machine.claimed_epoch(),
        }
    }

    /// What the frames of this end name.
    pub(super) fn identity(&self) -> (StreamId, Epoch) {
        match self {
            Self::Source(end) => {
                let machine = &end.machine;
                let epoch = machine.attempt().map_or(machine.epoch(), |attempt| attempt.epoch);
                (machine.stream(), epoch)
            }
            Self::Target(end) => (end.machine.stream(), end.machine.epoch()),
        }
    }

    /// The phase of a source.
    pub(super) const fn source_phase(&self) -> Option<SourcePhase> {
        match self {
            Self::Source(end) => Some(end.machine.phase()),
            Self::Target(_) => None,
        }
    }

    /// The phase of a target.
    pub(super) const fn target_phase(&self) -> Option<TargetPhase> {
        match self {
            Self::Source(_) => None,
            Self::Target(end) => Some(end.machine.phase()),
        }
    }

    /// Forgets what decides nothing.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Source(end) => end.forget(),
            Self::Target(end) => end.machine.forget_words(),
        }
    }
}
