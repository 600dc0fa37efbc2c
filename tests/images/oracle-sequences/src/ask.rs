//! Runs a sequence and tells how each step has ended.
//!
//! Source of truth: Principles of Operation, "I/O Functions", for when a subchannel has settled.
//! Invariants: before a sequence the area is zero with keys of zero, and each of its units is idle
//! and enabled, without status and without sense; a wait is bounded by the subject. Deliberately
//! not here: how instructions are carried out.

use crate::{
    area, outcome,
    sequence::{SLI, Sequence},
    step::{Change, Request, Step, Unit},
    subject::{self, Code, Interruption, Schib, Subject},
};
use core::{
    fmt::{self, Write},
    ops::Range,
};
use heapless::Vec;

/// Activities that end by themselves: resume, start, halt and clear pending, subchannel and device
/// active.
const ACTIVITIES: u16 = 0x0FC0;
/// The program is suspended.
const SUSPENDED: u16 = 0x0020;
/// Halt.
const HALT_FUNCTION: u16 = 0x2000;
/// Start, halt or clear.
const FUNCTIONS: u16 = 0x7000;
/// There is a status.
const PENDING: u16 = 0x0001;

/// How many times longer than its bound the subject is given for something that must come.
const PATIENCE: u32 = 10;
/// The rounds of a pause that an interruption may come behind its status.
const LATE: Range<u32> = 16..4000;
/// The last of them when an interruption of the unit was taken already.
const SECOND: u32 = 48;
/// How often a unit is made idle, and its status taken.
const ATTEMPTS: u32 = 4;
/// The command that fetches sense.
const SENSE: u8 = 0x04;
/// How it is started before a sequence.
const PREPARATION: Request = Request {
    parameter: 0,
    flags: Request::FORMAT_1,
    paths: 0xFF,
    extension: 0,
    program: area::PROGRAM,
};

/// Runs a sequence; nothing but its name and the word `absent` when one of its units is not there.
///
/// # Errors
/// Fails when the outcome cannot be written.
pub fn run(sequence: &Sequence, subject: &mut dyn Subject, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "= {}", sequence.name)?;
    if units(sequence).any(|unit| !subject.has(unit)) {
        return writeln!(out, "00 ABSENT");
    }
    for unit in units(sequence).filter(|unit| *unit != Unit::Absent) {
        make_idle(unit, subject);
    }
    clean(subject);
    let mut asked = Asked { sequence, unit: sequence.unit, taken: Vec::new(), subject, out };
    for (index, step) in sequence.steps.iter().enumerate() {
        asked.step(index, *step)?;
    }
    Ok(())
}

/// The units that a sequence names.
fn units(sequence: &Sequence) -> impl Iterator<Item = Unit> {
    let is_named =
        move |unit: Unit| sequence.unit == unit || sequence.steps.contains(&Step::On(unit));
    Unit::ALL.into_iter().filter(move |unit| is_named(*unit))
}

/// Ends whatever is on the subchannel, takes status and sense, and enables it.
fn make_idle(unit: Unit, subject: &mut dyn Subject) {
    for _ in 0..ATTEMPTS {
        take_status(unit, subject);
        modify(unit, Change::INITIAL, subject);
        if control(&subject.store_subchannel(unit).1) & (ACTIVITIES | SUSPENDED) != 0 {
            subject.clear(unit);
            settle(unit, subject);
            // A program that was suspended may go on for a while though it is over.
            pass_time(0..64, subject);
            take_status(unit, subject);
            modify(unit, Change::INITIAL, subject);
        }
        let sense = u64::from(SENSE) << 56 | u64::from(SLI) << 48 | 32 << 32 | u64::from(area::A);
        subject.store(area::PROGRAM, sense);
        let begun = subject.start(unit, &PREPARATION.to_bytes());
        if begun == Code::Condition(0) && settle(unit, subject) {
            return take_status(unit, subject);
        }
    }
}

/// Takes status until there is none: a device may have had something to say of its own.
fn take_status(unit: Unit, subject: &mut dyn Subject) {
    for _ in 0..ATTEMPTS {
        if subject.test(unit).0 != Code::Condition(0) {
            return;
        }
    }
}

/// Zeros storage and keys.
fn clean(subject: &mut dyn Subject) {
    let mut at = area::PROGRAM;
    while at < area::END {
        if at.is_multiple_of(area::PAGE_BYTES) {
            subject.set_key(at, 0);
        }
        subject.store(at, 0);
        at += 8;
    }
    for page in pages() {
        subject.set_key(page, 0);
    }
}

fn pages() -> impl Iterator<Item = u32> {
    (area::PROGRAM..area::END).step_by(0x1000)
}

/// Waits until the subchannel does nothing any more; says whether it came to that.
fn settle(unit: Unit, subject: &mut dyn Subject) -> bool {
    let mut round = 0;
    loop {
        let control = control(&subject.store_subchannel(unit).1);
        if is_settled(control) {
            break;
        }
        // Nothing more comes where there is a status already, nor in Hercules of a halt.
        let is_hopeless = control & (HALT_FUNCTION | PENDING) != 0;
        if !subject.pause(if is_hopeless { round } else { round / PATIENCE }) {
            return false;
        }
        round += 1;
    }
    // The interruption may come a moment after the status.
    pass_time(16..20, subject);
    true
}

/// Lets devices go on.
fn pass_time(rounds: Range<u32>, subject: &mut dyn Subject) {
    for round in rounds {
        subject.pause(round);
    }
}

/// Whether no activity is left, and the function that there was has its status or is suspended.
const fn is_settled(control: u16) -> bool {
    control & ACTIVITIES == 0 && (control & FUNCTIONS == 0 || control & (SUSPENDED | PENDING) != 0)
}

/// Waits until an interruption of the unit is pending, and takes it; says whether it came to that.
fn wait(unit: Unit, patience: u32, subject: &mut dyn Subject) -> bool {
    let mut round = 0;
    loop {
        let (code, block) = subject.test_pending();
        if code == Code::Condition(1) && subject::interrupter(&block, subject) == Some(unit) {
            return true;
        }
        if !subject.pause(round / patience) {
            return false;
        }
        round += 1;
    }
}

/// Functions, activities and kinds of status of a subchannel.
fn control(block: &Schib) -> u16 {
    match block.get(30..32) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// STORE SUBCHANNEL, and MODIFY SUBCHANNEL with what was stored but for the change.
fn modify(unit: Unit, change: Change, subject: &mut dyn Subject) -> Code {
    let (_, stored) = subject.store_subchannel(unit);
    subject.modify(unit, &with_change(&stored, change))
}

fn with_change(block: &Schib, change: Change) -> Schib {
    let mut changed = *block;
    let [high, low] = change.flags.to_be_bytes();
    // The device number stays valid.
    let fields = change.parameter.to_be_bytes().into_iter().chain([high, low | 1]);
    for (byte, field) in changed.iter_mut().zip(fields) {
        *byte = field;
    }
    if let Some(paths) = changed.get_mut(8) {
        *paths = change.paths;
    }
    changed
}

/// A sequence on its way.
struct Asked<'a> {
    sequence: &'a Sequence,
    unit: Unit,
    /// Units whose interruptions were taken since something was last asked of a device.
    taken: Vec<Unit, { Unit::ALL.len() }>,
    subject: &'a mut dyn Subject,
    out: &'a mut dyn Write,
}

impl Asked<'_> {
    /// TEST PENDING INTERRUPTION; asked again while a unit has a status, whose interruption
    /// Hercules may make pending late on a loaded machine.
    fn test_pending(&mut self) -> (Code, Interruption) {
        let Self { sequence, taken, subject, .. } = self;
        for round in LATE {
            let (code, block) = subject.test_pending();
            if code != Code::Condition(0) {
                let taken_of = subject::interrupter(&block, *subject);
                // There is room for each unit, and no second one is needed.
                let _ = taken_of.map(|unit| taken.push(unit));
                return (code, block);
            }
            let mut pending = units(sequence)
                .filter(|unit| control(&subject.store_subchannel(*unit).1) & PENDING != 0);
            let is_late = pending.any(|unit| round < SECOND || !taken.contains(&unit));
            if !is_late {
                return (code, block);
            }
            subject.pause(round);
        }
        subject.test_pending()
    }

    fn step(&mut self, index: usize, step: Step) -> fmt::Result {
        if matches!(step, Step::Start(_) | Step::Halt | Step::Clear | Step::Resume) {
            self.taken.clear();
        }
        let (unit, subject) = (self.unit, &mut *self.subject);
        let out = &mut outcome::Line { index, out: &mut *self.out };
        match step {
            Step::Put { at, value } => {
                subject.store(at, value);
                Ok(())
            }
            Step::Pattern { at, length, seed } => {
                write_pattern(subject, at, length, seed);
                Ok(())
            }
            Step::Show { at, length } => out.storage(subject, at, length),
            Step::On(other) => {
                self.unit = other;
                Ok(())
            }
            Step::Start(request) => out.code("SSCH", subject.start(unit, &request.to_bytes())),
            Step::Settle => {
                let settled = settle(unit, subject);
                out.waited("SETTLE", settled, control(&subject.store_subchannel(unit).1))
            }
            Step::Wait => {
                let came = wait(unit, PATIENCE, subject);
                out.waited("WAIT", came, control(&subject.store_subchannel(unit).1))
            }
            Step::Test => {
                let (code, block) = subject.test(unit);
                out.tested(code, &block)
            }
            Step::StoreSubchannel => {
                let (code, block) = subject.store_subchannel(unit);
                out.stored(code, &block)
            }
            Step::Modify(change) => {
                let code = modify(unit, change, subject);
                out.code("MSCH", code)
            }
            Step::Halt => out.code("HSCH", subject.halt(unit)),
            Step::Clear => out.code("CSCH", subject.clear(unit)),
            Step::Cancel => out.code("XSCH", subject.cancel(unit)),
            Step::Resume => out.code("RSCH", subject.resume(unit)),
            Step::TestPending => {
                let (code, block) = self.test_pending();
                let out = &mut outcome::Line { index, out: &mut *self.out };
                out.interruption(code, &block, &*self.subject)
            }
            Step::StoreReport => {
                let (code, word) = subject.store_report();
                out.report(code, word)
            }
            Step::Type => {
                // An operator may not look at once.
                let came = (0..ATTEMPTS).any(|_| {
                    subject.type_line();
                    wait(unit, 2, subject)
                });
                out.waited("TYPE", came, control(&subject.store_subchannel(unit).1))
            }
            Step::GetKey { at } => out.key(subject.key(at)),
            Step::SetKey { at, key } => {
                subject.set_key(at, key);
                Ok(())
            }
            Step::ResetReference { at } => out.code("RRBE", subject.reset_reference(at)),
        }
    }
}

/// Stores bytes of which no two neighbors are equal, different for each seed.
fn write_pattern(subject: &mut dyn Subject, at: u32, length: u32, seed: u8) {
    let mut byte = seed;
    for offset in (0..length).step_by(8) {
        let bytes = [0; 8].map(|_: u8| {
            byte = byte.wrapping_mul(5).wrapping_add(17);
            byte
        });
        subject.store(at + offset, u64::from_be_bytes(bytes));
    }
}
