//! The lease of a device: whether this SU may use it for the VM, and since which ownership.
//!
//! Source of truth: VM2000 manual (assignment and attachment of devices); ARCHITECTURE.md,
//! "Devices".
//!
//! Invariants: there is one lease for each device and SU, which nobody can copy; the device is
//! usable in [`LeaseState::Attached`] alone; the generation never falls, so that an attachment by
//! a former owner is refused here before the device's fence has to refuse it. Deliberately not
//! here: the order in which leases change, which [`super::Reassignment`] keeps.

use crate::units::Epoch;
use core::fmt;

/// Where a lease stands. The states in -ing last until a port has ended its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LeaseState {
    /// The VM does not have the device on this SU.
    Free,
    /// It is being assigned.
    Assigning,
    /// It is the VM's on this SU, and not usable: not attached yet, or detached.
    Assigned,
    /// It is being made usable.
    Attaching,
    /// It is usable.
    Attached,
    /// Started I/O is coming to its end; none is started.
    Quiescing,
    /// No I/O is in flight and none is started.
    Quiesced,
    /// It is being detached from the guest.
    Detaching,
    /// It is being taken away.
    Removing,
}

/// A change of a lease, which an operation of a port performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LeaseMove {
    /// Free to assigned.
    Assign,
    /// Attached to quiesced.
    Quiesce,
    /// Quiesced to assigned.
    Detach,
    /// Assigned, or quiesced in part or whole, to attached.
    Attach,
    /// Assigned, attached or quiesced to free.
    Remove,
}

/// Why a lease does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum LeaseError {
    /// The state of the lease does not admit the move, or the move is not under way.
    Illegal(LeaseMove, LeaseState),
    /// The epoch is older than the lease's generation.
    Stale(Epoch),
    /// The end of a quiesce that an attach has overtaken is still to come.
    QuiesceOwed,
}

impl fmt::Display for LeaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Illegal(lease_move, state) => {
                write!(formatter, "{lease_move:?} does not fit a lease that is {state:?}")
            }
            Self::Stale(generation) => write!(formatter, "lease has generation {generation}"),
            Self::QuiesceOwed => formatter.write_str("former quiesce has not ended"),
        }
    }
}

impl core::error::Error for LeaseError {}

/// Who may use a device on this SU.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "_model", derive(Clone, Hash))]
pub struct Lease {
    state: LeaseState,
    /// The state to which a failed operation leads back; equal to `state` between operations.
    before: LeaseState,
    generation: Epoch,
    quiesce_owed: bool,
}

#[cfg(not(feature = "_model"))]
static_assertions::assert_not_impl_any!(Lease: Clone, Copy);

impl Lease {
    /// The lease of a device that the VM does not have on this SU.
    #[must_use]
    pub const fn free() -> Self {
        Self::settled(LeaseState::Free, Epoch::new(0))
    }

    /// The lease of a device that the VM uses on this SU under `generation`.
    #[must_use]
    pub const fn attached(generation: Epoch) -> Self {
        Self::settled(LeaseState::Attached, generation)
    }

    /// The lease of a device that the VM has on this SU under `generation` and does not use now.
    #[must_use]
    pub const fn quiesced(generation: Epoch) -> Self {
        Self::settled(LeaseState::Quiesced, generation)
    }

    /// The lease of a device that is the VM's on this SU and was not used yet.
    #[must_use]
    pub const fn assigned() -> Self {
        Self::settled(LeaseState::Assigned, Epoch::new(0))
    }

    const fn settled(state: LeaseState, generation: Epoch) -> Self {
        Self { state, before: state, generation, quiesce_owed: false }
    }

    /// A second lease like this one, for tests that try every course from one state.
    #[cfg(test)]
    pub(super) const fn duplicate(&self) -> Self {
        Self { ..*self }
    }

    /// Where the lease stands.
    #[must_use]
    pub const fn state(&self) -> LeaseState {
        self.state
    }

    /// The highest epoch under which the device was attached on this SU, or was to be.
    #[must_use]
    pub const fn generation(&self) -> Epoch {
        self.generation
    }

    /// Whether the VM may start I/O.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        matches!(self.state, LeaseState::Attached)
    }

    /// Whether the end of a quiesce that an attach has overtaken is still to come.
    #[must_use]
    pub const fn owes_quiesce(&self) -> bool {
        self.quiesce_owed
    }

    /// Whether this move is under way and has not been overtaken.
    #[must_use]
    pub fn is_under_way(&self, lease_move: LeaseMove) -> bool {
        self.state == ends(lease_move).0
    }

    /// Whether this move can start now; an attach, under an epoch that is not old.
    #[must_use]
    pub const fn admits(&self, lease_move: LeaseMove) -> bool {
        match lease_move {
            LeaseMove::Assign => matches!(self.state, LeaseState::Free),
            LeaseMove::Quiesce => matches!(self.state, LeaseState::Attached) && !self.quiesce_owed,
            LeaseMove::Detach => matches!(self.state, LeaseState::Quiesced),
            LeaseMove::Attach => matches!(
                self.state,
                LeaseState::Assigned | LeaseState::Quiescing | LeaseState::Quiesced
            ),
            LeaseMove::Remove => matches!(
                self.state,
                LeaseState::Assigned | LeaseState::Attached | LeaseState::Quiesced
            ),
        }
    }

    /// Begins to assign the device.
    ///
    /// # Errors
    /// Fails unless the lease is free.
    pub const fn start_assign(&mut self) -> Result<(), LeaseError> {
        self.start(LeaseMove::Assign)
    }

    /// Begins to let the device's I/O end.
    ///
    /// # Errors
    /// Fails unless the lease is attached, and while the end of an overtaken quiesce is to come.
    pub const fn start_quiesce(&mut self) -> Result<(), LeaseError> {
        self.start(LeaseMove::Quiesce)
    }

    /// Begins to detach the device from the guest.
    ///
    /// # Errors
    /// Fails unless the lease is quiesced.
    pub const fn start_detach(&mut self) -> Result<(), LeaseError> {
        self.start(LeaseMove::Detach)
    }

    /// Begins to make the device usable under `epoch`. A quiesce that is under way is overtaken:
    /// its end is still to come, and changes nothing then.
    ///
    /// # Errors
    /// Fails unless the lease is assigned or quiesced, in part or whole, and for an old epoch.
    pub fn start_attach(&mut self, epoch: Epoch) -> Result<(), LeaseError> {
        if epoch < self.generation {
            return Err(LeaseError::Stale(self.generation));
        }
        self.start(LeaseMove::Attach)?;
        self.generation = epoch;
        self.quiesce_owed = matches!(self.before, LeaseState::Quiescing) || self.quiesce_owed;
        Ok(())
    }

    /// Begins to take the device away.
    ///
    /// # Errors
    /// Fails unless the lease is assigned, attached or quiesced.
    pub const fn start_remove(&mut self) -> Result<(), LeaseError> {
        self.start(LeaseMove::Remove)
    }

    const fn start(&mut self, lease_move: LeaseMove) -> Result<(), LeaseError> {
        if !self.admits(lease_move) {
            return Err(match (lease_move, self.state) {
                (LeaseMove::Quiesce, LeaseState::Attached) => LeaseError::QuiesceOwed,
                (other, state) => LeaseError::Illegal(other, state),
            });
        }
        self.before = self.state;
        self.state = ends(lease_move).0;
        Ok(())
    }

    /// Ends a move with success.
    ///
    /// # Errors
    /// Fails when the move is not under way.
    pub fn finish(&mut self, lease_move: LeaseMove) -> Result<(), LeaseError> {
        self.end(lease_move, ends(lease_move).1)
    }

    /// Ends a move without success: the lease is again what it was before.
    ///
    /// # Errors
    /// Fails when the move is not under way.
    pub fn fail(&mut self, lease_move: LeaseMove) -> Result<(), LeaseError> {
        let overtaken = self.quiesce_owed && lease_move == LeaseMove::Quiesce;
        self.end(lease_move, if overtaken { LeaseState::Attached } else { self.before })
    }

    fn end(&mut self, lease_move: LeaseMove, after: LeaseState) -> Result<(), LeaseError> {
        if self.quiesce_owed && lease_move == LeaseMove::Quiesce {
            self.quiesce_owed = false;
            // Should the attach fail, it leads back to what has become of the quiesce.
            if self.before == LeaseState::Quiescing {
                self.before = after;
            }
            return Ok(());
        }
        if self.state != ends(lease_move).0 {
            return Err(LeaseError::Illegal(lease_move, self.state));
        }
        self.state = after;
        self.before = after;
        if after == LeaseState::Quiescing {
            // The attach failed and the quiesce goes on, as if it had not been overtaken.
            self.quiesce_owed = false;
            self.before = LeaseState::Attached;
        }
        Ok(())
    }
}

/// The states during and after a move.
const fn ends(lease_move: LeaseMove) -> (LeaseState, LeaseState) {
    match lease_move {
        LeaseMove::Assign => (LeaseState::Assigning, LeaseState::Assigned),
        LeaseMove::Quiesce => (LeaseState::Quiescing, LeaseState::Quiesced),
        LeaseMove::Detach => (LeaseState::Detaching, LeaseState::Assigned),
        LeaseMove::Attach => (LeaseState::Attaching, LeaseState::Attached),
        LeaseMove::Remove => (LeaseState::Removing, LeaseState::Free),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LeaseMove::{Assign, Attach, Detach, Quiesce, Remove};
    use LeaseState::{
        Assigned, Assigning, Attached, Attaching, Detaching, Free, Quiesced, Quiescing, Removing,
    };
    use std::string::ToString;

    const STATES: [LeaseState; 9] =
        [Free, Assigning, Assigned, Attaching, Attached, Quiescing, Quiesced, Detaching, Removing];
    const MOVES: [LeaseMove; 5] = [Assign, Quiesce, Detach, Attach, Remove];
    const EPOCH: Epoch = Epoch::new(7);

    fn start(lease: &mut Lease, lease_move: LeaseMove) -> Result<(), LeaseError> {
        match lease_move {
            Assign => lease.start_assign(),
            Quiesce => lease.start_quiesce(),
            Detach => lease.start_detach(),
            Attach => lease.start_attach(EPOCH),
            Remove => lease.start_remove(),
        }
    }

    #[test]
    fn moves_start_in_these_states_alone() {
        let legal = [
            (Free, Assign, Assigning),
            (Assigned, Attach, Attaching),
            (Assigned, Remove, Removing),
            (Attached, Quiesce, Quiescing),
            (Attached, Remove, Removing),
            (Quiescing, Attach, Attaching),
            (Quiesced, Detach, Detaching),
            (Quiesced, Attach, Attaching),
            (Quiesced, Remove, Removing),
        ];
        for state in STATES {
            for lease_move in MOVES {
                let mut lease = Lease::settled(state, EPOCH);
                let admitted = lease.admits(lease_move);
                let outcome = start(&mut lease, lease_move);
                let row = legal.iter().find(|row| (row.0, row.1) == (state, lease_move));
                if let Some((_, _, during)) = row {
                    assert_eq!((outcome, lease.state(), admitted), (Ok(()), *during, true));
                } else {
                    assert_eq!(outcome, Err(LeaseError::Illegal(lease_move, state)));
                    assert_eq!((lease, admitted), (Lease::settled(state, EPOCH), false));
                }
            }
        }
    }

    #[test]
    fn moves_end_in_their_own_transitional_state_alone() {
        let legal = [
            (Assigning, Assign, Assigned),
            (Quiescing, Quiesce, Quiesced),
            (Detaching, Detach, Assigned),
            (Attaching, Attach, Attached),
            (Removing, Remove, Free),
        ];
        for state in STATES {
            for lease_move in MOVES {
                let row = legal.iter().find(|row| (row.0, row.1) == (state, lease_move));
                let illegal = Err(LeaseError::Illegal(lease_move, state));
                let mut done = Lease::settled(state, EPOCH);
                assert_eq!(done.finish(lease_move), row.map_or(illegal, |_| Ok(())));
                assert_eq!(done.state(), row.map_or(state, |row| row.2));
                let mut failed = Lease::settled(state, EPOCH);
                assert_eq!(failed.fail(lease_move), row.map_or(illegal, |_| Ok(())));
            }
        }
    }

    #[test]
    fn failed_move_leads_back_to_the_state_before() {
        for state in [Free, Assigned, Attached, Quiesced] {
            for lease_move in MOVES {
                let mut lease = Lease::settled(state, EPOCH);
                if start(&mut lease, lease_move).is_ok() {
                    assert_eq!(lease.fail(lease_move), Ok(()));
                    assert_eq!(lease, Lease::settled(state, EPOCH), "{lease_move:?}");
                }
            }
        }
    }

    #[test]
    fn only_an_attached_lease_is_usable() {
        for state in STATES {
            assert_eq!(Lease::settled(state, EPOCH).is_usable(), state == Attached);
        }
    }

    #[test]
    fn attach_refuses_an_epoch_before_the_generation() {
        let mut lease = Lease::settled(Quiesced, EPOCH);
        assert_eq!(lease.start_attach(Epoch::new(6)), Err(LeaseError::Stale(EPOCH)));
        assert_eq!(lease.start_attach(Epoch::new(9)), Ok(()));
        assert_eq!(lease.fail(Attach), Ok(()));
        assert_eq!(lease.generation(), Epoch::new(9));
        assert_eq!(lease.start_attach(EPOCH), Err(LeaseError::Stale(Epoch::new(9))));
    }

    fn overtaken() -> Lease {
        let mut lease = Lease::attached(EPOCH);
        assert_eq!(lease.start_quiesce().and_then(|()| lease.start_attach(EPOCH)), Ok(()));
        lease
    }

    #[test]
    fn end_of_an_overtaken_quiesce_changes_nothing_and_is_waited_for() {
        let mut lease = overtaken();
        assert_eq!(lease.finish(Attach), Ok(()));
        assert_eq!(lease.start_quiesce(), Err(LeaseError::QuiesceOwed));
        assert!(lease.owes_quiesce() && lease.is_usable());
        assert_eq!(lease.fail(Quiesce), Ok(()));
        assert_eq!(lease, Lease::attached(EPOCH));
        assert_eq!(lease.finish(Quiesce), Err(LeaseError::Illegal(Quiesce, Attached)));
        assert_eq!(lease.start_quiesce(), Ok(()));
    }

    #[test]
    fn failed_attach_leads_back_to_what_became_of_the_overtaken_quiesce() {
        let mut under_way = overtaken();
        assert_eq!(under_way.fail(Attach), Ok(()));
        assert_eq!((under_way.state(), under_way.owes_quiesce()), (Quiescing, false));
        assert_eq!(under_way.finish(Quiesce), Ok(()));
        assert_eq!(under_way, Lease::settled(Quiesced, EPOCH));

        let mut quiesced = overtaken();
        assert_eq!(quiesced.finish(Quiesce).and_then(|()| quiesced.fail(Attach)), Ok(()));
        assert_eq!(quiesced, Lease::settled(Quiesced, EPOCH));

        let mut attached = overtaken();
        assert_eq!(attached.fail(Quiesce).and_then(|()| attached.fail(Attach)), Ok(()));
        assert_eq!(attached, Lease::attached(EPOCH));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (error, text) in [
            (
                LeaseError::Illegal(Remove, Quiescing),
                "Remove does not fit a lease that is Quiescing",
            ),
            (LeaseError::Stale(EPOCH), "lease has generation 7"),
            (LeaseError::QuiesceOwed, "former quiesce has not ended"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
