//! Small worlds for tests: the built-in example, scaled down, with one change each.
//!
//! Source of truth: the built-in configuration. Invariant: a world is the example's but for what
//! a test names. Deliberately not here: assertions.

use host_harness::{
    config::{Config, Overrides, WorkloadName},
    console::ConsoleName,
    sim::{Course, World},
};
use monitor_core::units::{Micros, PageCount, SuName};

/// Memory of a small VM: 8 MiB.
const SMALL: PageCount = PageCount::new(2048);

/// The example with a VM of 8 MiB.
///
/// # Panics
/// When the built-in configuration is wrong.
#[must_use]
pub fn small() -> Config {
    with(|_| ())
}

/// The example with a VM of 8 MiB and a change of what is configured.
///
/// # Panics
/// When the built-in configuration is wrong.
#[must_use]
pub fn with(change: impl FnOnce(&mut Config)) -> Config {
    let overrides = Overrides { memory: Some(SMALL), ..Overrides::default() };
    let mut config = Config::load(None, &overrides).expect("the built-in configuration is right");
    // A lost link is given up soon, so that a world need not wait for nothing.
    config.limits.reconnect = Micros::from_millis(20);
    change(&mut config);
    config
}

/// The example with a VM of 8 MiB that does only this.
#[must_use]
pub fn running(workloads: &[WorkloadName]) -> Config {
    with(|config| config.workload.run = workloads.to_vec())
}

/// A world whose guest has run for 20 ms.
///
/// # Panics
/// When the guest does not fit its VM.
#[must_use]
pub fn started(config: &Config) -> World {
    let mut world = World::new(config).expect("the guest fits its VM");
    world.run(400);
    world
}

/// The name of the other SU of the example.
///
/// # Panics
/// When the configuration has no second SU.
#[must_use]
pub fn other(config: &Config) -> SuName {
    config.only_target().expect("the example has two SUs")
}

/// The numbers of the messages on one console, without their texts.
#[must_use]
pub fn codes(course: &Course, console: ConsoleName) -> Vec<String> {
    let lines = course.lines.iter().filter(|line| line.console == console);
    lines.filter_map(|line| line.text.split_whitespace().nth(1).map(str::to_owned)).collect()
}

/// Whether a console has a line with this text in it.
#[must_use]
pub fn says(course: &Course, console: ConsoleName, text: &str) -> bool {
    course.lines.iter().any(|line| line.console == console && line.text.contains(text))
}

/// An SU of this name.
///
/// # Panics
/// When it is no name.
#[must_use]
pub fn name(text: &str) -> SuName {
    SuName::new(text).expect("a name has printable characters")
}
