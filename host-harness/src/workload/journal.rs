//! Journal workload: writes numbered records to disks, and reads some of them back.
//!
//! A record is written by a channel program, into blocks or into a track as the disk has them, and
//! counted at its interruption; only then comes the next one of this disk. So a disk holds each
//! number once, in order, and at most one more than the guest has counted. Every eighth record is
//! read back into another page and verified. Each disk goes its own way, so several requests are
//! under way at once.
//!
//! Source of truth: this file. Invariants: at most one request is under way on a disk; a record
//! whose write failed is written again under the same number; a request whose end does not come
//! is cleared, and counts as missed; what a cleared write has left on the disk is read first.
//! Deliberately not here: the judgement of what the disks hold ([`super::check()`]).

use monitor_core::units::{SubchannelNumber, Tick};

use super::{
    nucleus::{Area, Block, BlockName, JOURNAL_PAGE, PAGE, RANDOM_STEP, mix, word},
    request::{self, Command, DATA, Owner},
    tracks,
};
use crate::machine::{AddressFault, ConditionCode, Context, Exception, Machine, Step, Storage};

/// A disk's subchannel.
const SUBCHANNEL: u64 = word::OWN;
/// Number of the latest record whose write was started.
pub(super) const STARTED: u64 = word::OWN + 1;
/// Number of the latest record whose write has ended well.
pub(super) const WRITTEN: u64 = word::OWN + 2;
/// The request under way: one of those below.
const REQUEST: u64 = word::OWN + 3;
/// Records read back.
pub(super) const READ_BACK: u64 = word::OWN + 4;
/// Records that were read back and found wrong.
pub(super) const FAULTS: u64 = word::OWN + 5;
/// Requests that failed.
pub(super) const IO_FAULTS: u64 = word::OWN + 6;
/// When the request under way was started.
const SINCE: u64 = word::OWN + 7;
/// Number of the disks; in the block of the first one.
const DISK_COUNT: u64 = word::OWN + 8;
/// Where the pages of the disks behind the first one begin; in the block of the first one.
const ORIGIN: u64 = word::OWN + 9;
/// Not zero when nobody knows whether the record started last is on the disk.
const UNSURE: u64 = word::OWN + 10;
/// Requests whose end did not come.
pub(super) const MISSED: u64 = word::OWN + 11;
/// Not zero when the disk keeps its data in tracks.
const IN_TRACKS: u64 = word::OWN + 12;
/// Tracks that are formatted.
const FORMATTED: u64 = word::OWN + 13;

const IDLE: u64 = 0;
const WRITING: u64 = 1;
const READING: u64 = 2;
const CLEARED: u64 = 3;
const PROBING: u64 = 4;
const FORMATTING: u64 = 5;

/// The most disks that a guest keeps journals on.
pub const JOURNAL_DISKS_MAX: usize = 4;
/// Pages of a disk: its channel program, the record being written, the record read back.
const DISK_PAGES: u64 = 3;
/// Where a disk behind the first one has its control block, in its first page.
const BLOCK: u64 = 0x400;
/// Time after which the end of a request is missing.
const MISSING_US: u64 = 15_000_000;

/// Records from one read-back to the next.
const READ_BACK_RECORDS: u64 = 8;
/// Records for which a disk in blocks has room; the next one takes the place of the oldest.
const PLACES: u32 = 4096;
/// Blocks of the disk that a record takes.
const RECORD_BLOCKS: u16 = 8;
/// Blocks of the disk that the journal takes.
pub const JOURNAL_BLOCKS: u32 = PLACES * RECORD_BLOCKS as u32;

/// A command of each disk.
const DEFINE_EXTENT: u8 = 0x63;
/// Commands of a disk in blocks.
const LOCATE: u8 = 0x43;
const READ: u8 = 0x42;
const WRITE: u8 = 0x41;
/// What LOCATE positions for.
const TO_WRITE: u8 = 0x01;
const TO_READ: u8 = 0x06;

/// The parameters of DEFINE EXTENT: all writes are permitted, to the blocks of the journal.
const EXTENT: [u8; 16] = {
    let [.., a, b, c, d] = ((JOURNAL_BLOCKS - 1) as u64).to_be_bytes();
    [0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
};
/// Where a disk's first page has the count areas of a track, behind what is defined and located.
const COUNTS: u64 = DATA + 0x40;
/// Time until a busy subchannel is tried again.
const RETRY_US: u64 = 1000;

/// The area that the disks behind the first one need.
pub(super) fn page_count(disk_count: usize) -> u64 {
    disk_count.min(JOURNAL_DISKS_MAX).saturating_sub(1) as u64 * DISK_PAGES
}

/// What a request is to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Write,
    Read,
}

/// The way of a channel program to a record: what it defines and locates, and the command for the
/// data.
#[derive(Clone, Debug)]
pub(super) struct Approach {
    pub(super) extent: [u8; 16],
    pub(super) locate: u8,
    pub(super) location: Vec<u8>,
    pub(super) code: u8,
}

/// The way to the record with this number on a disk in blocks.
fn approach(aim: Aim, number: u64) -> Approach {
    let place = (number % u64::from(PLACES)) as u32 * u32::from(RECORD_BLOCKS);
    let (operation, code) = match aim {
        Aim::Write => (TO_WRITE, WRITE),
        Aim::Read => (TO_READ, READ),
    };
    let [high, low] = RECORD_BLOCKS.to_be_bytes();
    let location = [[operation, 0, high, low], place.to_be_bytes()].concat();
    Approach { extent: EXTENT, locate: LOCATE, location, code }
}

/// Writes the control block of each disk, which says what the disk is.
pub(super) fn define(
    machine: &Machine,
    area: Area,
    subchannels: &[SubchannelNumber],
    interval_us: u64,
) -> Result<(), AddressFault> {
    let storage = &machine.storage;
    let first = Block::new(storage, BlockName::Journal);
    for page in 0..area.pages {
        storage.store_bytes(area.origin + page * PAGE, &[0; PAGE as usize])?;
    }
    first.set(ORIGIN, area.origin)?;
    first.set(DISK_COUNT, subchannels.len().min(JOURNAL_DISKS_MAX) as u64)?;
    for (disk, subchannel) in Disk::all(storage)?.zip(subchannels) {
        disk.block.set(SUBCHANNEL, u64::from(subchannel.get()))?;
        let id = machine.with_subsystem(|subsystem| subsystem.sense_id(*subchannel));
        let in_tracks = id.is_some_and(|id| id.device_type == tracks::DEVICE_TYPE);
        disk.block.set(IN_TRACKS, u64::from(in_tracks))?;
        disk.block.define(1, interval_us.max(1))?;
    }
    Ok(())
}

/// A disk: its number, its pages, its control block.
#[derive(Clone, Copy)]
struct Disk<'a> {
    number: u64,
    page: u64,
    block: Block<'a>,
}

impl<'a> Disk<'a> {
    fn all(storage: &'a Storage) -> Result<impl Iterator<Item = Self>, AddressFault> {
        let first = Block::new(storage, BlockName::Journal);
        let (count, origin) = (first.get(DISK_COUNT)?, first.get(ORIGIN)?);
        Ok((0..count).map(move |number| {
            let page = page_of(origin, number);
            let block = Block::at(storage, block_at(origin, number));
            Self { number, page, block }
        }))
    }

    /// The disk with this subchannel, if there is one.
    fn of(storage: &'a Storage, subchannel: u64) -> Result<Option<Self>, AddressFault> {
        for disk in Self::all(storage)? {
            if disk.block.get(SUBCHANNEL)? == subchannel {
                return Ok(Some(disk));
            }
        }
        Ok(None)
    }

    /// The page that holds the record being written.
    const fn record_out(self) -> u64 {
        self.page + PAGE
    }

    /// The page that takes the record read back.
    const fn record_in(self) -> u64 {
        self.page + 2 * PAGE
    }

    /// The number of the record read back, if it is one.
    fn read_back(self, storage: &Storage) -> Result<Option<u64>, AddressFault> {
        let mut record = [0; PAGE as usize];
        storage.load_bytes(self.record_in(), &mut record)?;
        Ok(number_of(self.number, &record))
    }

    /// The track that is to be formatted before the record with this number is written, if one is.
    fn unformatted(self, number: u64) -> Result<Option<u32>, AddressFault> {
        let track = tracks::track_of(number);
        let is_new = u64::from(track) >= self.block.get(FORMATTED)?;
        Ok((is_new && self.block.get(IN_TRACKS)? != 0).then_some(track))
    }

    fn subchannel(self) -> Result<SubchannelNumber, AddressFault> {
        Ok(SubchannelNumber::new(self.block.get(SUBCHANNEL)? as u16))
    }
}

/// The first page of a disk; the pages behind the first disk's begin at `origin`.
const fn page_of(origin: u64, number: u64) -> u64 {
    match number.checked_sub(1) {
        None => JOURNAL_PAGE,
        Some(place) => origin + place * DISK_PAGES * PAGE,
    }
}

/// Where the control block of a disk is.
pub(super) fn block_at(origin: u64, number: u64) -> u64 {
    match number {
        0 => super::nucleus::word_address(BlockName::Journal, 0),
        number => page_of(origin, number) + BLOCK,
    }
}

/// The page that holds the record of a disk that is being written.
pub(super) const fn record_out_at(origin: u64, number: u64) -> u64 {
    page_of(origin, number) + PAGE
}

/// The subchannels of the disks that the guest keeps a journal on.
pub(super) fn subchannels(storage: &Storage) -> Result<Vec<u64>, AddressFault> {
    Disk::all(storage)?.map(|disk| disk.block.get(SUBCHANNEL)).collect()
}

/// Goes on with each disk.
pub(super) fn run(context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
    let storage = context.storage;
    let mut total = Step::default();
    for disk in Disk::all(storage)? {
        total = super::joined(total, go_on(context, disk)?);
    }
    Ok(total)
}

/// Starts the next request of a disk when it is due.
fn go_on(context: &mut Context<'_>, disk: Disk<'_>) -> Result<Step, Exception> {
    let (block, now) = (disk.block, context.now());
    if block.get(REQUEST)? != IDLE {
        return await_end(context, disk);
    }
    let (due, next) = block.due(now)?;
    if due == 0 {
        return Ok(super::worked(0, next));
    }
    let (started, written) = (block.get(STARTED)?, block.get(WRITTEN)?);
    let probes = block.get(UNSURE)? != 0;
    let reads = started == written && written / READ_BACK_RECORDS > block.get(READ_BACK)?;
    let (request, condition) = if probes || reads {
        let request = if probes { PROBING } else { READING };
        (request, transfer(context, disk, Aim::Read, started)?)
    } else if let Some(track) = disk.unformatted(written + 1)? {
        (FORMATTING, format(context, disk, track)?)
    } else {
        let record = record(disk.number, written + 1, now);
        context.storage.store_bytes(disk.record_out(), &record)?;
        (WRITING, transfer(context, disk, Aim::Write, written + 1)?)
    };
    match condition {
        ConditionCode::Done => {
            block.set(REQUEST, request)?;
            if request == WRITING {
                block.set(STARTED, written + 1)?;
            }
        }
        ConditionCode::Status | ConditionCode::Busy => {
            return Ok(super::worked(0, Tick::new(now.get() + RETRY_US)));
        }
        ConditionCode::NotOperational => block.add(IO_FAULTS, 1)?,
    }
    block.set(SINCE, now.get())?;
    block.advance(1)?;
    Ok(super::worked(1, next))
}

/// Clears a request whose end is missing. The end of that is told by an interruption, too.
fn await_end(context: &mut Context<'_>, disk: Disk<'_>) -> Result<Step, Exception> {
    let missing = disk.block.get(SINCE)?.saturating_add(MISSING_US);
    let under_way = disk.block.get(REQUEST)?;
    if under_way == CLEARED {
        return Ok(Step::default());
    }
    if context.now().get() < missing {
        return Ok(super::worked(0, Tick::new(missing)));
    }
    context.clear_subchannel(disk.subchannel()?)?;
    disk.block.set(REQUEST, CLEARED)?;
    if under_way == WRITING {
        disk.block.set(UNSURE, 1)?;
    }
    Ok(super::worked(1, context.now()))
}

/// Starts the transfer of one record between the disk and its page.
fn transfer(
    context: &mut Context<'_>,
    disk: Disk<'_>,
    aim: Aim,
    number: u64,
) -> Result<ConditionCode, Exception> {
    let in_tracks = disk.block.get(IN_TRACKS)? != 0;
    let approach = if in_tracks { tracks::approach(aim, number) } else { approach(aim, number) };
    let address = match aim {
        Aim::Write => disk.record_out(),
        Aim::Read => disk.record_in(),
    };
    let command = Command { code: approach.code, address, byte_count: PAGE as u16 };
    start(context, disk, &approach, &[command])
}

/// Starts to give a track its records.
fn format(
    context: &mut Context<'_>,
    disk: Disk<'_>,
    track: u32,
) -> Result<ConditionCode, Exception> {
    let approach = tracks::format_approach(track);
    let mut commands = Vec::new();
    for (address, count) in (disk.page + COUNTS..).step_by(8).zip(tracks::counts(track)) {
        context.storage.store_bytes(address, &count)?;
        commands.push(Command { code: approach.code, address, byte_count: 8 });
    }
    start(context, disk, &approach, &commands)
}

/// Starts a channel program that comes to a record by this way, and then does this.
fn start(
    context: &mut Context<'_>,
    disk: Disk<'_>,
    approach: &Approach,
    commands: &[Command],
) -> Result<ConditionCode, Exception> {
    let Approach { extent, locate, location, .. } = approach;
    let at = disk.page + DATA;
    let behind = at + extent.len() as u64;
    context.storage.store_bytes(at, extent)?;
    context.storage.store_bytes(behind, location)?;
    let way = [
        Command { code: DEFINE_EXTENT, address: at, byte_count: extent.len() as u16 },
        Command { code: *locate, address: behind, byte_count: location.len() as u16 },
    ];
    let commands = [&way, commands].concat();
    request::start(context, disk.subchannel()?, Owner::Journal, disk.page, &commands)
}

/// Takes note of the end of a disk's request; false when none was under way.
pub(super) fn ended(
    context: &Context<'_>,
    subchannel: u64,
    good: bool,
) -> Result<bool, AddressFault> {
    let Some(disk) = Disk::of(context.storage, subchannel)? else {
        return Ok(false);
    };
    let block = disk.block;
    let under_way = block.get(REQUEST)?;
    block.set(REQUEST, IDLE)?;
    match (under_way, good) {
        (WRITING, true) => block.set(WRITTEN, block.get(STARTED)?)?,
        (READING, true) => {
            block.add(READ_BACK, 1)?;
            let is_wrong = disk.read_back(context.storage)? != Some(block.get(WRITTEN)?);
            block.add(FAULTS, u64::from(is_wrong))?;
        }
        (FORMATTING, true) => block.add(FORMATTED, 1)?,
        (PROBING, true) => {
            block.set(UNSURE, 0)?;
            let started = block.get(STARTED)?;
            if disk.read_back(context.storage)? == Some(started) {
                block.set(WRITTEN, started)?;
            }
        }
        (IDLE, _) => return Ok(false),
        (CLEARED, _) => block.add(MISSED, 1)?,
        _ => block.add(IO_FAULTS, 1)?,
    }
    Ok(true)
}

/// Makes a record of a disk: number, checksum, time, then filling.
fn record(disk: u64, number: u64, now: Tick) -> [u8; PAGE as usize] {
    let mut record = [0; PAGE as usize];
    let (words, _) = record.as_chunks_mut::<8>();
    for (index, word) in (0..).zip(words.iter_mut()) {
        *word = mix(number.wrapping_mul(RANDOM_STEP) ^ index).to_be_bytes();
    }
    words[0] = number.to_be_bytes();
    words[2] = now.get().to_be_bytes();
    words[1] = checksum(disk, words).to_be_bytes();
    record
}

/// The checksum of a record: over its disk and all words except for itself.
fn checksum(disk: u64, words: &[[u8; 8]]) -> u64 {
    let others = words.iter().take(1).chain(words.iter().skip(2));
    others.fold(disk, |sum, word| mix(u64::rotate_left(sum, 9) ^ u64::from_be_bytes(*word)))
}

/// The number of a record of a disk, if its checksum fits.
pub(super) fn number_of(disk: u64, record: &[u8; PAGE as usize]) -> Option<u64> {
    let (words, _) = record.as_chunks::<8>();
    let fits = words[1] == checksum(disk, words).to_be_bytes();
    fits.then_some(u64::from_be_bytes(words[0]))
}
