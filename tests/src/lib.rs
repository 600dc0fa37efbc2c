//! What the integration tests share.
//!
//! Source of truth: the tests. Deliberately not here: what is particular to one test.

pub mod explore;
pub mod fuzz;
pub mod machines;
pub mod rig;
pub mod worlds;

/// The examples of the README, compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
