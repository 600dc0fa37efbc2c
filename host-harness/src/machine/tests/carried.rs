//! What is carried: a machine at work goes on elsewhere as it would have gone on here, and does not
//! when any field of a processor's image is left out.
//!
//! Source of truth: `ProcessorImage`, each of whose fields has a case here; one without does not
//! compile. Invariant: a field is left out of images in which it is not as a reset leaves it.
//! Deliberately not here: storage, subchannels and what belongs to the machine as a whole.

use super::*;
use crate::machine::order;
use monitor_core::{
    limits::PROCESSOR_BYTES_MAX,
    memory::PageRun,
    processor::MachineCheck,
    units::{GroupNumber, PageNumber},
};

/// Processor 1 is signaled, 2 is ordered to stop, 3 to restart, and 4 is not interrupted at all.
const PROCESSORS: u16 = 5;
const PAGES: PageCount = PageCount::new(32);

/// Where the program begins.
const MAIN: u64 = 0x2_0000;
/// Where the program is refused a store, which tells of the branch before.
const TRESPASS: u64 = 0x2_0014;
/// Handlers.
const EXTERNAL: u64 = 0x3_0000;
const RESTART: u64 = 0x3_1000;
const PROGRAM: u64 = 0x3_2000;

const OPEN: u64 = 0x0300_0001_8000_0000;
const CLOSED: u64 = 0x0000_0001_8000_0000;

/// Where a processor keeps what it has noted, in its prefix area.
const NOTED: u64 = 0x1B00;

/// A page that the program may not store into under its key.
const GUARDED: u64 = 0x1_F000;

/// Time from one interruption of a timer to the next.
const PERIOD: u64 = 40 << 12;

const fn prefix(processor: u16) -> u32 {
    0x4000 + 0x2000 * processor as u32
}

fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value ^ value >> 32
}

/// Guest code that uses whatever a program can.
struct Work;

impl Program for Work {
    fn run(&self, context: &mut Context<'_>, budget: u32) -> Result<Step, Exception> {
        let mut worked = 0;
        while worked < budget && !context.has_to_return() {
            let address = context.state.psw.address;
            context.state.psw.address = address + INSTRUCTION_BYTES;
            worked += 1;
            match address {
                MAIN => look(context)?,
                0x2_0004 => compute(context),
                0x2_0008 => context.compare(context.state.general[3] & 1, 0),
                0x2_000C => context.branch_on(2, TRESPASS),
                0x2_0010 => note(context, 0xE7E7)?,
                TRESPASS => context.real().store(GUARDED, 1)?,
                0x2_0018 => context.branch(MAIN),
                EXTERNAL => external(context)?,
                RESTART => {
                    note(context, 0x5157)?;
                    context.load_psw(Psw::new(OPEN, MAIN))?;
                }
                PROGRAM => {
                    let old = context.real().load(0x158)?;
                    let breaking = context.real().load(0x110)?;
                    note(context, old ^ breaking)?;
                    context.load_psw_from(0x150)?;
                }
                _ => return Err(Exception::Operation),
            }
        }
        Ok(Step { worked, next_due: Some(context.now()) })
    }
}

/// Adds a value to what the processor has noted, on which the order matters.
fn note(context: &Context<'_>, value: u64) -> Result<(), Exception> {
    let before = context.real().load(NOTED)?;
    context.real().store(NOTED, mix(before.rotate_left(9) ^ value))
}

/// Notes what a program can see of its registers.
fn look(context: &Context<'_>) -> Result<(), Exception> {
    let state = &context.state;
    let words = state.general.into_iter().chain(state.control);
    let vectors = state.vector.into_iter().map(|value| (value ^ value >> 64) as u64);
    let mut seen = words.chain(vectors).fold(0, |sum: u64, word| mix(sum.rotate_left(5) ^ word));
    for word in state.access {
        seen = mix(seen.rotate_left(5) ^ u64::from(word));
    }
    note(context, seen)?;
    note(context, u64::from(state.floating_control))?;
    note(context, context.state.breaking_event)?;
    note(context, u64::from(context.store_prefix()?))?;
    note(context, context.store_cpu_timer()?.cast_unsigned())?;
    note(context, context.store_clock_comparator()?)?;
    let clock = context.store_clock_extended();
    note(context, u128::from_be_bytes(clock) as u64)?;
    note(context, (u128::from_be_bytes(clock) >> 64) as u64)
}

fn compute(context: &mut Context<'_>) {
    let state = &mut *context.state;
    for number in 0..16 {
        let next = mix(state.general[number] ^ state.general[(number + 1) % 16]);
        state.general[number] = next;
        state.access[number] ^= next as u32;
        state.vector[2 * number] ^= u128::from(next) << 40;
    }
    state.floating_control ^= state.general[0] as u32 & 3;
}

fn external(context: &mut Context<'_>) -> Result<(), Exception> {
    let told = context.real().load(0x80)?;
    note(context, told)?;
    match told as u16 {
        0x1004 => {
            let next = context.store_clock() + PERIOD;
            context.set_clock_comparator(next)?;
        }
        0x1005 => context.set_cpu_timer(PERIOD.cast_signed())?,
        _ => {}
    }
    context.load_psw_from(0x130)
}

fn bare() -> Machine {
    let (index, name) = (VmIndex::new(12).unwrap(), VmName::new("VM12PROD").unwrap());
    let block = VmBlock::new(index, name, PAGES, PROCESSORS).unwrap();
    Machine::new(&block, ConfigurationName::EMPTY, Arc::new(Work), Vec::new())
}

/// The registers of a processor, all of which differ from those of a reset.
fn begin(processor: u16) -> ProcessorImage {
    let pattern = |number: usize| mix((u64::from(processor) << 32) | (number as u64 + 1));
    let mut image = ProcessorImage::initial();
    image.psw = Psw::new(OPEN, MAIN).with_key(3);
    image.state = if processor == 3 { CpuState::Stopped } else { CpuState::Operating };
    image.general = std::array::from_fn(pattern);
    image.access = std::array::from_fn(|number| pattern(number + 100) as u32);
    image.vector = std::array::from_fn(|number| u128::from(pattern(number + 200)) << 9);
    image.floating_control = 0x0070_0004;
    image.control[0] |= if processor == 4 { 0 } else { 0xEE00 };
    image.machine_check = MachineCheck { code: 1 << 61, address: pattern(308), damage: 0 };
    image.prefix = prefix(processor);
    image.tod_programmable = 0x1230 + u32::from(processor);
    image.cpu_timer = PERIOD.cast_signed();
    image.clock_comparator = 1 << 30;
    image.program_parameter = pattern(300);
    image.tod_epoch = TodEpoch { index: -1, difference: 0x0123_4567_89AB_C000 };
    image.pfault_token = pattern(301);
    image.pfault_select = pattern(302);
    image.pfault_compare = pattern(303);
    image.guarded_storage = std::array::from_fn(|number| pattern(310 + number));
    image.runtime_instrumentation = std::array::from_fn(|number| number as u8 | 0x80);
    image.execute_target = pattern(304);
    image.prediction_blocked = true;
    image.etoken = [pattern(305), pattern(306)];
    image.control_program = pattern(307);
    image
}

fn index(processor: u16) -> ProcessorIndex {
    ProcessorIndex::new(processor)
}

/// Steps all processors in turn, three units of work each microsecond.
fn run(machine: &Machine, from: u64) {
    for now in from..from + 200 {
        for processor in 0..PROCESSORS {
            machine.step_processor(processor, at(now), 3);
        }
    }
}

fn images(machine: &Machine) -> Vec<ProcessorImage> {
    let image = |processor| {
        let mut image = ProcessorImage::initial();
        machine.capture(index(processor), &mut image).unwrap();
        image
    };
    (0..PROCESSORS).map(image).collect()
}

/// A machine that was stopped at work, with something of each kind pending.
fn stopped_at_work() -> Machine {
    let machine = bare();
    machine.storage.set_key(PageNumber::new(GUARDED / 4096), 0x40);
    for processor in 0..PROCESSORS {
        let origin = u64::from(prefix(processor));
        machine.storage.set_key(PageNumber::new(origin / 4096), 0x30);
        machine.storage.set_key(PageNumber::new(origin / 4096 + 1), 0x30);
        for (new, address) in [(0x1A0, RESTART), (0x1B0, EXTERNAL), (0x1D0, PROGRAM)] {
            machine.storage.store(origin + new, CLOSED).unwrap();
            machine.storage.store(origin + new + 8, address).unwrap();
        }
        machine.restore(index(processor), &begin(processor)).unwrap();
    }
    machine.resume(at(1000));
    run(&machine, 1000);
    while images(&machine)[4].psw.address != TRESPASS {
        machine.step_processor(4, at(1199), 1);
    }
    let pending = [
        (0, 1, order::EXTERNAL_CALL),
        (0, 1, order::EMERGENCY_SIGNAL),
        (2, 1, order::EMERGENCY_SIGNAL),
        (0, 2, order::STOP),
        (0, 3, order::RESTART),
    ];
    for (sender, receiver, code) in pending {
        assert_eq!(machine.signal(sender, receiver, code, 0), Signaled::Accepted);
    }
    machine.alert(2);
    machine.tell(GuestEvent::Moved);
    machine.stop();
    machine
}

/// All that can be seen of a machine: its processors and its storage.
fn course(machine: &Machine) -> (Vec<ProcessorImage>, Vec<u8>) {
    let mut bytes = vec![0; 32 * 4096];
    let run = PageRun { group: GroupNumber::new(0), mask: u64::from(u32::MAX) };
    machine.storage.copy_out(run, &mut bytes).unwrap();
    (images(machine), bytes)
}

/// The course that a machine with these processors and this storage takes.
fn go_on(storage: &Storage, processors: &[ProcessorImage]) -> (Vec<ProcessorImage>, Vec<u8>) {
    let machine = bare();
    let (mut bytes, mut keys) = (vec![0; 32 * 4096], [0; 32]);
    let pages = PageRun { group: GroupNumber::new(0), mask: u64::from(u32::MAX) };
    storage.copy_out(pages, &mut bytes).unwrap();
    storage.keys_out(pages, &mut keys).unwrap();
    machine.storage.copy_in(pages, &bytes).unwrap();
    machine.storage.keys_in(pages, &keys).unwrap();
    for (processor, image) in (0..).zip(processors) {
        let mut frame = [0; PROCESSOR_BYTES_MAX];
        let length = image.emit(&mut frame).unwrap();
        let carried = ProcessorImage::parse(&frame[..length]).unwrap();
        machine.restore(index(processor), &carried).unwrap();
    }
    machine.resume(at(1200));
    run(&machine, 1200);
    course(&machine)
}

/// Makes a case of each field, which leaves the field out.
macro_rules! cases {
    ($($field:ident)*) => {
        const CASES: &[(&str, fn(&mut ProcessorImage))] = &[$(
            (stringify!($field), |image| image.$field = ProcessorImage::initial().$field),
        )*];

        /// Does not compile when a field has no case.
        const fn _each_field_has_a_case(image: &ProcessorImage) {
            let ProcessorImage { $($field: _),* } = image;
        }
    };
}

cases! {
    psw state sigp_order general access control vector floating_control prefix tod_programmable
    cpu_timer clock_comparator breaking_event program_parameter tod_epoch external_call
    emergency_signals restart_pending service_signal pfault_token pfault_select pfault_compare
    guarded_storage runtime_instrumentation execute_target prediction_blocked etoken
    control_program malfunction_alerts machine_check
}

#[test]
fn machine_at_work_goes_on_elsewhere_as_it_does_here() {
    let source = stopped_at_work();
    let (moved, bytes) = go_on(&source.storage, &images(&source));
    let before = images(&source);
    source.resume(at(1200));
    run(&source, 1200);
    assert_eq!(source.fault(), None);
    let (stayed, own_bytes) = course(&source);
    assert_eq!(moved, stayed);
    assert!(bytes == own_bytes, "storage differs");
    let states = |images: &[ProcessorImage]| images.iter().map(|it| it.state).collect::<Vec<_>>();
    let (on, off) = (CpuState::Operating, CpuState::Stopped);
    assert_eq!(states(&before), [on, on, on, off, on]);
    assert_eq!(states(&stayed), [on, on, off, on, on], "orders were carried out");
}

#[test]
fn each_field_that_is_left_out_shows_in_what_the_machine_does_then() {
    let source = stopped_at_work();
    let images = images(&source);
    let whole = go_on(&source.storage, &images);
    for (name, leave_out) in CASES {
        let mut lacking = images.clone();
        lacking.iter_mut().for_each(leave_out);
        assert!(lacking != images, "{name} is as a reset leaves it");
        let changed: Vec<_> = images.iter().zip(&lacking).map(|(it, other)| it != other).collect();
        let (processors, bytes) = go_on(&source.storage, &lacking);
        assert!(processors != whole.0 || bytes != whole.1, "{name} is not missed: {changed:?}");
    }
}

#[test]
fn what_a_program_can_see_or_use_shows_in_storage_without_a_look_at_registers() {
    let source = stopped_at_work();
    let images = images(&source);
    let (_, whole) = go_on(&source.storage, &images);
    // Nothing of the emulated hardware uses these; they show when registers are looked at.
    let unused = [
        "program_parameter",
        "pfault_token",
        "pfault_select",
        "pfault_compare",
        "guarded_storage",
        "runtime_instrumentation",
        "execute_target",
        "prediction_blocked",
        "etoken",
        "control_program",
        "machine_check",
    ];
    for (name, leave_out) in CASES.iter().filter(|(name, _)| !unused.contains(name)) {
        let mut lacking = images.clone();
        lacking.iter_mut().for_each(leave_out);
        let (_, bytes) = go_on(&source.storage, &lacking);
        assert!(bytes != whole, "{name} is not missed by the program");
    }
}
