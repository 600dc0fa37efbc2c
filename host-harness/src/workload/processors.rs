//! Processors workload: each processor uses all that the architecture gives it.
//!
//! Every processor has a task, a routine whose loop is in general, access and vector registers and
//! in the condition code. Its clock comparator makes the task due, its CPU timer is counted beside
//! it. In each round the task takes a protection exception, and sends an external call to the next
//! processor and an emergency signal to the one before. A signal has a number, which the sender
//! stores before it signals and the receiver's handler expects; the next one is sent when this one
//! has been received. So one that is lost, doubled or from elsewhere is found, by the receiver or
//! by the sender who sees the other one go on.
//!
//! A processor keeps what it needs in its prefix area, by real addresses.
//!
//! Source of truth: this file. Invariants: a block is written by its processor alone; each point
//! of the task leaves the registers of one class in step with each other. Deliberately not here:
//! the judgement ([`super::check()`]).

use guest::open_psw;
use monitor_core::processor::{ProcessorImage, Psw};

use super::{
    nucleus::{Block, BlockName, RANDOM_STEP, code, low_core, mix, next_random, prefix, word},
    routine::{Point, Routine},
};
use crate::machine::{AddressFault, Context, Exception, INSTRUCTION_BYTES, Step, Storage, order};

/// The real address of a processor's block: in its prefix area, behind what is assigned there.
pub(super) const BLOCK: u64 = 0x1A00;

/// Words of a processor's block.
pub(super) mod cell {
    /// Interruptions of the clock comparator.
    pub(in super::super) const TICKS: u64 = 0;
    /// Interruptions of the CPU timer.
    pub(in super::super) const TIMER_TICKS: u64 = 1;
    /// Not zero when the task is due.
    pub(super) const DUE: u64 = 2;
    /// What the clock comparator was set to.
    pub(in super::super) const COMPARATOR: u64 = 3;
    /// The clock when the CPU timer was set.
    pub(super) const TIMER_SET: u64 = 4;
    /// Protection exceptions.
    pub(in super::super) const TRAPS: u64 = 5;
    /// What the task must not store into.
    pub(super) const GUARDED: u64 = 6;
    /// PSW with which the task goes on, two words.
    pub(super) const TASK: u64 = 8;
    /// The four words of external calls.
    pub(super) const CALLS: u64 = 12;
    /// The four words of emergency signals.
    pub(super) const SIGNALS: u64 = 16;
    /// Interruptions of timers that came too early, or with other values than were set.
    pub(super) const TIMER_FAULTS: u64 = 20;
    /// Signals that came twice, out of order or from elsewhere.
    pub(super) const STRAYS: u64 = 21;
    /// Signals that were accepted and did not come.
    pub(super) const LOST: u64 = 22;
    /// Branches that the condition code has misled.
    pub(super) const MISLED: u64 = 23;
    /// Protection exceptions that did not come, or came from elsewhere.
    pub(super) const UNGUARDED: u64 = 24;
    /// Moments before the one that was seen last.
    pub(super) const TIME_FAULTS: u64 = 25;
}

/// The words in which a processor notes what it has found wrong.
pub(super) const FAULTS: [(u64, &str); 6] = [
    (cell::TIMER_FAULTS, "interruptions of timers out of time"),
    (cell::STRAYS, "signals that nobody sent"),
    (cell::LOST, "signals that did not come"),
    (cell::MISLED, "branches that the condition code has misled"),
    (cell::UNGUARDED, "protection exceptions missed or unexpected"),
    (cell::TIME_FAULTS, "steps of a processor back in time"),
];

/// General registers of the task.
pub(super) mod register {
    /// Rounds that drew an even number.
    pub(in super::super) const EVEN: usize = 2;
    /// Rounds that drew an odd number.
    pub(in super::super) const ODD: usize = 3;
    /// Rounds.
    pub(in super::super) const ROUNDS: usize = 12;
    /// State of the random numbers.
    pub(in super::super) const RANDOM: usize = 13;
    /// The number that was drawn.
    pub(super) const DRAWN: usize = 14;
    /// The clock when it was last looked at.
    pub(super) const CLOCK: usize = 15;
}

/// Registers whose content the judge does not know.
pub(super) const USED: [usize; 6] = [
    register::EVEN,
    register::ODD,
    register::ROUNDS,
    register::RANDOM,
    register::DRAWN,
    register::CLOCK,
];

/// Subclasses of external interruptions that the task's processor admits beside others.
const SUBCLASSES: u64 = 0x4000 | 0x2000 | 0x800 | 0x400;
/// The key under which the task tries what it must not.
const FOREIGN_KEY: u8 = 9;
/// Ticks of the receiver after which a signal that was accepted is lost. The first one may have
/// been on its way; behind it the signal would have been taken before the tick.
const TICKS_MAX: u64 = 3;
/// Floating-point control without its rounding mode.
const FLOATING_CONTROL: u32 = 0x0070_0000;

/// One of the two kinds of signals that go round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    order: u8,
    /// The first of the four words: number sent, number accepted, number received, ticks of the
    /// receiver when the signal was accepted.
    words: u64,
    /// To the next processor, or to the one before.
    forward: bool,
}

pub(super) const WAYS: [Way; 2] = [
    Way { order: order::EXTERNAL_CALL, words: cell::CALLS, forward: true },
    Way { order: order::EMERGENCY_SIGNAL, words: cell::SIGNALS, forward: false },
];

impl Way {
    const fn sent(self) -> u64 {
        self.words
    }

    const fn accepted(self) -> u64 {
        self.words + 1
    }

    pub(super) const fn received(self) -> u64 {
        self.words + 2
    }

    const fn ticks(self) -> u64 {
        self.words + 3
    }

    /// Who gets the signals of a processor.
    pub(super) const fn receiver(self, sender: u16, count: u16) -> u16 {
        let distance = if self.forward { 1 } else { count - 1 };
        (sender + distance) % count
    }

    const fn sender(self, receiver: u16, count: u16) -> u16 {
        let distance = if self.forward { count - 1 } else { 1 };
        (receiver + distance) % count
    }

    /// Words of the sender's block: number sent, number accepted.
    pub(super) const fn sender_words(self) -> [u64; 2] {
        [self.sent(), self.accepted()]
    }

    /// Whether the signals from `sender`, of these numbers sent and accepted, to a stopped
    /// processor, which has received as many, are neither lost nor doubled.
    pub(super) const fn is_whole(
        self,
        sender: u16,
        [sent, accepted]: [u64; 2],
        received: u64,
        receiver: &ProcessorImage,
    ) -> bool {
        let pending = if self.order == order::EXTERNAL_CALL {
            matches!(receiver.external_call, Some(from) if from == sender)
        } else {
            receiver.emergency_signals >> sender & 1 != 0
        };
        accepted == received.wrapping_add(pending as u64) && sent.wrapping_sub(accepted) <= 1
    }
}

/// The points of the task that are named: to which others branch, and behind the trespass.
#[derive(Clone, Copy, Debug)]
enum Place {
    Draw = 0,
    Odd = 4,
    Access = 5,
    Own = 10,
}

impl Place {
    const fn address(self) -> u64 {
        code::TASK + INSTRUCTION_BYTES * self as u64
    }
}

/// The points of the task, in order.
const POINTS: [Point; 15] = [
    draw,
    |context| {
        context.compare(context.state.general[register::DRAWN] & 1, 0);
        Ok(())
    },
    |context| {
        context.branch_on(2, Place::Odd.address());
        Ok(())
    },
    |context| {
        count_parity(context, register::EVEN, 0)?;
        context.branch(Place::Access.address());
        Ok(())
    },
    |context| count_parity(context, register::ODD, 1),
    |context| {
        let count = context.state.access[0].wrapping_add(1);
        context.state.access = access_pattern(count);
        Ok(())
    },
    |context| {
        let count = (context.state.vector[0] as u64).wrapping_add(1);
        context.state.vector = vector_pattern(count);
        context.state.floating_control = floating_control(count);
        Ok(())
    },
    look_at_clock,
    |context| context.set_psw_key(FOREIGN_KEY),
    |context| context.real().store(BLOCK + 8 * cell::GUARDED, 1),
    own_again,
    |context| send(context, WAYS[0]),
    |context| send(context, WAYS[1]),
    |context| context.supervisor_call(0),
    |context| {
        context.branch(Place::Draw.address());
        Ok(())
    },
];

/// The task.
pub(super) const TASK: Routine = Routine { origin: code::TASK, points: &POINTS };

/// The state of the random numbers of a processor before its first round.
pub(super) fn first_random(seed: u64, processor: u16) -> u64 {
    mix(seed ^ u64::from(processor))
}

/// The state of the random numbers after so many rounds.
pub(super) fn random_after(seed: u64, processor: u16, rounds: u64) -> u64 {
    first_random(seed, processor).wrapping_add(rounds.wrapping_mul(RANDOM_STEP))
}

/// Access registers after so many rounds: the first one counts.
pub(super) fn access_pattern(count: u32) -> [u32; 16] {
    let content = |number| mix(u64::from(count) << 8 | number as u64) as u32;
    let mut registers = std::array::from_fn(content);
    registers[0] = count;
    registers
}

/// Vector registers after so many rounds: the right half of the first one counts.
pub(super) fn vector_pattern(count: u64) -> [u128; 32] {
    std::array::from_fn(|number| {
        let right = if number == 0 { count } else { mix(count ^ number as u64) };
        u128::from(mix(count.rotate_left(32) | number as u64)) << 64 | u128::from(right)
    })
}

/// Floating-point control after so many rounds: the rounding mode goes round.
pub(super) const fn floating_control(count: u64) -> u32 {
    FLOATING_CONTROL | (count & 3) as u32
}

/// The registers of a processor with a task at IPL.
pub(super) fn begin(image: &mut ProcessorImage, seed: u64, processor: u16) {
    for number in USED {
        image.general[number] = 0;
    }
    image.general[register::RANDOM] = first_random(seed, processor);
    image.access = access_pattern(0);
    image.vector = vector_pattern(0);
    image.floating_control = floating_control(0);
    image.control[0] |= SUBCLASSES;
}

/// Writes the new PSWs and the first PSW of the task into a prefix area.
pub(super) fn define(storage: &Storage, processor: u16) -> Result<(), AddressFault> {
    let origin = prefix(processor);
    let closed = open_psw(code::MAIN).with_io(false).with_external(false);
    for (offset, address) in
        [(low_core::SUPERVISOR_NEW, code::SUPERVISOR), (low_core::PROGRAM_NEW, code::PROGRAM)]
    {
        storage.store_bytes(origin + offset, &closed.with_address(address).to_bytes())?;
    }
    let task = open_psw(Place::Draw.address());
    storage.store_bytes(origin + BLOCK + 8 * cell::TASK, &task.to_bytes())
}

/// The dispatcher's part: lets the task go on when it is due.
pub(super) fn run(context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
    if get(context, cell::DUE)? == 0 {
        return Ok(Step::default());
    }
    set(context, cell::DUE, 0)?;
    context.load_psw_from(BLOCK + 8 * cell::TASK)?;
    Ok(super::worked(1, context.now()))
}

/// Lets the processor wait for an interruption, with which the dispatcher goes on.
pub(super) fn wait(context: &mut Context<'_>) -> Result<(), Exception> {
    context.load_psw(open_psw(code::MAIN).with_wait(true))
}

/// The supervisor-call handler: the task gives way to the dispatcher.
pub(super) fn supervisor_call(context: &mut Context<'_>) -> Result<(), Exception> {
    let mut task = [0; 16];
    context.real().load_bytes(low_core::SUPERVISOR_OLD, &mut task)?;
    context.real().store_bytes(BLOCK + 8 * cell::TASK, &task)?;
    context.load_psw(open_psw(code::MAIN))
}

/// The program-interruption handler: takes the exception that the task expects. Any other one ends
/// the processor.
pub(super) fn program_interruption(context: &mut Context<'_>) -> Result<(), Exception> {
    const PROTECTION: u64 = 4;
    let real = context.real();
    let code = real.load(low_core::CODES)? & 0xFFFF;
    let page = real.load(low_core::TRANSLATION)? & !0xFFF;
    let old = real.load(low_core::PROGRAM_OLD + 8)?;
    let is_expected = code == PROTECTION && page == BLOCK & !0xFFF && old == Place::Own.address();
    if !is_expected {
        add(context, cell::UNGUARDED, 1)?;
        return context.load_psw(Psw::default().with_wait(true));
    }
    add(context, cell::TRAPS, 1)?;
    context.load_psw_from(low_core::PROGRAM_OLD)
}

/// The external-interruption handler's part; false when the code is none of those here.
pub(super) fn external_interruption(
    context: &mut Context<'_>,
    code: u16,
) -> Result<bool, Exception> {
    match code {
        0x1004 => tick(context)?,
        0x1005 => timer_tick(context)?,
        0x1201 => receive(context, WAYS[1])?,
        0x1202 => receive(context, WAYS[0])?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Time of the TOD clock from one tick to the next.
fn interval(context: &Context<'_>) -> Result<u64, Exception> {
    Ok(Block::new(context.storage, BlockName::Processors).get(word::PERIOD)? << 12)
}

/// CPU time from one tick of the timer to the next, when ticks of the clock are `interval` apart.
pub(super) const fn timer_interval(interval: u64) -> u64 {
    interval / 2 * 3
}

/// The interruption of the clock comparator. What was missed in a stop is forgotten.
fn tick(context: &mut Context<'_>) -> Result<(), Exception> {
    let (now, comparator) = (context.store_clock(), context.store_clock_comparator()?);
    let is_due = now > comparator && comparator == get(context, cell::COMPARATOR)?;
    add(context, cell::TIMER_FAULTS, u64::from(!is_due))?;
    add(context, cell::TICKS, 1)?;
    set(context, cell::DUE, 1)?;
    let interval = interval(context)?;
    let regular = comparator.wrapping_add(interval);
    let next = if regular > now { regular } else { now.wrapping_add(interval) };
    set(context, cell::COMPARATOR, next)?;
    context.set_clock_comparator(next)
}

/// The interruption of the CPU timer, which never runs faster than the clock.
fn timer_tick(context: &mut Context<'_>) -> Result<(), Exception> {
    let (now, left) = (context.store_clock(), context.store_cpu_timer()?);
    let interval = timer_interval(interval(context)?);
    let before = get(context, cell::TIMER_SET)?;
    let is_due = left < 0 && (before == 0 || now.wrapping_sub(before) >= interval);
    add(context, cell::TIMER_FAULTS, u64::from(!is_due))?;
    add(context, cell::TIMER_TICKS, 1)?;
    set(context, cell::TIMER_SET, now)?;
    context.set_cpu_timer(interval.cast_signed())
}

/// The interruption of a signal: expects the number that the sender has stored.
fn receive(context: &mut Context<'_>, way: Way) -> Result<(), Exception> {
    let mut address = [0; 2];
    context.real().load_bytes(low_core::EXTERNAL_CPU_ADDRESS, &mut address)?;
    let sender = way.sender(context.processor, context.processor_count());
    let number = get_of(context, sender, way.sent())?;
    let expected = get(context, way.received())?.wrapping_add(1);
    let is_right = u16::from_be_bytes(address) == sender && number == expected;
    add(context, cell::STRAYS, u64::from(!is_right))?;
    set(context, way.received(), number)
}

/// Sends the next signal once the one before was received; tries again one that was not accepted.
fn send(context: &mut Context<'_>, way: Way) -> Result<(), Exception> {
    let receiver = way.receiver(context.processor, context.processor_count());
    let mut number = get(context, way.sent())?;
    if get(context, way.accepted())? == number {
        if get_of(context, receiver, way.received())? != number {
            let ticks = get_of(context, receiver, cell::TICKS)?;
            let has_gone_on = ticks >= get(context, way.ticks())?.wrapping_add(TICKS_MAX);
            if has_gone_on {
                add(context, cell::LOST, 1)?;
                set(context, way.accepted(), number.wrapping_sub(1))?;
            }
            return Ok(());
        }
        number = number.wrapping_add(1);
        set(context, way.sent(), number)?;
    }
    context.signal_processor(receiver, way.order, 0)?;
    if context.state.psw.condition_code() == 0 {
        set(context, way.accepted(), number)?;
        let ticks = get_of(context, receiver, cell::TICKS)?;
        set(context, way.ticks(), ticks)?;
    }
    Ok(())
}

/// Draws a number, and begins a round.
fn draw(context: &mut Context<'_>) -> Result<(), Exception> {
    let general = &mut context.state.general;
    general[register::DRAWN] = next_random(&mut general[register::RANDOM]);
    general[register::ROUNDS] = general[register::ROUNDS].wrapping_add(1);
    Ok(())
}

/// Counts the round, which the condition code has sent here.
fn count_parity(context: &mut Context<'_>, counter: usize, parity: u64) -> Result<(), Exception> {
    let general = &mut context.state.general;
    general[counter] = general[counter].wrapping_add(1);
    let is_misled = general[register::DRAWN] & 1 != parity;
    add(context, cell::MISLED, u64::from(is_misled))
}

fn look_at_clock(context: &mut Context<'_>) -> Result<(), Exception> {
    let now = context.store_clock();
    let went_back = now < context.state.general[register::CLOCK];
    context.state.general[register::CLOCK] = now;
    add(context, cell::TIME_FAULTS, u64::from(went_back))
}

/// Takes back the task's own key, and looks whether the trespass was refused.
fn own_again(context: &mut Context<'_>) -> Result<(), Exception> {
    context.set_psw_key(0)?;
    let is_guarded = get(context, cell::GUARDED)? == 0
        && get(context, cell::TRAPS)? == context.state.general[register::ROUNDS];
    add(context, cell::UNGUARDED, u64::from(!is_guarded))
}

/// A word of the processor's own block.
fn get(context: &Context<'_>, word: u64) -> Result<u64, Exception> {
    context.real().load(BLOCK + 8 * word)
}

fn set(context: &Context<'_>, word: u64, value: u64) -> Result<(), Exception> {
    context.real().store(BLOCK + 8 * word, value)
}

fn add(context: &Context<'_>, word: u64, count: u64) -> Result<(), Exception> {
    if count == 0 {
        return Ok(());
    }
    set(context, word, get(context, word)?.wrapping_add(count))
}

/// A word of another processor's block, or of the own one.
fn get_of(context: &Context<'_>, processor: u16, word: u64) -> Result<u64, Exception> {
    let origin = if processor == context.processor { 0 } else { prefix(processor) };
    context.real().load(origin + BLOCK + 8 * word)
}
