//! How the hardware of a server unit is written: facilities, the domain of a cluster, CPU ids.
//!
//! Source of truth: Principles of Operation, STORE FACILITY LIST EXTENDED (numbers) and STORE CPU
//! ID (the doubleword). Invariant: a list is never empty. Deliberately not here: which facilities
//! a VM is given.

use std::fmt;

use monitor_core::{
    units::{Mnemonic, ProcessorIndex, SubchannelNumber},
    vm::{Facility, FacilityList, ProcessorSet},
};
use serde::{
    Deserialize,
    de::{self, Deserializer, SeqAccess, Visitor},
};

use super::values::{Element, FromText, field, list};

/// One entry of a list of facilities.
enum Entry {
    /// The facilities of a machine for which nobody has chosen others.
    Standard,
    /// These.
    With(u8, u8),
    /// Not this one.
    Without(u8),
}

impl FromText for Entry {
    fn from_text(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u8>().ok();
        let entry = match text.split_once('-') {
            _ if text == "standard" => Some(Self::Standard),
            None => number(text).map(|one| Self::With(one, one)),
            Some(("", rest)) => number(rest).map(Self::Without),
            Some((first, last)) => number(first)
                .zip(number(last))
                .filter(|(first, last)| first <= last)
                .map(|(first, last)| Self::With(first, last)),
        };
        entry.ok_or_else(|| {
            String::from(
                "a facility is a number from 0 to 255, a range as in \"0-4\", \"standard\", or \
                 \"-133\" for all but this",
            )
        })
    }
}

/// Reads a list from its left to its right.
fn facilities_of(entries: Vec<Entry>) -> FacilityList {
    entries.into_iter().fold(FacilityList::EMPTY, |list, entry| match entry {
        Entry::Standard => list.joined(&standard()),
        Entry::With(first, last) => {
            (first..=last).map(Facility::new).fold(list, FacilityList::with)
        }
        Entry::Without(number) => list.without(Facility::new(number)),
    })
}

/// Reads the facilities of an SU.
pub(super) fn facilities<'de, D: Deserializer<'de>>(source: D) -> Result<FacilityList, D::Error> {
    list(source).map(facilities_of)
}

/// The facilities of a machine for which nobody has chosen others.
pub(super) const fn standard() -> FacilityList {
    guest::FACILITIES.with(Facility::PAGE_STATES)
}

/// Which facilities a VM is given that is started in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Those that all its SUs have, so that it can move to each.
    Common,
    /// These.
    Given(FacilityList),
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(DomainVisitor)
    }
}

struct DomainVisitor;

impl<'de> Visitor<'de> for DomainVisitor {
    type Value = Domain;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"common\" or a list of facilities")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Domain, E> {
        if text == "common" {
            Ok(Domain::Common)
        } else {
            Err(E::custom("expected \"common\" or a list of facilities"))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Domain, A::Error> {
        let mut entries = Vec::new();
        while let Some(Element(entry)) = source.next_element()? {
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(de::Error::custom("the list must not be empty"));
        }
        Ok(Domain::Given(facilities_of(entries)))
    }
}

/// An alias of a disk that no VM of its SU has, so that a VM that comes can be given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FreeAlias {
    /// Its mnemonic.
    #[serde(deserialize_with = "field")]
    pub mnemonic: Mnemonic,
    /// The disk of which it is another access.
    #[serde(deserialize_with = "field")]
    pub base: Mnemonic,
    /// Its subchannel number there.
    #[serde(deserialize_with = "field")]
    pub subchannel: SubchannelNumber,
}

/// A CPU identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuId(pub u64);

impl CpuId {
    /// That of the SU with this place in the configuration, from 1: a guest of a monitor (version
    /// FF), the place as its number, machine type 2827.
    #[must_use]
    pub const fn of_place(place: u32) -> Self {
        Self(0xFF << 56 | (place as u64 & 0xFF_FFFF) << 32 | 0x2827_0000)
    }
}

impl FromText for CpuId {
    fn from_text(text: &str) -> Result<Self, String> {
        let is_right = text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_right);
        number.map(Self).ok_or_else(|| {
            String::from("a CPU id has 16 hexadecimal digits, as in \"FF00000128270000\"")
        })
    }
}

/// Reads some of a VM's processors.
pub(super) fn processors<'de, D: Deserializer<'de>>(source: D) -> Result<ProcessorSet, D::Error> {
    let addresses: Vec<u16> = Deserialize::deserialize(source)?;
    let set =
        |set: ProcessorSet, address| set.joined(ProcessorSet::of(ProcessorIndex::new(address)));
    let all = addresses.iter().copied().fold(ProcessorSet::EMPTY, set);
    if all.count() as usize == addresses.len() {
        Ok(all)
    } else {
        Err(de::Error::custom("expected the addresses of processors, 0 to 63, each once"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<FacilityList, String> {
        texts.iter().map(|text| Entry::from_text(text)).collect::<Result<_, _>>().map(facilities_of)
    }

    #[test]
    fn facilities_are_numbers_ranges_and_the_standard_without_some() {
        assert_eq!(parsed(&["1", "129-131"]), Ok(FacilityList::numbered(&[1, 129, 130, 131])));
        let without = standard().without(Facility::GUARDED_STORAGE);
        assert_eq!(parsed(&["standard", "-133"]), Ok(without));
        for wrong in ["256", "", "-", "4-1", "1-300", "vector"] {
            assert!(parsed(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cpu_id_has_sixteen_digits() {
        let id = CpuId::from_text("ff00000228270000").unwrap();
        assert_eq!(id, CpuId::of_place(2));
        for wrong in ["", "FF", "0x00000228270000", "FF000002282700000", "+F00000228270000"] {
            assert!(CpuId::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
