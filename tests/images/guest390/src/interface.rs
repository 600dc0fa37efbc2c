//! What the monitor and the guest program agree on: parameters in guest storage, DIAGNOSE
//! functions, requests.
//!
//! Both programs compile this one file. All numbers are big-endian in guest storage.
//!
//! Source of truth: this file; VM2000 manual for the events of a migration. Invariant: all places
//! lie below the program. Deliberately not here: what the program does with them.

/// Where the flat program is loaded and entered.
pub const PROGRAM: u64 = 0x1_0000;
/// The first page that the sweep uses; it uses all from here to the end of storage.
pub const SWEEP: u64 = 0x8_0000;
/// Offset in a page of the byte that the sweep counts.
pub const SWEEP_OFFSET: u64 = 0x800;

/// Doubleword: the size of guest storage in bytes.
pub const STORAGE_BYTES: u64 = 0x2000;
/// Doubleword: pages a second that the sweep counts in; 0 means as many as it can.
pub const PACE: u64 = 0x2008;
/// Doubleword: timer interruptions between two console lines; 0 means no lines.
pub const LINE_INTERVAL: u64 = 0x2010;
/// Doubleword: number of LAN lines in the table.
pub const LAN_COUNT: u64 = 0x2018;
/// Doubleword for the function CLOCK.
pub const LATEST_CLOCK: u64 = 0x2020;
/// The server configuration at the VM's creation, padded with blanks.
pub const INITIAL_CONFIGURATION: u64 = 0x2040;
/// The table of LAN lines.
pub const LAN_TABLE: u64 = 0x2100;
/// Doubleword: interruptions of the CPU timer, which the guest counts. It lies in a page of its
/// own, so that nothing but the monitor's stores changes that of [`LATEST_CLOCK`].
pub const CPU_TIMERS: u64 = 0x3000;
/// What was typed on the guest's console, as the monitor stores it; nothing else is in its page.
pub const INPUT: u64 = 0x5000;

/// The most bytes of what was typed that the monitor stores at once.
pub const INPUT_BYTES: usize = 64;
/// Bytes of the name of a server configuration.
pub const CONFIGURATION_BYTES: usize = 24;
/// Bytes of an entry of the table of LAN lines: the name, then a byte that is 1 for a VLAN line.
pub const LAN_BYTES: usize = 64;
/// Bytes of the name in an entry, padded with blanks.
pub const LAN_NAME_BYTES: usize = 32;
/// Entries that the table takes.
pub const LAN_MAX: usize = 32;

/// Timer interruptions a second.
pub const TICKS_PER_SECOND: u64 = 100;

/// What STORE CPU ID shows, wherever the guest runs. Version FF tells a program that it runs in a
/// VM; then the machine's type.
pub const CPU_ID: u64 = 0xFF00_0000_8561_0000;

/// Operand of the guest's DIAGNOSE instructions; register 1 holds one of the functions.
pub const DIAGNOSE: u64 = 0xE00;

/// Functions of the guest's DIAGNOSE; parameters and result are in registers 2 and 3.
pub mod function {
    /// Writes the text at real address R2, of R3 bytes, as a line of the guest's console.
    pub const LINE: u64 = 1;
    /// Answers the last event of a migration with R2, one of [`super::answer`].
    pub const ANSWER: u64 = 2;
    /// Ends the guest; R2 is 0 when all is well.
    pub const END: u64 = 3;
    /// Gives the guest's clock in R2, in TOD-clock units, and stores it at real address R2, a
    /// doubleword that the monitor alone writes: the latest time that the guest can know of, also
    /// by an interruption of the clock comparator. It never goes back, wherever the guest runs.
    pub const CLOCK: u64 = 4;
    /// Stores the name of the present server configuration at real address R2, 24 bytes.
    pub const CONFIGURATION: u64 = 5;
    /// Stores what was typed on the guest's console at real address R2, at most
    /// [`super::INPUT_BYTES`], and gives the number of bytes in R2.
    pub const INPUT: u64 = 6;
}

/// Answers of the guest.
pub mod answer {
    /// What was asked for is done.
    pub const READY: u64 = 1;
    /// The guest does not want to be moved now.
    pub const REFUSED: u64 = 2;
    /// The guest runs on the target.
    pub const RESUMED: u64 = 3;
}

/// Parameters of service signals: what the monitor asks of the guest.
pub mod request {
    /// A move is coming.
    pub const MOVE_COMING: u32 = 1;
    /// The announced move does not take place.
    pub const MOVE_ABANDONED: u32 = 2;
    /// The guest runs on the target for the first time.
    pub const MOVED: u32 = 3;
    /// The network may be activated.
    pub const NETWORK_UP: u32 = 4;
    /// Judge storage and registers, and say on the console what was found.
    pub const REPORT: u32 = 5;
    /// Report as above, then end.
    pub const END: u32 = 6;
}
