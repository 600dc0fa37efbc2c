//! Simulated migrations: one thread, a virtual clock, no socket; what happens is decided by the
//! scenario alone.
//!
//! A [`World`] has two or more SUs and one VM that is moved by [`World::attempt`], once or
//! several times, with the faults of a [`Scenario`]. The core, the machines and the guests are
//! the same as in live runs.
//!
//! Source of truth: `monitor_core::driver`. Invariants: the same world and scenario give the same
//! course, to the last byte; every attempt ends within a bound of virtual time. Deliberately not
//! here: judgement, which is the cluster's and the tests'.

mod pipe;
pub mod swarm;
mod wire;
mod world;

pub use pipe::{Direction, Pipe, PipeEnd};
pub use wire::WireKind;
pub use world::{Course, Cut, Glimpse, Scenario, SimHub, Watch, World};
