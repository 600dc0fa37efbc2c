//! The three consoles as files, one for each.
//!
//! Source of truth: the transcripts of the documented example: `source-su.txt`, `target-su.txt`
//! and `guest.txt`, each line `hhmmss text`. Invariant: a line is in the file when the next one
//! is written, so that a killed run leaves what it had. Deliberately not here: labels and color.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use super::{ConsoleLine, ConsoleName};

/// The open files.
#[derive(Debug)]
pub struct Transcripts {
    files: [File; 3],
    error: Option<io::Error>,
}

impl Transcripts {
    /// Creates the directory and the files in it.
    ///
    /// # Errors
    /// Fails as the file system does.
    pub fn create(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let [source, target, guest] =
            ConsoleName::ALL.map(|console| File::create(directory.join(file_name(console))));
        Ok(Self { files: [source?, target?, guest?], error: None })
    }

    /// Writes a line. The first failure is kept for [`Transcripts::finish`].
    pub fn line(&mut self, line: &ConsoleLine) {
        let [source, target, guest] = &mut self.files;
        let file = match line.console {
            ConsoleName::Source => source,
            ConsoleName::Target => target,
            ConsoleName::Guest => guest,
        };
        let written = file.write_all(format!("{} {}\n", line.stamp, line.text).as_bytes());
        self.error = self.error.take().or(written.err());
    }

    /// Ends writing.
    ///
    /// # Errors
    /// Gives the first failure of a write.
    pub fn finish(self) -> io::Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

/// The file of a console.
const fn file_name(console: ConsoleName) -> &'static str {
    match console {
        ConsoleName::Source => "source-su.txt",
        ConsoleName::Target => "target-su.txt",
        ConsoleName::Guest => "guest.txt",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Stamp, *};

    #[test]
    fn each_console_has_its_file_with_stamp_and_text() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("new").join("out");
        let mut transcripts = Transcripts::create(&out).unwrap();
        for (console, second, text) in [
            (ConsoleName::Source, 419, "MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=ABGSE701"),
            (ConsoleName::Target, 421, "% VMS3050 VIRTUAL MACHINE (12,VM12PROD) CREATED"),
            (ConsoleName::Guest, 443, "% BCA07DC LINE \"L#MANLO1\" active"),
            (ConsoleName::Source, 443, "% VMS4024 VIRTUAL MACHINE (12,VM12PROD) TERMINATED"),
        ] {
            let stamp = Stamp::from_seconds(second);
            transcripts.line(&ConsoleLine { console, stamp, text: text.to_owned() });
        }
        transcripts.finish().unwrap();
        let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(
            read("source-su.txt"),
            "000659 MIGRATE-VM VM-ID=12,SERVER-UNIT-NAME=ABGSE701\n\
             000723 % VMS4024 VIRTUAL MACHINE (12,VM12PROD) TERMINATED\n"
        );
        assert_eq!(
            read("target-su.txt"),
            "000701 % VMS3050 VIRTUAL MACHINE (12,VM12PROD) CREATED\n"
        );
        assert_eq!(read("guest.txt"), "000723 % BCA07DC LINE \"L#MANLO1\" active\n");
    }

    #[test]
    fn directory_that_cannot_be_made_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Transcripts::create(&file).is_err());
    }
}
