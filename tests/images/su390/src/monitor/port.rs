//! A virtio serial port as a link: the line to the other SU, or to the directory.
//!
//! Source of truth: `monitor_core::ports::Link`. Invariant: bytes of a connection that has ended
//! are not given out as those of the next. Deliberately not here: connections within one line,
//! which a port cannot cut by itself (`monitor_core::driver::SerialLink`).

use monitor_core::ports::{ErrorKind, ErrorType, Link};

use crate::virtio::SerialPort;

/// A serial port with the connection that is in use.
#[derive(Debug)]
pub struct Port {
    serial: SerialPort,
    /// The connection that was taken; 0 is none.
    taken: u32,
    /// Whether a connection is awaited.
    is_awaiting: bool,
    /// Whether a connection that was given up can be taken again.
    is_reusable: bool,
}

impl Port {
    /// A port for which each connection stands for itself.
    #[must_use]
    pub const fn new(serial: SerialPort) -> Self {
        Self { serial, taken: 0, is_awaiting: true, is_reusable: false }
    }

    /// A port whose connection goes on when it was given up, since what passes over it tells by
    /// itself where it begins.
    #[must_use]
    pub fn reusable(serial: SerialPort) -> Self {
        Self { is_reusable: true, ..Self::new(serial) }
    }

    /// Whether a connection that was not taken yet has something to say.
    pub fn has_input(&mut self) -> bool {
        self.serial.connection() != self.taken && self.serial.has_input()
    }

    /// Gives the connection up in a state in which it can be taken again.
    pub const fn release(&mut self) {
        (self.taken, self.is_awaiting) = (0, true);
    }

    fn is_taken(&mut self) -> bool {
        self.serial.is_open() && self.serial.connection() == self.taken
    }
}

impl ErrorType for Port {
    type Error = ErrorKind;
}

impl Link for Port {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        if self.is_taken() {
            Ok(self.serial.try_write(source))
        } else {
            Err(ErrorKind::Unreachable)
        }
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.serial.connection() != self.taken {
            return Err(ErrorKind::Unreachable);
        }
        match self.serial.try_read(target) {
            0 if !target.is_empty() && !self.is_taken() => Err(ErrorKind::Unreachable),
            count => Ok(count),
        }
    }

    /// The line is not cut by that: whoever is at the other end remains.
    fn reconnect(&mut self) {
        self.is_awaiting = true;
    }

    fn poll_connected(&mut self) -> bool {
        if !self.is_awaiting || !self.serial.is_open() {
            return false;
        }
        if self.serial.connection() == self.taken && !self.is_reusable {
            return false;
        }
        self.is_awaiting = false;
        self.taken = self.serial.connection();
        true
    }
}
