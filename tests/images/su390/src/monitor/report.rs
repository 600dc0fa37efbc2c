//! Figures of a move, for people and for programs, behind a number sign.
//!
//! Source of truth: `monitor_core::migrate::Statistics`. Invariant: one line each. Deliberately
//! not here: how a move has ended, which the console's messages say.

use monitor_core::migrate::{Source, Statistics};

use super::console::say;
use crate::guest::Figures;

/// Tells the figures of a move, at the source.
pub(super) fn of_source(source: &Source, bytes: (u64, u64), tracking: Figures) {
    let Statistics { passes, bandwidth, blackout, predicted, reconnects, overruns, .. } =
        source.statistics();
    let (phase, mean) = (source.phase(), bandwidth.mean());
    let predicted_us = predicted.map_or(0, |it| it.get());
    let blackout_us = blackout.map_or(0, |it| it.get());
    say!(
        "# MOVE {phase:?} blackout_us={blackout_us} predicted_us={predicted_us} \
         bytes_sent={} bytes_received={} passes={} bytes_per_second={mean} \
         reconnects={reconnects} overruns={overruns}",
        bytes.0,
        bytes.1,
        passes.len()
    );
    for (number, pass) in (1..).zip(passes) {
        let (pages, left) = (pass.pages, pass.left);
        say!(
            "# PASS {number} pages={pages} bytes={} time_us={} left={left}",
            pass.bytes,
            pass.time
        );
    }
    let Figures { noted_count, protected_count, start_us, collect_us, fault_us, protect_us } =
        tracking;
    say!(
        "# TRACKING noted={noted_count} protected={protected_count} start_us={start_us} \
         collect_us={collect_us} fault_us={fault_us} protect_us={protect_us}"
    );
}
