//! A named serial port: a byte stream to another program, which comes and goes.
//!
//! Source of truth: VIRTIO 1.1, "Console Device", multiport. Invariants: the port is used only
//! under the name that it should have; whoever connects at the other end is counted, so that bytes
//! of one connection are not taken for those of the next. Deliberately not here: what is sent.
//!
//! Bytes and the news that a connection ended come by different queues: what has arrived when the
//! news is seen belongs to the connection that ended, and can be read until the next one begins. So
//! nobody may connect anew within the time between two polls: a client that waits a second before
//! it connects again is slow enough.

use super::ring::{Access, Queue};
use super::stream::Stream;
use super::{Buffers, Device, Kind, VirtioError};
use crate::arch::clock;
use heapless::String;
use monitor_core::units::{DeviceNumber, Tick};

/// Feature: the device has ports with names, and a handshake.
const MULTIPORT: u32 = 2;
/// Port 0 is reserved for a console, so that the only port has number 1.
const PORT: u32 = 1;

const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

const MESSAGE_BYTES: usize = 8;
const CONTROL_BYTES: usize = 64;
const CONTROL_SLOTS: u16 = 16;
const HANDSHAKE_BOUND_US: u64 = 1_000_000;

/// The name of a port.
pub type PortName = String<32>;

/// A serial port.
#[derive(Debug)]
pub struct SerialPort {
    stream: Stream,
    control: Control,
    name: Option<PortName>,
    added: bool,
    open: bool,
    connection: u32,
    /// How far the bytes of the latest connection go, once it has ended.
    end: Option<u16>,
}

impl SerialPort {
    /// Opens the port of the device with this number, which must have this name.
    ///
    /// # Errors
    /// Fails when there is no such device, when it does not answer, or when its port has another
    /// name.
    pub fn open(number: DeviceNumber, name: &str) -> Result<Self, VirtioError> {
        let device = Device::open(number, Kind::Console, MULTIPORT)?;
        let control = Control::new(device)?;
        let stream = Stream::new(device, 4, 5)?;
        device.ready()?;
        let mut port = Self {
            stream,
            control,
            name: None,
            added: false,
            open: false,
            connection: 0,
            end: None,
        };
        port.control.begin();
        port.control.send(DEVICE_READY, 1)?;
        port.await_event(|port| port.added)?;
        port.control.send(PORT_READY, 1)?;
        port.await_event(|port| port.name.is_some())?;
        if port.name.as_deref() != Some(name) {
            return Err(VirtioError::WrongName);
        }
        port.stream.begin();
        port.control.send(PORT_OPEN, 1)?;
        Ok(port)
    }

    /// Looks whether somebody connected or went, and says whether somebody is connected now.
    pub fn is_open(&mut self) -> bool {
        self.take_events();
        self.open
    }

    /// How many connections there were, the present one included.
    pub fn connection(&mut self) -> u32 {
        self.take_events();
        self.connection
    }

    /// Takes as many bytes as there is room for, and says how many; none without a connection.
    pub fn try_write(&mut self, bytes: &[u8]) -> usize {
        if self.is_open() { self.stream.try_write(bytes) } else { 0 }
    }

    /// Puts what has arrived into `target`, and says how much. Bytes of a connection that has
    /// ended can be read until another one begins.
    pub fn try_read(&mut self, target: &mut [u8]) -> usize {
        self.take_events();
        self.stream.try_read(target)
    }

    /// Whether there is something to read.
    pub fn has_input(&mut self) -> bool {
        self.take_events();
        self.stream.has_input()
    }

    fn await_event(&mut self, has_come: impl Fn(&Self) -> bool) -> Result<(), VirtioError> {
        let deadline = Tick::new(clock::now().get() + HANDSHAKE_BOUND_US);
        while !has_come(self) {
            if clock::now() >= deadline {
                return Err(VirtioError::Late);
            }
            self.take_events();
        }
        Ok(())
    }

    fn take_events(&mut self) {
        while let Some(message) = self.control.receive() {
            if message.port != PORT {
                continue;
            }
            match message.event {
                PORT_ADD => self.added = true,
                PORT_NAME => self.name = Some(message.name),
                PORT_OPEN => self.set_open(message.value != 0),
                _ => {}
            }
        }
    }

    fn set_open(&mut self, open: bool) {
        if open && !self.open {
            self.connection += 1;
            if let Some(end) = self.end.take() {
                self.stream.drop_to(end);
            }
        }
        if !open && self.open {
            self.end = Some(self.stream.mark());
        }
        self.open = open;
    }
}

/// What the device tells of its ports.
struct Message {
    port: u32,
    event: u16,
    value: u16,
    name: PortName,
}

/// The two queues of the handshake.
#[derive(Debug)]
struct Control {
    incoming: Queue,
    in_buffers: Buffers,
    outgoing: Queue,
    out_buffers: Buffers,
}

impl Control {
    fn new(device: Device) -> Result<Self, VirtioError> {
        Ok(Self {
            incoming: device.queue(2, CONTROL_SLOTS, 1)?,
            in_buffers: Buffers::carve(CONTROL_SLOTS, CONTROL_BYTES),
            outgoing: device.queue(3, 1, 1)?.without_interruptions(),
            out_buffers: Buffers::carve(1, MESSAGE_BYTES),
        })
    }

    fn begin(&mut self) {
        for slot in 0..CONTROL_SLOTS {
            self.offer(slot);
        }
        self.incoming.notify();
    }

    fn offer(&mut self, slot: u16) {
        self.incoming.offer(slot, &[self.in_buffers.part(slot, CONTROL_BYTES, Access::Writes)]);
    }

    /// Sends a message, and waits until the device has taken it, which it does at once.
    fn send(&mut self, event: u16, value: u16) -> Result<(), VirtioError> {
        self.out_buffers.region.write(0, PORT.to_le());
        self.out_buffers.region.write(4, event.to_le());
        self.out_buffers.region.write(6, value.to_le());
        self.outgoing.offer(0, &[self.out_buffers.part(0, MESSAGE_BYTES, Access::Reads)]);
        self.outgoing.notify();
        let deadline = Tick::new(clock::now().get() + HANDSHAKE_BOUND_US);
        while self.outgoing.take().is_none() {
            if clock::now() >= deadline {
                return Err(VirtioError::Late);
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Option<Message> {
        let (slot, length) = self.incoming.take()?;
        let mut bytes = [0; CONTROL_BYTES];
        self.in_buffers.region.copy_out(self.in_buffers.offset(slot), &mut bytes);
        self.offer(slot);
        self.incoming.notify();
        let [p0, p1, p2, p3, e0, e1, v0, v1, ..] = bytes;
        let name = bytes.get(MESSAGE_BYTES..length).unwrap_or_default();
        let name = name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte));
        Some(Message {
            port: u32::from_le_bytes([p0, p1, p2, p3]),
            event: u16::from_le_bytes([e0, e1]),
            value: u16::from_le_bytes([v0, v1]),
            name: name.take(32).collect(),
        })
    }
}
