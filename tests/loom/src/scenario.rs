//! A guest whose threads store and mark, and a harvester that copies what it takes.
//!
//! Source of truth: the promise of `monitor_core::memory`: when all threads have ended, one more
//! whole sweep leaves a copy that equals the guest. Invariant: each page that is stored into has a
//! word of data in the model, read and written without any order of its own, so that the bitmap
//! alone makes a store visible to a copy. Deliberately not here: which scenarios there are.

use crate::{
    memory::{Map, Variant, sweep::Sweep, word::AtomicWord},
    units::{PageCount, PageNumber},
};
use loom::{
    model::Builder,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};
use std::{
    collections::BTreeMap,
    iter,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, atomic},
};

/// Loom takes the processor away from threads that could go on so often at the most.
const PREEMPTIONS_MAX: usize = 3;

/// How the message of an execution begins whose copy is not the guest.
const LOSS: &str = "the copy lacks something";

/// A region of guest storage: how many pages it has, and the pages with a mark at the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// The number of pages.
    pub pages: u64,
    /// Pages that are stored into and marked before the threads begin.
    pub marked: &'static [u64],
}

/// A store of a guest into `count` pages from `first` on, which it marks together.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// The region, an index into [`Scenario::regions`].
    pub region: usize,
    /// The first page.
    pub first: u64,
    /// The number of pages; the data of the first one stands for all.
    pub count: u64,
}

/// What the harvester does while the guest stores.
#[derive(Clone, Copy, Debug)]
pub enum Harvest {
    /// A sweep over this region from its beginning to its end.
    Whole(usize),
    /// A sweep that is dropped after its first run.
    Dropped(usize),
    /// A sweep whose runs do not arrive: each is put back.
    PutBack(usize),
    /// A count, of at most so many marks.
    Count(usize, u64),
}

/// How the callers of the bitmap keep its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// The guest stores, then marks; the harvester takes, then copies; what fails is put back.
    Sound,
    /// The guest marks, then stores.
    MarkBeforeStore,
    /// The harvester copies, then takes.
    CopyBeforeTake,
    /// What does not arrive is not put back.
    ForgetPutBack,
}

/// Who does what at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The storage.
    pub regions: &'static [Region],
    /// The stores of each thread of the guest, in their order.
    pub guest: &'static [&'static [Store]],
    /// What the harvester does meanwhile.
    pub harvest: &'static [Harvest],
}

/// A page: its region and its number.
type Page = (usize, u64);

/// The guest as the threads of one execution share it.
struct Guest {
    /// The words of each region's map.
    words: Vec<Vec<AtomicWord>>,
    /// The data of each page that is stored into.
    data: BTreeMap<Page, AtomicU64>,
}

impl Guest {
    /// Reads a page; no value for those that nobody stores into.
    fn read(&self, page: Page) -> Option<(Page, u64)> {
        self.data.get(&page).map(|word| (page, word.load(Relaxed)))
    }
}

/// What the harvester has copied.
type Copied = BTreeMap<Page, u64>;

impl Scenario {
    /// Lets loom try every execution, and gives their number.
    ///
    /// # Panics
    /// Panics at the first execution in which the copy differs from the guest.
    #[must_use]
    pub fn explore<V: Variant>(self, callers: Callers) -> u64 {
        let executions = Arc::new(atomic::AtomicU64::new(0));
        let counter = Arc::clone(&executions);
        let mut builder = Builder::new();
        builder.preemption_bound = Some(PREEMPTIONS_MAX);
        builder.check(move || {
            counter.fetch_add(1, Relaxed);
            self.execute::<V>(callers);
        });
        executions.load(Relaxed)
    }

    /// Whether an execution is found in which the copy differs from the guest.
    ///
    /// # Panics
    /// Panics when the exploration fails for another reason.
    #[must_use]
    pub fn fails<V: Variant>(self, callers: Callers) -> bool {
        match catch_unwind(AssertUnwindSafe(|| self.explore::<V>(callers))) {
            Ok(_) => false,
            Err(panic) => {
                let message = panic.downcast_ref::<String>();
                if message.is_some_and(|message| message.contains(LOSS)) {
                    return true;
                }
                resume_unwind(panic);
            }
        }
    }

    /// One execution; the harvester is the first thread of the model.
    fn execute<V: Variant>(self, callers: Callers) {
        let guest = Arc::new(self.begin::<V>());
        let spawn = |stores: &'static [Store]| {
            let guest = Arc::clone(&guest);
            thread::spawn(move || {
                for store in stores {
                    self.store::<V>(&guest, *store, callers);
                }
            })
        };
        let threads: Vec<_> = self.guest.iter().map(|stores| spawn(stores)).collect();
        let mut copied = Copied::new();
        for harvest in self.harvest {
            self.harvest::<V>(&guest, &mut copied, *harvest, callers);
        }
        for thread in threads {
            thread.join().expect("a thread of the guest ends");
        }
        for region in 0..self.regions.len() {
            self.harvest::<V>(&guest, &mut copied, Harvest::Whole(region), Callers::Sound);
            assert!(self.map::<V>(&guest, region).is_empty(), "{LOSS}: a mark is left");
            // Beneath summaries that are clear by mistake, a mark is left that no sweep finds.
            let leaves = &guest.words[region][..self.leaf_count(region)];
            assert!(
                leaves.iter().all(|word| word.load(Relaxed) == 0),
                "{LOSS}: a mark is not found"
            );
        }
        let data: Copied = guest.data.keys().filter_map(|page| guest.read(*page)).collect();
        assert_eq!(copied, data, "{LOSS}: a store is lost");
    }

    /// The guest with the stores that come before the threads.
    fn begin<V: Variant>(self) -> Guest {
        let words = |region: &Region| {
            let count = V::words_needed(PageCount::new(region.pages));
            iter::repeat_with(|| AtomicWord::new(0)).take(count).collect()
        };
        let before = (0..).zip(self.regions).flat_map(|(region, storage)| {
            storage.marked.iter().map(move |first| Store { region, first: *first, count: 1 })
        });
        let stores = before.clone().chain(self.guest.iter().copied().flatten().copied());
        let guest = Guest {
            words: self.regions.iter().map(words).collect(),
            data: stores.map(|store| ((store.region, store.first), AtomicU64::new(0))).collect(),
        };
        for store in before {
            self.store::<V>(&guest, store, Callers::Sound);
        }
        guest
    }

    /// The words that hold the bits of the pages; they come first.
    fn leaf_count(self, region: usize) -> usize {
        let groups = PageCount::new(self.regions[region].pages).groups();
        usize::try_from(groups).expect("the region is small")
    }

    fn map<V: Variant>(self, guest: &Guest, region: usize) -> V::Map<'_> {
        V::map(&guest.words[region], PageCount::new(self.regions[region].pages))
    }

    fn store<V: Variant>(self, guest: &Guest, store: Store, callers: Callers) {
        let mark = || {
            let map = self.map::<V>(guest, store.region);
            map.mark(PageNumber::new(store.first), PageCount::new(store.count));
        };
        if callers == Callers::MarkBeforeStore {
            mark();
        }
        guest.data[&(store.region, store.first)].fetch_add(1, Relaxed);
        if callers != Callers::MarkBeforeStore {
            mark();
        }
    }

    fn harvest<V: Variant>(
        self,
        guest: &Guest,
        copied: &mut Copied,
        harvest: Harvest,
        callers: Callers,
    ) {
        let (region, runs_max) = match harvest {
            Harvest::Whole(region) | Harvest::PutBack(region) => (region, usize::MAX),
            Harvest::Dropped(region) => (region, 1),
            Harvest::Count(region, marks_max) => {
                assert!(self.map::<V>(guest, region).count() <= marks_max, "too many marks");
                return;
            }
        };
        let map = self.map::<V>(guest, region);
        let mut sweep = Sweep::new();
        for _ in 0..runs_max {
            let early: Option<Copied> = (callers == Callers::CopyBeforeTake)
                .then(|| guest.data.keys().filter_map(|page| guest.read(*page)).collect());
            let Some(run) = map.take_next(&mut sweep) else { break };
            if matches!(harvest, Harvest::PutBack(_)) {
                if callers != Callers::ForgetPutBack {
                    map.put_back(run);
                }
                continue;
            }
            for page in run.pages().map(|page| (region, page.get())) {
                let late = || guest.read(page);
                copied.extend(early.as_ref().map_or_else(late, |early| {
                    early.get_key_value(&page).map(|(page, data)| (*page, *data))
                }));
            }
        }
    }
}
