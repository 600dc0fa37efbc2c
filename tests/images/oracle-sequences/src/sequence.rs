//! A sequence of steps, and how one is written down.
//!
//! Source of truth: Principles of Operation, "Channel-Command Word". Invariant: what is written
//! down fits, since a sequence is of fixed size. Deliberately not here: which sequences there are.

use crate::{
    area,
    step::{Change, Request, Step, Unit},
};
use core::fmt::{self, Write};
use heapless::{String, Vec};

/// Most bytes of a name.
pub const NAME_BYTES: usize = 48;
/// Most steps.
pub const STEPS_MAX: usize = 96;

/// Chains data: the next word goes on with this command.
pub const CD: u8 = 0x80;
/// Chains commands.
pub const CC: u8 = 0x40;
/// Suppresses the indication of incorrect length.
pub const SLI: u8 = 0x20;
/// Skips the transfer.
pub const SKIP: u8 = 0x10;
/// Asks for an interruption while the program goes on.
pub const PCI: u8 = 0x08;
/// The address is that of indirect-data-address words.
pub const IDA: u8 = 0x04;
/// Suspends the program before this command.
pub const SUSPEND: u8 = 0x02;

/// A sequence of steps on one unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its name, by which differences are listed: theme, slash, what is special.
    pub name: String<NAME_BYTES>,
    /// The unit that its steps begin with.
    pub unit: Unit,
    /// Its steps.
    pub steps: Vec<Step, STEPS_MAX>,
    /// Where the next channel-command word goes.
    cursor: u32,
    /// How the next start is asked for.
    request: Request,
}

impl Sequence {
    /// A sequence without steps.
    ///
    /// # Panics
    /// If the name is too long.
    #[must_use]
    pub fn new(unit: Unit, name: fmt::Arguments<'_>) -> Self {
        let mut text = String::new();
        assert!(text.write_fmt(name).is_ok(), "the name of a sequence is too long");
        let request = Request {
            parameter: 0x00C0_FFEE,
            flags: Request::FORMAT_1,
            paths: 0xFF,
            extension: 0,
            program: area::PROGRAM,
        };
        Self { name: text, unit, steps: Vec::new(), cursor: area::PROGRAM, request }
    }

    /// Adds a step.
    ///
    /// # Panics
    /// If there are too many.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        assert!(self.steps.push(step).is_ok(), "a sequence has too many steps");
        self
    }

    /// Stores bytes, and zeros up to the next doubleword.
    #[must_use]
    pub fn bytes(mut self, at: u32, bytes: &[u8]) -> Self {
        let mut at = at;
        for chunk in bytes.chunks(8) {
            let mut value = [0; 8];
            for (target, byte) in value.iter_mut().zip(chunk) {
                *target = *byte;
            }
            self = self.step(Step::Put { at, value: u64::from_be_bytes(value) });
            at = at.wrapping_add(8);
        }
        self
    }

    /// Stores a pattern of `length` bytes, a multiple of 8.
    #[must_use]
    pub fn pattern(self, at: u32, length: u32, seed: u8) -> Self {
        self.step(Step::Pattern { at, length, seed })
    }

    /// Lets the next channel-command word be written here.
    #[must_use]
    pub fn at(mut self, cursor: u32) -> Self {
        self.cursor = cursor;
        self
    }

    /// Writes a format-1 channel-command word behind the last one.
    #[must_use]
    pub fn ccw(self, command: u8, flags: u8, count: u16, address: u32) -> Self {
        let [high, low] = count.to_be_bytes();
        let [a, b, c, d] = address.to_be_bytes();
        self.word([command, flags, high, low, a, b, c, d])
    }

    /// Writes a format-0 channel-command word behind the last one.
    #[must_use]
    pub fn ccw0(self, command: u8, flags: u8, count: u16, address: u32) -> Self {
        let [high, low] = count.to_be_bytes();
        let [_, b, c, d] = address.to_be_bytes();
        self.word([command, b, c, d, flags, 0, high, low])
    }

    /// Writes a transfer in channel of format 1.
    #[must_use]
    pub fn tic(self, address: u32) -> Self {
        self.ccw(0x08, 0, 0, address)
    }

    /// Writes eight bytes where a channel-command word is due.
    #[must_use]
    pub fn word(mut self, bytes: [u8; 8]) -> Self {
        let at = self.cursor;
        self.cursor = at.wrapping_add(8);
        self.bytes(at, &bytes)
    }

    /// Sets flags of the operation-request block for the starts that follow.
    #[must_use]
    pub fn orb(mut self, flags: u16) -> Self {
        self.request.flags |= flags;
        self
    }

    /// Sets byte 7 of the operation-request block for the starts that follow.
    #[must_use]
    pub fn extension(mut self, flags: u8) -> Self {
        self.request.extension = flags;
        self
    }

    /// Asks for format 0 in the starts that follow.
    #[must_use]
    pub fn format_0(mut self) -> Self {
        self.request.flags &= !Request::FORMAT_1;
        self
    }

    /// Sets the access key of the starts that follow.
    #[must_use]
    pub fn access_key(mut self, key: u8) -> Self {
        self.request.flags = self.request.flags & 0x0FFF | u16::from(key) << 12;
        self
    }

    /// Sets the logical-path mask of the starts that follow.
    #[must_use]
    pub fn paths(mut self, paths: u8) -> Self {
        self.request.paths = paths;
        self
    }

    /// Sets the address of the program of the starts that follow.
    #[must_use]
    pub fn program(mut self, program: u32) -> Self {
        self.request.program = program;
        self
    }

    /// START SUBCHANNEL, of the page of programs unless told otherwise.
    #[must_use]
    pub fn start(self) -> Self {
        let request = self.request;
        self.step(Step::Start(request))
    }

    /// Waits until the subchannel has settled.
    #[must_use]
    pub fn settle(self) -> Self {
        self.step(Step::Settle)
    }

    /// Waits for an interruption.
    #[must_use]
    pub fn wait(self) -> Self {
        self.step(Step::Wait)
    }

    /// TEST SUBCHANNEL.
    #[must_use]
    pub fn test(self) -> Self {
        self.step(Step::Test)
    }

    /// Starts the program, waits for its end, and takes the status.
    #[must_use]
    pub fn execute(self) -> Self {
        self.start().settle().test()
    }

    /// STORE SUBCHANNEL.
    #[must_use]
    pub fn stored(self) -> Self {
        self.step(Step::StoreSubchannel)
    }

    /// MODIFY SUBCHANNEL.
    #[must_use]
    pub fn modify(self, flags: u16, parameter: u32, paths: u8) -> Self {
        self.step(Step::Modify(Change { parameter, flags, paths }))
    }

    /// Tells bytes of storage.
    #[must_use]
    pub fn show(self, at: u32, length: u32) -> Self {
        self.step(Step::Show { at, length })
    }

    /// Fetches the sense of the latest unit check, and tells its first bytes.
    #[must_use]
    pub fn sense(mut self) -> Self {
        let (request, cursor) = (self.request, self.cursor);
        self.request.flags = Request::FORMAT_1;
        let sense = area::OTHER_PROGRAM + 64;
        let told = self
            .program(area::OTHER_PROGRAM)
            .at(area::OTHER_PROGRAM)
            .ccw(0x04, SLI, 32, sense)
            .execute()
            .show(sense, 8);
        Self { request, cursor, ..told }
    }

    /// The key of a page.
    #[must_use]
    pub fn key(self, at: u32) -> Self {
        self.step(Step::GetKey { at })
    }

    /// Sets the key of a page.
    #[must_use]
    pub fn set_key(self, at: u32, key: u8) -> Self {
        self.step(Step::SetKey { at, key })
    }
}
