//! The image of a disk: bytes by their offset, in memory or in a file.
//!
//! Source of truth: this file. Invariants: what was never written is zero; a write is there for
//! the next read by anybody who has the image, also in another process. Deliberately not here:
//! what the bytes mean, and an order between processes (see the books of a disk).

use crate::machine::lock;
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
    sync::Mutex,
};

/// What a disk keeps its data in.
pub(super) trait Image: Send + Sync + fmt::Debug {
    /// Fills `target` with the bytes from `offset`.
    ///
    /// # Errors
    /// Fails when the medium does.
    fn read(&self, offset: u64, target: &mut [u8]) -> io::Result<()>;

    /// Puts `source` at `offset`.
    ///
    /// # Errors
    /// Fails when the medium does; part of `source` may have been written then.
    fn write(&self, offset: u64, source: &[u8]) -> io::Result<()>;
}

const CHUNK_BYTES: usize = 4096;

/// An image in memory that has only what was written.
#[derive(Default)]
pub(super) struct MemoryImage {
    chunks: Mutex<BTreeMap<u64, Box<[u8; CHUNK_BYTES]>>>,
}

impl MemoryImage {
    /// An image of zeros.
    pub(super) fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunk_count = lock(&self.chunks).len();
        formatter.debug_struct("MemoryImage").field("chunk_count", &chunk_count).finish()
    }
}

/// The pieces of so many bytes from `offset`: chunk, place in the chunk, and place in the bytes.
fn pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let inner = (at % CHUNK_BYTES as u64) as usize;
        let size = (CHUNK_BYTES - inner).min(length - done);
        let range = done..done + size;
        done += size;
        (size > 0).then_some((at / CHUNK_BYTES as u64, inner, range))
    })
}

impl Image for MemoryImage {
    fn read(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        let chunks = lock(&self.chunks);
        for (chunk, inner, range) in pieces(offset, target.len()) {
            let size = range.len();
            match chunks.get(&chunk) {
                Some(chunk) => target[range].copy_from_slice(&chunk[inner..inner + size]),
                None => target[range].fill(0),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        let mut chunks = lock(&self.chunks);
        for (chunk, inner, range) in pieces(offset, source.len()) {
            let chunk = chunks.entry(chunk).or_insert_with(|| Box::new([0; CHUNK_BYTES]));
            chunk[inner..inner + range.len()].copy_from_slice(&source[range]);
        }
        Ok(())
    }
}

/// An image in a file, which several processes may have open.
#[derive(Debug)]
pub(super) struct FileImage {
    file: File,
}

impl FileImage {
    /// The image in the file at `path`, which is created when it is not there; an empty one gets
    /// so many bytes of zeros.
    ///
    /// # Errors
    /// Fails when the file cannot be opened for reading and writing, or has no room.
    pub(super) fn open(path: &Path, byte_count: u64) -> io::Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() == 0 {
            file.set_len(byte_count)?;
        }
        Ok(Self { file })
    }
}

impl Image for FileImage {
    fn read(&self, offset: u64, target: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < target.len() {
            match self.file.read_at(&mut target[done..], offset + done as u64) {
                // Behind the end of the file nothing was written.
                Ok(0) => {
                    target[done..].fill(0);
                    break;
                }
                Ok(length) => done += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, source: &[u8]) -> io::Result<()> {
        self.file.write_all_at(source, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaves_like_bytes(image: &dyn Image) {
        let mut model = vec![0_u8; 5 * CHUNK_BYTES];
        for (step, (offset, length)) in
            [(0, 1), (4095, 2), (4096, 4096), (100, 9000), (8191, 1), (16000, 0)]
                .into_iter()
                .enumerate()
        {
            let bytes: Vec<u8> = (0..length).map(|n| (n + 7 * step + 1) as u8).collect();
            image.write(offset as u64, &bytes).unwrap();
            model[offset..offset + length].copy_from_slice(&bytes);
        }
        let mut found = vec![1; model.len()];
        image.read(0, &mut found).unwrap();
        assert_eq!(found, model);
        let mut found = [1; 300];
        image.read(3900, &mut found).unwrap();
        assert_eq!(found[..], model[3900..4200]);
    }

    #[test]
    fn image_in_memory_and_image_in_a_file_behave_like_bytes() {
        behaves_like_bytes(&MemoryImage::new());
        let directory = tempfile::tempdir().unwrap();
        behaves_like_bytes(&FileImage::open(&directory.path().join("image"), 0).unwrap());
    }

    #[test]
    fn file_opened_twice_is_one_image() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let open = || FileImage::open(&path, 0).unwrap();
        let (one, other) = (open(), open());
        one.write(5000, b"record").unwrap();
        let mut found = [0; 6];
        other.read(5000, &mut found).unwrap();
        assert_eq!(&found, b"record");
    }
}
