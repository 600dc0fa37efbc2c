//! The table of all VMs of one monitor, over lent slots.
//!
//! Source of truth: VM2000 manual (VM-ID is the VM's index or its name; both are unique).
//! Invariants: no two blocks share an index or a name; a block's place does not change while it
//! exists. Deliberately not here: persistence of VM definitions.

use core::fmt;

use spin::Mutex;

use super::block::VmBlock;
use crate::units::{VmIndex, VmName};

/// How a command names a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum VmId {
    /// By its index.
    Index(VmIndex),
    /// By its name.
    Name(VmName),
}

/// Why a VM was not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TableError {
    /// There is no free slot.
    Full,
    /// Another VM has this index (VMS4012).
    IndexTaken,
    /// Another VM has this name (VMS4013).
    NameTaken,
}

impl fmt::Display for TableError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "no free slot for another VM",
            Self::IndexTaken => "the VM index is taken",
            Self::NameTaken => "the VM name is taken",
        })
    }
}

impl core::error::Error for TableError {}

/// The VMs of one monitor.
#[derive(Debug)]
pub struct VmTable<'s> {
    slots: &'s mut [Option<VmBlock>],
}

impl<'s> VmTable<'s> {
    /// A table over these slots; blocks that are in them stay.
    #[must_use]
    pub const fn new(slots: &'s mut [Option<VmBlock>]) -> Self {
        Self { slots }
    }

    /// Enters a VM.
    ///
    /// # Errors
    /// Index or name are taken, or there is no free slot.
    pub fn insert(&mut self, block: VmBlock) -> Result<(), TableError> {
        if self.get(VmId::Index(block.index())).is_some() {
            return Err(TableError::IndexTaken);
        }
        if self.get(VmId::Name(block.name())).is_some() {
            return Err(TableError::NameTaken);
        }
        let slot = self.slots.iter_mut().find(|slot| slot.is_none()).ok_or(TableError::Full)?;
        *slot = Some(block);
        Ok(())
    }

    /// The VM with this identification.
    #[must_use]
    pub fn get(&self, id: VmId) -> Option<&VmBlock> {
        self.iter().find(|block| is(block, id))
    }

    /// Replaces the block of the VM with the same index and name by `block`; gives back whether
    /// there was one.
    pub fn update(&mut self, block: VmBlock) -> bool {
        let same = |known: &VmBlock| known.index() == block.index() && known.name() == block.name();
        let slot = self.slots.iter_mut().find(|slot| slot.as_ref().is_some_and(same));
        slot.map(|slot| *slot = Some(block)).is_some()
    }

    /// Takes a VM out.
    pub fn remove(&mut self, id: VmId) -> Option<VmBlock> {
        let found = |slot: &&mut Option<VmBlock>| slot.as_ref().is_some_and(|block| is(block, id));
        self.slots.iter_mut().find(found)?.take()
    }

    /// All VMs, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &VmBlock> {
        self.slots.iter().flatten()
    }
}

fn is(block: &VmBlock, id: VmId) -> bool {
    match id {
        VmId::Index(index) => block.index() == index,
        VmId::Name(name) => block.name() == name,
    }
}

/// The table of a monitor that runs on several processors. The lock is held for one closure at a
/// time, which must not wait for anything.
#[derive(Debug)]
pub struct SharedVmTable<'s> {
    table: Mutex<VmTable<'s>>,
}

impl<'s> SharedVmTable<'s> {
    /// A table over these slots; blocks that are in them stay.
    #[must_use]
    pub const fn new(slots: &'s mut [Option<VmBlock>]) -> Self {
        Self { table: Mutex::new(VmTable::new(slots)) }
    }

    /// Does something with the table, alone.
    pub fn with<R>(&self, action: impl FnOnce(&mut VmTable<'s>) -> R) -> R {
        action(&mut self.table.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::PageCount;

    fn block(index: u8, name: &str) -> VmBlock {
        let (index, name) = (VmIndex::new(index).unwrap(), VmName::new(name).unwrap());
        VmBlock::new(index, name, PageCount::new(256), 1).unwrap()
    }

    #[test]
    fn index_and_name_are_unique_and_slots_are_bounded() {
        let mut slots = [None; 2];
        let mut table = VmTable::new(&mut slots);
        assert_eq!(table.insert(block(2, "A")), Ok(()));
        assert_eq!(table.insert(block(2, "B")), Err(TableError::IndexTaken));
        assert_eq!(table.insert(block(3, "A")), Err(TableError::NameTaken));
        assert_eq!(table.insert(block(3, "B")), Ok(()));
        assert_eq!(table.insert(block(4, "C")), Err(TableError::Full));
        assert!(table.remove(VmId::Name(VmName::new("A").unwrap())).is_some());
        assert_eq!(table.insert(block(4, "C")), Ok(()));
        assert_eq!(table.iter().count(), 2);
    }

    #[test]
    fn an_update_needs_the_same_vm() {
        let mut slots = [None; 2];
        let mut table = VmTable::new(&mut slots);
        table.insert(block(2, "A")).unwrap();
        assert!(table.update(block(2, "A").with_migration_count(7)));
        assert!(!table.update(block(2, "B")));
        let id = VmId::Index(VmIndex::new(2).unwrap());
        assert_eq!(table.get(id).map(VmBlock::migration_count), Some(7));
    }

    #[test]
    fn several_processors_enter_each_vm_once() {
        let mut slots = [None; 98];
        let table = SharedVmTable::new(&mut slots);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for index in 2..=99 {
                        let name = std::format!("VM{index}");
                        // Only the first of the four is to enter it.
                        let entered = table.with(|it| it.insert(block(index, &name)));
                        assert!(matches!(entered, Ok(()) | Err(TableError::IndexTaken)));
                    }
                });
            }
        });
        assert_eq!(table.with(|it| it.iter().count()), 98);
    }
}
