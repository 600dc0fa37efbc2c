//! The bare image: building it, telling it the seeds, and what a loader needs of it.
//!
//! Source of truth: `tests/images/cargo`; ELF. Invariant: the file that the build has written stays
//! as it is. Deliberately not here: what the image does.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use object::{Object, ObjectSegment};

use crate::{
    bounded,
    failure::{Failure, Result},
};

const TARGET: &str = "s390x-unknown-none-softfloat";
/// The library `core` is built too, the first time.
const BUILT_WITHIN: Duration = Duration::from_secs(600);
/// Behind these bytes the image looks for the first seed and the one behind the last.
const MARK: &[u8] = b"seeds, from..to:";

/// An image that can be run.
#[derive(Debug)]
pub(crate) struct Image {
    /// The ELF file.
    pub(crate) path: PathBuf,
    /// Where it begins.
    pub(crate) entry: u64,
    /// Files with what lies in storage, and where.
    pub(crate) parts: Vec<(PathBuf, u64)>,
}

/// Builds the image, and keeps a copy in the folder that runs the sequences of these seeds, or the
/// fixed ones when there are none.
pub(crate) fn build(folder: &Path, seeds: &Range<u64>) -> Result<Image> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut cargo = Command::new(images.join("cargo"));
    cargo.arg(TARGET).arg(images.join("channel-oracle"));
    cargo.args(["build", "--quiet", "--locked", "--release"]);
    let said = bounded::run(&mut cargo, &folder.join("build.log"), BUILT_WITHIN)?;
    let built = built_folder().join(TARGET).join("release/channel-oracle");
    let mut bytes = fs::read(&built).map_err(|error| {
        Failure::new(format!("the image cannot be built ({}): {error}\n{said}", built.display()))
    })?;
    write_seeds(&mut bytes, seeds)?;
    let path = folder.join("image");
    save(&path, &bytes)?;
    let file = object::File::parse(&*bytes)
        .map_err(|error| Failure::new(format!("the image is no ELF file: {error}")))?;
    let mut parts = Vec::new();
    for segment in file.segments() {
        let data = segment
            .data()
            .map_err(|error| Failure::new(format!("the image is damaged: {error}")))?;
        if !data.is_empty() {
            let part = folder.join(format!("part-{}", parts.len()));
            save(&part, data)?;
            parts.push((part, segment.address()));
        }
    }
    Ok(Image { path, entry: file.entry(), parts })
}

/// Where images are built.
fn built_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("images")
}

fn write_seeds(bytes: &mut [u8], seeds: &Range<u64>) -> Result<()> {
    let missing = || Failure::new("the image has no place for seeds");
    let at = bytes.windows(MARK.len()).position(|window| window == MARK).ok_or_else(missing)?;
    let place = bytes.get_mut(at + MARK.len()..).and_then(|rest| rest.get_mut(..16));
    let value = [seeds.start.to_be_bytes(), seeds.end.to_be_bytes()].concat();
    place.ok_or_else(missing)?.copy_from_slice(&value);
    Ok(())
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)
        .map_err(|error| Failure::of_io("write", &path.display().to_string(), &error))
}
