//! What processors do to one another: SIGNAL PROCESSOR, and what it leaves pending.
//!
//! A processor that is in a step is locked. So what others may see and change of it lies beside
//! it: an order is accepted at once, and carried out by the processor before its next step. Orders
//! with a parameter go only to a stopped processor, and are carried out by the sender.
//!
//! Source of truth: Principles of Operation, chapter "Control" (SIGNAL PROCESSOR).
//!
//! Invariants: one external call, and one emergency signal and alert of each sender, are pending at
//! most; all that is pending is in the image that is captured. The lock of signals is taken last
//! and held shortly. Deliberately not here: interruptions.

use super::{Machine, Storage, lock};
use monitor_core::processor::{CpuState, ProcessorImage, STATUS_BYTES};

/// What other processors see and change of a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals {
    pub(super) state: CpuState,
    /// The order that is accepted and not carried out, or 0.
    pub(super) order: u8,
    pub(super) external_call: Option<u16>,
    /// Bit `n`, from the right, is a signal from CPU address `n`.
    pub(super) emergency: u64,
    /// Bit `n`, from the right, is an alert from CPU address `n`.
    pub(super) malfunction: u64,
    pub(super) restart: bool,
}

impl Signals {
    /// The signals that an image has.
    pub(super) const fn of(image: &ProcessorImage) -> Self {
        Self {
            state: image.state,
            order: image.sigp_order,
            external_call: image.external_call,
            emergency: image.emergency_signals,
            malfunction: image.malfunction_alerts,
            restart: image.restart_pending,
        }
    }

    /// Puts the signals into an image.
    pub(super) const fn put(self, image: &mut ProcessorImage) {
        image.state = self.state;
        image.sigp_order = self.order;
        image.external_call = self.external_call;
        image.emergency_signals = self.emergency;
        image.malfunction_alerts = self.malfunction;
        image.restart_pending = self.restart;
    }

    fn status(&self) -> u32 {
        let stopped = match self.state {
            CpuState::Stopped | CpuState::Load => status::STOPPED,
            CpuState::CheckStop => status::CHECK_STOP,
            CpuState::Operating => 0,
        };
        stopped | if self.external_call.is_some() { status::CALL_PENDING } else { 0 }
    }
}

/// Order codes of SIGNAL PROCESSOR.
pub mod order {
    /// Tells whether the processor is stopped and whether an external call is pending.
    pub const SENSE: u8 = 0x01;
    /// Makes an external call pending.
    pub const EXTERNAL_CALL: u8 = 0x02;
    /// Makes an emergency signal pending.
    pub const EMERGENCY_SIGNAL: u8 = 0x03;
    /// Lets a stopped processor operate.
    pub const START: u8 = 0x04;
    /// Stops the processor.
    pub const STOP: u8 = 0x05;
    /// Makes a restart interruption pending, which a stopped processor takes as well.
    pub const RESTART: u8 = 0x06;
    /// Stops the processor and stores its status at absolute X'1200', and its architecture.
    pub const STOP_AND_STORE_STATUS: u8 = 0x09;
    /// Resets and stops the processor, and clears what an initial reset clears.
    pub const INITIAL_RESET: u8 = 0x0B;
    /// Resets and stops the processor.
    pub const RESET: u8 = 0x0C;
    /// Sets the prefix of a stopped processor.
    pub const SET_PREFIX: u8 = 0x0D;
    /// Stores the status of a stopped processor at an address.
    pub const STORE_STATUS: u8 = 0x0E;
    /// Tells whether the processor runs.
    pub const SENSE_RUNNING: u8 = 0x15;
}

/// Status bits of SIGNAL PROCESSOR.
pub mod status {
    /// The processor does not run.
    pub const NOT_RUNNING: u32 = 0x400;
    /// The order is not for a processor in this state.
    pub const INCORRECT_STATE: u32 = 0x200;
    /// The parameter names no such storage.
    pub const INVALID_PARAMETER: u32 = 0x100;
    /// An external call is pending.
    pub const CALL_PENDING: u32 = 0x80;
    /// The processor is stopped.
    pub const STOPPED: u32 = 0x40;
    /// The processor is in the check-stop state.
    pub const CHECK_STOP: u32 = 0x10;
    /// There is no such order.
    pub const INVALID_ORDER: u32 = 0x02;
}

/// How a signal was answered: the condition code of the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signaled {
    /// 0: the order is accepted.
    Accepted,
    /// 1: it is not, or it was asked for this status.
    Status(u32),
    /// 2: an earlier order is still in progress.
    Busy,
    /// 3: there is no such processor, or it is not attached.
    NotOperational,
}

impl Signaled {
    /// The condition code.
    #[must_use]
    pub const fn condition_code(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::Status(_) => 1,
            Self::Busy => 2,
            Self::NotOperational => 3,
        }
    }

    const fn unless(status: u32) -> Self {
        if status == 0 { Self::Accepted } else { Self::Status(status) }
    }
}

impl Machine {
    /// SIGNAL PROCESSOR of the processor `sender`, which is in a step.
    pub(super) fn signal(&self, sender: u16, address: u16, code: u8, parameter: u64) -> Signaled {
        let signals = self.signals(address).filter(|_| self.makeup.is_attached(address));
        let Some(signals) = signals else {
            return Signaled::NotOperational;
        };
        let mut signals = lock(signals);
        let is_reset = matches!(code, order::RESET | order::INITIAL_RESET);
        if signals.order != 0 && !is_reset {
            return Signaled::Busy;
        }
        if signals.state == CpuState::CheckStop && !is_reset {
            return Signaled::Status(signals.status());
        }
        match code {
            order::SENSE => Signaled::unless(signals.status()),
            order::SENSE_RUNNING if signals.state == CpuState::Operating => Signaled::Accepted,
            order::SENSE_RUNNING => Signaled::Status(status::NOT_RUNNING),
            order::EXTERNAL_CALL if signals.external_call.is_some() => {
                Signaled::Status(status::CALL_PENDING)
            }
            order::EXTERNAL_CALL => {
                signals.external_call = Some(sender);
                Signaled::Accepted
            }
            order::EMERGENCY_SIGNAL => {
                signals.emergency |= bit_of(sender);
                Signaled::Accepted
            }
            order::RESTART => {
                signals.restart = true;
                Signaled::Accepted
            }
            order::START
            | order::STOP
            | order::STOP_AND_STORE_STATUS
            | order::INITIAL_RESET
            | order::RESET => {
                signals.order = code;
                Signaled::Accepted
            }
            order::SET_PREFIX | order::STORE_STATUS if signals.state != CpuState::Stopped => {
                Signaled::Status(status::INCORRECT_STATE)
            }
            order::SET_PREFIX | order::STORE_STATUS => {
                drop(signals);
                self.alter_stopped(address, code, parameter)
            }
            _ => Signaled::Status(status::INVALID_ORDER),
        }
    }

    /// Tells all other processors that this one has gone into the check-stop state.
    pub(super) fn alert(&self, failed: u16) {
        for address in (0..self.processor_count()).filter(|address| *address != failed) {
            if let Some(signals) = self.signals(address) {
                lock(signals).malfunction |= bit_of(failed);
            }
        }
    }

    /// Carries out an order with a parameter. Whoever looks at the stopped processor just now has
    /// it for a moment, which the guest sees as a busy one.
    fn alter_stopped(&self, address: u16, code: u8, parameter: u64) -> Signaled {
        let Some(mut processor) = self.try_processor(address) else {
            return Signaled::Busy;
        };
        let signals = self.signals(address).map(|signals| *lock(signals)).unwrap_or_default();
        if signals.state != CpuState::Stopped || signals.order != 0 {
            return Signaled::Status(status::INCORRECT_STATE);
        }
        let done = if code == order::SET_PREFIX {
            let prefix = parameter as u32 & PREFIX_MASK;
            let exists = is_in_storage(&self.storage, u64::from(prefix), 8192);
            if exists {
                processor.state.prefix = prefix;
            }
            exists
        } else {
            store_status(&processor.state, &self.storage, parameter & STATUS_MASK)
        };
        if done { Signaled::Accepted } else { Signaled::Status(status::INVALID_PARAMETER) }
    }
}

/// The bit of a CPU address, from the right.
fn bit_of(address: u16) -> u64 {
    1_u64.checked_shl(u32::from(address)).unwrap_or(0)
}

/// The bits of a prefix.
pub(super) const PREFIX_MASK: u32 = 0x7FFF_E000;

/// The bits of the address at which a status is stored.
const STATUS_MASK: u64 = 0x7FFF_FE00;

/// Where a status is stored without an address.
const STATUS_AT: u64 = 0x1200;

/// Where the architecture of such a status is told.
const ARCHITECTURE_AT: u64 = 0xA3;

/// That of all processors, z/Architecture.
const ARCHITECTURE: u8 = 1;

/// Stores the status of a processor that stops, and which architecture it has. Where there is no
/// such storage, nobody is told: the order was accepted long before.
pub(super) fn store_status_of_stop(state: &ProcessorImage, storage: &Storage) {
    if store_status(state, storage, STATUS_AT) {
        // Storage that ends behind the status does not end before it.
        let _ = storage.store_bytes(ARCHITECTURE_AT, &[ARCHITECTURE]);
    }
}

/// Stores the status of a processor at an absolute address; `false` when there is no such storage.
fn store_status(state: &ProcessorImage, storage: &Storage, address: u64) -> bool {
    let mut area = [0; STATUS_BYTES];
    let bytes = &mut area;
    storage.load_bytes(address, bytes).is_ok() && {
        state.store_status(bytes);
        storage.store_bytes(address, bytes).is_ok()
    }
}

pub(super) fn is_in_storage(storage: &Storage, address: u64, length: u64) -> bool {
    let bytes = storage.page_count().bytes().get();
    address.checked_add(length).is_some_and(|end| end <= bytes)
}
