//! What runs the sequences: an implementation of the instructions.
//!
//! Source of truth: Principles of Operation. Invariant: what the implementation says is passed on
//! as it is. Deliberately not here: any implementation.

use crate::step::Unit;

/// How an instruction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// With this condition code.
    Condition(u8),
    /// With a program interruption of this code.
    Exception(u16),
}

/// The blocks that instructions store.
pub type Irb = [u8; 96];
/// What STORE SUBCHANNEL stores.
pub type Schib = [u8; 52];
/// What TEST PENDING INTERRUPTION stores.
pub type Interruption = [u8; 12];

/// An implementation of the instructions.
pub trait Subject {
    /// Whether there is such a device; the absent one always is.
    fn has(&self, unit: Unit) -> bool;
    /// START SUBCHANNEL.
    fn start(&mut self, unit: Unit, block: &[u8; 32]) -> Code;
    /// TEST SUBCHANNEL.
    fn test(&mut self, unit: Unit) -> (Code, Irb);
    /// STORE SUBCHANNEL.
    fn store_subchannel(&mut self, unit: Unit) -> (Code, Schib);
    /// MODIFY SUBCHANNEL.
    fn modify(&mut self, unit: Unit, block: &Schib) -> Code;
    /// HALT SUBCHANNEL.
    fn halt(&mut self, unit: Unit) -> Code;
    /// CLEAR SUBCHANNEL.
    fn clear(&mut self, unit: Unit) -> Code;
    /// CANCEL SUBCHANNEL.
    fn cancel(&mut self, unit: Unit) -> Code;
    /// RESUME SUBCHANNEL.
    fn resume(&mut self, unit: Unit) -> Code;
    /// TEST PENDING INTERRUPTION, with every subclass admitted; names the unit by its own number.
    fn test_pending(&mut self) -> (Code, Interruption);
    /// STORE CHANNEL REPORT WORD.
    fn store_report(&mut self) -> (Code, u32);
    /// The unit of a subsystem-identification word.
    fn unit_of(&self, identification: u32) -> Option<Unit>;
    /// The operator types a line at the console.
    fn type_line(&mut self);
    /// Lets devices go on for a moment; false when they had time enough.
    fn pause(&mut self, round: u32) -> bool;
    /// The processor stores a doubleword at a multiple of 8.
    fn store(&mut self, at: u32, value: u64);
    /// The processor fetches a byte.
    fn load(&mut self, at: u32) -> u8;
    /// INSERT STORAGE KEY EXTENDED.
    fn key(&mut self, at: u32) -> u8;
    /// SET STORAGE KEY EXTENDED.
    fn set_key(&mut self, at: u32, key: u8);
    /// RESET REFERENCE BIT EXTENDED.
    fn reset_reference(&mut self, at: u32) -> Code;
}

/// The unit that has interrupted, as TEST PENDING INTERRUPTION stores it.
#[must_use]
pub fn interrupter(block: &Interruption, subject: &dyn Subject) -> Option<Unit> {
    subject.unit_of(u32::from_be_bytes(*block.first_chunk()?))
}
