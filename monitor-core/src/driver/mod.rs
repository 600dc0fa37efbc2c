//! The driver: the one module that knows ports. Effects become port calls, completions inputs.
//!
//! There is one driver an end: [`SourceDriver`] and [`TargetDriver`]. Each holds its machine, the
//! lent memory and the ports, and does bounded work in each `step(now)`. It never blocks and has
//! no clock: [`Wait`] says when to come back, and whether the link is waited for.
//!
//! Source of truth: `migrate` for what is to be done, PROTOCOL.md for how it looks on the wire.
//! Invariants: effects are performed in the order in which they are polled; a page is copied once
//! into the frame buffer, checked there, and sent; a frame is handed to the machine only when it
//! is whole, undamaged and in its place. Deliberately not here: decisions.

mod fill;
mod remote;
mod serial;
mod source;
mod stream;
mod target;

pub use remote::RemoteDirectory;
pub use serial::SerialLink;
pub use source::{SourceDriver, SourceMemory};
pub use target::{TargetDriver, TargetMemory};

use heapless::Deque;

use crate::{
    limits::FRAME_BYTES_MAX,
    message::{Notice, Parties, render},
    migrate::Input,
    ports::{
        Checksum, ClusterDirectory, Completion, Completions, DeviceControl, DirtyTracking,
        GuestEvents, GuestProcessors, GuestStorage, MonitorJournal, OperatorConsole, PageStates,
        StorageKeys, VmHost,
    },
    units::{Micros, Sequence, Tick},
    vm::Operation,
    wire::{Frame, checksum::crc32c},
};

/// Bytes of each of the two frame buffers that a driver is lent: a frame with 64 pages, and room
/// for short frames behind it.
pub const BUFFER_BYTES: usize = FRAME_BYTES_MAX + 1024;

/// Effects that one call of `step` performs at most.
const EFFECTS_PER_STEP: usize = 64;

/// Frames that may wait for room on the link while effects that the guest is owed go on.
const WAITING_MAX: usize = 4;

/// Frames that wait for room on the link, oldest first.
type Waiting = Deque<(Sequence, Frame), WAITING_MAX>;

/// Frames that one call of `step` takes from the link at most.
const FRAMES_PER_STEP: usize = 64;

/// Every port of a VM and of its monitor, in one bound.
pub trait VmPorts:
    GuestStorage
    + StorageKeys
    + PageStates
    + DirtyTracking
    + GuestProcessors
    + GuestEvents
    + DeviceControl
    + Completions
    + VmHost
    + MonitorJournal
{
}

impl<T> VmPorts for T where
    T: GuestStorage
        + StorageKeys
        + PageStates
        + DirtyTracking
        + GuestProcessors
        + GuestEvents
        + DeviceControl
        + Completions
        + VmHost
        + MonitorJournal
{
}

/// The ports of one end.
#[derive(Debug)]
pub struct Ports<V, L, D, C, K> {
    /// The VM and its monitor.
    pub vm: V,
    /// The link to the other end.
    pub link: L,
    /// The cluster directory.
    pub directory: D,
    /// The operator's console.
    pub console: C,
    /// CRC-32C.
    pub checksum: K,
}

/// What a driver waits for after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Whether there is more to do at once.
    pub busy: bool,
    /// Whether bytes wait for room on the link.
    pub sending: bool,
    /// When to step at the latest.
    pub deadline: Option<Tick>,
    /// Whether the attempt has ended at this end and everything was said, or the link has not
    /// taken the last words for the time that a peer has for an answer.
    pub finished: bool,
}

/// CRC-32C without help of the hardware.
#[derive(Clone, Copy, Debug, Default)]
pub struct PortableCrc32c;

impl Checksum for PortableCrc32c {
    fn update(&mut self, crc: u32, bytes: &[u8]) -> u32 {
        crc32c(crc, bytes)
    }
}

/// Whether an attempt that is over since some moment has also said its last words, or may give
/// them up.
fn has_said(over_since: Option<Tick>, is_sending: bool, now: Tick, patience: Micros) -> bool {
    over_since.is_some_and(|since| !is_sending || since.after(patience) <= now)
}

/// Writes a journal; its end comes at once.
fn save_journal<V: VmPorts>(vm: &mut V, bytes: Option<&[u8]>) -> Input {
    match bytes.map(|bytes| vm.save(bytes)) {
        Some(Ok(())) => Input::Done(Operation::SaveJournal),
        Some(Err(_)) | None => {
            crate::fmt::warning!("the journal was not written");
            Input::Failed(Operation::SaveJournal)
        }
    }
}

/// The input that a completion is.
const fn input_of(completion: Completion) -> Input {
    match completion {
        Completion::Guest(answer) => Input::Guest(answer),
        Completion::Done(operation) => Input::Done(operation),
        Completion::Failed(operation, _) => Input::Failed(operation),
    }
}

/// The next input that the VM's ports or the directory have.
fn next_completion<V, L, D, C, K>(ports: &mut Ports<V, L, D, C, K>) -> Option<Input>
where
    V: Completions,
    D: ClusterDirectory,
{
    if let Some(completion) = ports.vm.poll_completion() {
        return Some(input_of(completion));
    }
    ports.directory.poll_answer().map(Input::Directory)
}

/// Writes a notice on the console. A console that fails does not end the migration.
fn say<C: OperatorConsole>(console: &mut C, notice: Notice, parties: &Parties) {
    let line = render(notice, parties);
    if console.write_line(&line).is_err() {
        crate::fmt::warning!("the console did not take message VMS{}", notice.code());
    }
}
