//! The disks of a cluster: in memory, or in an image file that all SUs share.
//!
//! Source of truth: the configuration. Invariants: a disk is made once and every SU has the same
//! one; a file that cannot be its image is not changed. Deliberately not here: which SU reaches it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use monitor_core::{device::DeviceKind, units::Mnemonic};

use crate::{
    config::{Config, Device as DeviceConfig},
    machine::{CkdDisk, Device, DiskFormat, Faulty, FbaDisk, ImageError, LoggedDisk},
    workload::{JOURNAL_BLOCKS, JOURNAL_CYLINDERS},
};

/// A disk as those see it who do I/O: it goes wrong as it is told to.
#[derive(Clone, Debug)]
pub(super) struct ClusterDisk {
    /// The disk itself, if it is one in blocks.
    pub(super) blocks: Option<Arc<FbaDisk>>,
    /// The disk itself, which knows what was written.
    pub(super) logged: Arc<dyn LoggedDisk>,
    /// The disk with its script of faults.
    pub(super) faulty: Arc<Faulty>,
}

impl ClusterDisk {
    /// A new disk in memory, which is empty.
    pub(super) fn in_memory(format: DiskFormat) -> Self {
        match format {
            DiskFormat::Fba => Self::of_blocks(FbaDisk::in_memory(JOURNAL_BLOCKS)),
            DiskFormat::Ckd => Self::of_tracks(CkdDisk::in_memory(JOURNAL_CYLINDERS)),
        }
    }

    /// The disk in the file at `path`, which is made if it is not there.
    fn in_file(format: DiskFormat, path: &Path) -> Result<Self, ImageError> {
        let size = format.size_in_file(path)?;
        Ok(match format {
            DiskFormat::Fba => {
                Self::of_blocks(FbaDisk::in_file(path, size.unwrap_or(JOURNAL_BLOCKS))?)
            }
            DiskFormat::Ckd => {
                let cylinders = size.and_then(|size| u16::try_from(size).ok());
                Self::of_tracks(CkdDisk::in_file(path, cylinders.unwrap_or(JOURNAL_CYLINDERS))?)
            }
        })
    }

    fn of_blocks(disk: FbaDisk) -> Self {
        let disk = Arc::new(disk);
        Self { blocks: Some(Arc::clone(&disk)), ..Self::of(disk) }
    }

    fn of_tracks(disk: CkdDisk) -> Self {
        Self::of(Arc::new(disk))
    }

    fn of(disk: Arc<impl LoggedDisk + 'static>) -> Self {
        let device: Arc<dyn Device> = Arc::clone(&disk) as _;
        Self { blocks: None, logged: disk, faulty: Arc::new(Faulty::new(device)) }
    }

    /// The disk as a channel program reaches it.
    pub(super) fn device(&self) -> Arc<dyn Device> {
        Arc::<Faulty>::clone(&self.faulty)
    }
}

/// The disks of a configuration.
pub(super) fn of(config: &Config) -> Result<BTreeMap<Mnemonic, ClusterDisk>, ImageError> {
    let disk = |device: &DeviceConfig| {
        let disk = match &device.image {
            Some(path) => ClusterDisk::in_file(device.format(), path)?,
            None => ClusterDisk::in_memory(device.format()),
        };
        Ok((device.mnemonic, disk))
    };
    let is_disk = |device: &&DeviceConfig| device.kind == DeviceKind::Disk;
    config.vm.devices.iter().filter(is_disk).map(disk).collect()
}
