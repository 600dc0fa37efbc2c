//! The cluster directory in memory: ownership records that change by compare-and-set alone.
//!
//! Source of truth: `monitor_core::ports::ClusterDirectory`. Invariant: an answer is given once,
//! after what it says has happened. Deliberately not here: several processes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use monitor_core::{
    ports::{ClusterDirectory, ErrorKind, ErrorType},
    units::VmName,
    vm::{DirectoryAnswer, Ownership},
};

/// The records, and whether they can be reached.
#[derive(Debug, Default)]
pub struct Directory {
    records: Mutex<BTreeMap<VmName, Ownership>>,
    unreachable: AtomicBool,
}

impl Directory {
    /// Enters the record of a new VM.
    pub fn enter(&self, vm: VmName, ownership: Ownership) {
        self.locked(|records| records.insert(vm, ownership));
    }

    /// The record of a VM, for a judge; the ports may be cut off meanwhile.
    #[must_use]
    pub fn record(&self, vm: VmName) -> Option<Ownership> {
        self.locked(|records| records.get(&vm).copied())
    }

    /// Cuts all ports off, or lets them through again.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.unreachable.store(unreachable, Relaxed);
    }

    fn compare_and_set(&self, vm: VmName, expected: Ownership, new: Ownership) -> DirectoryAnswer {
        self.locked(|records| match records.get_mut(&vm) {
            None => DirectoryAnswer::Missing,
            Some(record) if *record == expected => {
                *record = new;
                DirectoryAnswer::Won
            }
            Some(record) => DirectoryAnswer::Lost(*record),
        })
    }

    fn locked<T>(&self, action: impl FnOnce(&mut BTreeMap<VmName, Ownership>) -> T) -> T {
        action(&mut self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One monitor's access to the directory.
#[derive(Debug)]
pub struct DirectoryPort {
    directory: Arc<Directory>,
    answer: Option<DirectoryAnswer>,
}

impl DirectoryPort {
    /// An access that waits for no answer.
    #[must_use]
    pub const fn new(directory: Arc<Directory>) -> Self {
        Self { directory, answer: None }
    }

    fn ask(&mut self, question: impl FnOnce(&Directory) -> DirectoryAnswer) {
        self.answer = Some(if self.directory.unreachable.load(Relaxed) {
            DirectoryAnswer::Unreachable
        } else {
            question(&self.directory)
        });
    }
}

impl ErrorType for DirectoryPort {
    type Error = ErrorKind;
}

impl ClusterDirectory for DirectoryPort {
    fn start_read(&mut self, vm: VmName) -> Result<(), ErrorKind> {
        self.ask(|it| it.record(vm).map_or(DirectoryAnswer::Missing, DirectoryAnswer::Record));
        Ok(())
    }

    fn start_compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        self.ask(|it| it.compare_and_set(vm, expected, new));
        Ok(())
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        self.answer.take()
    }
}

#[cfg(test)]
mod tests {
    use monitor_core::{
        units::{Epoch, SuName},
        vm::Standing,
    };

    use super::*;

    fn owned(su: &str, epoch: u64) -> Ownership {
        Ownership::running(SuName::new(su).unwrap(), Epoch::new(epoch))
    }

    #[test]
    fn a_record_changes_only_from_the_expected_value() {
        let vm = VmName::new("VM").unwrap();
        let directory = Arc::new(Directory::default());
        let mut port = DirectoryPort::new(Arc::clone(&directory));
        let mut set = |expected, new| {
            port.start_compare_and_set(vm, expected, new).unwrap();
            port.poll_answer()
        };
        assert_eq!(set(owned("A", 1), owned("B", 2)), Some(DirectoryAnswer::Missing));
        directory.enter(vm, owned("A", 1));
        assert_eq!(set(owned("A", 1), owned("B", 2)), Some(DirectoryAnswer::Won));
        let lost = DirectoryAnswer::Lost(owned("B", 2));
        assert_eq!(set(owned("A", 1), owned("A", 2)), Some(lost));
        assert_eq!(set(owned("B", 1), owned("A", 2)), Some(lost));
        // A VM that runs is not one that is only claimed.
        let claimed = owned("B", 2).at(Standing::Claimed);
        assert_eq!(set(claimed, owned("A", 3)), Some(lost));
        directory.set_unreachable(true);
        assert_eq!(set(owned("B", 2), owned("A", 3)), Some(DirectoryAnswer::Unreachable));
        assert_eq!(directory.record(vm), Some(owned("B", 2)));
    }
}
