//! The guest's supervisor: start, timer, events, and the services of the sweep.
//!
//! Source of truth: Principles of Operation, "Interruption". Invariants: handlers run disabled
//! for interruptions, save in a wait; state is in static variables alone. Deliberately not here:
//! entry and exit of the handlers ([`crate::start`]).

use core::{
    panic::PanicInfo,
    ptr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{
    interface::{
        CPU_ID, CPU_TIMERS, LINE_INTERVAL, PACE, STORAGE_BYTES, SWEEP, SWEEP_OFFSET,
        TICKS_PER_SECOND, request,
    },
    judge, keys, listen, monitor, processor, script,
};

/// TOD-clock units between two timer interruptions.
const TICK_UNITS: u64 = (1_000_000 << 12) / TICKS_PER_SECOND;
/// What the CPU timer is set to, again and again: one tick and a half.
const TIMER_UNITS: i64 = (TICK_UNITS + TICK_UNITS / 2) as i64;
/// More ticks than this without an interruption of the CPU timer are a fault. A stop of the guest
/// is one tick, two at the most.
const TIMER_TICKS_MAX: u64 = 10;
/// Ticks between two changes of a key.
const KEY_TICKS: u64 = 4;
/// The most pages that the sweep is given at a time.
const WORK_PAGES: u64 = 64;

/// Interruption code of the clock comparator.
const CLOCK_COMPARATOR: u16 = 0x1004;
/// Interruption code of the CPU timer.
const CPU_TIMER: u16 = 0x1005;
/// Interruption code of a service signal.
const SERVICE_SIGNAL: u16 = 0x2401;
/// Program interruptions that are provoked once: privileged operation, addressing.
const PROBES: [u64; 2] = [2, 5];

static TICKS: AtomicU64 = AtomicU64::new(0);
static LATEST_TICK: AtomicU64 = AtomicU64::new(0);
static LATEST_CLOCK: AtomicU64 = AtomicU64::new(0);
static TIME_FAULTS: AtomicU64 = AtomicU64::new(0);
static OUT_OF_STEP: AtomicU64 = AtomicU64::new(0);
static PROBES_SEEN: AtomicU64 = AtomicU64::new(0);
/// The number of the latest tick before the latest interruption of the CPU timer.
static TICK_OF_TIMER: AtomicU64 = AtomicU64::new(0);
static TIMER_FAULTS: AtomicU64 = AtomicU64::new(0);
static CHECK_FAULTS: AtomicU64 = AtomicU64::new(0);
/// The program interruption that is expected next, or 0.
static EXPECTED: AtomicU64 = AtomicU64::new(0);
/// Requests that wait: four bits each, the oldest rightmost.
static REQUESTS: AtomicU64 = AtomicU64::new(0);
/// Pages that the sweep may count, in parts of a tick.
static OWED: AtomicU64 = AtomicU64::new(0);

/// What the supervisor has counted.
pub(crate) struct Counts {
    pub(crate) ticks: u64,
    pub(crate) out_of_step: u64,
    pub(crate) time_faults: u64,
    pub(crate) timer_faults: u64,
    probes: u64,
    checks: u64,
}

impl Counts {
    /// Instructions and interruptions at the start that were not as they must be.
    pub(crate) fn probe_faults(&self) -> u64 {
        self.checks + u64::from(self.probes != PROBES.len() as u64)
    }
}

/// What the supervisor has counted.
pub(crate) fn counts() -> Counts {
    Counts {
        ticks: TICKS.load(Relaxed),
        out_of_step: OUT_OF_STEP.load(Relaxed),
        time_faults: TIME_FAULTS.load(Relaxed),
        timer_faults: TIMER_FAULTS.load(Relaxed),
        probes: PROBES_SEEN.load(Relaxed),
        checks: CHECK_FAULTS.load(Relaxed),
    }
}

/// Called once by the entry, in the supervisor state.
// SAFETY: nothing else has this name; `start` calls it by this convention, on a stack.
#[unsafe(no_mangle)]
extern "C" fn guest_start() {
    processor::set_control_0(processor::CONTROL_0);
    processor::set_control_3(processor::CONTROL_3);
    processor::load_unused_registers();
    check_instructions();
    for page in 0..judge::pages() {
        judge::stamp(SWEEP + page * 4096);
    }
    script::learn_configuration();
    let now = clock();
    LATEST_TICK.store(now, Relaxed);
    processor::set_clock_comparator(now + TICK_UNITS);
    monitor::say(format_args!("GUEST STARTS, PAGES={}", judge::pages()));
}

/// Uses each privileged instruction once and holds what it gives against what it must give.
fn check_instructions() {
    EXPECTED.store(5, Relaxed);
    let beyond = ptr::with_exposed_provenance::<u8>(monitor::parameter(STORAGE_BYTES) as usize);
    // SAFETY: there is no such storage: the processor refuses, and the handler goes on behind.
    unsafe { core::arch::asm!("ic 0, 0({0})", in(reg_addr) beyond, out("r0") _) };
    processor::set_clock_comparator(u64::MAX - 1);
    processor::set_cpu_timer(i64::MAX);
    let timer = processor::cpu_timer();
    processor::set_cpu_timer(4096);
    processor::wait();
    processor::purge_tlb();
    processor::set_system_mask(0x01);
    let open = processor::system_mask();
    processor::set_system_mask(0x00);
    let checks = [
        processor::prefix() == processor::PREFIX,
        processor::cpu_address() == 0,
        processor::cpu_id() == CPU_ID,
        processor::control_0() == processor::CONTROL_0,
        processor::control_3() == processor::CONTROL_3,
        processor::control_3_right() == processor::CONTROL_3 as u32,
        processor::clock_comparator() == u64::MAX - 1,
        timer < i64::MAX && timer > i64::MAX - (1 << 44),
        monitor::parameter(CPU_TIMERS) != 0,
        open == 0x01,
        processor::system_mask() == 0,
    ];
    let faults = checks.iter().filter(|good| !**good).count();
    CHECK_FAULTS.store(faults as u64, Relaxed);
}

/// The guest's clock; a time that goes back is counted.
fn clock() -> u64 {
    let now = monitor::clock();
    let latest = LATEST_CLOCK.swap(now, Relaxed);
    TIME_FAULTS.fetch_add(u64::from(now < latest), Relaxed);
    now
}

/// The handler of external interruptions.
// SAFETY: nothing else has this name; `start` calls it by this convention, on a stack.
#[unsafe(no_mangle)]
extern "C" fn external() {
    // SAFETY: the low core is there and holds no Rust object.
    let code = unsafe { ptr::with_exposed_provenance::<u16>(0x86).read_volatile() };
    // SAFETY: as above.
    let parameter = unsafe { ptr::with_exposed_provenance::<u32>(0x80).read_volatile() };
    match code {
        CLOCK_COMPARATOR => tick(),
        CPU_TIMER => {
            processor::set_cpu_timer(TIMER_UNITS);
            monitor::set_parameter(CPU_TIMERS, monitor::parameter(CPU_TIMERS) + 1);
            TICK_OF_TIMER.store(TICKS.load(Relaxed), Relaxed);
        }
        SERVICE_SIGNAL => {
            let waiting = REQUESTS.load(Relaxed);
            let used_bits = (u64::BITS - waiting.leading_zeros()).next_multiple_of(4);
            let entry = u64::from(parameter & 0xF).checked_shl(used_bits).unwrap_or(0);
            REQUESTS.store(waiting | entry, Relaxed);
        }
        _ => unexpected(),
    }
}

/// A timer interruption: sets the next one. After a long stop it counts on from the present.
fn tick() {
    let now = clock();
    let next = LATEST_TICK.load(Relaxed) + TICK_UNITS;
    TIME_FAULTS.fetch_add(u64::from(now < next), Relaxed);
    let this = if now > next + TICK_UNITS { now } else { next };
    LATEST_TICK.store(this, Relaxed);
    processor::set_clock_comparator(this + TICK_UNITS);
    let ticks = TICKS.fetch_add(1, Relaxed) + 1;
    let is_still = ticks - TICK_OF_TIMER.load(Relaxed) > TIMER_TICKS_MAX;
    TIMER_FAULTS.fetch_add(u64::from(is_still), Relaxed);
    OWED.fetch_add(monitor::parameter(PACE), Relaxed);
}

/// The handler of supervisor calls; the results go where the caller's registers are loaded from.
// SAFETY: nothing else has this name; `start` calls it by this convention, on a stack.
#[unsafe(no_mangle)]
extern "C" fn supervisor_call(number: u64, position: u64, rounds: u64) {
    match number {
        0 => {
            let count = work(position, rounds);
            for (register, value) in [(2, count), (3, SWEEP + SWEEP_OFFSET), (4, judge::pages())] {
                let slot = ptr::with_exposed_provenance_mut::<u64>(0x400 + register * 8);
                // SAFETY: the save area of supervisor calls holds no Rust object.
                unsafe { slot.write_volatile(value) };
            }
        }
        1 => {
            OUT_OF_STEP.fetch_add(1, Relaxed);
        }
        2 => EXPECTED.store(2, Relaxed),
        _ => unexpected(),
    }
}

/// Does what is waiting, and says how many pages the sweep may count; waits until there are some.
fn work(position: u64, rounds: u64) -> u64 {
    loop {
        let waiting = REQUESTS.load(Relaxed);
        if waiting != 0 {
            REQUESTS.store(waiting >> 4, Relaxed);
            serve((waiting & 0xF) as u32, position, rounds);
            continue;
        }
        regular(rounds);
        if monitor::parameter(PACE) == 0 {
            return WORK_PAGES;
        }
        let owed = OWED.load(Relaxed);
        let count = (owed / TICKS_PER_SECOND).min(WORK_PAGES);
        if count != 0 {
            OWED.store(owed - count * TICKS_PER_SECOND, Relaxed);
            return count;
        }
        processor::wait();
    }
}

fn serve(number: u32, position: u64, rounds: u64) {
    match number {
        request::REPORT => {
            judge::report(position, rounds);
        }
        request::END => monitor::end(judge::report(position, rounds)),
        event => {
            // The first look at the clock sets it right on another machine.
            clock();
            script::run(event);
        }
    }
}

/// What is done every so many ticks, once each.
fn regular(rounds: u64) {
    static DONE: AtomicU64 = AtomicU64::new(0);
    let ticks = TICKS.load(Relaxed);
    let done = DONE.swap(ticks, Relaxed);
    if done == ticks {
        return;
    }
    listen::regular();
    if ticks / KEY_TICKS != done / KEY_TICKS {
        keys::change(ticks / KEY_TICKS);
    }
    let interval = monitor::parameter(LINE_INTERVAL);
    if interval != 0 && ticks / interval != done / interval {
        let timers = monitor::parameter(CPU_TIMERS);
        monitor::say(format_args!("# GUEST ROUNDS={rounds} TIMERS={timers} TICKS={ticks}"));
    }
}

/// The handler of program interruptions: one that is expected is counted, another one ends.
// SAFETY: nothing else has this name; `start` calls it by this convention, on a stack.
#[unsafe(no_mangle)]
extern "C" fn program(code: u64, address: u64) {
    if code != 0 && EXPECTED.swap(0, Relaxed) == code {
        PROBES_SEEN.fetch_add(1, Relaxed);
        return;
    }
    monitor::say(format_args!("PROGRAM INTERRUPTION {code:04X} AT {address:X}"));
    monitor::end(false)
}

/// The handler of everything that does not happen.
// SAFETY: nothing else has this name; `start` calls it by this convention, on a stack.
#[unsafe(no_mangle)]
extern "C" fn unexpected() -> ! {
    monitor::say(format_args!("UNEXPECTED INTERRUPTION"));
    monitor::end(false)
}

#[panic_handler]
fn panic(information: &PanicInfo<'_>) -> ! {
    monitor::say(format_args!("PANIC: {information}"));
    monitor::end(false)
}
