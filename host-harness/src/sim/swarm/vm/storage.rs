//! Guest storage of one VM on one SU, its keys, page states and maps, with faults.
//!
//! Source of truth: `monitor_core::ports`. Invariant: a guest that runs may store in the midst of
//! each call, as with real processors. Deliberately not here: what takes time.

use monitor_core::{
    memory::{DirtyBitmap, PageRun, Sweep},
    ports::{DirtyTracking, GuestStorage, PageStates, StorageKeys},
    units::PageCount,
};

use super::{CRASHED, REFUSED, VmPort};
use crate::{
    machine::PortFailure,
    sim::swarm::{check, fault::FaultKind, shared::Flaw},
};

impl GuestStorage for VmPort<'_> {
    fn page_count(&self) -> PageCount {
        self.inner.page_count()
    }

    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StorageFails) {
            return Err(REFUSED);
        }
        self.go_on_meanwhile();
        self.inner.copy_out(run, target)?;
        self.go_on_meanwhile();
        Ok(())
    }

    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        if self.spot.strikes(FaultKind::StorageFails) {
            return Err(REFUSED);
        }
        if self.spot.shared.has(Flaw::ForgottenStore) && self.spot.shared.draw(16) == 0 {
            return Ok(());
        }
        self.inner.copy_in(run, source)
    }
}

impl StorageKeys for VmPort<'_> {
    fn has_keys(&self) -> bool {
        self.inner.has_keys()
    }

    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        self.inner.keys_out(run, target)?;
        self.go_on_meanwhile();
        Ok(())
    }

    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        if self.spot.shared.has(Flaw::ForgottenKeys) {
            return Ok(());
        }
        self.inner.keys_in(run, source)
    }
}

impl PageStates for VmPort<'_> {
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Result<(), PortFailure> {
        self.inner.states_out(run, target)?;
        self.go_on_meanwhile();
        Ok(())
    }

    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Result<(), PortFailure> {
        if self.spot.shared.has(Flaw::ForgottenState) {
            return Ok(());
        }
        self.inner.states_in(run, source)
    }
}

impl DirtyTracking for VmPort<'_> {
    fn start_tracking(&mut self) -> Result<(), PortFailure> {
        if !self.spot.lives() || self.spot.strikes(FaultKind::TrackingFails) {
            return Err(REFUSED);
        }
        self.spot.is_tracking.set(true);
        self.go_on_meanwhile();
        self.inner.start_tracking()?;
        self.go_on_meanwhile();
        Ok(())
    }

    fn stop_tracking(&mut self) -> Result<(), PortFailure> {
        if !self.spot.lives() {
            return Err(CRASHED);
        }
        if self.spot.is_tracking.take() {
            check::before_untracking(&self.spot);
        }
        self.inner.stop_tracking()
    }

    fn collect(
        &mut self,
        pages: &DirtyBitmap<'_>,
        keys: &DirtyBitmap<'_>,
    ) -> Result<(), PortFailure> {
        if !self.spot.lives() || self.spot.strikes(FaultKind::TrackingFails) {
            return Err(REFUSED);
        }
        if self.spot.shared.has(Flaw::ForgottenMark) {
            let _forgotten = pages.take_next(&mut Sweep::new());
        }
        self.inner.collect(pages, keys)?;
        if self.spot.shared.has(Flaw::ForgottenKey) {
            let _forgotten = keys.take_next(&mut Sweep::new());
        }
        Ok(())
    }
}
