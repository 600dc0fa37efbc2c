//! Wire form of a processor image: one versioned block for each group of registers.
//!
//! Source of truth: PROTOCOL.md ("Processor image"); [`crate::wire::blocks`] has the rules.
//!
//! Invariants: the number of a block is never used for another purpose, and a new block gets the
//! next one. Blocks of optional facilities are sent only when the guest has used the facility, so
//! that a target without it takes every guest that does not need it. Deliberately not here:
//! whether the hardware of the target has a facility, which the port says when it loads the image.

use super::{
    image::{CpuState, MachineCheck, ProcessorImage, TodEpoch},
    psw::Psw,
};
use crate::{
    limits::PROCESSOR_BYTES_MAX,
    wire::{
        Writer,
        blocks::{
            BLOCK_HEAD_BYTES, BlockHead, BlockReader, BlockWriter, FieldReader, ImageError,
            MUST_UNDERSTAND,
        },
    },
};
use static_assertions::const_assert;

/// Version of every block so far.
const VERSION: u16 = 1;

/// The blocks of an image, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Execution,
    General,
    Access,
    Control,
    Vector,
    FloatingControl,
    Clocks,
    Tod,
    Local,
    ServiceSignal,
    Pfault,
    GuardedStorage,
    RuntimeInstrumentation,
    ExecuteTarget,
    Speculation,
    ControlProgram,
    MalfunctionAlerts,
    MachineCheck,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Execution,
        Self::General,
        Self::Access,
        Self::Control,
        Self::Vector,
        Self::FloatingControl,
        Self::Clocks,
        Self::Tod,
        Self::Local,
        Self::ServiceSignal,
        Self::Pfault,
        Self::GuardedStorage,
        Self::RuntimeInstrumentation,
        Self::ExecuteTarget,
        Self::Speculation,
        Self::ControlProgram,
        Self::MalfunctionAlerts,
        Self::MachineCheck,
    ];

    /// Number, and bytes of the value.
    const fn layout(self) -> (u16, usize) {
        match self {
            Self::Execution => (1, 18),
            Self::General => (2, 128),
            Self::Access => (3, 64),
            Self::Control => (4, 128),
            Self::Vector => (5, 512),
            Self::FloatingControl => (6, 4),
            Self::Clocks => (7, 40),
            Self::Tod => (8, 9),
            Self::Local => (9, 12),
            Self::ServiceSignal => (10, 4),
            Self::Pfault => (11, 24),
            Self::GuardedStorage => (12, 32),
            Self::RuntimeInstrumentation => (13, 64),
            Self::ExecuteTarget => (14, 8),
            Self::Speculation => (15, 17),
            Self::ControlProgram => (16, 8),
            Self::MalfunctionAlerts => (17, 8),
            Self::MachineCheck => (18, 20),
        }
    }

    const fn head(self) -> BlockHead {
        let (number, length) = self.layout();
        BlockHead { tag: number | MUST_UNDERSTAND, version: VERSION, length }
    }

    fn known(number: u16, version: u16) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.layout().0 == number);
        known.filter(|_| version == VERSION)
    }

    /// Whether every image has the block. Images of former versions lack what is added later, so
    /// the set of these blocks does not grow.
    const fn is_mandatory(self) -> bool {
        self.layout().0 <= Self::Local.layout().0
    }
}

/// The longest encoding: every block.
const fn encoded_bytes_max() -> usize {
    let mut total: usize = 0;
    let mut kinds: &[Kind] = &Kind::ALL;
    while let [kind, rest @ ..] = kinds {
        total = total.saturating_add(BLOCK_HEAD_BYTES).saturating_add(kind.layout().1);
        kinds = rest;
    }
    total
}

const_assert!(encoded_bytes_max() <= PROCESSOR_BYTES_MAX);

impl ProcessorImage {
    /// Writes the encoding to the front of `target` and says how long it is.
    ///
    /// # Errors
    /// Fails when `target` is too short, which [`PROCESSOR_BYTES_MAX`] never is.
    pub fn emit(&self, target: &mut [u8]) -> Result<usize, ImageError> {
        let mut writer = BlockWriter::new(target);
        for kind in Kind::ALL {
            if self.uses(kind) {
                writer.write(kind.head(), |value| self.write(kind, value))?;
            }
        }
        Ok(writer.length())
    }

    /// Reads an encoding that fills `bytes` exactly.
    ///
    /// # Errors
    /// Names the block that is unknown, truncated, of another length, there twice, out of order,
    /// missing, or without meaning.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        if bytes.len() > PROCESSOR_BYTES_MAX {
            return Err(ImageError::TooLong);
        }
        let mut image = Self::initial();
        let mut mandatory = Kind::ALL.into_iter().filter(|kind| kind.is_mandatory());
        let mut reader = BlockReader::new(bytes);
        while let Some(block) = reader.next_block()? {
            let Some(kind) = Kind::known(block.number(), block.version) else {
                block.skip()?;
                continue;
            };
            // Numbers ascend, so a mandatory block that is passed over does not come any more.
            if kind.is_mandatory() {
                missing_unless(mandatory.next(), Some(kind))?;
            }
            let mut value = block.fields(kind.head().length)?;
            if !image.read(kind, &mut value) {
                return Err(ImageError::Invalid(block.tag));
            }
        }
        missing_unless(mandatory.next(), None)?;
        Ok(image)
    }

    /// Whether the image cannot do without the block: it is mandatory, or its state is not the one
    /// that a reset gives.
    fn uses(&self, kind: Kind) -> bool {
        match kind {
            Kind::Execution
            | Kind::General
            | Kind::Access
            | Kind::Control
            | Kind::Vector
            | Kind::FloatingControl
            | Kind::Clocks
            | Kind::Tod
            | Kind::Local => true,
            Kind::ServiceSignal => self.service_signal.is_some(),
            Kind::Pfault => {
                (self.pfault_token, self.pfault_select, self.pfault_compare) != (u64::MAX, 0, 0)
            }
            Kind::GuardedStorage => self.guarded_storage != [0; 4],
            Kind::RuntimeInstrumentation => self.runtime_instrumentation != [0; 64],
            Kind::ExecuteTarget => self.execute_target != 0,
            Kind::Speculation => self.prediction_blocked || self.etoken != [0; 2],
            Kind::ControlProgram => self.control_program != 0,
            Kind::MalfunctionAlerts => self.malfunction_alerts != 0,
            Kind::MachineCheck => self.machine_check != MachineCheck::NONE,
        }
    }

    fn write(&self, kind: Kind, value: &mut Writer<'_>) {
        match kind {
            Kind::Execution => {
                value.bytes(&self.psw.to_bytes());
                value.u8(self.state.code());
                value.u8(self.sigp_order);
            }
            Kind::General => self.general.iter().for_each(|word| value.u64(*word)),
            Kind::Access => self.access.iter().for_each(|word| value.u32(*word)),
            Kind::Control => self.control.iter().for_each(|word| value.u64(*word)),
            Kind::Vector => {
                self.vector.iter().for_each(|register| value.bytes(&register.to_be_bytes()));
            }
            Kind::FloatingControl => value.u32(self.floating_control),
            Kind::Clocks => {
                value.u32(self.prefix);
                value.u32(self.tod_programmable);
                value.bytes(&self.cpu_timer.to_be_bytes());
                value.u64(self.clock_comparator);
                value.u64(self.breaking_event);
                value.u64(self.program_parameter);
            }
            Kind::Tod => {
                value.bytes(&self.tod_epoch.index.to_be_bytes());
                value.u64(self.tod_epoch.difference);
            }
            Kind::Local => {
                value.u8(u8::from(self.external_call.is_some()));
                value.u16(self.external_call.unwrap_or(0));
                value.u64(self.emergency_signals);
                value.u8(u8::from(self.restart_pending));
            }
            Kind::ServiceSignal => value.u32(self.service_signal.unwrap_or(0)),
            Kind::Pfault => {
                value.u64(self.pfault_token);
                value.u64(self.pfault_select);
                value.u64(self.pfault_compare);
            }
            Kind::GuardedStorage => {
                self.guarded_storage.iter().for_each(|word| value.u64(*word));
            }
            Kind::RuntimeInstrumentation => value.bytes(&self.runtime_instrumentation),
            Kind::ExecuteTarget => value.u64(self.execute_target),
            Kind::Speculation => {
                value.u8(u8::from(self.prediction_blocked));
                self.etoken.iter().for_each(|word| value.u64(*word));
            }
            Kind::ControlProgram => value.u64(self.control_program),
            Kind::MalfunctionAlerts => value.u64(self.malfunction_alerts),
            Kind::MachineCheck => self.machine_check.write(value),
        }
    }

    /// Reads the value of one block; `false` when it holds something that has no meaning.
    fn read(&mut self, kind: Kind, value: &mut FieldReader<'_>) -> bool {
        match kind {
            Kind::Execution => {
                self.psw = Psw::from_bytes(value.bytes());
                let Some(state) = CpuState::from_code(value.u8()) else {
                    return false;
                };
                self.state = state;
                self.sigp_order = value.u8();
            }
            Kind::General => self.general = value.u64s(),
            Kind::Access => self.access = value.u32s(),
            Kind::Control => self.control = value.u64s(),
            Kind::Vector => {
                self.vector = core::array::from_fn(|_| u128::from_be_bytes(value.bytes()));
            }
            Kind::FloatingControl => self.floating_control = value.u32(),
            Kind::Clocks => {
                self.prefix = value.u32();
                self.tod_programmable = value.u32();
                self.cpu_timer = i64::from_be_bytes(value.bytes());
                self.clock_comparator = value.u64();
                self.breaking_event = value.u64();
                self.program_parameter = value.u64();
            }
            Kind::Tod => {
                let index = i8::from_be_bytes(value.bytes());
                self.tod_epoch = TodEpoch { index, difference: value.u64() };
            }
            Kind::Local => {
                self.external_call = match (value.u8(), value.u16()) {
                    (0, 0) => None,
                    (1, address) => Some(address),
                    _ => return false,
                };
                self.emergency_signals = value.u64();
                return read_flag(value, &mut self.restart_pending);
            }
            Kind::ServiceSignal => self.service_signal = Some(value.u32()),
            Kind::Pfault => {
                self.pfault_token = value.u64();
                self.pfault_select = value.u64();
                self.pfault_compare = value.u64();
            }
            Kind::GuardedStorage => self.guarded_storage = value.u64s(),
            Kind::RuntimeInstrumentation => self.runtime_instrumentation = value.bytes(),
            Kind::ExecuteTarget => self.execute_target = value.u64(),
            Kind::Speculation => {
                let meaningful = read_flag(value, &mut self.prediction_blocked);
                self.etoken = value.u64s();
                return meaningful;
            }
            Kind::ControlProgram => self.control_program = value.u64(),
            Kind::MalfunctionAlerts => self.malfunction_alerts = value.u64(),
            Kind::MachineCheck => self.machine_check = MachineCheck::read(value),
        }
        true
    }
}

impl MachineCheck {
    pub(crate) fn write(self, value: &mut Writer<'_>) {
        value.u64(self.code);
        value.u64(self.address);
        value.u32(self.damage);
    }

    pub(crate) fn read(value: &mut FieldReader<'_>) -> Self {
        Self { code: value.u64(), address: value.u64(), damage: value.u32() }
    }
}

/// Fails when the next mandatory block is another one than the one that came.
fn missing_unless(due: Option<Kind>, came: Option<Kind>) -> Result<(), ImageError> {
    match due {
        Some(kind) if due != came => Err(ImageError::Missing(kind.head().tag)),
        Some(_) | None => Ok(()),
    }
}

/// Reads a byte that is 0 or 1; `false` when it is neither.
fn read_flag(value: &mut FieldReader<'_>, flag: &mut bool) -> bool {
    let byte = value.u8();
    *flag = byte == 1;
    byte <= 1
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
