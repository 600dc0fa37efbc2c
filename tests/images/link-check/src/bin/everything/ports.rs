//! Every port behind a mutable reference, and the one function to which a port gives a body.
//!
//! Source of truth: `monitor_core::ports`. Deliberately not here: how calls are made.

use core::hint::black_box;

use link_check::{any, bytes, consume, ports::Opaque, text};
use monitor_core::{
    device::DeviceDescriptor,
    memory::{AtomicWord, DirtyBitmap, PageRun},
    ports::{
        Checksum, ClusterDirectory, Completions, DeviceControl, DirtyTracking, ErrorKind,
        ErrorType, GuestEvent, GuestEvents, GuestProcessors, GuestStorage, Link, MonitorJournal,
        OperatorConsole, PageStates, StorageKeys, VmHost,
    },
};

use crate::calls::calls;

/// Calls methods behind a mutable reference: `borrowed! { <&mut Opaque as Port>::method(a); }`.
macro_rules! borrowed {
    ($(<&mut Opaque as $Port:ident>::$method:ident($($argument:expr),*);)*) => {
        $(consume(<&mut Opaque as $Port>::$method(
            black_box(&mut &mut Opaque) $(, black_box($argument))*
        ));)*
    };
}

/// Storage keys that leave to the port what they can.
struct Keys;

impl ErrorType for Keys {
    type Error = ErrorKind;
}

impl StorageKeys for Keys {
    fn keys_out(&mut self, _: PageRun, _: &mut [u8]) -> Result<(), ErrorKind> {
        black_box(Ok(()))
    }

    fn keys_in(&mut self, _: PageRun, _: &[u8]) -> Result<(), ErrorKind> {
        black_box(Ok(()))
    }
}

pub(crate) fn calls() {
    calls! {
        StorageKeys::has_keys(&Keys);
    }
    storage();
    machine();
    devices();
    others();
}

fn storage() {
    let mut target: [u8; 64] = any();
    let words: [AtomicWord; 8] = Default::default();
    borrowed! {
        <&mut Opaque as GuestStorage>::page_count();
        <&mut Opaque as GuestStorage>::copy_out(any(), &mut target[..]);
        <&mut Opaque as GuestStorage>::copy_in(any(), bytes());
        <&mut Opaque as StorageKeys>::has_keys();
        <&mut Opaque as StorageKeys>::keys_out(any(), &mut target[..]);
        <&mut Opaque as StorageKeys>::keys_in(any(), bytes());
        <&mut Opaque as PageStates>::states_out(any(), &mut target[..]);
        <&mut Opaque as PageStates>::states_in(any(), bytes());
        <&mut Opaque as DirtyTracking>::start_tracking();
        <&mut Opaque as DirtyTracking>::stop_tracking();
    }
    if let Ok(bitmap) = DirtyBitmap::try_new(black_box(&words[..]), any()) {
        borrowed! {
            <&mut Opaque as DirtyTracking>::collect(&bitmap, &bitmap);
        }
    }
}

fn machine() {
    let event = if any() { GuestEvent::MoveComing } else { GuestEvent::MoveAbandoned };
    borrowed! {
        <&mut Opaque as Completions>::poll_completion();
        <&mut Opaque as GuestProcessors>::processor_count();
        <&mut Opaque as GuestProcessors>::start_stop();
        <&mut Opaque as GuestProcessors>::start_resume();
        <&mut Opaque as GuestProcessors>::capture(any(), &mut any());
        <&mut Opaque as GuestProcessors>::restore(any(), &any());
        <&mut Opaque as GuestProcessors>::capture_machine(&mut any());
        <&mut Opaque as GuestProcessors>::restore_machine(&any());
        <&mut Opaque as GuestEvents>::foretell(any());
        <&mut Opaque as GuestEvents>::start_tell(event);
    }
}

fn devices() {
    borrowed! {
        <&mut Opaque as DeviceControl>::start_assign(any(), &any());
        <&mut Opaque as DeviceControl>::start_quiesce(any());
        <&mut Opaque as DeviceControl>::start_detach(any());
        <&mut Opaque as DeviceControl>::start_attach(any(), any());
        <&mut Opaque as DeviceControl>::start_remove(any());
        <&mut Opaque as DeviceControl>::capture_subchannel(any(), &mut any());
        <&mut Opaque as DeviceControl>::restore_subchannel(any(), &any());
    }
}

fn others() {
    let mut target: [u8; 64] = any();
    let mut described = any::<[DeviceDescriptor; 2]>().into_iter();
    borrowed! {
        <&mut Opaque as VmHost>::check(&any(), &mut described, &mut any());
        <&mut Opaque as VmHost>::start_build(&any());
        <&mut Opaque as VmHost>::start_destroy();
        <&mut Opaque as VmHost>::mark(any());
        <&mut Opaque as MonitorJournal>::save(bytes());
        <&mut Opaque as ClusterDirectory>::start_read(any());
        <&mut Opaque as ClusterDirectory>::start_compare_and_set(any(), any(), any());
        <&mut Opaque as ClusterDirectory>::poll_answer();
        <&mut Opaque as OperatorConsole>::write_line(text());
        <&mut Opaque as Link>::try_send(bytes());
        <&mut Opaque as Link>::try_receive(&mut target[..]);
        <&mut Opaque as Link>::reconnect();
        <&mut Opaque as Link>::poll_connected();
        <&mut Opaque as Checksum>::update(any(), bytes());
    }
}
