//! Journal workload: writes numbered records to a disk, and reads some of them back.
//!
//! A record is written by a channel program and counted at its interruption; only then comes the
//! next one. So the disk holds each number once, in order, and at most one more than the guest
//! has counted. Every eighth record is read back into another page and verified.
//!
//! Source of truth: this file. Invariants: at most one request is under way; a record whose
//! write failed is written again under the same number. Deliberately not here: the judgement of
//! what the disk holds ([`super::check()`]).

use monitor_core::units::{SubchannelNumber, Tick};

use super::{
    nucleus::{
        Block, BlockName, JOURNAL_PAGE, PAGE, RANDOM_STEP, RECORD_IN, RECORD_OUT, mix, word,
    },
    request::{self, Command, DATA, Owner},
};
use crate::machine::{AddressFault, ConditionCode, Context, Step, Storage};

/// The disk's subchannel.
const SUBCHANNEL: u64 = word::OWN;
/// Number of the latest record whose write was started.
pub(super) const STARTED: u64 = word::OWN + 1;
/// Number of the latest record whose write has ended well.
pub(super) const WRITTEN: u64 = word::OWN + 2;
/// The request under way: [`IDLE`], [`WRITING`] or [`READING`].
const REQUEST: u64 = word::OWN + 3;
/// Records read back.
pub(super) const READ_BACK: u64 = word::OWN + 4;
/// Records that were read back and found wrong.
pub(super) const FAULTS: u64 = word::OWN + 5;
/// Requests that failed.
pub(super) const IO_FAULTS: u64 = word::OWN + 6;

const IDLE: u64 = 0;
const WRITING: u64 = 1;
const READING: u64 = 2;

/// Records from one read-back to the next.
const READ_BACK_RECORDS: u64 = 8;
/// Records for which the journal has room; the next one takes the place of the oldest.
const PLACES: u32 = 4096;
/// Blocks of the disk that a record takes.
const RECORD_BLOCKS: u16 = 8;
/// Blocks of the disk that the journal takes.
pub const JOURNAL_BLOCKS: u32 = PLACES * RECORD_BLOCKS as u32;

/// Commands of an FBA disk.
const DEFINE_EXTENT: u8 = 0x63;
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
/// Time until a busy subchannel is tried again.
const RETRY_US: u64 = 1000;

/// Writes the control block.
pub(super) fn define(block: Block<'_>, subchannel: SubchannelNumber) -> Result<(), AddressFault> {
    block.set(SUBCHANNEL, u64::from(subchannel.get()))
}

/// The disk's subchannel, if the guest keeps a journal.
pub(super) fn subchannel(storage: &Storage) -> Result<Option<u64>, AddressFault> {
    let block = Block::new(storage, BlockName::Journal);
    Ok(if block.is_present()? { Some(block.get(SUBCHANNEL)?) } else { None })
}

/// Starts the next request when it is due.
pub(super) fn run(context: &mut Context<'_>, _budget: u32) -> Result<Step, AddressFault> {
    let block = Block::new(context.storage, BlockName::Journal);
    if block.get(REQUEST)? != IDLE {
        return Ok(Step::default());
    }
    let now = context.now();
    let (due, next) = block.due(now)?;
    if due == 0 {
        return Ok(super::worked(0, next));
    }
    let (started, written) = (block.get(STARTED)?, block.get(WRITTEN)?);
    let reads = started == written && written / READ_BACK_RECORDS > block.get(READ_BACK)?;
    let condition = if reads {
        transfer(context, block, READ, RECORD_IN, written)?
    } else {
        context.storage.store_bytes(RECORD_OUT, &record(written + 1, now))?;
        transfer(context, block, WRITE, RECORD_OUT, written + 1)?
    };
    match condition {
        ConditionCode::Done if reads => block.set(REQUEST, READING)?,
        ConditionCode::Done => {
            block.set(REQUEST, WRITING)?;
            block.set(STARTED, written + 1)?;
        }
        ConditionCode::Status | ConditionCode::Busy => {
            return Ok(super::worked(0, Tick::new(now.get() + RETRY_US)));
        }
        ConditionCode::NotOperational => block.add(IO_FAULTS, 1)?,
    }
    block.advance(1)?;
    Ok(super::worked(1, next))
}

/// Starts the transfer of one record between its blocks and `page`.
fn transfer(
    context: &mut Context<'_>,
    block: Block<'_>,
    code: u8,
    page: u64,
    number: u64,
) -> Result<ConditionCode, AddressFault> {
    let (extent, location) = (JOURNAL_PAGE + DATA, JOURNAL_PAGE + DATA + EXTENT.len() as u64);
    let place = (number % u64::from(PLACES)) as u32 * u32::from(RECORD_BLOCKS);
    let operation = if code == WRITE { TO_WRITE } else { TO_READ };
    let [high, low] = RECORD_BLOCKS.to_be_bytes();
    context.storage.store_bytes(extent, &EXTENT)?;
    context.storage.store_bytes(location, &[operation, 0, high, low])?;
    context.storage.store_bytes(location + 4, &place.to_be_bytes())?;
    let commands = [
        Command { code: DEFINE_EXTENT, address: extent, byte_count: EXTENT.len() as u16 },
        Command { code: LOCATE, address: location, byte_count: 8 },
        Command { code, address: page, byte_count: PAGE as u16 },
    ];
    let subchannel = SubchannelNumber::new(block.get(SUBCHANNEL)? as u16);
    request::start(context, subchannel, Owner::Journal, JOURNAL_PAGE, &commands)
}

/// Takes note of the end of the request; false when none was under way.
pub(super) fn ended(context: &Context<'_>, good: bool) -> Result<bool, AddressFault> {
    let block = Block::new(context.storage, BlockName::Journal);
    let under_way = block.get(REQUEST)?;
    block.set(REQUEST, IDLE)?;
    match (under_way, good) {
        (WRITING, true) => block.set(WRITTEN, block.get(STARTED)?)?,
        (READING, true) => {
            block.add(READ_BACK, 1)?;
            let mut record = [0; PAGE as usize];
            context.storage.load_bytes(RECORD_IN, &mut record)?;
            let is_wrong = number_of(&record) != Some(block.get(WRITTEN)?);
            block.add(FAULTS, u64::from(is_wrong))?;
        }
        (IDLE, _) => return Ok(false),
        _ => block.add(IO_FAULTS, 1)?,
    }
    Ok(true)
}

/// Makes a record: number, checksum, time, then filling.
fn record(number: u64, now: Tick) -> [u8; PAGE as usize] {
    let mut record = [0; PAGE as usize];
    let (words, _) = record.as_chunks_mut::<8>();
    for (index, word) in (0..).zip(words.iter_mut()) {
        *word = mix(number.wrapping_mul(RANDOM_STEP) ^ index).to_be_bytes();
    }
    words[0] = number.to_be_bytes();
    words[2] = now.get().to_be_bytes();
    words[1] = checksum(words).to_be_bytes();
    record
}

/// The checksum of a record: over all words except for itself.
fn checksum(words: &[[u8; 8]]) -> u64 {
    let others = words.iter().take(1).chain(words.iter().skip(2));
    others.fold(0, |sum, word| mix(u64::rotate_left(sum, 9) ^ u64::from_be_bytes(*word)))
}

/// The number of a record, if its checksum fits.
pub(super) fn number_of(record: &[u8; PAGE as usize]) -> Option<u64> {
    let (words, _) = record.as_chunks::<8>();
    let fits = words[1] == checksum(words).to_be_bytes();
    fits.then_some(u64::from_be_bytes(words[0]))
}
