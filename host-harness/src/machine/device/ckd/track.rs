//! Count-key-data tracks on an image: home address, records, and the mark behind the last one.
//!
//! The image has the layout of Hercules's uncompressed CKD files, so that either program can read
//! the other's disks.
//!
//! Source of truth: 3990 Storage Control Reference, "Track format"; Hercules, `dasdblks.h`.
//! Invariants: each track ends with a mark within its bytes; a field is read and written as a
//! whole. Deliberately not here: orientation, which belongs to a channel program.

use super::check::Check;
use crate::machine::device::image::Image;

/// Tracks of a cylinder.
pub(super) const HEADS: u16 = 15;
/// The longest data area of a record behind record zero.
pub(super) const DATA_BYTES_MAX: usize = 56_664;
/// The longest data area of record zero.
pub(super) const RECORD_ZERO_BYTES_MAX: u16 = 57_326;
/// Bytes of a count area.
pub(super) const COUNT_BYTES: usize = 8;
/// Bytes of a home address.
pub(super) const HOME_BYTES: usize = 5;

/// Bytes before the first track.
pub(super) const HEADER_BYTES: u64 = 512;
/// Bytes of a track.
pub(super) const TRACK_BYTES: usize = 56_832;
const MAGIC: [u8; 8] = *b"CKD_P370";
/// The header as far as it is not zero: what it is, heads and bytes of a track, the device's type.
pub(super) const HEADER: [u8; 17] = {
    let mut header = [0; 17];
    let (magic, rest) = header.split_at_mut(8);
    magic.copy_from_slice(&MAGIC);
    let (heads, rest) = rest.split_at_mut(4);
    heads.copy_from_slice(&(HEADS as u32).to_le_bytes());
    let (track, device) = rest.split_at_mut(4);
    track.copy_from_slice(&(TRACK_BYTES as u32).to_le_bytes());
    device[0] = 0x90;
    header
};

/// A track of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Track {
    pub(super) cylinder: u16,
    pub(super) head: u16,
}

impl Track {
    /// The track of these four bytes.
    pub(super) const fn from_bytes([a, b, c, d]: [u8; 4]) -> Self {
        Self { cylinder: u16::from_be_bytes([a, b]), head: u16::from_be_bytes([c, d]) }
    }

    /// The four bytes of a track.
    pub(super) const fn to_bytes(self) -> [u8; 4] {
        let [a, b] = self.cylinder.to_be_bytes();
        let [c, d] = self.head.to_be_bytes();
        [a, b, c, d]
    }

    /// Its place among all tracks of the disk.
    pub(super) fn number(self) -> u32 {
        u32::from(self.cylinder) * u32::from(HEADS) + u32::from(self.head)
    }
}

/// A count area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) [u8; COUNT_BYTES]);

impl Count {
    /// What stands behind the last record.
    pub(super) const END: Self = Self([0xFF; COUNT_BYTES]);

    /// Cylinder, head and number of the record.
    pub(super) fn id(&self) -> &[u8] {
        &self.0[..5]
    }

    pub(super) const fn record(&self) -> u8 {
        self.0[4]
    }

    pub(super) fn key_length(&self) -> usize {
        usize::from(self.0[5])
    }

    pub(super) fn data_length(&self) -> usize {
        usize::from(u16::from_be_bytes([self.0[6], self.0[7]]))
    }

    /// Bytes of count, key and data.
    pub(super) fn record_length(&self) -> usize {
        COUNT_BYTES + self.key_length() + self.data_length()
    }
}

/// The tracks of a disk on its image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface<'a> {
    pub(super) image: &'a dyn Image,
    pub(super) cylinders: u16,
}

impl Surface<'_> {
    /// Whether there is such a track.
    pub(super) const fn contains(&self, track: Track) -> bool {
        track.cylinder < self.cylinders && track.head < HEADS
    }

    /// The last track.
    pub(super) const fn last(&self) -> Track {
        Track { cylinder: self.cylinders.saturating_sub(1), head: HEADS - 1 }
    }

    /// Gives an image of zeros its header, and each track home address, record zero and end mark.
    pub(super) fn format_if_new(&self) -> Result<(), Check> {
        let mut magic = [0; MAGIC.len()];
        self.image.read(0, &mut magic)?;
        if magic == MAGIC {
            return Ok(());
        }
        for number in 0..u32::from(self.cylinders) * u32::from(HEADS) {
            let head = (number % u32::from(HEADS)) as u16;
            let cylinder = (number / u32::from(HEADS)) as u16;
            let track = Track { cylinder, head };
            let mut bytes = Vec::with_capacity(HOME_BYTES + 3 * COUNT_BYTES);
            bytes.push(0);
            bytes.extend(track.to_bytes());
            bytes.extend(track.to_bytes());
            bytes.extend([0, 0, 0, 8]);
            bytes.extend([0; 8]);
            bytes.extend(Count::END.0);
            self.write(track, 0, &bytes)?;
        }
        // The header comes last, for it says that all is there.
        Ok(self.image.write(0, &HEADER)?)
    }

    /// The home address: a byte of zero, cylinder and head.
    pub(super) fn home(&self, track: Track) -> Result<[u8; HOME_BYTES], Check> {
        let mut home = [0; HOME_BYTES];
        self.read(track, 0, &mut home)?;
        Ok(home)
    }

    /// The count area at this place of a track.
    pub(super) fn count(&self, track: Track, at: usize) -> Result<Count, Check> {
        let mut count = Count::default();
        self.read(track, at, &mut count.0)?;
        Ok(count)
    }

    /// Whether a record fits at this place of a track, with the mark behind it.
    pub(super) fn fits(&self, at: usize, count: &Count) -> bool {
        let data_fits = count.record() == 0 || count.data_length() <= DATA_BYTES_MAX;
        data_fits && at + count.record_length() + COUNT_BYTES < TRACK_BYTES
    }

    pub(super) fn read(&self, track: Track, at: usize, target: &mut [u8]) -> Result<(), Check> {
        let offset = self.offset(track, at, target.len())?;
        Ok(self.image.read(offset, target)?)
    }

    pub(super) fn write(&self, track: Track, at: usize, source: &[u8]) -> Result<(), Check> {
        let offset = self.offset(track, at, source.len())?;
        Ok(self.image.write(offset, source)?)
    }

    /// Where the bytes are on the image; a place outside of the track means that its format is
    /// broken.
    fn offset(&self, track: Track, at: usize, length: usize) -> Result<u64, Check> {
        if !self.contains(track) || at + length > TRACK_BYTES {
            return Err(Check::Equipment);
        }
        Ok(HEADER_BYTES + u64::from(track.number()) * TRACK_BYTES as u64 + at as u64)
    }
}
