//! Channel programs of the guest: built in guest storage and started at a subchannel.
//!
//! Source of truth: Principles of Operation, "Channel-Command Word" (format 1) and
//! "Operation-Request Block". Invariant: a page belongs to one request at a time, from its start
//! to its interruption. Deliberately not here: who waits for the end, which the interruption
//! parameter tells.

use monitor_core::{channel::Orb, units::SubchannelNumber};

use crate::machine::{ConditionCode, Context, Exception, WRITE_LINE, ebcdic};

/// Command code WRITE.
pub(super) const WRITE: u8 = 0x01;

/// Where a request's page holds its data, behind the channel program.
pub(super) const DATA: u64 = 0x100;
/// The most bytes of text that a request's page takes.
const TEXT_BYTES_MAX: usize = 1024;

/// Command chaining.
const CHAIN: u8 = 0x40;
/// Suppress length indication.
const SUPPRESS: u8 = 0x20;

/// Who waits for the interruption: the interruption parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The script of the system.
    Script = 1,
    /// The journal.
    Journal = 2,
    /// The network workload.
    Network = 3,
    /// The messages workload.
    Messages = 4,
}

/// One command of a channel program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) code: u8,
    pub(super) address: u64,
    pub(super) byte_count: u16,
}

/// Enables a subchannel, with this interruption subclass.
pub(super) fn enable(
    context: &mut Context<'_>,
    subchannel: SubchannelNumber,
    subclass: u8,
) -> Result<(), Exception> {
    if let Some(mut schib) = context.store_subchannel(subchannel)? {
        schib.pmcw = schib.pmcw.with_enabled(true).with_interruption_subclass(subclass);
        context.modify_subchannel(subchannel, &schib)?;
    }
    Ok(())
}

/// Builds a channel program at the begin of `page` and starts it.
pub(super) fn start(
    context: &mut Context<'_>,
    subchannel: SubchannelNumber,
    owner: Owner,
    page: u64,
    commands: &[Command],
) -> Result<ConditionCode, Exception> {
    for (number, command) in (0..).zip(commands) {
        let is_last = number + 1 == commands.len();
        let flags = if is_last { SUPPRESS } else { SUPPRESS | CHAIN };
        let word = u64::from(command.code) << 56
            | u64::from(flags) << 48
            | u64::from(command.byte_count) << 32
            | command.address;
        context.storage.store(page + 8 * number as u64, word)?;
    }
    let orb = Orb::of_program(page as u32, owner as u32);
    context.start_subchannel(subchannel, &orb)
}

/// Starts a request that writes `text` on a console, as a line.
pub(super) fn start_text(
    context: &mut Context<'_>,
    subchannel: SubchannelNumber,
    owner: Owner,
    page: u64,
    text: &str,
) -> Result<ConditionCode, Exception> {
    let mut bytes = ebcdic::encode(text);
    bytes.truncate(TEXT_BYTES_MAX);
    context.storage.store_bytes(page + DATA, &bytes)?;
    let byte_count = bytes.len() as u16;
    let command = Command { code: WRITE_LINE, address: page + DATA, byte_count };
    start(context, subchannel, owner, page, &[command])
}
