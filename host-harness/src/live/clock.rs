//! The clock of a live run: microseconds since its start, the same for all threads.
//!
//! Invariant: it never goes back.

use std::time::{Duration, Instant, SystemTime};

use monitor_core::units::Tick;

/// A monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that shows 1 s now, so that nothing happens at moment zero.
    #[must_use]
    pub fn start() -> Self {
        let now = Instant::now();
        Self { origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick::new(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
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
