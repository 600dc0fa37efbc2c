//! The state of a VM and its legal moves.
//!
//! Source of truth: VM2000 manual, "VM states" (INIT-ONLY, RUNNING, IN HOLD, DOWN), MIGRATE-VM
//! (suffix `(MIGR)`, target state `SETUP(MIGR)`), "Device configuration" (suffix `(DIFF)`) and the
//! list of commands that are rejected with VMS3042 while a VM is being migrated. Invariant: a VM
//! with a migration mark changes its activity by the migration alone. Deliberately not here: the
//! wait states of VM2000's administrators, of which `IN HOLD` is the sum.

use core::fmt;

/// What a VM is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Activity {
    /// Initialized, no guest started.
    InitOnly,
    /// The guest runs.
    Running,
    /// The guest is held by an administrator.
    InHold,
    /// The guest has ended.
    Down,
}

impl Activity {
    /// Every activity.
    pub const ALL: [Self; 4] = [Self::InitOnly, Self::Running, Self::InHold, Self::Down];

    /// The number on the wire; zero is none.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::InitOnly => 1,
            Self::Running => 2,
            Self::InHold => 3,
            Self::Down => 4,
        }
    }

    /// The activity of this number, or `None`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|activity| activity.code() == code)
    }

    /// How SHOW commands print it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::InitOnly => "INIT-ONLY",
            Self::Running => "RUNNING",
            Self::InHold => "IN HOLD",
            Self::Down => "DOWN",
        }
    }
}

/// Whether a VM is part of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MigrationMark {
    /// It is not.
    None,
    /// It is being moved away: `(MIGR)`.
    Outgoing,
    /// It is being set up here: `SETUP(MIGR)`.
    Incoming,
}

/// Why a state does not change; it is as it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StateError {
    /// The VM is being migrated (VMS3042).
    Migrating,
    /// The move has no meaning for what the VM is doing.
    Illegal,
}

impl fmt::Display for StateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Migrating => "the VM is being migrated",
            Self::Illegal => "the VM's state does not admit this",
        })
    }
}

impl core::error::Error for StateError {}

/// The state of a VM: activity, migration mark, and whether its I/O configuration differs from
/// that of the SU on which it was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VmState {
    activity: Activity,
    mark: MigrationMark,
    diff: bool,
}

impl VmState {
    /// An unmarked state.
    #[must_use]
    pub const fn new(activity: Activity) -> Self {
        Self { activity, mark: MigrationMark::None, diff: false }
    }

    /// The same with the suffix `(DIFF)` or without.
    #[must_use]
    pub const fn with_diff(self, diff: bool) -> Self {
        Self { diff, ..self }
    }

    /// What the VM is doing.
    #[must_use]
    pub const fn activity(&self) -> Activity {
        self.activity
    }

    /// Whether it is part of a migration.
    #[must_use]
    pub const fn mark(&self) -> MigrationMark {
        self.mark
    }

    /// Whether its I/O configuration differs.
    #[must_use]
    pub const fn is_diff(&self) -> bool {
        self.diff
    }

    /// START-VM: INIT-ONLY or DOWN to RUNNING.
    ///
    /// # Errors
    /// `Migrating` or `Illegal`.
    pub fn start_guest(self) -> Result<Self, StateError> {
        self.change(&[Activity::InitOnly, Activity::Down], Activity::Running)
    }

    /// HOLD-VM: RUNNING to IN HOLD.
    ///
    /// # Errors
    /// `Migrating` or `Illegal`.
    pub fn hold(self) -> Result<Self, StateError> {
        self.change(&[Activity::Running], Activity::InHold)
    }

    /// RESUME-VM: IN HOLD to RUNNING.
    ///
    /// # Errors
    /// `Migrating` or `Illegal`.
    pub fn resume(self) -> Result<Self, StateError> {
        self.change(&[Activity::InHold], Activity::Running)
    }

    /// The guest has ended: RUNNING or IN HOLD to DOWN.
    ///
    /// # Errors
    /// `Migrating` or `Illegal`.
    pub fn go_down(self) -> Result<Self, StateError> {
        self.change(&[Activity::Running, Activity::InHold], Activity::Down)
    }

    /// A migration begins, or its mark is taken back by `MigrationMark::None`.
    ///
    /// # Errors
    /// `Migrating` when the VM has a mark already.
    pub fn with_mark(self, mark: MigrationMark) -> Result<Self, StateError> {
        if mark != MigrationMark::None && self.mark != MigrationMark::None {
            return Err(StateError::Migrating);
        }
        Ok(Self { mark, ..self })
    }

    /// An incoming VM has arrived and does what it did before.
    ///
    /// # Errors
    /// `Illegal` when the VM is not an incoming one.
    pub fn arrive(self, activity: Activity) -> Result<Self, StateError> {
        if self.mark != MigrationMark::Incoming {
            return Err(StateError::Illegal);
        }
        Ok(Self { activity, mark: MigrationMark::None, ..self })
    }

    fn change(self, from: &[Activity], to: Activity) -> Result<Self, StateError> {
        if self.mark != MigrationMark::None {
            return Err(StateError::Migrating);
        }
        if !from.contains(&self.activity) {
            return Err(StateError::Illegal);
        }
        Ok(Self { activity: to, ..self })
    }
}

impl fmt::Display for VmState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mark {
            MigrationMark::Incoming => formatter.write_str("SETUP(MIGR)"),
            MigrationMark::None | MigrationMark::Outgoing => {
                formatter.write_str(self.activity.text())?;
                if self.diff {
                    formatter.write_str("(DIFF)")?;
                }
                if self.mark == MigrationMark::Outgoing {
                    formatter.write_str("(MIGR)")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    type Move = fn(VmState) -> Result<VmState, StateError>;

    const MOVES: [(Move, &[(Activity, Activity)]); 4] = [
        (
            VmState::start_guest,
            &[(Activity::InitOnly, Activity::Running), (Activity::Down, Activity::Running)],
        ),
        (VmState::hold, &[(Activity::Running, Activity::InHold)]),
        (VmState::resume, &[(Activity::InHold, Activity::Running)]),
        (
            VmState::go_down,
            &[(Activity::Running, Activity::Down), (Activity::InHold, Activity::Down)],
        ),
    ];

    #[test]
    fn each_move_is_legal_from_its_own_states_alone() {
        for (perform, legal) in MOVES {
            for activity in Activity::ALL {
                let to = legal.iter().find(|(from, _)| *from == activity).map(|(_, to)| *to);
                let moved = perform(VmState::new(activity)).map(|state| state.activity());
                assert_eq!(moved, to.ok_or(StateError::Illegal));
            }
        }
    }

    #[test]
    fn a_marked_vm_takes_no_command() {
        for mark in [MigrationMark::Outgoing, MigrationMark::Incoming] {
            for activity in Activity::ALL {
                let state = VmState::new(activity).with_mark(mark).unwrap();
                for (perform, _) in MOVES {
                    assert_eq!(perform(state), Err(StateError::Migrating));
                }
                assert_eq!(state.with_mark(MigrationMark::Outgoing), Err(StateError::Migrating));
                assert_eq!(state.with_mark(MigrationMark::None), Ok(VmState::new(activity)));
            }
        }
    }

    #[test]
    fn only_an_incoming_vm_arrives() {
        let incoming = VmState::new(Activity::InitOnly).with_mark(MigrationMark::Incoming).unwrap();
        assert_eq!(incoming.arrive(Activity::Running), Ok(VmState::new(Activity::Running)));
        assert_eq!(
            VmState::new(Activity::Running).arrive(Activity::Running),
            Err(StateError::Illegal)
        );
    }

    #[test]
    fn states_print_as_show_commands_print_them() {
        let running = VmState::new(Activity::Running);
        let outgoing = |state: VmState| state.with_mark(MigrationMark::Outgoing).unwrap();
        assert_eq!(running.to_string(), "RUNNING");
        assert_eq!(outgoing(running).to_string(), "RUNNING(MIGR)");
        assert_eq!(running.with_diff(true).to_string(), "RUNNING(DIFF)");
        assert_eq!(outgoing(VmState::new(Activity::InHold)).to_string(), "IN HOLD(MIGR)");
        let incoming = running.with_mark(MigrationMark::Incoming).unwrap();
        assert_eq!(incoming.to_string(), "SETUP(MIGR)");
    }
}
