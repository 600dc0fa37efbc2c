//! From a notice to a console line: the number, and the text with its inserts filled in.
//!
//! Source of truth: the console lines of VM2000 (`% VMS2450 …`): a VM is shown as `(index,name)`, a
//! reason of rejection as the code of its message and, after a comma, the device or the facility
//! concerned. Invariants: rendering never fails; a line is ASCII, and cut where it were too long.
//! Deliberately not here: the texts.

use core::fmt::{self, Write};

use heapless::String;

use super::{Notice, Parties};
use crate::{limits::LINE_BYTES_MAX, vm::Finding};

/// One console line, without time stamp.
pub type Line = String<LINE_BYTES_MAX>;

/// The console line of `notice`.
#[must_use]
pub fn render(notice: Notice, parties: &Parties) -> Line {
    let mut line = Line::new();
    match write_line(&mut Cut(&mut line), notice, parties) {
        // An error says that the line is full; what fits stays.
        Ok(()) | Err(fmt::Error) => line,
    }
}

/// A writer into a bounded string of ASCII that takes what fits, to the character.
#[derive(Debug)]
struct Cut<'a, const N: usize>(&'a mut String<N>);

impl<const N: usize> Write for Cut<'_, N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| self.write_char(character))
    }

    fn write_char(&mut self, character: char) -> fmt::Result {
        // Consoles know printable ASCII; and a character of one byte is added without arithmetic.
        let known = if character.is_ascii() { character } else { '?' };
        self.0.push(known).map_err(|_| fmt::Error)
    }
}

/// Writes number and text. Outside of braces a text is literal, inside it names an insert, so
/// that the pieces between braces alternate between the two.
fn write_line(line: &mut impl Write, notice: Notice, parties: &Parties) -> fmt::Result {
    let entry = notice.entry();
    write!(line, "% VMS{:04} ", entry.code)?;
    let mut inside = false;
    for piece in entry.text.split(['{', '}']) {
        if inside {
            write_insert(line, piece, notice, parties)?;
        } else {
            line.write_str(piece)?;
        }
        inside = !inside;
    }
    Ok(())
}

/// Writes the insert called `name`: one of the parties, or else what the notice itself carries.
fn write_insert(
    line: &mut impl Write,
    name: &str,
    notice: Notice,
    parties: &Parties,
) -> fmt::Result {
    match name {
        "vm" => write_vm(line, parties),
        "source" => line.write_str(parties.source.as_str()),
        "target" => line.write_str(parties.target.as_str()),
        _ => write_own(line, notice),
    }
}

/// Writes what the notice carries besides the parties.
fn write_own(line: &mut impl Write, notice: Notice) -> fmt::Result {
    match notice {
        Notice::MigrationAborted(reason) | Notice::IncomingAborted(reason) => {
            write_capitals(line, reason.text())
        }
        Notice::DeviceAssigned { device, .. }
        | Notice::DeviceRemoved { device }
        | Notice::DeviceInUse { device }
        | Notice::DetachWarning { device } => line.write_str(device.as_str()),
        Notice::Rejected { finding, .. } => write_finding(line, finding),
        Notice::MoreFindings(count) => write!(line, "{count}"),
        Notice::ProcessorsBlocked(set) => write!(line, "{}", set.count()),
        Notice::HeldForTarget(epoch) | Notice::ClaimedByTarget(epoch) => write!(line, "{epoch}"),
        Notice::MigrationStarted
        | Notice::MigrationCompleted
        | Notice::SuspendedAtSource
        | Notice::ResumedAtSource
        | Notice::HeldAtSource
        | Notice::NotStartedAtSource
        | Notice::NotStoppedAtSource
        | Notice::NotReattached
        | Notice::LinkInterrupted
        | Notice::LinkRestored
        | Notice::NotStartedAtTarget
        | Notice::IncomingStarted
        | Notice::IncomingCompleted
        | Notice::ResumedAtTarget
        | Notice::HeldAtTarget
        | Notice::GuestLate
        | Notice::Created
        | Notice::Terminated
        | Notice::NotPossible => Ok(()),
    }
}

/// Writes `(12,VM12PROD)`, or `( ,VM12PROD)` for a VM whose index is not known.
fn write_vm(line: &mut impl Write, parties: &Parties) -> fmt::Result {
    match parties.index {
        Some(index) => write!(line, "({},{})", index.get(), parties.name.as_str()),
        None => write!(line, "( ,{})", parties.name.as_str()),
    }
}

/// Writes `VMS4011`, `VMS4034,9920` when a device is concerned, or `VMS2410,129` for a facility.
fn write_finding(line: &mut impl Write, finding: Finding) -> fmt::Result {
    write!(line, "VMS{:04}", finding.obstacle.code())?;
    if finding.device.is_empty() {
        return Ok(());
    }
    write!(line, ",{}", finding.device.as_str())
}

/// Writes a text in capitals, as all messages of the monitor are.
fn write_capitals(line: &mut impl Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| line.write_char(character.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use std::{string::ToString, vec::Vec};

    use super::*;
    use crate::{
        units::{Epoch, Mnemonic, SuName, VmIndex, VmName},
        vm::{Obstacle, ProcessorSet, Reason},
    };

    fn parties(index: u8, name: &str, source: &str, target: &str) -> Parties {
        Parties {
            index: VmIndex::new(index),
            name: VmName::new(name).unwrap(),
            source: SuName::new(source).unwrap(),
            target: SuName::new(target).unwrap(),
        }
    }

    fn example() -> Parties {
        parties(12, "VM12PROD", "ABGSE501", "ABGSE701")
    }

    fn mnemonic(text: &str) -> Mnemonic {
        Mnemonic::new(text).unwrap()
    }

    fn rejected(obstacle: Obstacle, device: &str) -> Notice {
        let finding = Finding { obstacle, device: mnemonic(device) };
        Notice::Rejected { finding, by_target: true }
    }

    /// Every notice, with every reason and every obstacle, and the longest inserts otherwise.
    fn every_notice() -> Vec<Notice> {
        let device = mnemonic("FAA5");
        let mut notices = std::vec![
            Notice::MigrationStarted,
            Notice::MigrationCompleted,
            Notice::SuspendedAtSource,
            Notice::ResumedAtSource,
            Notice::HeldAtSource,
            Notice::HeldForTarget(Epoch::new(u64::MAX)),
            Notice::ClaimedByTarget(Epoch::new(u64::MAX)),
            Notice::NotStartedAtSource,
            Notice::NotStoppedAtSource,
            Notice::NotReattached,
            Notice::LinkInterrupted,
            Notice::LinkRestored,
            Notice::NotStartedAtTarget,
            Notice::IncomingStarted,
            Notice::IncomingCompleted,
            Notice::ResumedAtTarget,
            Notice::HeldAtTarget,
            Notice::GuestLate,
            Notice::Created,
            Notice::DeviceAssigned { device, shared_device: false },
            Notice::DeviceAssigned { device, shared_device: true },
            Notice::DeviceRemoved { device },
            Notice::DeviceInUse { device },
            Notice::Terminated,
            Notice::MoreFindings(u16::MAX),
            Notice::NotPossible,
            Notice::DetachWarning { device },
            Notice::ProcessorsBlocked(ProcessorSet::from_bits(u64::MAX)),
        ];
        for reason in Reason::ALL {
            notices.push(Notice::MigrationAborted(reason));
            notices.push(Notice::IncomingAborted(reason));
        }
        for obstacle in Obstacle::ALL {
            let finding = Finding { obstacle, device };
            notices.push(Notice::Rejected { finding, by_target: false });
            notices.push(Notice::Rejected { finding, by_target: true });
        }
        notices
    }

    /// The lines of `notices`, one below the other.
    fn lines(notices: &[Notice], parties: &Parties) -> Vec<std::string::String> {
        notices.iter().map(|notice| render(*notice, parties).to_string()).collect()
    }

    const SOURCE_TRACE: &str = "\
% VMS2450 LIVE MIGRATION OF VM (12,VM12PROD) TO TARGET SU 'ABGSE701' STARTED
% VMS2452 VM (12,VM12PROD) SUSPENDED AT LIVE MIGRATION TO TARGET SU 'ABGSE701'
% VMS4009 DEVICE 'CS' REMOVED FROM VIRTUAL MACHINE (12,VM12PROD)
% VMS4009 DEVICE 'FAA4' REMOVED FROM VIRTUAL MACHINE (12,VM12PROD)
% VMS4009 DEVICE 'FAA5' REMOVED FROM VIRTUAL MACHINE (12,VM12PROD)
% VMS4024 VIRTUAL MACHINE (12,VM12PROD) TERMINATED
% VMS2451 LIVE MIGRATION OF VM (12,VM12PROD) TO TARGET SU 'ABGSE701' COMPLETED";

    const TARGET_TRACE: &str = "\
% VMS2430 LIVE MIGRATION OF VM (12,VM12PROD) FROM SOURCE SU 'ABGSE501' STARTED
% VMS3050 VIRTUAL MACHINE (12,VM12PROD) CREATED
% VMS4005 DEVICE 'CS' ASSIGNED TO VIRTUAL MACHINE (12,VM12PROD)
% VMS4005 DEVICE 'FAA4' ASSIGNED TO VIRTUAL MACHINE (12,VM12PROD)
% VMS4005 DEVICE 'FAA5' ASSIGNED TO VIRTUAL MACHINE (12,VM12PROD) (TYPE=SD)
% VMS2432 VM (12,VM12PROD) RESUMED AT LIVE MIGRATION FROM SOURCE SU 'ABGSE501'
% VMS2431 LIVE MIGRATION OF VM (12,VM12PROD) FROM SOURCE SU 'ABGSE501' COMPLETED";

    const CHECK_SAMPLE: &str = "\
% VMS2404 LIVE MIGRATION OF VM (4,G4IVO) REJECTED BY TARGET SU 'D021ZE01'. REASON: VMS4011
% VMS2404 LIVE MIGRATION OF VM (4,G4IVO) REJECTED BY TARGET SU 'D021ZE01'. REASON: VMS4034,9920
% VMS2404 LIVE MIGRATION OF VM (4,G4IVO) REJECTED BY TARGET SU 'D021ZE01'. REASON: VMS2437,9921";

    #[test]
    fn source_lines_equal_the_published_trace_to_the_letter() {
        let notices = [
            Notice::MigrationStarted,
            Notice::SuspendedAtSource,
            Notice::DeviceRemoved { device: mnemonic("CS") },
            Notice::DeviceRemoved { device: mnemonic("FAA4") },
            Notice::DeviceRemoved { device: mnemonic("FAA5") },
            Notice::Terminated,
            Notice::MigrationCompleted,
        ];
        assert_eq!(lines(&notices, &example()).join("\n"), SOURCE_TRACE);
    }

    #[test]
    fn target_lines_equal_the_published_trace_to_the_letter() {
        let notices = [
            Notice::IncomingStarted,
            Notice::Created,
            Notice::DeviceAssigned { device: mnemonic("CS"), shared_device: false },
            Notice::DeviceAssigned { device: mnemonic("FAA4"), shared_device: false },
            Notice::DeviceAssigned { device: mnemonic("FAA5"), shared_device: true },
            Notice::ResumedAtTarget,
            Notice::IncomingCompleted,
        ];
        assert_eq!(lines(&notices, &example()).join("\n"), TARGET_TRACE);
    }

    #[test]
    fn rejections_equal_the_sample_of_the_manual_to_the_letter() {
        let notices = [
            rejected(Obstacle::MemoryShort, ""),
            rejected(Obstacle::DeviceMissing, "9920"),
            rejected(Obstacle::DeviceHeld, "9921"),
        ];
        let parties = parties(4, "G4IVO", "D021ZE02", "D021ZE01");
        assert_eq!(lines(&notices, &parties).join("\n"), CHECK_SAMPLE);
    }

    #[test]
    fn rejection_names_the_su_that_found_the_obstacle() {
        let finding = Finding { obstacle: Obstacle::MonitorVm, device: Mnemonic::EMPTY };
        assert_eq!(
            render(Notice::Rejected { finding, by_target: false }, &example()),
            "% VMS2404 LIVE MIGRATION OF VM (12,VM12PROD) REJECTED BY SOURCE SU 'ABGSE501'. \
             REASON: VMS2405"
        );
    }

    #[test]
    fn reasons_of_failure_are_in_capitals() {
        assert_eq!(
            render(Notice::MigrationAborted(Reason::LinkLost), &example()),
            "% VMS2453 LIVE MIGRATION OF VM (12,VM12PROD) TO TARGET SU 'ABGSE701' ABORTED. \
             REASON: THE LINK TO THE OTHER SU WAS LOST"
        );
        for line in lines(&every_notice(), &example()) {
            assert!(!line.contains(|character: char| character.is_ascii_lowercase()), "{line}");
        }
    }

    #[test]
    fn unknown_index_is_a_blank() {
        let unknown = Parties { index: None, ..example() };
        let line = render(Notice::Terminated, &unknown);
        assert_eq!(line, "% VMS4024 VIRTUAL MACHINE ( ,VM12PROD) TERMINATED");
    }

    #[test]
    fn every_insert_of_the_catalogue_is_filled_in() {
        for notice in every_notice() {
            let text = notice.entry().text;
            for name in text.split(['{', '}']).skip(1).step_by(2) {
                let mut insert = Line::new();
                write_insert(&mut insert, name, notice, &example()).unwrap();
                assert!(!insert.is_empty(), "{{{name}}} in {text}");
            }
            assert!(!render(notice, &example()).contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn every_line_fits_with_the_longest_names() {
        let long = "X".repeat(64);
        let parties = parties(99, "VM12PROD", &long, &long);
        for notice in every_notice() {
            let mut whole = String::<1024>::new();
            write_line(&mut whole, notice, &parties).unwrap();
            assert!(whole.len() <= LINE_BYTES_MAX, "{} bytes: {whole}", whole.len());
            assert_eq!(render(notice, &parties).as_str(), whole.as_str());
        }
    }

    #[test]
    fn line_that_is_too_long_is_cut_and_what_is_not_ascii_is_replaced() {
        let mut line = String::<4>::new();
        assert_eq!(Cut(&mut line).write_str("ab\u{e9}de"), Err(fmt::Error));
        assert_eq!(line, "ab?d");
    }

    #[test]
    fn code_and_severity_follow_the_number_plan() {
        use crate::message::{Severity, Wording};
        for notice in every_notice() {
            let line = render(notice, &example());
            assert_eq!(line[5..9].parse(), Ok(notice.code()), "{line}");
            let bad = [
                "ABORTED",
                "REJECTED",
                "HELD ON",
                "STANDS STILL",
                "DO NOT STOP",
                "DO NOT ATTACH",
                "CANNOT BE DETACHED",
                "NOT POSSIBLE",
            ];
            let is_error = bad.iter().any(|word| line.contains(word));
            assert_eq!(notice.severity() == Severity::Error, is_error, "{line}");
            if notice.wording() == Wording::Documented && !matches!(notice, Notice::Rejected { .. })
            {
                assert_eq!(notice.severity(), Severity::Info, "{line}");
            }
        }
    }
}
