//! The program-status word, in its 16-byte form and the 8-byte form of ESA/390.
//!
//! Source of truth: z/Architecture Principles of Operation, chapter "Control" (PSW) and the
//! instruction LOAD PSW (short form). Bits are numbered from 0, the leftmost.
//!
//! Invariant: every pair of doublewords is kept as it is, also one with which a processor would
//! recognize a specification exception. Deliberately not here: what a processor does with it.

/// Bit 12 of the short form, which is one there and zero in the long form.
const SHORT_FORM: u64 = 0x0008_0000_0000_0000;
/// The bits of the mask that the short form holds: 0 to 31 without bit 12, and bit 32.
const SHORT_MASK: u64 = 0xFFF7_FFFF_8000_0000;
/// The bits of the address that the short form holds.
const SHORT_ADDRESS: u64 = 0x7FFF_FFFF;

const KEY: u64 = 0x00F0_0000_0000_0000;
const ADDRESS_SPACE: u64 = 0x0000_C000_0000_0000;
const CONDITION_CODE: u64 = 0x0000_3000_0000_0000;
const PROGRAM_MASK: u64 = 0x0000_0F00_0000_0000;

/// The program-status word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Psw {
    /// Bits 0 to 63.
    pub mask: u64,
    /// Bits 64 to 127: the address of the next instruction.
    pub address: u64,
}

/// Which address space instructions address (PSW bits 16 and 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AddressSpace {
    /// Primary-space mode.
    Primary,
    /// Access-register mode.
    AccessRegister,
    /// Secondary-space mode.
    Secondary,
    /// Home-space mode.
    Home,
}

/// Defines getter and setter of one-bit fields of the mask.
macro_rules! mask_bits {
    ($($(#[$doc:meta])* $value:literal $get:ident $with:ident)*) => {
        impl Psw {
            $(
                $(#[$doc])*
                #[must_use]
                pub const fn $get(self) -> bool {
                    self.mask & $value != 0
                }

                #[doc = concat!("The same PSW with `", stringify!($get), "` as given.")]
                #[must_use]
                pub const fn $with(self, value: bool) -> Self {
                    let mask = if value { self.mask | $value } else { self.mask & !$value };
                    Self { mask, ..self }
                }
            )*
        }
    };
}

mask_bits! {
    /// Bit 1: program-event recording is on.
    0x4000_0000_0000_0000 event_recording with_event_recording
    /// Bit 5: dynamic address translation is on.
    0x0400_0000_0000_0000 translation with_translation
    /// Bit 6: the processor is open to I/O interruptions.
    0x0200_0000_0000_0000 io with_io
    /// Bit 7: the processor is open to external interruptions.
    0x0100_0000_0000_0000 external with_external
    /// Bit 13: the processor is open to machine-check interruptions.
    0x0004_0000_0000_0000 machine_check with_machine_check
    /// Bit 14: the processor waits for an interruption.
    0x0002_0000_0000_0000 wait with_wait
    /// Bit 15: the program is in the problem state.
    0x0001_0000_0000_0000 problem_state with_problem_state
    /// Bit 31: extended addressing; with bit 32 it selects 64-bit addresses.
    0x0000_0001_0000_0000 extended_addressing with_extended_addressing
    /// Bit 32: basic addressing; alone it selects 31-bit addresses, neither bit 24-bit ones.
    0x0000_0000_8000_0000 basic_addressing with_basic_addressing
}

impl Psw {
    /// A PSW of these doublewords.
    #[must_use]
    pub const fn new(mask: u64, address: u64) -> Self {
        Self { mask, address }
    }

    /// Bits 8 to 11: the access key, 0 to 15.
    #[must_use]
    pub const fn key(self) -> u8 {
        nibble(self.mask & KEY, 52)
    }

    /// The same PSW with the low four bits of `key` as access key.
    #[must_use]
    pub fn with_key(self, key: u8) -> Self {
        self.with_field(KEY, u64::from(key) << 52)
    }

    /// Bits 16 and 17: the address space.
    #[must_use]
    pub const fn address_space(self) -> AddressSpace {
        match nibble(self.mask & ADDRESS_SPACE, 46) {
            0 => AddressSpace::Primary,
            1 => AddressSpace::AccessRegister,
            2 => AddressSpace::Secondary,
            _ => AddressSpace::Home,
        }
    }

    /// The same PSW with this address space.
    #[must_use]
    pub const fn with_address_space(self, space: AddressSpace) -> Self {
        let bits = match space {
            AddressSpace::Primary => 0,
            AddressSpace::AccessRegister => 1 << 46,
            AddressSpace::Secondary => 2 << 46,
            AddressSpace::Home => 3 << 46,
        };
        self.with_field(ADDRESS_SPACE, bits)
    }

    /// Bits 18 and 19: the condition code, 0 to 3.
    #[must_use]
    pub const fn condition_code(self) -> u8 {
        nibble(self.mask & CONDITION_CODE, 44)
    }

    /// The same PSW with the low two bits of `code` as condition code.
    #[must_use]
    pub fn with_condition_code(self, code: u8) -> Self {
        self.with_field(CONDITION_CODE, u64::from(code) << 44)
    }

    /// Bits 20 to 23: the program mask.
    #[must_use]
    pub const fn program_mask(self) -> u8 {
        nibble(self.mask & PROGRAM_MASK, 40)
    }

    /// The same PSW with the low four bits of `mask` as program mask.
    #[must_use]
    pub fn with_program_mask(self, mask: u8) -> Self {
        self.with_field(PROGRAM_MASK, u64::from(mask) << 40)
    }

    /// The same PSW with another instruction address.
    #[must_use]
    pub const fn with_address(self, address: u64) -> Self {
        Self { address, ..self }
    }

    /// The 16-byte form.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.mask) << 64 | u128::from(self.address)).to_be_bytes()
    }

    /// The PSW of the 16-byte form.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [m0, m1, m2, m3, m4, m5, m6, m7, a0, a1, a2, a3, a4, a5, a6, a7] = bytes;
        Self {
            mask: u64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]),
            address: u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
        }
    }

    /// The 8-byte form of ESA/390, or `None` when the PSW holds more than that form can: 64-bit
    /// addressing, an address beyond 31 bits, or a bit that is unassigned there.
    #[must_use]
    pub fn to_short(self) -> Option<[u8; 8]> {
        let fits = self.mask & !SHORT_MASK == 0
            && self.address & !SHORT_ADDRESS == 0
            && !self.extended_addressing();
        fits.then(|| (self.mask | SHORT_FORM | self.address).to_be_bytes())
    }

    /// The PSW of the 8-byte form, or `None` when bit 12 is zero, which that form does not admit.
    #[must_use]
    pub const fn from_short(bytes: [u8; 8]) -> Option<Self> {
        let short = u64::from_be_bytes(bytes);
        if short & SHORT_FORM == 0 {
            return None;
        }
        Some(Self { mask: short & SHORT_MASK, address: short & SHORT_ADDRESS })
    }

    const fn with_field(self, field: u64, bits: u64) -> Self {
        Self { mask: self.mask & !field | bits & field, ..self }
    }
}

/// The low four bits of `field` moved right by `shift`.
#[expect(clippy::as_conversions, reason = "four bits")]
const fn nibble(field: u64, shift: u32) -> u8 {
    match field.checked_shr(shift) {
        Some(value) => (value & 0xF) as u8,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_has_the_bits_of_the_manual() {
        let set = |change: fn(Psw) -> Psw| change(Psw::default()).mask;
        assert_eq!(set(|psw| psw.with_event_recording(true)), 1 << (63 - 1));
        assert_eq!(set(|psw| psw.with_translation(true)), 1 << (63 - 5));
        assert_eq!(set(|psw| psw.with_io(true)), 1 << (63 - 6));
        assert_eq!(set(|psw| psw.with_external(true)), 1 << (63 - 7));
        assert_eq!(set(|psw| psw.with_key(0xFF)), 0xF << (63 - 11));
        assert_eq!(set(|psw| psw.with_machine_check(true)), 1 << (63 - 13));
        assert_eq!(set(|psw| psw.with_wait(true)), 1 << (63 - 14));
        assert_eq!(set(|psw| psw.with_problem_state(true)), 1 << (63 - 15));
        assert_eq!(set(|psw| psw.with_address_space(AddressSpace::Home)), 3 << (63 - 17));
        assert_eq!(set(|psw| psw.with_condition_code(0xFF)), 3 << (63 - 19));
        assert_eq!(set(|psw| psw.with_program_mask(0xFF)), 0xF << (63 - 23));
        assert_eq!(set(|psw| psw.with_extended_addressing(true)), 1 << (63 - 31));
        assert_eq!(set(|psw| psw.with_basic_addressing(true)), 1 << (63 - 32));
    }

    #[test]
    fn fields_are_read_back_and_leave_the_others_alone() {
        let psw = Psw::new(u64::MAX, 0x1234).with_key(9).with_condition_code(2).with_wait(false);
        let psw = psw.with_program_mask(5).with_address_space(AddressSpace::Secondary);
        assert_eq!((psw.key(), psw.condition_code(), psw.program_mask()), (9, 2, 5));
        assert_eq!(psw.address_space(), AddressSpace::Secondary);
        assert!(!psw.wait() && psw.problem_state() && psw.translation() && psw.io());
        assert_eq!(psw.address, 0x1234);
    }

    #[test]
    fn long_form_is_big_endian() {
        let psw = Psw::new(0x0102_0304_0506_0708, 0x1112_1314_1516_1718);
        let bytes = psw.to_bytes();
        assert_eq!(bytes[..9], [1, 2, 3, 4, 5, 6, 7, 8, 0x11]);
        assert_eq!(Psw::from_bytes(bytes), psw);
    }

    #[test]
    fn short_form_sets_bit_12_and_joins_mode_and_address() {
        let psw = Psw::new(0x0000_0000_8000_0000, 0x0001_0000);
        assert_eq!(psw.to_short(), Some(0x0008_0000_8001_0000_u64.to_be_bytes()));
        assert_eq!(Psw::from_short(0x0008_0000_8001_0000_u64.to_be_bytes()), Some(psw));
        assert_eq!(Psw::from_short([0; 8]), None);
    }

    #[test]
    fn short_form_refuses_what_it_cannot_hold() {
        assert_eq!(Psw::new(0x0000_0001_8000_0000, 0).to_short(), None);
        assert_eq!(Psw::new(0, 0x8000_0000).to_short(), None);
        assert_eq!(Psw::new(1, 0).to_short(), None);
        assert_eq!(Psw::new(SHORT_FORM, 0).to_short(), None);
    }
}
