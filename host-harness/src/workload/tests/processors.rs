//! The processors workload: what it does, alone and beside others, and what is found when a part of
//! a processor is lost.
//!
//! Source of truth: the head of `workload::processors`. Invariant: the guest is clean before it is
//! broken. Deliberately not here: the hardware, which has its own tests.

use super::*;
use crate::machine::{Exception, INSTRUCTION_BYTES, order};

fn rig(kinds: &[Kind], processor_count: u16) -> Rig {
    Rig::with(plan(kinds), processor_count)
}

fn clean(rig: &Rig) -> Counts {
    let verdict = rig.check();
    assert!(verdict.is_clean(), "{verdict:?}");
    verdict.counts
}

#[test]
fn every_processor_goes_round_with_its_timer_and_hears_from_the_others() {
    for processor_count in [1, 2, 3, 5] {
        let mut rig = rig(&[PROCESSORS], processor_count);
        rig.run(100_000);
        let running = clean(&rig);
        rig.stop();
        let counts = clean(&rig);
        let each = u64::from(processor_count);
        assert!((180 * each..=202 * each).contains(&counts.rounds), "{counts:?}");
        assert!(counts.timer_interruptions > 300 * each, "{counts:?}");
        assert!(counts.signals > 300 * each, "{counts:?}");
        assert_eq!((running.rounds, running.signals), (counts.rounds, counts.signals));
    }
}

#[test]
fn tasks_go_on_beside_all_other_workloads() {
    let mut kinds = ALL.to_vec();
    kinds.push(PROCESSORS);
    let mut rig = rig(&kinds, 2);
    rig.run(200_000);
    rig.stop();
    let counts = clean(&rig);
    assert!(counts.rounds > 700 && counts.records > 30 && counts.puts > 500, "{counts:?}");
}

#[test]
fn processor_without_work_waits_for_its_timer() {
    let mut rig = rig(&[PROCESSORS], 2);
    rig.run(50_000);
    let image = rig.image(1);
    assert!(image.psw.wait() && image.psw.external(), "{image:?}");
    let step = rig.machine.step_processor(1, Tick::new(rig.now), 64).unwrap();
    assert_eq!(step.worked, 0);
    let due = step.next_due.unwrap().get();
    assert!((rig.now..rig.now + 500).contains(&due), "{due} at {}", rig.now);
}

#[test]
fn guest_goes_on_at_any_point_of_a_task_elsewhere() {
    let mut rig = rig(&[PROCESSORS, KEY_VALUE], 3);
    let mut places = std::collections::BTreeSet::new();
    for number in 0..60 {
        rig.run(1_700);
        // Steps of one unit of work end at any point.
        let wanted = code::TASK + number % 15 * INSTRUCTION_BYTES;
        for _ in 0..3_000 {
            rig.now += 1;
            for index in 0..3 {
                rig.machine.step_processor(index, Tick::new(rig.now), 1);
            }
            if rig.image(number as u16 % 3).psw.address == wanted {
                break;
            }
        }
        rig.stop();
        clean(&rig);
        places.extend((0..3).map(|index| rig.image(index).psw.address));
        rig.now += 3_000;
        rig = rig.moved();
    }
    rig.run(50_000);
    let counts = clean(&rig);
    assert!(counts.rounds > 500, "{counts:?}");
    let points = places.range(code::TASK..).count();
    assert!(points >= 15, "{points} points of a task were moved at");
}

#[test]
fn events_of_a_move_are_answered_beside_the_tasks() {
    let mut rig = rig(&[PROCESSORS], 2);
    rig.run(10_000);
    rig.machine.tell(monitor_core::vm::GuestEvent::MoveComing);
    rig.run(10_000);
    assert_eq!(rig.machine.take_answer(), Some(monitor_core::vm::GuestAnswer::Ready));
    clean(&rig);
}

/// A guest that is stopped while both signals of processor 0 are pending at processor 1.
fn stopped_with_signals() -> Rig {
    let mut rig = rig(&[PROCESSORS], 2);
    rig.run(20_000);
    let is_pending =
        |image: &ProcessorImage| image.external_call == Some(0) && image.emergency_signals & 1 != 0;
    while !is_pending(&rig.image(1)) {
        rig.now += 1;
        rig.machine.step_processor(0, Tick::new(rig.now), 1);
    }
    rig.stop();
    clean(&rig);
    rig
}

type Lose = fn(&mut ProcessorImage);

#[test]
fn lost_or_doubled_signal_is_found_at_rest_and_by_the_guest_itself() {
    let lost: [(Lose, &str); 2] = [
        (|image| image.external_call = None, "signals that did not come"),
        (|image| image.emergency_signals = 0, "signals that did not come"),
    ];
    for (lose, name) in lost {
        let rig = stopped_with_signals();
        let mut moved = rig.moved();
        moved.machine.stop();
        let mut image = moved.image(1);
        lose(&mut image);
        moved.machine.restore(ProcessorIndex::new(1), &image).unwrap();
        let fault = Fault::Signals { sender: 0, receiver: 1 };
        assert_eq!(moved.check().faults, [fault], "at rest");
        moved.machine.resume(Tick::new(moved.now));
        moved.run(20_000);
        assert!(names(&moved.check()).iter().any(|found| found.starts_with(name)));
    }
    for code in [order::EXTERNAL_CALL, order::EMERGENCY_SIGNAL] {
        let mut rig = rig(&[PROCESSORS], 2);
        rig.run(20_000);
        let mut image = rig.image(1);
        if code == order::EXTERNAL_CALL {
            image.external_call = Some(0);
        } else {
            image.emergency_signals |= 1;
        }
        rig.machine.restore(ProcessorIndex::new(1), &image).unwrap();
        rig.run(5_000);
        let faults = names(&rig.check());
        assert!(
            faults.iter().any(|found| found.starts_with("signals that nobody sent")),
            "{faults:?}"
        );
    }
}

#[test]
fn lost_part_of_a_processor_is_found() {
    let mut rig = rig(&[PROCESSORS], 2);
    rig.run(20_000);
    rig.stop();
    clean(&rig);
    let lose: [(Lose, &str); 16] = [
        (|image| image.general[2] += 1, "the count of rounds"),
        (|image| image.general[3] += 2, "the count of rounds"),
        (|image| image.general[12] = 0, "the task's random state"),
        (|image| image.general[13] ^= 1, "the task's random state"),
        (|image| image.general[5] ^= 1, "a general register"),
        (|image| image.access = [0; 16], "an access register"),
        (|image| image.access[15] ^= 1, "an access register"),
        (|image| image.vector = [0; 32], "a vector register"),
        (|image| image.vector[31] ^= 1, "a vector register"),
        (|image| image.floating_control ^= 1, "the floating-point control"),
        (|image| image.clock_comparator = 0, "the clock comparator"),
        (|image| image.cpu_timer = i64::MAX, "the CPU timer"),
        (|image| image.control[0] ^= 0x800, "a control register"),
        (|image| image.prefix ^= 0x2000, "the prefix"),
        (|image| image.tod_programmable ^= 1, "the TOD programmable register"),
        (|image| image.program_parameter ^= 1, "the program parameter"),
    ];
    for index in 0..2 {
        let right = rig.image(index);
        for (lose, name) in lose {
            let mut image = right.clone();
            lose(&mut image);
            rig.machine.restore(ProcessorIndex::new(index), &image).unwrap();
            let faults = rig.check().faults;
            assert!(
                faults.contains(&Fault::Register { processor: index, name }),
                "{name}: {faults:?}"
            );
        }
        rig.machine.restore(ProcessorIndex::new(index), &right).unwrap();
        clean(&rig);
    }
}

/// A guest whose processor 0 has just compared and will branch next, and has to take the branch.
fn about_to_branch() -> Rig {
    let mut rig = rig(&[PROCESSORS], 1);
    let choose = code::TASK + 2 * INSTRUCTION_BYTES;
    for _ in 0..100_000 {
        rig.now += 7;
        rig.machine.step_processor(0, Tick::new(rig.now), 1);
        let psw = rig.image(0).psw;
        if psw.address == choose && psw.condition_code() == 2 {
            return rig;
        }
    }
    panic!("the task never came to its branch");
}

#[test]
fn lost_condition_code_misleads_a_branch_and_a_lost_address_is_a_lost_round() {
    let mut rig = about_to_branch();
    let mut image = rig.image(0);
    image.psw = image.psw.with_condition_code(0);
    rig.machine.restore(ProcessorIndex::new(0), &image).unwrap();
    rig.run(5_000);
    let misled = names(&rig.check());
    assert_eq!(misled, ["branches that the condition code has misled: 1"]);

    let mut rig = about_to_branch();
    let mut image = rig.image(0);
    image.psw = image.psw.with_address(image.psw.address + 4 * INSTRUCTION_BYTES);
    rig.machine.restore(ProcessorIndex::new(0), &image).unwrap();
    rig.run(5_000);
    assert!(!rig.check().is_clean());
}

#[test]
fn task_whose_key_is_lost_is_found_to_have_trespassed() {
    let mut rig = rig(&[PROCESSORS], 1);
    let trespass = code::TASK + 9 * INSTRUCTION_BYTES;
    while rig.image(0).psw.address != trespass {
        rig.now += 7;
        rig.machine.step_processor(0, Tick::new(rig.now), 1);
    }
    let mut image = rig.image(0);
    assert_eq!(image.psw.key(), 9);
    image.psw = image.psw.with_key(0);
    rig.machine.restore(ProcessorIndex::new(0), &image).unwrap();
    rig.run(5_000);
    let faults = names(&rig.check());
    let unguarded = "protection exceptions missed or unexpected";
    assert!(faults.iter().any(|found| found.starts_with(unguarded)), "{faults:?}");
}

#[test]
fn exception_that_no_task_expects_ends_the_processor() {
    let mut rig = rig(&[PROCESSORS], 2);
    rig.run(5_000);
    let mut image = rig.image(1);
    image.psw = image.psw.with_address(0x666).with_wait(false);
    rig.machine.restore(ProcessorIndex::new(1), &image).unwrap();
    for _ in 0..9 {
        rig.now += 1;
        rig.machine.step_processor(1, Tick::new(rig.now), 1);
    }
    let fault = rig.machine.fault().unwrap();
    assert_eq!((fault.processor, fault.exception), (1, Some(Exception::Operation)));
    assert!(rig.check().faults.contains(&Fault::Unusable));
}
