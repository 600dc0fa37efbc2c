//! One step of a sequence.
//!
//! Source of truth: Principles of Operation, "I/O Instructions", "Storage Key". Invariant: a step
//! is a plain value, so that the same one runs everywhere. Deliberately not here: running it.

/// A device, by what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Any device at all: it knows the commands that all devices know.
    Plain,
    /// A count-key-data disk.
    Ckd,
    /// A fixed-block disk.
    Fba,
    /// A typewriter console.
    Console,
    /// One end of a channel-to-channel adapter.
    Ctc,
    /// The other end of it.
    CtcPeer,
    /// A subchannel that does not exist.
    Absent,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 7] =
        [Self::Plain, Self::Ckd, Self::Fba, Self::Console, Self::Ctc, Self::CtcPeer, Self::Absent];

    /// The number by which an implementation knows the device.
    #[must_use]
    pub const fn device_number(self) -> u16 {
        match self {
            Self::Plain => 0x0A91,
            Self::Ckd => 0x0A80,
            Self::Fba => 0x0A90,
            Self::Console => 0x0009,
            Self::Ctc => 0x0E40,
            Self::CtcPeer => 0x0E50,
            Self::Absent => 0xFFFF,
        }
    }
}

/// What START SUBCHANNEL is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The interruption parameter.
    pub parameter: u32,
    /// Bytes 4 and 5 of the operation-request block: key and flags.
    pub flags: u16,
    /// Byte 6, the logical-path mask.
    pub paths: u8,
    /// Byte 7.
    pub extension: u8,
    /// The address of the first channel-command word.
    pub program: u32,
}

impl Request {
    /// Format-1 channel-command words.
    pub const FORMAT_1: u16 = 0x0080;
    /// The program may suspend itself.
    pub const SUSPEND: u16 = 0x0800;
    /// No interruption at a suspension.
    pub const NO_SUSPEND_INTERRUPTION: u16 = 0x0008;
    /// Commands may be fetched ahead of their execution.
    pub const PREFETCH: u16 = 0x0040;
    /// The status of the initial command is presented.
    pub const INITIAL_STATUS: u16 = 0x0020;
    /// Indirect-data-address words of 64 bits.
    pub const WIDE_LISTS: u16 = 0x0002;
    /// Blocks of 2 KiB rather than 4 KiB in indirect-data addressing of 64 bits.
    pub const SMALL_BLOCKS: u16 = 0x0001;

    /// The block as the instruction fetches it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let [high, low] = self.flags.to_be_bytes();
        let fields = self.parameter.to_be_bytes().into_iter();
        let fields = fields.chain([high, low, self.paths, self.extension]);
        let fields = fields.chain(self.program.to_be_bytes());
        for (byte, field) in bytes.iter_mut().zip(fields) {
            *byte = field;
        }
        bytes
    }
}

/// What MODIFY SUBCHANNEL changes of what STORE SUBCHANNEL has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The interruption parameter.
    pub parameter: u32,
    /// Bytes 4 and 5 of the path-management-control word, as a whole.
    pub flags: u16,
    /// The logical-path mask.
    pub paths: u8,
}

impl Change {
    /// The subchannel is enabled.
    pub const ENABLED: u16 = 0x0080;
    /// What a sequence begins with.
    pub const INITIAL: Self = Self { parameter: 0, flags: Self::ENABLED, paths: 0x80 };
}

/// One step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// The processor stores a doubleword.
    Put {
        /// Where to, at a multiple of 8.
        at: u32,
        /// What.
        value: u64,
    },
    /// The processor stores a pattern, of which no two neighbors are equal.
    Pattern {
        /// Where to, at a multiple of 8.
        at: u32,
        /// How many bytes, a multiple of 8.
        length: u32,
        /// Which pattern.
        seed: u8,
    },
    /// The processor fetches bytes and tells them.
    Show {
        /// Where from.
        at: u32,
        /// How many.
        length: u32,
    },
    /// From now on instructions name this unit.
    On(Unit),
    /// START SUBCHANNEL.
    Start(Request),
    /// Waits until nothing is active or pending on the subchannel, save that it may be suspended.
    Settle,
    /// Waits for an interruption of the unit, and takes it. Its status stays.
    Wait,
    /// TEST SUBCHANNEL.
    #[default]
    Test,
    /// STORE SUBCHANNEL.
    StoreSubchannel,
    /// STORE SUBCHANNEL and MODIFY SUBCHANNEL.
    Modify(Change),
    /// HALT SUBCHANNEL.
    Halt,
    /// CLEAR SUBCHANNEL.
    Clear,
    /// CANCEL SUBCHANNEL.
    Cancel,
    /// RESUME SUBCHANNEL.
    Resume,
    /// TEST PENDING INTERRUPTION.
    TestPending,
    /// STORE CHANNEL REPORT WORD.
    StoreReport,
    /// The operator types a line at the console, whose interruption is taken. Its status stays.
    Type,
    /// INSERT STORAGE KEY EXTENDED.
    GetKey {
        /// An address in the page.
        at: u32,
    },
    /// SET STORAGE KEY EXTENDED.
    SetKey {
        /// An address in the page.
        at: u32,
        /// The key.
        key: u8,
    },
    /// RESET REFERENCE BIT EXTENDED.
    ResetReference {
        /// An address in the page.
        at: u32,
    },
}
