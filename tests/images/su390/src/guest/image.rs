//! Capture of the virtual processor into an image, and the way back.
//!
//! Source of truth: `monitor_core::processor`. Invariants: of a stopped processor the image is
//! exact; what this processor has no use for is kept as it came. Deliberately not here: when.

use monitor_core::{ports::ErrorKind, processor::ProcessorImage};

use super::{Execution, Guest};
use crate::arch::registers;

impl Guest {
    /// Writes the state of the processor into `image`.
    pub fn capture(&mut self, image: &mut ProcessorImage) {
        self.charge();
        image.clone_from(&self.state);
        image.general = self.registers.general;
        if self.execution == Execution::Native {
            image.floating_control = registers::save(&mut image.access, &mut image.vector);
        }
    }

    /// Loads the processor from `image`; it does not run before it is resumed.
    ///
    /// # Errors
    /// Fails when the guest has no such prefix area, or the processor lacks registers that the
    /// image uses, or does not take its floating-point control.
    pub fn restore(&mut self, image: &ProcessorImage) -> Result<(), ErrorKind> {
        let has_room = self.execution == Execution::Emulated || registers::has_vectors();
        let right_halves = image.vector.iter().any(|value| value & u128::from(u64::MAX) != 0);
        let upper = image.vector.iter().skip(16).any(|value| *value != 0);
        if !has_room && (right_halves || upper) {
            return Err(ErrorKind::Refused);
        }
        if self.execution == Execution::Native
            && !registers::takes_floating_control(image.floating_control)
        {
            return Err(ErrorKind::Refused);
        }
        if !self.storage.has_prefix_area(image.prefix) {
            return Err(ErrorKind::OutOfRange);
        }
        self.load_state(image);
        Ok(())
    }

    /// As [`Self::restore`], of an image that is known to fit.
    pub(super) fn load_state(&mut self, image: &ProcessorImage) {
        self.state.clone_from(image);
        self.is_started = false;
        self.timing.forget();
        self.registers.general = image.general;
        if self.execution == Execution::Native {
            registers::load(&image.access, &image.vector, image.floating_control);
            registers::admit(image.control[0]);
        }
        self.map_again();
    }
}
