//! Moves under random writes, random schedules and random faults: the guest is one guest, whole,
//! wherever it is, and what has failed once succeeds without the fault.
//!
//! One property writes between two port calls and knows what each page, key and state has to be;
//! the other one moves a guest that works, does I/O, and judges itself. Both have a fixed seed, so
//! that a failure repeats.
//!
//! Source of truth: a plain model of pages, keys and states; `host_harness::cluster::judge`.
//! Invariant: a guest that is stopped writes nothing. Deliberately not here: restarts of a monitor.

use std::collections::BTreeMap;

use host_harness::{
    config::{Config, WorkloadName},
    console::Verified,
    machine::{Machine, Tracking},
    sim::{Cut, Direction, Pipe, Scenario, World},
};
use integration_tests::{
    rig::{
        Ended, Moment, Rig, Scene, clear, differences, first_key, first_value, page, pattern, put,
    },
    worlds::{other, running, started},
};
use monitor_core::{
    limits::PAGE_BYTES,
    memory::{PageState, StateOrder},
    migrate::{SourcePhase, TargetPhase},
    units::{Micros, PageNumber},
    vm::{Disposition, Reason},
};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
    test_runner::RngSeed,
};

/// Access-control bits, fetch protection, reference and change of a key.
const KEY_BITS: u8 = 0xFE;

/// How long an end waits for the other one: a link that stands still takes no longer.
const PATIENCE: Micros = Micros::from_millis(500);

fn config(cases: u32) -> ProptestConfig {
    let (rng_seed, failure_persistence) = (RngSeed::Fixed(0x390), None);
    ProptestConfig {
        cases,
        rng_seed,
        failure_persistence,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    }
}

// Writes between two port calls, against a model.

/// What the guest does to one page.
#[derive(Clone, Copy, Debug)]
enum Write {
    Put(u64),
    Clear,
    SetKey(u8),
    Load,
    ResetReference,
    Order(StateOrder),
    /// Not the guest but its host drops the content, if it may.
    Discard,
}

/// What is done at a moment.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The guest writes, if it runs. The page is a number modulo the guest's size.
    Write(u64, Write),
    LinkBytes(usize),
    OpenLink,
    Cancel,
    Cut,
    Drop,
}

/// What is wrong with the link.
#[derive(Clone, Copy, Debug)]
enum LinkFault {
    None,
    CutAfter(Direction, u64),
    WrongByte(Direction, u64, u8),
}

fn write() -> impl Strategy<Value = Act> {
    let write = prop_oneof![
        4 => (1..1_u64 << 40).prop_map(Write::Put),
        1 => Just(Write::Clear),
        2 => any::<u8>().prop_map(Write::SetKey),
        1 => Just(Write::Load),
        1 => Just(Write::ResetReference),
        3 => select(StateOrder::ALL.to_vec()).prop_map(Write::Order),
        1 => Just(Write::Discard),
    ];
    (any::<u64>(), write).prop_map(|(page, write)| Act::Write(page, write))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        40 => write(),
        2 => select(vec![0, 500, 5_000, 50_000]).prop_map(Act::LinkBytes),
        2 => Just(Act::OpenLink),
        1 => Just(Act::Cancel),
        1 => Just(Act::Cut),
        3 => Just(Act::Drop),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    select(vec![Direction::ToTarget, Direction::ToSource])
}

fn link_fault() -> impl Strategy<Value = LinkFault> {
    // The target says little: a place among its first bytes is likely to be reached.
    let place = |direction| match direction {
        Direction::ToTarget => 0..900_000_u64,
        Direction::ToSource => 0..3_000_u64,
    };
    let cut = direction()
        .prop_flat_map(move |it| place(it).prop_map(move |at| LinkFault::CutAfter(it, at)));
    let wrong = (direction(), 1..=u8::MAX).prop_flat_map(move |(it, mask)| {
        place(it).prop_map(move |at| LinkFault::WrongByte(it, at, mask))
    });
    prop_oneof![Just(LinkFault::None), cut, wrong]
}

/// What each page, key and state of the guest has to be.
#[derive(Debug)]
struct Model {
    values: Vec<Option<u64>>,
    keys: Vec<u8>,
    states: Vec<PageState>,
}

impl Model {
    fn new(pages: u64) -> Self {
        let values: Vec<_> = (0..pages).map(first_value).collect();
        let states = vec![PageState::Stable; values.len()];
        Self { values, keys: (0..pages).map(first_key).collect(), states }
    }

    /// Lets the guest and the model do the same.
    fn write(&mut self, guest: &Machine, page: u64, write: Write) {
        let page = page % guest.storage.page_count().get();
        let index = usize::try_from(page).unwrap();
        let (key, state) = (&mut self.keys[index], &mut self.states[index]);
        let number = PageNumber::new(page);
        match write {
            // An exception, which this guest does not handle.
            Write::Put(_) | Write::Clear | Write::Load if *state == PageState::Discarded => {
                assert!(guest.storage.is_discarded(page * PAGE_BYTES as u64));
            }
            Write::Order(order) => {
                assert_eq!(guest.storage.set_state(number, order), *state);
                *state = state.after(order);
            }
            Write::Discard => {
                let dropped = state.dropped(*key & 0x02 != 0);
                assert_eq!(guest.storage.discard(number), dropped.is_some());
                if let Some(dropped) = dropped {
                    (self.values[index], *state) = (None, dropped);
                }
            }
            Write::Put(value) => {
                put(guest, page, value);
                (self.values[index], *key) = (Some(value), *key | 0x06);
            }
            Write::Clear => {
                clear(guest, page);
                (self.values[index], *key) = (None, *key | 0x06);
            }
            Write::SetKey(new) => {
                guest.storage.set_key(number, new);
                *key = new & KEY_BITS;
            }
            Write::Load => {
                guest.storage.load(page * PAGE_BYTES as u64).unwrap();
                *key |= 0x04;
            }
            Write::ResetReference => {
                assert_eq!(guest.storage.reset_reference(number), (*key & 0x06) >> 1);
                *key &= !0x04;
            }
        }
    }

    /// The pages that are not as they have to be.
    fn differences(&self, guest: &Machine) -> Vec<u64> {
        let wrong = |number: &u64| {
            let (index, at) = (usize::try_from(*number).unwrap(), PageNumber::new(*number));
            let expected = self.values[index].map_or_else(|| vec![0; PAGE_BYTES], pattern);
            page(guest, *number)[..] != expected[..]
                || guest.storage.key_as_preserved(at) != self.keys[index]
                || guest.storage.state_as_preserved(at) != self.states[index]
        };
        (0..guest.storage.page_count().get()).filter(wrong).collect()
    }
}

/// One attempt with what is done at its moments, which are counted from 0.
fn attempt(rig: &mut Rig, model: &mut Model, acts: &[(usize, Act)], fault: LinkFault) -> Ended {
    let pipe = Pipe::new();
    match fault {
        LinkFault::None => {}
        LinkFault::CutAfter(direction, bytes) => pipe.cut_after(direction, bytes),
        LinkFault::WrongByte(direction, place, mask) => pipe.falsify(direction, place, mask),
    }
    let mut due: BTreeMap<usize, Vec<Act>> = BTreeMap::new();
    for (moment, act) in acts {
        due.entry(*moment).or_default().push(*act);
    }
    let (mut number, mut is_stopped) = (0, false);
    rig.attempt_over(&pipe, &mut |moment, scene| {
        match moment {
            Moment::Stopped => is_stopped = true,
            Moment::Resumed => is_stopped = false,
            Moment::Tracked
            | Moment::Collecting
            | Moment::Copied(_)
            | Moment::KeysRead(_)
            | Moment::Stopping => {}
        }
        for act in due.get(&number).into_iter().flatten() {
            do_act(*act, scene, model, is_stopped);
        }
        number += 1;
    })
}

fn do_act(act: Act, scene: &Scene<'_>, model: &mut Model, is_stopped: bool) {
    match act {
        Act::Write(..) if is_stopped => {}
        Act::Write(page, write) => model.write(scene.guest, page, write),
        Act::LinkBytes(bytes) => scene.set_link_bytes(bytes),
        Act::OpenLink => scene.open_link(),
        Act::Cancel => scene.cancel(),
        Act::Cut => scene.cut_link(),
        Act::Drop => scene.drop_link(),
    }
}

/// The guest is whole where it is. Gives whether it is still at the source.
fn assert_whole(rig: &Rig, model: &Model, ended: &Ended) -> bool {
    assert_eq!(model.differences(&rig.guest), [] as [u64; 0], "at the source: {ended:?}");
    let is_back = ended.source == SourcePhase::RolledBack;
    assert_eq!(rig.guest.is_running(), is_back, "{ended:?}");
    if is_back {
        let runs_there = ended.copy.as_ref().is_some_and(|copy| copy.is_running());
        assert!(!runs_there, "the guest runs twice: {ended:?}");
        return true;
    }
    // Released, or held in a doubt that the record has decided for the target.
    assert_eq!(ended.target, TargetPhase::Completed, "{ended:?}");
    let copy = ended.copy.as_ref().unwrap();
    assert!(copy.is_running(), "{ended:?}");
    assert_eq!(differences(&rig.guest, copy), [] as [u64; 0]);
    false
}

// A guest that works, judged by itself and by both sides.

fn scenario() -> impl Strategy<Value = Scenario> {
    let phase = || {
        select(vec![
            SourcePhase::Checking,
            SourcePhase::Preparing,
            SourcePhase::Precopy,
            SourcePhase::Suspended,
            SourcePhase::Offered,
            SourcePhase::Releasing,
        ])
    };
    let place = |direction| match direction {
        Direction::ToTarget => 0..10_000_000_u64,
        Direction::ToSource => 0..8_000_u64,
    };
    let at = move || direction().prop_flat_map(move |it| (Just(it), place(it)));
    let fault = prop_oneof![
        Just(Scenario::default()),
        at().prop_map(|(it, bytes)| Scenario {
            cut: Some(Cut::AfterBytes(it, bytes)),
            ..Scenario::default()
        }),
        (1..600_u64)
            .prop_map(|round| Scenario { cut: Some(Cut::AtRound(round)), ..Scenario::default() }),
        phase().prop_map(|phase| Scenario {
            cut: Some(Cut::InSourcePhase(phase)),
            ..Scenario::default()
        }),
        (at(), 1..=u8::MAX).prop_map(|((it, place), mask)| Scenario {
            wrong_byte: Some((it, place, mask)),
            ..Scenario::default()
        }),
        phase().prop_map(|phase| Scenario { cancel: Some(phase), ..Scenario::default() }),
        // Not where it may stand still for ever: a target may take minutes to set up a VM, and
        // behind COMMIT the source is in doubt as long as the link is there and says nothing.
        select(vec![SourcePhase::Checking, SourcePhase::Precopy, SourcePhase::Suspended])
            .prop_map(|phase| Scenario { stall: Some(phase), ..Scenario::default() }),
        (phase(), 0..20_000_u64).prop_map(|(phase, back_after)| Scenario {
            directory_gone: Some(phase),
            directory_back_after: back_after,
            ..Scenario::default()
        }),
    ];
    let link = select(vec![6 << 10, 24 << 10, 64 << 10, 512 << 10]);
    (fault, link).prop_map(|(fault, bytes_per_round)| Scenario { bytes_per_round, ..fault })
}

fn workloads() -> impl Strategy<Value = Vec<WorkloadName>> {
    let all = vec![
        WorkloadName::Idle,
        WorkloadName::HotSet,
        WorkloadName::Sweep,
        WorkloadName::KeyValue,
        WorkloadName::Journal,
    ];
    subsequence(all, 1..=3)
}

/// Lets the attempt happen; gives whether another one can follow.
fn assert_one_guest(world: &mut World, config: &Config, case: &Scenario) -> bool {
    let to = if world.at == config.vm.on { other(config) } else { config.vm.on };
    let course = world.attempt(to, case);
    assert_eq!(course.rounds_run_twice, 0);
    match course.disposition {
        Disposition::RunsAtSource => assert_ne!(course.target, TargetPhase::Completed),
        Disposition::RunsAtTarget => assert_eq!(course.verified, Some(Verified::ALL)),
        Disposition::HeldAtSource => {
            assert_eq!(course.target, TargetPhase::Completed);
            return false;
        }
        Disposition::HeldAtTarget => panic!("a source does not know of the target's hold"),
    }
    assert!(world.machine.is_running());
    assert_eq!(world.machine.fault(), None);
    true
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn no_write_is_lost_whatever_happens(
        pages in prop_oneof![1..200_u64, select(vec![63, 64, 65, 128])],
        frame_bytes_max in select(vec![4_288_usize, 9_000, 40_000, 262_336]),
        acts in prop::collection::vec((0..200_usize, act()), 0..60),
        fault in link_fault(),
        between in prop::collection::vec(write(), 0..10),
        later in prop::collection::vec((0..200_usize, write()), 0..40),
        tracking in select(vec![Tracking::Marks, Tracking::Keys]),
    ) {
        let (mut rig, mut model) = (Rig::new(pages), Model::new(pages));
        rig.guest.storage.track_by(tracking);
        rig.frame_bytes_max = frame_bytes_max;
        rig.limits.peer_answer = PATIENCE;
        rig.limits.reconnect = PATIENCE;
        let ended = attempt(&mut rig, &mut model, &acts, fault);
        if assert_whole(&rig, &model, &ended) {
            for act in between {
                if let Act::Write(page, write) = act {
                    model.write(&rig.guest, page, write);
                }
            }
            let mut ended = attempt(&mut rig, &mut model, &later, LinkFault::None);
            if assert_whole(&rig, &model, &ended) {
                // The writes were too many for the stop rule; without them nothing is in the way.
                prop_assert_eq!(ended.reason, Some(Reason::WillNotConverge));
                ended = attempt(&mut rig, &mut model, &[], LinkFault::None);
                prop_assert!(!assert_whole(&rig, &model, &ended), "{ended:?}");
            }
            prop_assert_eq!(ended.source, SourcePhase::Released);
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn a_guest_at_work_is_whole_after_any_fault(
        run in workloads(),
        seed in any::<u64>(),
        case in scenario(),
    ) {
        let mut config = running(&run);
        config.workload.seed = seed;
        config.limits.peer_answer = PATIENCE;
        config.limits.reconnect = PATIENCE;
        let mut world = started(&config);
        if assert_one_guest(&mut world, &config, &case) {
            let before = world.at;
            prop_assert!(assert_one_guest(&mut world, &config, &Scenario::default()));
            prop_assert_ne!(world.at, before, "the second attempt has failed");
        }
    }
}
