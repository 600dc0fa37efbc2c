//! The data of one command without guest storage, for who drives a device directly.
//!
//! Source of truth: [`Transfer`]. Invariant: a command gets no more bytes than there are, and
//! leaves no more than there is room for. Deliberately not here: chaining, keys and faults, which
//! are the channel's.

use super::{Taken, Transfer};

/// Bytes that a device takes, or the room for those that it gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    output: Vec<u8>,
    taken: usize,
    input: Vec<u8>,
    input_room: usize,
}

impl Buffer {
    /// The data of an output operation.
    #[must_use]
    pub fn output(data: &[u8]) -> Self {
        Self { output: data.to_vec(), ..Self::default() }
    }

    /// The room of an input operation.
    #[must_use]
    pub fn input(room: usize) -> Self {
        Self { input_room: room, ..Self::default() }
    }

    /// What the device gave.
    #[must_use]
    pub fn given(&self) -> &[u8] {
        &self.input
    }

    /// How many bytes the device took.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }
}

impl Transfer for Buffer {
    fn take(&mut self, target: &mut [u8]) -> Taken {
        let rest = &self.output[self.taken..];
        let length = rest.len().min(target.len());
        target[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        if length == target.len() { Taken::Full } else { Taken::Ended(length) }
    }

    fn give(&mut self, data: &[u8]) -> usize {
        let length = data.len().min(self.input_room - self.input.len());
        self.input.extend_from_slice(&data[..length]);
        length
    }

    fn left(&self) -> Option<usize> {
        let output = self.output.len() - self.taken;
        Some(output + (self.input_room - self.input.len()))
    }

    fn room(&self, limit: usize) -> usize {
        self.left().map_or(0, |left| left.min(limit))
    }

    fn moved(&self) -> usize {
        self.taken + self.input.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_gives_out_its_bytes_and_takes_as_many_as_there_is_room_for() {
        let mut output = Buffer::output(b"abcde");
        let mut target = [0; 3];
        assert_eq!((output.take(&mut target), &target), (Taken::Full, b"abc"));
        assert_eq!((output.left(), output.room(1)), (Some(2), 1));
        assert_eq!((output.take(&mut target), &target), (Taken::Ended(2), b"dec"));
        assert_eq!((output.taken(), output.give(b"x"), output.moved()), (5, 0, 5));

        let mut input = Buffer::input(4);
        assert_eq!((input.give(b"abc"), input.give(b"def")), (3, 1));
        assert_eq!((input.given(), input.left()), (&b"abcd"[..], Some(0)));
        assert_eq!((input.take(&mut target), input.moved()), (Taken::Ended(0), 4));
    }
}
