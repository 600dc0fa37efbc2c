//! Disks that are more than a disk by where they are: an alias of a base disk, and a disk that the
//! management unit of one SU emulates.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (device classes); Enterprise Storage Server, parallel
//! access volumes. Invariants: base and aliases are one disk, and their channel programs run at
//! the same time; an emulated disk is there for its own SU alone. Deliberately not here: who
//! detaches them before a move.

use super::{Access, Device, Ending, Outcome, Refusal, SenseId, Transfer, paths};
use monitor_core::channel::DeviceStatus;
use std::sync::Arc;

/// An alias: the base disk under another device number.
#[derive(Clone, Debug)]
pub struct Alias {
    base: Arc<dyn Device>,
}

impl Alias {
    /// An alias of this disk.
    #[must_use]
    pub fn of(base: Arc<dyn Device>) -> Self {
        Self { base }
    }
}

impl Device for Alias {
    fn sense_id(&self) -> SenseId {
        self.base.sense_id()
    }

    fn sense_length(&self) -> usize {
        self.base.sense_length()
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.base.admit(access)
    }

    /// The base disk alone is reserved and released.
    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        use paths::command::{RELEASE, RESERVE, UNCONDITIONAL_RESERVE};
        if matches!(command, RESERVE | RELEASE | UNCONDITIONAL_RESERVE) {
            let mut ending = Ending::unit_check([0x80, 0]);
            // Format 0: the command is invalid on a secondary address.
            ending.sense[7] = 0x0E;
            return Outcome::Ended(ending);
        }
        self.base.execute(access, command, data)
    }

    fn no_operation(&self, access: &mut Access) -> Outcome {
        self.base.no_operation(access)
    }

    fn take_unsolicited(&self, _access: &Access) -> Option<DeviceStatus> {
        // What the disk has to say by itself it says on its own number.
        None
    }

    fn cancel(&self, access: &Access) {
        self.base.cancel(access);
    }

    fn fenced_count(&self) -> u64 {
        self.base.fenced_count()
    }
}

/// A disk that the management unit of one SU emulates.
#[derive(Clone, Debug)]
pub struct EmulatedDisk {
    disk: Arc<dyn Device>,
    system: u16,
}

impl EmulatedDisk {
    /// This disk for this SU alone.
    #[must_use]
    pub fn new(disk: Arc<dyn Device>, system: u16) -> Self {
        Self { disk, system }
    }

    fn reach(&self, access: &Access) -> Result<&dyn Device, Refusal> {
        let is_own = access.path.system == self.system;
        if is_own { Ok(&*self.disk) } else { Err(Refusal::OtherSystem) }
    }
}

impl Device for EmulatedDisk {
    fn sense_id(&self) -> SenseId {
        self.disk.sense_id()
    }

    fn sense_length(&self) -> usize {
        self.disk.sense_length()
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        self.reach(access)?.admit(access)
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        self.reach(access).map(|disk| disk.execute(access, command, data)).into()
    }

    fn no_operation(&self, access: &mut Access) -> Outcome {
        self.reach(access).map(|disk| disk.no_operation(access)).into()
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        self.reach(access).ok()?.take_unsolicited(access)
    }

    fn cancel(&self, access: &Access) {
        if let Ok(disk) = self.reach(access) {
            disk.cancel(access);
        }
    }

    fn adopt(&self, from: &Access, to: &Access) -> Result<(), Refusal> {
        self.reach(to)?.adopt(from, to)
    }

    fn reset(&self, access: &Access) {
        if let Ok(disk) = self.reach(access) {
            disk.reset(access);
        }
    }

    fn fenced_count(&self) -> u64 {
        self.disk.fenced_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::device::{Buffer, CkdDisk, Path};
    use monitor_core::units::{Epoch, VmName};

    fn access(vm: &str, system: u16) -> Access {
        Access::new(VmName::new(vm).unwrap(), Epoch::new(1), Path { system, channel: 0 })
    }

    fn status(device: &dyn Device, access: &mut Access, command: u8, bytes: &[u8]) -> Option<u8> {
        let outcome = device.execute(access, command, &mut Buffer::output(bytes));
        access.command_index += 1;
        match outcome {
            Outcome::Ended(ending) => Some(ending.status.bits()),
            Outcome::Pending => None,
        }
    }

    #[test]
    fn programs_on_base_and_alias_stand_on_different_tracks_of_one_disk() {
        let base: Arc<dyn Device> = Arc::new(CkdDisk::in_memory(3));
        let alias = Alias::of(Arc::clone(&base));
        let (mut one, mut two) = (access("VM1", 1), access("VM1", 1));
        assert_eq!(status(&*base, &mut one, 0x07, &[0, 0, 0, 1, 0, 0]), Some(0x0C));
        assert_eq!(status(&alias, &mut two, 0x07, &[0, 0, 0, 2, 0, 0]), Some(0x0C));
        assert_eq!(status(&*base, &mut one, 0x31, &[0, 1, 0, 0, 0]), Some(0x4C));
        assert_eq!(status(&alias, &mut two, 0x31, &[0, 2, 0, 0, 0]), Some(0x4C));
        let record = [0, 2, 0, 0, 1, 0, 0, 4, 1, 2, 3, 4];
        assert_eq!(status(&alias, &mut two, 0x1D, &record), Some(0x0C));
        assert_eq!(status(&*base, &mut one, 0x07, &[0, 0, 0, 2, 0, 0]), Some(0x0C));
        let mut data = Buffer::input(4);
        base.execute(&mut one, 0x06, &mut data);
        assert_eq!(data.given(), [1, 2, 3, 4]);
        assert_eq!(alias.sense_id(), base.sense_id());
    }

    #[test]
    fn alias_is_not_reserved_but_waits_with_its_base() {
        let base: Arc<dyn Device> = Arc::new(CkdDisk::in_memory(3));
        let alias = Alias::of(Arc::clone(&base));
        for command in [0xB4, 0x94, 0x14] {
            assert_eq!(status(&alias, &mut access("VM1", 1), command, &[]), Some(0x0E));
        }
        assert_eq!(status(&*base, &mut access("VM1", 1), 0xB4, &[]), Some(0x0C));
        assert_eq!(status(&alias, &mut access("VM1", 1), 0x07, &[0; 6]), Some(0x0C));
        assert_eq!(status(&alias, &mut access("VM2", 2), 0x07, &[0; 6]), None);
    }

    #[test]
    fn emulated_disk_is_not_there_for_another_su() {
        let disk = EmulatedDisk::new(Arc::new(CkdDisk::in_memory(3)), 1);
        assert_eq!(disk.admit(&access("VM1", 1)), Ok(()));
        assert_eq!(disk.admit(&access("VM1", 2)), Err(Refusal::OtherSystem));
        assert_eq!(disk.adopt(&access("VM1", 1), &access("VM1", 2)), Err(Refusal::OtherSystem));
        assert_eq!(status(&disk, &mut access("VM1", 1), 0x07, &[0; 6]), Some(0x0C));
        assert_eq!(status(&disk, &mut access("VM1", 2), 0x07, &[0; 6]), Some(0x0E));
        assert_eq!(disk.no_operation(&mut access("VM1", 2)).ended_status(), Some(0x0E));
        assert_eq!(disk.fenced_count(), 0);
    }

    impl Outcome {
        fn ended_status(self) -> Option<u8> {
            match self {
                Self::Ended(ending) => Some(ending.status.bits()),
                Self::Pending => None,
            }
        }
    }
}
