//! Units, limits, guest storage: pages, runs, keys, bitmaps.
//!
//! Source of truth: `monitor_core::units` and `monitor_core::memory`. Deliberately not here: how
//! calls are made.

use link_check::{any, bytes, consume, text};
use monitor_core::{
    memory::{
        AtomicWord, BitmapError, DirtyBitmap, KeyShadow, OutOfRange, PageRun, PageState,
        StateOrder, StorageKey, Sweep,
    },
    units::{
        ByteCount, DeviceNumber, DeviceSlot, Epoch, GroupNumber, Incarnation, Micros, PageCount,
        PageNumber, ProcessorIndex, Sequence, StreamId, SuName, SubchannelNumber, Text, Tick,
        VmIndex, VmName,
    },
};

use crate::calls::{calls, quantity, shows};

pub(crate) fn calls() {
    units();
    names();
    bitmap();
    runs();
    keys();
    states();
}

fn units() {
    quantity!(ByteCount);
    quantity!(DeviceNumber);
    quantity!(DeviceSlot);
    quantity!(Epoch);
    quantity!(GroupNumber);
    quantity!(Incarnation);
    quantity!(Micros);
    quantity!(PageCount);
    quantity!(PageNumber);
    quantity!(ProcessorIndex);
    quantity!(Sequence);
    quantity!(StreamId);
    quantity!(SubchannelNumber);
    quantity!(Tick);
    calls! {
        PageNumber::group(any());
        PageCount::groups(any());
        PageCount::bytes(any());
        GroupNumber::first_page(any());
        Tick::after(any(), any());
        Tick::since(any(), any());
        Micros::from_millis(any());
        Micros::plus(any(), any());
        Sequence::next(any());
        Epoch::next(any());
        VmIndex::new(any());
        VmIndex::get(any());
    }
    shows!(VmIndex);
}

fn names() {
    let name: SuName = any();
    consume::<Option<SuName>>(Text::new(text()));
    consume::<Option<VmName>>(Text::from_bytes(bytes()));
    calls! {
        Text::as_bytes(&name);
        Text::as_str(&name);
        Text::is_empty(&name);
    }
    shows!(Text<8>);
    shows!(Text<64>);
}

fn bitmap() {
    let words: [AtomicWord; 8] = Default::default();
    calls! {
        DirtyBitmap::words_needed(any());
        DirtyBitmap::try_new(&words[..], any());
    }
    shows!(BitmapError);
    shows!(OutOfRange);
    let Ok(bitmap) = DirtyBitmap::try_new(core::hint::black_box(&words[..]), any()) else {
        return;
    };
    let mut sweep: Sweep = any();
    calls! {
        DirtyBitmap::page_count(&bitmap);
        DirtyBitmap::mark(&bitmap, any());
        DirtyBitmap::mark_range(&bitmap, any(), any());
        DirtyBitmap::mark_all(&bitmap);
        DirtyBitmap::put_back(&bitmap, any());
        DirtyBitmap::clear_all(&bitmap);
        DirtyBitmap::take_next(&bitmap, &mut sweep);
        DirtyBitmap::is_marked(&bitmap, any());
        DirtyBitmap::count(&bitmap);
        DirtyBitmap::is_empty(&bitmap);
    }
}

fn runs() {
    calls! {
        PageRun::page_count(any());
        PageRun::is_empty(any());
        PageRun::fits(any(), any());
        Sweep::new();
        Sweep::is_done(&any());
    }
    for page in PageRun::pages(any()) {
        consume(page);
    }
}

fn keys() {
    calls! {
        StorageKey::new(any());
        StorageKey::get(any());
        StorageKey::access_control(any());
        StorageKey::fetch_protected(any());
        StorageKey::referenced(any());
        StorageKey::changed(any());
        StorageKey::with_access_control(any(), any());
        StorageKey::with_fetch_protected(any(), any());
        StorageKey::with_referenced(any(), any());
        StorageKey::with_changed(any(), any());
        KeyShadow::new(any(), any());
        KeyShadow::real(any());
        KeyShadow::saved(any());
        KeyShadow::guest(any());
        KeyShadow::set(any(), any());
        KeyShadow::reset_reference(any());
        KeyShadow::collect(any());
        KeyShadow::loses_change(any(), any());
    }
}

fn states() {
    calls! {
        StateOrder::from_code(any());
        PageState::code(any());
        PageState::from_code(any());
        PageState::has_content(any());
        PageState::after(any(), any());
        PageState::dropped(any(), any());
    }
}
