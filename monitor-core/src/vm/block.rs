//! The control block of a VM: everything that VM2000 knows of it but its storage and devices.
//!
//! Source of truth: VM2000 manual, CREATE-VM and MODIFY-VM-ATTRIBUTES. Invariants: a block that
//! exists has every attribute within its limits; index and name never change. Deliberately not
//! here: passwords and job variables, which stay with the monitor system.

use core::fmt;

use bitflags::bitflags;

use super::{
    facility::FacilityList,
    processors::Processors,
    state::{Activity, VmState},
};
use crate::{
    limits::GUEST_PAGES_MAX,
    units::{ConfigurationName, PageCount, PoolName, VmIndex, VmName},
};

/// CPU quota of a VM that names none, in hundredths.
const QUOTA_HUNDREDTHS_DEFAULT: u16 = 100;

/// The highest CPU quota, in hundredths.
const QUOTA_HUNDREDTHS_MAX: u16 = 9_999;

/// The highest CPU limit, in hundredths of a percent.
const LIMIT_HUNDREDTHS_MAX: u16 = 10_000;

bitflags! {
    /// Privileges of a VM (operands PRIVILEGES and ADMIN-PRIVILEGES of MODIFY-VM-ATTRIBUTES).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Privileges: u16 {
        /// The guest may reset the I/O system.
        const IO_RESET = 0x0001;
        /// The guest's I/O goes before that of others.
        const IO_PRIORITY = 0x0002;
        /// Snapshot units are assigned automatically.
        const AUTO_SNAP_ASSIGNMENT = 0x0004;
        /// The guest may assign devices to itself.
        const ASSIGN_BY_GUEST = 0x0008;
        /// The VM's administrator has all administration commands (ADMIN-PRIVILEGES=*MAXIMUM).
        const ADMIN_MAXIMUM = 0x0010;
        /// The VM's administrator has the fewest (ADMIN-PRIVILEGES=*MINIMUM), which goes before
        /// [`Self::ADMIN_MAXIMUM`]; neither bit is *STD.
        const ADMIN_MINIMUM = 0x0020;
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Privileges {
    fn format(&self, formatter: defmt::Formatter<'_>) {
        defmt::write!(formatter, "Privileges({=u16:#x})", self.bits());
    }
}

/// Which attribute of a control block is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum BlockError {
    /// The name is empty.
    Name,
    /// The storage has no page, or more than `GUEST_PAGES_MAX`.
    Memory,
    /// There is no processor, or there are more than `PROCESSORS_MAX`.
    Processors,
    /// The CPU quota is not 0.01 to 99.99.
    Quota,
    /// The CPU limit is not 0.01 to 100.00 percent.
    Limit,
}

impl fmt::Display for BlockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "the VM's name is empty",
            Self::Memory => "the VM's memory size is out of range",
            Self::Processors => "the VM's number of processors is out of range",
            Self::Quota => "the VM's CPU quota is out of range",
            Self::Limit => "the VM's CPU limit is out of range",
        })
    }
}

impl core::error::Error for BlockError {}

/// The control block of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct VmBlock {
    index: VmIndex,
    name: VmName,
    memory: PageCount,
    processors: Processors,
    facilities: FacilityList,
    cpu_id: u64,
    cpu_quota_hundredths: u16,
    cpu_limit_hundredths: u16,
    group: PoolName,
    privileges: Privileges,
    initial_configuration: ConfigurationName,
    migration_count: u32,
    state: VmState,
}

impl VmBlock {
    /// A VM that was just created: INIT-ONLY, all processors attached, no facility, quota 1, no
    /// limit, no group, no privilege.
    ///
    /// # Errors
    /// Names the attribute that is wrong.
    pub fn new(
        index: VmIndex,
        name: VmName,
        memory: PageCount,
        processor_count: u16,
    ) -> Result<Self, BlockError> {
        if name.is_empty() {
            return Err(BlockError::Name);
        }
        if memory.get() == 0 || memory.get() > GUEST_PAGES_MAX {
            return Err(BlockError::Memory);
        }
        let processors = Processors::new(processor_count).ok_or(BlockError::Processors)?;
        Ok(Self {
            index,
            name,
            memory,
            processors,
            facilities: FacilityList::EMPTY,
            cpu_id: 0,
            cpu_quota_hundredths: QUOTA_HUNDREDTHS_DEFAULT,
            cpu_limit_hundredths: LIMIT_HUNDREDTHS_MAX,
            group: PoolName::EMPTY,
            privileges: Privileges::empty(),
            initial_configuration: ConfigurationName::EMPTY,
            migration_count: 0,
            state: VmState::new(Activity::InitOnly),
        })
    }

    /// The same with its processors standing so.
    ///
    /// # Errors
    /// `Processors` when they are another number.
    pub fn with_processors(self, processors: Processors) -> Result<Self, BlockError> {
        if processors.count() != self.processors.count() {
            return Err(BlockError::Processors);
        }
        Ok(Self { processors, ..self })
    }

    /// The same with the facilities that its guest was given at its start.
    #[must_use]
    pub const fn with_facilities(self, facilities: FacilityList) -> Self {
        Self { facilities, ..self }
    }

    /// The same with this CPU identification.
    #[must_use]
    pub const fn with_cpu_id(self, cpu_id: u64) -> Self {
        Self { cpu_id, ..self }
    }

    /// The same with this CPU quota, in hundredths.
    ///
    /// # Errors
    /// `Quota` outside of 0.01 to 99.99.
    pub const fn with_cpu_quota_hundredths(self, quota: u16) -> Result<Self, BlockError> {
        if quota == 0 || quota > QUOTA_HUNDREDTHS_MAX {
            return Err(BlockError::Quota);
        }
        Ok(Self { cpu_quota_hundredths: quota, ..self })
    }

    /// The same with this limit of CPU utilization, in hundredths of a percent.
    ///
    /// # Errors
    /// `Limit` outside of 0.01 to 100.00.
    pub const fn with_cpu_limit_hundredths(self, limit: u16) -> Result<Self, BlockError> {
        if limit == 0 || limit > LIMIT_HUNDREDTHS_MAX {
            return Err(BlockError::Limit);
        }
        Ok(Self { cpu_limit_hundredths: limit, ..self })
    }

    /// The same in this VM group.
    #[must_use]
    pub const fn with_group(self, group: PoolName) -> Self {
        Self { group, ..self }
    }

    /// The same with these privileges.
    #[must_use]
    pub const fn with_privileges(self, privileges: Privileges) -> Self {
        Self { privileges, ..self }
    }

    /// The same with the configuration on which its guest was started.
    #[must_use]
    pub const fn with_initial_configuration(self, configuration: ConfigurationName) -> Self {
        Self { initial_configuration: configuration, ..self }
    }

    /// The same with this number of migrations since its guest was started.
    #[must_use]
    pub const fn with_migration_count(self, count: u32) -> Self {
        Self { migration_count: count, ..self }
    }

    /// The same in this state.
    #[must_use]
    pub const fn with_state(self, state: VmState) -> Self {
        Self { state, ..self }
    }

    /// VM index.
    #[must_use]
    pub const fn index(&self) -> VmIndex {
        self.index
    }

    /// VM name.
    #[must_use]
    pub const fn name(&self) -> VmName {
        self.name
    }

    /// Pages of guest storage.
    #[must_use]
    pub const fn memory(&self) -> PageCount {
        self.memory
    }

    /// Number of virtual processors, in whatever standing.
    #[must_use]
    pub const fn processor_count(&self) -> u16 {
        self.processors.count()
    }

    /// Virtual processors, each with its standing on the SU where the VM is.
    #[must_use]
    pub const fn processors(&self) -> Processors {
        self.processors
    }

    /// Facilities that the guest was given at its start, and keeps.
    #[must_use]
    pub const fn facilities(&self) -> FacilityList {
        self.facilities
    }

    /// The doubleword that STORE CPU ID shows to the guest: that of its start, wherever it is.
    #[must_use]
    pub const fn cpu_id(&self) -> u64 {
        self.cpu_id
    }

    /// CPU quota in hundredths.
    #[must_use]
    pub const fn cpu_quota_hundredths(&self) -> u16 {
        self.cpu_quota_hundredths
    }

    /// Limit of CPU utilization in hundredths of a percent.
    #[must_use]
    pub const fn cpu_limit_hundredths(&self) -> u16 {
        self.cpu_limit_hundredths
    }

    /// VM group, empty for none.
    #[must_use]
    pub const fn group(&self) -> PoolName {
        self.group
    }

    /// Privileges.
    #[must_use]
    pub const fn privileges(&self) -> Privileges {
        self.privileges
    }

    /// Configuration on which the guest was started.
    #[must_use]
    pub const fn initial_configuration(&self) -> ConfigurationName {
        self.initial_configuration
    }

    /// Migrations since the guest was started.
    #[must_use]
    pub const fn migration_count(&self) -> u32 {
        self.migration_count
    }

    /// State.
    #[must_use]
    pub const fn state(&self) -> VmState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PROCESSORS_MAX;

    fn block(pages: u64, processors: u16) -> Result<VmBlock, BlockError> {
        let name = VmName::new("VM12PROD").unwrap();
        VmBlock::new(VmIndex::new(12).unwrap(), name, PageCount::new(pages), processors)
    }

    #[test]
    fn attributes_outside_of_their_limits_are_refused_by_name() {
        assert_eq!(block(0, 1), Err(BlockError::Memory));
        assert_eq!(block(GUEST_PAGES_MAX + 1, 1), Err(BlockError::Memory));
        assert_eq!(block(1, 0), Err(BlockError::Processors));
        assert_eq!(block(1, PROCESSORS_MAX + 1), Err(BlockError::Processors));
        let unnamed = VmBlock::new(VmIndex::MONITOR, VmName::EMPTY, PageCount::new(1), 1);
        assert_eq!(unnamed, Err(BlockError::Name));
        let vm = block(1, 1).unwrap();
        assert_eq!(vm.with_cpu_quota_hundredths(0), Err(BlockError::Quota));
        assert_eq!(vm.with_cpu_quota_hundredths(10_000), Err(BlockError::Quota));
        assert_eq!(vm.with_cpu_limit_hundredths(10_001), Err(BlockError::Limit));
    }

    #[test]
    fn processors_of_another_number_are_refused() {
        let vm = block(1, 2).unwrap();
        let other = Processors::new(3).unwrap();
        assert_eq!(vm.with_processors(other), Err(BlockError::Processors));
        let narrow = vm.processors().fitted(1).unwrap();
        assert_eq!(vm.with_processors(narrow).map(|vm| vm.processors()), Ok(narrow));
    }

    #[test]
    fn a_vm_of_one_tebibyte_and_more_has_a_block() {
        assert!(block(1 << 28, 16).is_ok());
        assert!(block(GUEST_PAGES_MAX, PROCESSORS_MAX).is_ok());
    }
}
