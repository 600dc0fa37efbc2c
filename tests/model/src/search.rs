//! The search itself, and what it says.
//!
//! Source of truth: the properties of [`World`]. Invariant: a search that is not cut short has
//! seen every state within its bounds; the course that it shows is a shortest one, or nearly so
//! when threads share the work.

use std::{
    fmt::{self, Write as _},
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model};

use super::{World, bounds::Bounds};

/// What a search has found.
#[derive(Debug)]
pub struct Report {
    bounds: Bounds,
    /// How many states there are.
    pub state_count: usize,
    transition_count: usize,
    depth: usize,
    time: Duration,
    /// The rules that are broken, each with the course that breaks it.
    pub broken: Vec<String>,
    /// What is possible and was seen.
    pub seen: Vec<&'static str>,
    /// What is possible and was not seen.
    pub missed: Vec<&'static str>,
}

/// Searches everything within the bounds, or at most about so many transitions.
#[must_use]
pub fn search(bounds: Bounds, threads: usize, transitions_max: Option<usize>) -> Report {
    let begin = Instant::now();
    let mut checker = World::new(bounds.clone()).checker().threads(threads);
    // A search ends with the first rule that is broken.
    checker = checker.finish_when(HasDiscoveries::AnyFailures);
    if let Some(count) = transitions_max {
        checker = checker.target_state_count(count);
    }
    let checker = checker.spawn_bfs().join();
    let mut discoveries = checker.discoveries();
    let mut report = Report {
        bounds,
        state_count: checker.unique_state_count(),
        transition_count: checker.state_count(),
        depth: checker.max_depth(),
        time: begin.elapsed(),
        broken: Vec::new(),
        seen: Vec::new(),
        missed: Vec::new(),
    };
    for property in checker.model().properties() {
        let path = discoveries.remove(property.name);
        match (property.expectation.discovery_is_failure(), path) {
            (true, None) => {}
            (true, Some(path)) => {
                let mut text = property.name.to_owned();
                for (state, action) in path.into_vec() {
                    let _ = write!(text, "\n  {state:?}");
                    if let Some(action) = action {
                        let _ = write!(text, "\n    {action:?}");
                    }
                }
                report.broken.push(text);
            }
            (false, None) => report.missed.push(property.name),
            (false, Some(_)) => report.seen.push(property.name),
        }
    }
    report
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.bounds)?;
        let seconds = self.time.as_secs_f64();
        write!(
            formatter,
            "{} states, {} transitions, depth {}, {seconds:.1} s",
            self.state_count, self.transition_count, self.depth
        )?;
        for name in &self.seen {
            write!(formatter, "\nseen: {name}")?;
        }
        for name in &self.missed {
            write!(formatter, "\nnot seen: {name}")?;
        }
        for course in &self.broken {
            write!(formatter, "\nbroken: {course}")?;
        }
        Ok(())
    }
}
