//! Copies the bitmap's source: once as it is, and once with each of the faults that the tests
//! expect to be found. The bitmap's own tests stay behind, since they know nothing of loom.
//!
//! Source of truth: the bitmap and the table [`VARIANTS`]. Invariant: each text to replace occurs
//! exactly once, or the build fails; so a fault stays the one that its name says when the bitmap
//! changes. Deliberately not here: faults of those who call the bitmap, which are in the
//! scenarios.

use std::{env, fmt::Write, fs, path::Path};

const SOURCE: &str = "../../monitor-core/src/memory/bitmap.rs";

/// The name of a variant, what it is, and texts with what replaces them.
type Variant = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const VARIANTS: [Variant; 14] = [
    ("sound", "The bitmap as monitor-core has it.", &[]),
    (
        "relaxed_mark",
        "A mark does not release the store that came before it.",
        &[(
            "} else {\n                word.fetch_or(bits, Ordering::AcqRel)",
            "} else {\n                word.fetch_or(bits, Ordering::Relaxed)",
        )],
    ),
    (
        "relaxed_full_mark",
        "A mark of a whole word does not release the stores that came before it.",
        &[("word.swap(Word::MAX, Ordering::AcqRel)", "word.swap(Word::MAX, Ordering::Relaxed)")],
    ),
    (
        "stored_full_mark",
        "A mark of a whole word is a plain store, which hides the releases of earlier marks.",
        &[(
            "word.swap(Word::MAX, Ordering::AcqRel)",
            "{ let before = word.load(Ordering::Acquire); \
               word.store(Word::MAX, Ordering::Release); before }",
        )],
    ),
    (
        "relaxed_take",
        "A take does not acquire what the marks released.",
        &[("|word| word.swap(0, Ordering::AcqRel)", "|word| word.swap(0, Ordering::Relaxed)")],
    ),
    (
        "tested_mark",
        "A mark is left out when the bit is set already.",
        &[("if bits == 0 {", "if word.load(Ordering::Acquire) & bits == bits {")],
    ),
    (
        "listed_before_marked",
        "The middle bit is set before the leaf.",
        &[(
            "if self.mark_group(group, page_bit(page)) {\n            \
             self.list(group / WORD, bit(group));\n        }",
            "self.list(group / WORD, bit(group));\n        self.mark_group(group, page_bit(page));",
        )],
    ),
    (
        "relaxed_list",
        "Setting a middle bit does not release the leaf.",
        &[(
            "if word.fetch_or(bits, Ordering::AcqRel)",
            "if word.fetch_or(bits, Ordering::Relaxed)",
        )],
    ),
    (
        "relaxed_settle",
        "Clearing a middle word does not acquire the leaves.",
        &[(
            "cleared = word.swap(0, Ordering::AcqRel)",
            "cleared = word.swap(0, Ordering::Relaxed)",
        )],
    ),
    (
        "settled_after_look",
        "The middle word is cleared after the look at the leaves.",
        &[
            ("word.swap(0, Ordering::AcqRel);\n", "word.load(Ordering::Acquire);\n"),
            ("if again != 0 {", "word.swap(0, Ordering::AcqRel);\n        if again != 0 {"),
        ],
    ),
    (
        "settled_without_look",
        "The middle word is cleared without a look at the leaves.",
        &[("if self.group_bits(group) != 0 {\n                again", "if false {\n again")],
    ),
    (
        "relaxed_top",
        "Setting a top bit does not release the middle word.",
        &[(
            "top.fetch_or(bit(middle), Ordering::AcqRel)",
            "top.fetch_or(bit(middle), Ordering::Relaxed)",
        )],
    ),
    (
        "relaxed_top_settle",
        "Clearing a top bit does not acquire the middle word.",
        &[(
            "top.fetch_and(!bit(middle), Ordering::AcqRel)",
            "top.fetch_and(!bit(middle), Ordering::Relaxed)",
        )],
    ),
    (
        "top_without_look",
        "The top bit is cleared without a look at the middle word.",
        &[("if word.load(Ordering::Acquire) != 0 {", "if false {")],
    ),
];

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    // A feature of monitor-core, which its sources name.
    println!("cargo::rustc-check-cfg=cfg(feature, values(\"defmt\"))");
    let source = fs::read_to_string(SOURCE).expect("the bitmap's source is readable");
    let code = source.find("\nuse ").and_then(|head| source.get(head..));
    let (code, _tests) = code
        .and_then(|code| code.split_once("#[cfg(test)]"))
        .expect("the bitmap has imports after its head, and tests at its end");
    let mut variants = String::new();
    for (name, what, edits) in VARIANTS {
        let mut code = code.to_owned();
        for (text, replacement) in edits {
            assert_eq!(code.matches(text).count(), 1, "`{name}` replaces `{text}`");
            code = code.replace(text, replacement);
        }
        write!(variants, "/// {what}\npub mod {name} {{\n{code}\nvariant!();\n}}\n")
            .expect("a string takes what is written");
    }
    let folder = env::var_os("OUT_DIR").expect("Cargo says where to build");
    fs::write(Path::new(&folder).join("variants.rs"), variants).expect("the folder is writable");
}
