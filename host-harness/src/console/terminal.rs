//! The observer of a run at a terminal: console lines, progress, and transcript files.
//!
//! Source of truth: the screen of the documented example. Invariants: console lines go out in the
//! order in which they arrive; the progress shown is taken away before a line and put back after
//! it, on standard error alone and only when that is a terminal. A failure of the screen ends
//! nothing: the migration is worth more than its lines. Deliberately not here: what is said.

use std::{
    fmt,
    io::{self, Write},
};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    ConsoleLine, ConsoleName, Observer, Progress, Stamp, Transcripts,
    amount::{bytes, count, span_us},
};

/// Shows a run to people.
pub struct Terminal {
    out: Box<dyn Write>,
    bar: ProgressBar,
    transcripts: Option<Transcripts>,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Terminal").field("transcripts", &self.transcripts).finish()
    }
}

impl Terminal {
    /// Shows lines on `out`, which takes away color if it takes none, and keeps transcripts.
    #[must_use]
    pub fn new(out: Box<dyn Write>, transcripts: Option<Transcripts>) -> Self {
        let bar = ProgressBar::new(0);
        let template = "{prefix} [{bar:24}] {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { out, bar, transcripts }
    }

    /// Shows a sentence that belongs to no console.
    pub fn note(&mut self, text: &str) {
        let out = &mut self.out;
        self.bar.suspend(|| {
            let _closed = writeln!(out, "{text}\n");
        });
    }

    /// Takes the progress away and lets `write` add to the output.
    ///
    /// # Errors
    /// Fails as the output or the transcripts do.
    pub fn finish(
        mut self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.bar.finish_and_clear();
        write(&mut self.out)?;
        self.out.flush()?;
        self.transcripts.map_or(Ok(()), Transcripts::finish)
    }
}

impl Observer for Terminal {
    fn line(&mut self, line: &ConsoleLine) {
        if let Some(transcripts) = &mut self.transcripts {
            transcripts.line(line);
        }
        let (style, label) = (style(line.console), line.console.label());
        let (stamp, text) = (line.stamp, &line.text);
        let out = &mut self.out;
        self.bar.suspend(|| {
            let _closed = writeln!(out, "{style}{label:<6}  {stamp}{style:#} {text}");
            let _closed = out.flush();
        });
    }

    fn fault(&mut self, stamp: Stamp, text: &str) {
        let style = AnsiColor::Red.on_default().bold();
        let out = &mut self.out;
        self.bar.suspend(|| {
            let _closed = writeln!(out, "{style}fault   {stamp}{style:#} {text}");
        });
    }

    fn remark(&mut self, stamp: Stamp, text: &str) {
        let out = &mut self.out;
        self.bar.suspend(|| {
            let _closed = writeln!(out, "su      {stamp} {text}");
            let _closed = out.flush();
        });
    }

    fn progress(&mut self, progress: &Progress) {
        // Before the first pass nothing is left to be sent because nothing was begun.
        let begun = if progress.pass == 0 { 0 } else { progress.pages_total };
        let sent = begun.saturating_sub(progress.pages_left);
        self.bar.set_length(progress.pages_total.max(1));
        self.bar.set_position(sent);
        self.bar.set_prefix(progress.phase);
        self.bar.set_message(describe(progress));
    }
}

/// The color of a console's label.
const fn style(console: ConsoleName) -> Style {
    match console {
        ConsoleName::Source => AnsiColor::Cyan.on_default().bold(),
        ConsoleName::Target => AnsiColor::Green.on_default().bold(),
        ConsoleName::Guest => AnsiColor::Magenta.on_default().bold(),
    }
}

/// The progress in one line, the most important first, because a narrow terminal cuts it.
fn describe(progress: &Progress) -> String {
    let mut text = String::new();
    if progress.pass > 0 {
        let (pages, rate) = (count(progress.pages_left), bytes(progress.bytes_per_second));
        text = format!("pass {}, {pages} pages left, {rate}/s", progress.pass);
    }
    let Some(forecast) = progress.forecast else {
        return text;
    };
    if forecast.converges {
        let time = span_us(forecast.remaining_ms.saturating_mul(1000));
        let (least, most) = (span_us(forecast.blackout_min_us), span_us(forecast.blackout_max_us));
        text += &format!(", {time} to go, blackout {least} to {most}");
    } else {
        text += ", does not converge";
    }
    if !forecast.limited_by.is_empty() {
        text += &format!(" (limited by {})", forecast.limited_by);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::{
        super::{Forecast, Stamp},
        *,
    };

    /// An output that a test can look at while somebody else owns it.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(out: &Shared) -> String {
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    fn line(console: ConsoleName, text: &str) -> ConsoleLine {
        ConsoleLine { console, stamp: Stamp::from_seconds(420), text: text.to_owned() }
    }

    #[test]
    fn lines_keep_their_order_and_have_label_and_color() {
        let out = Shared::default();
        let mut terminal = Terminal::new(Box::new(out.clone()), None);
        for console in [ConsoleName::Source, ConsoleName::Guest, ConsoleName::Target] {
            terminal.line(&line(console, "% X"));
        }
        terminal.finish(|end| writeln!(end, "END")).unwrap();
        let colored = shown(&out);
        let plain = anstream::adapter::strip_str(&colored).to_string();
        assert_eq!(plain, "source  000700 % X\nguest   000700 % X\ntarget  000700 % X\nEND\n");
        let starts: Vec<&str> = colored.lines().take(3).map(|line| &line[..10]).collect();
        assert!(starts[0] != starts[1] && starts[1] != starts[2] && starts[0] != starts[2]);
    }

    #[test]
    fn closed_output_does_not_end_the_run() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut terminal = Terminal::new(Box::new(Closed), None);
        terminal.line(&line(ConsoleName::Source, "% X"));
        assert!(terminal.finish(|end| writeln!(end, "END")).is_err());
    }

    #[test]
    fn progress_names_pass_rate_and_forecast() {
        let forecast = Forecast {
            converges: true,
            remaining_ms: 3200,
            blackout_min_us: 12_000,
            blackout_max_us: 18_000,
            limited_by: "the link",
        };
        let mut progress = Progress {
            phase: "copying",
            pass: 2,
            pages_left: 12_345,
            pages_total: 262_144,
            bytes_per_second: 1 << 30,
            forecast: Some(forecast),
        };
        assert_eq!(
            describe(&progress),
            "pass 2, 12,345 pages left, 1 GiB/s, 3.2 s to go, blackout 12 ms to 18 ms \
             (limited by the link)"
        );
        progress.forecast = Some(Forecast { converges: false, limited_by: "", ..forecast });
        assert!(describe(&progress).ends_with(", does not converge"));
        progress.pass = 0;
        progress.forecast = None;
        assert_eq!(describe(&progress), "");
    }
}
