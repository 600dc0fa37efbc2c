//! Storage access: keys, prefixing, low-address protection, and the exceptions of a processor.
//!
//! Source of truth: the head of `access`; Principles of Operation, "Protection".

use super::*;
use monitor_core::{
    memory::{PageState, StateOrder},
    units::PageNumber,
};

/// A storage key of ACC 3, without and with fetch protection.
const OWN: u8 = 0x30;
const OWN_AND_FETCH: u8 = 0x38;

fn storage_with_key(key: u8) -> Storage {
    let storage = Storage::new(PageCount::new(16));
    storage.set_key(PageNumber::new(5), key);
    storage
}

fn protection(address: u64, access: Use, cause: Protection) -> Exception {
    Exception::Protection { address, access, cause }
}

fn refused(address: u64, access: Use) -> Exception {
    protection(address, access, Protection::Key)
}

#[test]
fn key_zero_and_the_same_key_may_all_and_another_key_may_fetch_what_is_not_protected() {
    let rows = [
        (OWN, 0, true, true),
        (OWN, 3, true, true),
        (OWN, 4, true, false),
        (OWN_AND_FETCH, 0, true, true),
        (OWN_AND_FETCH, 3, true, true),
        (OWN_AND_FETCH, 4, false, false),
        (0x00, 4, true, false),
        (0x06, 4, true, false),
    ];
    for (storage_key, access_key, fetch, store) in rows {
        let row = format!("{storage_key:#x} under {access_key}");
        assert_eq!(key_permits(storage_key, access_key, Use::Fetch), fetch, "{row}");
        assert_eq!(key_permits(storage_key, access_key, Use::Store), store, "{row}");
        let storage = storage_with_key(storage_key);
        let expected = |may| if may { Ok(()) } else { Err(AccessException::Protection) };
        assert_eq!(storage.load_keyed(0x5000, &mut [0; 8], access_key), expected(fetch), "{row}");
        assert_eq!(storage.store_keyed(0x5000, &[1; 8], access_key), expected(store), "{row}");
        assert_eq!(storage.load(0x5000) != Ok(0), store, "{row}");
    }
}

#[test]
fn refused_access_over_two_pages_changes_neither_storage_nor_keys() {
    let storage = storage_with_key(OWN);
    storage.set_key(PageNumber::new(4), 0x40);
    let (first, second) = (PageNumber::new(4), PageNumber::new(5));
    assert_eq!(storage.store_keyed(0x4FFC, &[9; 8], 4), Err(AccessException::Protection));
    assert_eq!(storage.store_keyed(0xFFFC, &[9; 8], 0), Err(AccessException::Addressing));
    assert_eq!(storage.store_keyed(u64::MAX, &[9; 8], 4), Err(AccessException::Addressing));
    assert_eq!((storage.key(first), storage.key(second)), (0x40, OWN));
    let mut bytes = [7; 4];
    storage.load_bytes(0x4FFC, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
    assert_eq!(storage.store_keyed(0x4FFC, &[9; 4], 4), Ok(()));
    assert_eq!(storage.key(first), 0x46);
}

#[test]
fn processor_meets_protection_with_the_address_that_it_gave() {
    let mut state = ProcessorImage::initial();
    state.psw = state.psw.with_key(4);
    let storage = storage_with_key(OWN_AND_FETCH);
    let real = RealStorage::new(&storage, &state);
    assert_eq!(real.load(0x5008), Err(refused(0x5008, Use::Fetch)));
    assert_eq!(real.store(0x5008, 1), Err(refused(0x5008, Use::Store)));
    assert_eq!(real.load_bytes(0x4FF0, &mut [0; 32]), Err(refused(0x5000, Use::Fetch)));
    assert_eq!(real.store_bytes(0x4FF0, &[1; 32]), Err(refused(0x4FF0, Use::Store)));
    assert_eq!(real.load(0x1_0000), Err(Exception::Addressing));
    assert_eq!(real.load(0x4001), Err(Exception::Addressing), "off the boundary");
    assert_eq!(storage.key(PageNumber::new(5)), OWN_AND_FETCH);
}

#[test]
fn prefix_area_and_absolute_zero_are_exchanged() {
    let storage = Storage::new(PageCount::new(16));
    let state = ProcessorImage { prefix: 0x6000, ..ProcessorImage::initial() };
    let real = RealStorage::new(&storage, &state);
    let pairs = [
        (0, 0x6000),
        (0x1FFF, 0x7FFF),
        (0x2000, 0x2000),
        (0x5FFF, 0x5FFF),
        (0x6000, 0),
        (0x7FFF, 0x1FFF),
        (0x8000, 0x8000),
    ];
    for (address, absolute) in pairs {
        assert_eq!(real.absolute(address), absolute, "{address:#x}");
    }
    real.store_bytes(0x1FFC, &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
    let mut bytes = [0; 4];
    storage.load_bytes(0x7FFC, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    storage.load_bytes(0x2000, &mut bytes).unwrap();
    assert_eq!(bytes, [5, 6, 7, 8]);
    assert_eq!(real.load(0x1FF8).map(|word| word as u32), Ok(0x0102_0304));
}

#[test]
fn low_address_protection_covers_the_begin_of_two_pages_before_prefixing() {
    let storage = Storage::new(PageCount::new(16));
    let mut state = ProcessorImage { prefix: 0x6000, ..ProcessorImage::initial() };
    let open = RealStorage::new(&storage, &state.clone()).store(0x1F8, 1);
    state.control[0] |= 0x1000_0000;
    let real = RealStorage::new(&storage, &state);
    assert_eq!(open, Ok(()));
    let low = |address| Err(protection(address, Use::Store, Protection::LowAddress));
    assert_eq!(real.store(0x1F8, 2), low(0x1F8));
    assert_eq!(real.store(0x11F8, 2), low(0x11F8));
    assert_eq!(real.store_bytes(0xFFF, &[2; 2]), low(0x1000));
    for address in [0x200, 0xFF8, 0x1200, 0x6000, 0x7000] {
        assert_eq!(real.store(address, 3), Ok(()), "{address:#x}");
    }
    assert_eq!(real.load(0x1F8), Ok(1));
}

#[test]
fn program_interruption_tells_length_code_and_identification_and_keeps_the_psw_behind() {
    let program = |context: &mut Context<'_>, _: u32| {
        context.state.psw.address += INSTRUCTION_BYTES;
        if context.state.psw.address == 0x3004 {
            return Ok(Step { worked: 1, next_due: None });
        }
        context.real().store(0x5678, 1)?;
        Ok(Step::default())
    };
    let machine = machine_with(program, Arc::new(Disk::new()));
    machine.storage.set_key(PageNumber::new(5), OWN);
    machine.storage.store(0x21D0, 0x0000_0001_8000_0000).unwrap();
    machine.storage.store(0x21D8, 0x3000).unwrap();
    let mut image = ProcessorImage { prefix: 0x2000, ..ProcessorImage::initial() };
    image.psw = Psw::new(0x0040_0001_8000_0000, 0x2000);
    image.breaking_event = 0x1FF0;
    image.state = CpuState::Operating;
    machine.restore(PROCESSOR, &image).unwrap();
    machine.start_tracking();
    machine.resume(at(0));
    machine.step_processor(0, at(0), 2);
    assert_eq!(machine.storage.load(0x2088), Ok(0x0004_0004), "length and code");
    assert_eq!(machine.storage.load(0x20A8), Ok(0x5408), "store, refused by key");
    assert_eq!(machine.storage.load(0x2110), Ok(0x1FF0));
    assert_eq!(machine.storage.load(0x2150), Ok(0x0040_0001_8000_0000));
    assert_eq!(machine.storage.load(0x2158), Ok(0x2004));
    assert_eq!(state(&machine).psw.address, 0x3004);
    assert_eq!((machine.fault(), marked_pages(&machine)), (None, vec![2]));
}

#[test]
fn malformed_psw_is_a_specification_exception() {
    let machine = machine(&Arc::new(Disk::new()));
    machine.storage.store(0x1D0, 0x0002_0000_0000_0000).unwrap();
    let malformed =
        [0x0008_0000_0000_0000, 0x8000_0000_0000_0000, 0x0000_0001_0000_0000, 0x1, 0x80_0000_0000];
    for (number, mask) in (1..).zip(malformed) {
        let mut image = ProcessorImage { state: CpuState::Operating, ..ProcessorImage::initial() };
        image.psw = Psw::new(mask, 0x2000);
        image.general[1] = number;
        machine.restore(PROCESSOR, &image).unwrap();
        machine.resume(at(0));
        machine.step_processor(0, at(0), 1);
        assert_eq!(machine.storage.load(0x88), Ok(0x0004_0006), "{mask:#x}");
        assert_eq!(state(&machine).general[1], number, "no code was run");
    }
    let exception = Some(Exception::Specification);
    assert_eq!(machine.fault(), Some(Fault { processor: 0, exception }));
}

#[test]
fn prefix_outside_of_storage_check_stops_the_processor() {
    let machine = machine(&Arc::new(Disk::new()));
    ready(&machine, 1);
    let image = ProcessorImage { prefix: 0x10_0000, ..state(&machine) };
    machine.restore(PROCESSOR, &image).unwrap();
    machine.tell(GuestEvent::Moved);
    machine.resume(at(0));
    machine.step_processor(0, at(0), 1);
    assert_eq!(state(&machine).state, CpuState::CheckStop);
    assert!(machine.fault().is_some());
    assert_eq!(machine.step_processor(0, at(1), 1), Some(Step::default()));
}

#[test]
fn page_whose_content_was_dropped_is_an_exception_until_it_is_stable() {
    let storage = Storage::new(PageCount::new(16));
    let (page, state) = (PageNumber::new(5), ProcessorImage::initial());
    let real = RealStorage::new(&storage, &state);
    real.store(0x5008, 7).unwrap();
    storage.set_state(page, StateOrder::SetVolatile);
    assert_eq!(real.load(0x5008), Ok(7));
    assert!(storage.discard(page));
    let gone = Exception::BlockVolatility;
    assert_eq!((real.load(0x5008), real.store(0x5008, 8)), (Err(gone), Err(gone)));
    assert_eq!(real.load_bytes(0x4FFC, &mut [0; 8]), Err(gone));
    assert_eq!(real.store_bytes(0x4FFC, &[1; 8]), Err(gone));
    assert_eq!((real.load(0x4FF8), gone.code()), (Ok(0), 0x1A));
    assert_eq!(storage.store_keyed(0x5000, &[1; 8], 0), Err(AccessException::Addressing));
    assert_eq!(storage.set_state(page, StateOrder::SetStable), PageState::Discarded);
    assert_eq!((real.load(0x5008), real.store(0x5008, 8)), (Ok(0), Ok(())));
}
