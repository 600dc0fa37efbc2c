//! What a file holds that is to be the image of a disk.
//!
//! Source of truth: Hercules, `dasdblks.h` (uncompressed CKD and FBA files). Invariant: a file is
//! looked at and never changed. Deliberately not here: how an image is read, written and made.

use super::{CkdDisk, FbaDisk};
use std::{
    fmt, fs,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

/// How a disk keeps its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFormat {
    /// In blocks.
    #[default]
    Fba,
    /// In tracks of records with count, key and data.
    Ckd,
}

/// Why a file cannot be the image of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It cannot be read and written.
    Unusable(ErrorKind),
    /// It is not there, and neither is the folder for it.
    NoFolder,
    /// It is something else than a file.
    NoFile,
    /// It holds something else.
    OtherContent(DiskFormat),
    /// It is no whole number of blocks or cylinders, or too many.
    WrongSize(DiskFormat),
}

impl fmt::Display for ImageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(kind) => write!(formatter, "cannot be used: {kind}"),
            Self::NoFolder => formatter.write_str("cannot be made: there is no such folder"),
            Self::NoFile => formatter.write_str("is no file"),
            Self::OtherContent(DiskFormat::Fba) => {
                formatter.write_str("is no uncompressed image of an FBA disk")
            }
            Self::OtherContent(DiskFormat::Ckd) => {
                formatter.write_str("is no uncompressed image of a 3390")
            }
            Self::WrongSize(DiskFormat::Fba) => {
                formatter.write_str("has a wrong size: an FBA disk has whole blocks of 512 bytes")
            }
            Self::WrongSize(DiskFormat::Ckd) => {
                formatter.write_str("has a wrong size: a CKD disk has a header and whole cylinders")
            }
        }
    }
}

impl std::error::Error for ImageError {}

impl From<io::Error> for ImageError {
    fn from(error: io::Error) -> Self {
        Self::Unusable(error.kind())
    }
}

impl DiskFormat {
    /// How many blocks or cylinders the image in the file at `path` has; `None` when it is still
    /// to be made there.
    ///
    /// # Errors
    /// Fails when the file cannot be the image of such a disk.
    pub fn size_in_file(self, path: &Path) -> Result<Option<u32>, ImageError> {
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return may_be_made(path),
            found => found?.is_file().then_some(()).ok_or(ImageError::NoFile)?,
        }
        let file = File::options().read(true).write(true).open(path)?;
        let byte_count = file.metadata()?.len();
        if byte_count == 0 {
            return Ok(None);
        }
        let mut head = [0; 17];
        if byte_count > head.len() as u64 {
            file.read_exact_at(&mut head, 0)?;
        }
        let is_content_right = match self {
            Self::Fba => !head.starts_with(b"CKD_") && !head.starts_with(b"FBA_C370"),
            // One of zeros is yet to be formatted.
            Self::Ckd => head == CkdDisk::HEADER || head == [0; 17],
        };
        if !is_content_right {
            return Err(ImageError::OtherContent(self));
        }
        let (head_bytes, unit_bytes, most) = match self {
            Self::Fba => (0, FbaDisk::BLOCK_BYTES as u64, u32::MAX),
            Self::Ckd => (CkdDisk::HEADER_BYTES, CkdDisk::CYLINDER_BYTES, u32::from(u16::MAX)),
        };
        let count = byte_count.checked_sub(head_bytes).filter(|rest| rest % unit_bytes == 0);
        let count = count.and_then(|rest| u32::try_from(rest / unit_bytes).ok());
        let count = count.filter(|count| (1..=most).contains(count));
        count.map(Some).ok_or(ImageError::WrongSize(self))
    }
}

/// Whether a file that is not there can be made.
fn may_be_made(path: &Path) -> Result<Option<u32>, ImageError> {
    let folder = path.parent().ok_or(ImageError::NoFile)?;
    let is_there = folder.as_os_str().is_empty() || folder.is_dir();
    if is_there { Ok(None) } else { Err(ImageError::NoFolder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_that_a_disk_has_made_has_the_size_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        assert_eq!(DiskFormat::Fba.size_in_file(&path), Ok(None));
        assert!(!path.exists(), "looking makes no file");
        FbaDisk::in_file(&path, 40).unwrap();
        assert_eq!(DiskFormat::Fba.size_in_file(&path), Ok(Some(40)));
        let path = folder.path().join("tracks");
        CkdDisk::in_file(&path, 3).unwrap();
        assert_eq!(DiskFormat::Ckd.size_in_file(&path), Ok(Some(3)));
        let other = Err(ImageError::OtherContent(DiskFormat::Fba));
        assert_eq!(DiskFormat::Fba.size_in_file(&path), other);
    }

    #[test]
    fn file_that_is_no_image_is_refused_and_stays_as_it_is() {
        use DiskFormat::{Ckd, Fba};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let mut short = CkdDisk::HEADER.to_vec();
        short.resize(1000, 0);
        for (format, bytes, expected) in [
            (Fba, vec![1; 513], ImageError::WrongSize(Fba)),
            (Fba, vec![1; 5], ImageError::WrongSize(Fba)),
            (Ckd, vec![1; 1024], ImageError::OtherContent(Ckd)),
            (Ckd, short, ImageError::WrongSize(Ckd)),
            (Ckd, vec![0; 512], ImageError::WrongSize(Ckd)),
        ] {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(format.size_in_file(&path), Err(expected));
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        let nowhere = folder.path().join("none").join("image");
        assert_eq!(Fba.size_in_file(&nowhere), Err(ImageError::NoFolder));
        assert_eq!(Fba.size_in_file(folder.path()), Err(ImageError::NoFile));
    }
}
