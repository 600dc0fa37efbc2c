//! The parts of the check that need neither devices nor storage: at the source, and at the target.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (preconditions, return codes; one outgoing migration
//! an SU, beside which one may come in). Invariant: every obstacle is reported, not the first
//! alone; nothing is changed. Deliberately not here: memory, devices, index and name at the target,
//! which are the books of the monitor system.

use crate::{
    units::VmIndex,
    vm::{FacilityList, Findings, MigrationMark, Obstacle, VmBlock},
};

/// What the source knows when the command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Circumstances {
    /// Whether the target is another SU of the cluster.
    pub target_is_known: bool,
    /// Whether another VM is being moved away from here.
    pub is_sending: bool,
}

/// What an SU has for a VM that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Offer {
    /// Real processors that the VM can use.
    pub pool: u16,
    /// Facilities of the machine.
    pub facilities: FacilityList,
    /// Whether another VM is coming in.
    pub is_receiving: bool,
}

/// Reports what forbids to move `block` away from here; `None` is a VM that does not exist.
pub fn admit(block: Option<&VmBlock>, circumstances: Circumstances, findings: &mut Findings) {
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
    if circumstances.is_sending {
        findings.add(Obstacle::OtherMigration);
    }
    if !circumstances.target_is_known {
        findings.add(Obstacle::TargetUnknown);
    }
}

/// Reports what forbids the VM of `definition` to come to an SU that offers this, and notes how
/// many processors it will have. Each facility that is missing is an obstacle of its own.
pub fn admit_incoming(definition: &VmBlock, offer: &Offer, findings: &mut Findings) {
    findings.set_pool(offer.pool);
    if definition.processors().fitted(offer.pool).is_none() {
        findings.add(Obstacle::NoProcessor);
    }
    if offer.is_receiving {
        findings.add(Obstacle::OtherMigration);
    }
    for facility in definition.facilities().unfit_for(&offer.facilities).iter() {
        findings.add_facility(Obstacle::Incompatible, facility);
    }
}

#[cfg(test)]
mod tests {
    use std::{string::String, vec::Vec};

    use super::*;
    use crate::{
        processor::ProcessorImage,
        units::{PageCount, VmName},
        vm::{Facility, ProcessorSet, Processors},
        wire::blocks::BlockReader,
    };

    const FREE: Circumstances = Circumstances { target_is_known: true, is_sending: false };

    fn found(block: Option<&VmBlock>, circumstances: Circumstances) -> Vec<Obstacle> {
        let mut findings = Findings::new();
        admit(block, circumstances, &mut findings);
        findings.listed().iter().map(|finding| finding.obstacle).collect()
    }

    fn block(index: u8) -> VmBlock {
        let name = VmName::new("VM").unwrap();
        VmBlock::new(VmIndex::new(index).unwrap(), name, PageCount::new(1), 3).unwrap()
    }

    /// What the target finds, with the inserts, and the pool that it notes.
    fn incoming(definition: &VmBlock, offer: &Offer) -> (Vec<(Obstacle, String)>, u16) {
        let mut findings = Findings::new();
        admit_incoming(definition, offer, &mut findings);
        let listed = findings.listed().iter();
        let listed = listed.map(|it| (it.obstacle, String::from(it.device.as_str()))).collect();
        (listed, findings.pool())
    }

    #[test]
    fn all_obstacles_are_reported_at_once() {
        let marked = block(1).state().with_mark(MigrationMark::Outgoing).unwrap();
        let monitor = block(1).with_state(marked);
        let busy = Circumstances { target_is_known: false, is_sending: true };
        let all = [
            Obstacle::MonitorVm,
            Obstacle::AlreadyMigrating,
            Obstacle::OtherMigration,
            Obstacle::TargetUnknown,
        ];
        assert_eq!(found(Some(&monitor), busy), all);
        assert_eq!(found(None, FREE), [Obstacle::VmUnknown]);
        assert_eq!(found(Some(&block(12)), FREE), []);
    }

    #[test]
    fn one_vm_at_a_time_leaves_an_su_and_one_comes_in() {
        let sending = Circumstances { is_sending: true, ..FREE };
        assert_eq!(found(Some(&block(12)), sending), [Obstacle::OtherMigration]);
        let offer = Offer { pool: 3, facilities: FacilityList::EMPTY, is_receiving: true };
        let refused = (Obstacle::OtherMigration, String::new());
        assert_eq!(incoming(&block(12), &offer).0, [refused]);
    }

    #[test]
    fn each_facility_that_the_target_lacks_is_named() {
        let given = FacilityList::of(&[Facility::VECTOR, Facility::ETOKEN, Facility::new(7)]);
        let here = FacilityList::of(&[Facility::VECTOR, Facility::TEST_PENDING]);
        let offer = Offer { pool: 3, facilities: here, is_receiving: false };
        let vm = block(12).with_facilities(given);
        let lacks = |number: &str| (Obstacle::Incompatible, String::from(number));
        assert_eq!(incoming(&vm, &offer).0, [lacks("7"), lacks("156")]);
        assert_eq!(incoming(&vm, &Offer { facilities: given, ..offer }).0, []);
    }

    /// The machines that a guest without page states can move between may have them or not.
    #[test]
    fn page_states_are_asked_of_the_target_where_the_guest_may_use_them() {
        let all = FacilityList::of(&[Facility::VECTOR, Facility::PAGE_STATES]);
        let offer = |facilities| Offer { pool: 3, facilities, is_receiving: false };
        let without = all.without(Facility::PAGE_STATES);
        let lacks = (Obstacle::Incompatible, String::from("255"));
        for (given, here, found) in
            [(all, without, std::vec![lacks]), (all, all, Vec::new()), (without, all, Vec::new())]
        {
            let vm = block(12).with_facilities(given);
            assert_eq!(incoming(&vm, &offer(here)).0, found);
        }
    }

    #[test]
    fn fewer_processors_are_no_obstacle_and_none_at_all_is_one() {
        let offer = |pool| Offer { pool, facilities: FacilityList::EMPTY, is_receiving: false };
        assert_eq!(incoming(&block(12), &offer(1)), (Vec::new(), 1));
        let none = (Obstacle::NoProcessor, String::new());
        assert_eq!(incoming(&block(12), &offer(0)), (std::vec![none], 0));
        let detached = ProcessorSet::from_bits(0b011);
        let alone = Processors::standing_so(3, detached, ProcessorSet::EMPTY).unwrap();
        let vm = block(12).with_processors(alone).unwrap();
        assert_eq!(incoming(&vm, &offer(1)).0, []);
    }

    /// Makes an image use a block.
    type Use = fn(&mut ProcessorImage);

    /// Each block that not every image has, numbered as on the wire.
    const BLOCKS: [(u16, Use); 8] = [
        (10, |image| image.service_signal = Some(0)),
        (11, |image| image.pfault_token = 0),
        (12, |image| image.guarded_storage[1] = 1),
        (13, |image| image.runtime_instrumentation[0] = 1),
        (14, |image| image.execute_target = 1),
        (15, |image| image.prediction_blocked = true),
        (15, |image| image.etoken[0] = 1),
        (16, |image| image.control_program = 1),
    ];

    /// Blocks that stand for no facility: what a monitor keeps, or every processor has.
    const OF_NO_FACILITY: [u16; 4] = [10, 11, 14, 16];

    /// The numbers of the blocks of an image.
    fn block_numbers(image: &ProcessorImage) -> Vec<u16> {
        let mut bytes = [0; crate::limits::PROCESSOR_BYTES_MAX];
        let length = image.emit(&mut bytes).unwrap();
        let mut reader = BlockReader::new(&bytes[..length]);
        let next = || reader.next_block().unwrap().map(|block| block.number());
        core::iter::from_fn(next).collect()
    }

    #[test]
    fn no_image_that_an_accepted_check_lets_come_needs_what_the_target_lacks() {
        let mandatory = block_numbers(&ProcessorImage::initial());
        let mut every = ProcessorImage::initial();
        for (number, change) in BLOCKS {
            let mut image = ProcessorImage::initial();
            change(&mut image);
            change(&mut every);
            let mut numbers = mandatory.clone();
            numbers.push(number);
            assert_eq!(block_numbers(&image), numbers);
            let needs = image.needs();
            assert_eq!(needs.is_empty(), OF_NO_FACILITY.contains(&number), "block {number}");
            for facility in needs.iter() {
                // The guest was given what it uses, so that its definition says so.
                let vm = block(12).with_facilities(needs);
                let facilities = needs.without(facility);
                let offer = Offer { pool: 3, facilities, is_receiving: false };
                let refused = (Obstacle::Incompatible, std::format!("{facility}"));
                assert_eq!(incoming(&vm, &offer).0, [refused], "block {number}");
                let enough = Offer { facilities: needs, ..offer };
                assert_eq!(incoming(&vm, &enough).0, [], "block {number}");
            }
        }
        assert_eq!(block_numbers(&every), (1..=16).collect::<Vec<_>>());
    }
}
