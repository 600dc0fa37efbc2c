//! Where a channel program stands on a CKD disk, and what it has said so far.
//!
//! Source of truth: 3990 Storage Control Reference ("Orientation", "Define Extent", "Locate
//! Record"). Invariant: all that a command leaves behind for the next one of its channel program
//! is here; the disk itself remembers none of it. Deliberately not here: the tracks.

use super::track::{COUNT_BYTES, Count, HOME_BYTES, Surface, Track};

/// What was read or written last on the track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing: the index point is behind, the home address next.
    #[default]
    Index,
    /// The count area of the current record.
    Count,
    /// Its key area.
    Key,
    /// Its data area.
    Data,
    /// The mark behind the last record.
    End,
}

/// A Locate Record domain: the commands for which a LOCATE RECORD has prepared the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Domain {
    pub(super) operation: u8,
    pub(super) auxiliary: u8,
    /// Commands that are still to come.
    pub(super) count: u8,
    /// The transfer length factor.
    pub(super) length: u16,
}

/// Where a channel program stands on a CKD disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackPosition {
    pub(super) track: Track,
    pub(super) place: Place,
    /// Where the count area of the current record is, and what it says.
    pub(super) at: usize,
    pub(super) count: Count,
    pub(super) domain: Option<Domain>,
    pub(super) file_mask: u8,
    pub(super) attributes: u8,
    pub(super) block_bytes: u16,
    /// The first and the last track that the channel program may use.
    pub(super) extent: (Track, Track),
    pub(super) is_extent_defined: bool,
    pub(super) is_mask_set: bool,
    /// A seek or a locate has chosen a track.
    pub(super) is_track_chosen: bool,
    /// The index point was passed in search of a record.
    pub(super) index_passed: bool,
    /// The command before has found this very home address, record or key, or has written a
    /// record: what entitles to write.
    pub(super) home_is_equal: bool,
    pub(super) id_is_equal: bool,
    pub(super) key_is_equal: bool,
    pub(super) has_formatted: bool,
    /// The command before, 0 if there was none.
    pub(super) previous: u8,
}

impl TrackPosition {
    /// The begin of a channel program, with the arm on `track`.
    pub(super) fn begin(surface: &Surface<'_>, track: Track) -> Self {
        Self {
            track,
            place: Place::Index,
            at: 0,
            count: Count::default(),
            domain: None,
            file_mask: 0,
            attributes: 0,
            block_bytes: 0,
            extent: (Track::default(), surface.last()),
            is_extent_defined: false,
            is_mask_set: false,
            is_track_chosen: false,
            index_passed: false,
            home_is_equal: false,
            id_is_equal: false,
            key_is_equal: false,
            has_formatted: false,
            previous: 0,
        }
    }

    /// Moves to the index point of `track`.
    pub(super) fn go_to(&mut self, track: Track) {
        self.track = track;
        self.place = Place::Index;
        self.at = 0;
        self.count = Count::default();
    }

    /// Whether the channel program may use `track`.
    pub(super) fn admits(&self, track: Track) -> bool {
        (self.extent.0..=self.extent.1).contains(&track)
    }

    /// Where the count area of the next record is.
    pub(super) fn next_at(&self) -> usize {
        match self.place {
            Place::Index => HOME_BYTES,
            _ => self.at + self.count.record_length(),
        }
    }

    /// Where the key area of the current record is.
    pub(super) const fn key_at(&self) -> usize {
        self.at + COUNT_BYTES
    }

    /// Where the data area of the current record is.
    pub(super) fn data_at(&self) -> usize {
        self.key_at() + self.count.key_length()
    }

    /// Whether the channel program is in a Locate Record domain.
    pub(super) const fn is_in_domain(&self) -> bool {
        self.domain.is_some()
    }

    /// Takes note of the end of a command.
    pub(super) fn ended(&mut self, command: u8) {
        let single_track = command & 0x7F;
        self.home_is_equal &= single_track == 0x39;
        self.id_is_equal &= matches!(single_track, 0x31 | 0x05 | 0x06 | 0x0D | 0x0E);
        self.key_is_equal &= matches!(single_track, 0x29 | 0x05 | 0x06);
        self.has_formatted &= matches!(command, 0x15 | 0x1D);
        self.previous = command;
        if command != super::LOCATE {
            self.domain = self.domain.and_then(|domain| {
                let count = domain.count.checked_sub(1).filter(|count| *count > 0)?;
                Some(Domain { count, ..domain })
            });
        }
    }
}
