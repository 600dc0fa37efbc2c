//! Tests of the configuration: the example is right, and each mistake is told where it is.
//!
//! Source of truth: `example.toml`. Invariant: every mistake's message has file, line and key.
//! Deliberately not here: the form of single values, tested where they are read.

use monitor_core::units::ByteCount;

use super::*;

fn example() -> Config {
    Config::load(None, &Overrides::default()).expect("the built-in example is right")
}

/// Replaces a part of the example and gives the message with its line number taken out.
fn refusal(from: &str, to: &str) -> String {
    let at = EXAMPLE.find(from).unwrap_or_else(|| panic!("the example has no {from:?}"));
    let text = EXAMPLE.replacen(from, to, 1);
    let error = Config::parse("my.toml", &text, &Overrides::default(), false).unwrap_err();
    let shown = error.to_string();
    let rest = shown.strip_prefix("my.toml:").unwrap_or_else(|| panic!("no file: {shown}"));
    let (line, message) = rest.split_once(": ").unwrap();
    let line: usize = line.parse().unwrap();
    let first = EXAMPLE[..at].lines().count().max(1);
    let last = first + to.lines().count().max(1);
    // What is missing is told at the header of its table.
    let header =
        EXAMPLE[..at].rfind("\n[").map_or(0, |at| EXAMPLE[..=at].matches('\n').count() + 1);
    let near = line == header || (first..=last).contains(&line);
    assert!(near, "line {line} is neither {header} nor in {first}..={last}: {shown}");
    message.lines().next().unwrap().to_owned()
}

#[test]
fn example_shows_the_documented_move() {
    let config = example();
    assert_eq!(config.sus.len(), 2);
    assert_eq!(config.vm.name.as_str(), "VM12PROD");
    assert_eq!(config.vm.memory.bytes(), ByteCount::new(1 << 30));
    assert_eq!(config.vm.cpu_quota_hundredths, Some(1000));
    let mnemonics: Vec<&str> = config.vm.devices.iter().map(|d| d.mnemonic.as_str()).collect();
    assert_eq!(mnemonics, ["CS", "CC40", "CC41", "CC42", "CC43", "9920", "FAA4", "FAA5"]);
    assert_eq!(config.vm.devices[7].assignment, Assignment::SharedDevice);
    assert_eq!(config.only_target().unwrap().as_str(), "ABGSE701");
}

#[test]
fn defaults_are_those_that_the_example_shows() {
    let config = example();
    assert_eq!(config.workload, Workload::default());
    assert_eq!(config.link, Link::default());
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn device_is_generated_everywhere_and_has_an_address_on_each_su() {
    let config = example();
    let lan = &config.vm.devices[1];
    let [first, second] = [config.sus[0].name, config.sus[1].name];
    assert!(lan.is_generated_on(&first) && lan.is_generated_on(&second));
    assert_ne!(lan.mac_on(&first).unwrap(), lan.mac_on(&second).unwrap());
    assert_ne!(lan.mac_on(&first), config.vm.devices[2].mac_on(&first));
    assert_eq!(config.vm.devices[0].macs, []);
    assert_eq!((config.vm.devices[0].latency_us(), lan.latency_us()), (50, 20));
}

#[test]
fn given_address_and_latency_are_kept() {
    let to = "line = \"L#MANLO1\"\nlatency-us = 7\nmac = { abgse701 = \"02:aa:00:00:00:01\" }";
    let text = EXAMPLE.replacen("line = \"L#MANLO1\"", to, 1);
    let config = Config::parse("my.toml", &text, &Overrides::default(), false).unwrap();
    let lan = &config.vm.devices[1];
    assert_eq!(lan.latency_us(), 7);
    let mac = lan.mac_on(&config.sus[1].name).unwrap();
    assert_eq!(mac.to_string(), "02:AA:00:00:00:01");
}

#[test]
fn each_mistake_is_told_with_file_line_and_key() {
    let cases = [
        ("memory = \"1GiB\"", "memory = \"1GB\"", "vm.memory: \"GB\" is no unit"),
        ("memory = \"1GiB\"", "memory = 4096", "vm.memory: the unit is missing"),
        ("memory = \"1GiB\"", "memory = \"1025KiB\"", "vm.memory: memory must be a multiple"),
        ("memory = \"1GiB\"", "memory = true", "vm.memory: invalid type: boolean"),
        ("memory = \"1GiB\"", "memory = \"128GiB\"", "vm.memory: 128 GiB is more than the 64"),
        ("memory = \"1GiB\"", "memroy = \"1GiB\"", "vm.memroy: unknown field `memroy`"),
        ("index = 12  ", "index = 1", "vm.index: 1 is the monitor VM"),
        ("index = 12  ", "index = 100", "vm.index: a VM index is a number from 1 to 99"),
        ("name = \"VM12PROD\"", "name = \"VM12PROD9\"", "vm.name: a name has 1 to 8"),
        ("name = \"VM12PROD\"", "# no name", "vm: missing field `name`"),
        ("on = \"ABGSE501\"", "on = \"ABGSE502\"", "vm.on: there is no SU ABGSE502; there are"),
        ("processors = 2 ", "processors = 65", "vm.processors: a VM has 1 to 64"),
        ("processors = 2 ", "processors = -1", "vm.processors: invalid value: integer `-1`"),
        ("state = \"running\"", "state = \"asleep\"", "vm.state: expected one of running, init"),
        ("cpu-quota = 10 ", "cpu-quota = 100", "vm.cpu-quota: expected 0.01 to 99.99"),
        ("name = \"ABGSE701\"", "name = \"ABGSE501\"", "su.name: there is already an SU"),
        ("mnemonic = \"9920\"", "mnemonic = \"FAXX\"", "vm.device.mnemonic: a mnemonic has 2"),
        ("mnemonic = \"FAA4\"", "mnemonic = \"9920\"", "vm.device.mnemonic: there is already"),
        ("kind = \"console\"", "kind = \"printer\"", "vm.device.kind: expected one of console"),
        ("kind = \"console\"", "kind = \"disk\"", "vm.device: a device of kind \"console\""),
        ("line = \"L#MANLO1\"", "# no line", "vm.device.line: a LAN device needs the name"),
        ("vlan = true", "vlan = \"yes\"", "vm.device.vlan: invalid type: string \"yes\""),
        ("assignment = \"sd\"", "vlan = true", "vm.device.vlan: is for devices of kind \"lan\""),
        ("assignment = \"sd\"", "held-on = \"ABGSE501\"", "vm.device.held-on: the VM is on"),
        ("assignment = \"sd\"", "held-on = \"X\"", "vm.device.held-on: there is no SU X"),
        ("assignment = \"sd\"", "generated-on = []", "vm.device.generated-on: the list must"),
        ("assignment = \"sd\"", "generated-on = [\"ABGSE701\"]", "vm.device.generated-on: the VM"),
        ("run = [\"sweep\"", "run = [\"creep\"", "workload.run: expected one of idle"),
        ("run = [\"sweep\"", "run = [\"hot-set\"", "workload.run: names a workload twice"),
        ("sweep-rate = 20000", "sweep-rate = 0", "workload.sweep-rate: expected a number per"),
        ("\"256MiB\"", "\"513MiB\"", "workload.hot-set-window: a window of 513 MiB does not fit"),
        ("kind = \"tcp\"", "kind = \"pigeon\"", "link.kind: expected one of tcp, unix"),
        ("# bandwidth = \"1Gbit\"", "bandwidth = \"1G\"", "link.bandwidth: \"G\" is no unit"),
        ("# delay = \"1ms\"", "delay = 1", "link.delay: the unit is missing"),
        ("drain = \"1s\"", "drain = \"0s\"", "limits.drain: a span of time must not be zero"),
        ("drain = \"1s\"", "drain = \"1s\"\ndrain = \"2s\"", "limits.drain: duplicate key"),
        ("[limits]\n", "[limit]\n", "limit: unknown field `limit`"),
        ("drain = \"1s\"", "drain = ", "limits.drain: "),
    ];
    for (from, to, expected) in cases {
        let message = refusal(from, to);
        assert!(message.starts_with(expected), "{to}: got {message:?}, expected {expected:?}");
    }
}

#[test]
fn taken_index_is_refused_on_the_source_and_kept_on_the_target() {
    let other = |su: &str| {
        let entry = "\n[[su.vm]]\nindex = 12\nname = \"OTHER\"\n";
        let line = format!("configuration = \"{su}\"");
        let end = EXAMPLE.find(&line).and_then(|at| Some(at + EXAMPLE[at..].find("\n\n")? + 1));
        let (head, tail) = EXAMPLE.split_at(end.unwrap());
        Config::parse("my.toml", &format!("{head}{entry}{tail}"), &Overrides::default(), false)
    };
    let message = other("390SU- 500-10B").unwrap_err().to_string();
    assert!(message.contains("su.vm.index: index 12 is taken on ABGSE501"), "{message}");
    assert_eq!(other("390SU- 700-70").unwrap().sus[1].vms[0].index.get(), 12);
}

#[test]
fn free_alias_is_another_device_of_its_su_and_of_a_disk_of_the_vm() {
    let with = |mnemonic: &str, base: &str, subchannel: &str| {
        let alias = format!(
            "\n[[su.alias]]\nmnemonic = \"{mnemonic}\"\nbase = \"{base}\"\n\
             subchannel = \"{subchannel}\"\n"
        );
        let text = EXAMPLE.replacen("\n# Other VMs", &(alias + "\n# Other VMs"), 1);
        Config::parse("my.toml", &text, &Overrides::default(), false)
    };
    let aliases = with("993F", "9920", "0A20").unwrap().sus[1].aliases.clone();
    assert_eq!(aliases[0].subchannel.get(), 0x0A20);
    for (mnemonic, base, subchannel, expected) in [
        ("993F", "CS", "0A20", "su.alias.base: CS is no device of kind \"disk\""),
        ("FAA4", "9920", "0A20", "su.alias.mnemonic: there is already a device FAA4"),
        ("993F", "9920", "0001", "su.alias.subchannel: another device of ABGSE701 has it"),
    ] {
        let message = with(mnemonic, base, subchannel).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn one_su_is_no_cluster() {
    let at = EXAMPLE.rfind("\n[[su]]").unwrap();
    let end = EXAMPLE.find("# Other VMs").unwrap();
    let text = format!("{}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
    let error = Config::parse("my.toml", &text, &Overrides::default(), false).unwrap_err();
    assert!(error.to_string().contains("su: a cluster needs two or more"), "{error}");
}

#[test]
fn memory_option_scales_the_window_of_the_example_only() {
    let memory = PageCount::from_text("64MiB").ok();
    let overrides = Overrides { memory, ..Overrides::default() };
    let config = Config::load(None, &overrides).unwrap();
    assert_eq!(config.workload.hot_set_window.bytes(), ByteCount::new(16 << 20));
    let error = Config::parse("my.toml", EXAMPLE, &overrides, false).unwrap_err().to_string();
    assert!(error.contains("workload.hot-set-window: a window of 256 MiB"), "{error}");
    assert!(error.contains("vm.memory of 64 MiB (from --memory)"), "{error}");
}

#[test]
fn problem_of_an_option_names_the_option() {
    let memory = PageCount::from_text("65GiB").ok();
    let overrides = Overrides { memory, ..Overrides::default() };
    let error = Config::load(None, &overrides).unwrap_err().to_string();
    assert!(error.starts_with("--memory: 65 GiB is more than"), "{error}");
    let run = Some(vec![WorkloadName::Sweep, WorkloadName::SweepUnpaced]);
    let overrides = Overrides { run, ..Overrides::default() };
    let error = Config::load(None, &overrides).unwrap_err().to_string();
    assert!(error.starts_with("--workload: sweep and sweep-unpaced"), "{error}");
    let run = Some(vec![WorkloadName::Idle, WorkloadName::MemoryOnly]);
    let overrides = Overrides { run, ..Overrides::default() };
    let error = Config::load(None, &overrides).unwrap_err().to_string();
    assert!(error.starts_with("--workload: memory-only goes with no other"), "{error}");
}

#[test]
fn missing_file_is_named() {
    let error = Config::load(Some(Path::new("no-such.toml")), &Overrides::default()).unwrap_err();
    assert!(error.to_string().starts_with("no-such.toml: cannot be read"), "{error}");
}

#[test]
fn kinds_carry_their_parameters() {
    let run = Some(vec![WorkloadName::SweepUnpaced, WorkloadName::Journal]);
    let config = Config::load(None, &Overrides { run, ..Overrides::default() }).unwrap();
    let kinds = config.workload.kinds();
    assert!(matches!(kinds[0], crate::workload::Kind::Sweep { rate: Rate::Unpaced }), "{kinds:?}");
    assert!(matches!(kinds[1], crate::workload::Kind::Journal { interval_us: 1000 }), "{kinds:?}");
}

/// The example with these lines at its first disk, and a directory.
fn with_disk(lines: &str) -> Result<Config, ConfigError> {
    let disk = "mnemonic = \"9920\"\nkind = \"disk\"\n";
    let text = EXAMPLE.replacen(disk, &format!("{disk}{lines}\n"), 1);
    assert_ne!(text, EXAMPLE);
    let directory = Some(PathBuf::from("cluster.db"));
    Config::parse("my.toml", &text, &Overrides { directory, ..Overrides::default() }, false)
}

#[test]
fn disk_is_in_blocks_or_in_tracks_and_in_memory_or_in_a_file() {
    let disk = example().vm.devices[5].clone();
    assert_eq!((disk.format(), disk.image), (DiskFormat::Fba, None));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("9920.img");
    let config = with_disk(&format!("format = \"ckd\"\nimage = {file:?}")).unwrap();
    let disk = &config.vm.devices[5];
    assert_eq!((disk.format(), disk.image.as_ref()), (DiskFormat::Ckd, Some(&file)));
    assert!(disk.takes_journal(), "the journal is written to either");
    assert!(!file.exists(), "a configuration makes no file");
}

#[test]
fn file_that_cannot_be_the_image_is_named_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("9920.img");
    let image = format!("image = {file:?}");
    let key = format!("vm.device.image: {} ", file.display());
    for (bytes, lines, expected) in [
        (vec![7; 700], "", "has a wrong size: an FBA disk has whole blocks of 512 bytes"),
        (vec![7; 1024], "", "has 2 blocks, and the journal takes 32768"),
        (vec![7; 1024], "\nformat = \"ckd\"", "is no uncompressed image of a 3390"),
        (
            vec![0; 512 + 15 * 56_832],
            "\nformat = \"ckd\"",
            "has 1 cylinders, and the journal takes 10",
        ),
        (vec![7; 512], "\nemulated = true", "cannot be shared: each SU has an emulated disk"),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        let shown = with_disk(&format!("{image}{lines}")).unwrap_err().to_string();
        assert!(shown.contains(&format!("{key}{expected}")), "{shown}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
    }
    let nowhere = folder.path().join("none").join("9920.img");
    let shown = with_disk(&format!("image = {nowhere:?}")).unwrap_err().to_string();
    let expected = format!("{} cannot be made: there is no such folder", nowhere.display());
    assert!(shown.contains(&expected), "{shown}");
}

#[test]
fn formats_and_images_that_go_with_nothing_are_refused() {
    let lan = "line = \"L#MANLO1\" ";
    let disk = "kind = \"disk\"\n\n[[vm.device]]\nmnemonic = \"FAA4\"";
    let both = format!("kind = \"disk\"\nimage = \"x\"\n{}", disk.split_once("\n").unwrap().1);
    let only = "is for devices of kind \"disk\" only";
    let cases = [
        (lan, "format = \"fba\"\nline = \"L#MANLO1\" ", format!("vm.device.format: {only}")),
        (lan, "image = \"x\"\nline = \"L#MANLO1\" ", format!("vm.device.image: {only}")),
        (disk, &both, "vm.device.image: x needs a directory that lasts as long".into()),
        (
            "kind = \"disk\"",
            "kind = \"disk\"\nformat = \"xkd\"",
            "vm.device.format: expected one of fba, ckd".into(),
        ),
    ];
    for (from, to, expected) in cases {
        let message = refusal(from, to);
        assert!(message.starts_with(&expected), "{to}: got {message:?}, expected {expected:?}");
    }
}
