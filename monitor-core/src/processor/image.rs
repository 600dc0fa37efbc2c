//! The image of one virtual processor, in the widths of the architecture.
//!
//! Source of truth: z/Architecture Principles of Operation, the chapters named at the fields; SET
//! PREFIX, SIGNAL PROCESSOR and the pfault handshake as the control program knows them.
//!
//! Invariant: nothing that the program of the guest could notice is left out. Deliberately not
//! here: the CPU address, which is the processor's index; the condition code apart from the PSW;
//! interruptions of the clock comparator and the CPU timer, which follow from their values; what is
//! never pending at a stop, since an SU carries it out or tells it at once: an order of SIGNAL
//! PROCESSOR with a parameter, such as set prefix, and the start of a page fault; timing alerts,
//! host alerts and interruptions of a host's own transports, of which no guest has the facility.

use super::psw::Psw;

/// Whether the processor runs ("Control", CPU states).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CpuState {
    /// It executes nothing and takes no interruption except restart.
    #[default]
    Stopped,
    /// It executes instructions, or waits for an interruption.
    Operating,
    /// It is in the course of initial program loading.
    Load,
    /// It has stopped for good after a machine check.
    CheckStop,
}

impl CpuState {
    /// The number of the state on the wire; 0 is none.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stopped => 1,
            Self::Operating => 2,
            Self::Load => 3,
            Self::CheckStop => 4,
        }
    }

    /// The state of this number, or `None`.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Stopped),
            2 => Some(Self::Operating),
            3 => Some(Self::Load),
            4 => Some(Self::CheckStop),
            _ => None,
        }
    }
}

/// The guest's time-of-day clock as its difference to the clock of the SU ("Timing").
///
/// Index and difference are one signed number of 72 bits. Where the clocks of the SUs are not
/// synchronized, the guest's would jump with a move: back it may not, so the monitor that lets the
/// guest go on takes [`Self::resumed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TodEpoch {
    /// The leftmost 8 bits of the difference (multiple-epoch facility).
    pub index: i8,
    /// The other 64 bits, in TOD-clock units: bit 51 is one microsecond.
    pub difference: u64,
}

impl TodEpoch {
    /// The difference by which a clock at `host` shows `guest`.
    #[must_use]
    pub const fn between(host: u64, guest: u64) -> Self {
        let (difference, borrow) = guest.overflowing_sub(host);
        Self { index: if borrow { -1 } else { 0 }, difference }
    }

    /// What the guest's clock shows when the clock of the SU shows `host`.
    #[must_use]
    pub const fn guest_tod(self, host: u64) -> u64 {
        host.wrapping_add(self.difference)
    }

    /// The difference with which a guest goes on where the clock of the SU shows `host`, when it
    /// has last run where it showed `stopped` ([`MachineImage`](crate::vm::MachineImage)): greater
    /// by what the clock here is behind, so that the guest's does not go back. A clock that is not
    /// behind changes nothing, and neither does 0, which says nothing.
    #[must_use]
    pub const fn resumed(self, stopped: u64, host: u64) -> Self {
        /// Half the range of a clock: what is further behind is ahead.
        const AHEAD: u64 = 1 << 63;
        let behind = stopped.wrapping_sub(host);
        if stopped == 0 || behind >= AHEAD {
            return self;
        }
        let (difference, carry) = self.difference.overflowing_add(behind);
        let index = if carry { self.index.wrapping_add(1) } else { self.index };
        Self { index, difference }
    }
}

/// A machine-check interruption that is pending ("Machine-Check Handling"); a channel report is
/// none, it follows from the reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct MachineCheck {
    /// The machine-check-interruption code; with 0 there is nothing pending.
    pub code: u64,
    /// The failing-storage address.
    pub address: u64,
    /// The external-damage code.
    pub damage: u32,
}

impl MachineCheck {
    /// Nothing is pending.
    pub const NONE: Self = Self { code: 0, address: 0, damage: 0 };
}

/// All state of one virtual processor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessorImage {
    /// The program-status word, with the condition code ("Control").
    pub psw: Psw,
    /// Whether the processor runs ("Control", CPU states).
    pub state: CpuState,
    /// The SIGNAL PROCESSOR order that is being executed, or 0 ("Control").
    pub sigp_order: u8,
    /// General registers 0 to 15 ("Organization").
    pub general: [u64; 16],
    /// Access registers 0 to 15 ("Organization").
    pub access: [u32; 16],
    /// Control registers 0 to 15 ("Control").
    pub control: [u64; 16],
    /// Vector registers 0 to 31; the left halves of 0 to 15 are the floating-point registers
    /// ("Organization").
    pub vector: [u128; 32],
    /// Floating-point control register ("Organization").
    pub floating_control: u32,
    /// Prefix: address of the prefix area ("Storage").
    pub prefix: u32,
    /// TOD programmable register ("Timing").
    pub tod_programmable: u32,
    /// CPU timer; an interruption is due while it is negative ("Timing").
    pub cpu_timer: i64,
    /// Clock comparator, all 64 bits ("Timing").
    pub clock_comparator: u64,
    /// Breaking-event-address register ("Program-event recording").
    pub breaking_event: u64,
    /// Program parameter (LOAD PROGRAM PARAMETER).
    pub program_parameter: u64,
    /// The guest's time of day ("Timing").
    pub tod_epoch: TodEpoch,
    /// CPU address of the sender of the one external call that can be pending ("External
    /// interruptions").
    pub external_call: Option<u16>,
    /// Pending emergency signals: bit `n`, from the right, is one from CPU address `n`.
    pub emergency_signals: u64,
    /// Pending malfunction alerts: bit `n`, from the right, is one from CPU address `n`, which has
    /// gone into the check-stop state.
    pub malfunction_alerts: u64,
    /// A pending machine check of this processor alone.
    pub machine_check: MachineCheck,
    /// Whether a restart interruption is pending ("Interruption").
    pub restart_pending: bool,
    /// Parameter of a pending service signal. It belongs to the machine, not to a processor; the
    /// image of processor 0 carries it, and the machine image what waits behind it.
    pub service_signal: Option<u32>,
    /// Token of the pfault handshake (DIAGNOSE X'258'), all ones when there is none.
    pub pfault_token: u64,
    /// Mask of the PSW bits that are compared before a pfault is told.
    pub pfault_select: u64,
    /// Values of the PSW bits that are compared before a pfault is told.
    pub pfault_compare: u64,
    /// Guarded storage: a reserved doubleword, designation, section mask, parameter-list address.
    pub guarded_storage: [u64; 4],
    /// Runtime-instrumentation controls.
    pub runtime_instrumentation: [u8; 64],
    /// The target of an EXECUTE that is in progress, or 0.
    pub execute_target: u64,
    /// Whether branch prediction is blocked.
    pub prediction_blocked: bool,
    /// The two doublewords of the etoken facility.
    pub etoken: [u64; 2],
    /// What the control program has said of itself (DIAGNOSE X'318').
    pub control_program: u64,
}

impl ProcessorImage {
    /// The state after initial CPU reset: stopped, and zero except for control registers 0 and 14,
    /// a breaking-event address of 1, and no pfault handshake.
    #[must_use]
    pub const fn initial() -> Self {
        let mut control = [0; 16];
        let [cr0, .., cr14, _] = &mut control;
        *cr0 = 0xE0;
        *cr14 = 0xC200_0000;
        Self {
            psw: Psw::new(0, 0),
            state: CpuState::Stopped,
            sigp_order: 0,
            general: [0; 16],
            access: [0; 16],
            control,
            vector: [0; 32],
            floating_control: 0,
            prefix: 0,
            tod_programmable: 0,
            cpu_timer: 0,
            clock_comparator: 0,
            breaking_event: 1,
            program_parameter: 0,
            tod_epoch: TodEpoch { index: 0, difference: 0 },
            external_call: None,
            emergency_signals: 0,
            malfunction_alerts: 0,
            machine_check: MachineCheck::NONE,
            restart_pending: false,
            service_signal: None,
            pfault_token: u64::MAX,
            pfault_select: 0,
            pfault_compare: 0,
            guarded_storage: [0; 4],
            runtime_instrumentation: [0; 64],
            execute_target: 0,
            prediction_blocked: false,
            etoken: [0; 2],
            control_program: 0,
        }
    }
}

impl Default for ProcessorImage {
    fn default() -> Self {
        Self::initial()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_reset_sets_two_control_registers() {
        let image = ProcessorImage::initial();
        assert_eq!(image.control[0], 0xE0);
        assert_eq!(image.control[14], 0xC200_0000);
        assert_eq!(image.control.iter().filter(|value| **value != 0).count(), 2);
        assert_eq!(image.state, CpuState::Stopped);
    }

    #[test]
    fn guest_clock_goes_on_from_its_difference() {
        let ahead = TodEpoch::between(1000, 5000);
        assert_eq!((ahead.index, ahead.guest_tod(1001)), (0, 5001));
        let behind = TodEpoch::between(5000, 1000);
        assert_eq!((behind.index, behind.guest_tod(5001)), (-1, 1001));
    }

    #[test]
    fn guest_clock_does_not_go_back_where_the_clock_is_behind() {
        let epoch = TodEpoch::between(0, 700);
        let resumed = epoch.resumed(5000, 2000);
        assert_eq!((resumed.index, resumed.guest_tod(2000)), (0, epoch.guest_tod(5000)));
        for (stopped, host) in [(5000, 5000), (5000, 9000), (0, 9000), (u64::MAX, 3)] {
            assert_eq!(epoch.resumed(stopped, host), epoch);
        }
        // Behind, though both clocks have passed their ends; and a carry into the index.
        assert_eq!(epoch.resumed(2, u64::MAX), TodEpoch { difference: 703, ..epoch });
        let behind = TodEpoch { index: -1, difference: u64::MAX };
        assert_eq!(behind.resumed(5, 3), TodEpoch { index: 0, difference: 1 });
    }

    #[test]
    fn state_codes_are_a_bijection_without_zero() {
        assert_eq!(CpuState::from_code(0), None);
        assert_eq!(CpuState::from_code(5), None);
        for code in 1..=4 {
            assert_eq!(CpuState::from_code(code).map(CpuState::code), Some(code));
        }
    }
}
