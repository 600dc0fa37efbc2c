//! Messages workload: takes what a partner writes on a channel-to-channel adapter.
//!
//! The adapter tells of a message by attention. The guest then reads it by a channel program that
//! waits for the partner, and looks whether its number is the next one. So a message that was
//! lost, or that came twice, shows at once.
//!
//! Source of truth: this file, also for what partner and guest exchange. Invariants: one request
//! is under way at a time; a request that failed is made once more, since nothing was read by it.
//! Deliberately not here: answers, and the partner.

use monitor_core::units::{SubchannelNumber, Tick};

use super::{
    nucleus::{Area, Block, BlockName, mix, word},
    request::{self, Command, DATA, Owner},
};
use crate::machine::{AddressFault, ConditionCode, Context, Exception, Step, Storage, command};

/// The adapter's subchannel.
const SUBCHANNEL: u64 = word::OWN;
/// The page of the channel program and of the message.
const PAGE: u64 = word::OWN + 1;
/// Not zero when the adapter has told of a message.
const CALLED: u64 = word::OWN + 2;
/// Not zero while a request is under way.
const READING: u64 = word::OWN + 3;
/// Number of the latest message.
pub(super) const LAST: u64 = word::OWN + 4;
/// Messages that were not the next one.
pub(super) const FAULTS: u64 = word::OWN + 5;
/// Requests that failed.
pub(super) const IO_FAULTS: u64 = word::OWN + 6;

/// The area that the workload needs.
pub(super) const PAGES: u64 = 1;
/// Bytes of a message: its number, and its checksum.
const MESSAGE_BYTES: usize = 16;
/// Time until a busy subchannel is tried again.
const RETRY_US: u64 = 1000;

/// The message with this number.
#[must_use]
pub fn message(number: u64) -> [u8; MESSAGE_BYTES] {
    (u128::from(number) << 64 | u128::from(mix(number))).to_be_bytes()
}

/// Writes the control block.
pub(super) fn define(
    block: Block<'_>,
    area: Area,
    subchannel: SubchannelNumber,
) -> Result<(), AddressFault> {
    block.set(PAGE, area.origin)?;
    block.set(SUBCHANNEL, u64::from(subchannel.get()))?;
    block.define(1, 1)
}

/// The control block, if the guest has the workload.
fn present(storage: &Storage) -> Result<Option<Block<'_>>, AddressFault> {
    let block = Block::new(storage, BlockName::Messages);
    Ok(block.is_present()?.then_some(block))
}

/// The control block, if the adapter has this subchannel.
fn of(storage: &Storage, subchannel: u64) -> Result<Option<Block<'_>>, AddressFault> {
    match present(storage)? {
        Some(block) if block.get(SUBCHANNEL)? == subchannel => Ok(Some(block)),
        Some(_) | None => Ok(None),
    }
}

/// The adapter's subchannel, if the guest has the workload.
pub(super) fn subchannel(storage: &Storage) -> Result<Option<u64>, AddressFault> {
    present(storage)?.map(|block| block.get(SUBCHANNEL)).transpose()
}

/// Reads the next message when there is one.
pub(super) fn run(context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
    let block = Block::new(context.storage, BlockName::Messages);
    if block.get(CALLED)? == 0 || block.get(READING)? != 0 {
        return Ok(Step::default());
    }
    let page = block.get(PAGE)?;
    let subchannel = SubchannelNumber::new(block.get(SUBCHANNEL)? as u16);
    let read =
        Command { code: command::READ, address: page + DATA, byte_count: MESSAGE_BYTES as u16 };
    match request::start(context, subchannel, Owner::Messages, page, &[read])? {
        ConditionCode::Done => {
            block.set(CALLED, 0)?;
            block.set(READING, 1)?;
            Ok(super::worked(1, context.now()))
        }
        ConditionCode::Status | ConditionCode::Busy => {
            Ok(super::worked(0, Tick::new(context.now().get() + RETRY_US)))
        }
        ConditionCode::NotOperational => {
            block.add(IO_FAULTS, 1)?;
            block.set(CALLED, 0)?;
            Ok(Step::default())
        }
    }
}

/// Takes note of the attention of an adapter.
pub(super) fn called(context: &Context<'_>, subchannel: u64) -> Result<(), AddressFault> {
    of(context.storage, subchannel)?.map_or(Ok(()), |block| block.set(CALLED, 1))
}

/// Takes note that the request has not begun and has to be made again; false when none was under
/// way.
pub(super) fn not_begun(context: &Context<'_>, subchannel: u64) -> Result<bool, AddressFault> {
    let Some(block) = of(context.storage, subchannel)? else {
        return Ok(false);
    };
    let was_reading = block.get(READING)? != 0;
    block.set(READING, 0)?;
    block.set(CALLED, 1)?;
    Ok(was_reading)
}

/// Takes note of the end of the request; false when none was under way.
pub(super) fn ended(
    context: &Context<'_>,
    subchannel: u64,
    good: bool,
) -> Result<bool, AddressFault> {
    if !good {
        let was_reading = not_begun(context, subchannel)?;
        let block = Block::new(context.storage, BlockName::Messages);
        block.add(IO_FAULTS, u64::from(was_reading))?;
        return Ok(was_reading);
    }
    let Some(block) = of(context.storage, subchannel)? else {
        return Ok(false);
    };
    let was_reading = block.get(READING)? != 0;
    block.set(READING, 0)?;
    let mut bytes = [0; MESSAGE_BYTES];
    context.storage.load_bytes(block.get(PAGE)? + DATA, &mut bytes)?;
    let next = block.get(LAST)? + 1;
    if bytes == message(next) {
        block.set(LAST, next)?;
    } else {
        block.add(FAULTS, 1)?;
    }
    Ok(was_reading)
}
