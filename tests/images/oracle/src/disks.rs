//! The files of the fixed-block disks.
//!
//! Source of truth: `oracle_sequences::disk`. Invariant: every implementation is given the same
//! bytes. Deliberately not here: the count-key-data disk, whose tracks the sequences format.

use std::{fs, path::Path};

use oracle_sequences::disk::{BLOCK_BYTES, BLOCK_COUNT, PATTERN_BLOCK_COUNT, pattern};

use crate::failure::{Failure, Result};

/// Writes a disk.
pub(crate) fn write(path: &Path) -> Result<()> {
    let patterned = (0..PATTERN_BLOCK_COUNT * BLOCK_BYTES).map(pattern);
    let zeros = (PATTERN_BLOCK_COUNT * BLOCK_BYTES..BLOCK_COUNT * BLOCK_BYTES).map(|_| 0);
    let disk: Vec<_> = patterned.chain(zeros).collect();
    fs::write(path, disk)
        .map_err(|error| Failure::of_io("write", &path.display().to_string(), &error))
}
