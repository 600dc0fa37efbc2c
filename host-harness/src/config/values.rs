//! How the values of the configuration and of the command line are written.
//!
//! One trait, [`FromText`], reads a value from its text for both, so that `memory = "1GiB"` in a
//! file and `--memory 1GiB` mean the same and are refused with the same words.
//! Source of truth: VM2000 manual (operands of CREATE-VM and MIGRATE-VM) for names and ranges.
//! Invariants: every quantity carries its unit; a number without one is refused with a hint.
//! Deliberately not here: where a value stands in a file, which is in the module `error`.

use std::fmt;

use monitor_core::{
    device::{Assignment, DeviceKind},
    limits::PAGE_BYTES,
    message::command::{self, Command, CommandError, Operand},
    units::{
        ByteCount, ConfigurationName, Micros, Mnemonic, PageCount, SuName, SubchannelNumber, Text,
        VmIndex,
    },
    vm::{Activity, VmId},
};
use serde::de::{self, Deserializer, Visitor};

/// Granularity of a VM's memory (VM2000 manual, CREATE-VM on /390).
pub const MEMORY_STEP_BYTES: u64 = 1 << 20;

/// A value that can be read from its text.
pub trait FromText: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// Says in words what is expected, without repeating the text.
    fn from_text(text: &str) -> Result<Self, String>;
}

/// Reads a value from its text; the form that the command line takes.
///
/// # Errors
/// As [`FromText::from_text`].
pub fn from_text<T: FromText>(text: &str) -> Result<T, String> {
    T::from_text(text)
}

/// A value out of a fixed list of words.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words and their values, in the order in which they are shown.
    const CHOICES: &'static [(&'static str, Self)];

    /// The words alone.
    fn words() -> Vec<&'static str> {
        Self::CHOICES.iter().map(|(word, _)| *word).collect()
    }

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::CHOICES.iter().find(|(_, value)| *value == self).map_or("?", |(word, _)| word)
    }
}

/// Makes types readable by their list of words.
macro_rules! choices {
    ($($name:ty { $($word:literal => $value:expr),+ $(,)? })+) => { $(
        impl $crate::config::Choice for $name {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }

        impl $crate::config::FromText for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                $crate::config::choose(text)
            }
        }
    )+ };
}
pub(crate) use choices;

choices! {
    Activity {
        "running" => Self::Running,
        "init-only" => Self::InitOnly,
        "in-hold" => Self::InHold,
        "down" => Self::Down,
    }
    DeviceKind {
        "console" => Self::Console,
        "disk" => Self::Disk,
        "lan" => Self::Lan,
        "tape" => Self::Tape,
        "pav-alias" => Self::PavAlias,
        "ctc" => Self::ChannelToChannel,
    }
    Assignment {
        "exclusive" => Self::Exclusive,
        "shared" => Self::Shared,
        "sd" => Self::SharedDevice,
    }
}

/// The value of a word.
pub(crate) fn choose<T: Choice>(text: &str) -> Result<T, String> {
    match T::CHOICES.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(format!("expected one of {}", T::words().join(", "))),
    }
}

/// Splits `1GiB` into its number and its unit, and multiplies.
fn quantity(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if number.is_empty() || unit.starts_with('.') {
        return Err(format!("expected a whole number with a unit ({names}), as in \"{example}\""));
    }
    if unit.is_empty() {
        return Err(format!("the unit is missing: one of {names}, as in \"{example}\""));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("\"{unit}\" is no unit: one of {names}, as in \"{example}\""));
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| String::from("the number is too large"))
}

impl FromText for ByteCount {
    fn from_text(text: &str) -> Result<Self, String> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
        quantity(text, &units, "1GiB").map(Self::new)
    }
}

/// Main memory: whole MiB, at least one.
impl FromText for PageCount {
    fn from_text(text: &str) -> Result<Self, String> {
        let bytes = ByteCount::from_text(text)?.get();
        if bytes == 0 || !bytes.is_multiple_of(MEMORY_STEP_BYTES) {
            return Err(String::from("memory must be a multiple of 1 MiB, and not zero"));
        }
        Ok(Self::new(bytes / PAGE_BYTES as u64))
    }
}

/// A span of time, not zero, at most a day.
impl FromText for Micros {
    fn from_text(text: &str) -> Result<Self, String> {
        let units =
            [("us", 1), ("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];
        match quantity(text, &units, "300ms")? {
            0 => Err(String::from("a span of time must not be zero")),
            1..=86_400_000_000 => quantity(text, &units, "300ms").map(Self::new),
            _ => Err(String::from("a span of time must not be longer than a day (24h)")),
        }
    }
}

/// Speed of a link, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bits per second, not zero.
    pub bits_per_second: u64,
}

impl FromText for Bandwidth {
    fn from_text(text: &str) -> Result<Self, String> {
        let units = [("kbit", 1000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];
        match quantity(text, &units, "1Gbit")? {
            0 => Err(String::from("a bandwidth must not be zero")),
            bits_per_second => Ok(Self { bits_per_second }),
        }
    }
}

/// Hardware address of a LAN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl FromText for Mac {
    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || String::from("expected six bytes, as in \"02:00:00:00:05:01\"");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(expected)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| expected())?;
        }
        if parts.next().is_some() { Err(expected()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{f:02X}")
    }
}

impl FromText for SubchannelNumber {
    fn from_text(text: &str) -> Result<Self, String> {
        let digits = text.len() == 4 && text.chars().all(|c| c.is_ascii_hexdigit());
        let number = u16::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self::new).ok_or_else(|| {
            String::from("a subchannel number has 4 hexadecimal digits, as in \"001A\"")
        })
    }
}

impl FromText for VmIndex {
    fn from_text(text: &str) -> Result<Self, String> {
        let index = text.parse().ok().and_then(Self::new);
        index.ok_or_else(|| String::from("a VM index is a number from 1 to 99"))
    }
}

/// Name of a VM, VM group or CPU pool.
impl FromText for Text<8> {
    fn from_text(text: &str) -> Result<Self, String> {
        let expected = "a name has 1 to 8 letters, digits or @ # $, and begins with no digit";
        command::vm_name(text).ok_or_else(|| String::from(expected))
    }
}

impl FromText for SuName {
    fn from_text(text: &str) -> Result<Self, String> {
        command::su_name(text).ok_or_else(|| String::from(Operand::Su.expected()))
    }
}

impl FromText for ConfigurationName {
    fn from_text(text: &str) -> Result<Self, String> {
        let configuration = Self::new(text).filter(|text| !text.is_empty());
        configuration.ok_or_else(|| {
            String::from(
                "a configuration is designated by 1 to 24 characters, as in \"390SU- 700-70\"",
            )
        })
    }
}

impl FromText for Mnemonic {
    fn from_text(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_uppercase();
        let right = match text.len() {
            2 => text.chars().all(|c| c.is_ascii_alphanumeric()),
            4 => text.chars().all(|c| c.is_ascii_hexdigit()),
            _ => false,
        };
        let mnemonic = if right { Self::new(&text) } else { None };
        mnemonic.ok_or_else(|| {
            String::from("a mnemonic has 2 letters or digits, or 4 hexadecimal digits")
        })
    }
}

/// A VM as a command names it: by its index or by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmSelector {
    /// By index.
    Index(VmIndex),
    /// By name.
    Name(Text<8>),
}

impl FromText for VmSelector {
    fn from_text(text: &str) -> Result<Self, String> {
        let id = command::vm_id(text).map(Self::from);
        id.ok_or_else(|| String::from(Operand::Vm.expected()))
    }
}

impl From<VmId> for VmSelector {
    fn from(id: VmId) -> Self {
        match id {
            VmId::Index(index) => Self::Index(index),
            VmId::Name(name) => Self::Name(name),
        }
    }
}

/// MIGRATE-VM as an operator types it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveCommand {
    /// The VM to move.
    pub vm: VmSelector,
    /// The SU to move it to; `None` is the only other one.
    pub target: Option<SuName>,
}

impl FromText for MoveCommand {
    fn from_text(text: &str) -> Result<Self, String> {
        match command::parse(text) {
            Ok(Command::MigrateVm { vm, target }) => Ok(Self { vm: vm.into(), target }),
            Ok(_) => Err(String::from("only MIGRATE-VM can be given here")),
            Err(error @ CommandError::Unknown(_)) => Err(format!("{error}; MIGRATE-VM is known")),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl fmt::Display for VmSelector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => index.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

/// Hundredths of a percentage such as `14` or `2.25`, from 0.01 to `most_hundredths`.
fn hundredths(text: &str, most_hundredths: u16) -> Result<u16, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let value = if digits(whole) && digits(part) && part.len() <= 2 {
        format!("{whole}{part:0<2}").parse().ok()
    } else {
        None
    };
    value.filter(|value| (1..=most_hundredths).contains(value)).ok_or_else(|| {
        let (whole, part) = (most_hundredths / 100, most_hundredths % 100);
        format!("expected 0.01 to {whole}.{part:02}, with at most two decimals")
    })
}

/// Reads any scalar of the file as text, so that a value of the wrong type meets the same words.
struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

/// A [`Scalar`] that is read as `T`; the element of lists and maps.
pub(super) struct Element<T>(pub(super) T);

impl<'de, T: FromText> de::Deserialize<'de> for Element<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = source.deserialize_any(Scalar)?;
        T::from_text(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Reads a field of the file.
pub(crate) fn field<'de, D: Deserializer<'de>, T: FromText>(source: D) -> Result<T, D::Error> {
    de::Deserialize::deserialize(source).map(|Element(value)| value)
}

/// Reads a field that may be absent.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: FromText>(
    source: D,
) -> Result<Option<T>, D::Error> {
    field(source).map(Some)
}

/// Reads a list that is not empty.
pub(crate) fn list<'de, D: Deserializer<'de>, T: FromText>(source: D) -> Result<Vec<T>, D::Error> {
    let elements: Vec<Element<T>> = de::Deserialize::deserialize(source)?;
    if elements.is_empty() {
        return Err(de::Error::custom("the list must not be empty"));
    }
    Ok(elements.into_iter().map(|Element(value)| value).collect())
}

/// Reads what a device has on each SU, by the name of the SU.
pub(crate) fn by_su<'de, D: Deserializer<'de>, T: FromText>(
    source: D,
) -> Result<Vec<(SuName, T)>, D::Error> {
    let table: std::collections::BTreeMap<String, Element<T>> =
        de::Deserialize::deserialize(source)?;
    let entry = |(name, Element(value)): (String, Element<T>)| {
        SuName::from_text(&name).map(|name| (name, value)).map_err(de::Error::custom)
    };
    table.into_iter().map(entry).collect()
}

/// Reads a CPU quota, 0.01 to 99.99, in hundredths.
pub(crate) fn cpu_quota<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u16>, D::Error> {
    let text = source.deserialize_any(Scalar)?;
    hundredths(&text, 9999).map(Some).map_err(de::Error::custom)
}

/// Reads a limit of CPU utilization, 0.01 to 100.00, in hundredths.
pub(crate) fn cpu_limit<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u16>, D::Error> {
    let text = source.deserialize_any(Scalar)?;
    hundredths(&text, 10_000).map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_needs_a_unit_and_says_so() {
        assert_eq!(ByteCount::from_text("1 GiB"), Ok(ByteCount::new(1 << 30)));
        assert_eq!(ByteCount::from_text("512KiB"), Ok(ByteCount::new(512 << 10)));
        assert!(ByteCount::from_text("4096").unwrap_err().contains("unit is missing"));
        assert!(ByteCount::from_text("1GB").unwrap_err().contains("\"GB\" is no unit"));
        assert!(ByteCount::from_text("1.5GiB").unwrap_err().contains("whole number"));
        assert!(ByteCount::from_text("GiB").unwrap_err().contains("whole number"));
        assert!(ByteCount::from_text("16777216TiB").unwrap_err().contains("too large"));
    }

    #[test]
    fn memory_is_whole_mebibytes() {
        assert_eq!(PageCount::from_text("1MiB"), Ok(PageCount::new(256)));
        assert!(PageCount::from_text("1025KiB").unwrap_err().contains("multiple of 1 MiB"));
        assert!(PageCount::from_text("0MiB").unwrap_err().contains("not zero"));
    }

    #[test]
    fn duration_and_bandwidth_keep_their_unit() {
        assert_eq!(Micros::from_text("300ms"), Ok(Micros::new(300_000)));
        assert_eq!(Micros::from_text("1h"), Ok(Micros::new(3_600_000_000)));
        assert!(Micros::from_text("0s").unwrap_err().contains("not be zero"));
        assert!(Micros::from_text("25h").unwrap_err().contains("a day"));
        let gigabit = Bandwidth { bits_per_second: 1_000_000_000 };
        assert_eq!(Bandwidth::from_text("1Gbit"), Ok(gigabit));
        assert!(Bandwidth::from_text("1GiB").unwrap_err().contains("no unit"));
    }

    #[test]
    fn names_are_folded_to_capitals_and_held_to_their_form() {
        assert_eq!(SuName::from_text("abgse701"), Ok(SuName::new("ABGSE701").unwrap()));
        assert!(<Text<8>>::from_text("VM12PROD9").is_err());
        assert!(<Text<8>>::from_text("12VM").is_err());
        assert_eq!(Mnemonic::from_text("faa5"), Ok(Mnemonic::new("FAA5").unwrap()));
        assert!(Mnemonic::from_text("FAAG").is_err());
        assert!(Mnemonic::from_text("K").is_err());
    }

    #[test]
    fn vm_is_selected_by_index_or_name() {
        let twelve = VmIndex::new(12).unwrap();
        assert_eq!(VmSelector::from_text("12"), Ok(VmSelector::Index(twelve)));
        let name = Text::new("VM12PROD").unwrap();
        assert_eq!(VmSelector::from_text("vm12prod"), Ok(VmSelector::Name(name)));
        assert!(VmSelector::from_text("100").is_err());
        assert!(VmSelector::from_text("").is_err());
    }

    #[test]
    fn percentage_has_two_decimals_within_its_range() {
        assert_eq!(hundredths("14", 9999), Ok(1400));
        assert_eq!(hundredths("2.5", 9999), Ok(250));
        assert!(hundredths("100", 9999).unwrap_err().contains("99.99"));
        assert!(hundredths("0", 9999).is_err());
        assert!(hundredths("1.234", 9999).is_err());
        assert!(hundredths("-1", 9999).is_err());
    }

    #[test]
    fn mac_is_six_bytes() {
        let mac = Mac::from_text("02:00:00:00:05:0a").unwrap();
        assert_eq!(mac.to_string(), "02:00:00:00:05:0A");
        assert!(Mac::from_text("02:00:00:00:05").is_err());
        assert!(Mac::from_text("02:00:00:00:05:0a:01").is_err());
        assert!(Mac::from_text("02:00:00:00:05:zz").is_err());
    }
}
