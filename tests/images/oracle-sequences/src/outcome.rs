//! How the outcome of a step is written: a line with the number of the step, what was done, and
//! fields as `name=value`.
//!
//! Source of truth: Principles of Operation, "Interruption-Response Block",
//! "Subchannel-Information Block", for the places of the fields. Invariant: a line consists of
//! letters, digits and `= . ,` alone, which every console shows alike. Deliberately not here: what
//! a value should be.

use crate::{
    area,
    step::Unit,
    subject::{self, Code, Interruption, Irb, Schib, Subject},
};
use core::fmt::{self, Write};

/// Control bits of the status word: there was a channel program, of which the rest tells.
const START_FUNCTION: u16 = 0x4000;
/// The function was a clear, which leaves the rest of the word without meaning.
const CLEAR_FUNCTION: u16 = 0x1000;
/// There is a status, without which the rest of the word has no meaning.
const STATUS_PENDING: u16 = 0x0001;
/// Bytes of storage that are told one by one.
const SHOWN_BYTES: u32 = 32;

/// The line of a step.
pub(crate) struct Line<'a> {
    pub(crate) index: usize,
    pub(crate) out: &'a mut dyn Write,
}

impl Line<'_> {
    fn begin(&mut self, what: &str) -> fmt::Result {
        write!(self.out, "{:02} {what}", self.index)
    }

    fn end(&mut self) -> fmt::Result {
        self.out.write_char('\n')
    }

    fn hex(&mut self, name: &str, bytes: Option<&[u8]>) -> fmt::Result {
        write!(self.out, " {name}=")?;
        for byte in bytes.unwrap_or(&[]) {
            write!(self.out, "{byte:02X}")?;
        }
        Ok(())
    }

    fn ended(&mut self, what: &str, code: Code) -> fmt::Result {
        self.begin(what)?;
        match code {
            Code::Condition(code) => write!(self.out, " cc={code}"),
            Code::Exception(code) => write!(self.out, " pgm={code:04X}"),
        }
    }

    /// An instruction that says nothing but its code.
    pub(crate) fn code(&mut self, what: &str, code: Code) -> fmt::Result {
        self.ended(what, code)?;
        self.end()
    }

    /// A wait, of which there is something to tell only when it was in vain.
    pub(crate) fn waited(&mut self, what: &str, came: bool, control: u16) -> fmt::Result {
        if came {
            return Ok(());
        }
        writeln!(self.out, "{:02} {what} late={control:04X}", self.index)
    }

    /// What means something of the status word that begins these bytes.
    fn status(&mut self, bytes: &[u8]) -> fmt::Result {
        self.hex("ctl", bytes.get(2..4))?;
        let control = control(bytes);
        if control & STATUS_PENDING == 0 || control & CLEAR_FUNCTION != 0 {
            return Ok(());
        }
        if control & START_FUNCTION != 0 {
            self.hex("fl", bytes.get(0..2))?;
            self.hex("cpa", bytes.get(4..8))?;
            self.hex("cnt", bytes.get(10..12))?;
        }
        self.hex("ds", bytes.get(8..9))?;
        self.hex("cs", bytes.get(9..10))
    }

    /// TEST SUBCHANNEL.
    pub(crate) fn tested(&mut self, code: Code, block: &Irb) -> fmt::Result {
        self.ended("TSCH", code)?;
        if code == Code::Condition(0) {
            self.status(block)?;
            if control(block) & CLEAR_FUNCTION == 0 {
                self.hex("esw", block.get(12..16))?;
                self.hex("erw", block.get(16..20))?;
            }
            let rest = block.get(20..96).unwrap_or(&[]);
            if rest.iter().any(|byte| *byte != 0) {
                self.hex("ecw", block.get(32..64))?;
            }
        } else if code == Code::Condition(1) {
            self.status(block)?;
        }
        self.end()
    }

    /// STORE SUBCHANNEL.
    pub(crate) fn stored(&mut self, code: Code, block: &Schib) -> fmt::Result {
        self.ended("STSCH", code)?;
        if code == Code::Condition(0) {
            self.hex("par", block.get(0..4))?;
            self.hex("pmf", block.get(4..6))?;
            self.hex("lpm", block.get(8..9))?;
            self.hex("pnom", block.get(9..10))?;
            self.hex("lpum", block.get(10..11))?;
            self.hex("pim", block.get(11..12))?;
            self.hex("pom", block.get(14..15))?;
            self.hex("pam", block.get(15..16))?;
            self.status(block.get(28..40).unwrap_or(&[]))?;
        }
        self.end()
    }

    /// TEST PENDING INTERRUPTION.
    pub(crate) fn interruption(
        &mut self,
        code: Code,
        block: &Interruption,
        subject: &dyn Subject,
    ) -> fmt::Result {
        self.ended("TPI", code)?;
        if code == Code::Condition(1) {
            match subject::interrupter(block, subject) {
                Some(unit) => write!(self.out, " unit={}", name(unit))?,
                None => write!(self.out, " unit=other")?,
            }
            self.hex("par", block.get(4..8))?;
            self.hex("word", block.get(8..12))?;
        }
        self.end()
    }

    /// STORE CHANNEL REPORT WORD.
    pub(crate) fn report(&mut self, code: Code, word: u32) -> fmt::Result {
        self.ended("STCRW", code)?;
        write!(self.out, " crw={word:08X}")?;
        self.end()
    }

    /// INSERT STORAGE KEY EXTENDED.
    pub(crate) fn key(&mut self, key: u8) -> fmt::Result {
        writeln!(self.out, "{:02} ISKE key={key:02X}", self.index)
    }

    /// Bytes of storage: all, or the first ones and a digest.
    pub(crate) fn storage(
        &mut self,
        subject: &mut dyn Subject,
        at: u32,
        length: u32,
    ) -> fmt::Result {
        self.begin("SHOW")?;
        write!(self.out, " at={:05X} data=", at.wrapping_sub(area::PROGRAM))?;
        let mut digest = 0x811C_9DC5_u32;
        for offset in 0..length {
            let byte = subject.load(at.wrapping_add(offset));
            digest = (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            if offset < SHOWN_BYTES {
                write!(self.out, "{byte:02X}")?;
            }
        }
        if length > SHOWN_BYTES {
            write!(self.out, " sum={digest:08X}")?;
        }
        self.end()
    }
}

/// Functions, activities and kinds of status of a status word.
fn control(bytes: &[u8]) -> u16 {
    match bytes.get(2..4) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

const fn name(unit: Unit) -> &'static str {
    match unit {
        Unit::Plain => "plain",
        Unit::Ckd => "ckd",
        Unit::Fba => "fba",
        Unit::Console => "console",
        Unit::Ctc => "ctc",
        Unit::CtcPeer => "ctcpeer",
        Unit::Absent => "absent",
    }
}
