//! The wire format, byte by byte: golden frames against the core, and PROTOCOL.md against both.
//!
//! Source of truth: PROTOCOL.md and the files in `tests/golden`. With `OVERWRITE=1` in the
//! environment the golden files and the examples of PROTOCOL.md are written anew; what changes in
//! them then is a change of the protocol. Invariants: each type has a golden file, and each file
//! is a whole frame. Deliberately not here: what is refused, which `wire_garbage` has.

#[path = "../golden/render.rs"]
mod render;

use std::{
    env,
    fmt::{Debug, Write},
    fs,
    path::{Path, PathBuf},
    sync::Once,
};

use monitor_core::{
    limits::{
        BODY_BYTES_MAX, CONTROL_BYTES_MAX, DEVICES_MAX, FINDINGS_MAX, FRAME_BYTES_MAX,
        GUEST_PAGES_MAX, HEADER_BYTES, MACHINE_BYTES_MAX, PASSES_MAX, PROCESSOR_BYTES_MAX,
        PROCESSORS_MAX, SUBCHANNEL_BYTES_MAX, VM_INDEX_MAX,
    },
    vm::{Activity, Obstacle, Reason},
    wire::{Fault, MAGIC},
};
use portable_tests::{
    codec::{decode, header, parse_hex, seal, types},
    samples::{Layout, Sample, samples},
};
use render::{hex_lines, render_fields};

/// Lines between which PROTOCOL.md has the golden frames.
const EXAMPLES_BEGIN: &str = "<!-- examples: written by the test wire_golden -->\n";
const EXAMPLES_END: &str = "<!-- end of the examples -->\n";

/// The golden file of the type of this name.
fn golden_path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden");
    folder.join(format!("{}.hex", name.to_lowercase()))
}

/// The bytes of the golden frame of the type of this name, as the file has them now.
fn golden(name: &str) -> Vec<u8> {
    let path = golden_path(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; OVERWRITE=1 writes the golden files", path.display())
    });
    parse_hex(&text)
}

fn protocol_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md")
}

/// PROTOCOL.md, written anew first if that is asked for.
fn protocol() -> String {
    overwrite_once();
    fs::read_to_string(protocol_path()).expect("PROTOCOL.md is readable")
}

/// Writes the golden files and the examples of PROTOCOL.md, if that is asked for and not done.
fn overwrite_once() {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        if env::var_os("OVERWRITE").is_none() {
            return;
        }
        for (name, sample) in named_samples() {
            let text = render(&name, &sample);
            fs::write(golden_path(&name), text).expect("a golden file is writable");
        }
        let text = fs::read_to_string(protocol_path()).expect("PROTOCOL.md is readable");
        let (before, _, after) = split_protocol(&text);
        let whole = [before, EXAMPLES_BEGIN, &examples(), EXAMPLES_END, after].concat();
        fs::write(protocol_path(), whole).expect("PROTOCOL.md is writable");
    });
}

/// Each golden type with its sample.
fn named_samples() -> Vec<(String, Sample)> {
    let types = types();
    let samples = samples();
    assert_eq!(samples.len(), types.len(), "each type has one sample");
    for ((code, name), sample) in types.iter().zip(&samples) {
        assert_eq!(sample.content.type_code(), *code, "the sample of {name} is of its type");
    }
    types.into_iter().map(|(_, name)| name).zip(samples).collect()
}

fn header_layout() -> Layout {
    vec![
        (4, "magic: VMLM"),
        (2, "version"),
        (2, "type"),
        (2, "flags"),
        (2, "reserved"),
        (4, "length of the body"),
        (8, "stream"),
        (8, "epoch"),
        (8, "sequence"),
        (4, "check value of the body"),
        (4, "check value of the header"),
    ]
}

/// The golden file of a sample: its bytes, field by field, each with its offset and its name.
fn render(name: &str, sample: &Sample) -> String {
    let body = sample.content.body();
    let code = sample.content.type_code();
    let head = header(code, sample.sequence, &body).emit();
    let mut text = format!("# {name}: header\n");
    render_fields(&mut text, &head, &header_layout());
    if !body.is_empty() {
        text.push_str("# body\n");
        render_fields(&mut text, &body, &sample.layout);
    }
    text
}

/// The examples of PROTOCOL.md.
fn examples() -> String {
    let mut text = String::new();
    for (name, sample) in named_samples() {
        let code = sample.content.type_code();
        let file = render(&name, &sample);
        write!(text, "\n### Example {name} (0x{code:04X})\n\n```text\n{file}```\n")
            .expect("a string takes all");
    }
    text.push('\n');
    text
}

/// What stands before the examples, the examples, and what stands behind them.
fn split_protocol(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_once(EXAMPLES_BEGIN).expect("the examples begin");
    let (between, after) = rest.split_once(EXAMPLES_END).expect("the examples end");
    (before, between, after)
}

#[test]
fn golden_files_are_the_samples_field_by_field() {
    overwrite_once();
    for (name, sample) in named_samples() {
        let text = render(&name, &sample);
        let path = golden_path(&name);
        let file = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(file, text, "{}", path.display());
    }
}

#[test]
fn each_value_encodes_to_its_golden_bytes() {
    overwrite_once();
    for (name, sample) in named_samples() {
        let body = sample.content.body();
        let frame = seal(sample.content.type_code(), sample.sequence, &body);
        assert_eq!(frame, golden(&name), "{name}");
    }
}

#[test]
fn golden_bytes_decode_to_their_value() {
    overwrite_once();
    for (name, sample) in named_samples() {
        let bytes = golden(&name);
        let (header, content) = decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(content, sample.content, "{name}");
        assert_eq!(header.sequence.get(), sample.sequence, "{name}");
        assert_eq!(header.type_code, sample.content.type_code(), "{name}");
        assert_eq!(HEADER_BYTES + header.body_bytes(), bytes.len(), "{name}");
    }
}

#[test]
fn golden_folder_holds_one_file_a_type_and_nothing_else() {
    overwrite_once();
    let folder = golden_path("x");
    let folder = folder.parent().expect("the files lie in a folder");
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .collect();
    let mut expected: Vec<PathBuf> = types().iter().map(|(_, name)| golden_path(name)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn examples_of_the_protocol_are_the_golden_files() {
    let text = protocol();
    let (_, between, _) = split_protocol(&text);
    let examples = examples();
    for (line, (found, expected)) in (1..).zip(between.lines().zip(examples.lines())) {
        assert_eq!(found, expected, "line {line} of the examples");
    }
    assert_eq!(between, examples);
}

#[test]
fn protocol_has_a_row_for_every_type_reason_and_obstacle() {
    let text = protocol();
    let has_row = |code: String, name: &dyn Debug| {
        let row = format!("| {code} |");
        assert!(text.lines().any(|line| line.starts_with(&row)), "row `{row}` for {name:?}");
    };
    for (code, name) in types() {
        has_row(format!("0x{code:04X} | {name}"), &name);
    }
    for reason in Reason::ALL {
        has_row(format!("{} | {}", reason.code(), reason), &reason);
    }
    for obstacle in Obstacle::ALL {
        has_row(obstacle.code().to_string(), &obstacle);
    }
    for activity in Activity::ALL {
        has_row(format!("{} | {}", activity.code(), activity.text()), &activity);
    }
}

#[test]
fn protocol_states_the_limits_of_the_library() {
    let text = protocol();
    assert_eq!(MAGIC.to_be_bytes(), *b"VMLM");
    let bytes = |count: usize| with_commas(u64::try_from(count).expect("a limit fits"));
    for line in [
        format!("| 12 | 4 | Length | bytes of the body, at most {} |", bytes(BODY_BYTES_MAX)),
        format!("| pages of a VM | 1 to {} |", with_commas(GUEST_PAGES_MAX)),
        format!("| groups | 0 to {} |", with_commas(GUEST_PAGES_MAX / 64 - 1)),
        format!("| processors of a VM | 1 to {PROCESSORS_MAX} |"),
        format!("| devices of a VM | 0 to {} |", with_commas(DEVICES_MAX.into())),
        format!("| VM index | 1 to {VM_INDEX_MAX} |"),
        format!("| findings listed | {FINDINGS_MAX} |"),
        format!("| passes | {PASSES_MAX} |"),
        format!("| processor image | {} bytes |", bytes(PROCESSOR_BYTES_MAX)),
        format!("| machine image | {} bytes |", bytes(MACHINE_BYTES_MAX)),
        format!("| subchannel image | {} bytes |", bytes(SUBCHANNEL_BYTES_MAX)),
        format!("the greatest is {}, one with 64. Other", bytes(FRAME_BYTES_MAX)),
        format!("frames have bodies of at most {} bytes", bytes(CONTROL_BYTES_MAX)),
    ] {
        assert!(text.contains(&line), "{line}");
    }
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| str::from_utf8(group).expect("digits are ASCII"))
        .collect();
    groups.join(",")
}

#[test]
fn hex_of_repeated_bytes_is_short_and_of_others_is_whole() {
    assert_eq!(hex_lines(&[0; 4096]), ["00*4096"]);
    assert_eq!(hex_lines(&[1, 2, 2, 2]), ["01020202"]);
    let mixed: Vec<u8> = [vec![7; 9], (0..20).collect()].concat();
    assert_eq!(hex_lines(&mixed), ["07*9", "000102030405060708090a0b0c0d0e0f", "10111213"]);
    assert!(decode(&mixed).is_err_and(|error| error.fault == Fault::Truncated));
}
