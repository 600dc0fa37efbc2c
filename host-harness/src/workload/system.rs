//! The guest's operating system: interruption handlers and the dispatcher of scripts.
//!
//! An external interruption puts the event into a queue. The dispatcher takes one event after
//! the other and runs its script; a step that does I/O is ended by the I/O interruption.
//!
//! Source of truth: Principles of Operation, "Interruptions"; `script` for what is said.
//! Invariants: a handler ends by loading the old PSW; at most one request of the script is under
//! way; all of this is remembered in the control block alone. Deliberately not here: workloads.

use monitor_core::{
    channel::{DeviceStatus, ScswControl},
    processor::Psw,
    units::{ProcessorIndex, SubchannelNumber, Tick},
    vm::{GuestAnswer, GuestEvent, ProcessorSet},
};

use super::{
    GuestPlan, Manner, journal, line_address, messages, network,
    nucleus::{
        Block, BlockName, CONSOLE_PAGE, LAN_PAGE, LINE_NAME_BYTES, LINE_TABLE, low_core, prefix,
    },
    processors,
    request::{self, Command, Owner},
    script::{self, Action, Facts},
};
use crate::machine::{
    AddressFault, ConditionCode, Context, Exception, Frame, READ_ADDRESS, Step, Storage,
};

/// Not zero when the subchannels have been enabled after IPL.
const STARTED: u64 = 0;
/// Service signals that wait: the parameter of each, 8 bits, the oldest rightmost.
const QUEUE: u64 = 1;
/// The parameter of the service signal whose script runs, or zero.
const SCRIPT: u64 = 2;
/// The next step of the script.
const STEP: u64 = 3;
/// Not zero while a request of the script is under way.
pub(super) const IN_FLIGHT: u64 = 4;
/// Not zero while RECOVERY-START is locked.
pub(super) const LOCKED: u64 = 5;
/// How the guest answers.
const MANNER: u64 = 6;
/// The console's subchannel.
const CONSOLE: u64 = 7;
/// Number of LAN lines.
const LINE_COUNT: u64 = 8;
/// The latest time that the guest has seen.
const LATEST: u64 = 9;
/// How often time went back.
pub(super) const TIME_FAULTS: u64 = 10;
/// Interruptions that nobody waited for.
pub(super) const STRAYS: u64 = 11;
/// Requests of the script that failed.
pub(super) const IO_FAULTS: u64 = 12;
/// Processors that are to leave their work: bit `n` from the right is processor `n`.
const LEAVING: u64 = 13;
/// The server configuration that the guest runs on, as it knows: 24 bytes.
const CONFIGURATION: u64 = 16;
/// The server configuration at the VM's creation: 24 bytes.
const INITIAL: u64 = 20;

/// A text that holds the name of a server configuration.
const NAME_BYTES: usize = 24;
/// Bytes of an entry of the line table: name, VLAN mark, subchannel.
const LINE_BYTES: u64 = 64;
/// Word of an entry that tells a VLAN line.
const LINE_VLAN: u64 = 4;
/// Word of an entry with the subchannel.
const LINE_SUBCHANNEL: u64 = 5;
/// Interruption subclass of all subchannels.
const SUBCLASS: u8 = 3;
/// Where a frame has the hardware address of its sender.
const FRAME_SOURCE: u64 = 6;
/// Where an announcement has it once more.
const ARP_SOURCE: u64 = Frame::HEADER_BYTES as u64 + 8;
/// Time until a busy subchannel is tried again.
const RETRY_US: u64 = 1000;

/// Writes the control block and the line table.
pub(super) fn define(storage: &Storage, plan: &GuestPlan) -> Result<(), AddressFault> {
    let block = Block::new(storage, BlockName::System);
    let manner = match plan.manner {
        Manner::Accept => 0,
        Manner::Refuse => 1,
        Manner::Silent => 2,
    };
    block.set(MANNER, manner)?;
    block.set(CONSOLE, u64::from(plan.console.get()))?;
    block.set(LINE_COUNT, plan.lines.len() as u64)?;
    block.set_text::<NAME_BYTES>(INITIAL, plan.initial_configuration.as_str())?;
    for (number, line) in (0..).zip(&plan.lines) {
        let entry = line_entry(storage, number);
        entry.set_text::<LINE_NAME_BYTES>(0, &line.name)?;
        entry.set(LINE_VLAN, u64::from(line.vlan))?;
        entry.set(LINE_SUBCHANNEL, u64::from(line.subchannel.get()))?;
    }
    Ok(())
}

fn line_entry(storage: &Storage, number: u64) -> Block<'_> {
    Block::at(storage, LINE_TABLE + number * LINE_BYTES)
}

/// External-interruption code of a service signal.
const SERVICE_SIGNAL: u16 = 0x2401;

/// The external-interruption handler: queues an event. Other codes are the processors workload's.
pub(super) fn external_interruption(context: &mut Context<'_>) -> Result<(), Exception> {
    let mut code = [0; 2];
    context.real().load_bytes(low_core::EXTERNAL_CODE, &mut code)?;
    let code = u16::from_be_bytes(code);
    if code == SERVICE_SIGNAL {
        service_signal(context)?;
    } else if !processors::external_interruption(context, code)? {
        Block::new(context.storage, BlockName::System).add(STRAYS, 1)?;
    }
    go_on(context, low_core::EXTERNAL_OLD)
}

/// Queues the event of a service signal.
fn service_signal(context: &Context<'_>) -> Result<(), Exception> {
    let block = Block::new(context.storage, BlockName::System);
    let event = load_word(context, low_core::EXTERNAL_PARAMETER)?;
    let is_known = script::event_of(event).is_some();
    let queue = block.get(QUEUE)?;
    let used_bits = u64::BITS - queue.leading_zeros();
    match event.checked_shl(used_bits.next_multiple_of(8)) {
        Some(entry) if is_known => block.set(QUEUE, queue | entry)?,
        Some(_) | None => block.add(STRAYS, 1)?,
    }
    Ok(())
}

/// Loads an old PSW; a processor that waited goes on behind the wait.
fn go_on(context: &mut Context<'_>, old: u64) -> Result<(), Exception> {
    let mut bytes = [0; 16];
    context.real().load_bytes(old, &mut bytes)?;
    context.load_psw(Psw::from_bytes(bytes).with_wait(false))
}

/// The I/O-interruption handler: takes the status and tells who waits.
pub(super) fn io_interruption(context: &mut Context<'_>) -> Result<(), Exception> {
    let block = Block::new(context.storage, BlockName::System);
    let number = load_word(context, low_core::SUBSYSTEM_ID)? & 0xFFFF;
    let owner = load_word(context, low_core::IO_PARAMETER)?;
    let (condition, irb) = context.test_subchannel(SubchannelNumber::new(number as u16))?;
    let status = irb.scsw;
    if status.device_status.contains(DeviceStatus::ATTENTION) {
        // A device calls, whoever has used it last.
        network::called(context, number)?;
        messages::called(context, number)?;
        if status.deferred_condition_code() == 0 {
            return go_on(context, low_core::IO_OLD);
        }
    }
    let ended = DeviceStatus::CHANNEL_END | DeviceStatus::DEVICE_END;
    if status.device_status & ended == DeviceStatus::CHANNEL_END
        && !status.control.contains(ScswControl::ALERT_STATUS)
    {
        // The channel is free; the device goes on, and interrupts again when it has ended.
        return go_on(context, low_core::IO_OLD);
    }
    let good = condition == ConditionCode::Done
        && !status.device_status.contains(DeviceStatus::UNIT_CHECK)
        && status.subchannel_status.is_empty();
    let expected = if status.deferred_condition_code() == 1 {
        repeat(context, number, owner)?
    } else if owner == Owner::Script as u64 {
        let waited = block.get(IN_FLIGHT)? != 0;
        block.set(IN_FLIGHT, 0)?;
        block.add(IO_FAULTS, u64::from(!good))?;
        waited
    } else if owner == Owner::Journal as u64 {
        journal::ended(context, number, good)?
    } else if owner == Owner::Network as u64 {
        network::ended(context, number, good)?
    } else if owner == Owner::Messages as u64 {
        messages::ended(context, number, good)?
    } else {
        false
    };
    block.add(STRAYS, u64::from(!expected))?;
    go_on(context, low_core::IO_OLD)
}

/// A request has met status of the device and has not begun: it is made once more. False when none
/// was under way.
fn repeat(context: &Context<'_>, number: u64, owner: u64) -> Result<bool, Exception> {
    let block = Block::new(context.storage, BlockName::System);
    if owner == Owner::Script as u64 && block.get(IN_FLIGHT)? != 0 {
        block.set(IN_FLIGHT, 0)?;
        block.set(STEP, block.get(STEP)?.saturating_sub(1))?;
        return Ok(true);
    }
    if owner == Owner::Journal as u64 {
        return Ok(journal::ended(context, number, false)?);
    }
    if owner == Owner::Messages as u64 {
        return Ok(messages::not_begun(context, number)?);
    }
    Ok(owner == Owner::Network as u64 && network::not_begun(context, number)?)
}

/// The word (4 bytes) at an offset of the prefix area.
fn load_word(context: &Context<'_>, offset: u64) -> Result<u64, Exception> {
    let mut bytes = [0; 4];
    context.real().load_bytes(offset, &mut bytes)?;
    Ok(u64::from(u32::from_be_bytes(bytes)))
}

/// Runs the system: what is left of its start after IPL, then one step of the script.
pub(super) fn run(context: &mut Context<'_>) -> Result<Step, Exception> {
    let block = Block::new(context.storage, BlockName::System);
    let now = context.now();
    if now.get() < block.get(LATEST)? {
        block.add(TIME_FAULTS, 1)?;
    }
    block.set(LATEST, now.get())?;
    if block.get(STARTED)? == 0 {
        block.set(STARTED, 1)?;
        return finish_ipl(context);
    }
    if block.get(IN_FLIGHT)? != 0 {
        return Ok(Step::default());
    }
    if block.get(SCRIPT)? == 0 {
        let queue = block.get(QUEUE)?;
        if queue == 0 {
            return Ok(Step::default());
        }
        block.set(SCRIPT, queue & 0xFF)?;
        block.set(QUEUE, queue >> 8)?;
        block.set(STEP, 0)?;
    }
    if step_script(context, block)? {
        Ok(super::worked(1, now))
    } else {
        Ok(Step { worked: 0, next_due: Some(Tick::new(now.get() + RETRY_US)) })
    }
}

/// Enables the subchannels and learns the server configuration.
fn finish_ipl(context: &mut Context<'_>) -> Result<Step, Exception> {
    let block = Block::new(context.storage, BlockName::System);
    let mut subchannels = vec![block.get(CONSOLE)?];
    for number in 0..block.get(LINE_COUNT)? {
        subchannels.push(line_entry(context.storage, number).get(LINE_SUBCHANNEL)?);
    }
    subchannels.extend(journal::subchannels(context.storage)?);
    subchannels.extend(messages::subchannel(context.storage)?);
    for number in subchannels {
        request::enable(context, SubchannelNumber::new(number as u16), SUBCLASS)?;
    }
    let name = context.store_system_information()?;
    block.set_text::<NAME_BYTES>(CONFIGURATION, name.as_str())?;
    Ok(super::worked(1, context.now()))
}

/// Does one step of the script; false when it must be tried again.
fn step_script(context: &mut Context<'_>, block: Block<'_>) -> Result<bool, Exception> {
    let step = block.get(STEP)?;
    let facts = Facts {
        manner: match block.get(MANNER)? {
            0 => Manner::Accept,
            1 => Manner::Refuse,
            _ => Manner::Silent,
        },
        locked: block.get(LOCKED)? != 0,
        line_count: block.get(LINE_COUNT)?,
    };
    let action = match script::event_of(block.get(SCRIPT)?) {
        Some(event) => script::action(event, step, facts),
        None => Action::End,
    };
    let condition = match action {
        Action::Say(text) => say(context, block, text)?,
        Action::Lock => say(context, block, script::LOCKED)?,
        Action::Unlock => say(context, block, script::UNLOCKED)?,
        Action::Finish => {
            let source = block.text::<NAME_BYTES>(CONFIGURATION)?;
            let initial = block.text::<NAME_BYTES>(INITIAL)?;
            let target = context.store_system_information()?;
            say(context, block, &script::finished(&source, target.as_str(), &initial))?
        }
        Action::Announce(number) => announce(context, number)?,
        Action::Report(number) => {
            let entry = line_entry(context.storage, number);
            let text =
                script::active(&entry.text::<LINE_NAME_BYTES>(0)?, entry.get(LINE_VLAN)? != 0);
            say(context, block, &text)?
        }
        Action::Leave => {
            // Those that are lost already have left before.
            let departing = context.departing_processors()?.bits();
            block.set(LEAVING, block.get(LEAVING)? | departing)?;
            block.set(STEP, step + 1)?;
            return Ok(true);
        }
        Action::AwaitLeft => {
            if !has_everybody_left(context, block.get(LEAVING)?)? {
                return Ok(false);
            }
            block.set(STEP, step + 1)?;
            return Ok(true);
        }
        Action::Return => {
            let operational = context.operational_processors()?.bits();
            block.set(LEAVING, block.get(LEAVING)? & !operational)?;
            block.set(STEP, step + 1)?;
            return Ok(true);
        }
        Action::Pass => {
            block.set(STEP, step + 1)?;
            return Ok(true);
        }
        Action::Answer(answer) => return end_script(context, block, Some(answer)),
        Action::End => return end_script(context, block, None),
    };
    match condition {
        ConditionCode::Done => block.set(IN_FLIGHT, 1)?,
        ConditionCode::Status | ConditionCode::Busy => return Ok(false),
        // The line is lost, but the monitor is not left without an answer.
        ConditionCode::NotOperational => block.add(IO_FAULTS, 1)?,
    }
    note(context, block, action)?;
    block.set(STEP, step + 1)?;
    Ok(true)
}

/// Where a processor says that it has left.
pub(super) fn mark_of(processor: u16) -> u64 {
    prefix(processor) + low_core::HAS_LEFT
}

fn has_everybody_left(context: &Context<'_>, leaving: u64) -> Result<bool, AddressFault> {
    for processor in ProcessorSet::from_bits(leaving).iter() {
        if context.storage.load(mark_of(processor.get()))? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether this processor is to do nothing. It comes here between two units of work, when it holds
/// nothing that another one waits for, and all that it has to go on with is in its registers.
pub(super) fn leaves(context: &Context<'_>) -> Result<bool, AddressFault> {
    let leaving = Block::new(context.storage, BlockName::System).get(LEAVING)?;
    let is_leaving =
        ProcessorSet::from_bits(leaving).contains(ProcessorIndex::new(context.processor));
    let mark = mark_of(context.processor);
    if is_leaving != (context.storage.load(mark)? != 0) {
        context.storage.store(mark, u64::from(is_leaving))?;
    }
    Ok(is_leaving)
}

/// Notes what an action has changed once its line is on the way.
fn note(context: &Context<'_>, block: Block<'_>, action: Action) -> Result<(), Exception> {
    match action {
        Action::Lock => block.set(LOCKED, 1)?,
        Action::Unlock => block.set(LOCKED, 0)?,
        Action::Finish => {
            let name = context.store_system_information()?;
            block.set_text::<NAME_BYTES>(CONFIGURATION, name.as_str())?;
        }
        Action::Say(_)
        | Action::Announce(_)
        | Action::Report(_)
        | Action::Leave
        | Action::AwaitLeft
        | Action::Return
        | Action::Pass
        | Action::Answer(_)
        | Action::End => {}
    }
    Ok(())
}

fn end_script(
    context: &mut Context<'_>,
    block: Block<'_>,
    answer: Option<GuestAnswer>,
) -> Result<bool, Exception> {
    let parameter = block.get(SCRIPT)?;
    block.set(SCRIPT, 0)?;
    if let Some(answer) = answer {
        context.call_monitor(parameter, answer)?;
    }
    Ok(true)
}

fn say(
    context: &mut Context<'_>,
    block: Block<'_>,
    text: &str,
) -> Result<ConditionCode, Exception> {
    let console = SubchannelNumber::new(block.get(CONSOLE)? as u16);
    request::start_text(context, console, Owner::Script, CONSOLE_PAGE, text)
}

/// Announces a line's address. The adapter is that of the SU, so the channel program itself reads
/// the hardware address into the frame that it sends.
fn announce(context: &mut Context<'_>, number: u64) -> Result<ConditionCode, Exception> {
    let subchannel = line_subchannel(context.storage, number)?;
    // A device may go on for a request whose channel program has ended: two would be mixed up.
    if network::is_at_work(context.storage, u64::from(subchannel.get()))? {
        return Ok(ConditionCode::Busy);
    }
    let frame = Frame::gratuitous_arp([0; 6], line_address(number)).to_bytes();
    let origin = LAN_PAGE + request::DATA;
    context.storage.store_bytes(origin, &frame)?;
    let commands = [
        Command { code: READ_ADDRESS, address: origin + FRAME_SOURCE, byte_count: 6 },
        Command { code: READ_ADDRESS, address: origin + ARP_SOURCE, byte_count: 6 },
        Command { code: request::WRITE, address: origin, byte_count: frame.len() as u16 },
    ];
    request::start(context, subchannel, Owner::Script, LAN_PAGE, &commands)
}

/// Whether a request of the script that announces the lines is under way.
pub(super) fn is_announcing(storage: &Storage) -> Result<bool, AddressFault> {
    let block = Block::new(storage, BlockName::System);
    let is_network_up = script::event_of(block.get(SCRIPT)?) == Some(GuestEvent::NetworkUp);
    Ok(is_network_up && block.get(IN_FLIGHT)? != 0)
}

/// The subchannel of a line.
pub(super) fn line_subchannel(
    storage: &Storage,
    number: u64,
) -> Result<SubchannelNumber, AddressFault> {
    let subchannel = line_entry(storage, number).get(LINE_SUBCHANNEL)?;
    Ok(SubchannelNumber::new(subchannel as u16))
}
