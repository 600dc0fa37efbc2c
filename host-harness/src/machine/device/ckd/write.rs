//! Writes of a CKD disk: updates of key and data, and format writes.
//!
//! Source of truth: 3990 Storage Control Reference, "Write commands". Invariants: a write stands
//! behind the search or the locate that entitles to it; a record is written as a whole, with
//! zeros for what the command does not have; a format write erases the rest of its track.
//! Deliberately not here: HOME ADDRESS writes, and defective tracks.

use super::{
    check::Check,
    operation::{Done, Operation, PLAIN},
    position::{Domain, Place},
    read::{
        code,
        locate::{AT_HOME, AT_INDEX, FORMAT_WRITE, ORIENTATION, WRITE_DATA, WRITE_TRACK},
    },
    track::{COUNT_BYTES, Count},
};
use monitor_core::channel::DeviceStatus;

/// Write control of a file mask, and what it permits.
const WRITE_CONTROL: u8 = 0xC0;
const ALL_BUT_BEGIN: u8 = 0x00;
const NO_WRITE: u8 = 0x40;
const ALL_WRITES: u8 = 0xC0;

/// The attribute that says that record lengths need not be the transfer length factor.
const CONVERSION: u8 = 0x20;

/// The transfer length of record zero in a domain that writes a track.
const RECORD_ZERO_LENGTH: usize = 8;

impl Operation<'_, '_> {
    /// Refuses the command unless the domain is fit for it or, outside of one, what the command
    /// before has done entitles to it.
    fn may_write(
        &self,
        is_entitled: bool,
        is_fit: impl FnOnce(&Domain) -> bool,
    ) -> Result<(), Check> {
        let may = self.position.domain.as_ref().map_or(is_entitled, is_fit);
        if may { Ok(()) } else { Err(Check::InvalidSequence) }
    }

    /// Refuses the command when the file mask permits none like it.
    const fn mask_permits(&self, is_permitted: bool) -> Result<(), Check> {
        if is_permitted { Ok(()) } else { Err(Check::InvalidSequence) }
    }

    const fn write_control(&self) -> u8 {
        self.position.file_mask & WRITE_CONTROL
    }

    const fn may_format(&self) -> bool {
        matches!(self.write_control(), ALL_BUT_BEGIN | ALL_WRITES)
    }

    /// Refuses a domain of writes that the file mask does not permit.
    pub(super) fn mask_permits_domain(&self, domain: &Domain) -> Result<(), Check> {
        match code(domain) {
            WRITE_DATA => self.mask_permits(self.write_control() != NO_WRITE),
            FORMAT_WRITE | WRITE_TRACK => self.mask_permits(self.may_format()),
            _ => Ok(()),
        }
    }

    /// Refuses a record of another length than the one that the domain is for.
    fn of_domain_length(&self, length: usize) -> Result<(), Check> {
        let Some(domain) = &self.position.domain else {
            return Ok(());
        };
        let is_record_zero = code(domain) == WRITE_TRACK && self.position.count.record() == 0;
        let wanted = if is_record_zero { RECORD_ZERO_LENGTH } else { domain.length.into() };
        let fits = length == wanted || self.position.attributes & CONVERSION != 0;
        if fits { Ok(()) } else { Err(Check::InvalidTrackFormat) }
    }

    pub(super) fn write_data(&mut self) -> Done {
        let is_entitled = self.position.id_is_equal || self.position.key_is_equal;
        self.may_write(is_entitled, |domain| matches!(code(domain), WRITE_DATA | WRITE_TRACK))?;
        self.mask_permits(self.write_control() != NO_WRITE)?;
        self.of_domain_length(self.position.count.data_length())?;
        self.put_data()
    }

    pub(super) fn write_key_and_data(&mut self) -> Done {
        let is_entitled = self.position.id_is_equal;
        self.may_write(is_entitled, |domain| matches!(code(domain), WRITE_DATA | WRITE_TRACK))?;
        self.mask_permits(self.write_control() != NO_WRITE)?;
        self.of_domain_length(self.key_and_data_length())?;
        self.put_key_and_data()
    }

    /// WRITE UPDATE DATA.
    pub(super) fn update_data(&mut self) -> Done {
        self.enter_record()?;
        self.of_domain_length(self.position.count.data_length())?;
        self.put_data()
    }

    /// WRITE UPDATE KEY AND DATA.
    pub(super) fn update_key_and_data(&mut self) -> Done {
        self.enter_record()?;
        self.of_domain_length(self.key_and_data_length())?;
        self.put_key_and_data()
    }

    fn enter_record(&mut self) -> Result<(), Check> {
        self.may_write(false, |domain| code(domain) == WRITE_DATA)?;
        self.mask_permits(self.write_control() != NO_WRITE)?;
        if self.position.place != Place::Count || self.position.count.record() == 0 {
            self.next_count()?;
        }
        Ok(())
    }

    fn key_and_data_length(&self) -> usize {
        self.position.count.key_length() + self.position.count.data_length()
    }

    fn put_data(&mut self) -> Done {
        let length = self.position.count.data_length();
        if length == 0 {
            return Ok(DeviceStatus::UNIT_EXCEPTION);
        }
        if !matches!(self.position.place, Place::Count | Place::Key) {
            return Err(Check::InvalidSequence);
        }
        if let Some(bytes) = self.take_padded(length) {
            self.surface.write(self.position.track, self.position.data_at(), &bytes)?;
            self.updated(&bytes);
        }
        Ok(PLAIN)
    }

    fn put_key_and_data(&mut self) -> Done {
        if self.position.count.data_length() == 0 {
            return Ok(DeviceStatus::UNIT_EXCEPTION);
        }
        if self.position.place != Place::Count {
            return Err(Check::InvalidSequence);
        }
        if let Some(bytes) = self.take_padded(self.key_and_data_length()) {
            self.surface.write(self.position.track, self.position.key_at(), &bytes)?;
            self.updated(&bytes[self.position.count.key_length()..]);
        }
        Ok(PLAIN)
    }

    /// Takes note of data that the current record has now.
    fn updated(&mut self, data: &[u8]) {
        self.position.place = Place::Data;
        self.log.enter(self.access, self.position.track.number(), data);
    }

    /// Whether what the command before has done entitles to a format write.
    const fn may_format_behind(&self) -> bool {
        self.position.id_is_equal || self.position.key_is_equal || self.position.has_formatted
    }

    pub(super) fn erase(&mut self) -> Done {
        self.may_write(self.may_format_behind(), |domain| code(domain) == WRITE_TRACK)?;
        self.mask_permits(self.may_format())?;
        let Some(bytes) = self.take_padded(COUNT_BYTES) else {
            return Ok(PLAIN);
        };
        let count = Count(std::array::from_fn(|index| bytes[index]));
        let at = self.position.next_at();
        if !self.surface.fits(at, &count) {
            return Err(Check::InvalidTrackFormat);
        }
        let Some(_) = self.take_padded(count.record_length() - COUNT_BYTES) else {
            return Ok(PLAIN);
        };
        self.surface.write(self.position.track, at, &Count::END.0)?;
        self.position.place = Place::Data;
        Ok(PLAIN)
    }

    pub(super) fn write_record_zero(&mut self) -> Done {
        self.may_write(self.position.home_is_equal, |domain| {
            let at_begin = matches!(domain.operation & ORIENTATION, AT_HOME | AT_INDEX);
            code(domain) == FORMAT_WRITE && at_begin
        })?;
        self.mask_permits(self.write_control() == ALL_WRITES)?;
        self.put_record()
    }

    pub(super) fn write_count_key_and_data(&mut self) -> Done {
        let is_entitled = self.may_format_behind();
        self.may_write(is_entitled, |domain| matches!(code(domain), FORMAT_WRITE | WRITE_TRACK))?;
        self.mask_permits(self.may_format())?;
        self.put_record()
    }

    /// WRITE COUNT, KEY AND DATA NEXT TRACK.
    pub(super) fn write_on_next_track(&mut self) -> Done {
        self.may_write(false, |domain| code(domain) == FORMAT_WRITE)?;
        self.mask_permits(self.may_format())?;
        if !matches!(self.position.previous, 0x1D | 0x9D) {
            return Err(Check::InvalidSequence);
        }
        self.advance(1)?;
        self.next_count()?;
        self.put_record()
    }

    /// Writes a record behind the current one, and the end mark behind it.
    fn put_record(&mut self) -> Done {
        let Some(mut record) = self.take_padded(COUNT_BYTES) else {
            return Ok(PLAIN);
        };
        let count = Count(std::array::from_fn(|index| record[index]));
        let at = self.position.next_at();
        // A count area like the end mark would not be found again.
        if count == Count::END || !self.surface.fits(at, &count) {
            return Err(Check::InvalidTrackFormat);
        }
        let Some(rest) = self.take_padded(count.record_length() - COUNT_BYTES) else {
            return Ok(PLAIN);
        };
        record.extend(rest);
        record.extend(Count::END.0);
        self.surface.write(self.position.track, at, &record)?;
        self.position.at = at;
        self.position.count = count;
        self.position.place = Place::Data;
        self.position.has_formatted = !self.position.is_in_domain();
        Ok(PLAIN)
    }
}
