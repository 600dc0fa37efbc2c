//! Two machines: the VM moves there and back, under load.
//!
//! Source of truth: `tests/images/expected`; figures that the source's monitor tells. Invariant: in
//! each case the guest's oracle has held to the end. Deliberately not here: faults.

use std::path::Path;

use crate::{
    case::Case,
    compare,
    console::Console,
    failure::{Failure, Result, ensure},
    figures::Figures,
    image::Images,
    pair::{MOVES_WITHIN, PULSE, Pair, Setup},
};

/// Bytes per second of a link on which a guest can be faster or slower on any machine.
const SLOW_LINK: u64 = 8 << 20;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

/// The cases of this module.
pub(super) fn cases() -> Vec<Case> {
    let kinds = ["keys", "protection"];
    let mut cases: Vec<_> = kinds
        .map(|tracking| {
            Case::new(
                format!("move-{tracking}"),
                format!("a guest under load moves there and back, changes tracked by {tracking}"),
                move |images| there_and_back(images, tracking),
            )
        })
        .into();
    cases.push(Case::new(
        "input",
        "a guest hears what is typed at its console, also a line that a move divides",
        input,
    ));
    cases.push(Case::new(
        "quarter-of-the-link",
        "a guest that dirties a quarter of what the link carries is moved",
        quarter_of_the_link,
    ));
    cases.push(Case::new(
        "faster-than-the-link",
        "a guest that dirties more than the link carries stays where it is",
        faster_than_the_link,
    ));
    cases
}

fn there_and_back(images: &Images, tracking: &str) -> Result<String> {
    let mut setup = Setup::new(32);
    setup.lines = vec![format!("tracking = {tracking}")];
    let mut pair = Pair::start(&images.monitor()?, &setup, |_| Vec::new())?;
    let there = pair.move_vm(0, 1)?;
    pair.check_stands(1)?;
    check_ticks(&pair.machines[0].guest, &pair.machines[1].guest)?;
    // The guest's console is cut where the guest goes back.
    let first = pair.machines[0].guest.lines();
    let back = pair.move_vm(1, 1)?;
    pair.check_stands(0)?;
    pair.end(0)?;
    for (machine, name) in pair.machines.iter().zip(["source-su", "target-su"]) {
        compare::with_file(&format!("move-{name}.txt"), &machine.operator.lines())?;
    }
    let last = pair.machines[0].guest.lines().split_off(first.len());
    let guest = [first, pair.machines[1].guest.lines(), last].concat();
    compare::with_file("move-guest.txt", &guest)?;
    Ok(format!("there: {there}; back: {back}"))
}

/// The guest repeats each line.
fn input(images: &Images) -> Result<String> {
    let setup = Setup::new(8);
    let mut pair = Pair::start(&images.monitor()?, &setup, |_| Vec::new())?;
    pair.machines[0].type_to_guest("FIRST LINE\nBEFORE ")?;
    pair.machines[0].guest.wait("GUEST HEARS FIRST LINE", MOVES_WITHIN)?;
    pair.move_vm(0, 1)?;
    pair.machines[1].type_to_guest("AND BEHIND\n")?;
    pair.machines[1].guest.wait("GUEST HEARS BEFORE AND BEHIND", MOVES_WITHIN)?;
    pair.end(1)?;
    Ok(String::new())
}

/// The guest's counts of timer interruptions, by its clock and by its processor, go on where they
/// were, and go on.
fn check_ticks(before: &Console, after: &Console) -> Result<()> {
    for count in ["TICKS=", "TIMERS="] {
        let all = [counts(before, count), counts(after, count)].concat();
        let step = |pair: &[u64]| pair.first().zip(pair.last()).is_some_and(|(one, two)| one < two);
        ensure(all.len() > 2 && all.windows(2).all(step), || {
            format!("the guest's timer interruptions do not go on: {count} {all:?}")
        })?;
    }
    Ok(())
}

/// What stands behind this word in the lines that the guest says now and then.
fn counts(console: &Console, word: &str) -> Vec<u64> {
    let lines = console.lines();
    let pulses = lines.iter().filter(|line| line.contains(PULSE));
    let words = pulses.filter_map(|line| line.split_once(word)?.1.split(' ').next());
    words.filter_map(|number| number.parse().ok()).collect()
}

/// Measures the link with a guest that does little.
fn measured(image: &Path) -> Result<Figures> {
    let mut setup = Setup::new(8);
    setup.bytes_per_second = Some(SLOW_LINK);
    let mut pair = Pair::start(image, &setup, |_| Vec::new())?;
    pair.move_vm(0, 1)
}

fn quarter_of_the_link(images: &Images) -> Result<String> {
    let image = images.monitor()?;
    let link = measured(&image)?;
    let mut setup = Setup::new(32);
    setup.bytes_per_second = Some(SLOW_LINK);
    setup.pace = link.bytes_per_second / 4 / PAGE_BYTES;
    let mut pair = Pair::start(&image, &setup, |_| Vec::new())?;
    let figures = pair.move_vm(0, 1)?;
    pair.check_stands(1)?;
    Ok(format!("{} pages per second: {figures}", setup.pace))
}

fn faster_than_the_link(images: &Images) -> Result<String> {
    let mut setup = Setup::new(32);
    setup.bytes_per_second = Some(SLOW_LINK);
    setup.pace = 2 * SLOW_LINK / PAGE_BYTES;
    let mut pair = Pair::start(&images.monitor()?, &setup, |_| Vec::new())?;
    pair.command_move(0)?;
    let said = pair.machines[0].wait_any(&[("VMS2453", 1), ("VMS2451", 1)], MOVES_WITHIN);
    let (_, said) = said.map_err(|failure| pair.told(failure))?;
    ensure(said.contains("WILL NOT CONVERGE"), || format!("it ended so: {said}"))
        .map_err(|failure: Failure| pair.told(failure))?;
    pair.check_stands(0)?;
    Ok(format!("{} pages per second", setup.pace))
}

#[cfg(test)]
mod tests {
    const EXAMPLE: &str = include_str!("../../../../transcripts/guest.txt");
    const EXPECTED: &str = include_str!("../../../expected/move-guest.txt");

    /// The lines without their times.
    fn said(text: &str) -> Vec<&str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once(' ')).map(|(_, said)| said).collect()
    }

    #[test]
    fn the_guest_says_what_the_manual_shows() {
        let (example, expected) = (said(EXAMPLE), said(EXPECTED));
        assert_eq!(expected.get(1..=example.len()), Some(example.as_slice()));
    }
}
