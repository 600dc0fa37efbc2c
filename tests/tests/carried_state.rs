//! State that a guest could miss after a move: what each class of it is on the source just before
//! the stop, it is on the target before the guest's first step.
//!
//! Source of truth: `rig`, which moves a machine of the harness with both drivers. Invariant: each
//! test fails when its class of state is left out of the stream. Deliberately not here: contents
//! of pages and keys, which `lost_writes` has.

use std::sync::Arc;

use host_harness::machine::Machine;
use integration_tests::rig::{Moment, Rig, Scene, differences};
use monitor_core::{
    migrate::{SourcePhase, TargetPhase},
    vm::{AdapterMasks, EventMasks, MachineImage, Measurement},
};

/// Pages of the guest.
const PAGES: u64 = 256;

/// Moves the guest after `action` was done when the processors are about to be stopped.
fn moved(rig: &mut Rig, action: impl FnOnce(&Scene<'_>)) -> Arc<Machine> {
    let mut action = Some(action);
    let ended = rig.attempt(&mut |moment, scene| {
        if moment == Moment::Stopping
            && let Some(action) = action.take()
        {
            action(scene);
        }
    });
    assert_eq!((ended.source, ended.target), (SourcePhase::Released, TargetPhase::Completed));
    let copy = ended.copy.expect("a completed move has a copy");
    assert_eq!(differences(&rig.guest, &copy), [] as [u64; 0], "pages that are not the same");
    copy
}

fn whole(machine: &Machine) -> MachineImage {
    let mut image = MachineImage::initial();
    machine.capture_machine(&mut image);
    image
}

#[test]
fn machine_as_a_whole_is_that_of_the_stop() {
    let state = MachineImage {
        channel_subsystem_max: 0,
        subchannel_set_max: 3,
        reports: [0x4083_0001, 0x4083_0002].into_iter().collect(),
        measurement: Measurement { key: 7, modes: 2, origin: 0x1_0000 },
        events: EventMasks { length: 4, receive: 1 << 63, send: 1 << 62 },
        adapters: AdapterMasks { single: 1, none: 2 },
    };
    let mut rig = Rig::new(PAGES);
    // What the rehearsals have loaded is overwritten, also by less.
    rig.guest.with_floating(|floating| (1..30).for_each(|word| floating.push_report(word)));
    let copy = moved(&mut rig, |scene| scene.guest.restore_machine(&state));
    assert_eq!(whole(&copy), state);
    assert_eq!(copy.with_floating(|floating| floating.take_report()), Some(0x4083_0001));
}
