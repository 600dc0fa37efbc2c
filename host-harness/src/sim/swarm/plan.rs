//! What a world is made of and what is to happen in it: all of it drawn from its seed.
//!
//! Source of truth: the seed. Invariants: a world has at least two VMs of 256 pages and two
//! moves, one of them a move back; no fault begins after the calm. Deliberately not here: noise
//! on the way, such as the latency of a port, which is drawn as it is needed, from the same seed.

use monitor_core::{
    device::Assignment,
    limits::FRAME_BYTES_MAX,
    migrate::{Coordination, Limits, SourcePhase, TargetPhase},
    units::{Micros, PageCount, ProcessorIndex, Tick},
    vm::{Facility, FacilityList, ProcessorSet},
};

use super::{
    draw::Draw,
    fault::{End, FaultKind, Profile},
};
use crate::workload::{Kind, Manner, Rate};

/// A VM at the beginning.
#[derive(Clone, Debug)]
pub(super) struct VmPlan {
    /// The SU where it is.
    pub(super) home: usize,
    pub(super) pages: PageCount,
    pub(super) processors: u16,
    /// Those of them that the guest has detached.
    pub(super) detached: ProcessorSet,
    /// What its guest is given.
    pub(super) facilities: FacilityList,
    pub(super) kinds: Vec<Kind>,
    pub(super) manner: Manner,
    pub(super) epoch: u64,
    /// Whether its guest runs; a VM whose guest does not is moved as well.
    pub(super) runs: bool,
    /// How long its devices take, in microseconds.
    pub(super) latency: u64,
    pub(super) seed: u64,
    /// Which devices it has that do not go with it: a bit for each of [`super::build::STAYING`].
    pub(super) staying: u64,
    /// The SUs that have an alias for it, a bit for each.
    pub(super) alias_on: u64,
    /// The disks of its journal: how it has each.
    pub(super) disks: Vec<Assignment>,
    /// Which of them keep their data in tracks, a bit for each.
    pub(super) in_tracks: u64,
    /// The station on its line of the local network: from one ping to the next, and how long it
    /// waits for an answer.
    pub(super) line: Option<(Micros, Micros)>,
    /// The partner at its channel-to-channel adapter: from one message to the next.
    pub(super) partner: Option<Micros>,
}

/// What an SU has.
#[derive(Clone, Copy, Debug)]
pub(super) struct SuPlan {
    /// Processors for guests.
    pub(super) pool: u16,
    pub(super) facilities: FacilityList,
}

/// Where a move goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Some SU other than the one where the VM is: so many places on.
    Next(usize),
    /// The SU where the VM was at the beginning, if it is not there.
    Home,
}

/// What the link between two monitors is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkPlan {
    /// Bytes in a second.
    pub(super) rate: u64,
    pub(super) delay: Micros,
    pub(super) jitter: Micros,
    pub(super) segment_bytes: usize,
    /// Bytes that may be under way in one direction.
    pub(super) capacity: usize,
    /// How long nothing may pass until the connection counts as broken.
    pub(super) patience: Micros,
}

/// A move.
#[derive(Clone, Debug)]
pub(super) struct MovePlan {
    pub(super) vm: usize,
    pub(super) to: To,
    pub(super) at: Tick,
    pub(super) link: LinkPlan,
    pub(super) limits: Limits,
    pub(super) coordination: Coordination,
    pub(super) frame_bytes_max: u32,
    pub(super) window: u32,
    /// Slots that the source has for frames under way.
    pub(super) slots: usize,
}

/// The moment at which a fault is made ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// When the source enters a phase.
    Source(SourcePhase),
    /// When the target enters a phase.
    Target(TargetPhase),
}

/// A fault of a move.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultPlan {
    pub(super) on_move: usize,
    pub(super) end: End,
    pub(super) kind: FaultKind,
    pub(super) when: When,
    /// From the entry of the phase.
    pub(super) delay: Micros,
    /// How long it lasts.
    pub(super) span: Micros,
    /// How often it strikes, or how many effects later.
    pub(super) count: u8,
}

/// A world before it begins.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) sus: Vec<SuPlan>,
    /// How far the clock of each monitor is ahead, in microseconds.
    pub(super) offsets: [u64; 3],
    pub(super) vms: Vec<VmPlan>,
    pub(super) moves: Vec<MovePlan>,
    pub(super) faults: Vec<FaultPlan>,
    /// From here on no fault begins.
    pub(super) calm_at: Tick,
    /// How long the directory takes for an answer, in microseconds.
    pub(super) directory_latency: u64,
    /// How long the directory is waited for.
    pub(super) directory_patience: Micros,
    /// The longest time that a port takes for an operation, in microseconds.
    pub(super) port_latency: u64,
}

/// The facilities of an SU that lacks none.
const FACILITIES: FacilityList = guest::FACILITIES.with(Facility::PAGE_STATES);

/// When worlds begin.
pub(super) const DAWN: Tick = Tick::new(1_000_000);

/// Phases of the source in which a fault can begin.
const SOURCE_PHASES: [SourcePhase; 9] = [
    SourcePhase::Idle,
    SourcePhase::Checking,
    SourcePhase::Preparing,
    SourcePhase::Precopy,
    SourcePhase::Suspended,
    SourcePhase::Offered,
    SourcePhase::InDoubt,
    SourcePhase::Releasing,
    SourcePhase::Undoing,
];

/// Phases of the target in which a fault can begin.
const TARGET_PHASES: [TargetPhase; 10] = TargetPhase::ALL;

impl Plan {
    /// The world of this seed.
    pub(super) fn new(seed: u64, profile: Profile) -> Self {
        let mut draw = Draw::new(seed, 1);
        let su_count = draw.pick(&[2, 2, 3]);
        let vm_count = draw.pick(&[2, 2, 2, 3]);
        let mut vms: Vec<_> = (0..vm_count).map(|_| vm(&mut draw, su_count)).collect();
        let sus = hardware(&mut Draw::new(seed, 3), su_count, &mut vms);
        devices(&mut Draw::new(seed, 4), &mut vms);
        attributes(&mut Draw::new(seed, 5), &mut vms);
        formats(&mut Draw::new(seed, 6), &mut vms);
        let moves = moves(&mut draw, vms.len(), profile);
        let faults = faults(&mut draw, moves.len(), profile);
        let last = moves.iter().map(|it| it.at).max().unwrap_or(DAWN);
        let planned = Self {
            sus,
            offsets: [0; 3].map(|_| draw.below(1 << 40)),
            vms,
            moves,
            faults,
            calm_at: last.after(Micros::new(draw.scaled(10_000, 600_000))),
            directory_latency: draw.scaled(40, 4_000),
            directory_patience: Micros::new(draw.scaled(5_000, 60_000)),
            port_latency: draw.scaled(2, 400),
        };
        planned.with_late_move(&mut draw)
    }

    /// Half of the worlds have a move behind all faults.
    fn with_late_move(mut self, draw: &mut Draw) -> Self {
        if draw.chance(500) {
            let at = self.calm_at.after(Micros::new(draw.below(20_000)));
            if let Some(last) = self.moves.last_mut() {
                last.at = at;
            }
        }
        self
    }
}

fn vm(draw: &mut Draw, su_count: usize) -> VmPlan {
    let mut kinds = Vec::new();
    if draw.chance(400) {
        kinds.push(Kind::Idle);
    }
    if draw.chance(700) {
        let window = PageCount::new(draw.between(4, 140));
        let most = draw.pick(&[500, 2_000, 20_000, 100_000]);
        let rate = Rate::PerSecond(draw.scaled(100, most) as u32);
        kinds.push(Kind::HotSet { window, rate });
    }
    if draw.chance(400) {
        kinds.push(Kind::Sweep { rate: Rate::PerSecond(draw.scaled(50, 4_000) as u32) });
    }
    if draw.chance(300) {
        let rate = Rate::PerSecond(draw.scaled(100, 4_000) as u32);
        kinds.push(Kind::KeyValue { slots: draw.between(16, 640), rate });
    }
    if draw.chance(700) || kinds.is_empty() {
        kinds.push(Kind::Journal { interval_us: draw.scaled(1_000, 20_000) });
    }
    if draw.chance(400) {
        kinds.push(Kind::Processors { interval_us: draw.scaled(500, 20_000) });
    }
    VmPlan {
        home: draw.place(su_count),
        pages: PageCount::new(draw.between(256, 300)),
        processors: draw.pick(&[1, 2, 2]),
        detached: ProcessorSet::EMPTY,
        facilities: FACILITIES,
        kinds,
        manner: match draw.below(20) {
            0 => Manner::Refuse,
            1 | 2 => Manner::Silent,
            _ => Manner::Accept,
        },
        epoch: draw.between(1, 1_000),
        runs: !draw.chance(50),
        latency: draw.scaled(50, 3_000),
        seed: draw.next(),
        staying: if draw.chance(400) { draw.between(1, 7) } else { 0 },
        alias_on: draw.below(8),
        disks: vec![Assignment::Exclusive],
        in_tracks: 0,
        line: None,
        partner: None,
    }
}

/// Some VMs have several disks, so that several requests are under way at once, some a line of the
/// local network, some a channel-to-channel adapter.
fn devices(draw: &mut Draw, vms: &mut [VmPlan]) {
    const ALL: [Assignment; 3] =
        [Assignment::Exclusive, Assignment::Shared, Assignment::SharedDevice];
    for vm in vms {
        let count = draw.pick(&[1, 1, 1, 1, 1, 1, 2, 3]);
        vm.disks = (0..count).map(|_| draw.pick(&ALL)).collect();
        for kind in &mut vm.kinds {
            // So many records in all as on one disk.
            if let Kind::Journal { interval_us } = kind {
                *interval_us *= count;
            }
        }
        let mut interval =
            |share, most| draw.chance(share).then(|| Micros::new(draw.scaled(5_000, most)));
        vm.line = interval(80, 60_000).zip(interval(1_000, 60_000));
        vm.partner = interval(80, 60_000);
    }
}

/// Some VMs have disks in tracks.
fn formats(draw: &mut Draw, vms: &mut [VmPlan]) {
    for vm in vms {
        vm.in_tracks = if draw.chance(150) { draw.between(1, 7) } else { 0 };
    }
}

/// Some guests use the storage keys of their pages, some tell the host which pages they need.
fn attributes(draw: &mut Draw, vms: &mut [VmPlan]) {
    fn some(draw: &mut Draw) -> Option<(PageCount, Rate)> {
        let pages = PageCount::new(draw.between(1, 20));
        let rate = Rate::PerSecond(draw.scaled(100, 8_000) as u32);
        draw.chance(250).then_some((pages, rate))
    }
    for vm in vms {
        vm.kinds.extend(some(draw).map(|(pages, rate)| Kind::Keys { pages, rate }));
        vm.kinds.extend(some(draw).map(|(pages, rate)| Kind::PageStates { pages, rate }));
    }
}

/// SUs with different processors and facilities, and what becomes of the VMs by that. Half of the
/// SUs have few processors. Most VMs are given what all SUs have, the others what theirs has.
fn hardware(draw: &mut Draw, su_count: usize, vms: &mut [VmPlan]) -> Vec<SuPlan> {
    const LACKED: [Facility; 3] =
        [Facility::GUARDED_STORAGE, Facility::ETOKEN, Facility::MOVE_PAGE_AND_SET_KEY];
    let sus: Vec<_> = (0..su_count)
        .map(|_| {
            let all = FACILITIES;
            let lacks = draw.chance(200);
            let facilities = if lacks { all.without(draw.pick(&LACKED)) } else { all };
            SuPlan { pool: draw.pick(&[1, 2, 3, 8, 8, 8]), facilities }
        })
        .collect();
    let common = sus.iter().fold(FacilityList::ALL, |list, su| list.common(&su.facilities));
    for vm in vms {
        let own = sus[vm.home].facilities;
        vm.facilities = if draw.chance(850) { common } else { own };
        if draw.chance(400) {
            vm.processors = draw.pick(&[3, 4]);
            if draw.chance(300) {
                vm.detached = ProcessorSet::of(ProcessorIndex::new(2));
            }
        }
    }
    sus
}

fn moves(draw: &mut Draw, vm_count: usize, profile: Profile) -> Vec<MovePlan> {
    let count = draw.pick(&[2, 2, 3, 3, 4]);
    let first = draw.place(vm_count);
    let mut at = DAWN;
    let moves = (0..count).map(|number| {
        // Two moves begin together as often as one behind the other.
        at = at.after(Micros::new(match draw.below(3) {
            0 => draw.below(500),
            1 => draw.scaled(1_000, 30_000),
            _ => draw.scaled(20_000, 400_000),
        }));
        // The first VM is moved, others may be moved meanwhile, and at last it is moved back.
        let is_last = number + 1 == count;
        let vm = if number == 0 || is_last { first } else { draw.place(vm_count) };
        let to = if is_last { To::Home } else { To::Next(draw.place(2)) };
        MovePlan {
            vm,
            to,
            at,
            link: link(draw),
            limits: limits(draw, profile),
            coordination: draw.pick(&[Coordination::Required, Coordination::IfPossible]),
            frame_bytes_max: draw.pick(&[FRAME_BYTES_MAX as u32, FRAME_BYTES_MAX as u32, 40_000]),
            window: draw.pick(&[1, 2, 4, 16, 64]),
            slots: draw.pick(&[2, 4, 16]),
        }
    });
    moves.collect()
}

fn link(draw: &mut Draw) -> LinkPlan {
    LinkPlan {
        rate: draw.scaled(8_000_000, 500_000_000),
        delay: Micros::new(draw.scaled(10, 4_000)),
        jitter: Micros::new(draw.scaled(1, 300)),
        segment_bytes: draw.pick(&[4_000, 16_000, 64_000]),
        capacity: draw.pick(&[20_000, 100_000, 600_000]),
        patience: Micros::new(draw.scaled(10_000, 200_000)),
    }
}

/// Limits of the size of such a world. Where time is not the topic, it is ample.
pub(super) fn limits(draw: &mut Draw, profile: Profile) -> Limits {
    let is_short = profile == Profile::Budget || draw.chance(150);
    let (blackout, total) = if is_short {
        (draw.scaled(1_000, 40_000), draw.scaled(20_000, 1_000_000))
    } else {
        (draw.scaled(40_000, 400_000), draw.scaled(1_000_000, 8_000_000))
    };
    Limits {
        blackout: Micros::new(blackout),
        total: Micros::new(total),
        guest_answer: Micros::new(draw.scaled(20_000, 200_000)),
        peer_answer: Micros::new(draw.scaled(30_000, 300_000)),
        build: Micros::new(draw.scaled(40_000, 200_000)),
        drain: Micros::new(draw.scaled(8_000, 80_000)),
        retry: Micros::new(draw.scaled(2_000, 40_000)),
        reconnect: Micros::new(draw.scaled(10_000, 200_000)),
        overruns: draw.pick(&[0, 1, 3]),
    }
}

fn faults(draw: &mut Draw, move_count: usize, profile: Profile) -> Vec<FaultPlan> {
    let kinds = profile.faults();
    let mut faults = Vec::new();
    if kinds.is_empty() {
        return faults;
    }
    for _ in 0..draw.between(1, 4) {
        let end = draw.pick(&End::BOTH);
        let when = match end {
            End::Source => When::Source(draw.pick(&SOURCE_PHASES)),
            End::Target => When::Target(draw.pick(&TARGET_PHASES)),
        };
        let kind = draw.pick(kinds);
        // A target that is lost between its claim and the first step leaves an operator to decide.
        let (end, when) = match kind {
            FaultKind::SuLost if draw.chance(300) => {
                (End::Target, When::Target(TargetPhase::Claiming))
            }
            // Only a source drains, and what strikes there has to be ready before.
            FaultKind::DrainEndless => (End::Source, When::Source(draw.pick(&SOURCE_PHASES[1..4]))),
            // What one end sends is cut in a phase of the other one as well.
            FaultKind::CutAtByte => (draw.pick(&End::BOTH), when),
            _ => (end, when),
        };
        let on_move = draw.place(move_count);
        faults.extend(cause(draw, on_move, when));
        faults.push(fault(draw, on_move, end, kind, when));
    }
    faults
}

fn fault(draw: &mut Draw, on_move: usize, end: End, kind: FaultKind, when: When) -> FaultPlan {
    let delay = if draw.chance(500) { 0 } else { draw.scaled(1, 8_000) };
    FaultPlan {
        on_move,
        end,
        kind,
        when,
        delay: Micros::new(delay),
        span: Micros::new(draw.scaled(1_000, 400_000)),
        count: draw.pick(&[1, 1, 1, 2, 3, 5, 8]),
    }
}

/// Phases that only a failure leads to are entered seldom: this fault leads to them.
fn cause(draw: &mut Draw, on_move: usize, when: When) -> Option<FaultPlan> {
    let ends_attempt = [FaultKind::Cancel, FaultKind::Cancel, FaultKind::Corrupt];
    let (phases, kinds): (&[SourcePhase], &[FaultKind]) = match when {
        When::Source(SourcePhase::Undoing) | When::Target(TargetPhase::Undoing) => {
            (&SOURCE_PHASES[1..5], &ends_attempt)
        }
        When::Target(TargetPhase::Dropped) => (&SOURCE_PHASES[2..5], &ends_attempt),
        When::Source(SourcePhase::InDoubt) => {
            (&[SourcePhase::Offered], &[FaultKind::Cut, FaultKind::Partition])
        }
        When::Source(_) | When::Target(_) => return None,
    };
    let phase = draw.pick(phases);
    let kind = draw.pick(kinds);
    Some(fault(draw, on_move, End::Source, kind, When::Source(phase)))
}
