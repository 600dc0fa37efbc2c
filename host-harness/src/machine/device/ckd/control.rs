//! Control commands of a CKD disk: seeks, file mask, extent, locate, characteristics.
//!
//! Source of truth: 3990 Storage Control Reference, "Control commands"; what READ DEVICE
//! CHARACTERISTICS tells is that of Hercules's 3390. Invariant: parameters that make no sense
//! change nothing. Deliberately not here: RECALIBRATE, which a 3390 does not have.

use super::{
    check::Check,
    operation::{Done, Operation, PLAIN, SEEK_CONTROL},
    position::{Domain, Place},
    read::locate,
    track::{HEADS, RECORD_ZERO_BYTES_MAX, Track},
};

/// Angular positions of a track.
const SECTORS: u8 = 224;
/// Reserved bits of a file mask.
const MASK_RESERVED: u8 = 0x20;
/// Global attributes: extended CKD architecture.
const ARCHITECTURE: u8 = 0xC0;
/// Auxiliary byte of LOCATE RECORD: there is a transfer length factor.
const HAS_LENGTH: u8 = 0x80;
const AUXILIARY_RESERVED: u8 = 0x7E;
/// The longest block of an extent.
const BLOCK_BYTES_MAX: u16 = RECORD_ZERO_BYTES_MAX + 8;

impl Operation<'_, '_> {
    pub(super) fn seek(&mut self) -> Done {
        const SEEK: u8 = 0x07;
        const SEEK_HEAD: u8 = 0x1B;
        self.outside_of_domain()?;
        if self.command == SEEK_HEAD {
            self.on_chosen_track()?;
        }
        let is_inhibited = match (self.position.file_mask & SEEK_CONTROL, self.command) {
            (0x00, _) | (0x10, SEEK_HEAD) => false,
            (0x08, command) => command == SEEK,
            _ => true,
        };
        if is_inhibited {
            return Err(Check::FileProtected);
        }
        let [bin_high, bin_low, address @ ..] = self.parameters::<6>()?;
        let mut track = Track::from_bytes(address);
        if self.command == SEEK_HEAD {
            track.cylinder = self.position.track.cylinder;
        }
        if [bin_high, bin_low] != [0, 0] || !self.surface.contains(track) {
            return Err(Check::InvalidParameter);
        }
        self.choose(track)
    }

    /// Moves to a track of the extent.
    fn choose(&mut self, track: Track) -> Done {
        if !self.position.admits(track) {
            return Err(Check::FileProtected);
        }
        self.position.go_to(track);
        self.position.is_track_chosen = true;
        Ok(PLAIN)
    }

    pub(super) fn set_file_mask(&mut self) -> Done {
        if self.position.is_extent_defined || self.position.is_mask_set {
            return Err(Check::InvalidSequence);
        }
        self.outside_of_domain()?;
        let [mask] = self.parameters()?;
        if mask & MASK_RESERVED != 0 {
            return Err(Check::InvalidParameter);
        }
        self.position.file_mask = mask;
        self.position.is_mask_set = true;
        Ok(PLAIN)
    }

    pub(super) fn set_sector(&mut self) -> Done {
        self.outside_of_domain()?;
        self.on_chosen_track()?;
        let [_] = self.parameters()?;
        Ok(PLAIN)
    }

    pub(super) fn define_extent(&mut self) -> Done {
        let parameters: [u8; 16] = self.parameters()?;
        let [mask, attributes, size_high, size_low, zeros @ .., _] = &parameters[..8] else {
            return Err(Check::ShortParameters);
        };
        self.outside_of_domain()?;
        let block_bytes = match u16::from_be_bytes([*size_high, *size_low]) {
            0 => BLOCK_BYTES_MAX,
            bytes => bytes,
        };
        let position = &mut *self.position;
        let is_second = position.is_extent_defined;
        let before = (position.file_mask, position.attributes, position.block_bytes);
        if position.is_mask_set || is_second && before != (*mask, *attributes, block_bytes) {
            return Err(Check::InvalidSequence);
        }
        let is_wrong = attributes & ARCHITECTURE != ARCHITECTURE
            || mask & MASK_RESERVED != 0
            || block_bytes > BLOCK_BYTES_MAX
            || zeros != [0, 0, 0];
        if is_wrong {
            return Err(Check::InvalidParameter);
        }
        let track = |from: usize| Track::from_bytes(std::array::from_fn(|n| parameters[from + n]));
        let (first, last) = (track(8), track(12));
        let is_extent = first <= last && position.admits(first) && position.admits(last);
        if !is_extent || first.head >= HEADS || last.head >= HEADS {
            let second = is_second.then_some(Check::InvalidSequence);
            return Err(second.unwrap_or(Check::InvalidParameter));
        }
        position.file_mask = *mask;
        position.attributes = *attributes;
        position.block_bytes = block_bytes;
        position.extent = (first, last);
        position.is_extent_defined = true;
        Ok(PLAIN)
    }

    pub(super) fn locate_record(&mut self) -> Done {
        let parameters: [u8; 16] = self.parameters()?;
        self.outside_of_domain()?;
        if !self.position.is_extent_defined {
            return Err(Check::InvalidSequence);
        }
        let domain = self.domain_of(&parameters).ok_or(Check::InvalidParameter)?;
        self.mask_permits_domain(&domain)?;
        let track = Track::from_bytes(std::array::from_fn(|n| parameters[4 + n]));
        if !self.surface.contains(track) {
            return Err(Check::InvalidParameter);
        }
        let is_sector_chosen = parameters[13] != 0xFF;
        if is_sector_chosen && parameters[13] >= SECTORS {
            return Err(Check::InvalidParameter);
        }
        self.choose(track)?;
        self.orient(domain.operation & locate::ORIENTATION, &parameters[8..13])?;
        self.position.domain = Some(domain).filter(|domain| domain.count > 0);
        Ok(PLAIN)
    }

    /// The domain that these parameters of LOCATE RECORD describe, if they make sense.
    fn domain_of(&self, parameters: &[u8; 16]) -> Option<Domain> {
        use locate::{
            AT_COUNT, AT_DATA, AT_HOME, AT_INDEX, FORMAT_WRITE, ORIENT, ORIENTATION, READ,
            READ_COUNT_SUFFIX, READ_DATA, READ_TRACKS, WRITE_DATA, WRITE_TRACK,
        };
        let [operation, auxiliary, zero, count, .., high, low] = *parameters;
        let code = operation & !ORIENTATION;
        let is_known = match operation & ORIENTATION {
            AT_COUNT => matches!(
                code,
                ORIENT | WRITE_DATA | FORMAT_WRITE | READ_DATA | WRITE_TRACK | READ_TRACKS | READ
            ),
            AT_HOME => matches!(code, ORIENT | FORMAT_WRITE | READ_DATA | READ_TRACKS | READ),
            AT_DATA => matches!(code, ORIENT | WRITE_DATA | READ_DATA | READ),
            AT_INDEX => matches!(code, FORMAT_WRITE | READ),
            _ => false,
        };
        let has_suffix = auxiliary & READ_COUNT_SUFFIX != 0;
        let suffix_fits = !has_suffix || matches!(code, WRITE_DATA | READ) && count >= 2;
        let count_fits = (code == ORIENT) == (count == 0);
        let length = u16::from_be_bytes([high, low]);
        let has_length = auxiliary & HAS_LENGTH != 0;
        let length_fits = has_length == (length != 0) && length <= self.position.block_bytes;
        let is_right = is_known
            && auxiliary & AUXILIARY_RESERVED == 0
            && zero == 0
            && suffix_fits
            && count_fits
            && length_fits;
        let length = if has_length { length } else { self.position.block_bytes };
        is_right.then_some(Domain { operation, auxiliary, count, length })
    }

    /// Looks for the place on the track where the commands of the domain begin.
    fn orient(&mut self, orientation: u8, wanted: &[u8]) -> Result<(), Check> {
        match orientation {
            locate::AT_HOME => {
                let [_, home @ ..] = self.surface.home(self.position.track)?;
                if home != wanted[..4] {
                    return Err(Check::NoRecordFound);
                }
            }
            locate::AT_COUNT | locate::AT_DATA => {
                while self.next_count()?.id() != wanted {}
                if orientation == locate::AT_DATA {
                    self.position.place = Place::Data;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn read_device_characteristics(&mut self) -> Done {
        self.outside_of_domain()?;
        let characteristics = characteristics(self.surface.cylinders);
        self.data.0.give(&characteristics);
        Ok(PLAIN)
    }

    pub(super) fn read_and_reset_log(&mut self) -> Done {
        self.outside_of_domain()?;
        self.data.0.give(&[0; 32]);
        Ok(PLAIN)
    }
}

/// What READ DEVICE CHARACTERISTICS tells of a 3390 with so many cylinders.
fn characteristics(cylinders: u16) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    // Control unit, device, and facilities: Locate Record with Read Tracks and Read.
    let (model, code) = super::model(cylinders);
    put(0, &[0x39, 0x90, 0xC2, 0x33, 0x90, model, 0xD0]);
    // Class and type of the device.
    put(10, &[0x20, code]);
    put(12, &cylinders.to_be_bytes());
    put(14, &HEADS.to_be_bytes());
    put(16, &[SECTORS]);
    // Length of a track, and of home address and record zero.
    put(18, &58_786_u16.to_be_bytes());
    put(20, &1428_u16.to_be_bytes());
    // The formula of the capacity of a track, with its factors.
    put(22, &[2, 34, 19, 9, 6, 116]);
    put(40, &[code, code, 0x10, 0x02]);
    put(44, &RECORD_ZERO_BYTES_MAX.to_be_bytes());
    put(47, &[1, 6, 0x77, 0x08]);
    // Disks of an array have no alternate tracks.
    put(57, &[0xFF]);
    bytes
}
