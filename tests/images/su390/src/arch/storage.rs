//! Storage that holds no Rust object: tables, rings, buffers, the guest.
//!
//! Source of truth: linker/s390x-qemu.ld for where image and guest lie, and the map below for what
//! lies before the image. Invariants: a region lies before the image or behind it, so that no Rust
//! object overlaps it; every access is within its region. Deliberately not here: storage keys.
//!
//! ```text
//! 0x0000  low core; scratch of the handlers from 0x200, see `interruption`
//! 0x3000  block for what goes to the service processor
//! 0x4000  block for what comes from it
//! 0x5000  stack for an interruption of the monitor itself
//! 0x9000  the channel program and its data
//! ```

use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// The first byte that was not carved yet; 0 before the first time.
static NEXT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the linker script defines all of them; their addresses alone are used, never their bytes.
unsafe extern "C" {
    static __stack_guard: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __image_end: u8;
    static __free_end: u8;
    static __guest_storage: u8;
}

/// Where the page lies that nothing may touch, below the stack.
#[must_use]
pub fn stack_guard() -> usize {
    (&raw const __stack_guard).addr()
}

/// Where the image's code lies, and nothing else.
#[must_use]
pub fn code() -> Range<usize> {
    (&raw const __text_start).addr()..(&raw const __text_end).addr()
}

/// What the image leaves to the monitor, between itself and the guest.
fn free() -> Range<usize> {
    (&raw const __image_end).addr()..(&raw const __free_end).addr()
}

/// Where the guest's storage begins, at a multiple of 1 MiB.
#[must_use]
pub fn guest_origin() -> usize {
    (&raw const __guest_storage).addr()
}

/// A stretch of storage, addressed by offsets. Copies of it name the same storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    origin: usize,
    length: usize,
}

impl Region {
    /// A page between prefix area and image: what goes to the service processor.
    pub(super) const OUTPUT_BLOCK: Self = Self { origin: 0x3000, length: PAGE_BYTES };
    /// A page between prefix area and image: what comes from the service processor.
    pub(super) const INPUT_BLOCK: Self = Self { origin: 0x4000, length: PAGE_BYTES };
    /// A page between emergency stack and image: the channel program.
    pub(super) const CHANNEL_PROGRAM: Self = Self { origin: 0x9000, length: PAGE_BYTES };

    /// Takes zeroed storage behind the image, at a multiple of `alignment`, for ever.
    ///
    /// # Panics
    /// If less is left before the guest's storage.
    #[must_use]
    pub fn carve(length: usize, alignment: usize) -> Self {
        let from = NEXT.load(Ordering::Relaxed).max(free().start);
        let origin = from.next_multiple_of(alignment);
        let end = origin + length;
        assert!(end <= free().end, "no storage left for the monitor");
        NEXT.store(end, Ordering::Relaxed);
        let region = Self { origin, length };
        region.fill(0, length, 0);
        region
    }

    /// The storage of the guest: from [`guest_origin`] to the end of what this machine has.
    #[must_use]
    pub fn guest(storage_bytes: usize) -> Self {
        let origin = guest_origin();
        Self { origin, length: storage_bytes.saturating_sub(origin) }
    }

    /// The address of its first byte.
    #[must_use]
    pub const fn origin(self) -> usize {
        self.origin
    }

    /// Its bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        self.length
    }

    /// Whether these bytes lie within.
    #[must_use]
    pub const fn holds(self, offset: usize, length: usize) -> bool {
        match offset.checked_add(length) {
            Some(end) => end <= self.length,
            None => false,
        }
    }

    /// A part of this region, if it lies within.
    #[must_use]
    pub const fn part(self, offset: usize, length: usize) -> Option<Self> {
        if self.holds(offset, length) {
            Some(Self { origin: self.origin + offset, length })
        } else {
            None
        }
    }

    /// The address of these bytes.
    ///
    /// # Panics
    /// If they do not lie within.
    #[must_use]
    #[track_caller]
    pub fn address(self, offset: usize, length: usize) -> usize {
        assert!(self.holds(offset, length), "beyond the region");
        self.origin + offset
    }

    /// Reads one value.
    ///
    /// # Panics
    /// If it does not lie within, or not at a multiple of its size.
    #[must_use]
    #[track_caller]
    pub fn read<T: super::lowcore::Field>(self, offset: usize) -> T {
        let address = self.address(offset, size_of::<T>());
        assert!(address.is_multiple_of(align_of::<T>()), "not aligned");
        // SAFETY: the address lies within the region, which holds no Rust object, and is aligned.
        unsafe { ptr::with_exposed_provenance::<T>(address).read_volatile() }
    }

    /// Writes one value.
    ///
    /// # Panics
    /// If it does not lie within, or not at a multiple of its size.
    #[track_caller]
    pub fn write<T: super::lowcore::Field>(self, offset: usize, value: T) {
        let address = self.address(offset, size_of::<T>());
        assert!(address.is_multiple_of(align_of::<T>()), "not aligned");
        // SAFETY: the address lies within the region, which holds no Rust object, and is aligned.
        unsafe { ptr::with_exposed_provenance_mut::<T>(address).write_volatile(value) };
    }

    /// Copies bytes from here.
    ///
    /// # Panics
    /// If they do not lie within.
    #[track_caller]
    pub fn copy_out(self, offset: usize, target: &mut [u8]) {
        let address = self.address(offset, target.len());
        let source = ptr::with_exposed_provenance::<u8>(address);
        // SAFETY: the source lies within the region, which no Rust object overlaps.
        unsafe { ptr::copy_nonoverlapping(source, target.as_mut_ptr(), target.len()) };
    }

    /// Copies bytes to here.
    ///
    /// # Panics
    /// If they do not lie within.
    #[track_caller]
    pub fn copy_in(self, offset: usize, source: &[u8]) {
        let address = self.address(offset, source.len());
        let target = ptr::with_exposed_provenance_mut::<u8>(address);
        // SAFETY: the target lies within the region, which no Rust object overlaps.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), target, source.len()) };
    }

    /// Sets bytes.
    ///
    /// # Panics
    /// If they do not lie within.
    #[track_caller]
    pub fn fill(self, offset: usize, length: usize, byte: u8) {
        let address = self.address(offset, length);
        // SAFETY: the bytes lie within the region, which no Rust object overlaps.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_bytes(byte, length) };
    }
}
