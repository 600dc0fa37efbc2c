//! The clock of a live run: microseconds, the same for all threads.
//!
//! Invariant: it never goes back.

use std::time::{Duration, Instant, SystemTime};

use monitor_core::units::{Micros, Tick};

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// What it showed then.
    began: Tick,
}

/// From the beginning of the TOD clock, 1900, to that of the system's, 1970.
const TOD_BEFORE_UNIX: Duration = Duration::from_secs(2_208_988_800);

impl Clock {
    /// A clock that shows 1 s now, so that nothing happens at moment zero.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now(), began: Tick::new(1_000_000) }
    }

    /// A clock that shows what a TOD clock does, in microseconds since 1900, so that server units
    /// in several processes have the same time.
    #[must_use]
    pub fn of_day() -> Self {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default() + TOD_BEFORE_UNIX;
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        Self { origin: Instant::now(), began: Tick::new(micros) }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Tick {
        let since = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.began.after(Micros::new(since))
    }

    /// How long it is until `moment`; zero when it has passed.
    #[must_use]
    pub fn until(&self, moment: Tick) -> Duration {
        Duration::from_micros(moment.since(self.now()).get())
    }
}

/// A number that no other run has had: nanoseconds of the time of day, as a TOD stamp would be.
#[must_use]
pub(super) fn unique_stamp() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
