//! The catalogue of lost writes: ways in which other monitors have lost changes of guest storage
//! without a word, each as a move in which exactly this happens.
//!
//! | class | tests |
//! | --- | --- |
//! | the monitor's own writes | `what_the_monitor_stores_is_moved` |
//! | stores of interruptions in the prefix area | `external_interruption_is_moved`, `io_interruption_is_moved` |
//! | data and sense that a channel program stores | `input_of_a_channel_program_is_moved`, `sense_of_a_channel_program_is_moved` |
//! | bits that a failed attempt has taken | `attempt_after_a_failed_one_moves_everything`, `frames_under_way_at_an_abort_are_marked_again`, `keys_under_way_at_an_abort_are_marked_again`, `acknowledged_pages_are_not_marked_again` |
//! | bits that a stop has taken that was rolled back | `rollback_of_a_stop_forgets_neither_pages_nor_keys` |
//! | frames that a lost link has swallowed | `frames_under_way_at_a_loss_of_the_link_are_sent_again` |
//! | two regions, two maps, and their edges | `last_page_of_a_guest_of_any_size_is_moved`, `both_maps_are_followed` |
//! | pages of zeros over storage that is not zero | `page_of_zeros_replaces_what_the_target_had`, `page_that_becomes_zero_is_moved` |
//! | I/O that ends behind the last pass | `input_that_ends_during_the_stop_is_moved` |
//! | keys that change without their page | `key_that_changes_behind_its_page_is_moved`, `key_that_changes_again_is_moved`, `key_that_changes_before_the_stop_is_moved`, `references_are_moved` |
//! | keys that the copying itself changes | `copying_leaves_the_keys_alone` |
//! | a store between the copy of a page and the reading of its key | `store_between_copy_and_key_is_moved` |
//! | pages that wait for their turn in short frames | `store_into_a_page_that_waits_for_its_frame_is_moved` |
//! | stores between the request to stop and the stop | `stores_before_the_stop_are_moved` |
//!
//! Source of truth: published defects of Firecracker, Cloud Hypervisor, Propolis and QEMU for the
//! classes; both machines, byte by byte and key by key, for the outcome. Invariant: in each test
//! the change happens, and happens behind the copy that would otherwise have taken it along.
//! Deliberately not here: random schedules, which are in `move_properties.rs`.

use std::sync::Arc;

use host_harness::machine::{Access, ConditionCode, Machine, Path};
use integration_tests::rig::{
    EPOCH, Ended, Hand, LATENCY, Moment, Rig, SLOT, SUBCHANNEL, Scene, address, clear, differences,
    has, key, page, put,
};
use monitor_core::{
    channel::{Orb, SubchannelImage},
    limits::PAGE_BYTES,
    migrate::{SourcePhase, TargetPhase},
    processor::{CpuState, ProcessorImage, Psw},
    units::{DeviceNumber, PageNumber, ProcessorIndex, VmName},
    vm::{GuestEvent, Reason},
};

/// Pages of a guest whose size does not matter: three groups, the last one not full.
const PAGES: u64 = 150;

/// The page at which tests interfere: in the first group, so that much is copied behind it.
const PAGE: u64 = 9;

/// The page of the prefix area.
const PREFIX_PAGE: u64 = 8;

/// The prefix of the guest's only processor.
const PREFIX: u64 = PREFIX_PAGE * PAGE_BYTES as u64;

/// The page that channel programs fill.
const INPUT_PAGE: u64 = 20;

/// Longest frame with one page.
const ONE_PAGE: usize = 4288;

const PROCESSOR: ProcessorIndex = ProcessorIndex::new(0);

/// The move is complete, and the target's guest is the source's to the last byte and key.
fn assert_moved(rig: &Rig, ended: &Ended) -> Arc<Machine> {
    assert_eq!(ended.source, SourcePhase::Released, "{:?}", ended.reason);
    assert_eq!(ended.target, TargetPhase::Completed);
    let copy = ended.copy.as_ref().expect("a completed move has a copy");
    assert_eq!(differences(&rig.guest, copy), [] as [u64; 0], "pages that are not the same");
    Arc::clone(copy)
}

/// Moves the guest and does `action` once, at the first moment for which it is meant.
fn moved(
    rig: &mut Rig,
    when: impl Fn(Moment) -> bool,
    action: impl FnOnce(&Scene<'_>),
) -> Arc<Machine> {
    let mut action = Some(action);
    let ended = rig.attempt(&mut |moment, scene| {
        if when(moment)
            && let Some(action) = action.take()
        {
            action(scene);
        }
    });
    assert!(action.is_none(), "the moment did not come");
    assert_moved(rig, &ended)
}

/// Opens processor 0 to all interruptions; each of them is handled by going on.
fn open_interruptions(guest: &Machine) {
    let psw = Psw::new(0x0300_0001_8000_0000, 0x2000);
    for new in [0x1B0, 0x1F0] {
        guest.storage.store_bytes(PREFIX + new, &psw.to_bytes()).unwrap();
    }
    let mut image = ProcessorImage::initial();
    image.state = CpuState::Operating;
    image.psw = psw;
    image.prefix = u32::try_from(PREFIX).unwrap();
    image.control[0] |= 0x200;
    image.control[6] = 0xFF00_0000;
    guest.restore(PROCESSOR, &image).unwrap();
}

/// Starts a program whose last command concerns the disk's blocks and the page of input.
fn start_io(scene: &Scene<'_>, code: u8, count: u64) {
    let storage = &scene.guest.storage;
    let program = address(30, 0);
    // An extent over all blocks, and where to read in it.
    storage.store(program, 0x6340_0010 << 32 | (program + 64)).unwrap();
    storage.store(program + 64, 0).unwrap();
    storage.store(program + 72, 7).unwrap();
    storage.store(program + 8, 0x4340_0008 << 32 | (program + 80)).unwrap();
    storage.store(program + 80, 0x0600_0008 << 32).unwrap();
    let command = u64::from(code) << 56 | 0x20 << 48 | count << 32 | address(INPUT_PAGE, 0);
    storage.store(program + 16, command).unwrap();
    let orb = Orb::of_program(u32::try_from(program).unwrap(), 0xCAFE);
    let started = scene.guest.with_subsystem(|it| it.start(SUBCHANNEL, &orb, scene.now));
    assert_eq!(started, Ok(ConditionCode::Done));
}

/// A rig whose disk has something in its first block.
fn with_disk(content: &[u8]) -> Rig {
    let rig = Rig::new(PAGES);
    let vm = VmName::new("VM12PROD").unwrap();
    rig.disk.put(&Access::new(vm, EPOCH, Path::default()), 0, content);
    rig
}

// The monitor's own writes, interruptions, channel programs.

#[test]
fn what_the_monitor_stores_is_moved() {
    let mut rig = Rig::new(PAGES);
    let copy = moved(
        &mut rig,
        |moment| moment.copies(PAGE),
        |scene| {
            // A block of information that crosses the edge of its page, and a single doubleword.
            scene.guest.storage.store_bytes(address(PAGE, 4090), b"CONFIGURATION").unwrap();
            scene.guest.storage.store(address(4, 64), 0x1234).unwrap();
        },
    );
    assert!(has(&copy, PAGE, 4090, b"CONFIG"));
    assert!(has(&copy, PAGE + 1, 0, b"URATION"));
    assert!(has(&copy, 4, 64, &0x1234_u64.to_be_bytes()));
}

#[test]
fn external_interruption_is_moved() {
    let mut rig = Rig::new(PAGES);
    open_interruptions(&rig.guest);
    let copy = moved(
        &mut rig,
        |moment| moment.reads_key(PREFIX_PAGE),
        |scene| {
            scene.guest.tell(GuestEvent::NetworkUp);
        },
    );
    // The second question: the first one was about the move.
    assert!(has(&copy, PREFIX_PAGE, 0x80, &0x14_u32.to_be_bytes()));
}

#[test]
fn io_interruption_is_moved() {
    let mut rig = with_disk(b"INPUT");
    open_interruptions(&rig.guest);
    let copy =
        moved(&mut rig, |moment| moment.reads_key(PREFIX_PAGE), |scene| start_io(scene, 0x03, 1));
    assert!(has(&copy, PREFIX_PAGE, 0xBC, &0xCAFE_u32.to_be_bytes()));
    assert!(has(&copy, PREFIX_PAGE, 0x170, &0x0300_0001_u32.to_be_bytes()), "the old PSW");
}

#[test]
fn input_of_a_channel_program_is_moved() {
    let mut rig = with_disk(b"INPUT");
    let copy =
        moved(&mut rig, |moment| moment.reads_key(INPUT_PAGE), |scene| start_io(scene, 0x42, 4096));
    assert!(has(&copy, INPUT_PAGE, 0, b"INPUT\0"));
    assert_eq!(key(&copy, INPUT_PAGE) & 0x06, 0x06);
}

#[test]
fn sense_of_a_channel_program_is_moved() {
    let mut rig = with_disk(b"INPUT");
    let copy =
        moved(&mut rig, |moment| moment.reads_key(INPUT_PAGE), |scene| start_io(scene, 0x04, 32));
    // The disk has 24 sense bytes.
    assert!(has(&copy, INPUT_PAGE, 0, &[0; 24]));
    assert!(!has(&copy, INPUT_PAGE, 0, &[0; 32]), "the page was zero before");
}

/// The last pass has gone over the page, and the processors are being stopped, when an input is
/// started whose end nobody but the drain waits for.
#[test]
fn input_that_ends_during_the_stop_is_moved() {
    let mut rig = with_disk(b"INPUT");
    let (mut started, mut stopped, mut copied) = (None, None, None);
    let mut rounds = 0;
    let ended = rig.attempt(&mut |moment, scene| match moment {
        Moment::Stopping => {
            rounds += 1;
            if rounds == 3 {
                start_io(scene, 0x42, 4096);
                started = Some(scene.now);
            }
        }
        Moment::Stopped => stopped = Some(scene.now),
        moment if stopped.is_some() && moment.copies(INPUT_PAGE) => copied = Some(scene.now),
        _ => {}
    });
    let copy = assert_moved(&rig, &ended);
    let (started, stopped) = (started.unwrap(), stopped.unwrap());
    assert!(stopped < started.after(LATENCY), "the input ended before the stop");
    assert!(copied.unwrap() >= started.after(LATENCY), "the page was copied before the input");
    assert!(has(&copy, INPUT_PAGE, 0, b"INPUT\0"));
    let mut image = SubchannelImage::idle(SUBCHANNEL, DeviceNumber::new(0));
    copy.with_subsystem(|subsystem| subsystem.capture(SLOT, &mut image)).unwrap();
    assert!(image.schib.scsw.is_status_pending(), "the end of the input is known to the guest");
}

// Attempts that fail, and stops that are rolled back.

#[test]
fn attempt_after_a_failed_one_moves_everything() {
    type End = fn(&Scene<'_>);
    let (cancel, cut): (End, End) = (|scene| scene.cancel(), |scene| scene.cut_link());
    let at_a_copy: fn(Moment) -> bool = |moment| moment.copies(PAGE + 64);
    let stopped: fn(Moment) -> bool = |moment| moment == Moment::Stopped;
    let tracked: fn(Moment) -> bool = |moment| moment == Moment::Tracked;
    for frame_bytes_max in [ONE_PAGE, 16_000, 262_336] {
        for (when, end) in [
            (at_a_copy, cancel),
            (at_a_copy, cut),
            (stopped, cancel),
            (stopped, cut),
            (tracked, cut),
        ] {
            let mut rig = Rig::new(PAGES);
            rig.frame_bytes_max = frame_bytes_max;
            let mut ends = 0;
            let ended = rig.attempt(&mut |moment, scene| {
                if when(moment) && ends == 0 {
                    ends += 1;
                    put(scene.guest, PAGE, 77);
                    end(scene);
                }
            });
            assert_eq!((ended.source, ends), (SourcePhase::RolledBack, 1));
            assert!(rig.guest.is_running());
            put(&rig.guest, PAGE + 1, 78);
            clear(&rig.guest, PAGE + 64);
            rig.guest.storage.set_key(PageNumber::new(PAGE + 2), 0xA0);
            let copy = moved(
                &mut rig,
                |moment| moment.copies(PAGE),
                |scene| {
                    put(scene.guest, PAGE + 3, 79);
                },
            );
            assert_eq!(key(&copy, PAGE + 2), 0xA0);
        }
    }
}

#[test]
fn frames_under_way_at_an_abort_are_marked_again() {
    // With short frames the rest of the group was taken from the map too, and waits.
    for frame_bytes_max in [ONE_PAGE, 262_336] {
        let mut rig = Rig::new(PAGES);
        rig.frame_bytes_max = frame_bytes_max;
        let mut copies = 0;
        let ended = rig.attempt(&mut |moment, scene| match moment {
            Moment::Tracked => scene.set_link_bytes(1000),
            Moment::Copied(_) => {
                copies += 1;
                scene.cut_link();
            }
            _ => {}
        });
        assert_eq!((ended.source, ended.reason), (SourcePhase::RolledBack, Some(Reason::LinkLost)));
        assert!(copies > 0);
        let map = rig.guest.storage.pages_map();
        let is_forgotten = |page: &u64| !map.is_marked(PageNumber::new(*page));
        assert_eq!((0..PAGES).filter(is_forgotten).collect::<Vec<_>>(), [] as [u64; 0]);
    }
}

#[test]
fn keys_under_way_at_an_abort_are_marked_again() {
    let mut rig = Rig::new(PAGES);
    let mut readings = 0;
    let ended = rig.attempt(&mut |moment, scene| {
        if moment.reads_key(PAGE) {
            readings += 1;
            match readings {
                1 => scene.guest.storage.set_key(PageNumber::new(PAGE), 0xC0),
                _ => scene.cut_link(),
            }
        }
    });
    assert_eq!((ended.source, readings), (SourcePhase::RolledBack, 2));
    assert!(rig.guest.storage.keys_map().is_marked(PageNumber::new(PAGE)));
}

/// The counterpart: an abort that marked everything would hide one that forgets.
#[test]
fn acknowledged_pages_are_not_marked_again() {
    let mut rig = Rig::new(640);
    let mut is_cancelled = false;
    let ended = rig.attempt(&mut |moment, scene| {
        if moment == Moment::Stopping && !is_cancelled {
            is_cancelled = true;
            put(scene.guest, PAGE, 5);
            scene.cancel();
        }
    });
    assert_eq!(ended.reason, Some(Reason::Cancelled));
    assert_eq!(rig.guest.storage.pages_map().count().get(), 1);
    assert!(rig.guest.storage.pages_map().is_marked(PageNumber::new(PAGE)));
}

/// The link stands still while the last pages are sent, so that the budget is spent: the guest
/// runs again, and what was taken from the maps and not sent belongs to the next pass.
#[test]
fn rollback_of_a_stop_forgets_neither_pages_nor_keys() {
    for frame_bytes_max in [ONE_PAGE, 12_000, 262_336] {
        let mut rig = Rig::new(PAGES);
        rig.frame_bytes_max = frame_bytes_max;
        let (mut is_stopped, mut resumes) = (false, 0);
        let ended = rig.attempt(&mut |moment, scene| match moment {
            Moment::Stopping if resumes == 0 => {
                scene.set_link_bytes(1000);
                for page in 0..40 {
                    put(scene.guest, page, 900 + page);
                }
                scene.guest.storage.set_key(PageNumber::new(100), 0xB0);
            }
            Moment::Stopped => is_stopped = true,
            Moment::Copied(_) if is_stopped && resumes == 0 => scene.set_link_bytes(0),
            // Changes are still noted in the passes behind the rollback.
            moment if resumes == 1 && moment.copies(PAGE) => put(scene.guest, PAGE + 1, 902),
            Moment::Resumed => {
                resumes += 1;
                scene.open_link();
                put(scene.guest, PAGE, 901);
                scene.guest.storage.set_key(PageNumber::new(101), 0xD0);
            }
            _ => {}
        });
        let copy = assert_moved(&rig, &ended);
        assert_eq!((resumes, ended.statistics.overruns), (1, 1));
        assert_eq!((key(&copy, 100), key(&copy, 101)), (0xB0, 0xD0));
    }
}

/// The link is lost with frames under way and comes back: what was not stored is sent again, as it
/// is by then.
#[test]
fn frames_under_way_at_a_loss_of_the_link_are_sent_again() {
    for frame_bytes_max in [ONE_PAGE, 12_000, 262_336] {
        let mut rig = Rig::new(PAGES);
        rig.frame_bytes_max = frame_bytes_max;
        let mut drops = 0;
        let ended = rig.attempt(&mut |moment, scene| match moment {
            Moment::Tracked => scene.set_link_bytes(3000),
            moment if moment.copies(PAGE) && drops == 0 => {
                drops += 1;
                put(scene.guest, PAGE, 21);
                scene.drop_link();
                scene.open_link();
            }
            moment if moment.reads_key(PAGE) && drops == 1 => {
                drops += 1;
                scene.guest.storage.set_key(PageNumber::new(PAGE), 0x70);
                scene.drop_link();
            }
            _ => {}
        });
        let copy = assert_moved(&rig, &ended);
        assert_eq!((drops, page(&copy, PAGE)[5], key(&copy, PAGE)), (2, 21, 0x70));
    }
}

// Maps and their edges.

#[test]
fn last_page_of_a_guest_of_any_size_is_moved() {
    for pages in [1, 2, 63, 64, 65, 127, 128, 129, 4_095, 4_096, 4_097, 4_160] {
        let mut rig = Rig::new(pages);
        let copy = moved(
            &mut rig,
            |moment| moment.reads_key(pages - 1),
            |scene| {
                put(scene.guest, 0, 3);
                put(scene.guest, pages / 2, 4);
                put(scene.guest, pages - 1, 5);
            },
        );
        assert_eq!(page(&copy, pages - 1)[..6], [0, 0, 0, 0, 0, 5], "{pages} pages");
    }
}

/// Content and keys have a map each: what one of them notes at a place is not taken for a note
/// of the other, nor moved to another place.
#[test]
fn both_maps_are_followed() {
    let mut rig = Rig::new(4_100);
    let (contents, keys) = ([1, 64, 2_048, 4_096], [0, 65, 2_049, 4_099]);
    let copy = moved(
        &mut rig,
        |moment| moment.reads_key(4_099),
        |scene| {
            for page in contents {
                put(scene.guest, page, 0x0AAA);
            }
            for page in keys {
                scene.guest.storage.set_key(PageNumber::new(page), 0x30);
            }
        },
    );
    assert!(contents.iter().all(|it| page(&copy, *it)[4..6] == [0x0A, 0xAA]));
    assert!(keys.iter().all(|it| key(&copy, *it) == 0x30));
}

// Pages of zeros.

#[test]
fn page_of_zeros_replaces_what_the_target_had() {
    let mut rig = Rig::new(PAGES);
    clear(&rig.guest, PAGE);
    let copy = moved(&mut rig, |moment| moment == Moment::Tracked, |_| ());
    for zero in [3, PAGE, 147] {
        assert_eq!(*page(&copy, zero), [0; PAGE_BYTES]);
    }
    assert_eq!(key(&copy, 0), 0);
}

#[test]
fn page_that_becomes_zero_is_moved() {
    let mut rig = Rig::new(PAGES);
    let copy = moved(
        &mut rig,
        |moment| moment.reads_key(PAGE),
        |scene| {
            clear(scene.guest, PAGE);
            clear(scene.guest, PAGES - 1);
        },
    );
    assert_eq!(*page(&copy, PAGE), [0; PAGE_BYTES]);
}

// Keys.

#[test]
fn key_that_changes_behind_its_page_is_moved() {
    let mut rig = Rig::new(PAGES);
    let copy = moved(
        &mut rig,
        |moment| moment.reads_key(PAGE),
        |scene| {
            scene.guest.storage.set_key(PageNumber::new(PAGE), 0x58);
        },
    );
    assert_eq!(key(&copy, PAGE), 0x58);
}

/// The key changes once behind its page and once more behind the frame of keys.
#[test]
fn key_that_changes_again_is_moved() {
    let mut rig = Rig::new(PAGES);
    let mut readings = 0;
    let ended = rig.attempt(&mut |moment, scene| {
        if moment.reads_key(PAGE) {
            readings += 1;
            // A guest that is stopped, as it is at the third reading, changes nothing.
            if readings <= 2 {
                scene.guest.storage.set_key(PageNumber::new(PAGE), readings << 4);
            }
        }
    });
    let copy = assert_moved(&rig, &ended);
    assert_eq!((key(&copy, PAGE), readings), (0x20, 3));
}

#[test]
fn key_that_changes_before_the_stop_is_moved() {
    let mut rig = Rig::new(PAGES);
    let copy = moved(
        &mut rig,
        |moment| moment == Moment::Stopping,
        |scene| {
            scene.guest.storage.set_key(PageNumber::new(PAGES - 1), 0xE8);
        },
    );
    assert_eq!(key(&copy, PAGES - 1), 0xE8);
}

/// A load sets the reference bit, RESET REFERENCE BIT EXTENDED takes it back; neither touches
/// the page.
#[test]
fn references_are_moved() {
    let mut rig = Rig::new(PAGES);
    let (read, reset) = (0, 6);
    rig.guest.storage.set_key(PageNumber::new(read), 0);
    rig.guest.storage.set_key(PageNumber::new(reset), 0x96);
    let copy = moved(
        &mut rig,
        |moment| moment.reads_key(reset),
        |scene| {
            scene.guest.storage.load(address(read, 8)).unwrap();
            assert_eq!(scene.guest.storage.reset_reference(PageNumber::new(reset)), 3);
        },
    );
    assert_eq!((key(&copy, read), key(&copy, reset)), (0x04, 0x92));
}

#[test]
fn copying_leaves_the_keys_alone() {
    let mut rig = Rig::new(PAGES);
    let keys = |guest: &Machine| (0..PAGES).map(|page| key(guest, page)).collect::<Vec<_>>();
    let before = keys(&rig.guest);
    let copy = moved(&mut rig, |moment| moment == Moment::Tracked, |_| ());
    assert_eq!(keys(&rig.guest), before);
    assert_eq!(keys(&copy), before);
}

// Stores within a step.

/// The copy has the old content, and the key that is read next already has the change bit.
#[test]
fn store_between_copy_and_key_is_moved() {
    for page_number in [PAGE, PAGES - 1] {
        let mut rig = Rig::new(PAGES);
        rig.guest.storage.set_key(PageNumber::new(page_number), 0x10);
        let copy = moved(
            &mut rig,
            |moment| moment.copies(page_number),
            |scene| {
                put(scene.guest, page_number, 6);
            },
        );
        assert_eq!(page(&copy, page_number)[5], 6);
        assert_eq!(key(&copy, page_number), 0x16);
    }
}

#[test]
fn store_into_a_page_that_waits_for_its_frame_is_moved() {
    for frame_bytes_max in [ONE_PAGE, 16_000] {
        let mut rig = Rig::new(PAGES);
        rig.frame_bytes_max = frame_bytes_max;
        let copy = moved(
            &mut rig,
            |moment| moment.copies(PAGE),
            |scene| {
                // Sent already, under way now, and waiting, all of the same group.
                for page in [PAGE - 4, PAGE, PAGE + 30] {
                    put(scene.guest, page, 8);
                }
            },
        );
        assert!([PAGE - 4, PAGE, PAGE + 30].iter().all(|it| page(&copy, *it)[5] == 8));
    }
}

#[test]
fn stores_before_the_stop_are_moved() {
    let mut rig = Rig::new(PAGES);
    let mut stores = 0;
    let hand: Hand<'_> = &mut |moment, scene| {
        if moment == Moment::Stopping {
            put(scene.guest, stores * 31, 500 + stores);
            stores += 1;
        }
    };
    let ended = rig.attempt(hand);
    assert!(stores >= 4, "{stores}");
    assert_moved(&rig, &ended);
}
