//! The lines of the tests that bare images run as well, against what each image has to write.
//!
//! Source of truth: `tests/images/expected`, which the steps of `tests/run` hold against the
//! consoles of the images. Invariant: host and images write the same lines, so that a digest that
//! depends on the width or the byte order of a machine is found. Deliberately not here: running
//! an image.

use std::{fs, path::Path};

#[test]
fn each_image_that_runs_the_portable_tests_has_to_write_the_lines_of_the_host() {
    let mut lines = Vec::new();
    portable_tests::report(&mut |line| lines.push(line.to_owned()));
    assert!(!lines.is_empty(), "there are lines");
    for name in ["cortex-m.txt", "selftest-portable.txt"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/expected").join(name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut found = text.lines();
        for line in &lines {
            let has_line = found.any(|it| it.ends_with(line.as_str()));
            assert!(has_line, "{} has no line `{line}`, in this order", path.display());
        }
    }
}
