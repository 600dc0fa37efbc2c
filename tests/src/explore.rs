//! Breadth-first search over everything that can happen to a machine, and the table of what came
//! of it.
//!
//! Source of truth: [`crate::machines`]. Invariants: every reachable state is visited once, the
//! nearest first, so that the course that leads to a breach is a shortest one; a state is known
//! by its hash of 128 bits. Deliberately not here: what a machine is, and what may not happen.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash, Hasher as _},
};

use monitor_core::migrate::Effect;

use crate::machines::{Case, End, NOW, Name, Refusal, Stimulus, effect_name};

/// More effects than any step of a machine with a small VM has.
const EFFECTS_LIMIT: usize = 64;

/// More steps than any undoing of a small VM has.
const UNDOING_STEPS_LIMIT: usize = 32;

/// The longest line of a table, but for outcomes.
const LINE_BYTES_MAX: usize = 100;

/// When effects are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// After each input, until there is none.
    AfterEachInput,
    /// One by one, with inputs in between while a frame waits: the link is slow.
    AtAnyTime,
}

/// What a machine made of a case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// It was taken.
    Taken { phase: String, disposition: String, effects: Vec<String> },
    /// It was taken and changed nothing.
    Ignored,
    /// It was refused; whether the answer was owed.
    Refused(Refusal, bool),
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { phase, disposition, effects } => {
                write!(formatter, "{phase} {disposition}")?;
                let separator = if effects.is_empty() { "" } else { ": " };
                write!(formatter, "{separator}{}", effects.join(" "))
            }
            Self::Ignored => formatter.write_str("Ignored"),
            Self::Refused(refusal, false) => write!(formatter, "refused {refusal:?}"),
            Self::Refused(refusal, true) => write!(formatter, "refused {refusal:?}, though owed"),
        }
    }
}

/// What a search has found.
#[derive(Debug)]
pub struct Found<P> {
    table: BTreeMap<P, BTreeMap<Name, BTreeSet<Outcome>>>,
    dispositions: BTreeMap<P, BTreeSet<String>>,
    /// How many states of each phase there are.
    states: BTreeMap<P, usize>,
    /// What an observer reads of the machine in each phase.
    facts: BTreeMap<P, BTreeSet<String>>,
    /// How many states there are.
    pub state_count: usize,
}

impl<P: Copy + Ord + fmt::Debug> Found<P> {
    /// The phases that were reached, in their order.
    #[must_use]
    pub fn phases(&self) -> Vec<P> {
        self.dispositions.keys().copied().collect()
    }

    /// The table as text: a section for each phase, in it what each case can lead to. Cases that
    /// all end the same way are listed together.
    #[must_use]
    pub fn table(&self, end: &str) -> String {
        let mut text = String::new();
        for (phase, cases) in &self.table {
            let dispositions: Vec<&str> =
                self.dispositions[phase].iter().map(String::as_str).collect();
            let _ = writeln!(text, "\n{end} {phase:?}: {}", dispositions.join(", "));
            let mut alike: BTreeMap<&BTreeSet<Outcome>, Vec<String>> = BTreeMap::new();
            for (name, outcomes) in cases {
                alike.entry(outcomes).or_default().push(name.to_string());
            }
            for (outcomes, names) in alike {
                write_list(&mut text, &names);
                for outcome in outcomes {
                    let _ = writeln!(text, "    -> {outcome}");
                }
            }
        }
        text
    }

    /// How many states each phase has, how many outcomes the cases have there, and what an
    /// observer can read of the machine in it.
    #[must_use]
    pub fn counts(&self, end: &str) -> String {
        let mut text = String::new();
        for (phase, states) in &self.states {
            let cases = self.table.get(phase).into_iter().flat_map(BTreeMap::values);
            let outcomes: usize = cases.map(BTreeSet::len).sum();
            let _ = writeln!(text, "{end} {phase:?}: {states} states, {outcomes} outcomes");
            let facts: Vec<String> = self.facts[phase].iter().cloned().collect();
            write_list(&mut text, &facts);
        }
        text
    }

    /// The first outcome that is not in `agreed`, a table of this machine as text.
    #[must_use]
    pub fn first_not_in(&self, end: &str, agreed: &str) -> Option<String> {
        for (phase, cases) in &self.table {
            let agreed = agreed_outcomes(agreed, &format!("{end} {phase:?}:"));
            for (name, outcomes) in cases {
                let name = name.to_string();
                let known = agreed.iter().find(|(names, _)| is_in_list(names, &name));
                for outcome in outcomes.iter().map(Outcome::to_string) {
                    if !known.is_some_and(|(_, known)| known.contains(&outcome)) {
                        return Some(format!("{end} {phase:?}, {name} -> {outcome}"));
                    }
                }
            }
        }
        None
    }

    /// The table in short, as Markdown: for each phase the inputs that have the same ends, the
    /// phases in which they can leave the machine, and what can have become of the guest by then.
    #[must_use]
    pub fn summary(&self, end: &str) -> String {
        let mut text =
            format!("| {end} in | on | becomes | the guest |\n| --- | --- | --- | --- |\n");
        for (phase, cases) in &self.table {
            let mut kinds: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
            for (name, outcomes) in cases {
                kinds.entry(name.kind).or_default().extend(outcomes.iter().map(Outcome::end));
            }
            let mut alike: BTreeMap<BTreeSet<(String, String)>, Vec<&str>> = BTreeMap::new();
            for (kind, mut ends) in kinds {
                // Where an input is taken in some states, its refusal in others says little.
                if ends.iter().any(|(becomes, _)| becomes != REFUSED) {
                    ends.retain(|(becomes, _)| becomes != REFUSED);
                }
                alike.entry(ends).or_default().push(kind);
            }
            for (ends, kinds) in alike {
                let becomes: BTreeSet<&str> =
                    ends.iter().map(|(phase, _)| phase.as_str()).collect();
                let guest: BTreeSet<&str> = ends
                    .iter()
                    .map(|(_, guest)| guest.as_str())
                    .filter(|it| !it.is_empty())
                    .collect();
                let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
                let (becomes, guest) = (list(becomes), list(guest));
                let _ =
                    writeln!(text, "| `{phase:?}` | {} | {becomes} | {guest} |", kinds.join(", "));
            }
        }
        text
    }
}

/// The lists of names in a section of a table, each with its outcomes.
fn agreed_outcomes(table: &str, head: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut found: Vec<(String, BTreeSet<String>)> = Vec::new();
    let section = table.lines().skip_while(|line| !line.starts_with(head)).skip(1);
    for line in section.take_while(|line| !line.is_empty()) {
        let (names, outcome) = (line.trim_start(), line.trim_start().strip_prefix("-> "));
        match (outcome, found.last_mut()) {
            (Some(outcome), Some((_, outcomes))) => _ = outcomes.insert(outcome.to_owned()),
            (None, Some((list, outcomes))) if outcomes.is_empty() => {
                *list = format!("{list} {names}");
            }
            _ => found.push((names.to_owned(), BTreeSet::new())),
        }
    }
    found
}

/// Whether a list of names has this one, which may have a comma itself.
fn is_in_list(list: &str, name: &str) -> bool {
    format!(", {list},").contains(&format!(", {name},"))
}

/// What the summary says of an input that a machine refuses.
const REFUSED: &str = "refused";

impl Outcome {
    /// The phase afterwards, and what has become of the guest.
    fn end(&self) -> (String, String) {
        match self {
            Self::Taken { phase, disposition, .. } => (format!("`{phase}`"), spaced(disposition)),
            Self::Ignored => ("ignored".to_owned(), String::new()),
            Self::Refused(..) => (REFUSED.to_owned(), String::new()),
        }
    }
}

/// The words of a name in capitals: `HeldAtSource` is "held at source".
fn spaced(name: &str) -> String {
    let mut words = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

/// Writes names as an indented paragraph.
fn write_list(text: &mut String, names: &[String]) {
    let mut line = String::from(" ");
    for (place, name) in (1..).zip(names) {
        let mark = if place < names.len() { "," } else { "" };
        if line.len() + name.len() + 2 > LINE_BYTES_MAX {
            let _ = writeln!(text, "{line}");
            line = String::from(" ");
        }
        let _ = write!(line, " {name}{mark}");
    }
    let _ = writeln!(text, "{line}");
}

/// The search itself.
struct Search<E: End> {
    polling: Polling,
    known: HashSet<(u64, u64)>,
    /// How each state was reached: from which one, by what.
    parents: Vec<(usize, &'static str, &'static str)>,
    frontier: VecDeque<(usize, E)>,
    found: Found<E::Phase>,
    /// States of each phase that were followed, and how many are.
    followed: BTreeMap<E::Phase, usize>,
    followed_max: usize,
}

/// Searches everything that can be reached from `starts`. What `is_followed` turns down is
/// visited, but nothing behind it.
///
/// # Panics
/// When a machine breaks a rule; the message says which one, and by which course.
#[must_use]
pub fn explore<E: End>(
    starts: Vec<E>,
    polling: Polling,
    is_followed: fn(&E) -> bool,
) -> Found<E::Phase> {
    explore_near(starts, polling, is_followed, usize::MAX)
}

/// Searches as [`explore`] does, but follows of each phase only the first states.
///
/// # Panics
/// When a machine breaks a rule; the message says which one, and by which course.
#[must_use]
pub fn explore_near<E: End>(
    starts: Vec<E>,
    polling: Polling,
    is_followed: fn(&E) -> bool,
    followed_max: usize,
) -> Found<E::Phase> {
    let found = Found {
        table: BTreeMap::new(),
        dispositions: BTreeMap::new(),
        states: BTreeMap::new(),
        facts: BTreeMap::new(),
        state_count: 0,
    };
    let mut search = Search {
        polling,
        known: HashSet::new(),
        parents: Vec::new(),
        frontier: VecDeque::new(),
        found,
        followed: BTreeMap::new(),
        followed_max,
    };
    for start in starts {
        search.visit(usize::MAX, Name { kind: "begin", detail: "" }, start);
    }
    while let Some((number, end)) = search.frontier.pop_front() {
        let followed = search.followed.entry(end.phase()).or_default();
        if *followed < search.followed_max && is_followed(&end) {
            *followed += 1;
            search.expand(number, &end);
        }
    }
    search.found.state_count = search.parents.len();
    search.found
}

impl<E: End> Search<E> {
    fn expand(&mut self, number: usize, end: &E) {
        if self.polling == Polling::AtAnyTime && self.performs_next(number, end) {
            return;
        }
        for case in end.cases() {
            self.try_case(number, end, &case);
        }
    }

    /// Polls one effect. Gives whether the driver performs it before anything else happens: only
    /// a frame waits for the link, and what stands behind it.
    fn performs_next(&mut self, number: usize, end: &E) -> bool {
        let mut polled = end.clone();
        let Some(effect) = polled.poll(NOW) else {
            polled.settle();
            self.check(number, Name { kind: "last poll", detail: "" }, &polled);
            return false;
        };
        self.visit(number, Name { kind: "poll", detail: "" }, polled);
        !matches!(effect, Effect::Send { .. })
    }

    fn try_case(&mut self, number: usize, before: &E, case: &Case) {
        let can_happen = before.can_happen(case);
        // A question that is still to be polled waits for its answer already.
        if !can_happen && self.polling == Polling::AtAnyTime {
            return;
        }
        let mut after = before.clone();
        let result = after.apply(case);
        if result.is_err() {
            self.require(after == *before, number, case.name, "what is refused changes nothing");
        }
        if matches!(case.stimulus, Stimulus::GuestStores) {
            if can_happen {
                self.visit(number, case.name, after);
            }
            return;
        }
        let is_unchanged = after == *before;
        // A guest that answered what was not asked may still answer what was.
        if can_happen && (result.is_ok() || case.name.kind != "guest") {
            after.consume(case);
        }
        let effects = match self.polling {
            Polling::AfterEachInput => self.drain(number, case, &mut after),
            Polling::AtAnyTime => Vec::new(),
        };
        let is_ignored = is_unchanged && effects.is_empty();
        self.require(
            can_happen || result.is_err() || is_ignored,
            number,
            case.name,
            "an answer that nobody waits for changes nothing",
        );
        let outcome = match result {
            Err(refusal) => {
                let asks = matches!(case.name.kind, "guest" | "done" | "failed" | "directory:");
                Outcome::Refused(refusal, can_happen && asks)
            }
            Ok(()) if is_ignored => Outcome::Ignored,
            Ok(()) => Outcome::Taken {
                phase: format!("{:?}", after.phase()),
                disposition: format!("{:?}", after.disposition()),
                effects,
            },
        };
        let cases = self.found.table.entry(before.phase()).or_default();
        cases.entry(case.name).or_default().insert(outcome);
        if can_happen {
            self.visit(number, case.name, after);
        }
    }

    /// Polls all effects; gives their kinds, each run of equal ones once.
    fn drain(&self, number: usize, case: &Case, end: &mut E) -> Vec<String> {
        let now = match case.stimulus {
            Stimulus::Input(now, _) | Stimulus::Cancel(now) | Stimulus::Decide(now, _) => now,
            Stimulus::Start | Stimulus::GuestStores => NOW,
        };
        let mut names = Vec::new();
        for _ in 0..EFFECTS_LIMIT {
            let Some(effect) = end.poll(now) else {
                names.dedup();
                end.settle();
                return names;
            };
            names.push(effect_name(&effect));
        }
        self.require(false, number, case.name, "the effects of a step come to an end");
        names
    }

    fn visit(&mut self, parent: usize, name: Name, end: E) {
        self.check(parent, name, &end);
        let key = end.key();
        if !self.known.insert((hash(&key, 0), hash(&key, 1))) {
            return;
        }
        let number = self.parents.len();
        self.parents.push((parent, name.kind, name.detail));
        let dispositions = self.found.dispositions.entry(end.phase()).or_default();
        dispositions.insert(format!("{:?}", end.disposition()));
        *self.found.states.entry(end.phase()).or_default() += 1;
        self.found.facts.entry(end.phase()).or_default().extend(end.facts());
        if end.is_undoing() {
            self.undo(number, end.clone());
        }
        self.frontier.push_back((number, end));
    }

    /// From every state of undoing, what is well answered comes to its end.
    fn undo(&self, number: usize, mut end: E) {
        for _ in 0..UNDOING_STEPS_LIMIT {
            let mut effect_count = 0;
            while end.poll(NOW).is_some() && effect_count < EFFECTS_LIMIT {
                effect_count += 1;
            }
            if end.is_undone() {
                end.settle();
                return self.check(number, Name { kind: "good course", detail: "" }, &end);
            }
            let Some(case) = end.good_course() else {
                break;
            };
            let _ = end.apply(&case);
            end.consume(&case);
        }
        self.require(false, number, Name { kind: "good course", detail: "" }, "undoing ends");
    }

    fn check(&self, parent: usize, name: Name, end: &E) {
        if let Some(rule) = end.breach() {
            self.require(false, parent, name, rule);
        }
    }

    /// Panics with the course unless the rule is kept.
    fn require(&self, is_kept: bool, parent: usize, name: Name, rule: &str) {
        if is_kept {
            return;
        }
        let mut course = vec![name.to_string()];
        let mut number = parent;
        while let Some((parent, kind, detail)) = self.parents.get(number) {
            course.push(Name { kind, detail }.to_string());
            number = *parent;
        }
        course.reverse();
        panic!("rule broken: {rule}\n  {}", course.join("\n  "));
    }
}

fn hash<T: Hash>(value: &T, salt: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    salt.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}
