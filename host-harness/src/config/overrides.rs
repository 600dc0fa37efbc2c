//! Options of the command line that go over the configuration.
//!
//! Source of truth: the help of `su390 migrate`. Invariant: each option has one key, so that a
//! problem with its value is told with the option's name; what befalls one run alone has none.
//! Deliberately not here: how the options are parsed.

use std::path::PathBuf;

use monitor_core::units::{Micros, PageCount};

use super::{Bandwidth, Config, Coordination, LinkKind, Trial, WorkloadName};
use crate::{machine::Fill, workload::Manner};

/// What the command line says in place of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// For `cluster.directory`.
    pub directory: Option<PathBuf>,
    /// For `vm.memory`.
    pub memory: Option<PageCount>,
    /// For `workload.run`.
    pub run: Option<Vec<WorkloadName>>,
    /// For `workload.fill`.
    pub fill: Option<Fill>,
    /// For `workload.manner`.
    pub manner: Option<Manner>,
    /// For `limits.blackout-budget`.
    pub budget: Option<Micros>,
    /// For `limits.coordination`.
    pub coordination: Option<Coordination>,
    /// For `link.kind`.
    pub link: Option<LinkKind>,
    /// For `link.bandwidth`.
    pub bandwidth: Option<Bandwidth>,
    /// For `link.delay`.
    pub delay: Option<Micros>,
    /// What befalls the run.
    pub trial: Trial,
}

/// Replaces a value if the command line gives one.
fn replace<T>(value: &mut T, by: Option<T>) {
    if let Some(by) = by {
        *value = by;
    }
}

impl Overrides {
    /// Puts the options over the configuration. With `scale`, the window of the hot set follows
    /// the memory: a quarter of it.
    pub(super) fn apply(&self, config: &mut Config, scale: bool) {
        config.cluster.directory = self.directory.clone().or(config.cluster.directory.take());
        if let Some(memory) = self.memory {
            config.vm.memory = memory;
            if scale {
                config.workload.hot_set_window = PageCount::new(memory.get() / 4);
            }
        }
        replace(&mut config.workload.run, self.run.clone());
        replace(&mut config.workload.fill, self.fill);
        replace(&mut config.workload.manner, self.manner);
        replace(&mut config.limits.blackout_budget, self.budget);
        replace(&mut config.limits.coordination, self.coordination);
        replace(&mut config.link.kind, self.link);
        config.link.bandwidth = self.bandwidth.or(config.link.bandwidth);
        config.link.delay = self.delay.or(config.link.delay);
        config.trial.clone_from(&self.trial);
    }

    /// The option that gave the value of a key, of those whose values can be wrong in themselves.
    pub(super) fn option_of(&self, path: &str) -> Option<&'static str> {
        match path {
            "vm.memory" if self.memory.is_some() => Some("--memory"),
            "workload.run" if self.run.is_some() => Some("--workload"),
            _ => None,
        }
    }
}
