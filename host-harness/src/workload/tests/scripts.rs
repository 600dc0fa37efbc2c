//! What the guest says and answers when the monitor tells it of a migration.
//!
//! Source of truth: VM2000 manual, the guest's console of a live migration, to the letter.
//! Invariant: the texts are written out here and not taken from the module under test.
//! Deliberately not here: what workloads do meanwhile ([`super::course`]).

use monitor_core::vm::{GuestAnswer, GuestEvent, ProcessorSet};

use super::*;

const STARTED: &str = "% ETMDR01 DYNAMIC RECONFIGURATION WITH FUNCTION 'MIGRATE' STARTED";
const REJECTED: &str = "% ETMDR04 DYNAMIC RECONFIGURATION WITH FUNCTION 'MIGRATE' REJECTED";
const LOCKED: &str = "% MCS1002 GLOBAL MSCF CONFIGURATION PARAMETER 'RECOVERY-START' \
     CHANGED FROM '*AUTOMATIC' TO 'LOCKED'";
const UNLOCKED: &str = "% MCS1002 GLOBAL MSCF CONFIGURATION PARAMETER 'RECOVERY-START' \
     CHANGED FROM 'LOCKED' TO '*AUTOMATIC'";
const FINISHED: &str = "% ETMDR03 LIVE MIGRATION FROM SOURCE CONFIGURATION '390SU- 500-10B' \
     TO TARGET CONFIGURATION '390SU- 700-70' FINISHED. INITIAL CONFIGURATION WAS '390SU- 700-70'";
const ACTIVE: [&str; 4] = [
    "% BCA07DC LINE \"L#MANLO1\" active",
    "% BCA05EC VLAN-LINE \"L1#DANPU\" active",
    "% BCA05EC VLAN-LINE \"L1#MANPU\" active",
    "% BCA05EC VLAN-LINE \"L1#MCNPR\" active",
];

impl Rig {
    fn with_manner(manner: Manner) -> Self {
        Self::with(GuestPlan { manner, ..plan(&[Kind::Idle]) }, 1)
    }

    /// Tells the guest and gives its answers and the lines it has written since.
    pub(super) fn tell(&mut self, event: GuestEvent) -> (Vec<GuestAnswer>, Vec<String>) {
        self.machine.tell(event);
        self.hear(100_000)
    }

    /// The answers and lines that come in this time.
    fn hear(&mut self, span_us: u64) -> (Vec<GuestAnswer>, Vec<String>) {
        self.run(span_us);
        let answers = std::iter::from_fn(|| self.machine.take_answer()).collect();
        (answers, std::mem::take(&mut *self.lines.0.lock().unwrap()))
    }
}

fn heard(answers: &[GuestAnswer], lines: &[&str]) -> (Vec<GuestAnswer>, Vec<String>) {
    (answers.to_vec(), lines.iter().map(ToString::to_string).collect())
}

#[test]
fn moved_guest_writes_the_console_of_the_example() {
    let mut source = Rig::new(&ALL);
    let secured = source.tell(GuestEvent::MoveComing);
    assert_eq!(secured, heard(&[GuestAnswer::Ready], &[STARTED, LOCKED]));
    source.stop();
    let mut target = source.moved();
    let moved = target.tell(GuestEvent::Moved);
    assert_eq!(moved, heard(&[GuestAnswer::Resumed], &[FINISHED]));
    assert!(target.lans.iter().all(|lan| lan.announcements().is_empty()));
    let [one, two, three, four] = ACTIVE;
    let network = target.tell(GuestEvent::NetworkUp);
    assert_eq!(network, heard(&[GuestAnswer::Ready], &[one, two, three, four, UNLOCKED]));
    for (lan, number) in target.lans.iter().zip(0..) {
        // The address of the adapter that the guest has come to.
        assert_eq!(lan.announcements(), [([2, 0, 0, 0, 0, 1], line_address(number))]);
    }
    assert!(source.lans.iter().all(|lan| lan.announcements().is_empty()));
    assert_eq!(names(&target.check()), Vec::<String>::new());
}

#[test]
fn second_move_names_the_configuration_that_the_first_one_reached() {
    let mut source = Rig::with_manner(Manner::Accept);
    source.run(10_000);
    source.stop();
    let mut target = source.moved();
    target.tell(GuestEvent::Moved);
    let (_, again) = target.tell(GuestEvent::Moved);
    assert_eq!(again, [FINISHED.replace(SOURCE_CONFIGURATION, TARGET_CONFIGURATION)]);
}

#[test]
fn abandoned_move_unlocks_what_was_locked() {
    let mut rig = Rig::with_manner(Manner::Accept);
    let early = rig.tell(GuestEvent::MoveAbandoned);
    assert_eq!(early, heard(&[GuestAnswer::Ready], &[]));
    rig.tell(GuestEvent::MoveComing);
    let late = rig.tell(GuestEvent::MoveAbandoned);
    assert_eq!(late, heard(&[GuestAnswer::Ready], &[UNLOCKED]));
    let second = rig.tell(GuestEvent::MoveComing);
    assert_eq!(second, heard(&[GuestAnswer::Ready], &[STARTED, LOCKED]));
}

#[test]
fn refusing_guest_says_so_and_locks_nothing() {
    let mut rig = Rig::with_manner(Manner::Refuse);
    let refused = rig.tell(GuestEvent::MoveComing);
    assert_eq!(refused, heard(&[GuestAnswer::Refused], &[REJECTED]));
    let abandoned = rig.tell(GuestEvent::MoveAbandoned);
    assert_eq!(abandoned, heard(&[GuestAnswer::Ready], &[]));
}

#[test]
fn silent_guest_answers_nothing_and_runs_on() {
    let mut rig = Rig::with_manner(Manner::Silent);
    let events = [
        GuestEvent::MoveComing,
        GuestEvent::MoveAbandoned,
        GuestEvent::Moved,
        GuestEvent::NetworkUp,
    ];
    for event in events {
        assert_eq!(rig.tell(event), heard(&[], &[]));
    }
    let verdict = rig.check();
    assert!(verdict.is_clean() && verdict.counts.ticks > 35, "{verdict:?}");
}

#[test]
fn events_that_come_at_once_are_answered_one_after_the_other() {
    let mut rig = Rig::with_manner(Manner::Accept);
    rig.machine.tell(GuestEvent::MoveComing);
    rig.machine.tell(GuestEvent::MoveAbandoned);
    let both = rig.tell(GuestEvent::MoveComing);
    let ready = [GuestAnswer::Ready; 3];
    assert_eq!(both, heard(&ready, &[STARTED, LOCKED, UNLOCKED, STARTED, LOCKED]));
}

#[test]
fn script_that_was_cut_by_the_stop_goes_on_at_the_target() {
    // The guest is stopped after each of its first steps in turn.
    for span_us in (0..800).step_by(STEP_US as usize) {
        let mut source = Rig::with_manner(Manner::Accept);
        source.run(20_000);
        source.machine.tell(GuestEvent::MoveComing);
        source.run(span_us);
        source.stop();
        let (answers, mut lines) = source.hear(STEP_US);
        let mut target = source.moved();
        let (more_answers, more_lines) = target.hear(100_000);
        lines.extend(more_lines);
        assert_eq!(lines, [STARTED, LOCKED], "stopped after {span_us} us");
        // What the source has asked is answered there or nowhere.
        assert!(answers.is_empty() || answers == [GuestAnswer::Ready], "{answers:?}");
        assert_eq!(more_answers, []);
        assert_eq!(names(&target.check()), Vec::<String>::new());
    }
}

#[test]
fn guest_leaves_a_processor_that_it_loses_before_it_is_ready_and_takes_it_up_again() {
    let mut rig = Rig::new(&ALL);
    rig.run(20_000);
    let lost = ProcessorIndex::new(1);
    rig.machine.foretell(ProcessorSet::of(lost));
    assert!(!has_left(&rig.machine, lost));
    let secured = rig.tell(GuestEvent::MoveComing);
    assert_eq!(secured, heard(&[GuestAnswer::Ready], &[STARTED, LOCKED]));
    assert!(has_left(&rig.machine, lost));
    let before = rig.image(1).general;
    rig.run(50_000);
    assert_eq!(rig.image(1).general, before);
    let abandoned = rig.tell(GuestEvent::MoveAbandoned);
    assert_eq!(abandoned, heard(&[GuestAnswer::Ready], &[UNLOCKED]));
    assert!(!has_left(&rig.machine, lost));
    assert_ne!(rig.image(1).general, before);
    assert_eq!(names(&rig.check()), Vec::<String>::new());
}

#[test]
fn guest_is_not_ready_while_a_processor_that_it_loses_is_at_work() {
    let mut rig = Rig::new(&[Kind::Idle]);
    rig.run(20_000);
    let lost = ProcessorIndex::new(1);
    rig.machine.foretell(ProcessorSet::of(lost));
    rig.machine.tell(GuestEvent::MoveComing);
    // Processor 1 is in a long step, as it were: only the other one goes on.
    let end = rig.now + 200_000;
    while rig.now < end {
        rig.machine.step_channel(Tick::new(rig.now));
        rig.machine.step_processor(0, Tick::new(rig.now), 256);
        rig.now += STEP_US;
    }
    assert_eq!(rig.machine.take_answer(), None);
    assert_eq!(rig.hear(10_000).0, [GuestAnswer::Ready]);
}

#[test]
fn guest_without_a_console_answers_all_the_same() {
    let mut rig = Rig::with_manner(Manner::Accept);
    rig.run(10_000);
    let console = DeviceSlot::new(0);
    rig.machine.with_subsystem(|subsystem| subsystem.detach(console)).unwrap();
    let secured = rig.tell(GuestEvent::MoveComing);
    assert_eq!(secured, heard(&[GuestAnswer::Ready], &[]));
    assert_eq!(rig.check().counts.io_faults, 2);
}
