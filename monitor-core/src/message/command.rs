//! What an operator types on the monitor's console: from a line to a command.
//!
//! Source of truth: VM2000 manual, MIGRATE-VM (operands, abbreviations, positional operands). The
//! manual has no command that ends or resolves a migration; CANCEL-VM-MIGRATION,
//! RESOLVE-VM-MIGRATION and END are this library's own. Invariants: letters are folded to
//! capitals; an error names the operand that is wrong, in the same words on every monitor.
//! Deliberately not here: whether the VM and the target exist, which the check says.
//!
//! Patterns are lists of characters: the search for a single one has a way to panic.

use core::fmt;

use heapless::Vec;

use crate::{
    units::{SuName, Text, VmIndex, VmName},
    vm::VmId,
};

/// A word of a command line, as far as it can be shown again.
pub type Word = Text<32>;

/// The most operands that a command has.
const OPERANDS_MAX: usize = 2;

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// MIGRATE-VM: move a VM away.
    MigrateVm {
        /// The VM.
        vm: VmId,
        /// The SU to which it is to go; `None` is the only other one (`*UNIQUE`).
        target: Option<SuName>,
    },
    /// CANCEL-VM-MIGRATION: end the move of a VM.
    CancelMigration {
        /// The VM.
        vm: VmId,
    },
    /// RESOLVE-VM-MIGRATION: say what has become of a VM that is held in doubt.
    ResolveMigration {
        /// The VM.
        vm: VmId,
        /// What the operator knows.
        answer: Evidence,
    },
    /// SHOW-VM-STATUS: show what the SU's VMs are doing.
    ShowStatus,
    /// END: end the monitor, with all that is on this SU.
    End,
}

/// What an operator knows of a VM that is held in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Evidence {
    /// The guest runs on the target.
    TargetRuns,
    /// The target is lost, with all that was there.
    TargetLost,
}

/// An operand of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Operand {
    /// VM-IDENTIFICATION: index or name of the VM.
    Vm,
    /// SERVER-UNIT-NAME: the target.
    Su,
    /// ANSWER: what has become of the VM.
    Answer,
}

impl Operand {
    /// The full name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vm => "VM-IDENTIFICATION",
            Self::Su => "SERVER-UNIT-NAME",
            Self::Answer => "ANSWER",
        }
    }

    /// What is expected as its value.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Vm => "a VM is named by its index (1 to 99) or its name (1 to 8 characters)",
            Self::Su => {
                "the name of an SU has 1 to 64 letters, digits or . - @ # $, and begins with no \
                 digit"
            }
            Self::Answer => "the answer is *TARGET-RUNS or *TARGET-LOST",
        }
    }
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum CommandError {
    /// There is no such command.
    Unknown(Word),
    /// The command has no such operand.
    UnknownOperand(Word),
    /// More operands than the command has.
    TooMany,
    /// The operand must be given.
    Missing(Operand),
    /// The operand is given twice.
    Twice(Operand),
    /// The value of the operand is wrong.
    Wrong(Operand),
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(word) => write!(formatter, "unknown command '{word}'"),
            Self::UnknownOperand(word) => write!(formatter, "unknown operand '{word}'"),
            Self::TooMany => formatter.write_str("too many operands"),
            Self::Missing(operand) => write!(formatter, "operand {} is missing", operand.name()),
            Self::Twice(operand) => write!(formatter, "operand {} is given twice", operand.name()),
            Self::Wrong(operand) => {
                write!(formatter, "operand {}: {}", operand.name(), operand.expected())
            }
        }
    }
}

impl core::error::Error for CommandError {}

/// Reads a line, with or without the slash before a command.
///
/// # Errors
/// Names the operand that is wrong.
pub fn parse(line: &str) -> Result<Command, CommandError> {
    let line = line.trim();
    let line = line.strip_prefix(['/']).unwrap_or(line);
    let (name, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let is = |full: &str| name.eq_ignore_ascii_case(full);
    if is("MIGRATE-VM") {
        let values = operands(rest, &[Operand::Vm, Operand::Su])?;
        let target = match required(&values, Operand::Su)? {
            text if text.eq_ignore_ascii_case("*UNIQUE") => None,
            text => Some(su_name(text).ok_or(CommandError::Wrong(Operand::Su))?),
        };
        Ok(Command::MigrateVm { vm: vm_of(&values)?, target })
    } else if is("CANCEL-VM-MIGRATION") {
        let values = operands(rest, &[Operand::Vm])?;
        Ok(Command::CancelMigration { vm: vm_of(&values)? })
    } else if is("RESOLVE-VM-MIGRATION") {
        let values = operands(rest, &[Operand::Vm, Operand::Answer])?;
        let vm = vm_of(&values)?;
        let text = required(&values, Operand::Answer)?;
        let text = text.strip_prefix(['*']).unwrap_or(text);
        if text.eq_ignore_ascii_case("TARGET-RUNS") {
            Ok(Command::ResolveMigration { vm, answer: Evidence::TargetRuns })
        } else if text.eq_ignore_ascii_case("TARGET-LOST") {
            Ok(Command::ResolveMigration { vm, answer: Evidence::TargetLost })
        } else {
            Err(CommandError::Wrong(Operand::Answer))
        }
    } else if is("SHOW-VM-STATUS") {
        operands(rest, &[]).map(|_| Command::ShowStatus)
    } else if is("END") {
        operands(rest, &[]).map(|_| Command::End)
    } else {
        Err(CommandError::Unknown(shown(name)))
    }
}

/// The VM that this index or name stands for.
#[must_use]
pub fn vm_id(text: &str) -> Option<VmId> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().and_then(VmIndex::new).map(VmId::Index);
    }
    vm_name(text).map(VmId::Name)
}

/// The name of a VM: 1 to 8 letters, digits or `@ # $`, not a digit first.
#[must_use]
pub fn vm_name(text: &str) -> Option<VmName> {
    name(text, b"@#$")
}

/// The name of an SU: 1 to 64 letters, digits or `. - @ # $`, not a digit first.
#[must_use]
pub fn su_name(text: &str) -> Option<SuName> {
    name(text, b".-@#$")
}

fn name<const N: usize>(text: &str, further: &[u8]) -> Option<Text<N>> {
    let first = text.bytes().next()?;
    if !first.is_ascii_alphabetic() && !b"@#$".contains(&first) {
        return None;
    }
    let mut folded = Vec::<u8, N>::new();
    for byte in text.bytes() {
        if !byte.is_ascii_alphanumeric() && !further.contains(&byte) {
            return None;
        }
        folded.push(byte.to_ascii_uppercase()).ok()?;
    }
    Text::from_bytes(&folded)
}

/// The operands of a line with their values.
type Values<'a> = Vec<(Operand, &'a str), OPERANDS_MAX>;

/// Assigns each operand of a line, by its name or by its place, to one of the command's own.
fn operands<'a>(line: &'a str, own: &[Operand]) -> Result<Values<'a>, CommandError> {
    let mut values = Values::new();
    if line.trim().is_empty() {
        return Ok(values);
    }
    for (place, part) in line.split([',']).enumerate() {
        let (operand, value) = match part.split_once(['=']) {
            Some((name, value)) => {
                let name = name.trim();
                let mut fitting = own.iter().copied().filter(|it| stands_for(name, it.name()));
                let operand = fitting.next().ok_or(CommandError::UnknownOperand(shown(name)))?;
                (operand, value)
            }
            None => (own.get(place).copied().ok_or(CommandError::TooMany)?, part),
        };
        if values.iter().any(|(known, _)| *known == operand) {
            return Err(CommandError::Twice(operand));
        }
        values.push((operand, value.trim())).map_err(|_| CommandError::TooMany)?;
    }
    Ok(values)
}

fn required<'a>(values: &Values<'a>, operand: Operand) -> Result<&'a str, CommandError> {
    let found = values.iter().find(|(known, _)| *known == operand);
    found.map(|(_, value)| *value).ok_or(CommandError::Missing(operand))
}

fn vm_of(values: &Values<'_>) -> Result<VmId, CommandError> {
    vm_id(required(values, Operand::Vm)?).ok_or(CommandError::Wrong(Operand::Vm))
}

/// Whether `text` is `full` or an abbreviation of it: each part between hyphens may be cut at its
/// end, and last parts may be left out. The operands of one command begin with different letters.
fn stands_for(text: &str, full: &str) -> bool {
    let mut parts = full.split(['-']);
    text.split(['-']).all(|short| {
        let part = parts.next().and_then(|part| part.get(..short.len()));
        !short.is_empty() && part.is_some_and(|part| part.eq_ignore_ascii_case(short))
    })
}

/// A word in capitals, without what cannot be shown, and cut where it is too long.
fn shown(text: &str) -> Word {
    let mut bytes = Vec::<u8, 32>::new();
    for byte in text.bytes().filter(|byte| (b' '..=b'~').contains(byte)) {
        if bytes.push(byte.to_ascii_uppercase()).is_err() {
            break;
        }
    }
    Word::from_bytes(&bytes).unwrap_or(Word::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn migrate(vm: VmId, target: Option<&str>) -> Result<Command, CommandError> {
        Ok(Command::MigrateVm { vm, target: target.map(|name| SuName::new(name).unwrap()) })
    }

    fn twelve() -> VmId {
        VmId::Index(VmIndex::new(12).unwrap())
    }

    #[test]
    fn the_command_of_the_example_is_read_in_all_its_forms() {
        for line in [
            "MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=ABGSE701",
            "/MIGRATE-VM VM-IDENTIFICATION=12,SERVER-UNIT-NAME=ABGSE701",
            "migrate-vm vm-id=12,server-unit-name=abgse701",
            "  MIGRATE-VM  SERVER-UNIT-NAME = ABGSE701 , VM-ID = 12  ",
            "MIGRATE-VM 12,ABGSE701",
            "MIGRATE-VM 12,SERVER=ABGSE701\r",
        ] {
            assert_eq!(parse(line), migrate(twelve(), Some("ABGSE701")), "{line}");
        }
        let named = VmId::Name(VmName::new("VM12PROD").unwrap());
        let line = "MIGRATE-VM VM-ID=vm12prod,SERVER-UNIT-NAME=*UNIQUE";
        assert_eq!(parse(line), migrate(named, None));
    }

    #[test]
    fn the_other_commands_are_read() {
        let vm = twelve();
        assert_eq!(parse("CANCEL-VM-MIGRATION VM-ID=12"), Ok(Command::CancelMigration { vm }));
        for (text, answer) in
            [("*TARGET-RUNS", Evidence::TargetRuns), ("target-lost", Evidence::TargetLost)]
        {
            let line = std::format!("RESOLVE-VM-MIGRATION VM-ID=12,ANSWER={text}");
            assert_eq!(parse(&line), Ok(Command::ResolveMigration { vm, answer }));
        }
        assert_eq!(parse("show-vm-status"), Ok(Command::ShowStatus));
        assert_eq!(parse("END"), Ok(Command::End));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let word = |text| Word::new(text).unwrap();
        for (line, error) in [
            ("", CommandError::Unknown(Word::EMPTY)),
            ("MIGRATE", CommandError::Unknown(word("MIGRATE"))),
            ("E", CommandError::Unknown(word("E"))),
            ("MIGRATE-VM", CommandError::Missing(Operand::Su)),
            ("MIGRATE-VM VM-ID=12", CommandError::Missing(Operand::Su)),
            ("MIGRATE-VM SERVER-UNIT-NAME=A", CommandError::Missing(Operand::Vm)),
            ("MIGRATE-VM VM-ID=0,SERVER-UNIT-NAME=A", CommandError::Wrong(Operand::Vm)),
            ("MIGRATE-VM VM-ID=100,SERVER-UNIT-NAME=A", CommandError::Wrong(Operand::Vm)),
            ("MIGRATE-VM VM-ID=+2,SERVER-UNIT-NAME=A", CommandError::Wrong(Operand::Vm)),
            ("MIGRATE-VM VM-ID=,SERVER-UNIT-NAME=A", CommandError::Wrong(Operand::Vm)),
            ("MIGRATE-VM VM-ID=VM12PROD9,SERVER-UNIT-NAME=A", CommandError::Wrong(Operand::Vm)),
            ("MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=7A", CommandError::Wrong(Operand::Su)),
            ("MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=A B", CommandError::Wrong(Operand::Su)),
            ("MIGRATE-VM VM-ID=12,VM-ID=12", CommandError::Twice(Operand::Vm)),
            ("MIGRATE-VM 12,A,B", CommandError::TooMany),
            ("MIGRATE-VM VM-ID=12,monjv=J", CommandError::UnknownOperand(word("MONJV"))),
            ("MIGRATE-VM VM--ID=12", CommandError::UnknownOperand(word("VM--ID"))),
            ("RESOLVE-VM-MIGRATION 12,LOST", CommandError::Wrong(Operand::Answer)),
            ("SHOW-VM-STATUS 12", CommandError::TooMany),
            ("END NOW", CommandError::TooMany),
        ] {
            assert_eq!(parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn an_error_says_what_is_expected() {
        let text = CommandError::Wrong(Operand::Vm).to_string();
        assert_eq!(
            text,
            "operand VM-IDENTIFICATION: a VM is named by its index (1 to 99) or its name (1 to 8 \
             characters)"
        );
        let unknown = parse("\u{7}migrate\u{e4}").unwrap_err();
        assert_eq!(unknown.to_string(), "unknown command 'MIGRATE'");
    }

    #[test]
    fn words_of_any_length_are_shown_as_far_as_they_fit() {
        let error = parse(&"x".repeat(100)).unwrap_err();
        assert_eq!(error, CommandError::Unknown(Word::new(&"X".repeat(32)).unwrap()));
    }
}
