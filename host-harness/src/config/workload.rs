//! What the guest does: the workloads, and how fast they go.
//!
//! Source of truth: `example.toml`, "What the guest does". Invariant: each name stands for one
//! workload, but `full`, which stands for several. Deliberately not here: what a workload is.

use monitor_core::units::PageCount;
use serde::Deserialize;

use super::values;
use crate::{
    machine::Fill,
    workload::{Kind, Manner, Rate},
};

/// One thing that the guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadName {
    /// Counts and waits.
    Idle,
    /// Writes random pages of a window.
    HotSet,
    /// Writes every page in turn, at a rate.
    Sweep,
    /// Writes every page in turn, as fast as it can.
    SweepUnpaced,
    /// Sweeps, in a guest without operating system, for which the monitor answers.
    MemoryOnly,
    /// Keeps a table of checksummed values.
    KeyValue,
    /// Writes numbered records to a disk.
    Journal,
    /// Answers the pings of stations on the LAN lines.
    Network,
    /// Uses timers and signals on every processor.
    Processors,
    /// Sets, uses and resets storage keys.
    Keys,
    /// Tells the host which pages it needs.
    PageStates,
    /// Everything at once: sweep, hot set, key-value, journal, network, processors, keys, page
    /// states.
    Full,
}

/// What the guest does and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// What it does, all at once.
    #[serde(deserialize_with = "values::list")]
    pub run: Vec<WorkloadName>,
    /// Pages per second of the sweep.
    #[serde(deserialize_with = "values::field")]
    pub sweep_rate: Rate,
    /// The memory that the hot set writes.
    #[serde(deserialize_with = "values::field")]
    pub hot_set_window: PageCount,
    /// Pages per second of the hot set.
    #[serde(deserialize_with = "values::field")]
    pub hot_set_rate: Rate,
    /// Slots of the key-value store.
    pub key_value_slots: u64,
    /// Operations per second of the key-value store.
    #[serde(deserialize_with = "values::field")]
    pub key_value_rate: Rate,
    /// Time from one record of the journal to the next.
    pub journal_interval_us: u64,
    /// Time from one ping of a LAN line to the next.
    pub ping_interval_us: u64,
    /// Time from one round of a processor to the next.
    pub processors_interval_us: u64,
    /// Pages whose storage keys are used, and as many whose states change.
    pub attribute_pages: u64,
    /// Visits per second to the pages of each kind.
    #[serde(deserialize_with = "values::field")]
    pub attribute_rate: Rate,
    /// What the memory holds at first.
    #[serde(deserialize_with = "values::field")]
    pub fill: Fill,
    /// How the guest answers when it is told of the move.
    #[serde(deserialize_with = "values::field")]
    pub manner: Manner,
    /// Decides all that is random in the guest.
    pub seed: u64,
}

impl WorkloadName {
    /// The parts of [`Self::Full`].
    pub const FULL: [Self; 8] = [
        Self::Sweep,
        Self::HotSet,
        Self::KeyValue,
        Self::Journal,
        Self::Network,
        Self::Processors,
        Self::Keys,
        Self::PageStates,
    ];
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            run: vec![WorkloadName::Sweep, WorkloadName::HotSet, WorkloadName::Journal],
            sweep_rate: Rate::PerSecond(20_000),
            hot_set_window: PageCount::new(65_536),
            hot_set_rate: Rate::PerSecond(25_600),
            key_value_slots: 4096,
            key_value_rate: Rate::PerSecond(10_000),
            journal_interval_us: 1000,
            ping_interval_us: 1000,
            processors_interval_us: 1000,
            attribute_pages: 1024,
            attribute_rate: Rate::PerSecond(5000),
            fill: Fill::Random,
            manner: Manner::Accept,
            seed: 1,
        }
    }
}

impl Workload {
    /// The workloads with their parameters.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        self.parts().flat_map(|name| self.kind(name)).collect()
    }

    /// Whether this workload is one of those that the guest runs.
    #[must_use]
    pub fn runs(&self, name: WorkloadName) -> bool {
        self.parts().any(|part| part == name)
    }

    /// The workloads, with the parts of one in its place.
    pub fn parts(&self) -> impl Iterator<Item = WorkloadName> {
        self.run.iter().flat_map(|name| match name {
            WorkloadName::Full => WorkloadName::FULL.to_vec(),
            name => vec![*name],
        })
    }

    fn kind(&self, name: WorkloadName) -> Option<Kind> {
        let (pages, rate) = (PageCount::new(self.attribute_pages), self.attribute_rate);
        Some(match name {
            WorkloadName::Idle => Kind::Idle,
            WorkloadName::HotSet => {
                Kind::HotSet { window: self.hot_set_window, rate: self.hot_set_rate }
            }
            WorkloadName::Sweep => Kind::Sweep { rate: self.sweep_rate },
            WorkloadName::SweepUnpaced => Kind::Sweep { rate: Rate::Unpaced },
            WorkloadName::MemoryOnly => Kind::MemoryOnly { rate: self.sweep_rate },
            WorkloadName::KeyValue => {
                Kind::KeyValue { slots: self.key_value_slots, rate: self.key_value_rate }
            }
            WorkloadName::Journal => Kind::Journal { interval_us: self.journal_interval_us },
            WorkloadName::Network => Kind::Network,
            WorkloadName::Processors => {
                Kind::Processors { interval_us: self.processors_interval_us }
            }
            WorkloadName::Keys => Kind::Keys { pages, rate },
            WorkloadName::PageStates => Kind::PageStates { pages, rate },
            WorkloadName::Full => return None,
        })
    }
}
