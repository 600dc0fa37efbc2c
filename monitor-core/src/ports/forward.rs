//! Every port behind a mutable reference, so that a driver can borrow what a monitor keeps.
//!
//! Source of truth: the traits beside this file. Invariant: each method is passed on as it is.
//! Deliberately not here: anything else.

use super::{
    Checksum, ClusterDirectory, Completion, Completions, DeviceControl, DirtyTracking, GuestEvent,
    GuestEvents, GuestProcessors, GuestStorage, Link, MonitorJournal, OperatorConsole, PageStates,
    StorageKeys, VmHost,
};
use crate::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    memory::{DirtyBitmap, PageRun},
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, PageCount, ProcessorIndex, VmName},
    vm::{
        DirectoryAnswer, Findings, MachineImage, MigrationMark, Ownership, ProcessorSet, VmBlock,
    },
};

/// Passes methods of a trait on to what a reference refers to.
macro_rules! forward {
    ($port:ident: $(fn $name:ident(&$($own:ident)+ $(, $argument:ident: $kind:ty)*)
        $(-> $result:ty)?;)+) => {
        impl<T: $port + ?Sized> $port for &mut T {
            $(forward!(@method $port, $name, ($($own)+), ($($argument: $kind),*), ($($result)?));)+
        }
    };
    (@method $port:ident, $name:ident, (self), ($($argument:ident: $kind:ty),*),
        ($result:ty)) => {
        fn $name(&self $(, $argument: $kind)*) -> $result {
            $port::$name(&**self $(, $argument)*)
        }
    };
    (@method $port:ident, $name:ident, (mut self), ($($argument:ident: $kind:ty),*),
        ($($result:ty)?)) => {
        fn $name(&mut self $(, $argument: $kind)*) $(-> $result)? {
            $port::$name(&mut **self $(, $argument)*)
        }
    };
}

/// The result of a port's method.
type Done<T, Port> = Result<T, <Port as super::ErrorType>::Error>;

forward! { GuestStorage:
    fn page_count(&self) -> PageCount;
    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Done<(), Self>;
    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Done<(), Self>;
}

forward! { StorageKeys:
    fn has_keys(&self) -> bool;
    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Done<(), Self>;
    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Done<(), Self>;
}

forward! { PageStates:
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Done<(), Self>;
    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Done<(), Self>;
}

forward! { DirtyTracking:
    fn start_tracking(&mut self) -> Done<(), Self>;
    fn stop_tracking(&mut self) -> Done<(), Self>;
    fn collect(&mut self, pages: &DirtyBitmap<'_>, keys: &DirtyBitmap<'_>) -> Done<(), Self>;
}

forward! { Completions:
    fn poll_completion(&mut self) -> Option<Completion>;
}

forward! { GuestProcessors:
    fn processor_count(&self) -> u16;
    fn start_stop(&mut self) -> Done<(), Self>;
    fn start_resume(&mut self) -> Done<(), Self>;
    fn capture(&mut self, index: ProcessorIndex, image: &mut ProcessorImage) -> Done<(), Self>;
    fn restore(&mut self, index: ProcessorIndex, image: &ProcessorImage) -> Done<(), Self>;
    fn capture_machine(&mut self, image: &mut MachineImage) -> Done<(), Self>;
    fn restore_machine(&mut self, image: &MachineImage) -> Done<(), Self>;
}

forward! { GuestEvents:
    fn foretell(&mut self, surplus: ProcessorSet) -> Done<(), Self>;
    fn start_tell(&mut self, event: GuestEvent) -> Done<(), Self>;
}

forward! { DeviceControl:
    fn start_assign(&mut self, slot: DeviceSlot, device: &DeviceDescriptor) -> Done<(), Self>;
    fn start_quiesce(&mut self, slot: DeviceSlot) -> Done<(), Self>;
    fn start_detach(&mut self, slot: DeviceSlot) -> Done<(), Self>;
    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Done<(), Self>;
    fn start_remove(&mut self, slot: DeviceSlot) -> Done<(), Self>;
    fn capture_subchannel(&mut self, slot: DeviceSlot, image: &mut SubchannelImage)
        -> Done<(), Self>;
    fn restore_subchannel(&mut self, slot: DeviceSlot, image: &SubchannelImage) -> Done<(), Self>;
}

forward! { VmHost:
    fn check(&mut self, definition: &VmBlock, devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings) -> Done<(), Self>;
    fn start_build(&mut self, definition: &VmBlock) -> Done<(), Self>;
    fn start_destroy(&mut self) -> Done<(), Self>;
    fn mark(&mut self, mark: MigrationMark) -> Done<(), Self>;
}

forward! { MonitorJournal:
    fn save(&mut self, record: &[u8]) -> Done<(), Self>;
}

forward! { ClusterDirectory:
    fn start_read(&mut self, vm: VmName) -> Done<(), Self>;
    fn start_compare_and_set(&mut self, vm: VmName, expected: Ownership, new: Ownership)
        -> Done<(), Self>;
    fn poll_answer(&mut self) -> Option<DirectoryAnswer>;
}

forward! { OperatorConsole:
    fn write_line(&mut self, line: &str) -> Done<(), Self>;
}

forward! { Link:
    fn try_send(&mut self, source: &[u8]) -> Done<usize, Self>;
    fn try_receive(&mut self, target: &mut [u8]) -> Done<usize, Self>;
    fn reconnect(&mut self);
    fn poll_connected(&mut self) -> bool;
}

forward! { Checksum:
    fn update(&mut self, crc: u32, bytes: &[u8]) -> u32;
}
