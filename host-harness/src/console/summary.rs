//! The end of a migration in words: a table when it moved, a paragraph when it did not.
//!
//! Source of truth: [`Report`]. Invariants: the first line says how it ended; every outcome says
//! where the guest is and, unless all is well, what to do next. Deliberately not here: reasons and
//! findings as sentences (module `explain`), and whether the output takes color.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use monitor_core::device::Usage;

use super::{
    Outcome, Report,
    amount::{bytes, count, span_us},
    explain,
};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DOUBT: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();

/// Columns of a paragraph.
const WIDTH: usize = 92;

/// Writes the end of a migration; `budget_us` is the longest stop that was allowed.
///
/// # Errors
/// Fails as the output does.
pub fn write_summary(out: &mut dyn Write, report: &Report, budget_us: u64) -> io::Result<()> {
    writeln!(out)?;
    match report.outcome {
        Outcome::Completed => write_completed(out, report, budget_us),
        Outcome::Rejected => write_rejected(out, report),
        Outcome::Aborted => write_ended(out, report, BAD, "ABORTED"),
        Outcome::InDoubt => write_ended(out, report, DOUBT, "IN DOUBT"),
        Outcome::Lost => write_ended(out, report, BAD, "LOST"),
    }
}

/// What went wrong on the way, whether it was made to or not.
fn write_faults(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for fault in &report.faults {
        let when = fault.at_ms.map_or_else(
            || "did not come to pass: its moment did not come".to_owned(),
            |at_ms| format!("after {}", span_us(at_ms.saturating_mul(1000))),
        );
        writeln!(out, "  fault  {} {when}", fault.point)?;
    }
    if report.reconnects > 0 {
        let (times, pages) = (report.reconnects, count(report.repeated_pages));
        let text = format!("connected again {times} x, {pages} pages sent once more");
        writeln!(out, "  link   {text}")?;
    }
    if let Some(decision) = &report.decision {
        writeln!(out, "  asked  {decision}")?;
    }
    if report.ran_twice {
        writeln!(out, "  {BAD}FAILED{BAD:#}  the guest ran on two SUs at once")?;
    }
    Ok(())
}

fn write_completed(out: &mut dyn Write, report: &Report, budget_us: u64) -> io::Result<()> {
    let Report { vm, source, target, .. } = report;
    let (style, word) =
        if report.is_verified() { (GOOD, "COMPLETED") } else { (BAD, "COMPLETED, NOT VERIFIED") };
    writeln!(out, "{style}{word}{style:#}  {vm} has moved from {source} to {target}.")?;
    write_passes(out, report)?;
    let measured = report.blackout_us.map_or_else(|| "not measured".to_owned(), span_us);
    let predicted =
        report.predicted_blackout_us.map_or_else(|| "not predicted".to_owned(), span_us);
    writeln!(out)?;
    writeln!(out, "  total time   {}", span_us(report.total_ms.saturating_mul(1000)))?;
    let (wire, memory) = (bytes(report.bytes_on_wire), bytes(report.memory_bytes));
    writeln!(out, "  on the wire  {wire} for {memory} of memory")?;
    if report.saved_bytes > 0 {
        let saved = bytes(report.saved_bytes);
        writeln!(out, "  not sent     {saved} of pages that the guest does not need")?;
    }
    let budget = span_us(budget_us);
    let (on, off) = if report.blackout_us.is_some_and(|blackout_us| blackout_us > budget_us) {
        (BAD, " (over budget)")
    } else {
        (BOLD, "")
    };
    writeln!(
        out,
        "  blackout     {on}{measured}{on:#}{off}; predicted {predicted}, budget {budget}"
    )?;
    if let Some(drain) = report.drain {
        let [median, max] = [drain.median_us, drain.max_us].map(span_us);
        writeln!(out, "  drain        {max} until the last device was quiet; median {median}")?;
    }
    write_network(out, report)?;
    write_state(out, report)?;
    if !report.faults.is_empty() || report.reconnects > 0 || report.ran_twice {
        writeln!(out)?;
        write_faults(out, report)?;
    }
    write_verified(out, report)
}

/// What the guest's network has felt of the move.
fn write_network(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Some(network) = report.network else {
        return Ok(());
    };
    let (pings, lost) = (count(network.pings), count(network.lost));
    let outage = span_us(network.outage_us);
    write!(out, "  outage       {outage} on the LAN; {pings} pings, {lost} lost")?;
    match network.doubled {
        0 => writeln!(out),
        doubled => writeln!(out, ", {BAD}{} answered twice{BAD:#}", count(doubled)),
    }
}

/// The VM on the target: a state that is not as it was on the source, how devices are used, and
/// detached devices.
fn write_state(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    if let Some(state) = report.state.as_ref().filter(|state| state.contains("(DIFF)")) {
        writeln!(out, "  state        {state}: subchannel numbers are virtualized")?;
    }
    for usage in [Usage::Exclusive, Usage::Shared, Usage::SharedDirect] {
        let used = report.usages.iter().filter(|(_, used)| *used == usage);
        let names: Vec<&str> = used.map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            let label = format!("  {:<13}", usage.to_string());
            wrapped(out, &label, "               ", &names.join(", "))?;
        }
    }
    if !report.detached.is_empty() {
        let names: Vec<&str> = report.detached.iter().map(|name| name.as_str()).collect();
        writeln!(out, "  detached     {}: attach what is needed by hand", names.join(", "))?;
    }
    Ok(())
}

fn write_passes(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    if report.passes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  {BOLD}pass         pages        bytes         time{BOLD:#}")?;
    for (number, pass) in (1..).zip(&report.passes) {
        let (pages, size) = (count(pass.page_count), bytes(pass.byte_count));
        let time = count(pass.ms);
        writeln!(out, "  {number:>4}  {pages:>12} {size:>12} {time:>9} ms")?;
    }
    Ok(())
}

fn write_verified(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Some(verified) = report.verified else {
        return paragraph(out, "Nothing was compared, so the move counts as not verified.");
    };
    writeln!(out)?;
    for (name, about, good) in verified.items() {
        let (style, word) = if good { (GOOD, "ok    ") } else { (BAD, "FAILED") };
        writeln!(out, "  {style}{word}{style:#}  {name:<10}  {about}")?;
    }
    if verified.all() {
        return Ok(());
    }
    writeln!(out)?;
    let text = format!(
        "What differs is a fault of the program: the guest on {} may be damaged. Keep this output \
         and the transcripts.",
        report.target
    );
    paragraph(out, &text)
}

fn write_rejected(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let Report { vm, source, target, findings, .. } = report;
    writeln!(
        out,
        "{BAD}REJECTED{BAD:#}  {vm} cannot be moved from {source} to {target}; nothing was begun."
    )?;
    writeln!(out)?;
    for finding in findings.listed() {
        wrapped(out, "  - ", "    ", &explain::finding(finding, report))?;
    }
    if findings.unlisted() > 0 {
        writeln!(out, "  - and {} more that are not listed", findings.unlisted())?;
    }
    if let Some(detail) = &report.detail {
        paragraph(out, detail)?;
    }
    writeln!(out)?;
    paragraph(out, &explain::whereabouts(report))
}

fn write_ended(out: &mut dyn Write, report: &Report, style: Style, word: &str) -> io::Result<()> {
    let Report { vm, source, target, .. } = report;
    let what = match report.outcome {
        Outcome::InDoubt => {
            format!("it is not certain whether {vm} has moved from {source} to {target}.")
        }
        Outcome::Lost => format!("{vm} was lost with its SU."),
        Outcome::Completed | Outcome::Rejected | Outcome::Aborted => {
            format!("{vm} was not moved from {source} to {target}.")
        }
    };
    writeln!(out, "{style}{word}{style:#}  {what}")?;
    writeln!(out)?;
    if let Some(reason) = report.reason {
        wrapped(out, "  why    ", "         ", &format!("{reason}"))?;
    }
    if let Some(detail) = &report.detail {
        wrapped(out, "         ", "         ", detail)?;
    }
    wrapped(out, "  guest  ", "         ", &explain::whereabouts(report))?;
    let next = match report.outcome {
        Outcome::InDoubt => explain::next_in_doubt(report),
        Outcome::Lost => format!(
            "start {vm} anew on another SU; su390 directory set enters the SU as its owner, in a \
             higher epoch"
        ),
        Outcome::Completed | Outcome::Rejected | Outcome::Aborted => {
            report.reason.map_or("look at the consoles above", explain::next_step).to_owned()
        }
    };
    wrapped(out, "  next   ", "         ", &next)?;
    write_faults(out, report)?;
    if report.total_ms > 0 {
        let time = span_us(report.total_ms.saturating_mul(1000));
        let wire = bytes(report.bytes_on_wire);
        writeln!(out, "  spent  {time}, {wire} on the wire")?;
    }
    Ok(())
}

fn paragraph(out: &mut dyn Write, text: &str) -> io::Result<()> {
    wrapped(out, "  ", "  ", text)
}

/// Writes words in lines of at most [`WIDTH`] columns.
fn wrapped(out: &mut dyn Write, first: &str, further: &str, text: &str) -> io::Result<()> {
    let mut line = first.to_owned();
    let mut words = 0;
    for word in text.split_whitespace() {
        if words > 0 && line.len() + 1 + word.len() > WIDTH {
            writeln!(out, "{line}")?;
            further.clone_into(&mut line);
            words = 0;
        }
        if words > 0 {
            line.push(' ');
        }
        line.push_str(word);
        words += 1;
    }
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use monitor_core::{
        units::{Mnemonic, SuName},
        vm::{Obstacle, Reason},
    };

    use super::{
        super::{Guest, Inflicted, Network, Pass, Verified},
        *,
    };

    fn report(outcome: Outcome) -> Report {
        let name = |text| SuName::new(text).unwrap();
        let vm = "VM12PROD (12)".to_owned();
        Report::new(outcome, vm, name("ABGSE501"), name("ABGSE701"))
    }

    fn text(report: &Report) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        write_summary(&mut out, report, 300_000).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    fn completed() -> Report {
        let mut report = report(Outcome::Completed);
        report.guest = Some(Guest::On(report.target));
        report.total_ms = 2345;
        report.blackout_us = Some(12_345);
        report.predicted_blackout_us = Some(14_000);
        report.memory_bytes = 1 << 30;
        report.bytes_on_wire = 1_127_428_915;
        report.saved_bytes = 3 << 20;
        report.passes = vec![
            Pass { page_count: 262_144, byte_count: 1 << 30, ms: 1900 },
            Pass { page_count: 812, byte_count: 3_330_000, ms: 9 },
        ];
        report.verified = Some(Verified::ALL);
        report
    }

    #[test]
    fn completed_move_shows_passes_blackout_and_verdicts() {
        let shown = text(&completed());
        for part in [
            "COMPLETED  VM12PROD (12) has moved from ABGSE501 to ABGSE701.",
            "     1       262,144        1 GiB     1,900 ms",
            "     2           812     3.18 MiB         9 ms",
            "total time   2.35 s",
            "1.05 GiB for 1 GiB of memory",
            "not sent     3 MiB of pages that the guest does not need",
            "blackout     12.3 ms; predicted 14 ms, budget 300 ms",
            "ok      memory",
            "ok      guest",
        ] {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
        assert!(!shown.contains("FAILED"), "{shown}");
    }

    #[test]
    fn devices_are_shown_by_their_usage() {
        let mut report = completed();
        assert!(!text(&report).contains("EXCLUSIVE"));
        let named = |text: &str| Mnemonic::new(text).unwrap();
        report.usages = (0..20)
            .map(|number| (named(&format!("CC{number:02}")), Usage::Exclusive))
            .chain([(named("9920"), Usage::Shared), (named("FAA5"), Usage::SharedDirect)])
            .collect();
        let shown = text(&report);
        for part in ["  EXCLUSIVE    CC00, CC01,", "  SHARED       9920\n", "  SH(D)        FAA5\n"]
        {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
        let further = shown.lines().find(|line| line.contains("CC19")).unwrap();
        assert!(further.starts_with("               CC"), "{shown}");
        assert!(shown.lines().skip(2).all(|line| line.len() <= WIDTH), "{shown}");
    }

    #[test]
    fn outage_of_the_network_is_told_and_doubled_answers_stand_out() {
        let mut report = completed();
        assert!(!text(&report).contains("outage"));
        let mut network =
            Network { pings: 1234, answered: 1230, lost: 3, doubled: 0, outage_us: 4800 };
        report.network = Some(network);
        let shown = text(&report);
        assert!(
            shown.contains("  outage       4.8 ms on the LAN; 1,234 pings, 3 lost\n"),
            "{shown}"
        );
        network.doubled = 2;
        report.network = Some(network);
        assert!(text(&report).contains("3 lost, 2 answered twice"), "{shown}");
    }

    #[test]
    fn failed_comparison_is_told_at_once() {
        let mut report = completed();
        report.verified = Some(Verified { io: false, ..Verified::ALL });
        report.blackout_us = Some(300_001);
        let shown = text(&report);
        assert!(shown.starts_with("\nCOMPLETED, NOT VERIFIED"), "{shown}");
        assert!(shown.contains("FAILED  io "), "{shown}");
        assert!(shown.contains("(over budget)"), "{shown}");
        report.verified = None;
        assert!(text(&report).contains("Nothing was compared"));
    }

    #[test]
    fn rejection_explains_each_finding() {
        let mut report = report(Outcome::Rejected);
        report.guest = Some(Guest::On(report.source));
        report.findings.add_device(Obstacle::DeviceMissing, Mnemonic::new("FAA5").unwrap());
        report.findings.add(Obstacle::NameTaken);
        report.findings.set_unlisted(3);
        let shown = text(&report);
        assert!(shown.contains("VMS4034,FAA5: device FAA5 is not generated on ABGSE701"));
        assert!(shown.contains("VMS4013: another VM on ABGSE701 has the same name"), "{shown}");
        assert!(shown.contains("and 3 more"), "{shown}");
        assert!(shown.contains("The guest is on ABGSE501 as before"), "{shown}");
    }

    #[test]
    fn abort_says_why_where_and_what_next() {
        let mut report = report(Outcome::Aborted);
        report.guest = Some(Guest::On(report.source));
        report.reason = Some(Reason::GuestSilent);
        let shown = text(&report);
        assert!(shown.contains("ABORTED  VM12PROD (12) was not moved"), "{shown}");
        assert!(shown.contains("why    the guest did not answer in time"), "{shown}");
        assert!(shown.contains("guest  The guest is on ABGSE501 as before"), "{shown}");
        assert!(shown.contains("next   look at the guest's console"), "{shown}");
    }

    #[test]
    fn doubt_warns_of_starting_the_guest_by_hand() {
        let mut report = report(Outcome::InDoubt);
        report.guest = Some(Guest::HeldAt(report.source));
        let shown = text(&report);
        assert!(shown.contains("IN DOUBT"), "{shown}");
        assert!(shown.contains("held, stopped, on ABGSE501"), "{shown}");
        let words: Vec<&str> = shown.split_whitespace().collect();
        assert!(words.join(" ").contains("Do not start VM12PROD (12)"), "{shown}");
    }

    #[test]
    fn doubt_about_the_target_names_its_epoch_and_both_answers() {
        let mut report = report(Outcome::InDoubt);
        report.guest = Some(Guest::HeldAt(report.source));
        report.held_for_epoch = Some(7);
        let shown = text(&report);
        for part in ["(epoch 7)", "--decide target-runs", "target-lost"] {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
    }

    #[test]
    fn faults_reconnections_and_answers_are_told() {
        let fault = |point: &str, at_ms| Inflicted { point: point.to_owned(), at_ms };
        let mut report = completed();
        report.faults = vec![fault("cut-link@stop", Some(120)), fault("cancel@claim", None)];
        (report.reconnects, report.repeated_pages) = (1, 1984);
        let shown = text(&report);
        for part in [
            "fault  cut-link@stop after 120 ms",
            "fault  cancel@claim did not come to pass",
            "link   connected again 1 x, 1,984 pages sent once more",
        ] {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
        report.outcome = Outcome::Lost;
        report.guest = Some(Guest::LostWith(report.target));
        report.decision = Some("target-lost is refused".to_owned());
        report.ran_twice = true;
        let shown = text(&report);
        for part in ["LOST  VM12PROD", "lost with ABGSE701", "asked  target-lost", "on two SUs"] {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
    }

    #[test]
    fn no_line_is_wider_than_the_paragraph() {
        let mut report = report(Outcome::Rejected);
        for obstacle in Obstacle::ALL {
            report.findings.add(obstacle);
        }
        let shown = text(&report);
        let widest = shown.lines().skip(2).map(str::len).max();
        assert!(widest <= Some(WIDTH), "{widest:?}");
    }
}
