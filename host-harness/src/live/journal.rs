//! A monitor's journal as a file, for a restart of the monitor.
//!
//! A record takes the place of the one before by a rename, so that a reader finds the one or the
//! other, whole, wherever the writer was ended. Nothing is flushed to the disk: only a restart of
//! the monitor is covered, which the file system's cache survives. With the SU the guest itself
//! is lost, and then a record of it is of no use. A file system in memory is the best place: some
//! records lie in the blackout, and a rename on a disk can wait for what others write there.
//!
//! Source of truth: `monitor_core::ports::MonitorJournal`. Invariant: an empty record is no file.
//! Deliberately not here: what a record says.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use monitor_core::ports::ErrorKind;

use crate::machine::{Journal, PortFailure};

/// The journal at a path.
#[derive(Clone, Debug)]
pub struct JournalFile {
    path: PathBuf,
    /// Where a record is written before it takes its place, in the same folder.
    draft: PathBuf,
}

impl JournalFile {
    /// The journal at this path, which one monitor uses at a time. No file is made.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let mut draft = OsString::from(path);
        draft.push(".new");
        Self { path: path.to_owned(), draft: draft.into() }
    }

    /// Keeps `record` in place of the one before; an empty one removes it.
    ///
    /// # Errors
    /// Fails when the file cannot be written; the record before is still there then.
    pub fn save(&mut self, record: &[u8]) -> io::Result<()> {
        if record.is_empty() {
            return if_present(fs::remove_file(&self.path)).map(|_| ());
        }
        fs::write(&self.draft, record)?;
        fs::rename(&self.draft, &self.path)
    }

    /// The record that was kept last, if there is one.
    ///
    /// # Errors
    /// Fails when there is a file that cannot be read.
    pub fn load(&self) -> io::Result<Option<Vec<u8>>> {
        if_present(fs::read(&self.path))
    }
}

impl Journal for JournalFile {
    fn save(&mut self, record: &[u8]) -> Result<(), PortFailure> {
        let failure =
            |_| PortFailure { kind: ErrorKind::NoResource, text: "the journal cannot be written" };
        Self::save(self, record).map_err(failure)
    }
}

/// Takes a file that is not there for nothing, and not for a failure.
fn if_present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_kept_last_is_read_back_by_the_next_monitor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("VM12PROD.journal");
        let mut journal = JournalFile::new(&path);
        assert_eq!(journal.load().unwrap(), None);
        journal.save(&[1; 500]).unwrap();
        journal.save(&[2, 3]).unwrap();
        assert_eq!(JournalFile::new(&path).load().unwrap(), Some(vec![2, 3]));
        journal.save(&[]).unwrap();
        journal.save(&[]).unwrap();
        assert_eq!(JournalFile::new(&path).load().unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_monitor_that_is_ended_while_it_writes_leaves_the_record_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("VM12PROD.journal");
        let mut journal = JournalFile::new(&path);
        journal.save(b"before").unwrap();
        fs::write(&journal.draft, b"hal").unwrap();
        assert_eq!(JournalFile::new(&path).load().unwrap(), Some(b"before".to_vec()));
        journal.save(b"after").unwrap();
        assert_eq!(JournalFile::new(&path).load().unwrap(), Some(b"after".to_vec()));
    }

    #[test]
    fn a_record_that_cannot_be_written_fails_and_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("VM12PROD.journal");
        let mut journal = JournalFile::new(&path);
        journal.save(b"before").unwrap();
        fs::create_dir(&journal.draft).unwrap();
        let failed = Journal::save(&mut journal, b"after").unwrap_err();
        assert_eq!(failed.kind, ErrorKind::NoResource);
        assert_eq!(journal.load().unwrap(), Some(b"before".to_vec()));
    }
}
