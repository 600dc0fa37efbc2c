//! Several moves in words: a line for each, and what they have in common.
//!
//! Source of truth: [`Report`]. Invariant: a move that did not end well is shown as it would be
//! alone, too. Deliberately not here: what single figures mean (module `summary`).

use std::io::{self, Write};

use anstyle::Style;

use super::{Network, Report, Spread, amount::span_us, write_summary};

const BOLD: Style = Style::new().bold();

/// Writes the end of several migrations; `budget_us` is the longest stop that was allowed.
///
/// # Errors
/// Fails as the output does.
pub fn write_series(out: &mut dyn Write, reports: &[Report], budget_us: u64) -> io::Result<()> {
    let head = ["move", "to", "blackout", "drain", "LAN outage", "total", "end"];
    writeln!(out, "\n  {BOLD}{}{BOLD:#}", row(head))?;
    for (number, report) in (1..).zip(reports) {
        let end = match (report.verified, report.is_verified()) {
            (_, true) => "verified",
            (Some(_), false) => "not verified",
            (None, false) => "not moved",
        };
        let columns = [
            &number.to_string(),
            report.target.as_str(),
            &shown(report.blackout_us),
            &shown(report.drain.map(|drain| drain.max_us)),
            &shown(report.network.map(|network: Network| network.outage_us)),
            &span_us(report.total_ms.saturating_mul(1000)),
            end,
        ];
        writeln!(out, "  {}", row(columns))?;
    }
    let good = reports.iter().filter(|report| report.is_verified()).count();
    writeln!(out, "\n  {BOLD}{good} of {} moves{BOLD:#} completed and verified", reports.len())?;
    let blackouts = reports.iter().filter_map(|report| report.blackout_us);
    let drains = reports.iter().filter_map(|report| Some(report.drain?.max_us));
    let outages = reports.iter().filter_map(|report| Some(report.network?.outage_us));
    write_spread(out, "blackout", Spread::of(blackouts))?;
    write_spread(out, "drain", Spread::of(drains))?;
    write_spread(out, "LAN outage", Spread::of(outages))?;
    match reports.iter().find(|report| !report.is_verified()) {
        Some(report) => write_summary(out, report, budget_us),
        None => Ok(()),
    }
}

fn row(columns: [&str; 7]) -> String {
    let [number, to, blackout, drain, outage, total, end] = columns;
    let times = format!("{blackout:>12} {drain:>12} {outage:>12} {total:>12}");
    format!("{number:>4}  {to:<10} {times}  {end}")
}

fn shown(time_us: Option<u64>) -> String {
    time_us.map_or_else(|| "-".to_owned(), span_us)
}

fn write_spread(out: &mut dyn Write, name: &str, spread: Option<Spread>) -> io::Result<()> {
    let Some(Spread { min_us, median_us, max_us }) = spread else {
        return Ok(());
    };
    let [min, median, max] = [min_us, median_us, max_us].map(span_us);
    writeln!(out, "  {name:<11}  {min} to {max}, median {median}")
}

#[cfg(test)]
mod tests {
    use monitor_core::{units::SuName, vm::Reason};

    use super::*;
    use crate::console::{Guest, Outcome, Verified};

    fn report(target: &str, outcome: Outcome) -> Report {
        let name = |text| SuName::new(text).unwrap();
        let mut report = Report::new(outcome, "VM (12)".to_owned(), name("ABGSE501"), name(target));
        report.guest = Some(Guest::On(name(target)));
        report
    }

    #[test]
    fn each_move_has_a_line_and_the_one_that_failed_is_explained() {
        let mut reports: Vec<Report> = [3000, 1000, 2000]
            .map(|blackout_us| {
                let mut report = report("ABGSE701", Outcome::Completed);
                report.verified = Some(Verified::ALL);
                (report.blackout_us, report.drain) = (Some(blackout_us), Spread::of([20, 400]));
                report
            })
            .into();
        let mut failed = report("ABGSE501", Outcome::Aborted);
        failed.reason = Some(Reason::DeviceNotQuiet);
        reports.push(failed);
        let mut out = Vec::new();
        write_series(&mut out, &reports, 300_000).unwrap();
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        let text = String::from_utf8(text).unwrap();
        for part in [
            "   1  ABGSE701           3 ms       400 us",
            "3 of 4 moves completed and verified",
            "blackout     1 ms to 3 ms, median 2 ms",
            "not moved",
            "ABORTED",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}
