//! The configuration of an SU: lines `key = value` at the beginning of its disk.
//!
//! ```text
//! # What is behind a number sign is for people.
//! su = ABGSE501
//! peer = ABGSE701
//! configuration = 390SU- 500-10B
//! initial_configuration = 390SU- 700-70   where the VM was created, if not here
//! vm = 12 VM12PROD 32          index, name, mebibytes; only where the VM is at first
//! device = CS 0003 console     mnemonic, device number, kind
//! device = FAA5 FAA5 disk SD
//! lan = L#MANLO1
//! lan = L1#DANPU VLAN
//! tracking = keys
//! ```
//!
//! Source of truth: [`KEYS`]. Invariants: an error names its line; a key that is not known is one.
//! Deliberately not here: where the text comes from.

use core::fmt;

use heapless::{String, Vec};
use monitor_core::{
    device::{Assignment, DeviceDescriptor, DeviceKind},
    message::command::{su_name, vm_name},
    migrate::{Coordination, Limits},
    units::{
        ConfigurationName, DeviceNumber, Micros, Mnemonic, PageCount, SuName, SubchannelNumber,
        VmIndex,
    },
    vm::VmBlock,
};

use crate::guest::{Execution, Tracking};

/// The most devices that the VM may have.
pub const DEVICES_MAX: usize = 32;
/// The most LAN lines that the guest may have.
pub const LAN_MAX: usize = 32;
/// Pages of a mebibyte.
const MEBIBYTE_PAGES: u64 = 256;

/// What the link to the other SU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A line that nobody can cut: connections are told in band.
    Serial,
    /// A line whose other end connects anew for each attempt.
    Socket,
}

/// A LAN line of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanLine {
    /// Its name.
    pub name: String<32>,
    /// Whether it is a VLAN line.
    pub is_vlan: bool,
}

/// Everything that an SU is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// This SU.
    pub su: SuName,
    /// The other one.
    pub peer: SuName,
    /// Designation of this SU's hardware.
    pub configuration: ConfigurationName,
    /// Designation of the hardware on which the VM was created, if that is not this SU's.
    pub initial_configuration: Option<ConfigurationName>,
    /// The VM, where it is at first.
    pub vm: Option<VmBlock>,
    /// The VM's devices.
    pub devices: Vec<DeviceDescriptor, DEVICES_MAX>,
    /// The guest's LAN lines.
    pub lan: Vec<LanLine, LAN_MAX>,
    /// What the guest is.
    pub guest: Execution,
    /// Pages that the guest writes in a second; 0 is as many as it can.
    pub pace: u64,
    /// Timer interruptions of the guest between two of its console lines; 0 is none.
    pub line_interval: u64,
    /// How changes are tracked.
    pub tracking: Tracking,
    /// What the link is.
    pub link: LinkKind,
    /// What becomes of an attempt without the guest's consent.
    pub coordination: Coordination,
    /// Limits of time of an attempt.
    pub limits: Limits,
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The line, counted from 1; 0 when a line is missing.
    pub line: u16,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has not the form `key = value`.
    Form,
    /// There is no such key.
    Key,
    /// The key was there already.
    Twice,
    /// The value is wrong; this is expected.
    Value(&'static str),
    /// More lines with this key than are possible.
    TooMany,
    /// There is no line with this key.
    Missing(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line != 0 {
            write!(formatter, "configuration line {}: ", self.line)?;
        } else {
            formatter.write_str("configuration: ")?;
        }
        match self.fault {
            Fault::Form => formatter.write_str("expected key = value"),
            Fault::Key => formatter.write_str("unknown key"),
            Fault::Twice => formatter.write_str("the key is given twice"),
            Fault::Value(expected) => write!(formatter, "expected {expected}"),
            Fault::TooMany => formatter.write_str("too many lines with this key"),
            Fault::Missing(key) => write!(formatter, "there is no line with the key {key}"),
        }
    }
}

/// Takes the value of a key into a configuration.
type Take = fn(&mut Config, &str) -> Result<(), Fault>;

/// Every key: its name, whether it may be repeated, and what it does.
const KEYS: &[(&str, bool, Take)] = &[
    ("su", false, |config, text| {
        su_name(text).map(|name| config.su = name).ok_or(Fault::Value("the name of an SU"))
    }),
    ("peer", false, |config, text| {
        su_name(text).map(|name| config.peer = name).ok_or(Fault::Value("the name of an SU"))
    }),
    ("configuration", false, |config, text| {
        config.configuration = designation(text)?;
        Ok(())
    }),
    ("initial_configuration", false, |config, text| {
        config.initial_configuration = Some(designation(text)?);
        Ok(())
    }),
    ("vm", false, |config, text| {
        let vm = vm(text).ok_or(Fault::Value("index, name and mebibytes, as in 12 VM12PROD 32"))?;
        config.vm = Some(vm);
        Ok(())
    }),
    ("device", true, |config, text| {
        let form = "mnemonic, number and kind, as in FAA4 FAA4 disk; SD may follow";
        let device = device(text).ok_or(Fault::Value(form))?;
        config.devices.push(device).map_err(|_| Fault::TooMany)
    }),
    ("lan", true, |config, text| {
        let (name, is_vlan) = match text.strip_suffix(" VLAN") {
            Some(name) => (name.trim(), true),
            None => (text, false),
        };
        let name = String::try_from(name).map_err(|_| Fault::Value("at most 32 characters"))?;
        config.lan.push(LanLine { name, is_vlan }).map_err(|_| Fault::TooMany)
    }),
    ("guest", false, |config, text| {
        config.guest = choice(
            text,
            "native or emulated",
            &[("native", Execution::Native), ("emulated", Execution::Emulated)],
        )?;
        Ok(())
    }),
    ("tracking", false, |config, text| {
        config.tracking = choice(
            text,
            "keys or protection",
            &[("keys", Tracking::Keys), ("protection", Tracking::Protection)],
        )?;
        Ok(())
    }),
    ("link", false, |config, text| {
        config.link = choice(
            text,
            "serial or socket",
            &[("serial", LinkKind::Serial), ("socket", LinkKind::Socket)],
        )?;
        Ok(())
    }),
    ("coordination", false, |config, text| {
        config.coordination = choice(
            text,
            "required or if-possible",
            &[("required", Coordination::Required), ("if-possible", Coordination::IfPossible)],
        )?;
        Ok(())
    }),
    ("pace", false, |config, text| number(text).map(|pace| config.pace = pace)),
    ("line_interval", false, |config, text| {
        number(text).map(|interval| config.line_interval = interval)
    }),
    ("overruns", false, |config, text| {
        let count = number(text)?.try_into().map_err(|_| Fault::Value("a number up to 255"))?;
        config.limits.overruns = count;
        Ok(())
    }),
    ("blackout_ms", false, |config, text| millis(text).map(|it| config.limits.blackout = it)),
    ("total_ms", false, |config, text| millis(text).map(|it| config.limits.total = it)),
    ("guest_answer_ms", false, |config, text| {
        millis(text).map(|it| config.limits.guest_answer = it)
    }),
    ("peer_answer_ms", false, |config, text| millis(text).map(|it| config.limits.peer_answer = it)),
    ("build_ms", false, |config, text| millis(text).map(|it| config.limits.build = it)),
    ("drain_ms", false, |config, text| millis(text).map(|it| config.limits.drain = it)),
    ("retry_ms", false, |config, text| millis(text).map(|it| config.limits.retry = it)),
    ("reconnect_ms", false, |config, text| millis(text).map(|it| config.limits.reconnect = it)),
];

/// Keys without which nothing goes.
const NEEDED: [&str; 3] = ["su", "peer", "configuration"];

impl Config {
    /// Reads the text of a configuration, which ends with its first byte of zero.
    ///
    /// # Errors
    /// Names the first line that is wrong, or the first key that is missing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let mut config = Self::empty();
        let mut seen = [false; KEYS.len()];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let text = bytes.get(..end).unwrap_or_default();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let at = |fault| ConfigError { line: number, fault };
            let line = core::str::from_utf8(line).map_err(|_| at(Fault::Form))?.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(at(Fault::Form))?;
            let (key, value) = (key.trim(), value.trim());
            let mut entries = KEYS.iter().zip(&mut seen);
            let ((_, is_list, take), was_there) =
                entries.find(|((name, ..), _)| *name == key).ok_or(at(Fault::Key))?;
            if *was_there && !is_list {
                return Err(at(Fault::Twice));
            }
            *was_there = true;
            take(&mut config, value).map_err(at)?;
        }
        for needed in NEEDED {
            let is_there = KEYS.iter().zip(seen).any(|((name, ..), seen)| *name == needed && seen);
            if !is_there {
                return Err(ConfigError { line: 0, fault: Fault::Missing(needed) });
            }
        }
        Ok(config)
    }

    const fn empty() -> Self {
        Self {
            su: SuName::EMPTY,
            peer: SuName::EMPTY,
            configuration: ConfigurationName::EMPTY,
            initial_configuration: None,
            vm: None,
            devices: Vec::new(),
            lan: Vec::new(),
            guest: Execution::Native,
            pace: 0,
            line_interval: 0,
            tracking: Tracking::Keys,
            link: LinkKind::Serial,
            coordination: Coordination::Required,
            limits: Limits::DEFAULT,
        }
    }
}

fn choice<T: Copy>(text: &str, expected: &'static str, words: &[(&str, T)]) -> Result<T, Fault> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or(Fault::Value(expected))
}

fn designation(text: &str) -> Result<ConfigurationName, Fault> {
    ConfigurationName::new(text).ok_or(Fault::Value("at most 24 characters"))
}

fn number(text: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| Fault::Value("a number"))
}

fn millis(text: &str) -> Result<Micros, Fault> {
    match text.parse() {
        Ok(millis @ 1..=86_400_000) => Ok(Micros::from_millis(millis)),
        Ok(_) | Err(_) => Err(Fault::Value("milliseconds, from 1 to a day")),
    }
}

fn vm(text: &str) -> Option<VmBlock> {
    let mut words = text.split_ascii_whitespace();
    let index = VmIndex::new(words.next()?.parse().ok()?)?;
    let name = vm_name(words.next()?)?;
    let mebibytes: u64 = words.next()?.parse().ok()?;
    let pages = PageCount::new(mebibytes.checked_mul(MEBIBYTE_PAGES)?);
    words.next().is_none().then_some(())?;
    VmBlock::new(index, name, pages, 1).ok()
}

fn device(text: &str) -> Option<DeviceDescriptor> {
    let mut words = text.split_ascii_whitespace();
    let mnemonic = words.next().filter(|word| matches!(word.len(), 2 | 4))?;
    let mnemonic = Mnemonic::new(mnemonic)?;
    let number = u16::from_str_radix(words.next()?, 16).ok()?;
    let kind = match words.next()? {
        "console" => DeviceKind::Console,
        "disk" => DeviceKind::Disk,
        "tape" => DeviceKind::Tape,
        "lan" => DeviceKind::Lan,
        _ => return None,
    };
    let assignment = match words.next() {
        None => Assignment::Exclusive,
        Some("SD") => Assignment::SharedDevice,
        Some(_) => return None,
    };
    words.next().is_none().then_some(())?;
    Some(DeviceDescriptor {
        mnemonic,
        number: DeviceNumber::new(number),
        kind,
        assignment,
        subchannel: SubchannelNumber::new(0),
        identity: u64::from(number),
        ..DeviceDescriptor::VACANT
    })
}
