//! Reads and searches of a CKD disk.
//!
//! Source of truth: 3990 Storage Control Reference, "Read commands" and "Search commands".
//! Invariants: a search that is satisfied ends with status modifier; nothing on the disk changes.
//! Deliberately not here: who skips the next command then.

use super::{
    LOCATE,
    check::Check,
    operation::{Done, MULTITRACK, Operation, PLAIN},
    position::{Domain, Place},
    track::{Count, Track},
};
use crate::machine::device::Taken;
use monitor_core::channel::DeviceStatus;

/// Operations of a Locate Record domain.
pub(super) mod locate {
    pub(in super::super) const ORIENT: u8 = 0x00;
    pub(in super::super) const WRITE_DATA: u8 = 0x01;
    pub(in super::super) const FORMAT_WRITE: u8 = 0x03;
    pub(in super::super) const READ_DATA: u8 = 0x06;
    pub(in super::super) const WRITE_TRACK: u8 = 0x0B;
    pub(in super::super) const READ_TRACKS: u8 = 0x0C;
    pub(in super::super) const READ: u8 = 0x16;

    pub(in super::super) const ORIENTATION: u8 = 0xC0;
    pub(in super::super) const AT_COUNT: u8 = 0x00;
    pub(in super::super) const AT_HOME: u8 = 0x40;
    pub(in super::super) const AT_DATA: u8 = 0x80;
    pub(in super::super) const AT_INDEX: u8 = 0xC0;

    /// A READ COUNT follows the domain's commands.
    pub(in super::super) const READ_COUNT_SUFFIX: u8 = 0x01;
}

use locate::{AT_HOME, AT_INDEX, ORIENTATION, READ, READ_COUNT_SUFFIX, READ_DATA, READ_TRACKS};

impl Operation<'_, '_> {
    /// Refuses a read or search before a track is chosen, and in a domain that is for something
    /// else.
    fn may_read(&self, is_fit: impl FnOnce(&Domain) -> bool) -> Result<(), Check> {
        self.on_chosen_track()?;
        let fits = self.position.domain.as_ref().is_none_or(is_fit);
        if fits { Ok(()) } else { Err(Check::InvalidSequence) }
    }

    fn may_read_record(&self) -> Result<(), Check> {
        self.may_read(|domain| matches!(code(domain), READ_DATA | READ))
    }

    pub(super) fn read_initial_program(&mut self) -> Done {
        if self.position.is_extent_defined || self.position.is_mask_set {
            return Err(Check::InvalidSequence);
        }
        self.outside_of_domain()?;
        self.position.go_to(Track::default());
        self.next_count()?;
        self.position.is_extent_defined = true;
        self.position.is_mask_set = true;
        self.position.is_track_chosen = true;
        // The domain is that of this command and the next one.
        let domain = Domain { operation: READ_DATA, auxiliary: 0, count: 2, length: 0 };
        self.position.domain = Some(domain);
        let record = self.record()?;
        self.data.0.give(&record);
        Ok(self.record_status())
    }

    pub(super) fn read_data(&mut self) -> Done {
        self.may_read_record()?;
        if !matches!(self.position.place, Place::Count | Place::Key) {
            self.next_count()?;
        }
        let record = self.record()?;
        self.data.0.give(&record);
        Ok(self.record_status())
    }

    pub(super) fn read_key_and_data(&mut self) -> Done {
        self.may_read_record()?;
        if self.position.place != Place::Count {
            self.next_count()?;
        }
        let bytes = [self.key()?, self.record()?].concat();
        self.data.0.give(&bytes);
        Ok(self.record_status())
    }

    pub(super) fn read_count(&mut self) -> Done {
        self.may_read(|domain| {
            let is_suffix = domain.auxiliary & READ_COUNT_SUFFIX != 0 && domain.count == 1;
            matches!(code(domain), READ_DATA | READ)
                || code(domain) == locate::WRITE_DATA && is_suffix
        })?;
        let count = self.next_count()?;
        self.data.0.give(&count.0);
        Ok(PLAIN)
    }

    pub(super) fn read_count_key_and_data(&mut self) -> Done {
        self.may_read_record()?;
        let count = self.next_count()?;
        let bytes = self.rest_of(count)?;
        self.data.0.give(&bytes);
        Ok(self.record_status())
    }

    pub(super) fn read_record_zero(&mut self) -> Done {
        self.may_read(|domain| {
            let at_begin = matches!(domain.operation & ORIENTATION, AT_HOME | AT_INDEX);
            code(domain) == READ_DATA || code(domain) == READ && at_begin
        })?;
        self.rewind()?;
        let count = self.next_count()?;
        let bytes = self.rest_of(count)?;
        self.data.0.give(&bytes);
        Ok(self.record_status())
    }

    pub(super) fn read_home_address(&mut self) -> Done {
        self.may_read(|domain| {
            let at_begin = domain.operation & ORIENTATION == AT_INDEX;
            code(domain) == READ_DATA || code(domain) == READ && at_begin
        })?;
        self.rewind()?;
        let home = self.surface.home(self.position.track)?;
        self.data.0.give(&home);
        Ok(PLAIN)
    }

    /// All records from the next one to the end of the track.
    pub(super) fn read_multiple(&mut self) -> Done {
        self.on_chosen_track()?;
        self.outside_of_domain()?;
        let records = self.records()?;
        self.data.0.give(&records);
        Ok(PLAIN)
    }

    /// All records of a track, with record zero and the mark behind the last one.
    pub(super) fn read_track(&mut self) -> Done {
        let is_for_tracks = |domain: &Domain| code(domain) == READ_TRACKS;
        let follows = matches!(self.position.previous, LOCATE | 0xDE);
        if !follows || !self.position.domain.as_ref().is_some_and(is_for_tracks) {
            return Err(Check::InvalidSequence);
        }
        if self.position.previous == 0xDE {
            self.advance(1)?;
        }
        self.position.go_to(self.position.track);
        let mut records = self.records()?;
        records.extend(Count::END.0);
        self.data.0.give(&records);
        Ok(PLAIN)
    }

    pub(super) fn read_sector(&mut self) -> Done {
        self.outside_of_domain()?;
        self.data.0.give(&[0]);
        Ok(PLAIN)
    }

    pub(super) fn search_id(&mut self) -> Done {
        self.on_chosen_track()?;
        self.outside_of_domain()?;
        let count = self.next_count()?;
        let (status, is_equal) = self.compare(count.id());
        self.position.id_is_equal = is_equal && self.command & 0x7F == 0x31;
        Ok(status)
    }

    pub(super) fn search_key(&mut self) -> Done {
        self.on_chosen_track()?;
        self.outside_of_domain()?;
        if self.position.place != Place::Count {
            self.next_count()?;
        }
        let key = self.key()?;
        if key.is_empty() {
            self.position.key_is_equal = false;
            return Ok(PLAIN);
        }
        let (status, is_equal) = self.compare(&key);
        self.position.key_is_equal = is_equal && self.command & 0x7F == 0x29;
        Ok(status)
    }

    pub(super) fn search_home_address(&mut self) -> Done {
        self.on_chosen_track()?;
        self.outside_of_domain()?;
        self.rewind()?;
        let [_, home @ ..] = self.surface.home(self.position.track)?;
        let (status, is_equal) = self.compare(&home);
        self.position.home_is_equal = is_equal;
        Ok(status)
    }

    /// Compares what is on the disk with as many bytes as the command has of it: the status, and
    /// whether all bytes are equal.
    fn compare(&mut self, found: &[u8]) -> (DeviceStatus, bool) {
        let mut wanted = vec![0; found.len()];
        let length = match self.data.0.take(&mut wanted) {
            Taken::Full => found.len(),
            Taken::Ended(count) | Taken::Refused(count) => count,
        };
        let order = found[..length].cmp(&wanted[..length]);
        let is_satisfied =
            order.is_eq() && self.command & 0x20 != 0 || order.is_gt() && self.command & 0x40 != 0;
        let status = if is_satisfied { DeviceStatus::STATUS_MODIFIER } else { PLAIN };
        (status, order.is_eq() && length == found.len())
    }

    /// Count, key and data of the current record.
    fn rest_of(&mut self, count: Count) -> Result<Vec<u8>, Check> {
        Ok([count.0.to_vec(), self.key()?, self.record()?].concat())
    }

    fn records(&mut self) -> Result<Vec<u8>, Check> {
        let mut records = Vec::new();
        loop {
            let count = self.next_count()?;
            if count == Count::END {
                return Ok(records);
            }
            records.extend(self.rest_of(count)?);
        }
    }

    /// Moves to the index point; that of the next track for a multitrack command that is in no
    /// domain.
    fn rewind(&mut self) -> Result<(), Check> {
        if self.command & MULTITRACK != 0 && !self.position.is_in_domain() {
            return self.advance(1);
        }
        self.position.go_to(self.position.track);
        Ok(())
    }
}

/// What a domain is for.
pub(super) const fn code(domain: &Domain) -> u8 {
    domain.operation & !ORIENTATION
}
