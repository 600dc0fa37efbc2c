//! `tests/run` and `tests/images/cargo` where a tool is missing or too old: one line says what to
//! install, and the exit status is 2. And what a step says of itself.
//!
//! Source of truth: the head of `tests/run`. Invariants: the scripts see the programs of a folder
//! of the test alone, those that matter are fakes, and nothing is installed. Deliberately not here:
//! what the steps find out.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// Held while a program is written or a process begun, which otherwise has the file open as well
/// for a moment: what is open for writing cannot be run.
static WRITING: Mutex<()> = Mutex::new(());

/// What the scripts need of a system in any case.
const BASICS: [&str; 17] = [
    "bash", "cat", "chmod", "cksum", "cp", "cut", "dirname", "find", "grep", "mkdir", "mktemp",
    "rm", "sed", "sh", "tail", "tee", "xargs",
];

/// Where the source of the library is in a toolchain.
const LIBRARY: &str = "lib/rustlib/src/rust/library/core";

/// How a package is installed.
const INSTALL: &str = "apt-get install --yes --no-install-recommends";

/// A system of which the test decides which programs it has.
struct System {
    folder: PathBuf,
}

impl System {
    /// A system for the user with this number, with a toolchain that has no source of the library.
    fn new(name: &str, user: u32) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("steps").join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the folder of an earlier test can be removed");
        }
        for part in ["bin", "rust/lib/rustlib", "debian"] {
            fs::create_dir_all(folder.join(part)).expect("a folder can be made");
        }
        let system = Self { folder };
        for program in BASICS {
            symlink(found(program), system.program(program)).expect("a link can be made");
        }
        system.add("id", &format!("echo {user}"));
        system.add("rustc", &format!("echo {}", system.folder.join("rust").display()));
        for program in ["cargo", "rustfmt", "cc"] {
            system.add(program, "exit 0");
        }
        system
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// Adds a program that does this.
    fn add(&self, name: &str, script: &str) {
        let path = self.program(name);
        let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
    }

    /// Adds the source of the library.
    fn with_library(self) -> Self {
        let library = self.folder.join("rust").join(LIBRARY);
        fs::create_dir_all(&library).expect("a folder can be made");
        fs::write(library.join("Cargo.toml"), "").expect("a file can be written");
        self
    }

    /// Runs a script of the repository; gives its exit status and all that it says.
    fn run(&self, line: &str) -> (Option<i32>, String) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(self.program("bash"));
        command
            .args(line.split_whitespace())
            .current_dir(root)
            .env_clear()
            .env("PATH", self.folder.join("bin"))
            .env("TMPDIR", &self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("DEBIAN_PREFIX", self.folder.join("debian"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = {
            let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
            command.spawn().expect("bash starts")
        };
        let output = child.wait_with_output().expect("bash ends");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Fails unless a script ends with status 2 and says this in a line of its own.
    fn refuses(&self, script: &str, line: &str) {
        let (status, said) = self.run(script);
        assert_eq!(status, Some(2), "{said}");
        assert_eq!(said.lines().filter(|it| *it == line).count(), 1, "{line}\n{said}");
    }
}

/// Where a program of this machine is.
fn found(program: &str) -> PathBuf {
    let path = env::var_os("PATH").expect("there is a path");
    let mut places = env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| place.is_file()).expect("a basic program exists")
}

#[test]
fn missing_cargo_is_named_with_where_it_comes_from() {
    let system = System::new("cargo", 1000);
    fs::remove_file(system.program("cargo")).expect("the fake is there");
    let line = "tests/run: cargo is missing; install Rust with https://rustup.rs";
    system.refuses("tests/run fmt", line);
}

#[test]
fn missing_linker_is_named_with_its_package() {
    let system = System::new("linker", 1000).with_library();
    let missing = |program: &str, package: &str| {
        format!("tests/run: {program} is missing; install it: {INSTALL} {package}")
    };
    let line = missing("s390x-linux-gnu-ld", "binutils-s390x-linux-gnu");
    for step in ["link-check", "oracle", "qemu"] {
        system.refuses(&format!("tests/run {step}"), &line);
    }
    system.add("s390x-linux-gnu-ld", "exit 0");
    let line = missing("arm-none-eabi-ld", "binutils-arm-none-eabi");
    system.refuses("tests/run link-check", &line);
}

#[test]
fn missing_qemu_is_named_with_its_package() {
    let system = System::new("qemu", 1000).with_library();
    system.add("s390x-linux-gnu-ld", "exit 0");
    for (step, program, package) in [
        ("qemu", "qemu-system-s390x", "qemu-system-misc"),
        ("oracle", "qemu-system-s390x", "qemu-system-misc"),
        ("cortex-m", "qemu-system-arm", "qemu-system-arm"),
    ] {
        let line = format!("tests/run: {program} is missing; install it: {INSTALL} {package}");
        system.refuses(&format!("tests/run {step}"), &line);
    }
}

#[test]
fn old_qemu_is_refused() {
    let system = System::new("old-qemu", 1000).with_library();
    system.add("s390x-linux-gnu-ld", "exit 0");
    for (step, program, package) in [
        ("qemu", "qemu-system-s390x", "qemu-system-misc"),
        ("cortex-m", "qemu-system-arm", "qemu-system-arm"),
    ] {
        system.add(program, "echo 'QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11)'");
        let old = format!("tests/run: {program} is older than version 7;");
        let line = format!("{old} install a newer package {package}");
        system.refuses(&format!("tests/run {step}"), &line);
    }
}

#[test]
fn missing_source_of_the_library_is_named_with_its_package() {
    let system = System::new("library", 1000);
    let source = system.folder.join("debian").join(LIBRARY).join("Cargo.toml");
    let packages = "rustc-web cargo-web rust-web-src";
    let line =
        format!("tests/run: {} is missing; install it: {INSTALL} {packages}", source.display());
    system.refuses("tests/run link-check", &line);
    let line = format!(
        "tests/images/cargo: no library source; rustup component add rust-src, or apt-get install \
         --no-install-recommends {packages}"
    );
    let image = "tests/images/cargo s390x-unknown-none-softfloat tests/images/su390 build";
    system.refuses(image, &line);
}

#[test]
fn missing_tool_is_installed_for_root_which_is_said() {
    let system = System::new("root", 0);
    let compiler = system.program("cc");
    fs::remove_file(&compiler).expect("the fake is there");
    let place = compiler.display();
    let install = format!("[ $1 = update ] || {{ : >{place}; chmod +x {place}; }}");
    system.add("apt-get", &install);
    let (status, said) = system.run("tests/run fmt");
    assert_eq!(status, Some(0), "{said}");
    assert!(said.lines().any(|it| it == "tests/run: installs build-essential for cc"), "{said}");
}

#[test]
fn step_says_what_it_does_and_how_long_it_took() {
    let system = System::new("sentence", 1000);
    let (status, said) = system.run("tests/run fmt build");
    assert_eq!(status, Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.contains(&"== fmt: rustfmt has nothing to change"), "{said}");
    let took = |name: &str, line: &str| {
        let time = line.strip_prefix(&format!("== {name}: passed in "));
        time.and_then(|time| time.strip_suffix(" s")).is_some_and(|it| it.parse::<u32>().is_ok())
    };
    assert!(lines.iter().any(|line| took("fmt", line)), "{said}");
    let note = "note: no bare target is installed with this Rust;";
    assert!(lines.iter().any(|line| line.starts_with(note)), "{said}");
}

#[test]
fn step_that_fails_ends_with_status_1() {
    let system = System::new("failure", 1000);
    system.add("rustfmt", "exit 1");
    let (status, said) = system.run("tests/run fmt");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.ends_with("failed: fmt\n0 passed, 1 failed\n"), "{said}");
}
