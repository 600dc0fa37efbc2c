//! Self-test of the virtio devices, as far as the machine has them.
//!
//! Source of truth: the device numbers below, which are those of every machine of this image.
//! Invariant: as in the tests beside it. Deliberately not here: lost connections.

use crate::arch::clock;
use crate::println;
use crate::sclp::Operator;
use crate::virtio::{Block, Console, SECTOR_BYTES, SerialPort, VirtioError};
use monitor_core::units::{DeviceNumber, Tick};

const MIGRATION: DeviceNumber = DeviceNumber::new(0x0001);
const DIRECTORY: DeviceNumber = DeviceNumber::new(0x0002);
const CONSOLE: DeviceNumber = DeviceNumber::new(0x0003);
const DISK: DeviceNumber = DeviceNumber::new(0x0100);

/// Bytes that go through the two serial ports.
const ECHO_BYTES: usize = 4 << 20;
/// Bytes that are given to a port at once.
const CHUNK_BYTES: usize = 16 << 10;
/// How long the other end may take to connect, and the bytes to arrive.
const BOUND_US: u64 = 10_000_000;

/// The configuration on the disk: its first page, if there is a disk.
pub(super) fn configuration() -> Option<[u8; 4096]> {
    let mut text = [0; 4096];
    Block::open(DISK).ok()?.read(0, &mut text).ok()?;
    Some(text)
}

/// Uses each device once; the two serial ports are joined with each other.
pub(super) fn run() {
    match console() {
        Ok(()) => println!("CONSOLE WRITTEN"),
        Err(error) => println!("CONSOLE: {error}"),
    }
    match disk() {
        Ok(good) => println!("DISK READS WHAT WAS WRITTEN {good}"),
        Err(error) => println!("DISK: {error}"),
    }
    match SerialPort::open(MIGRATION, "other") {
        Ok(_) => println!("PORT TAKEN UNDER A WRONG NAME"),
        Err(error) => println!("PORT UNDER A WRONG NAME: {error}"),
    }
    match echo() {
        Ok(good) => println!("SERIAL PORTS CARRY {ECHO_BYTES} BYTES UNCHANGED {good}"),
        Err(error) => println!("SERIAL PORTS: {error}"),
    }
}

/// Sends back what comes, and tells who connects and goes, until the operator says `END`.
pub(super) fn link() -> Result<(), VirtioError> {
    let mut port = SerialPort::open(MIGRATION, "mig")?;
    let mut operator = Operator::new();
    let mut told = (0, false);
    let mut bytes = [0; CHUNK_BYTES];
    println!("LINK WAITS");
    while operator.poll_line().is_none_or(|line| line != "END") {
        let state = (port.connection(), port.is_open());
        if state != told {
            let (number, open) = state;
            println!("LINK CONNECTION {number} {}", if open { "BEGINS" } else { "ENDS" });
            told = state;
        }
        let count = port.try_read(&mut bytes);
        let mut sent = 0;
        while sent < count && port.is_open() {
            sent += port.try_write(&bytes[sent..count]);
        }
        if count == 0 {
            clock::wait_until(None);
        }
    }
    Ok(())
}

fn console() -> Result<(), VirtioError> {
    Console::open(CONSOLE)?.write(b"THE GUEST'S CONSOLE\n")
}

/// Writes two sectors at the end of the disk, and reads them.
fn disk() -> Result<bool, VirtioError> {
    let mut disk = Block::open(DISK)?;
    let last = disk.sectors().saturating_sub(2);
    let mut written = [0; 2 * SECTOR_BYTES];
    for (byte, value) in written.iter_mut().zip((0..=u8::MAX).cycle()) {
        *byte = value;
    }
    disk.write(last, &written)?;
    let mut read = [0; 2 * SECTOR_BYTES];
    disk.read(last, &mut read)?;
    let beyond = disk.read(last + 1, &mut read);
    Ok(read == written && beyond == Err(VirtioError::OutOfRange))
}

/// Sends from one port to the other.
fn echo() -> Result<bool, VirtioError> {
    let mut from = SerialPort::open(MIGRATION, "mig")?;
    let mut to = SerialPort::open(DIRECTORY, "dir")?;
    let deadline = Tick::new(clock::now().get() + BOUND_US);
    while !(from.is_open() && to.is_open()) {
        if clock::now() >= deadline {
            return Err(VirtioError::Late);
        }
    }
    let start = clock::now();
    let (mut sent, mut received, mut good) = (0, 0, true);
    let mut chunk = [0; CHUNK_BYTES];
    while received < ECHO_BYTES {
        if sent < ECHO_BYTES {
            let count = CHUNK_BYTES.min(ECHO_BYTES - sent);
            for (offset, byte) in chunk[..count].iter_mut().enumerate() {
                *byte = pattern(sent + offset);
            }
            sent += from.try_write(&chunk[..count]);
        }
        let count = to.try_read(&mut chunk);
        for (offset, byte) in chunk[..count].iter().enumerate() {
            good &= *byte == pattern(received + offset);
        }
        received += count;
        if clock::now() >= deadline {
            return Err(VirtioError::Late);
        }
    }
    let span_us = clock::now().get() - start.get();
    println!("# {ECHO_BYTES} BYTES IN {span_us} MICROSECONDS");
    Ok(good && to.try_read(&mut chunk) == 0)
}

/// A byte that differs from its neighbours and from those one buffer further on.
const fn pattern(offset: usize) -> u8 {
    (offset ^ offset >> 8 ^ offset >> 16).to_be_bytes()[7]
}
