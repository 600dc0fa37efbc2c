//! Adds the linker script of `defmt`, which gives its strings a section.
//!
//! Source of truth: the book of `defmt`. Deliberately not here: the layout of the image, which
//! `tests/images/cargo` chooses.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
}
