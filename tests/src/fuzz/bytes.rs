//! Values drawn from the front of bytes.
//!
//! Source of truth: none, the bytes are arbitrary. Invariant: what is drawn first stands first,
//! so that a changed byte changes nothing before it.

/// Draws values from bytes until they have run out.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) const fn byte(&mut self) -> Option<u8> {
        let Some((first, rest)) = self.rest.split_first() else {
            return None;
        };
        self.rest = rest;
        Some(*first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// At most so many bytes.
    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        head
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&mut self, values: &[T]) -> Option<T> {
        let byte = usize::from(self.byte()?);
        values.get(byte % values.len()).copied()
    }
}
