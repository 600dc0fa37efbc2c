//! The part of the check that needs nobody else: may this VM be moved from here, to there?
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (preconditions, return codes). Invariant: every
//! obstacle is reported, not the first alone; nothing is changed. Deliberately not here: what
//! only the target can know.

use crate::{
    units::VmIndex,
    vm::{Findings, MigrationMark, Obstacle, VmBlock},
};

/// Reports what forbids to move `block` away from here; `None` is a VM that does not exist.
pub fn admit(block: Option<&VmBlock>, target_is_known: bool, findings: &mut Findings) {
    match block {
        None => findings.add(Obstacle::VmUnknown),
        Some(block) => {
            if block.index() == VmIndex::MONITOR {
                findings.add(Obstacle::MonitorVm);
            }
            if block.state().mark() != MigrationMark::None {
                findings.add(Obstacle::AlreadyMigrating);
            }
        }
    }
    if !target_is_known {
        findings.add(Obstacle::TargetUnknown);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::units::{PageCount, VmName};

    fn found(block: Option<&VmBlock>, target_is_known: bool) -> Vec<Obstacle> {
        let mut findings = Findings::new();
        admit(block, target_is_known, &mut findings);
        findings.listed().iter().map(|finding| finding.obstacle).collect()
    }

    fn block(index: u8) -> VmBlock {
        let name = VmName::new("VM").unwrap();
        VmBlock::new(VmIndex::new(index).unwrap(), name, PageCount::new(1), 1).unwrap()
    }

    #[test]
    fn all_obstacles_are_reported_at_once() {
        let marked = block(1).state().with_mark(MigrationMark::Outgoing).unwrap();
        let monitor = block(1).with_state(marked);
        assert_eq!(
            found(Some(&monitor), false),
            [Obstacle::MonitorVm, Obstacle::AlreadyMigrating, Obstacle::TargetUnknown]
        );
        assert_eq!(found(None, true), [Obstacle::VmUnknown]);
        assert_eq!(found(Some(&block(12)), true), []);
    }
}
