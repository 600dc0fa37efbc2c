//! State that a guest could miss after a move: what each class of it is on the source just before
//! the stop, it is on the target before the guest's first step.
//!
//! Source of truth: `rig`, which moves a machine of the harness with both drivers; for the control
//! block, whole server units. Invariant: each test fails when its class of state is left out of the
//! stream. Deliberately not here: contents of pages and keys, which `lost_writes` has.

use std::{array::from_fn, sync::Arc};

use host_harness::{
    cluster::Witness,
    config::CpuId,
    console::Verified,
    machine::{Machine, Tracking, order as signal},
    sim::{Scenario, World},
};
use integration_tests::{
    rig::{Ended, Moment, Rig, SLOT, SUBCHANNEL, Scene, differences, page, put},
    worlds::{other, started, with},
};
use monitor_core::{
    channel::{
        DeviceStatus, Orb, Pmcw, Schib, Scsw, ScswControl, ScswFlags, SubchannelImage,
        SubchannelStatus,
    },
    limits::PAGE_BYTES,
    memory::{PageState, StateOrder},
    migrate::{SourcePhase, TargetPhase},
    processor::{CpuState, MachineCheck, ProcessorImage, Psw, TodEpoch},
    units::{ConfigurationName, DeviceNumber, PageNumber, PoolName, ProcessorIndex, Tick},
    vm::{
        Activity, AdapterMasks, EventMasks, FloatingInterruptions, GuestEvent, MachineImage,
        Measurement, Privileges, ProcessorSet, VmId,
    },
};

/// Pages of the guest.
const PAGES: u64 = 256;

/// Moves the guest after `action` was done when the processors are about to be stopped.
fn moved(rig: &mut Rig, action: impl FnOnce(&Scene<'_>)) -> (Ended, Arc<Machine>) {
    moved_at(rig, |moment| moment == Moment::Stopping, action)
}

/// Moves the guest and does `action` once, at the first moment for which it is meant.
fn moved_at(
    rig: &mut Rig,
    when: impl Fn(Moment) -> bool,
    action: impl FnOnce(&Scene<'_>),
) -> (Ended, Arc<Machine>) {
    let mut action = Some(action);
    let ended = rig.attempt(&mut |moment, scene| {
        if when(moment)
            && let Some(action) = action.take()
        {
            action(scene);
        }
    });
    assert!(action.is_none(), "the moment did not come");
    let copy = assert_moved(rig, &ended);
    (ended, copy)
}

fn assert_moved(rig: &Rig, ended: &Ended) -> Arc<Machine> {
    assert_eq!((ended.source, ended.target), (SourcePhase::Released, TargetPhase::Completed));
    let copy = ended.copy.as_ref().expect("a completed move has a copy");
    assert_eq!(differences(&rig.guest, copy), [] as [u64; 0], "pages that are not the same");
    Arc::clone(copy)
}

fn order(guest: &Machine, page: u64, order: StateOrder) {
    guest.storage.set_state(PageNumber::new(page), order);
}

fn state(guest: &Machine, page: u64) -> PageState {
    guest.storage.state_as_preserved(PageNumber::new(page))
}

/// A processor of which nothing is as a reset leaves it, nor as another one of these has it. All
/// fields are named: one that comes anew does not compile before it is here.
fn processor(number: u64, state: CpuState) -> ProcessorImage {
    let value = |place: u64| (number << 56) | (place << 32) | !(place << 8 | number) & 0xFFFF_FFFF;
    let short = |place| value(place) as u32;
    let both = |left: u64, right: u64| u128::from(left) << 64 | u128::from(right);
    let places = |first: u64| move |place: usize| value(first + place as u64);
    ProcessorImage {
        psw: Psw::new(0x0707_3F01_8000_0000, value(1)),
        state,
        sigp_order: signal::STOP_AND_STORE_STATUS,
        general: from_fn(places(0x10)),
        access: from_fn(|place| places(0x20)(place) as u32),
        control: from_fn(places(0x30)),
        vector: from_fn(|place| both(places(0x40)(place), places(0x60)(place))),
        floating_control: short(2),
        prefix: 0x2000 << number,
        tod_programmable: short(3),
        cpu_timer: -(value(4).cast_signed()),
        clock_comparator: value(5),
        breaking_event: value(6),
        program_parameter: value(7),
        tod_epoch: TodEpoch { index: -1, difference: value(8) },
        external_call: Some(number as u16),
        emergency_signals: value(9),
        malfunction_alerts: value(15),
        machine_check: MachineCheck { code: value(16), address: value(17), damage: short(18) },
        restart_pending: true,
        // It is the machine's, and comes with processor 0.
        service_signal: (number == 0).then_some(0x00AB_CDEF),
        pfault_token: value(10),
        pfault_select: value(11),
        pfault_compare: value(12),
        guarded_storage: from_fn(places(0x80)),
        runtime_instrumentation: from_fn(|place| place as u8 | 0x40),
        execute_target: value(13),
        prediction_blocked: true,
        etoken: from_fn(places(0x90)),
        control_program: value(14),
    }
}

fn load(guest: &Machine, images: &[ProcessorImage]) {
    for (index, image) in (0..).map(ProcessorIndex::new).zip(images) {
        guest.restore(index, image).expect("a processor of the guest");
    }
}

/// What the target has before its first step when the source has these at the stop, and others
/// while it rehearses.
fn processors_moved(rehearsed: &[ProcessorImage], stopped: &[ProcessorImage]) -> Witness {
    let mut rig = Rig::new(PAGES);
    load(&rig.guest, rehearsed);
    let stops = |moment| moment == Moment::Stopped;
    let (ended, _) = moved_at(&mut rig, stops, |scene| load(scene.guest, stopped));
    ended.arrived.expect("the guest has gone on at the target")
}

#[test]
fn each_processor_is_that_of_the_stop_to_its_last_field() {
    use CpuState::{CheckStop, Load, Operating, Stopped};
    let bare = [ProcessorImage::initial(), ProcessorImage::initial()];
    for [first, second] in [[Operating, Stopped], [Load, CheckStop]] {
        let images = [processor(0, first), processor(1, second)];
        assert_eq!(processors_moved(&bare, &images).processors, images);
    }
}

/// What is pending no more, or zero again, is not what an image before has shown.
#[test]
fn nothing_of_a_rehearsal_is_left_in_a_processor() {
    let images = [processor(0, CpuState::CheckStop), processor(1, CpuState::CheckStop)];
    let bare = [ProcessorImage::initial(), ProcessorImage::initial()];
    let mut arrived = processors_moved(&images, &bare).processors;
    // By this the target itself has told of the move.
    assert!(arrived[0].service_signal.take().is_some_and(|told| told % 16 == 3));
    assert_eq!(arrived, bare);
}

/// A subchannel of which no field is zero, nor as it is in a subchannel that does nothing; but for
/// the paths, which are those of either SU.
fn subchannel(control: ScswControl, orb: Option<Orb>) -> SubchannelImage {
    let pmcw = Pmcw {
        interruption_parameter: 0x0102_0304,
        flags: 0x18FD,
        device: DeviceNumber::new(0x9920),
        logical_paths: 0x40,
        not_operational_paths: 0x10,
        last_used_path: 0x20,
        installed_paths: 0x80,
        measurement_index: 0x0506,
        operational_paths: 0xFF,
        available_paths: 0x80,
        channel_paths: [0; 8],
        characteristics: 0x0700_0007,
    };
    let scsw = Scsw {
        flags: ScswFlags::from_bits_retain(0x5BC5),
        control,
        program_address: 0x0001_2348,
        device_status: DeviceStatus::CHANNEL_END | DeviceStatus::UNIT_CHECK,
        subchannel_status: SubchannelStatus::PROTECTION_CHECK | SubchannelStatus::INCORRECT_LENGTH,
        residual_count: 0x0708,
    };
    let measurement_address = 0x090A_0B0C_0D0E;
    let schib = Schib { pmcw, scsw, measurement_address, model_area: [0x80, 1, 2, 3] };
    let sense = from_fn(|place| 0xC0 | place as u8);
    let device = DeviceNumber::new(0x9920);
    SubchannelImage { subchannel: SUBCHANNEL, device, schib, orb, sense }
}

/// What is pending and told, what is held and has not begun, what is suspended and to be resumed.
#[test]
fn subchannel_is_that_of_the_stop_to_its_last_field() {
    let started = ScswControl::START_FUNCTION;
    let ended = started
        | ScswControl::ALERT_STATUS
        | ScswControl::PRIMARY_STATUS
        | ScswControl::SECONDARY_STATUS
        | ScswControl::STATUS_PENDING;
    let resumed = started | ScswControl::SUSPENDED | ScswControl::RESUME_PENDING;
    let told = started
        | ScswControl::SUSPENDED
        | ScswControl::INTERMEDIATE_STATUS
        | ScswControl::STATUS_PENDING;
    let halted = ScswControl::HALT_FUNCTION | ScswControl::STATUS_PENDING;
    let orb = Orb {
        interruption_parameter: 0x0102_0304,
        flags: 0x5BFF,
        logical_paths: 0x40,
        extension_flags: 0xC1,
        program_address: 0x0001_2340,
        extension: from_fn(|place| 0xA0 | place as u8),
    };
    let cases = [
        (ended, Some(orb)),
        (started | ScswControl::START_PENDING, Some(orb)),
        (resumed, Some(orb)),
        (told, Some(orb)),
        (halted, None),
    ];
    for (control, orb) in cases {
        let image = subchannel(control, orb);
        let mut rig = Rig::new(PAGES);
        let stops = |moment| moment == Moment::Stopped;
        let (ended, _) = moved_at(&mut rig, stops, |scene| {
            scene.guest.with_subsystem(|subsystem| {
                subsystem.hold(SLOT).expect("the guest has the disk");
                subsystem.restore(SLOT, &image).expect("it is one of the disk");
            });
        });
        let arrived = ended.arrived.expect("the guest has gone on at the target");
        assert_eq!(arrived.subchannels, [image]);
    }
}

#[test]
fn machine_as_a_whole_is_that_of_the_stop() {
    let state = MachineImage {
        channel_subsystem_max: 1,
        subchannel_set_max: 3,
        reports: [0x4083_0001, 0x4083_0002].into_iter().collect(),
        measurement: Measurement { key: 7, modes: 2, origin: 0x1_0000 },
        events: EventMasks { length: 4, receive: 1 << 63, send: 1 << 62 },
        adapters: AdapterMasks { single: 1, none: 2 },
        floating: FloatingInterruptions {
            adapters: 0x90,
            interrupt_key: true,
            reports_told: true,
            machine_check: MachineCheck { code: 1 << 58, address: 0x3000, damage: 0x0200_0000 },
            page_faults: [0x1234, 0x5678].into_iter().collect(),
            service_signals: [0x12, 0x21].into_iter().collect(),
        },
        stopped_tod: 0,
    };
    let mut rig = Rig::new(PAGES);
    // What the rehearsals have loaded is overwritten, also by less.
    rig.guest.with_floating(|floating| (1..30).for_each(|word| floating.push_report(word)));
    let (ended, copy) = moved(&mut rig, |scene| {
        // What waits is behind this one, or an earlier one.
        scene.guest.tell(GuestEvent::MoveComing);
        scene.guest.restore_machine(&state);
    });
    let mut arrived = ended.arrived.expect("the guest has gone on at the target").machine;
    // By this the target itself has told of the move.
    assert!(arrived.floating.service_signals.pop().is_some_and(|told| told % 16 == 3));
    assert_eq!(MachineImage { stopped_tod: 0, ..arrived }, state);
    assert_eq!(copy.with_floating(|floating| floating.take_report()), Some(0x4083_0001));
}

/// What the guest's clock shows when that of the SU shows `host`.
fn guest_clock(machine: &Machine, host: Option<Tick>) -> u64 {
    let mut image = ProcessorImage::initial();
    machine.capture(ProcessorIndex::new(0), &mut image).expect("a processor of the guest");
    image.tod_epoch.guest_tod(host.expect("the guest has run").get() << 12) >> 12
}

/// The clocks of the two SUs are not synchronized.
#[test]
fn guest_clock_does_not_go_back_whatever_the_clock_at_the_target_shows() {
    for ahead_us in [0, -900_000, 5_000_000] {
        let mut rig = Rig::new(PAGES);
        rig.target_ahead_us = ahead_us;
        let (_, copy) = moved(&mut rig, |_| ());
        let before = guest_clock(&rig.guest, rig.guest.last_step_at());
        let after = guest_clock(&copy, copy.first_step_at());
        let blackout = after.checked_sub(before).expect("the clock has gone back");
        match ahead_us {
            0 => assert!((1..10_000).contains(&blackout), "{blackout}"),
            // Nobody knows how long the stop was.
            ..0 => assert_eq!(blackout, 0),
            1.. => assert!((5_000_001..5_010_000).contains(&blackout), "{blackout}"),
        }
    }
}

/// A block of which the creation of a VM has set nothing, and whose processors do not stand alike.
#[test]
fn control_block_is_that_of_the_source_one_move_older() {
    for state in Activity::ALL {
        let config = with(|config| {
            config.sus[0].cpu_id = Some(CpuId(0xFF12_3456_3931_8000));
            config.vm.processor_count = 4;
            config.vm.detached_processors = ProcessorSet::of(ProcessorIndex::new(2));
            config.vm.state = state;
            config.vm.cpu_quota_hundredths = Some(1250);
            config.vm.cpu_limit_hundredths = Some(6000);
            config.vm.group = PoolName::new("PROD");
            config.vm.migration_count = 7;
            config.sus.iter_mut().for_each(|su| su.processor_count = 2);
        });
        let mut world = started(&config);
        let id = VmId::Name(config.vm.name);
        let block = |world: &World| world.cluster().su(&world.at).and_then(|su| su.vm(id));
        let initial = ConfigurationName::new("390SU- 700-70").expect("a short name");
        let first = block(&world).expect("the VM is there").with_initial_configuration(initial);
        let first = first.with_privileges(Privileges::IO_PRIORITY | Privileges::ASSIGN_BY_GUEST);
        assert!(world.cluster().su(&world.at).is_some_and(|su| su.update(first)));
        for (count, target) in (8..).zip([other(&config), config.vm.on]) {
            let course = world.attempt(target, &Scenario::default());
            assert_eq!(course.verified, Some(Verified::ALL), "{:?}", course.reason);
            assert_eq!(block(&world), Some(first.with_migration_count(count)), "{state:?}");
        }
    }
}

// Page states. The copy is soiled before the move: what nobody brings there is not zero.

#[test]
fn content_of_unused_pages_is_not_sent_and_zero_at_the_target() {
    let mut rig = Rig::new(PAGES);
    for page in 64..128 {
        order(&rig.guest, page, StateOrder::SetUnused);
    }
    order(&rig.guest, 200, StateOrder::SetUnused);
    let (ended, copy) = moved(&mut rig, |_| ());
    assert_eq!(ended.statistics.saved.get(), 65 * PAGE_BYTES as u64);
    assert!(ended.statistics.passes[0].bytes.get() < (PAGES - 64) * PAGE_BYTES as u64);
    for unused in [64, 127, 200] {
        assert_eq!(state(&copy, unused), PageState::Unused);
        assert_eq!(page(&copy, unused)[..], [0; PAGE_BYTES][..]);
    }
}

#[test]
fn page_that_turns_unused_behind_its_body_is_dropped_at_the_target() {
    let mut rig = Rig::new(PAGES);
    let (_, copy) = moved(&mut rig, |scene| {
        order(scene.guest, 5, StateOrder::SetUnused);
        put(scene.guest, 6, 77);
        order(scene.guest, 6, StateOrder::SetUnused);
    });
    for unused in [5, 6] {
        assert_eq!(state(&copy, unused), PageState::Unused);
        assert_eq!(page(&copy, unused)[..], [0; PAGE_BYTES][..]);
    }
}

#[test]
fn page_that_is_stable_again_has_its_content() {
    let mut rig = Rig::new(PAGES);
    for page in [9, 10] {
        order(&rig.guest, page, StateOrder::SetUnused);
    }
    let (_, copy) = moved(&mut rig, |scene| {
        order(scene.guest, 9, StateOrder::SetStable);
        order(scene.guest, 10, StateOrder::SetStableResident);
        put(scene.guest, 10, 78);
    });
    assert_eq!((state(&copy, 9), state(&copy, 10)), (PageState::Stable, PageState::Stable));
    for stable in [9, 10] {
        assert_eq!(page(&copy, stable), page(&rig.guest, stable));
    }
}

/// The state is read before the content, so a change of it in between is another change.
#[test]
fn state_that_changes_while_its_page_is_copied_is_moved() {
    for frame_bytes_max in [4288, 262_336] {
        let mut rig = Rig::new(PAGES);
        rig.frame_bytes_max = frame_bytes_max;
        order(&rig.guest, 21, StateOrder::SetUnused);
        let (_, copy) = moved_at(
            &mut rig,
            |moment| moment.copies(20),
            |scene| {
                order(scene.guest, 20, StateOrder::SetUnused);
                order(scene.guest, 21, StateOrder::SetStable);
                put(scene.guest, 21, 79);
            },
        );
        assert_eq!((state(&copy, 20), state(&copy, 21)), (PageState::Unused, PageState::Stable));
    }
}

#[test]
fn volatile_pages_keep_their_content_and_dropped_ones_their_exception() {
    let mut rig = Rig::new(PAGES);
    order(&rig.guest, 30, StateOrder::SetVolatile);
    order(&rig.guest, 31, StateOrder::SetPotentiallyVolatile);
    order(&rig.guest, 32, StateOrder::SetVolatile);
    assert!(rig.guest.storage.discard(PageNumber::new(32)));
    let (_, copy) = moved(&mut rig, |scene| {
        order(scene.guest, 33, StateOrder::SetVolatile);
        order(scene.guest, 34, StateOrder::SetVolatile);
        assert!(scene.guest.storage.discard(PageNumber::new(34)));
    });
    let states: Vec<_> = (30..35).map(|page| state(&copy, page)).collect();
    use PageState::{Discarded, PotentiallyVolatile, Volatile};
    assert_eq!(states, [Volatile, PotentiallyVolatile, Discarded, Volatile, Discarded]);
    for kept in [30, 31, 33] {
        assert_eq!(page(&copy, kept), page(&rig.guest, kept));
    }
    for gone in [32, 34] {
        assert!(copy.storage.is_discarded(gone * PAGE_BYTES as u64));
    }
}

#[test]
fn states_are_those_of_the_second_attempt() {
    let mut rig = Rig::new(PAGES);
    order(&rig.guest, 40, StateOrder::SetUnused);
    let ended = rig.attempt(&mut |moment, scene| {
        if moment == Moment::Stopping {
            order(scene.guest, 41, StateOrder::SetUnused);
            scene.cancel();
        }
    });
    assert_eq!(ended.source, SourcePhase::RolledBack);
    order(&rig.guest, 40, StateOrder::SetStable);
    order(&rig.guest, 42, StateOrder::SetVolatile);
    let (_, copy) = moved(&mut rig, |scene| put(scene.guest, 40, 80));
    let states = [40, 41, 42].map(|page| state(&copy, page));
    assert_eq!(states, [PageState::Stable, PageState::Unused, PageState::Volatile]);
}

/// The stop takes too long once: the guest runs again, and what it says of its pages then counts.
#[test]
fn states_that_change_behind_a_rollback_of_the_stop_are_moved() {
    let mut rig = Rig::new(PAGES);
    let (mut is_stopped, mut resumes) = (false, 0);
    let ended = rig.attempt(&mut |moment, scene| match moment {
        Moment::Stopping if resumes == 0 => {
            scene.set_link_bytes(1000);
            (0..40).for_each(|page| put(scene.guest, page, 900 + page));
            order(scene.guest, 100, StateOrder::SetUnused);
            order(scene.guest, 101, StateOrder::SetUnused);
        }
        Moment::Stopped => is_stopped = true,
        Moment::Copied(_) if is_stopped && resumes == 0 => scene.set_link_bytes(0),
        Moment::Resumed => {
            resumes += 1;
            scene.open_link();
            order(scene.guest, 0, StateOrder::SetUnused);
            order(scene.guest, 101, StateOrder::SetStable);
        }
        _ => {}
    });
    let copy = assert_moved(&rig, &ended);
    assert_eq!((resumes, ended.statistics.overruns), (1, 1));
    let states = [0, 1, 100, 101].map(|page| state(&copy, page));
    use PageState::{Stable, Unused};
    assert_eq!(states, [Unused, Stable, Unused, Stable]);
}

// Storage keys, where the tracker uses the bits of the hardware.

#[test]
fn keys_that_the_tracker_has_cleared_are_those_of_the_guest() {
    let mut rig = Rig::new(PAGES);
    rig.guest.storage.track_by(Tracking::Keys);
    let key = |guest: &Machine, page| guest.storage.key_as_preserved(PageNumber::new(page));
    let set = |guest: &Machine, page, key| guest.storage.set_key(PageNumber::new(page), key);
    (50..60).for_each(|page| set(&rig.guest, page, 0x30));
    let (ended, copy) = moved(&mut rig, |scene| {
        put(scene.guest, 50, 81);
        scene.guest.storage.load(51 * PAGE_BYTES as u64).unwrap();
        put(scene.guest, 52, 82);
        set(scene.guest, 52, 0x40);
        put(scene.guest, 53, 83);
        assert_eq!(scene.guest.storage.reset_reference(PageNumber::new(53)), 3);
    });
    let keys = |guest| [50, 51, 52, 53, 54].map(|page| key(guest, page));
    assert_eq!(keys(&copy), [0x36, 0x34, 0x40, 0x32, 0x30]);
    assert_eq!(keys(&rig.guest), keys(&copy));
    assert_eq!(page(&copy, 52), page(&rig.guest, 52));
    // What was stored into has its key with it; in frames of their own are the others.
    assert_eq!(ended.statistics.stopped_keys.keys.get(), 3);
}

#[test]
fn keys_of_a_guest_that_has_none_are_not_moved() {
    for tracking in [Tracking::Marks, Tracking::Keys] {
        let mut rig = Rig::new(PAGES);
        rig.guest.storage.remove_keys();
        rig.guest.storage.track_by(tracking);
        let (ended, copy) = moved(&mut rig, |scene| {
            scene.guest.storage.load(60 * PAGE_BYTES as u64).unwrap();
            put(scene.guest, 61, 84);
        });
        assert_eq!(ended.statistics.stopped_keys.frames, 0);
        assert!((0..PAGES).all(|page| copy.storage.key_as_preserved(PageNumber::new(page)) == 0));
    }
}
