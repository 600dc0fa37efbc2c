//! Running and stopping: steps, wait states, faults, time.
//!
//! Source of truth: the heads of `processor` and `vm`.

use super::*;

fn steps_done(machine: &Machine) -> u64 {
    state(machine).general[1]
}

#[test]
fn stopped_machine_makes_no_step() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    assert_eq!(machine.step_processor(0, at(0), 1), None);
    machine.resume(at(0));
    assert_eq!(machine.step_processor(0, at(0), 1), Some(Step { worked: 1, next_due: None }));
    assert_eq!(machine.step_processor(2, at(0), 1), None, "no such processor");
    machine.stop();
    assert_eq!(machine.step_processor(0, at(0), 1), None);
    assert_eq!(steps_done(&machine), 1);
    assert!(!machine.is_running());
}

#[test]
fn moments_tell_the_last_step_before_a_stop_and_the_first_after_a_resume() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    assert_eq!((machine.first_step_at(), machine.last_step_at()), (None, None));
    machine.resume(at(10));
    machine.step_processor(0, at(9), 1);
    machine.step_processor(0, at(20), 1);
    machine.step_processor(1, at(15), 1);
    assert_eq!(machine.first_step_at(), Some(at(10)));
    assert_eq!(machine.last_step_at(), Some(at(20)));
    machine.stop();
    machine.resume(at(50));
    assert_eq!((machine.first_step_at(), machine.last_step_at()), (None, Some(at(20))));
    machine.step_processor(1, at(60), 1);
    assert_eq!(machine.first_step_at(), Some(at(60)));
}

#[test]
fn processor_that_waits_or_is_stopped_runs_no_code() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    machine.resume(at(0));
    let open = state(&machine);
    let wait = ProcessorImage { psw: open.psw.with_wait(true), ..open.clone() };
    let stopped = ProcessorImage { state: CpuState::Stopped, ..open };
    for image in [wait, stopped] {
        machine.restore(PROCESSOR, &image).unwrap();
        assert_eq!(machine.step_processor(0, at(0), 9), Some(Step::default()));
        assert_eq!(steps_done(&machine), 0);
    }
    machine.tell(GuestEvent::Moved);
    machine.step_processor(0, at(0), 9);
    assert_eq!(steps_done(&machine), 0, "a stopped processor takes no interruption");
}

#[test]
fn addressing_exception_ends_in_a_disabled_wait() {
    let machine = machine_with(
        |context, _| {
            context.storage.load(1 << 40)?;
            Ok(Step::default())
        },
        Arc::new(Disk::new()),
    );
    ready(&machine, 1);
    machine.resume(at(0));
    assert_eq!(machine.fault(), None);
    machine.step_processor(0, at(0), 1);
    let exception = Some(Exception::Addressing);
    assert_eq!(machine.fault(), Some(Fault { processor: 0, exception }));
    let psw = state(&machine).psw;
    assert!(psw.wait() && !psw.io() && !psw.external());
    machine.tell(GuestEvent::Moved);
    assert_eq!(machine.step_processor(0, at(1), 1), Some(Step::default()));
    assert_eq!(state(&machine).psw, psw);
}

#[test]
fn guest_time_is_host_time_and_epoch_and_the_due_moment_comes_back_as_host_time() {
    let machine = machine_with(
        |context, _| {
            context.state.general[1] = context.now().get();
            Ok(Step { worked: 0, next_due: Some(context.now().after(Micros::new(5))) })
        },
        Arc::new(Disk::new()),
    );
    ready(&machine, 1);
    for (epoch_us, guest) in [(1_000_i64, 1_100), (-40, 60)] {
        let mut image = state(&machine);
        image.tod_epoch = TodEpoch::between(0, (epoch_us << 12).cast_unsigned());
        image.tod_epoch.index = if epoch_us < 0 { -1 } else { 0 };
        machine.restore(PROCESSOR, &image).unwrap();
        machine.resume(at(100));
        let step = machine.step_processor(0, at(100), 1).unwrap();
        assert_eq!(steps_done(&machine), guest);
        assert_eq!(step.next_due, Some(at(105)));
    }
}

#[test]
fn guest_code_does_io_and_calls_the_monitor() {
    let disk = Arc::new(Disk::new());
    let machine = machine_with(
        |context, _| {
            let orb = Orb::of_program(0x1000, PARAMETER);
            let code = context.start_subchannel(SUBCHANNEL, &orb);
            assert_eq!(code, Ok(ConditionCode::Done));
            let schib = context.store_subchannel(SUBCHANNEL)?.unwrap();
            assert_eq!(schib.pmcw.interruption_parameter, PARAMETER);
            assert_eq!(context.store_system_information()?.as_str(), "390SU- 500-10B");
            assert_eq!(context.processor_count(), 2);
            context.call_monitor(1, GuestAnswer::Ready)?;
            Ok(Step::default())
        },
        disk.clone(),
    );
    ready(&machine, 1);
    put_program(&machine, 0x01);
    lock(&machine.questions).ask(GuestEvent::MoveComing);
    machine.resume(at(0));
    machine.step_processor(0, at(7), 1);
    assert_eq!(machine.step_channel(at(7)), Some(at(207)));
    machine.step_channel(at(207));
    assert_eq!(disk.log().len(), 1);
    assert_eq!(machine.take_answer(), Some(GuestAnswer::Ready));
    assert_eq!(machine.take_answer(), None);
}
