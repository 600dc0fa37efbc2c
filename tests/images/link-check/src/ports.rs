//! Ports that say anything: every answer that the types admit, as far as the optimizer knows.
//!
//! Source of truth: `monitor_core::ports`. Invariant: no method is inlined, so that the size and
//! the stack of the ports can be told from those of the core. Deliberately not here: hardware.

use core::hint::black_box;

use monitor_core::{
    channel::SubchannelImage,
    device::DeviceDescriptor,
    memory::{DirtyBitmap, PageRun},
    ports::{
        Checksum, ClusterDirectory, Completion, Completions, DeviceControl, DirtyTracking,
        ErrorKind, ErrorType, GuestEvent, GuestEvents, GuestProcessors, GuestStorage, Link,
        MonitorJournal, OperatorConsole, PageStates, StorageKeys, VmHost,
    },
    processor::ProcessorImage,
    units::{DeviceSlot, Epoch, PageCount, ProcessorIndex, VmName},
    vm::{
        DirectoryAnswer, Findings, MachineImage, MigrationMark, Ownership, ProcessorSet, VmBlock,
    },
};

use crate::any;

/// All ports in one.
#[derive(Debug)]
pub struct Opaque;

type Answer = Result<(), ErrorKind>;

#[inline(never)]
fn answer() -> Answer {
    black_box(Ok(()))
}

impl ErrorType for Opaque {
    type Error = ErrorKind;
}

impl GuestStorage for Opaque {
    #[inline(never)]
    fn page_count(&self) -> PageCount {
        any()
    }

    #[inline(never)]
    fn copy_out(&mut self, run: PageRun, target: &mut [u8]) -> Answer {
        black_box((run, target));
        answer()
    }

    #[inline(never)]
    fn copy_in(&mut self, run: PageRun, source: &[u8]) -> Answer {
        black_box((run, source));
        answer()
    }
}

impl StorageKeys for Opaque {
    #[inline(never)]
    fn has_keys(&self) -> bool {
        any()
    }

    #[inline(never)]
    fn keys_out(&mut self, run: PageRun, target: &mut [u8]) -> Answer {
        black_box((run, target));
        answer()
    }

    #[inline(never)]
    fn keys_in(&mut self, run: PageRun, source: &[u8]) -> Answer {
        black_box((run, source));
        answer()
    }
}

impl PageStates for Opaque {
    #[inline(never)]
    fn states_out(&mut self, run: PageRun, target: &mut [u8]) -> Answer {
        black_box((run, target));
        answer()
    }

    #[inline(never)]
    fn states_in(&mut self, run: PageRun, source: &[u8]) -> Answer {
        black_box((run, source));
        answer()
    }
}

impl DirtyTracking for Opaque {
    #[inline(never)]
    fn start_tracking(&mut self) -> Answer {
        answer()
    }

    #[inline(never)]
    fn stop_tracking(&mut self) -> Answer {
        answer()
    }

    #[inline(never)]
    fn collect(&mut self, pages: &DirtyBitmap<'_>, keys: &DirtyBitmap<'_>) -> Answer {
        black_box((pages, keys));
        answer()
    }
}

impl Completions for Opaque {
    #[inline(never)]
    fn poll_completion(&mut self) -> Option<Completion> {
        any()
    }
}

impl GuestProcessors for Opaque {
    #[inline(never)]
    fn processor_count(&self) -> u16 {
        any()
    }

    #[inline(never)]
    fn start_stop(&mut self) -> Answer {
        answer()
    }

    #[inline(never)]
    fn start_resume(&mut self) -> Answer {
        answer()
    }

    #[inline(never)]
    fn capture(&mut self, index: ProcessorIndex, image: &mut ProcessorImage) -> Answer {
        black_box((index, image));
        answer()
    }

    #[inline(never)]
    fn restore(&mut self, index: ProcessorIndex, image: &ProcessorImage) -> Answer {
        black_box((index, image));
        answer()
    }

    #[inline(never)]
    fn capture_machine(&mut self, image: &mut MachineImage) -> Answer {
        black_box(image);
        answer()
    }

    #[inline(never)]
    fn restore_machine(&mut self, image: &MachineImage) -> Answer {
        black_box(image);
        answer()
    }
}

impl GuestEvents for Opaque {
    #[inline(never)]
    fn foretell(&mut self, surplus: ProcessorSet) -> Answer {
        black_box(surplus);
        answer()
    }

    #[inline(never)]
    fn start_tell(&mut self, event: GuestEvent) -> Answer {
        black_box(event);
        answer()
    }
}

impl DeviceControl for Opaque {
    #[inline(never)]
    fn start_assign(&mut self, slot: DeviceSlot, device: &DeviceDescriptor) -> Answer {
        black_box((slot, device));
        answer()
    }

    #[inline(never)]
    fn start_quiesce(&mut self, slot: DeviceSlot) -> Answer {
        black_box(slot);
        answer()
    }

    #[inline(never)]
    fn start_detach(&mut self, slot: DeviceSlot) -> Answer {
        black_box(slot);
        answer()
    }

    #[inline(never)]
    fn start_attach(&mut self, slot: DeviceSlot, epoch: Epoch) -> Answer {
        black_box((slot, epoch));
        answer()
    }

    #[inline(never)]
    fn start_remove(&mut self, slot: DeviceSlot) -> Answer {
        black_box(slot);
        answer()
    }

    #[inline(never)]
    fn capture_subchannel(&mut self, slot: DeviceSlot, image: &mut SubchannelImage) -> Answer {
        black_box((slot, image));
        answer()
    }

    #[inline(never)]
    fn restore_subchannel(&mut self, slot: DeviceSlot, image: &SubchannelImage) -> Answer {
        black_box((slot, image));
        answer()
    }
}

impl VmHost for Opaque {
    #[inline(never)]
    fn check(
        &mut self,
        definition: &VmBlock,
        devices: &mut dyn Iterator<Item = DeviceDescriptor>,
        findings: &mut Findings,
    ) -> Answer {
        black_box(definition);
        for device in devices {
            black_box(device);
        }
        findings.push(any());
        answer()
    }

    #[inline(never)]
    fn start_build(&mut self, definition: &VmBlock) -> Answer {
        black_box(definition);
        answer()
    }

    #[inline(never)]
    fn start_destroy(&mut self) -> Answer {
        answer()
    }

    #[inline(never)]
    fn mark(&mut self, mark: MigrationMark) -> Answer {
        black_box(mark);
        answer()
    }
}

impl MonitorJournal for Opaque {
    #[inline(never)]
    fn save(&mut self, record: &[u8]) -> Answer {
        black_box(record);
        answer()
    }
}

impl ClusterDirectory for Opaque {
    #[inline(never)]
    fn start_read(&mut self, vm: VmName) -> Answer {
        black_box(vm);
        answer()
    }

    #[inline(never)]
    fn start_compare_and_set(&mut self, vm: VmName, expected: Ownership, new: Ownership) -> Answer {
        black_box((vm, expected, new));
        answer()
    }

    #[inline(never)]
    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        any()
    }
}

impl OperatorConsole for Opaque {
    #[inline(never)]
    fn write_line(&mut self, line: &str) -> Answer {
        black_box(line);
        answer()
    }
}

impl Link for Opaque {
    #[inline(never)]
    fn try_send(&mut self, source: &[u8]) -> Result<usize, ErrorKind> {
        black_box(source);
        black_box(Ok(1))
    }

    #[inline(never)]
    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        black_box(target);
        black_box(Ok(1))
    }

    #[inline(never)]
    fn reconnect(&mut self) {}

    #[inline(never)]
    fn poll_connected(&mut self) -> bool {
        any()
    }
}

impl Checksum for Opaque {
    #[inline(never)]
    fn update(&mut self, crc: u32, bytes: &[u8]) -> u32 {
        black_box((crc, bytes));
        any()
    }
}
