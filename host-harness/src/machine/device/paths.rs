//! Path groups and reservations of a disk: which paths belong together, and whom the disk is for.
//!
//! A path is one VM's: two VMs of an SU exclude each other like two systems. A reservation belongs
//! to the path group of the path that made it, or to that path alone when it is in no group. Who
//! does not hold it waits: its channel program stays start-pending until the release, as the
//! control unit queues it. UNCONDITIONAL RESERVE takes the reservation away, which the loser is
//! told with its next command (reset notification).
//!
//! Source of truth: 3990 Storage Control Reference and Multiprise 3000 Internal Disk, "Path
//! Control Commands"; Common I/O Device Commands (SENSE and SET PATH GROUP ID). Invariants: a
//! path is in one group at most; a reservation has a holder that can release it, or a path of the
//! holder's VM can adopt it. Deliberately not here: reconnection over another path of a group.

use super::{Access, Path};
use monitor_core::units::VmName;
use std::collections::{BTreeMap, BTreeSet};

/// Command codes of path control.
pub(super) mod command {
    pub(in super::super) const UNCONDITIONAL_RESERVE: u8 = 0x14;
    pub(in super::super) const SENSE_PATH_GROUP_ID: u8 = 0x34;
    pub(in super::super) const RELEASE: u8 = 0x94;
    pub(in super::super) const SET_PATH_GROUP_ID: u8 = 0xAF;
    pub(in super::super) const RESERVE: u8 = 0xB4;
}

/// Bytes of what SENSE and SET PATH GROUP ID transfer.
pub(super) const PATH_GROUP_BYTES: usize = 12;

/// Name of a path group.
pub(super) type PathGroupId = [u8; 11];

const FUNCTION: u8 = 0x60;
const ESTABLISH: u8 = 0x00;
const DISBAND: u8 = 0x20;
const RESIGN: u8 = 0x40;
const MULTIPATH: u8 = 0x80;

const UNGROUPED_STATE: u8 = 0x80;
const GROUPED_STATE: u8 = 0xC0;
const RESERVED_ELSEWHERE: u8 = 0x20;
const RESERVED_HERE: u8 = 0x30;
const MULTIPATH_STATE: u8 = 0x08;

/// A path as one VM has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VmPath {
    pub(super) vm: VmName,
    pub(super) path: Path,
}

impl VmPath {
    /// The path of a channel program.
    pub(super) const fn of(access: &Access) -> Self {
        Self { vm: access.vm, path: access.path }
    }
}

/// What a path has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: PathGroupId,
    pub(super) is_grouped: bool,
    pub(super) is_multipath: bool,
}

/// Whom the disk is reserved for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Path(VmPath),
    Group(PathGroupId),
}

/// What a path may do with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Have it carried out.
    Open,
    /// Wait for the release.
    Wait,
    /// First learn that its reservation was taken away.
    Notify,
}

/// A SET PATH GROUP ID that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongGroup;

/// The path groups of a disk, and its reservation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) members: BTreeMap<VmPath, Member>,
    pub(super) holder: Option<Holder>,
    /// Paths that have lost a reservation and have not been told.
    pub(super) robbed: BTreeSet<VmPath>,
}

impl Paths {
    /// Whether a command of this path may be carried out now. What asks for the state of the path,
    /// or takes the disk by force, always may.
    pub(super) fn gate(&mut self, path: &VmPath, code: u8) -> Gate {
        use command::{SENSE_PATH_GROUP_ID, SET_PATH_GROUP_ID, UNCONDITIONAL_RESERVE};
        if matches!(code, SENSE_PATH_GROUP_ID | SET_PATH_GROUP_ID | UNCONDITIONAL_RESERVE) {
            return Gate::Open;
        }
        if self.robbed.remove(path) {
            return Gate::Notify;
        }
        if self.holder.is_none() || self.holds(path) { Gate::Open } else { Gate::Wait }
    }

    /// Reserves the disk for the path's group, or for the path.
    pub(super) fn reserve(&mut self, path: &VmPath) {
        let old = self.holder.replace(match self.group_of(path) {
            Some(id) => Holder::Group(id),
            None => Holder::Path(*path),
        });
        let losers: Vec<_> = match old {
            Some(Holder::Path(loser)) => vec![loser],
            Some(Holder::Group(id)) => self.paths_of(&id),
            None => Vec::new(),
        };
        let losers = losers.into_iter().filter(|loser| !self.holds(loser));
        self.robbed = losers.chain(self.robbed.iter().copied()).collect();
        self.robbed.remove(path);
    }

    /// Ends the reservation if it is this path's.
    pub(super) fn release(&mut self, path: &VmPath) {
        if self.holds(path) {
            self.holder = None;
        }
    }

    /// What SENSE PATH GROUP ID tells a path.
    pub(super) fn sense_group(&self, path: &VmPath) -> [u8; PATH_GROUP_BYTES] {
        let mut bytes = [0; PATH_GROUP_BYTES];
        if let Some(member) = self.members.get(path) {
            bytes[0] |= if member.is_grouped { GROUPED_STATE } else { UNGROUPED_STATE };
            bytes[0] |= if member.is_multipath { MULTIPATH_STATE } else { 0 };
            bytes[1..].copy_from_slice(&member.id);
        }
        bytes[0] |= match self.holder {
            None => 0,
            Some(_) if self.holds(path) => RESERVED_HERE,
            Some(_) => RESERVED_ELSEWHERE,
        };
        bytes
    }

    /// Carries out SET PATH GROUP ID.
    pub(super) fn set_group(
        &mut self,
        path: &VmPath,
        bytes: &[u8; PATH_GROUP_BYTES],
    ) -> Result<(), WrongGroup> {
        let [control, id @ ..] = *bytes;
        if control & !(FUNCTION | MULTIPATH) != 0 {
            return Err(WrongGroup);
        }
        let current = self.group_of(path);
        match control & FUNCTION {
            ESTABLISH if current.is_none_or(|own| own == id) => {
                let is_multipath = control & MULTIPATH != 0;
                self.members.insert(*path, Member { id, is_grouped: true, is_multipath });
                if self.holder == Some(Holder::Path(*path)) {
                    self.holder = Some(Holder::Group(id));
                }
            }
            DISBAND if current == Some(id) => {
                let held = self.holder == Some(Holder::Group(id));
                for member in self.paths_of(&id) {
                    self.ungroup(&member);
                }
                if held {
                    self.holder = Some(Holder::Path(*path));
                }
            }
            RESIGN if current == Some(id) => {
                self.ungroup(path);
                if self.holder == Some(Holder::Group(id)) && self.paths_of(&id).is_empty() {
                    self.holder = Some(Holder::Path(*path));
                }
            }
            _ => return Err(WrongGroup),
        }
        Ok(())
    }

    /// Puts the paths of the VM's new system in the place of those of its old one: they join the
    /// groups and take over the reservation, and the old ones leave. A path becomes the one with
    /// the same channel-path identifier, `from` becomes `to`.
    pub(super) fn adopt(&mut self, from: &VmPath, to: &VmPath) {
        let successor = |old: VmPath| {
            let is_old = (old.vm, old.path.system) == (from.vm, from.path.system);
            match old {
                _ if old == *from => *to,
                _ if is_old => {
                    VmPath { vm: to.vm, path: Path { system: to.path.system, ..old.path } }
                }
                _ => old,
            }
        };
        let members = std::mem::take(&mut self.members);
        self.members = members.into_iter().map(|(path, it)| (successor(path), it)).collect();
        self.robbed = self.robbed.iter().map(|path| successor(*path)).collect();
        if let Some(Holder::Path(path)) = &mut self.holder {
            *path = successor(*path);
        }
    }

    /// Forgets all that the VM's paths on this system have set up: a system reset.
    pub(super) fn reset(&mut self, vm: VmName, system: u16) {
        let is_own = |path: &VmPath| (path.vm, path.path.system) == (vm, system);
        self.members.retain(|path, _| !is_own(path));
        self.robbed.retain(|path| !is_own(path));
        let gone = match &self.holder {
            Some(Holder::Path(path)) => is_own(path),
            Some(Holder::Group(id)) => self.paths_of(id).is_empty(),
            None => false,
        };
        if gone {
            self.holder = None;
        }
    }

    fn ungroup(&mut self, path: &VmPath) {
        if let Some(member) = self.members.get_mut(path) {
            member.is_grouped = false;
            member.is_multipath = false;
        }
    }

    fn group_of(&self, path: &VmPath) -> Option<PathGroupId> {
        self.members.get(path).filter(|member| member.is_grouped).map(|member| member.id)
    }

    fn paths_of(&self, id: &PathGroupId) -> Vec<VmPath> {
        let members = self.members.iter().filter(|(_, it)| it.is_grouped && it.id == *id);
        members.map(|(path, _)| *path).collect()
    }

    fn holds(&self, path: &VmPath) -> bool {
        match &self.holder {
            Some(Holder::Path(holder)) => holder == path,
            Some(Holder::Group(id)) => self.group_of(path) == Some(*id),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{command::*, *};

    const GROUP: PathGroupId = *b"\x40\x00SYSTEM001";
    const OTHER: PathGroupId = *b"\x40\x00SYSTEM002";

    fn path(vm: &str, system: u16, channel: u8) -> VmPath {
        VmPath { vm: VmName::new(vm).unwrap(), path: Path { system, channel } }
    }

    fn parameters(control: u8, id: PathGroupId) -> [u8; PATH_GROUP_BYTES] {
        let mut bytes = [control; PATH_GROUP_BYTES];
        bytes[1..].copy_from_slice(&id);
        bytes
    }

    const READ: u8 = 0x06;

    #[test]
    fn path_that_does_not_hold_the_reservation_waits_until_the_release() {
        let mut paths = Paths::default();
        let (one, other) = (path("VM1", 1, 0), path("VM1", 2, 0));
        assert_eq!(paths.gate(&other, READ), Gate::Open);
        paths.reserve(&one);
        assert_eq!((paths.gate(&one, READ), paths.gate(&other, READ)), (Gate::Open, Gate::Wait));
        assert_eq!(paths.gate(&other, RESERVE), Gate::Wait);
        assert_eq!(paths.gate(&other, SENSE_PATH_GROUP_ID), Gate::Open);
        paths.release(&other);
        assert_eq!(paths.gate(&other, RELEASE), Gate::Wait, "another's release ends nothing");
        paths.release(&one);
        assert_eq!(paths.gate(&other, READ), Gate::Open);
    }

    #[test]
    fn two_vms_of_one_system_exclude_each_other() {
        let mut paths = Paths::default();
        paths.reserve(&path("VM1", 1, 0));
        assert_eq!(paths.gate(&path("VM2", 1, 0), READ), Gate::Wait);
    }

    #[test]
    fn reservation_of_a_grouped_path_is_its_groups() {
        let mut paths = Paths::default();
        let (one, two, alone) = (path("VM1", 1, 0), path("VM1", 1, 1), path("VM1", 1, 2));
        for member in [&one, &two] {
            paths.set_group(member, &parameters(ESTABLISH | MULTIPATH, GROUP)).unwrap();
        }
        paths.reserve(&one);
        let gates = [one, two, alone].map(|it| paths.gate(&it, READ));
        assert_eq!(gates, [Gate::Open, Gate::Open, Gate::Wait]);
        let states = [one, two, alone].map(|it| paths.sense_group(&it)[0]);
        assert_eq!(states, [0xF8, 0xF8, 0x20]);
        assert_eq!(paths.sense_group(&two)[1..], GROUP);
        paths.release(&two);
        assert_eq!(paths.gate(&alone, READ), Gate::Open, "any path of the group may release");
    }

    #[test]
    fn reservation_stays_with_who_disbands_and_with_who_has_not_resigned() {
        let (one, two) = (path("VM1", 1, 0), path("VM1", 1, 1));
        let both = || {
            let mut paths = Paths::default();
            for member in [&one, &two] {
                paths.set_group(member, &parameters(ESTABLISH, GROUP)).unwrap();
            }
            paths.reserve(&one);
            paths
        };
        let mut paths = both();
        paths.set_group(&two, &parameters(DISBAND, GROUP)).unwrap();
        assert_eq!((paths.gate(&one, READ), paths.gate(&two, READ)), (Gate::Wait, Gate::Open));
        assert_eq!(paths.sense_group(&one)[0], UNGROUPED_STATE | RESERVED_ELSEWHERE);

        let mut paths = both();
        paths.set_group(&one, &parameters(RESIGN, GROUP)).unwrap();
        assert_eq!((paths.gate(&one, READ), paths.gate(&two, READ)), (Gate::Wait, Gate::Open));
        paths.set_group(&two, &parameters(RESIGN, GROUP)).unwrap();
        assert_eq!(paths.gate(&two, READ), Gate::Open, "the last one keeps it");
    }

    #[test]
    fn reservation_of_a_path_becomes_that_of_the_group_it_establishes() {
        let mut paths = Paths::default();
        let (one, two) = (path("VM1", 1, 0), path("VM1", 1, 1));
        paths.reserve(&one);
        paths.set_group(&one, &parameters(ESTABLISH, GROUP)).unwrap();
        paths.set_group(&two, &parameters(ESTABLISH, GROUP)).unwrap();
        assert_eq!(paths.gate(&two, READ), Gate::Open);
    }

    #[test]
    fn wrong_group_is_refused() {
        let mut paths = Paths::default();
        let one = path("VM1", 1, 0);
        for control in [DISBAND, RESIGN, FUNCTION, 0x01] {
            assert_eq!(paths.set_group(&one, &parameters(control, GROUP)), Err(WrongGroup));
        }
        paths.set_group(&one, &parameters(ESTABLISH, GROUP)).unwrap();
        for (control, id) in [(ESTABLISH, OTHER), (DISBAND, OTHER), (RESIGN, OTHER)] {
            assert_eq!(paths.set_group(&one, &parameters(control, id)), Err(WrongGroup));
        }
        paths.set_group(&one, &parameters(RESIGN, GROUP)).unwrap();
        paths.set_group(&one, &parameters(ESTABLISH, OTHER)).unwrap();
        assert_eq!(paths.sense_group(&one)[1..], OTHER);
    }

    #[test]
    fn unconditional_reserve_steals_and_the_loser_is_told_once() {
        let mut paths = Paths::default();
        let (one, two) = (path("VM1", 1, 0), path("VM2", 2, 0));
        paths.reserve(&one);
        assert_eq!(paths.gate(&two, UNCONDITIONAL_RESERVE), Gate::Open);
        paths.reserve(&two);
        assert_eq!(paths.gate(&two, READ), Gate::Open);
        assert_eq!((paths.gate(&one, READ), paths.gate(&one, READ)), (Gate::Notify, Gate::Wait));
        paths.reserve(&one);
        assert_eq!((paths.gate(&two, READ), paths.gate(&one, READ)), (Gate::Notify, Gate::Open));
    }

    #[test]
    fn group_and_reservation_survive_the_move_to_another_system() {
        let (old, new, other) = (path("VM1", 1, 4), path("VM1", 2, 7), path("VM2", 2, 7));
        let second = path("VM1", 1, 5);
        let mut paths = Paths::default();
        for member in [&old, &second] {
            paths.set_group(member, &parameters(ESTABLISH, GROUP)).unwrap();
        }
        paths.set_group(&other, &parameters(ESTABLISH, OTHER)).unwrap();
        paths.reserve(&old);
        paths.adopt(&old, &new);
        let gates = [old, second, new, path("VM1", 2, 5), other].map(|it| paths.gate(&it, READ));
        assert_eq!(gates, [Gate::Wait, Gate::Wait, Gate::Open, Gate::Open, Gate::Wait]);
        assert_eq!(paths.sense_group(&old)[0], RESERVED_ELSEWHERE, "the old path is unknown");
        assert_eq!(paths.sense_group(&other)[1..], OTHER);

        let mut paths = Paths::default();
        paths.reserve(&old);
        paths.adopt(&old, &new);
        assert_eq!((paths.gate(&old, READ), paths.gate(&new, READ)), (Gate::Wait, Gate::Open));
    }

    #[test]
    fn system_reset_gives_back_what_only_that_system_had() {
        let (one, two) = (path("VM1", 1, 0), path("VM1", 2, 0));
        let mut paths = Paths::default();
        paths.reserve(&one);
        paths.reset(one.vm, 2);
        assert_eq!(paths.gate(&two, READ), Gate::Wait);
        paths.reset(one.vm, 1);
        assert_eq!(paths.gate(&two, READ), Gate::Open);
        for member in [&one, &two] {
            paths.set_group(member, &parameters(ESTABLISH, GROUP)).unwrap();
        }
        paths.reserve(&one);
        paths.reset(one.vm, 1);
        assert_eq!(paths.gate(&path("VM2", 3, 0), READ), Gate::Wait, "the group has a path");
        paths.reset(one.vm, 2);
        assert_eq!(paths.gate(&path("VM2", 3, 0), READ), Gate::Open);
    }
}
