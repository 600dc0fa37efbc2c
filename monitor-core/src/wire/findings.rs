//! Body of a FINDINGS frame: what the target's check found.
//!
//! Source of truth: PROTOCOL.md, "FINDINGS". Invariant: at most `FINDINGS_MAX` are listed, the
//! others counted.

use super::error::{DecodeError, Fault, Field};
use super::field::{Reader, Writer};
use crate::{
    limits::FINDINGS_MAX,
    units::Mnemonic,
    vm::{Finding, Findings, Obstacle, ProcessorSet},
};

/// Writes `findings`; gives the number of bytes, or `None` when there is not enough room.
#[must_use]
pub fn emit_findings(findings: &Findings, target: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(target);
    writer.u16(u16::try_from(findings.listed().len()).ok()?);
    writer.u16(findings.unlisted());
    writer.u64(findings.surplus().bits());
    for finding in findings.listed() {
        writer.u16(finding.obstacle.code());
        writer.text(&finding.device);
        writer.u8(0);
    }
    writer.finish()
}

/// Reads a FINDINGS body into `findings`.
///
/// # Errors
/// Names the field that is wrong.
pub fn parse_findings(body: &[u8], findings: &mut Findings) -> Result<(), DecodeError> {
    let mut reader = Reader::new(body);
    let count = reader.u16(Field::FindingCount)?;
    if usize::from(count) > FINDINGS_MAX {
        return Err(DecodeError::new(Fault::OutOfRange, Field::FindingCount));
    }
    findings.clear();
    findings.set_unlisted(reader.u16(Field::FindingCount)?);
    findings.set_surplus(ProcessorSet::from_bits(reader.u64(Field::Blocked)?));
    for _ in 0..count {
        let code = reader.u16(Field::FindingCode)?;
        let obstacle = Obstacle::from_code(code)
            .ok_or(DecodeError::new(Fault::Unknown, Field::FindingCode))?;
        let device: Mnemonic = reader.text(Field::FindingDevice)?;
        reader.reserved::<1>()?;
        findings.push(Finding { obstacle, device });
    }
    reader.finish()
}
