//! The configuration disk of a machine: text in front, room for the monitor's journal behind.
//!
//! Source of truth: the head of `tests/images/su390/src/monitor/config.rs`. Invariant: the
//! text lies in the first 4 KiB, filled up with zeros; the journal's part is zero at first.
//! Deliberately not here: what the monitor makes of the text.

use std::{fs, path::Path};

use crate::failure::{Failure, Result, ensure};

/// Bytes of the text.
const TEXT_BYTES: usize = 4096;

/// Bytes of the whole disk.
const DISK_BYTES: usize = 64 << 10;

/// Writes a disk with this text.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    ensure(text.len() < TEXT_BYTES, || format!("{} bytes of configuration", text.len()))?;
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(DISK_BYTES, 0);
    fs::write(path, bytes).map_err(|error| Failure::of_io("cannot write", path, &error))
}
