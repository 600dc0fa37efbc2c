//! Store-status areas: the layouts in which a machine itself saves a processor.
//!
//! Source of truth: z/Architecture Principles of Operation, chapter "Control" (store status, SIGP
//! store additional status); ESA/390 Principles of Operation (assigned storage locations).
//!
//! Invariants: bytes that a layout does not assign are left as they are; an import changes only
//! what the area holds. Deliberately not here: the absolute addresses at which a machine keeps the
//! areas, and the architecture-mode identification at X'A3'.

use super::{image::ProcessorImage, psw::Psw};
use crate::wire::blocks::FieldReader;
use core::fmt;

/// Bytes of the z/Architecture status, at absolute X'1200' or where SIGP was told.
pub const STATUS_BYTES: usize = 512;

/// Bytes of the additional status that has room for guarded storage.
pub const ADDITIONAL_STATUS_BYTES: usize = 2048;

const FLOATING_AT: usize = 0x000;
const GENERAL_AT: usize = 0x080;
const PSW_AT: usize = 0x100;
const PREFIX_AT: usize = 0x118;
const FLOATING_CONTROL_AT: usize = 0x11C;
const TOD_PROGRAMMABLE_AT: usize = 0x124;
const CPU_TIMER_AT: usize = 0x128;
const CLOCK_COMPARATOR_AT: usize = 0x130;
const ACCESS_AT: usize = 0x140;
const CONTROL_AT: usize = 0x180;

const GUARDED_STORAGE_AT: usize = 0x400;

const ESA_CPU_TIMER_AT: usize = 0x0D8;
const ESA_CLOCK_COMPARATOR_AT: usize = 0x0E0;
const ESA_PSW_AT: usize = 0x100;
const ESA_PREFIX_AT: usize = 0x108;
const ESA_ACCESS_AT: usize = 0x120;
const ESA_FLOATING_AT: usize = 0x160;
const ESA_GENERAL_AT: usize = 0x180;
const ESA_CONTROL_AT: usize = 0x1C0;

/// Why a status cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StatusError {
    /// The PSW has no short form, so the processor is not in ESA/390 mode.
    NotEsa,
}

impl fmt::Display for StatusError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotEsa => "PSW has no short form",
        })
    }
}

impl core::error::Error for StatusError {}

impl ProcessorImage {
    /// Stores the status in the layout of z/Architecture. The clock comparator loses its last 8
    /// bits, as the layout has it.
    pub fn store_status(&self, area: &mut [u8; STATUS_BYTES]) {
        let floating = self.vector.iter().take(16).map(|register| left_half(*register));
        put_all(area, FLOATING_AT, floating.map(u64::to_be_bytes));
        put_all(area, GENERAL_AT, self.general.iter().map(|word| word.to_be_bytes()));
        put(area, PSW_AT, &self.psw.to_bytes());
        put(area, PREFIX_AT, &self.prefix.to_be_bytes());
        put(area, FLOATING_CONTROL_AT, &self.floating_control.to_be_bytes());
        put(area, TOD_PROGRAMMABLE_AT, &self.tod_programmable.to_be_bytes());
        put(area, CPU_TIMER_AT, &self.cpu_timer.to_be_bytes());
        put(area, CLOCK_COMPARATOR_AT, &(self.clock_comparator >> 8).to_be_bytes());
        put_all(area, ACCESS_AT, self.access.iter().map(|word| word.to_be_bytes()));
        put_all(area, CONTROL_AT, self.control.iter().map(|word| word.to_be_bytes()));
    }

    /// Loads what a status in the layout of z/Architecture holds, and leaves the rest.
    pub fn load_status(&mut self, area: &[u8; STATUS_BYTES]) {
        for (register, value) in self.vector.iter_mut().zip(at(area, FLOATING_AT).u64s::<16>()) {
            *register = u128::from(value) << 64 | *register & u128::from(u64::MAX);
        }
        self.general = at(area, GENERAL_AT).u64s();
        self.psw = Psw::from_bytes(at(area, PSW_AT).bytes());
        self.prefix = at(area, PREFIX_AT).u32();
        self.floating_control = at(area, FLOATING_CONTROL_AT).u32();
        self.tod_programmable = at(area, TOD_PROGRAMMABLE_AT).u32();
        self.cpu_timer = i64::from_be_bytes(at(area, CPU_TIMER_AT).bytes());
        self.clock_comparator = at(area, CLOCK_COMPARATOR_AT).u64() << 8;
        self.access = at(area, ACCESS_AT).u32s();
        self.control = at(area, CONTROL_AT).u64s();
    }

    /// The image of a stopped processor of which only this status is known.
    #[must_use]
    pub fn from_status(area: &[u8; STATUS_BYTES]) -> Self {
        let mut image = Self::initial();
        image.load_status(area);
        image
    }

    /// Stores the additional status: vector registers, and guarded-storage controls.
    pub fn store_additional_status(&self, area: &mut [u8; ADDITIONAL_STATUS_BYTES]) {
        put_all(area, 0, self.vector.iter().map(|register| register.to_be_bytes()));
        let guarded = self.guarded_storage.iter().map(|word| word.to_be_bytes());
        put_all(area, GUARDED_STORAGE_AT, guarded);
    }

    /// Loads what an additional status holds, and leaves the rest.
    pub fn load_additional_status(&mut self, area: &[u8; ADDITIONAL_STATUS_BYTES]) {
        let mut registers = at(area, 0);
        self.vector = core::array::from_fn(|_| u128::from_be_bytes(registers.bytes()));
        self.guarded_storage = at(area, GUARDED_STORAGE_AT).u64s();
    }

    /// Stores the status in the layout of ESA/390, in the first 512 bytes of the prefix area: the
    /// right halves of registers, floating-point registers 0, 2, 4 and 6.
    ///
    /// # Errors
    /// Fails when the PSW has no 8-byte form; the area is unchanged then.
    pub fn store_esa_status(&self, area: &mut [u8; STATUS_BYTES]) -> Result<(), StatusError> {
        let psw = self.psw.to_short().ok_or(StatusError::NotEsa)?;
        put(area, ESA_CPU_TIMER_AT, &self.cpu_timer.to_be_bytes());
        put(area, ESA_CLOCK_COMPARATOR_AT, &self.clock_comparator.to_be_bytes());
        put(area, ESA_PSW_AT, &psw);
        put(area, ESA_PREFIX_AT, &self.prefix.to_be_bytes());
        put_all(area, ESA_ACCESS_AT, self.access.iter().map(|word| word.to_be_bytes()));
        let floating = self.vector.iter().step_by(2).take(4).map(|register| left_half(*register));
        put_all(area, ESA_FLOATING_AT, floating.map(u64::to_be_bytes));
        put_all(area, ESA_GENERAL_AT, self.general.iter().map(|word| right_half(*word)));
        put_all(area, ESA_CONTROL_AT, self.control.iter().map(|word| right_half(*word)));
        Ok(())
    }
}

/// The floating-point register within a vector register.
const fn left_half(register: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = register.to_be_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Bits 32 to 63 of a register.
const fn right_half(register: u64) -> [u8; 4] {
    let [.., a, b, c, d] = register.to_be_bytes();
    [a, b, c, d]
}

/// Writes `bytes` at an offset of a layout, which the areas are long enough for.
fn put(area: &mut [u8], offset: usize, bytes: &[u8]) {
    let field = area.iter_mut().skip(offset);
    field.zip(bytes).for_each(|(target, byte)| *target = *byte);
}

/// Writes fields of one width one behind the other.
fn put_all<const N: usize>(area: &mut [u8], offset: usize, fields: impl Iterator<Item = [u8; N]>) {
    let field = area.iter_mut().skip(offset);
    field.zip(fields.flatten()).for_each(|(target, byte)| *target = byte);
}

/// A reader at an offset of a layout, which the areas are long enough for.
fn at(area: &[u8], offset: usize) -> FieldReader<'_> {
    FieldReader::new(area.get(offset..).unwrap_or(&[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ProcessorImage {
        let mut image = ProcessorImage::initial();
        image.psw = Psw::new(0x0705_0001_8000_0000, 0x1234_5678_9ABC);
        for (n, register) in (0_u64..).zip(&mut image.general) {
            *register = 0x1111_0000_2222_0000 + n;
        }
        for (n, register) in (0_u32..).zip(&mut image.access) {
            *register = 0x3333_0000 + n;
        }
        for (n, register) in (0_u64..).zip(&mut image.control) {
            *register = 0x4444_0000_5555_0000 + n;
        }
        for (n, register) in (0_u128..).zip(&mut image.vector) {
            *register = (0x6666_0000 + n) << 64 | (0x7777_0000 + n);
        }
        image.guarded_storage = [1, 2, 3, 4];
        image.prefix = 0x0008_0000;
        image.floating_control = 0xF800_0100;
        image.tod_programmable = 0x1357;
        image.cpu_timer = -5;
        image.clock_comparator = 0x0102_0304_0506_0700;
        image
    }

    #[test]
    fn status_lies_at_the_offsets_of_the_manual() {
        let mut area = [0xEE; STATUS_BYTES];
        image().store_status(&mut area);
        assert_eq!(area[0x078..0x080], 0x6666_000F_u64.to_be_bytes());
        assert_eq!(area[0x080..0x088], 0x1111_0000_2222_0000_u64.to_be_bytes());
        assert_eq!(area[0x108..0x110], 0x1234_5678_9ABC_u64.to_be_bytes());
        assert_eq!(area[0x118..0x11C], [0, 8, 0, 0]);
        assert_eq!(area[0x11C..0x120], [0xF8, 0, 1, 0]);
        assert_eq!(area[0x124..0x128], [0, 0, 0x13, 0x57]);
        assert_eq!(area[0x128..0x130], (-5_i64).to_be_bytes());
        assert_eq!(area[0x130..0x138], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(area[0x17C..0x180], 0x3333_000F_u32.to_be_bytes());
        assert_eq!(area[0x1F8..0x200], 0x4444_0000_5555_000F_u64.to_be_bytes());
    }

    #[test]
    fn status_leaves_unassigned_bytes_alone() {
        let mut area = [0xEE; STATUS_BYTES];
        image().store_status(&mut area);
        for range in [0x110..0x118, 0x120..0x124, 0x138..0x140] {
            assert!(area[range.clone()].iter().all(|byte| *byte == 0xEE), "{range:x?}");
        }
    }

    #[test]
    fn both_statuses_bring_back_what_they_hold() {
        let (mut status, mut additional) = ([0; STATUS_BYTES], [0; ADDITIONAL_STATUS_BYTES]);
        image().store_status(&mut status);
        image().store_additional_status(&mut additional);
        let mut loaded = ProcessorImage::from_status(&status);
        assert_eq!(loaded.vector[3], 0x6666_0003 << 64);
        loaded.load_additional_status(&additional);
        assert_eq!(loaded, image());
    }

    #[test]
    fn loading_a_status_keeps_the_right_halves_of_vector_registers() {
        let mut status = [0; STATUS_BYTES];
        image().store_status(&mut status);
        let mut loaded = ProcessorImage::initial();
        loaded.vector[2] = 9;
        loaded.vector[16] = 7;
        loaded.load_status(&status);
        assert_eq!(loaded.vector[2], 0x6666_0002 << 64 | 9);
        assert_eq!(loaded.vector[16], 7);
    }

    #[test]
    fn additional_status_has_vectors_first_and_guarded_storage_behind_1_kib() {
        let mut area = [0; ADDITIONAL_STATUS_BYTES];
        image().store_additional_status(&mut area);
        assert_eq!(area[0x1F0..0x200], image().vector[31].to_be_bytes());
        assert_eq!(area[0x400..0x408], 1_u64.to_be_bytes());
        assert_eq!(area[0x418..0x420], 4_u64.to_be_bytes());
        assert!(area[0x200..0x400].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn esa_status_lies_in_the_prefix_area() {
        let mut esa = image();
        esa.psw = Psw::new(0x0700_0000_8000_0000, 0x1_0000);
        let mut area = [0xEE; STATUS_BYTES];
        assert_eq!(esa.store_esa_status(&mut area), Ok(()));
        assert!(area[..0xD8].iter().all(|byte| *byte == 0xEE));
        assert_eq!(area[0x0D8..0x0E0], (-5_i64).to_be_bytes());
        assert_eq!(area[0x0E0..0x0E8], 0x0102_0304_0506_0700_u64.to_be_bytes());
        assert_eq!(area[0x100..0x108], 0x0708_0000_8001_0000_u64.to_be_bytes());
        assert_eq!(area[0x108..0x10C], [0, 8, 0, 0]);
        assert_eq!(area[0x15C..0x160], 0x3333_000F_u32.to_be_bytes());
        assert_eq!(area[0x178..0x180], 0x6666_0006_u64.to_be_bytes());
        assert_eq!(area[0x1BC..0x1C0], 0x2222_000F_u32.to_be_bytes());
        assert_eq!(area[0x1FC..0x200], 0x5555_000F_u32.to_be_bytes());
    }

    #[test]
    fn esa_status_refuses_a_psw_with_64_bit_addresses() {
        let mut area = [0xEE; STATUS_BYTES];
        assert_eq!(image().store_esa_status(&mut area), Err(StatusError::NotEsa));
        assert_eq!(area, [0xEE; STATUS_BYTES]);
    }
}
