//! Processors: PSW, image, status areas.
//!
//! Source of truth: `monitor_core::processor`. Deliberately not here: how calls are made.

use link_check::{any, bytes, consume};
use monitor_core::processor::{
    ADDITIONAL_STATUS_BYTES, CpuState, ProcessorImage, Psw, STATUS_BYTES, StatusError, TodEpoch,
};

use crate::calls::{calls, shows};

pub(crate) fn calls() {
    psw();
    image();
}

fn psw() {
    calls! {
        Psw::new(any(), any());
        Psw::event_recording(any());
        Psw::translation(any());
        Psw::io(any());
        Psw::external(any());
        Psw::machine_check(any());
        Psw::wait(any());
        Psw::problem_state(any());
        Psw::extended_addressing(any());
        Psw::basic_addressing(any());
        Psw::with_event_recording(any(), any());
        Psw::with_translation(any(), any());
        Psw::with_io(any(), any());
        Psw::with_external(any(), any());
        Psw::with_machine_check(any(), any());
        Psw::with_wait(any(), any());
        Psw::with_problem_state(any(), any());
        Psw::with_extended_addressing(any(), any());
        Psw::with_basic_addressing(any(), any());
        Psw::key(any());
        Psw::with_key(any(), any());
        Psw::address_space(any());
        Psw::with_address_space(any(), any());
        Psw::condition_code(any());
        Psw::with_condition_code(any(), any());
        Psw::program_mask(any());
        Psw::with_program_mask(any(), any());
        Psw::with_address(any(), any());
        Psw::to_bytes(any());
        Psw::from_bytes(any());
        Psw::to_short(any());
        Psw::from_short(any());
    }
}

fn image() {
    let mut image: ProcessorImage = any();
    let mut area = [0; STATUS_BYTES];
    let mut more = [0; ADDITIONAL_STATUS_BYTES];
    calls! {
        CpuState::code(any());
        CpuState::from_code(any());
        TodEpoch::between(any(), any());
        TodEpoch::guest_tod(any(), any());
        TodEpoch::resumed(any(), any(), any());
        ProcessorImage::initial();
        ProcessorImage::needs(&image);
        ProcessorImage::confine(&mut image, &any());
        ProcessorImage::emit(&image, &mut more[..]);
        ProcessorImage::parse(bytes());
        ProcessorImage::store_status(&image, &mut area);
        ProcessorImage::load_status(&mut image, &area);
        ProcessorImage::from_status(&area);
        ProcessorImage::store_additional_status(&image, &mut more);
        ProcessorImage::load_additional_status(&mut image, &more);
        ProcessorImage::store_esa_status(&image, &mut area);
    }
    consume(<ProcessorImage as Default>::default());
    shows!(StatusError);
}
