//! Channel-report word: what STORE CHANNEL REPORT WORD stores.
//!
//! Source of truth: z/Architecture Principles of Operation, "Channel-Report Word". Invariant:
//! every bit is kept, also those without a name. Deliberately not here: the queue of reports, and
//! the machine check that tells of it.

use crate::units::SubchannelNumber;

/// Bits of the word that have a name.
const SOLICITED: u32 = 0x4000_0000;
const OVERFLOW: u32 = 0x2000_0000;
const CHAINED: u32 = 0x1000_0000;

/// A channel-report word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChannelReportWord(u32);

impl ChannelReportWord {
    /// Source (RSC) of a report on a subchannel.
    pub const SUBCHANNEL: u8 = 3;
    /// Source (RSC) of a report on a channel path.
    pub const CHANNEL_PATH: u8 = 4;
    /// Condition (ERC): it is there and was set to its initial state.
    pub const INITIALIZED: u8 = 2;
    /// Condition (ERC): it has come or gone; STORE SUBCHANNEL tells which.
    pub const INSTALLED_PARAMETERS_INITIALIZED: u8 = 4;
    /// Condition (ERC): STORE SUBCHANNEL tells other paths than before.
    pub const INSTALLED_PARAMETERS_MODIFIED: u8 = 8;
    /// Condition (ERC): it has failed for good.
    pub const PERMANENT_ERROR: u8 = 6;

    /// The word of these bits.
    #[must_use]
    pub const fn new(word: u32) -> Self {
        Self(word)
    }

    /// A report from `source`, one of 16, with one of 64 conditions, about what has this
    /// identification.
    #[must_use]
    pub fn of(source: u8, condition: u8, identification: u16) -> Self {
        let high = u16::from_be_bytes([source & 0x0F, condition & 0x3F]);
        Self(u32::from(high) << 16 | u32::from(identification))
    }

    /// The report of a subchannel that has come or gone.
    #[must_use]
    pub fn of_subchannel(number: SubchannelNumber) -> Self {
        Self::of(Self::SUBCHANNEL, Self::INSTALLED_PARAMETERS_INITIALIZED, number.get())
    }

    /// The same, behind which reports were lost.
    #[must_use]
    pub const fn with_overflow(self) -> Self {
        Self(self.0 | OVERFLOW)
    }

    /// The word as stored.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether the program asked for it.
    #[must_use]
    pub const fn is_solicited(self) -> bool {
        self.0 & SOLICITED != 0
    }

    /// Whether reports were lost.
    #[must_use]
    pub const fn has_overflow(self) -> bool {
        self.0 & OVERFLOW != 0
    }

    /// Whether the next word belongs to the same event.
    #[must_use]
    pub const fn is_chained(self) -> bool {
        self.0 & CHAINED != 0
    }

    /// Who reports (RSC).
    #[must_use]
    pub const fn source(self) -> u8 {
        let [high, ..] = self.0.to_be_bytes();
        high & 0x0F
    }

    /// What it reports (ERC).
    #[must_use]
    pub const fn condition(self) -> u8 {
        let [_, low, ..] = self.0.to_be_bytes();
        low & 0x3F
    }

    /// About what it reports.
    #[must_use]
    pub const fn identification(self) -> u16 {
        let [.., high, low] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_has_the_bits_of_the_manual() {
        let report = ChannelReportWord::of_subchannel(SubchannelNumber::new(0x1234));
        assert_eq!(report.get(), 0x0304_1234);
        assert_eq!((report.source(), report.condition()), (3, 4));
        assert_eq!(report.identification(), 0x1234);
        assert_eq!(report.with_overflow().get(), 0x2304_1234);
        let of = |word| {
            let it = ChannelReportWord::new(word);
            (it.is_solicited(), it.has_overflow(), it.is_chained())
        };
        assert_eq!(of(0x4000_0000), (true, false, false));
        assert_eq!(of(0x2000_0000), (false, true, false));
        assert_eq!(of(0x1000_0000), (false, false, true));
        assert_eq!(ChannelReportWord::of(0xF4, 0xC6, 7).get(), 0x0406_0007);
    }
}
