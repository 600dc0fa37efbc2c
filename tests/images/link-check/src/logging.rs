//! Loggers into a sink that the optimizer cannot see through.
//!
//! Source of truth: the traits of `log` and `defmt`. Deliberately not here: any output.

use core::hint::black_box;

#[cfg(feature = "log")]
mod front {
    use core::fmt::{self, Write};

    use super::black_box;

    struct Sink;

    impl Write for Sink {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            black_box(text);
            black_box(Ok(()))
        }
    }

    pub(super) struct Logger;

    impl log::Log for Logger {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            black_box(metadata);
            black_box(true)
        }

        fn log(&self, record: &log::Record<'_>) {
            black_box(write!(Sink, "{} {}", record.level(), record.args()).is_ok());
        }

        fn flush(&self) {}
    }
}

#[cfg(feature = "defmt")]
mod back {
    use super::black_box;

    #[defmt::global_logger]
    struct Logger;

    // SAFETY: nothing is shared; the bytes go nowhere.
    unsafe impl defmt::Logger for Logger {
        fn acquire() {}
        unsafe fn flush() {}
        unsafe fn release() {}
        unsafe fn write(bytes: &[u8]) {
            black_box(bytes);
        }
    }
}

pub(crate) fn start() {
    #[cfg(feature = "log")]
    {
        static LOGGER: front::Logger = front::Logger;
        black_box(log::set_logger(&LOGGER).is_ok());
        log::set_max_level(black_box(log::LevelFilter::Trace));
    }
}
