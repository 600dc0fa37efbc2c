//! How long a sweep over the dirty bitmap of a 1 TiB guest takes, and what a mark costs.
//!
//! Run with `cargo run --release -p host-harness --example harvest`. Each time is the best of
//! three, and the plain flat map that skips clean words is measured in the same run, since the
//! ratio of the two says more than either on a machine that has other things to do.
//!
//! Source of truth: the clock of this machine. Deliberately not here: several threads.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use monitor_core::{
    memory::{AtomicWord, DirtyBitmap, Sweep},
    units::{PageCount, PageNumber},
};

/// Pages of a guest with 1 TiB.
const PAGES: u64 = 1 << 28;

/// Marks of one timing.
const MARKS: u64 = 1 << 20;

/// Timings of which the best counts.
const ROUNDS: usize = 3;

fn main() {
    let needed = DirtyBitmap::words_needed(PageCount::new(PAGES)).expect("1 TiB is allowed");
    let storage: Vec<AtomicWord> = (0..needed).map(|_| AtomicWord::new(0)).collect();
    let map = DirtyBitmap::try_new(&storage, PageCount::new(PAGES)).expect("it is large enough");
    let flat: Vec<AtomicU64> = (0..PAGES / 64).map(|_| AtomicU64::new(0)).collect();

    println!("one sweep, 1 TiB guest     pages taken   three levels      flat map   ratio");
    let random = |count| pages(count).collect::<Vec<u64>>();
    let clusters: Vec<u64> =
        pages(64).flat_map(|page| (0..4).map(move |n| (page & !3) + n)).collect();
    sweeps("none", &map, &flat, &[]);
    sweeps("64 clusters of 4", &map, &flat, &clusters);
    sweeps("0.1 % random", &map, &flat, &random(PAGES / 1000));
    sweeps("10 % random", &map, &flat, &random(PAGES / 10));

    println!("\none mark                  three levels      flat map   ratio");
    marks("random, cold", &map, &flat, true, &random(MARKS));
    marks("random, marked before", &map, &flat, false, &random(MARKS));
    marks("in order", &map, &flat, true, &(0..MARKS).collect::<Vec<_>>());
    ranges(&map, true);
    ranges(&map, false);
}

/// Pseudo-random pages, the same in each run (splitmix64).
fn pages(count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(|n| {
        let mut mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % PAGES
    })
}

fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn mark(map: &DirtyBitmap<'_>, page: u64) {
    map.mark(PageNumber::new(page)).expect("the page is inside the guest");
}

fn mark_flat(flat: &[AtomicU64], page: u64) {
    flat[(page / 64) as usize].fetch_or(1 << (page % 64), Ordering::AcqRel);
}

fn sweep(map: &DirtyBitmap<'_>) -> u64 {
    let (mut sweep, mut taken) = (Sweep::new(), 0);
    while let Some(run) = map.take_next(&mut sweep) {
        taken += black_box(run).page_count().get();
    }
    taken
}

fn sweep_flat(flat: &[AtomicU64]) -> u64 {
    let mut taken = 0;
    for (group, word) in flat.iter().enumerate() {
        if word.load(Ordering::Relaxed) != 0 {
            let (_, mask) = black_box((group, word.swap(0, Ordering::AcqRel)));
            taken += u64::from(mask.count_ones());
        }
    }
    taken
}

fn sweeps(label: &str, map: &DirtyBitmap<'_>, flat: &[AtomicU64], dirty: &[u64]) {
    let (mut taken, mut taken_flat) = (0, 0);
    let levels = best(|| {
        dirty.iter().for_each(|page| mark(map, *page));
        let start = Instant::now();
        taken = sweep(map);
        start.elapsed()
    });
    let plain = best(|| {
        dirty.iter().for_each(|page| mark_flat(flat, *page));
        let start = Instant::now();
        taken_flat = sweep_flat(flat);
        start.elapsed()
    });
    assert_eq!(taken, taken_flat, "both maps hold the same pages");
    let (levels, plain) = (levels.as_secs_f64() * 1e3, plain.as_secs_f64() * 1e3);
    let ratio = levels / plain;
    println!("{label:24} {taken:13} {levels:11.4} ms {plain:10.4} ms {ratio:7.3}");
}

fn marks(label: &str, map: &DirtyBitmap<'_>, flat: &[AtomicU64], clean: bool, dirty: &[u64]) {
    let nanos = |span: Duration| span.as_secs_f64() * 1e9 / dirty.len() as f64;
    let levels = best(|| {
        if clean {
            sweep(map);
        }
        let start = Instant::now();
        dirty.iter().for_each(|page| mark(map, *page));
        start.elapsed()
    });
    let plain = best(|| {
        if clean {
            sweep_flat(flat);
        }
        let start = Instant::now();
        dirty.iter().for_each(|page| mark_flat(flat, *page));
        start.elapsed()
    });
    let (levels, plain) = (nanos(levels), nanos(plain));
    println!("{label:24} {levels:11.2} ns {plain:10.2} ns {:7.3}", levels / plain);
}

fn ranges(map: &DirtyBitmap<'_>, clean: bool) {
    let count = PageCount::new(256);
    let span = best(|| {
        if clean {
            sweep(map);
        }
        let start = Instant::now();
        for n in 0..MARKS / 256 {
            map.mark_range(PageNumber::new(n * 256), count).expect("it is inside the guest");
        }
        start.elapsed()
    });
    let nanos = span.as_secs_f64() * 1e9 / (MARKS / 256) as f64;
    let label = if clean { "range of 256, clean" } else { "range of 256, marked" };
    println!("{label:24} {nanos:11.2} ns");
}
