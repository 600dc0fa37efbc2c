//! The board: heap, clock, interruption, and the ways in which the image ends.
//!
//! Source of truth: ARM application note AN386 (25 MHz), Armv7-M architecture (SysTick). The
//! interruption is the second thread of this image: a guest or a race stores in it.
//! Invariant: each failure is logged and ends with a status other than 0.

use core::{
    mem::MaybeUninit,
    panic::PanicInfo,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::{ExceptionFrame, exception};
use defmt::{Display2Format, error};
use linked_list_allocator::LockedHeap;
use monitor_core::units::Tick;

use crate::{guest, race};

const CLOCK_MHZ: u32 = 25;

/// Between two interruptions that drive the guest.
const PERIOD_US: u32 = 1_000;

/// Between two interruptions that race with a sweep.
const RACE_PERIOD_US: u32 = 16;

/// For the portable tests and the wires; the core itself has no allocator.
const HEAP_BYTES: usize = 1 << 20;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

static mut ARENA: MaybeUninit<[u8; HEAP_BYTES]> = MaybeUninit::uninit();

/// Interruptions since the clock was started.
static PERIODS: AtomicU32 = AtomicU32::new(0);

/// Whether the interruption races, or else drives the guest.
static IS_RACING: AtomicBool = AtomicBool::new(false);

/// Gives the allocator its memory; called once, at first.
pub(crate) fn give_heap() {
    let arena = (&raw mut ARENA).cast::<u8>();
    // SAFETY: this is called once, before the first allocation, and nobody else names the arena.
    unsafe { HEAP.lock().init(arena, HEAP_BYTES) };
}

/// Lets the interruption come for a race.
pub(crate) fn start_race(timer: &mut SYST) {
    IS_RACING.store(true, Ordering::Relaxed);
    start(timer, RACE_PERIOD_US);
}

/// Lets the interruption come for the guest, and the clock begin.
pub(crate) fn start_clock(timer: &mut SYST) {
    IS_RACING.store(false, Ordering::Relaxed);
    PERIODS.store(0, Ordering::Relaxed);
    start(timer, PERIOD_US);
}

/// Ends the interruption.
pub(crate) fn stop(timer: &mut SYST) {
    timer.disable_interrupt();
    timer.disable_counter();
}

fn start(timer: &mut SYST, period_us: u32) {
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(period_us * CLOCK_MHZ - 1);
    timer.clear_current();
    timer.enable_counter();
    timer.enable_interrupt();
}

/// Time since `start_clock`.
pub(crate) fn now() -> Tick {
    loop {
        let periods = PERIODS.load(Ordering::Relaxed);
        let rest = SYST::get_current() / CLOCK_MHZ;
        // Without an interruption in between, both belong together.
        if periods == PERIODS.load(Ordering::Relaxed) {
            let within = PERIOD_US.saturating_sub(1).saturating_sub(rest);
            return Tick::new(u64::from(periods) * u64::from(PERIOD_US) + u64::from(within));
        }
    }
}

#[exception]
fn SysTick() {
    if IS_RACING.load(Ordering::Relaxed) {
        race::interrupt();
    } else {
        PERIODS.fetch_add(1, Ordering::Relaxed);
        guest::SOURCE.run();
        guest::TARGET.run();
    }
}

/// Ends the image with this status.
pub(crate) fn end(status: i32) -> ! {
    semihosting::process::exit(status)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static IS_PANICKING: AtomicBool = AtomicBool::new(false);
    cortex_m::interrupt::disable();
    // A panic of the logger itself cannot be logged.
    if !IS_PANICKING.swap(true, Ordering::Relaxed) {
        error!("{}", Display2Format(info));
    }
    end(1)
}

// SAFETY: the handler only logs and ends; it does not return to what was interrupted.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    error!("hard fault at {=u32:#010x}, called from {=u32:#010x}", frame.pc(), frame.lr());
    end(1)
}
