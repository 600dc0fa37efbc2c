//! The configuration: server units, the VM with its devices, workload, link and limits.
//!
//! A TOML file, or the example that is built in; options of the command line go over it. What a
//! section leaves out has the value that the example shows.
//! Source of truth: `example.toml`, which names and explains every key.
//! Invariants: a [`Config`] that exists has passed every check, so that nobody else has to look
//! again; an unknown key is an error. Deliberately not here: whether the move is possible, which
//! the check of the migration finds out, and whether the VM and the target of a request exist.

mod check;
mod error;
mod hardware;
mod overrides;
mod trial;
mod values;
mod workload;

use std::path::{Path, PathBuf};

use monitor_core::{
    device::{Assignment, DeviceKind},
    units::{
        ConfigurationName, Micros, Mnemonic, PageCount, PoolName, SuName, SubchannelNumber, Text,
        VmIndex, VmName,
    },
    vm::{Activity, Facility, FacilityList, ProcessorSet},
};
use serde::Deserialize;

use crate::{
    machine::{DiskFormat, Fill, Tracking},
    workload::{Manner, Rate},
};

pub use error::ConfigError;
pub use hardware::{CpuId, Domain, FreeAlias};
pub use overrides::Overrides;
pub use trial::{Decision, Fault, FaultPoint, Moment, Trial};
pub use values::{
    Bandwidth, Choice, FromText, MEMORY_STEP_BYTES, Mac, MoveCommand, VmSelector, from_text,
};
pub(crate) use values::{choices, choose};
pub use workload::{Workload, WorkloadName};

/// The configuration that is built in.
pub const EXAMPLE: &str = include_str!("../../example.toml");

/// What messages call the built-in configuration.
pub const EXAMPLE_NAME: &str = "built-in example.toml";

/// What one migration is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The VM to move; the check finds out whether it exists.
    pub vm: VmSelector,
    /// The SU to move it to; the check finds out whether it exists.
    pub target: SuName,
}

impl Request {
    /// Whether the VM is the one that is configured.
    #[must_use]
    pub fn is_configured(&self, config: &Config) -> bool {
        match self.vm {
            VmSelector::Index(index) => index == config.vm.index,
            VmSelector::Name(name) => name == config.vm.name,
        }
    }

    /// What people call the VM: name and index, or as it was asked for if it is not configured.
    #[must_use]
    pub fn vm_label(&self, config: &Config) -> String {
        if self.is_configured(config) {
            format!("{} ({})", config.vm.name, config.vm.index)
        } else {
            format!("VM {}", self.vm)
        }
    }
}

/// Everything that is configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The server units of the cluster, two or more.
    #[serde(rename = "su")]
    pub sus: Vec<Su>,
    /// What the server units share.
    #[serde(default)]
    pub cluster: Cluster,
    /// The VM that can be moved.
    pub vm: Vm,
    /// What the guest does.
    #[serde(default)]
    pub workload: Workload,
    /// The connection between the monitors.
    #[serde(default)]
    pub link: Link,
    /// How the monitor of the source notes what the guest changes.
    #[serde(default)]
    pub tracking: NotedBy,
    /// What a migration may take.
    #[serde(default)]
    pub limits: Limits,
    /// What befalls the run; no key of the file, since it belongs to one run alone.
    #[serde(skip)]
    pub trial: Trial,
}

/// How changes of guest storage are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NotedBy {
    /// By whom.
    #[serde(deserialize_with = "values::field")]
    pub by: Tracking,
}

/// What the server units share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cluster {
    /// The file that has the ownership records; in memory if not given.
    pub directory: Option<PathBuf>,
    /// The facilities of a VM that is started in it; those of its SU if not given.
    pub facilities: Option<Domain>,
}

/// A server unit.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Su {
    /// Host name of its monitor system.
    #[serde(deserialize_with = "values::field")]
    pub name: SuName,
    /// Designation of its hardware.
    #[serde(deserialize_with = "values::field")]
    pub configuration: ConfigurationName,
    /// Main memory for guests.
    #[serde(deserialize_with = "values::field")]
    pub memory: PageCount,
    /// Processors for guests; 0 is possible, and a reason to reject a move.
    #[serde(rename = "processors")]
    pub processor_count: u16,
    /// Facilities of its machine.
    #[serde(default = "hardware::standard", deserialize_with = "hardware::facilities")]
    pub facilities: FacilityList,
    /// What STORE CPU ID shows to guests that are started there; made up where it is not given.
    #[serde(default, deserialize_with = "values::optional")]
    pub cpu_id: Option<CpuId>,
    /// Other VMs that are there.
    #[serde(default, rename = "vm")]
    pub vms: Vec<OtherVm>,
    /// Aliases that no VM has there.
    #[serde(default, rename = "alias")]
    pub aliases: Vec<FreeAlias>,
}

/// A VM that is on an SU and only takes its index and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OtherVm {
    /// Its index.
    #[serde(deserialize_with = "values::field")]
    pub index: VmIndex,
    /// Its name.
    #[serde(deserialize_with = "values::field")]
    pub name: VmName,
}

/// The VM that can be moved.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Vm {
    /// Its index, 2 to 99.
    #[serde(deserialize_with = "values::field")]
    pub index: VmIndex,
    /// Its name.
    #[serde(deserialize_with = "values::field")]
    pub name: VmName,
    /// The SU where it is.
    #[serde(deserialize_with = "values::field")]
    pub on: SuName,
    /// Its main memory.
    #[serde(deserialize_with = "values::field")]
    pub memory: PageCount,
    /// Its virtual processors.
    #[serde(rename = "processors")]
    pub processor_count: u16,
    /// Those of them that the guest has detached.
    #[serde(default, deserialize_with = "hardware::processors")]
    pub detached_processors: ProcessorSet,
    /// Whether a guest runs in it.
    #[serde(default = "running", deserialize_with = "values::field")]
    pub state: Activity,
    /// Its CPU quota, in hundredths.
    #[serde(default, rename = "cpu-quota", deserialize_with = "values::cpu_quota")]
    pub cpu_quota_hundredths: Option<u16>,
    /// The limit of its CPU utilization, in hundredths of a percent.
    #[serde(default, rename = "max-cpu-utilization", deserialize_with = "values::cpu_limit")]
    pub cpu_limit_hundredths: Option<u16>,
    /// The VM group that it belongs to.
    #[serde(default, deserialize_with = "values::optional")]
    pub group: Option<PoolName>,
    /// The hardware on which the guest was started; that of its SU if not given.
    #[serde(default, deserialize_with = "values::optional")]
    pub initial_configuration: Option<ConfigurationName>,
    /// How often it was moved before.
    #[serde(default)]
    pub migration_count: u32,
    /// Its devices.
    #[serde(default, rename = "device")]
    pub devices: Vec<Device>,
}

/// The state of a VM if none is given.
const fn running() -> Activity {
    Activity::Running
}

/// A device of the VM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Device {
    /// Its mnemonic.
    #[serde(deserialize_with = "values::field")]
    pub mnemonic: Mnemonic,
    /// What it is.
    #[serde(deserialize_with = "values::field")]
    pub kind: DeviceKind,
    /// How it is assigned to the VM.
    #[serde(default = "exclusive", deserialize_with = "values::field")]
    pub assignment: Assignment,
    /// The SUs where it is generated; every one if not given.
    #[serde(default, deserialize_with = "values::list")]
    pub generated_on: Vec<SuName>,
    /// Whether the management unit emulates it.
    #[serde(default)]
    pub emulated: bool,
    /// How a disk keeps its data, if it is given.
    #[serde(default, deserialize_with = "values::optional")]
    pub format: Option<DiskFormat>,
    /// The file with the image of a disk, which all SUs share; in memory if not given.
    #[serde(default)]
    pub image: Option<PathBuf>,
    /// The disk of which a PAV alias is another access.
    #[serde(default, deserialize_with = "values::optional")]
    pub base: Option<Mnemonic>,
    /// Whether the guest has it detached.
    #[serde(default)]
    pub detached: bool,
    /// Whether a job of the guest uses it, so that it cannot be detached.
    #[serde(default)]
    pub in_use: bool,
    /// The SU where another VM has it exclusively.
    #[serde(default, deserialize_with = "values::optional")]
    pub held_on: Option<SuName>,
    /// The SUs where other VMs have it as a shared device.
    #[serde(default, deserialize_with = "values::list")]
    pub shared_on: Vec<SuName>,
    /// Its subchannel number where that is not its place among the devices.
    #[serde(default, rename = "subchannel", deserialize_with = "values::by_su")]
    pub subchannels: Vec<(SuName, SubchannelNumber)>,
    /// The line of a LAN device.
    #[serde(default, deserialize_with = "values::optional")]
    pub line: Option<Text<8>>,
    /// Whether the line is a virtual LAN.
    #[serde(default)]
    pub vlan: bool,
    /// The hardware address of a LAN device on each SU; made up where it is not given.
    #[serde(default, rename = "mac", deserialize_with = "values::by_su")]
    pub macs: Vec<(SuName, Mac)>,
    /// The time that one channel program takes, if not that of its kind.
    #[serde(default, rename = "latency-us")]
    latency_us: Option<u64>,
}

/// The assignment of a device if none is given.
const fn exclusive() -> Assignment {
    Assignment::Exclusive
}

impl Device {
    /// The time that one channel program takes.
    #[must_use]
    pub const fn latency_us(&self) -> u64 {
        match (self.latency_us, self.kind) {
            (Some(latency_us), _) => latency_us,
            (None, DeviceKind::Console) => 50,
            (None, DeviceKind::Lan) => 20,
            (
                None,
                DeviceKind::Disk
                | DeviceKind::Tape
                | DeviceKind::ChannelToChannel
                | DeviceKind::PavAlias,
            ) => 200,
        }
    }

    /// How a disk keeps its data.
    #[must_use]
    pub fn format(&self) -> DiskFormat {
        self.format.unwrap_or_default()
    }

    /// Whether the guest can keep its journal on it: a disk that moves with the VM.
    #[must_use]
    pub fn takes_journal(&self) -> bool {
        self.kind == DeviceKind::Disk && !self.emulated && !self.detached
    }

    /// The subchannel number on an SU, if it is given.
    #[must_use]
    pub fn subchannel_on(&self, su: &SuName) -> Option<SubchannelNumber> {
        self.subchannels.iter().find(|(name, _)| name == su).map(|(_, number)| *number)
    }

    /// How many other VMs have it on an SU.
    #[must_use]
    pub fn others_on(&self, su: &SuName) -> usize {
        let shares = self.shared_on.iter().filter(|name| *name == su).count();
        shares + usize::from(self.held_on == Some(*su))
    }

    /// The hardware address of a LAN device on an SU.
    #[must_use]
    pub fn mac_on(&self, su: &SuName) -> Option<Mac> {
        self.macs.iter().find(|(name, _)| name == su).map(|(_, mac)| *mac)
    }

    /// Whether the device is generated on an SU.
    #[must_use]
    pub fn is_generated_on(&self, su: &SuName) -> bool {
        self.generated_on.contains(su)
    }
}

/// What kind of connection the monitors have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// TCP over the loopback interface.
    Tcp,
    /// A UNIX socket of this machine.
    Unix,
    /// Channel-to-channel adapters between the monitor systems.
    Ctc,
}

/// The connection between the monitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// Its kind.
    #[serde(deserialize_with = "values::field")]
    pub kind: LinkKind,
    /// Its speed, if it is to be slower than it is.
    #[serde(deserialize_with = "values::optional")]
    pub bandwidth: Option<Bandwidth>,
    /// Its delay in one direction, if it is to be longer than it is.
    #[serde(deserialize_with = "values::optional")]
    pub delay: Option<Micros>,
}

impl Default for Link {
    fn default() -> Self {
        Self { kind: LinkKind::Tcp, bandwidth: None, delay: None }
    }
}

/// What to do when the guest refuses the move or does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordination {
    /// End the attempt.
    Required,
    /// Move it all the same.
    IfPossible,
}

/// What a migration may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// The longest stop of the guest.
    #[serde(deserialize_with = "values::field")]
    pub blackout_budget: Micros,
    /// The whole migration.
    #[serde(deserialize_with = "values::field")]
    pub total: Micros,
    /// One answer of the guest.
    #[serde(deserialize_with = "values::field")]
    pub guest_answer: Micros,
    /// One answer of the other monitor.
    #[serde(deserialize_with = "values::field")]
    pub peer_answer: Micros,
    /// The end of I/O that is under way.
    #[serde(deserialize_with = "values::field")]
    pub drain: Micros,
    /// How long a lost link may take to come back before the move is given up.
    #[serde(deserialize_with = "values::field")]
    pub reconnect: Micros,
    /// What to do when the guest refuses the move or does not answer.
    #[serde(deserialize_with = "values::field")]
    pub coordination: Coordination,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            blackout_budget: Micros::from_millis(300),
            total: Micros::from_millis(3_600_000),
            guest_answer: Micros::from_millis(10_000),
            peer_answer: Micros::from_millis(10_000),
            drain: Micros::from_millis(1000),
            reconnect: Micros::from_millis(5000),
            coordination: Coordination::Required,
        }
    }
}

choices! {
    WorkloadName {
        "idle" => Self::Idle,
        "hot-set" => Self::HotSet,
        "sweep" => Self::Sweep,
        "sweep-unpaced" => Self::SweepUnpaced,
        "memory-only" => Self::MemoryOnly,
        "key-value" => Self::KeyValue,
        "journal" => Self::Journal,
        "network" => Self::Network,
        "processors" => Self::Processors,
        "keys" => Self::Keys,
        "page-states" => Self::PageStates,
        "full" => Self::Full,
    }
    LinkKind {
        "tcp" => Self::Tcp,
        "unix" => Self::Unix,
        "ctc" => Self::Ctc,
    }
    Coordination {
        "required" => Self::Required,
        "if-possible" => Self::IfPossible,
    }
    Tracking {
        "marks" => Self::Marks,
        "keys" => Self::Keys,
    }
    DiskFormat {
        "fba" => Self::Fba,
        "ckd" => Self::Ckd,
    }
    Fill {
        "random" => Self::Random,
        "zero" => Self::Zero,
    }
    Manner {
        "accept" => Self::Accept,
        "refuse" => Self::Refuse,
        "silent" => Self::Silent,
    }
}

impl FromText for Rate {
    fn from_text(text: &str) -> Result<Self, String> {
        if text == "unpaced" {
            return Ok(Self::Unpaced);
        }
        let rate = text.parse().ok().filter(|rate| *rate > 0).map(Self::PerSecond);
        rate.ok_or_else(|| String::from("expected a number per second, not zero, or \"unpaced\""))
    }
}

impl Config {
    /// Reads the file, or the built-in example, with the options of the command line over it.
    ///
    /// # Errors
    /// Names the first problem with file, line and key, or with the option.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let Some(path) = file else {
            return Self::parse(EXAMPLE_NAME, EXAMPLE, overrides, true);
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::of_file(&name, format!("cannot be read: {error}")))?;
        Self::parse(&name, &text, overrides, false)
    }

    /// As [`Config::load`], from a text. With `scale`, another memory scales the hot set's window.
    fn parse(
        name: &str,
        text: &str,
        overrides: &Overrides,
        scale: bool,
    ) -> Result<Self, ConfigError> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| ConfigError::of_parser(name, text, &error))?;
        overrides.apply(&mut config, scale);
        config.complete();
        check::check(&config, overrides).map_err(|problem| {
            overrides.option_of(&problem.path).map_or_else(
                || ConfigError::of_path(name, text, &problem.path, problem.message.clone()),
                |option| ConfigError::of_option(option, problem.message.clone()),
            )
        })?;
        Ok(config)
    }

    /// Puts in what follows from the rest: where a device is generated, and its addresses.
    fn complete(&mut self) {
        let names: Vec<SuName> = self.sus.iter().map(|su| su.name).collect();
        for (place, su) in (1..).zip(&mut self.sus) {
            su.cpu_id = su.cpu_id.or(Some(CpuId::of_place(place)));
        }
        for (device_number, device) in (1..=u16::MAX).zip(&mut self.vm.devices) {
            if device.generated_on.is_empty() {
                device.generated_on.clone_from(&names);
            }
            for (su_number, su) in (1..=u8::MAX).zip(&names) {
                if device.kind == DeviceKind::Lan && device.mac_on(su).is_none() {
                    let [high, low] = device_number.to_be_bytes();
                    device.macs.push((*su, Mac([0x02, 0, 0, su_number, high, low])));
                }
            }
        }
    }

    /// The SU of this name.
    #[must_use]
    pub fn su(&self, name: &SuName) -> Option<&Su> {
        self.sus.iter().find(|su| su.name == *name)
    }

    /// The facilities that the VM is given when it is started: those of its SU, or those of the
    /// cluster's domain. Page states are given to a guest that uses them; any SU takes the others.
    #[must_use]
    pub fn given_facilities(&self) -> FacilityList {
        let own = self.su(&self.vm.on).map_or(FacilityList::EMPTY, |su| su.facilities);
        let list = match self.cluster.facilities {
            None => own,
            Some(Domain::Common) => {
                self.sus.iter().fold(own, |list, su| list.common(&su.facilities))
            }
            Some(Domain::Given(list)) => list,
        };
        let has_states = self.workload.runs(WorkloadName::PageStates);
        if has_states { list } else { list.without(Facility::PAGE_STATES) }
    }

    /// The only SU beside the one where the VM is; `None` when there are several.
    #[must_use]
    pub fn only_target(&self) -> Option<SuName> {
        let mut others = self.sus.iter().filter(|su| su.name != self.vm.on);
        others.next().filter(|_| others.next().is_none()).map(|su| su.name)
    }
}

#[cfg(test)]
mod tests;
