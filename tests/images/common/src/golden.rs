//! The golden frames, as they stand in the repository, and the samples that they are.
//!
//! Source of truth: the files in `tests/golden`. Invariant: each type has one file here.
//! Deliberately not here: how the files are written, which the test `wire_golden` does.

use alloc::vec::Vec;

use crate::{
    codec::{decode, parse_hex, seal, types},
    random::Digest,
    samples::samples,
};

/// Name and text of each golden file.
const FILES: [(&str, &str); 28] = [
    ("ABORT", include_str!("../../../golden/abort.hex")),
    ("ABORTED", include_str!("../../../golden/aborted.hex")),
    ("ACK", include_str!("../../../golden/ack.hex")),
    ("BUILD", include_str!("../../../golden/build.hex")),
    ("BUILT", include_str!("../../../golden/built.hex")),
    ("CHECK", include_str!("../../../golden/check.hex")),
    ("COMMIT", include_str!("../../../golden/commit.hex")),
    ("COMPLETED", include_str!("../../../golden/completed.hex")),
    ("DEFINITION", include_str!("../../../golden/definition.hex")),
    ("DEVICE", include_str!("../../../golden/device.hex")),
    ("FILLER", include_str!("../../../golden/filler.hex")),
    ("FINDINGS", include_str!("../../../golden/findings.hex")),
    ("HELLO", include_str!("../../../golden/hello.hex")),
    ("KEYS", include_str!("../../../golden/keys.hex")),
    ("LOAD-END", include_str!("../../../golden/load-end.hex")),
    ("MACHINE", include_str!("../../../golden/machine.hex")),
    ("PAGES", include_str!("../../../golden/pages.hex")),
    ("PASS-END", include_str!("../../../golden/pass-end.hex")),
    ("PROCESSOR", include_str!("../../../golden/processor.hex")),
    ("READY", include_str!("../../../golden/ready.hex")),
    ("RECOPY", include_str!("../../../golden/recopy.hex")),
    ("REHEARSAL-END", include_str!("../../../golden/rehearsal-end.hex")),
    ("REHEARSED", include_str!("../../../golden/rehearsed.hex")),
    ("RELEASED", include_str!("../../../golden/released.hex")),
    ("RESUME", include_str!("../../../golden/resume.hex")),
    ("RUNNING", include_str!("../../../golden/running.hex")),
    ("STATUS", include_str!("../../../golden/status.hex")),
    ("SUBCHANNEL", include_str!("../../../golden/subchannel.hex")),
];

/// The bytes of the golden frame of the type of this name.
///
/// # Panics
/// When there is no such type.
#[must_use]
pub fn golden(name: &str) -> Vec<u8> {
    let file = FILES.iter().find(|(file, _)| *file == name);
    parse_hex(file.unwrap_or_else(|| panic!("no golden frame {name}")).1)
}

/// Encodes each sample and decodes each golden frame; gives their number and a digest of what was
/// encoded.
///
/// # Panics
/// When a sample does not encode to its golden bytes, or these do not decode to it.
#[must_use]
pub fn check() -> (usize, Digest) {
    let mut digest = Digest::new();
    let (types, samples) = (types(), samples());
    assert_eq!(types.len(), samples.len(), "each type has one sample");
    for ((code, name), sample) in types.iter().zip(&samples) {
        let bytes = golden(name);
        let encoded = seal(*code, sample.sequence, &sample.content.body());
        assert!(encoded == bytes, "{name} encodes to other bytes");
        digest.add(&encoded);
        let (header, content) = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(content == sample.content, "{name} decodes to another value");
        assert_eq!(header.sequence.get(), sample.sequence, "{name}");
        assert_eq!(header.type_code, *code, "{name}");
    }
    (samples.len(), digest)
}
