//! QEMU's human monitor, which tells of a machine that says nothing itself.
//!
//! Source of truth: QEMU's documentation, "QEMU Monitor". Invariant: a question is bounded in time.
//! Deliberately not here: what is asked; `rig` and `decode` share this file.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How long the monitor may be silent.
const SILENCE: Duration = Duration::from_secs(2);

/// What ends each answer.
const PROMPT: &[u8] = b"(qemu) ";

/// A conversation with the monitor of a machine.
#[derive(Debug)]
pub(crate) struct Human(UnixStream);

impl Human {
    /// Begins one at this socket.
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut human = Self(stream);
        human.answer()?;
        Ok(human)
    }

    /// Gives a command, and its answer.
    pub(crate) fn ask(&mut self, command: &str) -> io::Result<String> {
        self.0.write_all(command.as_bytes())?;
        self.0.write_all(b"\n")?;
        // The first line is the command's echo.
        let said = self.answer()?;
        Ok(said.split_once('\n').map_or(String::new(), |(_, rest)| rest.replace('\r', "")))
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut said = Vec::new();
        let mut bytes = [0; 4096];
        while !said.ends_with(PROMPT) {
            match self.0.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => said.extend_from_slice(bytes.get(..count).unwrap_or(&[])),
            }
        }
        said.truncate(said.len() - PROMPT.len());
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}
