//! Linker arguments of the features: the script of `defmt`, which gives its strings a section, and
//! a definition of what must stay undefined, for the image that is asked where it may panic.
//!
//! Source of truth: the book of `defmt`, and `src/lib.rs`. Deliberately not here: the layout of the
//! image, which `tests/images/cargo` chooses.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    }
    if std::env::var_os("CARGO_FEATURE_SURVIVES").is_some() {
        println!("cargo:rustc-link-arg-bins=--defsym=monitor_core_may_panic=0");
    }
}
