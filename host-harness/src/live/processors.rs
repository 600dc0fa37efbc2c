//! Threads that step the virtual processors of the machines of a live run.
//!
//! Invariants: a processor is stepped by its own thread alone; a thread sleeps while its machine
//! does not run, and is woken when it does; all threads have ended when [`Processors::end`] is
//! over. Deliberately not here: what a step does.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::clock::Clock;
use crate::machine::Machine;

/// Work of one step: pages written, at most.
const STEP_BUDGET: u32 = 64;

/// The longest sleep of a thread: what it waits for may come from another thread.
const SLEEP_MAX: Duration = Duration::from_micros(500);

/// The threads of all machines.
#[derive(Debug)]
pub(super) struct Processors {
    clock: Clock,
    ended: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Processors {
    /// No threads yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, ended: Arc::default(), threads: Mutex::default() }
    }

    /// Starts the threads of a machine, which may be stopped at first.
    pub(super) fn drive(&self, machine: &Arc<Machine>) {
        for index in 0..machine.processor_count() {
            let (machine, clock) = (Arc::clone(machine), self.clock);
            let ended = Arc::clone(&self.ended);
            self.spawn(Box::new(move || {
                while !ended.load(Acquire) {
                    let pause = step(&machine, index, clock);
                    // Parking costs a timer's slack even for no time at all.
                    if !pause.is_zero() {
                        thread::park_timeout(pause);
                    }
                }
            }));
        }
    }

    /// Starts a thread that is waited for at the end.
    pub(super) fn spawn(&self, work: Box<dyn FnOnce() + Send>) {
        let handle = thread::spawn(work);
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// Wakes all threads: a machine was resumed.
    pub(super) fn wake(&self) {
        for handle in self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            handle.thread().unpark();
        }
    }

    /// Ends all threads.
    pub(super) fn end(&self) {
        self.ended.store(true, Release);
        self.wake();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for handle in threads.drain(..) {
            // A thread that panicked shows in the judgement: its guest has not gone on.
            drop(handle.join());
        }
    }
}

/// Does one step and tells how long to sleep.
fn step(machine: &Machine, index: u16, clock: Clock) -> Duration {
    let now = clock.now();
    let channel = if index == 0 { machine.step_channel(now) } else { None };
    let Some(step) = machine.step_processor(index, now, STEP_BUDGET) else {
        return SLEEP_MAX;
    };
    let due = match (step.next_due, channel) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    if step.worked >= STEP_BUDGET {
        return Duration::ZERO;
    }
    due.map_or(SLEEP_MAX, |due| clock.until(due)).min(SLEEP_MAX)
}
