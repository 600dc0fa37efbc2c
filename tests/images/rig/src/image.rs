//! The images that are run, and the programs that run beside them: QEMU and `su390`.
//!
//! Source of truth: `tests/images/build-su390`. Invariants: each flavor of the image is built once
//! and kept under a name of its own; what is missing is said in one line. Deliberately not here:
//! how an image is built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::{
    failure::{Failure, Result, ensure},
    machine::QEMU,
};

/// The oldest QEMU whose machine has all that the image needs.
const QEMU_MIN: (u32, u32) = (7, 2);

/// The file of the monitor as it is delivered.
const MONITOR: &str = "su390";

/// The images of a run.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
    /// Held while one is built, since the builds share their folder.
    building: Mutex<()>,
}

impl Images {
    /// Images that are kept in this folder. One that is given is taken in place of the monitor as
    /// it is delivered; a build of another flavor may write to where it lies.
    pub(crate) fn new(folder: &Path, given: Option<&Path>) -> Result<Self> {
        if let Some(image) = given {
            fs::copy(image, folder.join(MONITOR))
                .map_err(|error| Failure::of_io("cannot copy", image, &error))?;
        }
        Ok(Self { folder: folder.to_owned(), building: Mutex::new(()) })
    }

    /// The monitor as it is delivered.
    pub(crate) fn monitor(&self) -> Result<PathBuf> {
        self.build(MONITOR, &[])
    }

    /// The monitor that does not note what it writes into the guest's storage itself.
    pub(crate) fn forgetful(&self) -> Result<PathBuf> {
        self.build("su390-forgetful", &["--features", "forget-own-stores"])
    }

    /// The monitor with the tests that every image and the host run.
    pub(crate) fn portable(&self) -> Result<PathBuf> {
        self.build("su390-portable", &["--features", "portable"])
    }

    fn build(&self, name: &str, arguments: &[&str]) -> Result<PathBuf> {
        let _building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.folder.join(name);
        if kept.exists() {
            return Ok(kept);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build-su390");
        let built = Command::new(&script)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::of_io("cannot run", &script, &error))?;
        let said = String::from_utf8_lossy(&built.stderr);
        ensure(built.status.success(), || format!("the image cannot be built\n{said}"))?;
        let told = String::from_utf8_lossy(&built.stdout);
        let path = Path::new(told.lines().last().unwrap_or_default());
        fs::copy(path, &kept).map_err(|error| Failure::of_io("cannot copy", path, &error))?;
        Ok(kept)
    }
}

/// The program of the harness, built once.
pub(crate) fn harness() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "-p", "host-harness"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let done = cargo.current_dir(root).status().map_err(|error| error.to_string())?;
        let program = own.with_file_name("su390");
        if done.success() { Ok(program) } else { Err("su390 cannot be built".to_owned()) }
    });
    built.clone().map_err(Failure::new)
}

/// Holds the QEMU of this machine against what is needed.
pub(crate) fn check_qemu() -> Result<()> {
    let told = Command::new(QEMU).arg("--version").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    judge_qemu(told.ok().as_deref()).map_err(Failure::new)
}

fn judge_qemu(told: Option<&str>) -> std::result::Result<(), String> {
    let (major, minor) = QEMU_MIN;
    let install =
        format!("{QEMU} {major}.{minor} or later is needed; apt-get install qemu-system-misc");
    let told = told.ok_or_else(|| install.clone())?;
    match version(told) {
        Some(found) if found >= QEMU_MIN => Ok(()),
        Some((major, minor)) => Err(format!("{install}; this one is {major}.{minor}")),
        None => Err(format!("{install}; this one says '{}'", told.trim())),
    }
}

/// Reads "QEMU emulator version 7.2.22 (...)".
fn version(told: &str) -> Option<(u32, u32)> {
    let mut numbers = told.split("version ").nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::judge_qemu;

    #[test]
    fn qemu_is_judged_by_its_version() {
        assert_eq!(judge_qemu(Some("QEMU emulator version 7.2.22 (Debian 1:7.2)\n")), Ok(()));
        assert_eq!(judge_qemu(Some("QEMU emulator version 10.0.2\n")), Ok(()));
        let needed = "qemu-system-s390x 7.2 or later is needed; apt-get install qemu-system-misc";
        assert_eq!(judge_qemu(None), Err(needed.to_owned()));
        let old = judge_qemu(Some("QEMU emulator version 6.1.0\n"));
        assert_eq!(old, Err(format!("{needed}; this one is 6.1")));
        let strange = judge_qemu(Some("what?"));
        assert_eq!(strange, Err(format!("{needed}; this one says 'what?'")));
    }
}
