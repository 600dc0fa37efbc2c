//! Bytes as images of processors, subchannels and the machine as a whole, as areas of stored
//! status, and as journals.
//!
//! Source of truth: PROTOCOL.md, "Blocks"; Principles of Operation, store status. What is read is
//! written back to the same value; a layout keeps every byte that it assigns, and no other one
//! changes.

use monitor_core::{
    channel::SubchannelImage,
    limits::{JOURNAL_BYTES_MAX, MACHINE_BYTES_MAX, PROCESSOR_BYTES_MAX, SUBCHANNEL_BYTES_MAX},
    migrate::{SourceJournal, TargetJournal},
    processor::{ADDITIONAL_STATUS_BYTES, ProcessorImage, STATUS_BYTES, StatusError},
    vm::MachineImage,
    wire::checksum::crc32c,
};

/// A byte that no layout writes by itself.
const UNTOUCHED: u8 = 0xEE;

/// Takes bytes as an image, a status, or a journal.
///
/// # Panics
/// When a decoder panics, or what it reads is not written back.
pub fn images(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    match first % 7 {
        0 => processor(rest),
        1 => subchannel(rest),
        2 => status(&padded(rest)),
        3 => additional_status(&padded(rest)),
        4 => source_journal(rest),
        5 => target_journal(rest),
        _ => machine(rest),
    }
}

/// The bytes with the check value that fits them.
fn checked(data: &[u8]) -> Vec<u8> {
    [data, &crc32c(0, data).to_be_bytes()].concat()
}

fn source_journal(data: &[u8]) {
    let Ok(journal) = SourceJournal::parse(&checked(data)) else {
        return;
    };
    let mut encoded = [0; JOURNAL_BYTES_MAX];
    let length = journal.emit(&mut encoded).expect("a journal finds room");
    assert_eq!(SourceJournal::parse(&encoded[..length]), Ok(journal));
    assert!(TargetJournal::parse(&encoded[..length]).is_err(), "a journal is of one end");
}

fn target_journal(data: &[u8]) {
    let Ok(journal) = TargetJournal::parse(&checked(data)) else {
        return;
    };
    let mut encoded = [0; JOURNAL_BYTES_MAX];
    let length = journal.emit(&mut encoded).expect("a journal finds room");
    assert_eq!(TargetJournal::parse(&encoded[..length]), Ok(journal));
    assert!(SourceJournal::parse(&encoded[..length]).is_err(), "a journal is of one end");
}

fn padded<const N: usize>(data: &[u8]) -> [u8; N] {
    core::array::from_fn(|place| data.get(place).copied().unwrap_or_default())
}

fn processor(data: &[u8]) {
    let Ok(image) = ProcessorImage::parse(data) else {
        return;
    };
    let mut encoded = [0; PROCESSOR_BYTES_MAX];
    let length = image.emit(&mut encoded).expect("an image finds room");
    assert_eq!(ProcessorImage::parse(&encoded[..length]), Ok(image));
}

fn subchannel(data: &[u8]) {
    let Ok(image) = SubchannelImage::parse(data) else {
        return;
    };
    assert!(image.is_movable() || !image.is_quiet(), "what is quiet can move");
    let mut encoded = [0; SUBCHANNEL_BYTES_MAX];
    let length = image.emit(&mut encoded).expect("an image finds room");
    assert_eq!(SubchannelImage::parse(&encoded[..length]), Ok(image));
}

fn machine(data: &[u8]) {
    let Ok(image) = MachineImage::parse(data) else {
        return;
    };
    let mut encoded = [0; MACHINE_BYTES_MAX];
    let length = image.emit(&mut encoded).expect("an image finds room");
    assert_eq!(MachineImage::parse(&encoded[..length]), Ok(image));
}

fn status(area: &[u8; STATUS_BYTES]) {
    let image = ProcessorImage::from_status(area);
    let mut stored = [UNTOUCHED; STATUS_BYTES];
    image.store_status(&mut stored);
    let again = ProcessorImage::from_status(&stored);
    assert_eq!(again, image);
    // The leftmost byte of the clock comparator is never stored.
    let is_assigned =
        |place: &usize| !matches!(place, 0x110..0x118 | 0x120..0x124 | 0x130 | 0x138..0x140);
    for place in 0..STATUS_BYTES {
        let expected = match place {
            0x130 => 0,
            _ if is_assigned(&place) => area[place],
            _ => UNTOUCHED,
        };
        assert_eq!(stored[place], expected, "byte {place:#05x}");
    }
    esa_status(&image);
}

fn esa_status(image: &ProcessorImage) {
    let mut area = [UNTOUCHED; STATUS_BYTES];
    match image.store_esa_status(&mut area) {
        Ok(()) => {
            assert!(image.psw.to_short().is_some());
            assert!(area[..0xD8].iter().all(|byte| *byte == UNTOUCHED));
            assert_eq!(area[0x108..0x10C], image.prefix.to_be_bytes());
        }
        Err(StatusError::NotEsa) => assert_eq!(area, [UNTOUCHED; STATUS_BYTES]),
    }
}

fn additional_status(area: &[u8; ADDITIONAL_STATUS_BYTES]) {
    let mut image = ProcessorImage::initial();
    image.load_additional_status(area);
    let mut stored = [UNTOUCHED; ADDITIONAL_STATUS_BYTES];
    image.store_additional_status(&mut stored);
    for place in 0..ADDITIONAL_STATUS_BYTES {
        let is_assigned = matches!(place, 0..0x200 | 0x400..0x420);
        let expected = if is_assigned { area[place] } else { UNTOUCHED };
        assert_eq!(stored[place], expected, "byte {place:#05x}");
    }
}
