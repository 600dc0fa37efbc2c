//! One command of a CKD disk: dispatch, and the search for the next record.
//!
//! Source of truth: 3990 Storage Control Reference, chapter "Commands". Invariants: a command
//! that ends with unit check has changed no track; a search that meets the index point twice ends.
//! Deliberately not here: reservations and path groups, which are no business of a track.

use super::{
    LOCATE,
    check::Check,
    position::{Place, TrackPosition},
    track::{Count, HEADS, Surface, Track},
};
use crate::machine::device::{
    Access, Transfer, command::NO_OPERATION, log::Log, take_padded, take_parameters,
};
use monitor_core::channel::DeviceStatus;

/// What a command that went well adds to channel end and device end.
pub(super) type Done = Result<DeviceStatus, Check>;

/// Nothing to add.
pub(super) const PLAIN: DeviceStatus = DeviceStatus::empty();

/// The bit that makes a command a multitrack one.
pub(super) const MULTITRACK: u8 = 0x80;

/// Seek control of a file mask.
pub(super) const SEEK_CONTROL: u8 = 0x18;
/// Seeks and multitrack operations are inhibited.
pub(super) const NO_SEEK: u8 = 0x18;

/// One command on its way.
#[derive(Debug)]
pub(super) struct Operation<'a, 'data> {
    pub(super) surface: Surface<'a>,
    pub(super) position: &'a mut TrackPosition,
    pub(super) data: &'a mut Data<'data>,
    pub(super) command: u8,
    /// Whose command it is.
    pub(super) access: &'a Access,
    pub(super) log: &'a Log,
}

/// The data of the command.
pub(super) struct Data<'a>(pub(super) &'a mut dyn Transfer);

impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Data").field(&self.0.left()).finish()
    }
}

impl Operation<'_, '_> {
    /// Carries the command out.
    pub(super) fn run(&mut self) -> Done {
        let is_search = is_search(self.command);
        // Only searches and READ COUNT look around on the track without an end of their own.
        if !is_search && !matches!(self.command, 0x12 | 0x22) {
            self.position.index_passed = false;
        }
        self.verify()?;
        match self.command {
            0x02 => self.read_initial_program(),
            0x06 | 0x86 => self.read_data(),
            0x0E | 0x8E => self.read_key_and_data(),
            0x12 | 0x92 => self.read_count(),
            0x16 | 0x96 => self.read_record_zero(),
            0x1A | 0x9A => self.read_home_address(),
            0x1E | 0x9E => self.read_count_key_and_data(),
            0x22 => self.read_sector(),
            0x5E => self.read_multiple(),
            0xDE => self.read_track(),
            0x29 | 0xA9 | 0x49 | 0xC9 | 0x69 | 0xE9 => self.search_key(),
            0x31 | 0xB1 | 0x51 | 0xD1 | 0x71 | 0xF1 => self.search_id(),
            0x39 | 0xB9 => self.search_home_address(),
            0x05 => self.write_data(),
            0x0D => self.write_key_and_data(),
            0x85 => self.update_data(),
            0x8D => self.update_key_and_data(),
            0x11 => self.erase(),
            0x15 => self.write_record_zero(),
            0x1D => self.write_count_key_and_data(),
            0x9D => self.write_on_next_track(),
            0x07 | 0x0B | 0x1B => self.seek(),
            0x1F => self.set_file_mask(),
            0x23 => self.set_sector(),
            LOCATE => self.locate_record(),
            0x63 => self.define_extent(),
            0x64 => self.read_device_characteristics(),
            0xA4 => self.read_and_reset_log(),
            NO_OPERATION if self.position.previous == 0x02 => Ok(PLAIN),
            // Also RESTORE and SUSPEND MULTIPATH RECONNECTION, which an emulated disk need not do.
            NO_OPERATION | 0x17 | 0x5B => self.outside_of_domain().map(|()| PLAIN),
            _ => Err(Check::InvalidCommand),
        }
    }

    /// Makes sure that the current record is still there: another channel program may have
    /// formatted the track since the command before.
    fn verify(&self) -> Result<(), Check> {
        let position = &*self.position;
        let is_transfer = matches!(self.command & 0x03, 0x01 | 0x02);
        if is_transfer && matches!(position.place, Place::Count | Place::Key | Place::Data) {
            let count = self.surface.count(position.track, position.at)?;
            if count != position.count {
                return Err(Check::InvalidTrackFormat);
            }
        }
        Ok(())
    }

    /// Moves to the count area of the next record of the track, or of the next track for a
    /// multitrack command. Record zero is passed over unless the command wants it.
    pub(super) fn next_count(&mut self) -> Result<Count, Check> {
        let wants_record_zero = matches!(self.command & 0x7F, 0x16 | 0x31 | 0x51 | 0x71)
            || matches!(self.command, LOCATE | 0x9D | 0xDE);
        if self.position.place == Place::End {
            self.advance(1)?;
        }
        loop {
            let at = self.position.next_at();
            let count = self.surface.count(self.position.track, at)?;
            if count == Count::END {
                if matches!(self.command, 0x5E | 0xDE) {
                    self.position.place = Place::End;
                    return Ok(count);
                }
                self.pass_end()?;
                continue;
            }
            self.position.at = at;
            self.position.count = count;
            self.position.place = Place::Count;
            if wants_record_zero || count.record() != 0 {
                return Ok(count);
            }
        }
    }

    /// Goes on behind the last record: with the first one of the track, once, or with the next
    /// track.
    fn pass_end(&mut self) -> Result<(), Check> {
        let is_multitrack = self.command & MULTITRACK != 0;
        let is_key_search = matches!(self.command, 0xA9 | 0xC9 | 0xE9);
        let is_read = self.command & 0x03 == 0x02;
        let goes_on = !self.position.is_in_domain() && (is_read && is_multitrack || is_key_search);
        if matches!(self.command, LOCATE | 0x9D) || self.position.index_passed && !goes_on {
            return Err(Check::NoRecordFound);
        }
        if is_multitrack {
            self.advance(1)?;
            self.position.index_passed |= !is_search(self.command);
        } else {
            self.position.go_to(self.position.track);
            self.position.index_passed = true;
        }
        Ok(())
    }

    /// Moves to the index point of a track behind this one.
    pub(super) fn advance(&mut self, track_count: u16) -> Result<(), Check> {
        let Track { cylinder, head } = self.position.track;
        let head = head.saturating_add(track_count);
        if !self.position.is_in_domain() {
            if self.position.file_mask & SEEK_CONTROL == NO_SEEK {
                return Err(Check::FileProtected);
            }
            if head >= HEADS {
                return Err(Check::EndOfCylinder);
            }
        }
        let cylinder = cylinder.saturating_add(head / HEADS);
        let track = Track { cylinder, head: head % HEADS };
        if !self.position.admits(track) || !self.surface.contains(track) {
            return Err(Check::FileProtected);
        }
        self.position.go_to(track);
        Ok(())
    }

    /// Refuses the command when no track was chosen.
    pub(super) const fn on_chosen_track(&self) -> Result<(), Check> {
        if self.position.is_track_chosen { Ok(()) } else { Err(Check::InvalidSequence) }
    }

    /// Refuses the command in a Locate Record domain.
    pub(super) const fn outside_of_domain(&self) -> Result<(), Check> {
        if self.position.is_in_domain() { Err(Check::InvalidSequence) } else { Ok(()) }
    }

    /// Takes the parameters of a control command.
    pub(super) fn parameters<const N: usize>(&mut self) -> Result<[u8; N], Check> {
        take_parameters(self.data.0).ok_or(Check::ShortParameters)
    }

    /// Takes so many bytes to be written, with zeros for those that the command does not have;
    /// nothing when some are refused.
    pub(super) fn take_padded(&mut self, length: usize) -> Option<Vec<u8>> {
        take_padded(self.data.0, length)
    }

    /// The key area of the current record, where the command goes on behind it.
    pub(super) fn key(&mut self) -> Result<Vec<u8>, Check> {
        let mut key = vec![0; self.position.count.key_length()];
        self.surface.read(self.position.track, self.position.key_at(), &mut key)?;
        self.position.place = Place::Key;
        Ok(key)
    }

    /// The data area of the current record, where the command goes on behind it.
    pub(super) fn record(&mut self) -> Result<Vec<u8>, Check> {
        let mut record = vec![0; self.position.count.data_length()];
        self.surface.read(self.position.track, self.position.data_at(), &mut record)?;
        self.position.place = Place::Data;
        self.position.index_passed = false;
        Ok(record)
    }

    /// The status behind a record: one without data marks the end of a file.
    pub(super) fn record_status(&self) -> DeviceStatus {
        let is_end_of_file = self.position.count.data_length() == 0;
        if is_end_of_file { DeviceStatus::UNIT_EXCEPTION } else { PLAIN }
    }
}

/// Whether the command is a search, which also is an output operation.
const fn is_search(command: u8) -> bool {
    matches!(command & 0x7F, 0x29 | 0x31 | 0x49 | 0x51 | 0x69 | 0x71)
}
