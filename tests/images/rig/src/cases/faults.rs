//! Two machines and a fault: one of them is lost, or the link is cut, at ten points each of a move.
//!
//! Source of truth: ARCHITECTURE.md, "The handover". Invariants: at no end do two copies run; one
//! runs only where the record says so; where none runs, an operator has been told why. Deliberately
//! not here: a table of what is said at which point beyond that, which the tests of the core hold.

use std::time::Duration;

use host_harness::live::Mishap;
use monitor_core::wire::FrameType;

use crate::{
    case::Case,
    failure::{Result, ensure},
    image::Images,
    link::{Deed, Origin, Trigger},
    pair::{MOVES_WITHIN, Pair, SUS, Setup, Standing},
};

/// Where the VM is at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It runs on the SU at this place.
    Runs(usize),
    /// It was lost with the SU that is lost; the other one's operator was told.
    Lost,
    /// It is held by the source, whose operator was told what to decide.
    Held,
}

/// A point of a move: before the `nth` frame of this type from there.
#[derive(Clone, Copy, Debug)]
struct Point {
    name: &'static str,
    from: Origin,
    frame: FrameType,
    nth: u64,
}

impl Point {
    const fn new(name: &'static str, from: Origin, frame: FrameType, nth: u64) -> Self {
        Self { name, from, frame, nth }
    }

    fn trigger(self, deed: Deed) -> Trigger {
        Trigger { from: self.from, type_code: self.frame.code(), nth: self.nth, deed }
    }
}

const CHECK: Point = Point::new("check", Origin::Source, FrameType::Check, 1);
const BUILT: Point = Point::new("built", Origin::Target, FrameType::Built, 1);
const PAGES: Point = Point::new("pages", Origin::Source, FrameType::Pages, 16);
const ACK: Point = Point::new("ack", Origin::Target, FrameType::Ack, 2);
const REHEARSED: Point = Point::new("rehearsed", Origin::Target, FrameType::Rehearsed, 1);
const LOAD_END: Point = Point::new("load-end", Origin::Source, FrameType::LoadEnd, 1);
const READY: Point = Point::new("ready", Origin::Target, FrameType::Ready, 1);
const COMMIT: Point = Point::new("commit", Origin::Source, FrameType::Commit, 1);
const RUNNING: Point = Point::new("running", Origin::Target, FrameType::Running, 1);
const COMPLETED: Point = Point::new("completed", Origin::Target, FrameType::Completed, 1);

/// Which SU is lost at which point, and where the VM is then.
const LOSSES: [(usize, Point, End); 10] = [
    (1, CHECK, End::Runs(0)),
    (0, BUILT, End::Lost),
    (1, PAGES, End::Runs(0)),
    (0, ACK, End::Lost),
    (1, LOAD_END, End::Runs(0)),
    (0, READY, End::Lost),
    (1, COMMIT, End::Runs(0)),
    (1, RUNNING, End::Held),
    (0, RUNNING, End::Runs(1)),
    (0, COMPLETED, End::Runs(1)),
];

/// At which point the link is cut, and the place where the VM is then, if that is certain. Between
/// these points it depends on whether the time that is left is enough.
const CUTS: [(Point, Option<usize>); 10] = [
    (CHECK, Some(0)),
    (BUILT, Some(0)),
    (PAGES, None),
    (ACK, None),
    (REHEARSED, None),
    (LOAD_END, None),
    (READY, None),
    (COMMIT, Some(0)),
    (RUNNING, Some(1)),
    (COMPLETED, Some(1)),
];

/// Questions whose answers are lost, by their number over both machines: two while the machine that
/// has the VM boots, then those of the move.
const LOST_ANSWERS: [(&str, u64); 4] = [("boot", 2), ("check", 3), ("claim", 4), ("start", 5)];

/// What the source says at the end of an attempt, or when it cannot be ended without an operator.
const SOURCE_ENDS: [(&str, usize); 4] =
    [("VMS2451", 1), ("VMS2453", 1), ("VMS2455", 1), ("VMS2456", 1)];

/// What the target says then.
const TARGET_ENDS: [(&str, usize); 3] = [("VMS2431", 1), ("VMS2433", 1), ("VMS2434", 1)];

/// The cases of this module.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (lost, point, end) in LOSSES {
        let side = ["source", "target"][lost];
        cases.push(Case::new(
            format!("kill-{side}-at-{}", point.name),
            "an SU is lost: one VM runs, or none and an operator knows why",
            move |images| lose(images, lost, point, end),
        ));
    }
    for (point, certain) in CUTS {
        cases.push(Case::new(
            format!("cut-at-{}", point.name),
            "the link is cut: the move is resumed, undone, or settled by the record",
            move |images| cut(images, point, certain),
        ));
    }
    for (name, number) in LOST_ANSWERS {
        cases.push(Case::new(
            format!("lost-answer-at-{name}"),
            "the directory obeys and its answer is lost: the move goes on or is undone",
            move |images| lose_answer(images, number),
        ));
    }
    cases.push(Case::new(
        "sever-at-running",
        "the link is cut for good in doubt: the operator decides by what is seen",
        sever,
    ));
    cases
}

fn setup() -> Setup {
    let mut setup = Setup::new(8);
    // Short enough for a test, and long enough for a machine that is held up.
    setup.lines = ["reconnect_ms = 4000", "peer_answer_ms = 4000", "retry_ms = 500"]
        .map(str::to_owned)
        .into();
    setup
}

/// A machine is ended at a point, and started again after the other one has settled.
fn lose(images: &Images, lost: usize, point: Point, end: End) -> Result<String> {
    let mut pair = Pair::start(&images.monitor()?, &setup(), |processes| {
        vec![point.trigger(Deed::Kill(processes[lost].clone()))]
    })?;
    let other = 1 - lost;
    pair.command_move(0)?;
    check_fired(&pair)?;
    let ends: &[_] = if other == 0 { &SOURCE_ENDS } else { &TARGET_ENDS };
    let said = pair.machines[other].wait_any(ends, MOVES_WITHIN);
    let (_, said) = said.map_err(|failure| pair.told(failure))?;
    let held_by = |standing: &Standing| match end {
        End::Runs(place) => standing.owner.as_str() == SUS[place],
        End::Lost => standing.owner.as_str() == SUS[lost],
        End::Held => standing.owner.as_str() == SUS[1],
    };
    let standing = pair.standing()?;
    let runs = [0, 1].map(|place| end == End::Runs(place));
    ensure(standing.runs == runs && held_by(&standing), || format!("{standing:?}, not {end:?}"))
        .and_then(|()| pair.check_oracles())
        .map_err(|failure| pair.told(failure))?;
    pair.restart(lost)?;
    settle(&mut pair, lost, end).map_err(|failure| pair.told(failure))?;
    Ok(text_of(&said))
}

/// What follows once the lost SU is back: at last the VM runs in one place.
fn settle(pair: &mut Pair, lost: usize, end: End) -> Result<()> {
    let runs_on = match end {
        End::Runs(place) => place,
        // The operator starts the VM anew with the SU that had it.
        End::Lost => lost,
        End::Held => {
            pair.machines[0].type_line("RESOLVE-VM-MIGRATION VM-ID=12,ANSWER=*TARGET-LOST")?;
            pair.machines[0].wait("VMS2453", Duration::from_secs(20))?;
            0
        }
    };
    if lost == 0 && end != End::Lost {
        pair.machines[0].wait("is not started: it belongs to", Duration::from_secs(20))?;
    }
    pair.check_stands(runs_on)
}

/// The link is cut once and comes back. A doubt is settled as soon as it is back.
fn cut(images: &Images, point: Point, certain: Option<usize>) -> Result<String> {
    let mut pair = Pair::start(&images.monitor()?, &setup(), |_| vec![point.trigger(Deed::Cut)])?;
    pair.command_move(0)?;
    check_fired(&pair)?;
    let (place, said) = wait_ended(&pair)?;
    ensure(certain.is_none_or(|certain| certain == place), || format!("it ended so: {said}"))
        .map_err(|failure| pair.told(failure))?;
    pair.check_stands(place)?;
    Ok(text_of(&said))
}

/// Waits until the source's operator knows the end of the move, and says where the VM is then.
fn wait_ended(pair: &Pair) -> Result<(usize, String)> {
    // Without an answer before the move begins, it is not begun.
    let ends = [("VMS2451", 1), ("VMS2453", 1), ("VMS2461", 1)];
    let ended = pair.machines[0].wait_any(&ends, MOVES_WITHIN);
    let (place, said) = ended.map_err(|failure| pair.told(failure))?;
    Ok((usize::from(place == 0), said))
}

/// The directory does what it is asked, and the answer to the question of this number is lost.
fn lose_answer(images: &Images, number: u64) -> Result<String> {
    let mut setup = setup();
    setup.mishaps = vec![Mishap::Dropped(number)];
    let mut pair = Pair::start(&images.monitor()?, &setup, |_| Vec::new())?;
    pair.command_move(0)?;
    let (place, said) = wait_ended(&pair)?;
    pair.check_stands(place)?;
    Ok(text_of(&said))
}

/// The link is cut for good after the target has claimed the VM: the source's operator, who sees it
/// run there, says so.
fn sever(images: &Images) -> Result<String> {
    let mut pair =
        Pair::start(&images.monitor()?, &setup(), |_| vec![RUNNING.trigger(Deed::Sever)])?;
    pair.command_move(0)?;
    check_fired(&pair)?;
    let held = pair.machines[0].wait("VMS2456", MOVES_WITHIN);
    held.map_err(|failure| pair.told(failure))?;
    pair.check_stands(1)?;
    pair.machines[0].type_line("RESOLVE-VM-MIGRATION VM-ID=12,ANSWER=*TARGET-RUNS")?;
    let said = pair.machines[0].wait("VMS2451", MOVES_WITHIN);
    let said = said.map_err(|failure| pair.told(failure))?;
    pair.check_stands(1)?;
    Ok(text_of(&said))
}

fn check_fired(pair: &Pair) -> Result<()> {
    ensure(pair.link.wait_fired(1, MOVES_WITHIN), || "the point was not reached".to_owned())
        .map_err(|failure| pair.told(failure))
}

/// The message of a line without its time.
fn text_of(line: &str) -> String {
    line.split_once("% ").map_or(line, |(_, text)| text).chars().take(90).collect()
}
