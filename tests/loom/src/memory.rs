//! The bitmap's source, sound and with planted faults, behind one trait for the scenarios.
//!
//! Source of truth: `monitor-core/src/memory` and the table of variants in `build.rs`. Invariant:
//! all variants share the word, the sweep and the run. Deliberately not here: the parts of
//! `memory` that have no atomics.

#[path = "../../../monitor-core/src/memory/sweep.rs"]
pub mod sweep;
pub mod word;

use crate::units::{PageCount, PageNumber};
use sweep::{PageRun, Sweep};
use word::AtomicWord;

/// What a scenario does with a map; as the methods of the bitmap, with pages inside the guest.
pub trait Map {
    /// Marks `count` pages from `first` on; a single page as a guest's store does.
    fn mark(&self, first: PageNumber, count: PageCount);
    /// Takes the next run.
    fn take_next(&self, sweep: &mut Sweep) -> Option<PageRun>;
    /// Marks a run again.
    fn put_back(&self, run: PageRun);
    /// The number of marked pages.
    fn count(&self) -> u64;
    /// Whether no page is marked.
    fn is_empty(&self) -> bool;
}

/// A way to write the bitmap: the sound one, or one with a fault.
pub trait Variant {
    /// The bitmap.
    type Map<'s>: Map;
    /// The words that a map of so many pages takes.
    fn words_needed(pages: PageCount) -> usize;
    /// Lays a map over these words.
    fn map(words: &[AtomicWord], pages: PageCount) -> Self::Map<'_>;
}

/// Makes `Bitmap` the variant of the type `DirtyBitmap` that is in scope.
macro_rules! variant {
    () => {
        /// The variant of this module.
        #[derive(Debug)]
        pub struct Bitmap;

        impl $crate::memory::Variant for Bitmap {
            type Map<'s> = DirtyBitmap<'s>;

            fn words_needed(pages: $crate::units::PageCount) -> usize {
                DirtyBitmap::words_needed(pages).expect("the guest is small")
            }

            fn map(
                words: &[$crate::memory::word::AtomicWord],
                pages: $crate::units::PageCount,
            ) -> DirtyBitmap<'_> {
                DirtyBitmap::try_new(words, pages).expect("there are as many words as needed")
            }
        }

        impl $crate::memory::Map for DirtyBitmap<'_> {
            fn mark(&self, first: $crate::units::PageNumber, count: $crate::units::PageCount) {
                if count.get() == 1 {
                    DirtyBitmap::mark(self, first).expect("the page is in the guest");
                } else {
                    self.mark_range(first, count).expect("the pages are in the guest");
                }
            }

            fn take_next(
                &self,
                sweep: &mut $crate::memory::sweep::Sweep,
            ) -> Option<$crate::memory::sweep::PageRun> {
                DirtyBitmap::take_next(self, sweep)
            }

            fn put_back(&self, run: $crate::memory::sweep::PageRun) {
                DirtyBitmap::put_back(self, run).expect("the run was taken from this map");
            }

            fn count(&self) -> u64 {
                DirtyBitmap::count(self).get()
            }

            fn is_empty(&self) -> bool {
                DirtyBitmap::is_empty(self)
            }
        }
    };
}

/// The bitmap, sound and with one fault each, under the names in the table of `build.rs`.
pub mod variant {
    use super::{sweep, word};

    include!(concat!(env!("OUT_DIR"), "/variants.rs"));
}
