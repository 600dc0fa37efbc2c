//! The cluster directory of a case: a process `su390 directory serve` that connects to the serial
//! ports of the machines, and a file with the records.
//!
//! Source of truth: the help of `su390 directory serve`. Invariant: the process ends with the value
//! that stands for it. Deliberately not here: what the machines ask.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use host_harness::{cluster::DirectoryFile, live::Mishap};
use monitor_core::{
    units::{SuName, VmName},
    vm::Ownership,
};

use crate::{
    failure::{Failure, Result, ensure},
    image,
};

/// The records, served.
#[derive(Debug)]
pub(crate) struct Directory {
    process: Child,
    vm: VmName,
    file: PathBuf,
    said: PathBuf,
}

impl Directory {
    /// The file of a directory in this folder.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join("cluster.db")
    }

    /// Serves the record of a VM, which is the owner's at first, to machines at these sockets; they
    /// need not be there yet.
    pub(crate) fn serve(
        folder: &Path,
        (vm, owner): (VmName, SuName),
        sockets: &[PathBuf],
        mishaps: &[Mishap],
    ) -> Result<Self> {
        let file = Self::file(folder);
        let begun = DirectoryFile::open_or_create(&file).and_then(|mut it| it.begin(vm, owner));
        begun.map_err(|error| Failure::new(format!("the directory: {error}")))?;
        let said = folder.join("directory.said");
        let failed = |path: &Path, error| Failure::of_io("cannot write", path, &error);
        let output = File::create(&said).map_err(|error| failed(&said, error))?;
        let complaints = output.try_clone().map_err(|error| failed(&said, error))?;
        let program = image::harness()?;
        let mut command = Command::new(&program);
        command.args(["directory", "serve", "--directory"]).arg(&file);
        for socket in sockets {
            command.arg("--connect").arg(socket);
        }
        for mishap in mishaps {
            command.args(arguments(*mishap));
        }
        command.stdin(Stdio::null()).stdout(output).stderr(complaints);
        let process = command.spawn();
        let process = process.map_err(|error| Failure::of_io("cannot start", &program, &error))?;
        Ok(Self { process, vm, file, said })
    }

    /// The record.
    pub(crate) fn record(&self) -> Result<Ownership> {
        let record = DirectoryFile::open(&self.file).and_then(|file| file.read(self.vm));
        let record = record.map_err(|error| Failure::new(error.to_string()))?;
        record.ok_or_else(|| Failure::new("the record is gone"))
    }

    /// Fails unless the process has served each of so many machines and serves them still.
    pub(crate) fn check_serves(&mut self, machines: usize) -> Result<()> {
        let lives = matches!(self.process.try_wait(), Ok(None));
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        let connected = said.lines().filter(|line| line.ends_with(": connected")).count();
        ensure(lives && connected >= machines, || {
            format!("the directory does not serve {machines} machines\n{}", self.shown())
        })
    }

    /// What was asked and answered, for failures.
    pub(crate) fn shown(&self) -> String {
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        format!("-- su390 directory serve:\n{said}")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A process that has ended cannot be killed, which is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The options by which this befalls an answer.
fn arguments(mishap: Mishap) -> [String; 2] {
    match mishap {
        Mishap::Dropped(number) => ["--drop-answer".to_owned(), number.to_string()],
        Mishap::Late(number, time) => {
            ["--delay-answer".to_owned(), format!("{number}:{}ms", time.as_millis())]
        }
    }
}
