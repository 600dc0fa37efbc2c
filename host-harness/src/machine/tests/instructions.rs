//! The instructions of a processor.
//!
//! Source of truth: Principles of Operation, at each instruction.

use super::*;
use monitor_core::{
    channel::Schib,
    memory::StateOrder,
    units::PageNumber,
    vm::{AdapterMasks, EventMasks, Facility, FacilityList, Measurement},
};

const SUPERVISOR: u64 = 0x0000_0001_8000_0000;
const PROBLEM: u64 = 0x0001_0001_8000_0000;

fn image(mask: u64) -> ProcessorImage {
    ProcessorImage { psw: Psw::new(mask, 0x2004), ..ProcessorImage::initial() }
}

#[test]
fn problem_state_has_no_privileged_instruction() {
    type Instruction = fn(&mut Context<'_>) -> Result<(), Exception>;
    let privileged: [Instruction; 41] = [
        |it| it.load_psw(Psw::default()),
        |it| it.load_psw_from(0),
        |it| it.load_short_psw_from(0),
        |it| it.set_system_mask(0),
        |it| it.and_system_mask(0).map(drop),
        |it| it.or_system_mask(0).map(drop),
        |it| it.load_control(0, 0),
        |it| it.set_psw_key(0),
        |it| it.set_prefix(0),
        |it| it.store_prefix().map(drop),
        |it| it.signal_processor(0, 1, 0).map(drop),
        |it| it.set_clock_comparator(0),
        |it| it.store_clock_comparator().map(drop),
        |it| it.set_cpu_timer(0),
        |it| it.store_cpu_timer().map(drop),
        |it| it.set_clock_programmable(0),
        |it| it.insert_storage_key(0).map(drop),
        |it| it.set_storage_key(0, 0),
        |it| it.reset_reference(0),
        |it| it.set_page_state(0, StateOrder::Get).map(drop),
        |it| it.store_cpu_id().map(drop),
        |it| it.start_subchannel(SUBCHANNEL, &Orb::of_program(0x1000, PARAMETER)).map(drop),
        |it| it.test_subchannel(SUBCHANNEL).map(drop),
        |it| it.store_subchannel(SUBCHANNEL).map(drop),
        |it| it.modify_subchannel(SUBCHANNEL, &Schib::default()).map(drop),
        |it| it.halt_subchannel(SUBCHANNEL).map(drop),
        |it| it.clear_subchannel(SUBCHANNEL).map(drop),
        |it| it.cancel_subchannel(SUBCHANNEL).map(drop),
        |it| it.resume_subchannel(SUBCHANNEL).map(drop),
        |it| it.store_channel_report().map(drop),
        |it| it.test_pending_interruption().map(drop),
        |it| it.store_system_information().map(drop),
        |it| it.call_monitor(1, GuestAnswer::Ready),
        |it| it.operational_processors().map(drop),
        |it| it.departing_processors().map(drop),
        |it| it.detach_processor(ProcessorIndex::new(1)).map(drop),
        |it| it.attach_processor(ProcessorIndex::new(1)).map(drop),
        |it| it.set_channel_monitor(Measurement::default()),
        |it| it.write_event_masks(EventMasks::default()),
        |it| it.enable_subchannel_sets(),
        |it| it.suppress_adapter_interruptions(AdapterMasks::default()),
    ];
    for (number, instruction) in privileged.into_iter().enumerate() {
        let run = move |context: &mut Context<'_>| instruction(context);
        let refused = once(&image(PROBLEM), run).1;
        assert_eq!(refused, Err(Exception::PrivilegedOperation), "{number}");
        assert_ne!(once(&image(SUPERVISOR), run).1, refused, "{number}");
    }
}

#[test]
fn compare_sets_the_condition_code_on_which_is_branched() {
    for (first, second, code) in [(5, 5, 0), (4, 5, 1), (6, 5, 2)] {
        let (machine, ()) = once(&image(SUPERVISOR), move |context| {
            context.compare(first, second);
            context.branch_on((code + 1) % 3, 0x6000);
            context.branch_on(code, 0x7000);
        });
        let after = state(&machine);
        assert_eq!((after.psw.condition_code(), after.psw.address), (code, 0x7000));
        assert_eq!(after.breaking_event, 0x2000);
    }
}

#[test]
fn supervisor_call_stores_its_code_and_goes_on_at_the_new_psw() {
    let (machine, code) = once(&image(PROBLEM), |context| {
        context.storage.store(0x1C0, SUPERVISOR).unwrap();
        context.storage.store(0x1C8, 0x4000).unwrap();
        context.supervisor_call(0x17)
    });
    assert_eq!(code, Ok(()));
    assert_eq!(machine.storage.load(0x88).map(|word| word >> 32), Ok(0x0004_0017));
    assert_eq!(machine.storage.load(0x140), Ok(PROBLEM));
    assert_eq!(machine.storage.load(0x148), Ok(0x2004));
    assert_eq!(state(&machine).psw, Psw::new(SUPERVISOR, 0x4000));
}

#[test]
fn psw_is_loaded_in_both_forms() {
    let (machine, ()) = once(&image(SUPERVISOR), |context| {
        context.storage.store(0x5000, 0x0008_2000_8000_6000).unwrap();
        context.load_short_psw_from(0x5000).unwrap();
        assert!(context.has_to_return());
    });
    assert_eq!(state(&machine).psw, Psw::new(0x0000_2000_8000_0000, 0x6000));
    let (_, refused) = once(&image(SUPERVISOR), |context| context.load_short_psw_from(0x5000));
    assert_eq!(refused, Err(Exception::Specification), "bit 12 is zero");
    let (machine, ()) = once(&image(SUPERVISOR), |context| {
        context.storage.store(0x5000, PROBLEM).unwrap();
        context.storage.store(0x5008, 0x8000).unwrap();
        context.load_psw_from(0x5000).unwrap();
    });
    let after = state(&machine);
    assert_eq!((after.psw, after.breaking_event), (Psw::new(PROBLEM, 0x8000), 0x2000));
}

#[test]
fn system_mask_is_the_first_byte_of_the_psw() {
    let (machine, masks) = once(&image(SUPERVISOR), |context| {
        let first = context.or_system_mask(0x03).unwrap();
        let second = context.and_system_mask(0xFD).unwrap();
        (first, second)
    });
    assert_eq!(masks, (0, 0x03));
    assert_eq!(state(&machine).psw.mask, 0x0100_0001_8000_0000);
}

#[test]
fn interruption_that_an_instruction_lets_in_is_taken_before_the_next_one() {
    let machine = machine_with(
        |context, _| {
            context.state.general[1] += 1;
            context.state.psw.address += INSTRUCTION_BYTES;
            if context.state.psw.address == 0x2004 {
                context.or_system_mask(0x01)?;
            }
            Ok(Step { worked: 1, next_due: None })
        },
        Arc::new(Disk::new()),
    );
    ready(&machine, 1);
    let image = state(&machine);
    let closed = ProcessorImage { psw: image.psw.with_external(false), ..image };
    machine.restore(PROCESSOR, &closed).unwrap();
    machine.tell(GuestEvent::Moved);
    machine.resume(at(0));
    machine.step_processor(0, at(0), 9);
    assert_eq!(machine.storage.load(0x138), Ok(0x2004), "the old PSW is behind the instruction");
    assert_eq!(state(&machine).psw.address, 0x3004);
}

#[test]
fn keys_are_those_of_the_page_behind_the_prefix() {
    let mut image = image(SUPERVISOR);
    image.prefix = 0x4000;
    let (machine, found) = once(&image, |context| {
        context.set_storage_key(0x1000, 0x5F).unwrap();
        let key = context.insert_storage_key(0x1000).unwrap();
        context.reset_reference(0x1000).unwrap();
        let code = context.state.psw.condition_code();
        (key, code, context.insert_storage_key(0x1000), context.insert_storage_key(0x1_0000))
    });
    assert_eq!(found, (0x5E, 3, Ok(0x5A), Err(Exception::Addressing)));
    assert_eq!(machine.storage.key(PageNumber::new(5)), 0x5A);
}

#[test]
fn prefix_is_set_if_there_is_storage_for_it() {
    let (machine, found) = once(&image(SUPERVISOR), |context| {
        let outside = context.set_prefix(0x1_0000);
        (outside, context.set_prefix(0x4FFF), context.store_prefix())
    });
    assert_eq!(found, (Err(Exception::Addressing), Ok(()), Ok(0x4000)));
    assert_eq!(state(&machine).prefix, 0x4000);
}

#[test]
fn guest_of_a_model_without_keys_has_no_instruction_for_them_and_none_to_move() {
    let program = |context: &mut Context<'_>, _: u32| {
        let refused = Err(Exception::SpecialOperation);
        assert_eq!(context.insert_storage_key(0x5000).map(drop), refused);
        assert_eq!(context.set_storage_key(0x5000, 0x30), refused);
        assert_eq!(context.reset_reference(0x5000), refused);
        context.storage.store(0x5000, 1)?;
        context.storage.load(0x6000)?;
        Ok(Step { worked: 1, next_due: None })
    };
    let name = VmName::new("VM12PROD").unwrap();
    let block = VmBlock::new(VmIndex::new(12).unwrap(), name, PageCount::new(16), 2).unwrap();
    let block = block.with_facilities(FacilityList::of(&[Facility::KEY_REMOVAL]));
    let configuration = ConfigurationName::new("390SU- 500-10B").unwrap();
    let disk = attached(Arc::new(Disk::new()));
    let machine = Machine::new(&block, configuration, Arc::new(Code(program)), vec![disk]);
    ready(&machine, 1);
    machine.start_tracking();
    machine.resume(at(0));
    assert_eq!(machine.step_processor(0, at(0), 1).map(|step| step.worked), Some(1));
    assert_eq!(machine.storage.key(PageNumber::new(5)), 0);
    assert!(machine.storage.keys_map().is_empty() && marked_pages(&machine) == [5]);
    assert!(!machine.storage.has_keys());
}
