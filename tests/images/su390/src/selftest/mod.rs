//! Self-test of the platform: each part is used once and says on the console what it found.
//!
//! Source of truth: tests/images/expected holds what a good run prints. Invariant: nothing printed
//! depends on time, save lines that begin with `#`. Deliberately not here: the guest and the
//! migration, which have tests of their own.

mod devices;

use crate::arch::dat::{self, AddressSpace};
use crate::arch::interruption::{SERVICE_SIGNAL, interrupt_monitor};
use crate::arch::psw::Psw;
use crate::arch::storage::{PAGE_BYTES, Region};
use crate::arch::{Exit, GuestRegisters, clock, enter_guest, keys};
use crate::channel::{self, Identity, Subchannel};
use crate::sclp::Operator;
use crate::{guest, println};
use monitor_core::memory::StorageKey;
use monitor_core::units::Tick;

/// What a self-test does, as the line `selftest = …` of the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `platform`: uses each part once. Without a disk as well.
    Platform,
    /// `operator`: repeats the operator's lines until `END`.
    Operator,
    /// `link`: sends back what the migration port brings, until `END`.
    Link,
    /// `guest`: runs a guest and moves it within the machine.
    Guest,
    /// `portable`: runs the tests that every image and the host run, to the same digests.
    Portable,
    /// `program-check`: interrupts the monitor itself.
    ProgramCheck,
    /// `deep-stack`: lets the stack grow into its guard.
    DeepStack,
    /// `panic`: ends by a panic.
    Panic,
    /// `hang`: never ends.
    Hang,
}

/// Which self-test the machine is to run instead of the monitor, if any: that of the platform
/// without a disk, or with an empty one.
#[must_use]
pub fn wanted() -> Option<Wanted> {
    let Some(text) = devices::configuration() else { return Some(Wanted::Platform) };
    if text.first() == Some(&0) {
        return Some(Wanted::Platform);
    }
    let lines = text.split(|byte| matches!(byte, b'\n' | 0));
    let mut values = lines.filter_map(|line| {
        let (key, value) = core::str::from_utf8(line).ok()?.split_once('=')?;
        (key.trim() == "selftest").then_some(value.trim())
    });
    match values.next()? {
        "platform" => Some(Wanted::Platform),
        "operator" => Some(Wanted::Operator),
        "link" => Some(Wanted::Link),
        "guest" => Some(Wanted::Guest),
        "portable" => Some(Wanted::Portable),
        "program-check" => Some(Wanted::ProgramCheck),
        "deep-stack" => Some(Wanted::DeepStack),
        "panic" => Some(Wanted::Panic),
        "hang" => Some(Wanted::Hang),
        value => panic!("there is no self-test {value}"),
    }
}

/// Runs a self-test.
pub fn run(wanted: Wanted, storage_bytes: usize) {
    match wanted {
        Wanted::Platform => platform(storage_bytes),
        Wanted::Operator => operator(),
        Wanted::Link => {
            if let Err(error) = devices::link() {
                panic!("the migration port cannot be used: {error}");
            }
        }
        Wanted::Guest => guest::selftest::run(storage_bytes),
        Wanted::Portable => portable(),
        Wanted::ProgramCheck => {
            // The guest's storage ends where the machine's does, which is before that.
            interrupt_monitor(Region::guest(usize::MAX).address(storage_bytes, 8));
        }
        Wanted::DeepStack => println!("THE STACK IS {} DEEP", deeper(0)),
        Wanted::Panic => panic!("as wanted"),
        Wanted::Hang => loop {
            core::hint::spin_loop();
        },
    }
}

fn platform(storage_bytes: usize) {
    println!("SELFTEST STORAGE {} MIB", storage_bytes >> 20);
    storage_keys();
    problem_state(Region::guest(storage_bytes));
    waiting();
    subchannels();
    devices::run();
    println!("SELFTEST ENDS");
}

/// Golden frames and properties, on a machine whose own byte order is that of the wire.
#[cfg(feature = "portable")]
fn portable() {
    crate::arch::heap::give();
    portable_tests::report(&mut |line| println!("{line}"));
    println!("SELFTEST ENDS");
}

#[cfg(not(feature = "portable"))]
fn portable() {
    panic!("this image was built without the feature portable");
}

/// Repeats what the operator types; waits for it without a deadline.
fn operator() {
    println!("SELFTEST LISTENS");
    let mut operator = Operator::new();
    loop {
        while let Some(line) = operator.poll_line() {
            println!("TYPED {line}");
            if line == "END" {
                return;
            }
        }
        clock::wait_until(None);
    }
}

/// Calls itself until the stack meets its guard.
fn deeper(depth: u64) -> u64 {
    let frame = core::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { deeper(depth + 1) + frame[0] }
}

/// Which devices there are, and what each says it is.
fn subchannels() {
    for subchannel in channel::subchannels() {
        let (number, device) = (subchannel.number.get(), subchannel.device.get());
        print_identity(subchannel, number, device);
        if let Err(error) = subchannel.set_enabled(false) {
            println!("SUBCHANNEL {number:04X} STAYS ENABLED: {error}");
        }
    }
}

fn print_identity(subchannel: Subchannel, number: u16, device: u16) {
    match subchannel.set_enabled(true).and_then(|()| subchannel.sense_identity()) {
        Ok(Identity { control_unit: unit, model }) => {
            println!("SUBCHANNEL {number:04X} DEVICE {device:04X} IS {unit:04X}-{model:02X}");
        }
        Err(error) => println!("SUBCHANNEL {number:04X} DEVICE {device:04X}: {error}"),
    }
}

/// A key tells of a load, of a store, and forgets when told to.
fn storage_keys() {
    let page = Region::carve(PAGE_BYTES, PAGE_BYTES);
    let address = page.origin();
    keys::set(address, StorageKey::new(0));
    let set = keys::get(address);
    let _: u64 = page.read(8);
    let loaded = keys::get(address);
    page.write(8, 1_u64);
    let stored = keys::get(address);
    let condition = keys::reset_reference(address);
    let reset = keys::get(address);
    println!(
        "KEY SET {:02X} LOADED {:02X} STORED {:02X} RESET {condition} {:02X}",
        set.get(),
        loaded.get(),
        stored.get(),
        reset.get()
    );
}

/// What a program in problem state is stopped by, and what of it the monitor sees.
fn problem_state(storage: Region) {
    const CODE: usize = 0x1000;
    const PROTECTED: usize = 2;
    let space = AddressSpace::carve(1 << 20);
    for page in 0..space.page_count() {
        space.map(page, storage.origin() + page * PAGE_BYTES);
    }
    space.unmap(3);
    space.protect(PROTECTED);
    space.use_for_guest();
    dat::purge();

    let programs: [(&str, &[u8]); 6] = [
        ("SVC 5", &[0x0A, 5]),
        ("STIDP", &[0xB2, 0x02, 0x00, 0x00]),
        ("INVALID OPERATION", &[0x00, 0x00]),
        ("STORE INTO A PROTECTED PAGE", &[0x50, 0x10, 0x20, 0x00]),
        ("LOAD FROM AN INVALID PAGE", &[0x58, 0x10, 0x30, 0x00]),
        ("ENDLESS LOOP", &[0xA7, 0xF4, 0x00, 0x00]),
    ];
    for (name, code) in programs {
        storage.copy_in(CODE, code);
        let address = u64::try_from(CODE).unwrap_or(0);
        let mut registers = GuestRegisters { psw: Psw::of_guest(address), ..Default::default() };
        registers.general[2] = 0x2000;
        registers.general[3] = 0x3000;
        // Only what never ends of itself is ended by the comparator, however slow the machine is.
        let slice = (name == "ENDLESS LOOP").then(|| Tick::new(clock::now().get() + 2_000));
        clock::arm_comparator(slice);
        let exit = loop {
            let exit = enter_guest(&mut registers);
            if !is_of_monitor(exit) {
                break exit;
            }
        };
        clock::arm_comparator(None);
        let behind = registers.psw.address - address;
        println!("{name}: {} BEHIND {behind}", Told(exit));
    }
    space.unprotect(PROTECTED);
    storage.copy_in(CODE, &[0x50, 0x10, 0x20, 0x00, 0x0A, 0]);
    let mut registers = GuestRegisters { psw: Psw::of_guest(0x1000), ..Default::default() };
    registers.general[1] = 0x1234_5678;
    registers.general[2] = 0x2000;
    while is_of_monitor(enter_guest(&mut registers)) {}
    println!("UNPROTECTED PAGE HOLDS {:08X}", storage.read::<u32>(0x2000));
}

/// The comparator ends a wait, not before its time.
fn waiting() {
    let deadline = Tick::new(clock::now().get() + 3_000);
    let exit = loop {
        let exit = clock::wait_until(Some(deadline));
        if !is_of_monitor(exit) {
            break exit;
        }
    };
    println!("WAIT: {} IN TIME {}", Told(exit), clock::now() >= deadline);
}

/// Interruptions by the monitor's own devices, at which nothing is to be done here.
const fn is_of_monitor(exit: Exit) -> bool {
    matches!(exit, Exit::External { code: SERVICE_SIGNAL, .. } | Exit::InputOutput { .. })
}

/// An exit as the console tells it.
struct Told(Exit);

impl core::fmt::Display for Told {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Exit::Program { code, length, translation, .. } => {
                write!(formatter, "PROGRAM {code:04X} LENGTH {length}")?;
                let page_faults = [0x0004, 0x0010, 0x0011];
                if page_faults.contains(&code) {
                    write!(formatter, " AT {translation:X}")?;
                }
                Ok(())
            }
            Exit::SupervisorCall { number, length } => {
                write!(formatter, "SUPERVISOR CALL {number} LENGTH {length}")
            }
            Exit::External { code, .. } => write!(formatter, "EXTERNAL {code:04X}"),
            Exit::InputOutput { subchannel, .. } => write!(formatter, "I/O {subchannel:08X}"),
        }
    }
}
