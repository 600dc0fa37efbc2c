//! Checks of the configuration that take more than one key.
//!
//! Source of truth: `example.toml` and VM2000 manual (VM index 1 is the monitor VM; the name and
//! index of a VM are unique on an SU). Invariant: what makes a *move* impossible is not refused
//! here, because rejecting it is the task of the migration's check; what could not exist on the
//! source is. Deliberately not here: the form of single values.

use monitor_core::{
    device::{Assignment, DeviceKind},
    limits::{DEVICES_MAX, PROCESSORS_MAX},
    units::{ProcessorIndex, SuName, SubchannelNumber, VmIndex},
    vm::{Facility, ProcessorSet, Processors},
};

use super::{Config, Device, Overrides, WorkloadName};
use crate::{
    console::amount,
    machine::DiskFormat,
    workload::{JOURNAL_BLOCKS, JOURNAL_CYLINDERS},
};

/// A value that does not go with the others.
pub(super) struct Problem {
    /// The key, as in `vm.device[3].line`.
    pub(super) path: String,
    /// What is wrong and what would be right.
    pub(super) message: String,
}

/// A problem unless `right`.
fn require(right: bool, path: String, message: String) -> Result<(), Problem> {
    if right { Ok(()) } else { Err(Problem { path, message }) }
}

/// Holds all keys against each other.
pub(super) fn check(config: &Config, overrides: &Overrides) -> Result<(), Problem> {
    check_sus(config)?;
    check_vm(config)?;
    for (index, device) in config.vm.devices.iter().enumerate() {
        check_device(config, index, device)?;
    }
    check_workload(config, overrides)
}

fn check_sus(config: &Config) -> Result<(), Problem> {
    let enough = config.sus.len() >= 2;
    require(enough, "su".into(), "a cluster needs two or more [[su]]".into())?;
    for (index, su) in config.sus.iter().enumerate() {
        let twice = config.sus.iter().take(index).any(|other| other.name == su.name);
        let message = format!("there is already an SU named {}", su.name);
        require(!twice, format!("su[{index}].name"), message)?;
        for number in 0..su.aliases.len() {
            check_free_alias(config, index, number)?;
        }
        for (number, vm) in su.vms.iter().enumerate() {
            let path = |key: &str| format!("su[{index}].vm[{number}].{key}");
            let mut earlier: Vec<_> =
                su.vms.iter().take(number).map(|vm| (vm.index, vm.name)).collect();
            earlier.push((VmIndex::MONITOR, monitor_core::units::Text::EMPTY));
            if su.name == config.vm.on {
                earlier.push((config.vm.index, config.vm.name));
            }
            let taken = earlier.iter().any(|(index, _)| *index == vm.index);
            let message = format!("index {} is taken on {} (1: monitor VM)", vm.index, su.name);
            require(!taken, path("index"), message)?;
            let taken = earlier.iter().any(|(_, name)| *name == vm.name);
            let message = format!("name {} is taken on {}", vm.name, su.name);
            require(!taken, path("name"), message)?;
        }
    }
    Ok(())
}

/// What an SU gives in place of an alias is another device there, of a disk that the VM has.
fn check_free_alias(config: &Config, index: usize, number: usize) -> Result<(), Problem> {
    let path = |key: &str| format!("su[{index}].alias[{number}].{key}");
    let su = config.sus.get(index);
    let Some((su, alias)) = su.and_then(|su| Some((su, su.aliases.get(number)?))) else {
        return Ok(());
    };
    let devices = &config.vm.devices;
    let is_base = |it: &Device| it.mnemonic == alias.base && it.kind == DeviceKind::Disk;
    let message = format!("{} is no device of kind \"disk\"", alias.base);
    require(devices.iter().any(is_base), path("base"), message)?;
    let mut others = su.aliases.iter().take(number);
    let twice = others.clone().any(|it| it.mnemonic == alias.mnemonic)
        || devices.iter().any(|it| it.mnemonic == alias.mnemonic);
    let message = format!("there is already a device {}", alias.mnemonic);
    require(!twice, path("mnemonic"), message)?;
    let subchannel = alias.subchannel;
    let is_used = |(place, it): (u16, &Device)| {
        it.subchannel_on(&su.name).unwrap_or(SubchannelNumber::new(place)) == subchannel
    };
    let taken = others.any(|it| it.subchannel == subchannel) || (0..).zip(devices).any(is_used);
    require(!taken, path("subchannel"), format!("another device of {} has it", su.name))
}

fn check_vm(config: &Config) -> Result<(), Problem> {
    let vm = &config.vm;
    let message = "1 is the monitor VM; a guest has 2 to 99";
    require(vm.index != VmIndex::MONITOR, "vm.index".into(), message.into())?;
    let Some(su) = config.su(&vm.on) else {
        return Err(unknown("vm.on".into(), &vm.on, config));
    };
    let message = format!("a VM has 1 to {PROCESSORS_MAX} processors");
    let right = (1..=PROCESSORS_MAX).contains(&vm.processor_count);
    require(right, "vm.processors".into(), message)?;
    let message = format!("{} has no processor, and the guest runs there", su.name);
    require(su.processor_count > 0, "vm.on".into(), message)?;
    check_processors(config)?;
    if let Some(facility) = config.given_facilities().unfit_for(&su.facilities).iter().next() {
        let message =
            format!("facility {facility} is another one on {}, where the guest runs", su.name);
        require(false, "cluster.facilities".into(), message)?;
    }
    let message = format!(
        "{} is more than the {} that {} has for guests",
        amount::bytes(vm.memory.bytes().get()),
        amount::bytes(su.memory.bytes().get()),
        su.name
    );
    require(vm.memory <= su.memory, "vm.memory".into(), message)?;
    let right = vm.devices.len() <= usize::from(DEVICES_MAX);
    require(right, "vm.device".into(), format!("a VM has at most {DEVICES_MAX} devices"))?;
    let right = vm.devices.iter().any(|device| device.kind == DeviceKind::Console);
    let message = "a device of kind \"console\" is needed, where the guest writes its messages";
    require(right, "vm.device".into(), message.into())
}

/// The guest's operating system runs on processor 0, and the hot set on processor 1.
fn check_processors(config: &Config) -> Result<(), Problem> {
    let (vm, path) = (&config.vm, || String::from("vm.detached-processors"));
    let none = ProcessorSet::EMPTY;
    let known = Processors::standing_so(vm.processor_count, vm.detached_processors, none);
    let is_detached = |address| vm.detached_processors.contains(ProcessorIndex::new(address));
    let right = known.is_some() && !is_detached(0);
    let message = "the VM has no such processor, or the guest cannot do without it";
    require(right, path(), message.into())?;
    let right = !is_detached(1) || !config.workload.run.contains(&WorkloadName::HotSet);
    require(right, path(), "the hot set runs on processor 1".into())
}

/// The name of an SU that is not configured.
fn unknown(path: String, name: &SuName, config: &Config) -> Problem {
    let names: Vec<&str> = config.sus.iter().map(|su| su.name.as_str()).collect();
    Problem { path, message: format!("there is no SU {name}; there are {}", names.join(", ")) }
}

fn check_device(config: &Config, index: usize, device: &Device) -> Result<(), Problem> {
    let path = |key: &str| format!("vm.device[{index}].{key}");
    let (mnemonic, on) = (device.mnemonic, config.vm.on);
    let twice = config.vm.devices.iter().take(index).any(|other| other.mnemonic == mnemonic);
    require(!twice, path("mnemonic"), format!("there is already a device {mnemonic}"))?;
    for su in &device.generated_on {
        config.su(su).ok_or_else(|| unknown(path("generated-on"), su, config))?;
    }
    for (su, _) in &device.macs {
        config.su(su).ok_or_else(|| unknown(path("mac"), su, config))?;
    }
    for (su, _) in &device.subchannels {
        config.su(su).ok_or_else(|| unknown(path("subchannel"), su, config))?;
        check_subchannel(config, index, su)?;
    }
    let message = format!("the VM is on {on} and has the device, so it is generated there too");
    require(device.is_generated_on(&on), path("generated-on"), message)?;
    if let Some(su) = &device.held_on {
        config.su(su).ok_or_else(|| unknown(path("held-on"), su, config))?;
        let message =
            format!("the VM is on {on} and has the device, so no other VM holds it there");
        require(*su != on, path("held-on"), message)?;
        let message = format!("{mnemonic} is not generated on {su}, so nobody can hold it there");
        require(device.is_generated_on(su), path("held-on"), message)?;
    }
    for su in &device.shared_on {
        config.su(su).ok_or_else(|| unknown(path("shared-on"), su, config))?;
        let message = format!("{mnemonic} is not generated on {su}, so nobody can share it there");
        require(device.is_generated_on(su), path("shared-on"), message)?;
        let message = format!("the VM is on {on} and has the device exclusively");
        let shares = device.assignment != Assignment::Exclusive;
        require(shares || *su != on, path("shared-on"), message)?;
    }
    check_conduct(config, device, &path)?;
    check_disk(config, index, device, &path)?;
    let lan = device.kind == DeviceKind::Lan;
    let message = "a LAN device needs the name of its line, as in line = \"L#MANLO1\"";
    require(!lan || device.line.is_some(), path("line"), message.into())?;
    for (key, given) in
        [("line", device.line.is_some()), ("vlan", device.vlan), ("mac", !device.macs.is_empty())]
    {
        require(lan || !given, path(key), String::from("is for devices of kind \"lan\" only"))?;
    }
    Ok(())
}

/// On one SU each device has a subchannel number of its own.
fn check_subchannel(config: &Config, index: usize, su: &SuName) -> Result<(), Problem> {
    let number_of = |index: usize, device: &Device| {
        let place = SubchannelNumber::new(u16::try_from(index).unwrap_or(u16::MAX));
        device.subchannel_on(su).unwrap_or(place)
    };
    let devices = || config.vm.devices.iter().enumerate();
    let own = devices().find(|(place, _)| *place == index).map(|(_, it)| number_of(index, it));
    let mut others = devices().filter(|(place, _)| *place != index);
    let twice = others.find(|(place, other)| Some(number_of(*place, other)) == own);
    let message = |other: &Device| format!("{} has this number on {su}", other.mnemonic);
    let path = format!("vm.device[{index}].subchannel");
    twice.map_or(Ok(()), |(_, other)| Err(Problem { path, message: message(other) }))
}

/// What says how the device takes part in a move.
fn check_conduct(
    config: &Config,
    device: &Device,
    path: &dyn Fn(&str) -> String,
) -> Result<(), Problem> {
    let alias = device.kind == DeviceKind::PavAlias;
    let message = "an alias needs the disk that it accesses, as in base = \"9920\"";
    require(!alias || device.base.is_some(), path("base"), message.into())?;
    if let Some(base) = device.base {
        let message = "is for devices of kind \"pav-alias\" only";
        require(alias, path("base"), message.into())?;
        let is_disk = |it: &Device| it.mnemonic == base && it.kind == DeviceKind::Disk;
        let message = format!("{base} is no device of kind \"disk\"");
        require(config.vm.devices.iter().any(is_disk), path("base"), message)?;
    }
    let can_be = matches!(device.kind, DeviceKind::Disk | DeviceKind::Tape);
    let message = "only a disk or a tape can be emulated";
    require(can_be || !device.emulated, path("emulated"), message.into())?;
    let message = "what is detached is not in use";
    require(!device.detached || !device.in_use, path("in-use"), message.into())
}

/// What a disk keeps its data in. A file that it is in outlives the run, and so must the epochs by
/// which it tells an old copy of the VM from a new one.
fn check_disk(
    config: &Config,
    index: usize,
    device: &Device,
    path: &dyn Fn(&str) -> String,
) -> Result<(), Problem> {
    let is_disk = device.kind == DeviceKind::Disk;
    let message = "is for devices of kind \"disk\" only";
    require(is_disk || device.format.is_none(), path("format"), message.into())?;
    let Some(file) = &device.image else {
        return Ok(());
    };
    let require_image = |right, message: &str| {
        require(right, path("image"), format!("{} {message}", file.display()))
    };
    require(is_disk, path("image"), message.into())?;
    let message = "cannot be shared: each SU has an emulated disk of its own";
    require_image(!device.emulated, message)?;
    let twice = config.vm.devices.iter().take(index).find(|it| it.image == device.image);
    let message = twice.map_or(String::new(), |it| format!("is the image of {}", it.mnemonic));
    require_image(twice.is_none(), &message)?;
    let message = "needs a directory that lasts as long, by cluster.directory or --directory";
    require_image(config.cluster.directory.is_some(), message)?;
    match device.format().size_in_file(file) {
        Err(error) => require_image(false, &error.to_string()),
        Ok(Some(size)) if config.workload.runs(WorkloadName::Journal) => {
            let (least, units) = match device.format() {
                DiskFormat::Fba => (JOURNAL_BLOCKS, "blocks"),
                DiskFormat::Ckd => (u32::from(JOURNAL_CYLINDERS), "cylinders"),
            };
            let message = format!("has {size} {units}, and the journal takes {least}");
            require_image(size >= least || !device.takes_journal(), &message)
        }
        Ok(_) => Ok(()),
    }
}

fn check_workload(config: &Config, overrides: &Overrides) -> Result<(), Problem> {
    let workload = &config.workload;
    let runs = |name| workload.runs(name);
    for (index, name) in workload.parts().enumerate() {
        let twice = workload.parts().take(index).any(|other| other == name);
        require(!twice, "workload.run".into(), "names a workload twice".into())?;
    }
    let both = runs(WorkloadName::Sweep) && runs(WorkloadName::SweepUnpaced);
    let message = "sweep and sweep-unpaced are the same workload, take one of them";
    require(!both, "workload.run".into(), message.into())?;
    let alone = workload.run.len() == 1;
    let message = "memory-only goes with no other workload";
    require(alone || !runs(WorkloadName::MemoryOnly), "workload.run".into(), message.into())?;
    let disk = config.vm.devices.iter().any(Device::takes_journal);
    let message = "journal writes to a disk that moves with the VM, which has none";
    require(disk || !runs(WorkloadName::Journal), "workload.run".into(), message.into())?;
    let line = config.vm.devices.iter().any(|device| device.kind == DeviceKind::Lan);
    let message = "network answers on LAN lines, and the VM has no device of kind \"lan\"";
    require(line || !runs(WorkloadName::Network), "workload.run".into(), message.into())?;
    let has_states = config.given_facilities().has(Facility::PAGE_STATES);
    let message = "page-states needs facility 255, which the VM is not given";
    let fits = has_states || !runs(WorkloadName::PageStates);
    require(fits, "workload.run".into(), message.into())?;
    let (window, memory) = (workload.hot_set_window, config.vm.memory);
    let message = format!(
        "a window of {} does not fit vm.memory of {}{}: it may be half of it at most",
        amount::bytes(window.bytes().get()),
        amount::bytes(memory.bytes().get()),
        if overrides.memory.is_some() { " (from --memory)" } else { "" }
    );
    let fits = window.get() <= memory.get() / 2;
    require(fits || !runs(WorkloadName::HotSet), "workload.hot-set-window".into(), message)?;
    for (key, value) in [
        ("journal-interval-us", workload.journal_interval_us),
        ("processors-interval-us", workload.processors_interval_us),
        ("key-value-slots", workload.key_value_slots),
        ("ping-interval-us", workload.ping_interval_us),
        ("attribute-pages", workload.attribute_pages),
    ] {
        require(value > 0, format!("workload.{key}"), "must not be zero".into())?;
    }
    Ok(())
}
