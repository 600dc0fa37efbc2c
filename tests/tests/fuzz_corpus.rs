//! The corpus of every fuzz target, and bytes at random, as plain tests.
//!
//! Source of truth: [`integration_tests::fuzz`]; `tests/fuzz/README.md` says how the corpus is
//! made anew. Invariant: what is drawn at random comes from a fixed seed, so that each run is the
//! same. Deliberately not here: the search for new inputs, which a fuzzer does.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Debug,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use integration_tests::fuzz::{
    Body, DriverPhase, TARGETS, source_course, source_seeds, stream_course, target_course,
    target_seeds,
};
use monitor_core::migrate::{SourcePhase, TargetPhase};

/// Inputs at random for each target.
const RANDOM_INPUTS: u32 = 3_000;

/// The longest input at random.
const RANDOM_BYTES_MAX: u64 = 600;

/// The most bytes of all corpora together, so that a checkout stays small.
const CORPUS_BYTES_MAX: usize = 1_000_000;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The inputs of a target that are checked in, with their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).expect("every target has a corpus");
    let paths = entries.map(|entry| entry.expect("an entry of a corpus is readable").path());
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    let read = |path: &Path| fs::read(path).expect("an input is readable");
    paths.iter().map(|path| (path.display().to_string(), read(path))).collect()
}

/// Runs an input; one that fails is named.
fn run(body: Body, name: &str, data: &[u8]) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| body(data))) {
        eprintln!("the input that failed is {name}");
        resume_unwind(cause);
    }
}

/// Numbers at random: SplitMix64.
struct Random(u64);

impl Random {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("a length fits");
        usize::try_from(self.next() % bound).expect("less than a length fits")
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.next() % RANDOM_BYTES_MAX;
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }

    /// The beginning of one input and the end of another one, with some bytes changed.
    fn crossing(&mut self, corpus: &[(String, Vec<u8>)]) -> Vec<u8> {
        let (first, second) =
            (&corpus[self.below(corpus.len())].1, &corpus[self.below(corpus.len())].1);
        let head = &first[..self.below(first.len() + 1)];
        let mut data = [head, &second[self.below(second.len() + 1)..]].concat();
        for _ in 0..self.below(4) {
            let place = self.below(data.len());
            if let Some(byte) = data.get_mut(place) {
                *byte = self.next().to_be_bytes()[0];
            }
        }
        data
    }
}

#[test]
fn every_input_of_every_corpus_passes() {
    for (target, body) in TARGETS {
        for (name, data) in corpus(target) {
            run(body, &name, &data);
        }
    }
}

#[test]
fn bytes_at_random_break_nothing() {
    for (target, body) in TARGETS {
        let mut random = Random(0x390);
        for number in 0..RANDOM_INPUTS {
            let data = random.bytes();
            run(body, &format!("number {number} of {target}: {data:?}"), &data);
        }
    }
}

#[test]
fn crossings_of_the_corpus_break_nothing() {
    for (target, body) in TARGETS {
        let corpus = corpus(target);
        let mut random = Random(0x390);
        for number in 0..RANDOM_INPUTS {
            let data = random.crossing(&corpus);
            run(body, &format!("number {number} of {target}: {data:?}"), &data);
        }
    }
}

/// Each seed leads to the phase that its name ends with. Under `OVERWRITE=1` it becomes part of the
/// corpus.
fn assert_seeds<P: Debug>(
    target: &str,
    seeds: BTreeMap<String, Vec<u8>>,
    course: fn(&[u8]) -> Option<P>,
) {
    for (name, seed) in seeds {
        let phase = course(&seed).map(|phase| format!("{phase:?}"));
        assert_eq!(phase.as_deref(), name.split('-').next_back(), "{target}: {name}");
        if env::var_os("OVERWRITE").is_some() {
            fs::write(folder(target).join(name), seed).expect("the corpus can be written");
        }
    }
}

#[test]
fn seeds_lead_to_the_phases_of_their_names() {
    assert_seeds("source", source_seeds(), source_course);
    assert_seeds("target", target_seeds(), target_course);
}

#[test]
fn corpus_leads_to_every_phase_of_both_machines() {
    let phases = corpus("source").iter().filter_map(|(_, data)| source_course(data)).collect();
    let all: BTreeSet<SourcePhase> = SourcePhase::ALL.into_iter().collect();
    assert_eq!(all.difference(&phases).collect::<Vec<_>>(), [&SourcePhase::Idle; 0]);
    let phases = corpus("target").iter().filter_map(|(_, data)| target_course(data)).collect();
    let all: BTreeSet<TargetPhase> = TargetPhase::ALL.into_iter().collect();
    assert_eq!(all.difference(&phases).collect::<Vec<_>>(), [&TargetPhase::Empty; 0]);
}

#[test]
fn corpus_leads_both_drivers_to_every_phase() {
    let phases: BTreeSet<DriverPhase> =
        corpus("stream").iter().flat_map(|(_, data)| stream_course(data)).collect();
    let sources = SourcePhase::ALL.into_iter().filter(|phase| *phase != SourcePhase::Idle);
    let targets = TargetPhase::ALL.into_iter().map(DriverPhase::Target);
    let all: BTreeSet<_> = sources.map(DriverPhase::Source).chain(targets).collect();
    assert_eq!(
        all.difference(&phases).collect::<Vec<_>>(),
        [&DriverPhase::Source(SourcePhase::Idle); 0]
    );
}

#[test]
fn corpus_is_small() {
    let inputs = TARGETS.iter().flat_map(|(target, _)| corpus(target));
    let byte_count: usize = inputs.map(|(_, data)| data.len()).sum();
    assert!(byte_count < CORPUS_BYTES_MAX, "{byte_count} bytes");
}
