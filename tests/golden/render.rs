//! Bytes as text: how the golden files show the fields of a frame.
//!
//! Source of truth: the section "Examples" of PROTOCOL.md says how a line is read. Invariant: each
//! field begins a line of its own. Deliberately not here: any value.

use std::fmt::Write;

/// Bytes that are equal so often in a row are written once, with their number.
const RUN_BYTES_MIN: usize = 8;

/// The most bytes that are written without a space.
const WORD_BYTES_MAX: usize = 16;

/// Writes the fields, each with its offset and its name.
pub(crate) fn render_fields(text: &mut String, bytes: &[u8], layout: &[(usize, &str)]) {
    let width: usize = layout.iter().map(|(width, _)| width).sum();
    assert_eq!(width, bytes.len(), "the fields are as long as the bytes");
    let mut offset = 0;
    for (width, label) in layout {
        let lines = hex_lines(&bytes[offset..offset + width]);
        for (position, line) in lines.iter().enumerate() {
            if position == 0 {
                writeln!(text, "{line:<36}# {offset:>4} {label}").expect("a string takes all");
            } else {
                writeln!(text, "{line}").expect("a string takes all");
            }
        }
        offset += width;
    }
}

/// The bytes in words; a line has one or a few of them.
pub(crate) fn hex_lines(bytes: &[u8]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in hex_words(bytes) {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            *line = word;
        } else if line.len() + 1 + word.len() <= 2 * WORD_BYTES_MAX {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

fn hex_words(bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut open = String::new();
    for run in bytes.chunk_by(|one, next| one == next) {
        if run.len() > RUN_BYTES_MIN {
            words.extend(Some(std::mem::take(&mut open)).filter(|word| !word.is_empty()));
            words.push(format!("{:02x}*{}", run[0], run.len()));
            continue;
        }
        for byte in run {
            if open.len() == 2 * WORD_BYTES_MAX {
                words.push(std::mem::take(&mut open));
            }
            write!(open, "{byte:02x}").expect("a string takes all");
        }
    }
    words.extend(Some(open).filter(|word| !word.is_empty()));
    words
}
