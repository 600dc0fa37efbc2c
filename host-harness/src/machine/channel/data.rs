//! The data of one command: where its bytes lie in guest storage, over data chaining and indirect
//! addresses.
//!
//! Source of truth: Principles of Operation, "Data Chaining", "Channel Indirect Data Addressing",
//! "Modified CCW Indirect Data Addressing", "Key-Controlled Protection".
//!
//! Invariants: each byte is moved by an access that is held against the key of the operation
//! request, sets reference and change, and marks its page; after a check no byte is moved. A
//! chained word takes control as soon as the count before it is exhausted. Deliberately not here:
//! what the end of a command means.

use super::ccw::{Addressing, Check, Command, Fetcher, Origin};
use crate::machine::{AccessException, Storage, Taken, Transfer};
use monitor_core::{channel::SubchannelStatus, limits::PAGE_BYTES};

/// Bytes of a page, as a distance.
const PAGE: u64 = PAGE_BYTES as u64;

/// Guest storage as one access key may use it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed<'a> {
    pub(super) storage: &'a Storage,
    /// 0 to 15; with 0 nothing is protected.
    pub(super) key: u8,
}

impl Keyed<'_> {
    pub(super) fn load(&self, address: u64, target: &mut [u8]) -> Result<(), SubchannelStatus> {
        self.storage.load_keyed(address, target, self.key).map_err(status_of)
    }

    fn store(&self, address: u64, source: &[u8]) -> Result<(), SubchannelStatus> {
        self.storage.store_keyed(address, source, self.key).map_err(status_of)
    }
}

/// What an access that is refused means for the channel program.
const fn status_of(exception: AccessException) -> SubchannelStatus {
    match exception {
        AccessException::Addressing => SubchannelStatus::PROGRAM_CHECK,
        AccessException::Protection => SubchannelStatus::PROTECTION_CHECK,
    }
}

/// Bytes that lie together, and what comes behind them.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The next byte; backward, those before it follow.
    address: u64,
    /// Bytes from there on that lie together.
    length: u64,
    /// The next indirect-data-address word.
    list: u64,
    /// How many of these words were fetched.
    fetched: u32,
    /// The bytes do not go to storage.
    is_skipped: bool,
    /// There is no further word.
    is_last: bool,
}

/// The data of one command.
#[derive(Debug)]
pub(super) struct Data<'a> {
    fetcher: Fetcher<'a>,
    /// The word in control.
    pub(super) command: Command,
    /// What is left of its count.
    pub(super) left: u16,
    place: Place,
    is_backward: bool,
    /// The device has asked for data, or for room.
    pub(super) is_touched: bool,
    /// Bytes that have been moved.
    moved: usize,
    /// The device has asked for more than the count allows.
    pub(super) is_exceeded: bool,
    /// What storage or a chained word did wrong.
    pub(super) check: Option<Check>,
    /// A chained word asks for an interruption.
    pub(super) interrupts: bool,
}

impl<'a> Data<'a> {
    pub(super) const fn new(fetcher: Fetcher<'a>, command: Command) -> Self {
        Self {
            fetcher,
            command,
            left: command.count,
            place: Place::of(&command),
            is_backward: command.is_backward(),
            is_touched: false,
            moved: 0,
            is_exceeded: false,
            check: None,
            interrupts: false,
        }
    }

    /// Moves up to `wanted` bytes piece by piece; `action` gets an address, the first byte's place
    /// in the device's buffer, and how many bytes lie there. `None` for an address skips.
    fn advance(
        &mut self,
        wanted: usize,
        is_input: bool,
        mut action: impl FnMut(&Keyed<'a>, u64, usize, usize) -> Result<(), SubchannelStatus>,
    ) -> usize {
        self.is_touched = true;
        let mut done = 0;
        while done < wanted && self.check.is_none() {
            if self.left == 0 {
                self.is_exceeded = true;
                break;
            }
            let limit = (wanted - done).min(usize::from(self.left));
            match self.piece(limit, is_input) {
                Ok((length, None)) => done += self.consume(length),
                Ok((length, Some(address))) => {
                    match action(&self.fetcher.keyed, address, done, length) {
                        Ok(()) => done += self.consume(length),
                        Err(status) => self.stop(status),
                    }
                }
                Err(status) => self.stop(status),
            }
        }
        done
    }

    /// How many of the next bytes, at most `limit`, lie together, and the lowest of their
    /// addresses, if they are to be moved.
    fn piece(
        &mut self,
        limit: usize,
        is_input: bool,
    ) -> Result<(usize, Option<u64>), SubchannelStatus> {
        if is_input && self.command.skips() {
            return Ok((limit, None));
        }
        if self.place.length == 0 {
            self.place.next(&self.fetcher, &self.command, self.left, self.is_backward)?;
        }
        let Place { address, length, is_skipped, .. } = self.place;
        let limit = (limit as u64).min(length);
        if is_input && is_skipped {
            return Ok((usize::try_from(limit).unwrap_or(0), None));
        }
        let page = if self.is_backward { address % PAGE + 1 } else { PAGE - address % PAGE };
        let length = limit.min(page);
        let lowest = if self.is_backward { address - (length - 1) } else { address };
        Ok((usize::try_from(length).unwrap_or(0), Some(lowest)))
    }

    /// Takes bytes off the count, and lets the next word take control when it is exhausted.
    fn consume(&mut self, length: usize) -> usize {
        self.moved += length;
        self.left -= u16::try_from(length).unwrap_or(self.left);
        self.place.consume(length as u64, self.is_backward);
        while self.left == 0 && self.command.chains_data() && self.check.is_none() {
            match self.fetcher.fetch(self.command.behind, Origin::Data) {
                Ok(command) => {
                    self.interrupts |= command.interrupts();
                    self.left = command.count;
                    self.place = Place::of(&command);
                    self.command = command;
                }
                Err(check) => self.check = Some(check),
            }
        }
        length
    }

    /// Whether bytes have been moved.
    pub(super) const fn has_moved(&self) -> bool {
        self.moved > 0
    }

    const fn stop(&mut self, status: SubchannelStatus) {
        self.check = Some(Check { status, behind: self.command.behind });
    }
}

impl Transfer for Data<'_> {
    fn take(&mut self, target: &mut [u8]) -> Taken {
        let wanted = target.len();
        let taken = self.advance(wanted, false, |keyed, address, from, length| {
            keyed.load(address, &mut target[from..from + length])
        });
        if taken == wanted {
            Taken::Full
        } else if self.check.is_some() {
            Taken::Refused(taken)
        } else {
            Taken::Ended(taken)
        }
    }

    fn give(&mut self, data: &[u8]) -> usize {
        let is_backward = self.is_backward;
        self.advance(data.len(), true, |keyed, address, from, length| {
            let bytes = &data[from..from + length];
            if is_backward {
                let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
                keyed.store(address, &reversed)
            } else {
                keyed.store(address, bytes)
            }
        })
    }

    fn left(&self) -> Option<usize> {
        self.check.is_none().then_some(usize::from(self.left))
    }

    fn room(&self, limit: usize) -> usize {
        let mut room = usize::from(self.left);
        let mut command = self.command;
        // Each word that is chained to has a count, so that this ends.
        while room < limit && command.chains_data() {
            let Ok(next) = self.fetcher.fetch(command.behind, Origin::Data) else {
                break;
            };
            room += usize::from(next.count);
            command = next;
        }
        room.min(limit)
    }

    fn moved(&self) -> usize {
        self.moved
    }
}

impl Place {
    /// The begin of a command's data.
    const fn of(command: &Command) -> Self {
        let address = command.address as u64;
        let length = match command.addressing() {
            Addressing::Direct => command.count as u64,
            Addressing::Indirect | Addressing::Modified => 0,
        };
        Self { address, length, list: address, fetched: 0, is_skipped: false, is_last: false }
    }

    const fn consume(&mut self, length: u64, is_backward: bool) {
        let length = if length < self.length { length } else { self.length };
        self.length -= length;
        self.address = if is_backward {
            self.address.wrapping_sub(length)
        } else {
            self.address.wrapping_add(length)
        };
    }

    /// Goes to the bytes that the next word designates, of which `left` are still wanted.
    fn next(
        &mut self,
        fetcher: &Fetcher<'_>,
        command: &Command,
        left: u16,
        is_backward: bool,
    ) -> Result<(), SubchannelStatus> {
        match command.addressing() {
            Addressing::Direct => return Err(SubchannelStatus::PROGRAM_CHECK),
            Addressing::Indirect => self.next_indirect(fetcher, is_backward)?,
            Addressing::Modified => self.next_modified(fetcher, left, is_backward)?,
        }
        self.fetched += 1;
        Ok(())
    }

    fn next_indirect(
        &mut self,
        fetcher: &Fetcher<'_>,
        is_backward: bool,
    ) -> Result<(), SubchannelStatus> {
        const WRONG: SubchannelStatus = SubchannelStatus::PROGRAM_CHECK;
        let orb = fetcher.orb;
        let is_format_2 = orb.has_format_2_addresses();
        let word_bytes = if is_format_2 { 8 } else { 4 };
        if !self.list.is_multiple_of(word_bytes) {
            return Err(WRONG);
        }
        let address = if is_format_2 {
            let mut word = [0; 8];
            fetcher.keyed.load(self.list, &mut word)?;
            u64::from_be_bytes(word)
        } else {
            let mut word = [0; 4];
            fetcher.keyed.load(self.list, &mut word)?;
            u64::from(u32::from_be_bytes(word))
        };
        if !is_format_2 && address >> 31 != 0 {
            return Err(WRONG);
        }
        let block = if is_format_2 && !orb.has_blocks_of_2k() { 4096 } else { 2048 };
        let within = address % block;
        let length = if is_backward { within + 1 } else { block - within };
        // Only the first word designates a place within a block.
        if self.fetched > 0 && length != block {
            return Err(WRONG);
        }
        self.list += word_bytes;
        (self.address, self.length) = (address, length);
        Ok(())
    }

    fn next_modified(
        &mut self,
        fetcher: &Fetcher<'_>,
        left: u16,
        is_backward: bool,
    ) -> Result<(), SubchannelStatus> {
        const WRONG: SubchannelStatus = SubchannelStatus::PROGRAM_CHECK;
        let leaves_page = self.fetched > 0 && self.list.is_multiple_of(PAGE);
        if self.is_last || !self.list.is_multiple_of(16) || leaves_page {
            return Err(WRONG);
        }
        let mut word = [0; 16];
        fetcher.keyed.load(self.list, &mut word)?;
        let [0, 0, 0, 0, 0, flags, high, low, address @ ..] = word else {
            return Err(WRONG);
        };
        let count = u16::from_be_bytes([high, low]);
        let address = u64::from_be_bytes(address);
        (self.is_last, self.is_skipped) = (flags & 0x80 != 0, flags & 0x40 != 0);
        let page = if is_backward { address % PAGE + 1 } else { PAGE - address % PAGE };
        let fits = self.is_skipped || u64::from(count) <= page;
        let is_wrong = flags & 0x3F != 0 || count == 0 || count > left || !fits;
        if is_wrong || (self.is_last && count < left) {
            return Err(WRONG);
        }
        self.list += 16;
        (self.address, self.length) = (address, u64::from(count));
        Ok(())
    }
}
