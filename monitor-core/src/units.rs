//! Value types with their unit in the name: pages, bytes, time, epochs, names.
//!
//! Source of truth: the sections named at each type. Invariants: a [`VmIndex`] is 1..99; a
//! [`Text`] holds at most `N` printable ASCII characters. Arithmetic saturates or is checked;
//! there is no conversion that loses bits. Deliberately not here: clocks (time is a parameter).

use core::fmt;

/// Defines a number with a unit: `new`, `get`, ordering, and `defmt` output.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $name($raw);

        impl $name {
            /// The value with this unit.
            #[must_use]
            pub const fn new(raw: $raw) -> Self {
                Self(raw)
            }

            /// The bare number.
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }
    };
}

quantity! {
    /// Number of a 4 KiB page of guest storage, counted from guest absolute address 0.
    PageNumber(u64)
}
quantity! {
    /// A number of pages.
    PageCount(u64)
}
quantity! {
    /// Number of a group of 64 neighbouring pages: page number divided by 64.
    GroupNumber(u64)
}
quantity! {
    /// A number of bytes.
    ByteCount(u64)
}
quantity! {
    /// A moment on the caller's monotonic clock, in microseconds.
    Tick(u64)
}
quantity! {
    /// A span of time in microseconds.
    Micros(u64)
}
quantity! {
    /// Number of a frame within one direction of one stream; the first frame has 1.
    Sequence(u64)
}
quantity! {
    /// Epoch of a VM's ownership: grows by one with each change of the ownership record.
    Epoch(u64)
}
quantity! {
    /// Identity of one load of a VM's copy on a target, unique for ever (a TOD stamp).
    Incarnation(u64)
}
quantity! {
    /// Identity of one migration attempt on the wire.
    StreamId(u64)
}
quantity! {
    /// Channel-subsystem device number.
    DeviceNumber(u16)
}
quantity! {
    /// Subchannel number within subchannel set 0.
    SubchannelNumber(u16)
}
quantity! {
    /// Index of a device in the slots lent to a migration, counted from 0.
    DeviceSlot(u16)
}
quantity! {
    /// Index of a virtual processor, counted from 0.
    ProcessorIndex(u16)
}

impl PageNumber {
    /// The group that holds this page.
    #[must_use]
    pub const fn group(self) -> GroupNumber {
        GroupNumber(self.0 / 64)
    }
}

impl PageCount {
    /// The number of groups that hold this many pages, the last one perhaps in part.
    #[must_use]
    pub const fn groups(self) -> u64 {
        self.0.div_ceil(64)
    }

    /// The storage that this many pages take; saturates.
    #[must_use]
    pub const fn bytes(self) -> ByteCount {
        ByteCount(self.0.saturating_mul(4096))
    }
}

impl GroupNumber {
    /// The first page of the group, or `None` beyond the 64-bit address space.
    #[must_use]
    pub const fn first_page(self) -> Option<PageNumber> {
        match self.0.checked_mul(64) {
            Some(page) => Some(PageNumber(page)),
            None => None,
        }
    }
}

impl Tick {
    /// The moment `span` later; saturates at the end of the clock.
    #[must_use]
    pub const fn after(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

impl Micros {
    /// A span of whole milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// The sum; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sequence {
    /// The next frame's number; saturates, which 2^64 frames do not reach.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Epoch {
    /// The epoch after this one; saturates.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// VM index, 1 to 99 (VM2000 manual, CREATE-VM). Index 1 is the monitor VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VmIndex(u8);

impl VmIndex {
    /// The monitor VM, which no command migrates.
    pub const MONITOR: Self = Self(1);

    /// The index, or `None` outside 1..99.
    #[must_use]
    pub const fn new(raw: u8) -> Option<Self> {
        if raw >= 1 && raw <= crate::limits::VM_INDEX_MAX { Some(Self(raw)) } else { None }
    }

    /// The bare number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for VmIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// A short text of printable ASCII characters, at most `N` of them, kept in place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

/// Name of a VM: 1 to 8 characters, unique in the cluster.
pub type VmName = Text<8>;

/// Name of an SU: the host name of its monitor system, 1 to 64 characters.
pub type SuName = Text<64>;

/// Name of a VM group or CPU pool: 1 to 8 characters, empty for none.
pub type PoolName = Text<8>;

/// Designation of a server configuration, such as `390SU- 700-70`.
pub type ConfigurationName = Text<24>;

/// Mnemonic of a device: 2 alphanumeric characters or 4 hexadecimal digits.
pub type Mnemonic = Text<4>;

impl<const N: usize> Text<N> {
    /// The empty text.
    pub const EMPTY: Self = Self { bytes: [b' '; N], length: 0 };

    /// The text, or `None` when it is longer than `N` or holds other than printable ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// The text of these ASCII bytes, or `None` as in [`Text::new`].
    #[must_use]
    pub fn from_bytes(source: &[u8]) -> Option<Self> {
        let length = u8::try_from(source.len()).ok()?;
        let mut text = Self { length, ..Self::EMPTY };
        for (target, byte) in text.bytes.get_mut(..source.len())?.iter_mut().zip(source) {
            if !(b' '..=b'~').contains(byte) {
                return None;
            }
            *target = *byte;
        }
        Some(text)
    }

    /// The characters as ASCII bytes, without padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// The characters as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// Whether there is no character.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

#[cfg(feature = "defmt")]
impl<const N: usize> defmt::Format for Text<N> {
    fn format(&self, formatter: defmt::Formatter<'_>) {
        defmt::write!(formatter, "{=str}", self.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_what_fits_and_refuses_the_rest() {
        assert_eq!(VmName::new("VM12PROD").map(|name| name.as_str().len()), Some(8));
        assert_eq!(VmName::new("VM12PROD9"), None);
        assert_eq!(VmName::new("VM\n"), None);
        assert!(VmName::EMPTY.is_empty());
    }

    #[test]
    fn vm_index_is_one_to_ninety_nine() {
        assert_eq!(VmIndex::new(0), None);
        assert_eq!(VmIndex::new(100), None);
        assert_eq!(VmIndex::new(99).map(VmIndex::get), Some(99));
    }
}
