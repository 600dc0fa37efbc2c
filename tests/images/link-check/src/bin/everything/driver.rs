//! Both drivers over opaque ports.
//!
//! Source of truth: `monitor_core::driver`. Deliberately not here: how calls are made, and what a
//! driver needs of stack, which the image `drivers` shows.

use core::hint::black_box;

use link_check::{any, bytes, consume, ports::Opaque};
use monitor_core::{
    device::DeviceEntry,
    driver::{PortableCrc32c, Ports, SourceDriver, SourceMemory, TargetDriver, TargetMemory},
    memory::{AtomicWord, DirtyBitmap},
    migrate::SentRun,
    ports::Checksum,
};

use crate::calls::calls;

type OpaquePorts = Ports<Opaque, Opaque, Opaque, Opaque, Opaque>;

const PORTS: OpaquePorts =
    Ports { vm: Opaque, link: Opaque, directory: Opaque, console: Opaque, checksum: Opaque };

pub(crate) fn calls() {
    source();
    target();
    consume(<PortableCrc32c as Checksum>::update(&mut PortableCrc32c, any(), bytes()));
}

fn source() {
    let words: [AtomicWord; 8] = Default::default();
    let Ok(bitmap) = DirtyBitmap::try_new(black_box(&words[..]), any()) else {
        return;
    };
    let (mut window, mut devices): ([Option<SentRun>; 2], [DeviceEntry; 2]) = ([None; 2], any());
    let (mut outgoing, mut incoming): ([u8; 64], [u8; 64]) = any::<[[u8; 64]; 2]>().into();
    let memory = SourceMemory {
        pages: bitmap,
        keys: bitmap,
        window: black_box(&mut window[..]),
        devices: black_box(&mut devices[..]),
        outgoing: black_box(&mut outgoing[..]),
        incoming: black_box(&mut incoming[..]),
    };
    let mut driver = if any() {
        SourceDriver::new(any(), memory, PORTS)
    } else {
        SourceDriver::restore(any(), &any(), any(), memory, PORTS)
    };
    calls! {
        SourceDriver::start(&mut driver, any(), any());
        SourceDriver::cancel(&mut driver, any());
        SourceDriver::decide(&mut driver, any(), any());
        SourceDriver::set_limits(&mut driver, any());
        SourceDriver::machine(&driver);
        SourceDriver::findings(&driver);
        SourceDriver::dirty_pages(&driver);
        SourceDriver::bytes(&driver);
        SourceDriver::ports(&mut driver);
        SourceDriver::devices(&driver);
        SourceDriver::step(&mut driver, any());
    }
}

fn target() {
    let mut devices: [DeviceEntry; 2] = any();
    let (mut outgoing, mut incoming): ([u8; 64], [u8; 64]) = any::<[[u8; 64]; 2]>().into();
    let memory = TargetMemory {
        devices: black_box(&mut devices[..]),
        outgoing: black_box(&mut outgoing[..]),
        incoming: black_box(&mut incoming[..]),
    };
    let mut driver = if any() {
        TargetDriver::new(any(), memory, PORTS)
    } else {
        TargetDriver::restore(any(), any(), &any(), any(), memory, PORTS)
    };
    calls! {
        TargetDriver::machine(&driver);
        TargetDriver::definition(&driver);
        TargetDriver::bytes(&driver);
        TargetDriver::ports(&mut driver);
        TargetDriver::devices(&driver);
        TargetDriver::step(&mut driver, any());
    }
}
