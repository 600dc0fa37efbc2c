//! Questions to the cluster directory and its answers, byte by byte: golden packets against the
//! core, and PROTOCOL.md against both.
//!
//! Source of truth: PROTOCOL.md, "Directory", and the files in `tests/golden/directory`. With
//! `OVERWRITE=1` in the environment the files and the examples of PROTOCOL.md are written anew;
//! what changes in them then is a change of the protocol. Invariant: each operation and each
//! answer has a golden file. Deliberately not here: what is refused, which the core tests.

#[path = "../golden/render.rs"]
mod render;

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use monitor_core::{
    vm::DirectoryAnswer,
    wire::{ANSWER_BYTES, ANSWER_MAGIC, DirectoryOperation, QUESTION_BYTES, QUESTION_MAGIC},
};
use portable_tests::directory::{self, questions, replies};
use render::{hex_lines, render_fields};

/// Lines between which PROTOCOL.md has the golden packets.
const EXAMPLES_BEGIN: &str = "<!-- directory examples: written by the test directory_golden -->\n";
const EXAMPLES_END: &str = "<!-- end of the directory examples -->\n";

/// The width of a field in bytes, and what it is.
type Field = (usize, &'static str);

const RECORD: [Field; 3] = [(1, "standing"), (8, "epoch"), (1 + 64, "owner")];
const NO_RECORD: [Field; 1] = [(74, "no record")];

/// A golden packet.
struct Packet {
    name: &'static str,
    bytes: Vec<u8>,
    layout: Vec<Field>,
}

fn packets() -> Vec<Packet> {
    let questions = questions().into_iter().map(|(name, question)| {
        let head = [(4, "magic: VMDQ"), (2, "version"), (2, "operation")];
        let rest = [(8, "number"), (1 + 8, "name of the VM")];
        let records = match question.operation {
            DirectoryOperation::Read => [NO_RECORD, NO_RECORD].concat(),
            DirectoryOperation::CompareAndSet { .. } => [RECORD, RECORD].concat(),
        };
        let layout = [&head[..], &rest, &records, &[(4, "check value")]].concat();
        Packet { name, bytes: question.emit().to_vec(), layout }
    });
    let replies = replies().into_iter().map(|(name, reply)| {
        let head = [(4, "magic: VMDA"), (2, "version"), (2, "answer"), (8, "number")];
        let record = match reply.answer {
            DirectoryAnswer::Record(_) | DirectoryAnswer::Lost(_) => RECORD.to_vec(),
            DirectoryAnswer::Won | DirectoryAnswer::Missing | DirectoryAnswer::Unreachable => {
                NO_RECORD.to_vec()
            }
        };
        let layout = [&head[..], &record, &[(4, "check value")]].concat();
        Packet { name, bytes: reply.emit().to_vec(), layout }
    });
    questions.chain(replies).collect()
}

fn render(packet: &Packet) -> String {
    let mut text = format!("# {}\n", packet.name);
    render_fields(&mut text, &packet.bytes, &packet.layout);
    text
}

fn path_of(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/directory");
    folder.join(format!("{name}.hex"))
}

fn examples() -> String {
    let mut text = String::new();
    for packet in packets() {
        write!(text, "\n### Example {}\n\n```text\n{}```\n", packet.name, render(&packet))
            .expect("a string takes all");
    }
    text.push('\n');
    text
}

#[test]
fn golden_packets_are_those_of_the_core_and_of_the_protocol() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    let text = fs::read_to_string(&path).expect("PROTOCOL.md is readable");
    let (before, rest) = text.split_once(EXAMPLES_BEGIN).expect("the examples begin");
    let (between, after) = rest.split_once(EXAMPLES_END).expect("the examples end");
    if env::var_os("OVERWRITE").is_some() {
        for packet in packets() {
            fs::write(path_of(packet.name), render(&packet)).expect("a golden file is writable");
        }
        let whole = [before, EXAMPLES_BEGIN, &examples(), EXAMPLES_END, after].concat();
        fs::write(&path, whole).expect("PROTOCOL.md is writable");
        return;
    }
    for packet in packets() {
        let file = path_of(packet.name);
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, render(&packet), "{}", file.display());
    }
    assert_eq!(between, examples());
}

#[test]
fn golden_packets_decode_to_their_value() {
    let (count, _) = directory::check();
    assert_eq!(count, packets().len(), "every packet is checked");
}

#[test]
fn protocol_states_the_lengths_and_marks_of_the_library() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../PROTOCOL.md");
    let text = fs::read_to_string(path).expect("PROTOCOL.md is readable");
    for (title, bytes, magic) in
        [("QUESTION", QUESTION_BYTES, QUESTION_MAGIC), ("ANSWER", ANSWER_BYTES, ANSWER_MAGIC)]
    {
        let name = String::from_utf8(magic.to_be_bytes().to_vec()).expect("the magic is ASCII");
        let row = format!("| 0 | 4 | Magic | 0x{magic:08X}, `{name}` in ASCII |");
        assert!(text.contains(&row), "{row}");
        assert!(text.contains(&format!("### {title}\n\n{bytes} bytes.\n")), "{title}");
    }
    assert_eq!(hex_lines(&[0; 74]), ["00*74"]);
}
