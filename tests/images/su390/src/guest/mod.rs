//! The guest: one VM with storage of its own and one virtual processor.
//!
//! The guest runs in the problem state, under tables that lay its real addresses over its storage.
//! What it may not do itself traps; the monitor does it for the virtual processor, whose state is
//! that of a [`ProcessorImage`]. Interruptions are stored into the guest's low core.
//!
//! Source of truth: z/Architecture Principles of Operation (SA22-7832). Invariants: every store
//! of the monitor into guest storage goes through [`Storage::store`], which marks the page, or is
//! part of loading the guest. Deliberately not
//! here: devices, translation tables of the guest's own, and EXECUTE of an instruction that traps.
//!
//! What does not trap shows the real machine: the clock (STCK; the guest asks for its own with
//! DIAGNOSE), the facilities (STFLE), the PSW (EPSW).

mod decode;
mod emulate;
mod emulated;
mod image;
mod interface;
mod interruption;
mod keys;
mod program;
mod run;
pub mod selftest;
mod storage;
mod timing;
mod tracking;

use monitor_core::{
    memory::DirtyBitmap,
    ports::ErrorKind,
    processor::{CpuState, ProcessorImage},
    units::{ConfigurationName, PageCount, Tick},
    vm::{FacilityList, GuestAnswer, GuestEvent},
};

use crate::arch::{GuestRegisters, dat, dat::AddressSpace, registers, storage::Region};
use keys::Keys;
use storage::Storage;
use timing::Timing;
use tracking::Tracker;

pub use interface::{CPU_ID, INPUT_BYTES, request};
pub use program::{LanLine, Parameters};
pub use tracking::{Figures, Tracking};

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// The processor, in the problem state: the guest program of this image.
    Native,
    /// The monitor: the memory-only workload, which an emulated machine executes as well.
    Emulated,
}

/// A line of the guest's console.
pub type ConsoleLine = heapless::String<LINE_BYTES>;

/// Bytes of the longest line that the guest can write on its console.
pub const LINE_BYTES: usize = 240;

/// What the guest asks of the monitor with DIAGNOSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hypercall {
    /// A line for the guest's console, without time stamp.
    Line(ConsoleLine),
    /// What was typed on the guest's console is to be given with [`Guest::give_input`].
    Input,
    /// The answer to the event that the guest was told last.
    Answer(GuestAnswer),
    /// The guest has ended; whether all was well.
    End {
        /// The guest's judgement of itself.
        is_good: bool,
    },
}

/// Why the guest does not run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// The moment has come up to which it was to run.
    SliceEnded,
    /// It waits for an interruption, which comes at this moment or only from outside.
    Waits(Option<Tick>),
    /// It asks for something, and runs on when it is run again.
    Called(Hypercall),
    /// An interruption of the monitor's own devices.
    Interrupted,
    /// It waits with all interruptions disabled, for ever; the address of the wait PSW.
    DisabledWait(u64),
    /// Its processor is stopped, by the monitor or by itself.
    Stopped,
}

/// The changes of a guest that the monitor notes: pages, and storage keys.
#[derive(Clone, Copy, Debug)]
pub struct Maps {
    /// Pages that have changed.
    pub pages: DirtyBitmap<'static>,
    /// Pages whose storage keys have changed.
    pub keys: DirtyBitmap<'static>,
}

/// One VM.
#[derive(Debug)]
pub struct Guest {
    storage: Storage,
    space: AddressSpace,
    keys: Keys,
    tracker: Tracker,
    timing: Timing,
    /// All state of the virtual processor but what is in `registers` and in the real processor:
    /// access, floating-point and vector registers.
    state: ProcessorImage,
    registers: GuestRegisters,
    execution: Execution,
    /// Whether the monitor lets the virtual processor run, whatever its own state.
    is_started: bool,
    /// The designation of the server configuration that the guest runs on.
    configuration: ConfigurationName,
    /// What STORE CPU ID shows.
    cpu_id: u64,
}

impl Guest {
    /// A place for guests of up to the size of `storage`; tables are carved for ever, so that a
    /// machine has one such place. There is no guest in it yet.
    #[must_use]
    pub fn new(storage: Region, tracking: Tracking, execution: Execution) -> Self {
        Self {
            space: AddressSpace::carve(storage.length()),
            keys: Keys::carve(storage),
            storage: Storage::new(storage),
            tracker: Tracker::new(tracking),
            timing: Timing::default(),
            state: ProcessorImage::initial(),
            registers: GuestRegisters::default(),
            execution,
            is_started: false,
            configuration: ConfigurationName::EMPTY,
            cpu_id: 0,
        }
    }

    /// Creates a guest of so many pages, all zero, with its processor stopped and reset. Changes
    /// are marked in `maps`, from now on and whether or not they are tracked.
    ///
    /// # Errors
    /// Fails when there is not so much storage, or a map is of another size.
    pub fn create(&mut self, pages: PageCount, maps: Maps) -> Result<(), ErrorKind> {
        self.storage.create(pages, maps)?;
        self.keys.clear(pages);
        self.tracker.reset();
        self.load_state(&ProcessorImage::initial());
        Ok(())
    }

    /// Ends the guest. Its storage is what it was, and is nobody's.
    pub fn destroy(&mut self) {
        self.stop();
        self.storage.destroy();
        self.tracker.reset();
    }

    /// Whether there is a guest.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.storage.page_count() != 0
    }

    /// The number of pages that the guest has.
    #[must_use]
    pub const fn page_count(&self) -> PageCount {
        PageCount::new(self.storage.page_count())
    }

    /// Names the server configuration, which the guest asks for.
    pub const fn set_configuration(&mut self, name: ConfigurationName) {
        self.configuration = name;
    }

    /// Sets what STORE CPU ID shows: [`CPU_ID`], or what it showed where the guest was started.
    pub const fn set_cpu_id(&mut self, cpu_id: u64) {
        self.cpu_id = cpu_id;
    }

    /// Stops the processor, exactly between two instructions; all its stores have been marked.
    pub fn stop(&mut self) {
        self.charge();
        self.is_started = false;
    }

    /// Starts the processor.
    pub fn resume(&mut self) {
        self.timing.start();
        self.is_started = true;
    }

    /// Whether the processor runs, or waits for an interruption.
    #[must_use]
    pub fn is_operating(&self) -> bool {
        self.is_started && self.state.state == CpuState::Operating
    }

    /// The facilities that a guest is given here: those of the processor on which it runs, or those
    /// whose state the monitor keeps for a guest that it emulates.
    #[must_use]
    pub fn facilities(&self) -> FacilityList {
        match self.execution {
            Execution::Native => registers::facilities(),
            Execution::Emulated => sweep_guest::FACILITIES,
        }
    }

    /// Asks something of the guest by a service signal, one of [`request`].
    ///
    /// # Errors
    /// Fails when the guest has not taken the service signal before.
    pub const fn post(&mut self, parameter: u32) -> Result<(), ErrorKind> {
        if self.state.service_signal.is_some() {
            return Err(ErrorKind::Busy);
        }
        self.state.service_signal = Some(parameter);
        Ok(())
    }

    /// Tells the guest of an event of a migration.
    ///
    /// # Errors
    /// Fails when the guest has not taken the service signal before.
    pub const fn tell(&mut self, event: GuestEvent) -> Result<(), ErrorKind> {
        self.post(match event {
            GuestEvent::MoveComing => request::MOVE_COMING,
            GuestEvent::MoveAbandoned => request::MOVE_ABANDONED,
            GuestEvent::Moved => request::MOVED,
            GuestEvent::NetworkUp => request::NETWORK_UP,
        })
    }

    /// Lays the guest's real addresses over its storage, as the prefix asks.
    fn map_all(&mut self) {
        self.storage.set_prefix(self.state.prefix);
        for page in 0..self.space.page_count() {
            match self.storage.address_of_page(page as u64) {
                Some(address) => self.space.map(self.storage.real_page(page), address),
                None => self.space.unmap(page),
            }
        }
        self.space.use_for_guest();
        dat::purge();
    }
}
