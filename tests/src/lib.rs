//! What the integration tests share.
//!
//! Source of truth: the tests. Deliberately not here: assertions.

pub mod worlds;
