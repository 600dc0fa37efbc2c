//! Cases and their run: two at a time, each told when it is over.
//!
//! Source of truth: none. Invariant: a case that panics has failed, and the others run on.
//! Deliberately not here: the cases.

use std::{
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use crate::{
    failure::{Failure, Result},
    image::Images,
};

/// What a case does: it runs machines of these images, and judges.
type Run = Box<dyn Fn(&Images) -> Result<String> + Send + Sync>;

/// Something that is tried.
pub(crate) struct Case {
    /// The name by which it can be chosen.
    pub(crate) name: String,
    /// What must be the case.
    pub(crate) about: String,
    run: Run,
}

impl Case {
    /// A case that passes when `run` does; what `run` gives is told with it.
    pub(crate) fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        run: impl Fn(&Images) -> Result<String> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), about: about.into(), run: Box::new(run) }
    }
}

/// Runs cases and tells of each; says whether all have passed.
pub(crate) fn run_all(cases: &[Case], images: &Images, jobs: NonZeroUsize) -> bool {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    if !run_one(case, images) {
                        failed.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.load(Relaxed);
    println!("{} cases passed, {failed} failed", cases.len() - failed);
    failed == 0
}

fn run_one(case: &Case, images: &Images) -> bool {
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (case.run)(images)))
        .unwrap_or_else(|_| Err(Failure::new("the case itself has panicked")));
    let seconds = began.elapsed().as_secs_f32();
    match result {
        Ok(told) => {
            println!("{:32} passed in {seconds:5.1} s  {told}", case.name);
            true
        }
        Err(failure) => {
            println!("{:32} FAILED in {seconds:5.1} s: {}\n{failure}", case.name, case.about);
            false
        }
    }
}
