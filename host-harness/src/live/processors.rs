//! Threads that step the virtual processors of the machines of a live run, and its network.
//!
//! Invariants: a processor is stepped by its own thread alone; a thread sleeps while its machine
//! does not run, and is woken when it does; two machines that run at the same time are noticed;
//! all threads have ended when [`Processors::end`] is
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

use monitor_core::units::Tick;

use super::clock::Clock;
use crate::{cluster::Cluster, machine::Machine};

/// Work of one step: pages written, at most.
const STEP_BUDGET: u32 = 64;

/// The longest sleep of a thread: what it waits for may come from another thread.
const SLEEP_MAX: Duration = Duration::from_micros(500);

/// The pause between two steps of the network: how exactly it measures.
const NETWORK_PAUSE: Duration = Duration::from_micros(100);

/// The threads of all machines.
#[derive(Debug)]
pub(super) struct Processors {
    clock: Clock,
    ended: Arc<AtomicBool>,
    machines: Arc<Mutex<Vec<Arc<Machine>>>>,
    ran_twice: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Processors {
    /// No threads yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            ended: Arc::default(),
            machines: Arc::default(),
            ran_twice: Arc::default(),
            threads: Mutex::default(),
        }
    }

    /// Starts the threads of a machine, which may be stopped at first.
    pub(super) fn drive(&self, machine: &Arc<Machine>) {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(machine));
        for index in 0..machine.processor_count() {
            let (machines, ran_twice) = (Arc::clone(&self.machines), Arc::clone(&self.ran_twice));
            let (machine, clock) = (Arc::clone(machine), self.clock);
            let ended = Arc::clone(&self.ended);
            self.spawn(Box::new(move || {
                while !ended.load(Acquire) && is_driven(&machine, &machines) {
                    if index == 0 && runs_twice(&machine, &machines) {
                        ran_twice.store(true, Release);
                    }
                    let pause = step(&machine, index, clock);
                    // Parking costs a timer's slack even for no time at all.
                    if !pause.is_zero() {
                        thread::park_timeout(pause);
                    }
                }
            }));
        }
    }

    /// Ends the threads of a machine that will not run any more, with their next look.
    pub(super) fn retire(&self, machine: &Arc<Machine>) {
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        machines.retain(|it| !Arc::ptr_eq(it, machine));
    }

    /// Starts the thread of the stations on the LAN lines, if there are any.
    pub(super) fn drive_network(&self, cluster: &Arc<Cluster>) {
        let (cluster, clock) = (Arc::clone(cluster), self.clock);
        let ended = Arc::clone(&self.ended);
        if cluster.network(clock.now()).is_some() {
            self.spawn(Box::new(move || {
                while !ended.load(Acquire) {
                    cluster.step_network(clock.now());
                    thread::park_timeout(NETWORK_PAUSE);
                }
            }));
        }
    }

    /// The moment that the processors have now.
    pub(super) fn now(&self) -> Tick {
        self.clock.now()
    }

    /// Whether two machines ran at the same time.
    pub(super) fn ran_twice(&self) -> bool {
        self.ran_twice.load(Acquire)
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

/// Whether a machine runs, or may run again.
fn is_driven(machine: &Arc<Machine>, machines: &Mutex<Vec<Arc<Machine>>>) -> bool {
    let is_it = |it: &Arc<Machine>| Arc::ptr_eq(it, machine);
    let machines = || machines.lock().unwrap_or_else(PoisonError::into_inner);
    machine.is_running() || machines().iter().any(is_it)
}

/// Whether another machine runs between two moments at which this one does. A machine that was
/// stopped once is not resumed before the other one has stopped.
fn runs_twice(machine: &Machine, machines: &Mutex<Vec<Arc<Machine>>>) -> bool {
    let others = |machines: &Vec<Arc<Machine>>| {
        machines.iter().any(|it| !std::ptr::eq(&raw const **it, machine) && it.is_running())
    };
    machine.is_running()
        && others(&machines.lock().unwrap_or_else(PoisonError::into_inner))
        && machine.is_running()
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

#[cfg(test)]
mod tests {
    use monitor_core::{
        units::{ConfigurationName, PageCount, VmIndex, VmName},
        vm::VmBlock,
    };

    use super::*;
    use crate::machine::{Context, Exception, Program, Step};

    struct Quiet;

    impl Program for Quiet {
        fn run(&self, _context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
            Ok(Step::default())
        }
    }

    #[test]
    fn two_machines_that_run_at_once_are_noticed_and_one_after_the_other_is_not() {
        let index = VmIndex::new(12).unwrap();
        let block = VmBlock::new(index, VmName::new("VM").unwrap(), PageCount::new(1), 1).unwrap();
        let machine = || {
            let program = Arc::new(Quiet);
            Arc::new(Machine::new(&block, ConfigurationName::EMPTY, program, Vec::new()))
        };
        let (here, there) = (machine(), machine());
        let machines = Mutex::new(vec![Arc::clone(&here), Arc::clone(&there)]);
        here.resume(Clock::start().now());
        assert!(!runs_twice(&here, &machines) && !runs_twice(&there, &machines));
        there.resume(Clock::start().now());
        assert!(runs_twice(&here, &machines) && runs_twice(&there, &machines));
        here.stop();
        assert!(!runs_twice(&here, &machines) && !runs_twice(&there, &machines));
    }
}
