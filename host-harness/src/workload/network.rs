//! Network workload: answers what peers send on the LAN lines.
//!
//! An adapter tells of frames by attention. The guest then reads as many as there are, at most
//! [`BATCH`], by one channel program, and sends the answers by another one. Each line goes its own
//! way, so several requests are under way at once.
//!
//! Source of truth: this file, also for the frames that peer and guest exchange. Invariants: a
//! ping is answered at most once; each answer of a line has a higher serial number than the one
//! before, so that a copy of the guest that was left behind shows. Deliberately not here: the
//! announcement of the lines, which is the system's; what the peer makes of the answers.

use monitor_core::units::{SubchannelNumber, Tick};

use super::{
    line_address,
    nucleus::{Area, Block, BlockName, LINES_MAX, PAGE, RANDOM_STEP, mix, word},
    request::{self, Command, Owner},
    system,
};
use crate::machine::{
    AddressFault, ConditionCode, Context, Exception, Frame, READ_IF_ANY, Step, Storage, TYPE_LOCAL,
};

/// Where the pages of the lines begin.
const ORIGIN: u64 = word::OWN;
/// Number of the lines.
const LINE_COUNT: u64 = word::OWN + 1;
/// Frames that were no pings for the guest.
pub(super) const FAULTS: u64 = word::OWN + 2;
/// Requests that failed.
pub(super) const IO_FAULTS: u64 = word::OWN + 3;

/// Where the page of a line has its words, behind the channel program.
const WORDS: u64 = 0x80;
/// What the line is doing: one of the states below.
const STATE: u64 = 0;
/// Not zero when the adapter has told of frames.
const CALLED: u64 = 1;
/// Answers that are ready or under way.
const COUNT: u64 = 2;
/// Serial number of the answer made last.
const SERIAL: u64 = 3;
/// Answers that were sent.
const ANSWERED: u64 = 4;

const IDLE: u64 = 0;
const READING: u64 = 1;
const HAS_READ: u64 = 2;
const READY: u64 = 3;
const WRITING: u64 = 4;

/// Frames of one channel program.
const BATCH: u64 = 4;
/// Where frames are read to.
const INPUT: u64 = 0x200;
/// Where answers are written from.
const OUTPUT: u64 = 0x600;
/// Bytes from one frame to the next.
const SLOT_BYTES: u64 = 0x100;
/// Time until a busy subchannel is tried again.
const RETRY_US: u64 = 1000;

/// A ping or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ping {
    /// Whether it is the answer.
    pub(super) is_answer: bool,
    /// The line that it is on.
    pub(super) line: u64,
    /// The number of the ping.
    pub(super) number: u64,
    /// The number of the answer; zero in a ping.
    pub(super) serial: u64,
}

/// Bytes of the payload.
const PAYLOAD_BYTES: usize = 46;
/// Bytes of a frame with a ping.
pub(super) const FRAME_BYTES: usize = Frame::HEADER_BYTES + PAYLOAD_BYTES;

impl Ping {
    fn check(self) -> u64 {
        let both = self.number.wrapping_mul(RANDOM_STEP) ^ self.serial;
        mix(both ^ u64::from(self.is_answer))
    }

    /// The payload of a frame.
    pub(super) fn to_payload(self) -> Vec<u8> {
        let mut payload = vec![1 + u8::from(self.is_answer), 0, 0, 0];
        payload.extend(line_address(self.line));
        for word in [self.number, self.serial, self.check()] {
            payload.extend(word.to_be_bytes());
        }
        payload.resize(PAYLOAD_BYTES, 0);
        payload
    }

    /// The ping or answer of a line that a frame carries.
    pub(super) fn of_frame(frame: &Frame, line: u64) -> Option<Self> {
        let is_answer = frame.payload.first() == Some(&2);
        let word = |at: usize| {
            let bytes = frame.payload.get(at..)?.first_chunk()?;
            Some(u64::from_be_bytes(*bytes))
        };
        let ping = Self { is_answer, line, number: word(8)?, serial: word(16)? };
        let is_right = frame.kind == TYPE_LOCAL && frame.payload == ping.to_payload();
        is_right.then_some(ping)
    }
}

/// The area that the lines need.
pub(super) fn page_count(line_count: usize) -> u64 {
    line_count.min(LINES_MAX) as u64
}

/// Writes the control block, and the words of each line.
pub(super) fn define(block: Block<'_>, storage: &Storage, area: Area) -> Result<(), AddressFault> {
    block.set(ORIGIN, area.origin)?;
    block.set(LINE_COUNT, area.pages)?;
    for page in 0..area.pages {
        storage.store_bytes(area.origin + page * PAGE, &[0; PAGE as usize])?;
    }
    Ok(())
}

/// A line: its number, its page, its words.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: u64,
    page: u64,
    words: Block<'a>,
}

impl<'a> Line<'a> {
    fn new(storage: &'a Storage, number: u64) -> Result<Self, AddressFault> {
        let origin = Block::new(storage, BlockName::Network).get(ORIGIN)?;
        let page = origin + number * PAGE;
        Ok(Self { number, page, words: Block::at(storage, page + WORDS) })
    }
}

/// The line with this subchannel, if there is one.
fn line_of(storage: &Storage, subchannel: u64) -> Result<Option<Line<'_>>, AddressFault> {
    let block = Block::new(storage, BlockName::Network);
    let line_count = if block.is_present()? { block.get(LINE_COUNT)? } else { 0 };
    for number in 0..line_count {
        if u64::from(system::line_subchannel(storage, number)?.get()) == subchannel {
            return Line::new(storage, number).map(Some);
        }
    }
    Ok(None)
}

/// Goes on with each line.
pub(super) fn run(context: &mut Context<'_>, _budget: u32) -> Result<Step, Exception> {
    let line_count = Block::new(context.storage, BlockName::Network).get(LINE_COUNT)?;
    let (mut worked, mut is_delayed) = (0, false);
    for number in 0..line_count {
        let line = Line::new(context.storage, number)?;
        match line.words.get(STATE)? {
            IDLE if line.words.get(CALLED)? != 0 => {}
            HAS_READ => answer(context, line)?,
            READY => {}
            _ => continue,
        }
        let condition = go_on(context, line)?;
        is_delayed |= matches!(condition, ConditionCode::Status | ConditionCode::Busy);
        worked += u64::from(condition == ConditionCode::Done);
    }
    let next_due = is_delayed.then(|| Tick::new(context.now().get() + RETRY_US));
    Ok(Step { next_due, ..super::worked(worked, context.now()) })
}

/// Starts the request that a line has to start, if any.
fn go_on(context: &mut Context<'_>, line: Line<'_>) -> Result<ConditionCode, Exception> {
    // The end of the announcement has to be told to the script, and to nobody else.
    if system::is_announcing(context.storage)? {
        return Ok(ConditionCode::Busy);
    }
    let subchannel = system::line_subchannel(context.storage, line.number)?;
    let state = line.words.get(STATE)?;
    let condition = match state {
        READY => write(context, line, subchannel)?,
        IDLE if line.words.get(CALLED)? != 0 => read(context, line, subchannel)?,
        _ => return Ok(ConditionCode::Done),
    };
    match condition {
        ConditionCode::Done if state == READY => line.words.set(STATE, WRITING)?,
        ConditionCode::Done => line.words.set(STATE, READING)?,
        ConditionCode::Status | ConditionCode::Busy => {}
        ConditionCode::NotOperational => {
            Block::new(context.storage, BlockName::Network).add(IO_FAULTS, 1)?;
            line.words.set(STATE, IDLE)?;
            line.words.set(CALLED, 0)?;
        }
    }
    Ok(condition)
}

fn read(
    context: &mut Context<'_>,
    line: Line<'_>,
    subchannel: SubchannelNumber,
) -> Result<ConditionCode, Exception> {
    let input = line.page + INPUT;
    // A slot that stays zero has got no frame.
    context.storage.store_bytes(input, &[0; (BATCH * SLOT_BYTES) as usize])?;
    let commands = slots(input).map(|address| Command {
        code: READ_IF_ANY,
        address,
        byte_count: SLOT_BYTES as u16,
    });
    let condition = request::start(context, subchannel, Owner::Network, line.page, &commands)?;
    if condition == ConditionCode::Done {
        line.words.set(CALLED, 0)?;
    }
    Ok(condition)
}

fn write(
    context: &mut Context<'_>,
    line: Line<'_>,
    subchannel: SubchannelNumber,
) -> Result<ConditionCode, Exception> {
    let commands = slots(line.page + OUTPUT).map(|address| Command {
        code: request::WRITE,
        address,
        byte_count: FRAME_BYTES as u16,
    });
    let count = line.words.get(COUNT)?.min(BATCH) as usize;
    request::start(context, subchannel, Owner::Network, line.page, &commands[..count])
}

fn slots(origin: u64) -> [u64; BATCH as usize] {
    std::array::from_fn(|slot| origin + slot as u64 * SLOT_BYTES)
}

/// Makes the answers to what was read.
fn answer(context: &Context<'_>, line: Line<'_>) -> Result<(), AddressFault> {
    let storage = context.storage;
    let mut count = 0;
    for input in slots(line.page + INPUT) {
        let mut bytes = [0; FRAME_BYTES];
        storage.load_bytes(input, &mut bytes)?;
        let Some(frame) = Frame::parse(&bytes).filter(|_| bytes.iter().any(|byte| *byte != 0))
        else {
            continue;
        };
        let is_ours = frame.kind == TYPE_LOCAL;
        let Some(ping) = Ping::of_frame(&frame, line.number).filter(|ping| !ping.is_answer) else {
            Block::new(storage, BlockName::Network).add(FAULTS, u64::from(is_ours))?;
            continue;
        };
        line.words.add(SERIAL, 1)?;
        let answer = Ping { is_answer: true, serial: line.words.get(SERIAL)?, ..ping };
        let answer =
            Frame { target: frame.source, payload: answer.to_payload(), ..frame }.to_bytes();
        storage.store_bytes(line.page + OUTPUT + count * SLOT_BYTES, &answer)?;
        count += 1;
    }
    line.words.set(COUNT, count)?;
    line.words.set(STATE, if count == 0 { IDLE } else { READY })
}

/// Whether a line has a request under way.
pub(super) fn is_at_work(storage: &Storage, subchannel: u64) -> Result<bool, AddressFault> {
    match line_of(storage, subchannel)? {
        Some(line) => Ok(matches!(line.words.get(STATE)?, READING | WRITING)),
        None => Ok(false),
    }
}

/// Takes note of the attention of an adapter.
pub(super) fn called(context: &Context<'_>, subchannel: u64) -> Result<(), AddressFault> {
    match line_of(context.storage, subchannel)? {
        Some(line) => line.words.set(CALLED, 1),
        None => Ok(()),
    }
}

/// Takes note that a line's request has not begun and has to be made again; false when none was
/// under way.
pub(super) fn not_begun(context: &Context<'_>, subchannel: u64) -> Result<bool, AddressFault> {
    let Some(line) = line_of(context.storage, subchannel)? else {
        return Ok(false);
    };
    let before = match line.words.get(STATE)? {
        READING => IDLE,
        WRITING => READY,
        _ => return Ok(false),
    };
    line.words.set(STATE, before)?;
    Ok(true)
}

/// Takes note of the end of a line's request; false when none was under way.
pub(super) fn ended(
    context: &Context<'_>,
    subchannel: u64,
    good: bool,
) -> Result<bool, AddressFault> {
    let Some(line) = line_of(context.storage, subchannel)? else {
        return Ok(false);
    };
    let next = match (line.words.get(STATE)?, good) {
        (READING, true) => HAS_READ,
        (WRITING, true) => {
            line.words.add(ANSWERED, line.words.get(COUNT)?)?;
            IDLE
        }
        (before @ (READING | WRITING), false) => {
            Block::new(context.storage, BlockName::Network).add(IO_FAULTS, 1)?;
            // The adapter does not tell again of frames that were not read.
            line.words.set(CALLED, u64::from(before == READING))?;
            IDLE
        }
        _ => return Ok(false),
    };
    line.words.set(STATE, next)?;
    Ok(true)
}

/// Where the number of the answers of each line is.
pub(super) fn answered_addresses(area: Area) -> impl Iterator<Item = u64> {
    (0..area.pages).map(move |page| area.origin + page * PAGE + WORDS + 8 * ANSWERED)
}
