//! Devices and their subchannels: descriptors, leases, reassignment, control blocks.
//!
//! Source of truth: `monitor_core::device` and `monitor_core::channel`. Deliberately not here: how
//! calls are made.

use link_check::{any, bytes, consume};
use monitor_core::{
    channel::{
        ChannelReportWord, DeviceStatus, Irb, Orb, Pmcw, Schib, Scsw, ScswControl, ScswFlags,
        SubchannelImage, SubchannelStatus,
    },
    device::{
        Assignment, Conduct, Conducts, DescriptorError, DeviceDescriptor, DeviceEntry, DeviceKind,
        Lease, LeaseError, ReassignError, Reassignment, Usage,
    },
};

use crate::calls::{calls, flags, operators, shows};

pub(crate) fn calls() {
    subchannel();
    flag_sets();
    descriptor();
    lease();
    reassignment();
}

fn subchannel() {
    let mut buffer: [u8; 256] = any();
    calls! {
        SubchannelImage::idle(any(), any());
        SubchannelImage::is_quiet(&any());
        SubchannelImage::is_movable(&any());
        SubchannelImage::emit(&any(), &mut buffer[..]);
        SubchannelImage::parse(bytes());
        Orb::of_program(any(), any());
        Orb::key(&any());
        Orb::with_key(any(), any());
        Orb::may_suspend(&any());
        Orb::is_format_1(&any());
        Orb::may_prefetch(&any());
        Orb::wants_initial_status(&any());
        Orb::suppresses_suspended(&any());
        Orb::has_format_2_addresses(&any());
        Orb::has_blocks_of_2k(&any());
        Orb::suppresses_length(&any());
        Orb::may_modify_addresses(&any());
        Orb::is_extended(&any());
        Orb::to_bytes(&any());
        Orb::from_bytes(&any());
        Pmcw::of_device(any());
        Pmcw::is_enabled(&any());
        Pmcw::with_enabled(any(), any());
        Pmcw::has_device(&any());
        Pmcw::without_device(any());
        Pmcw::interruption_subclass(&any());
        Pmcw::with_interruption_subclass(any(), any());
        Pmcw::has_concurrent_sense(&any());
        Pmcw::with_concurrent_sense(any(), any());
        Pmcw::to_bytes(&any());
        Pmcw::from_bytes(&any());
        Schib::to_bytes(&any());
        Schib::from_bytes(&any());
        Scsw::deferred_condition_code(&any());
        Scsw::with_deferred_condition_code(any(), any());
        Scsw::is_suspended(&any());
        Scsw::is_status_pending(&any());
        Scsw::is_quiet(&any());
        Scsw::to_bytes(&any());
        Scsw::from_bytes(&any());
    }
    presented();
}

fn presented() {
    calls! {
        Irb::of_status(any(), any());
        Irb::with_sense(any(), &any());
        Irb::last_used_path(&any());
        Irb::concurrent_sense(&any());
        Irb::to_bytes(&any());
        Irb::from_bytes(&any());
        ChannelReportWord::new(any());
        ChannelReportWord::of(any(), any(), any());
        ChannelReportWord::of_subchannel(any());
        ChannelReportWord::with_overflow(any());
        ChannelReportWord::get(any());
        ChannelReportWord::is_solicited(any());
        ChannelReportWord::has_overflow(any());
        ChannelReportWord::is_chained(any());
        ChannelReportWord::source(any());
        ChannelReportWord::condition(any());
        ChannelReportWord::identification(any());
    }
}

fn flag_sets() {
    flags!(ScswFlags);
    operators!(ScswFlags);
    flags!(ScswControl);
    operators!(ScswControl);
    flags!(DeviceStatus);
    operators!(DeviceStatus);
    flags!(SubchannelStatus);
    operators!(SubchannelStatus);
    flags!(Conducts);
    operators!(Conducts);
    consume(<Conducts as From<Conduct>>::from(any()));
}

fn descriptor() {
    calls! {
        DeviceKind::code(any());
        DeviceKind::from_code(any());
        Assignment::code(any());
        Assignment::from_code(any());
        DeviceDescriptor::emit(&any());
        DeviceDescriptor::parse(&any());
        DeviceDescriptor::conduct(&any());
        DeviceDescriptor::is_taken_by_move(&any());
        DeviceDescriptor::is_replaced_by(&any(), &any());
        DeviceDescriptor::differs_from(&any(), &any());
        Assignment::goes_with(any(), any());
        Assignment::usage(any(), any());
    }
    shows!(DescriptorError);
    shows!(Usage);
}

fn lease() {
    calls! {
        Lease::free();
        Lease::attached(any());
        Lease::quiesced(any());
        Lease::assigned();
        Lease::state(&any());
        Lease::generation(&any());
        Lease::is_usable(&any());
        Lease::owes_quiesce(&any());
        Lease::is_under_way(&any(), any());
        Lease::admits(&any(), any());
        Lease::start_assign(&mut any());
        Lease::start_quiesce(&mut any());
        Lease::start_detach(&mut any());
        Lease::start_attach(&mut any(), any());
        Lease::start_remove(&mut any());
        Lease::finish(&mut any(), any());
        Lease::fail(&mut any(), any());
    }
    shows!(LeaseError);
}

fn reassignment() {
    let mut entries: [DeviceEntry; 2] = any();
    calls! {
        DeviceEntry::free(any());
        DeviceEntry::attached(any(), any());
        DeviceEntry::quiesced(any(), any());
        DeviceEntry::assigned(any());
        DeviceEntry::vacant();
        Reassignment::begin(&mut any(), any(), &entries[..]);
        Reassignment::poll_operation(&mut any(), &mut entries[..]);
        Reassignment::handle_done(&mut any(), any(), &mut entries[..]);
        Reassignment::handle_failed(&mut any(), any(), &mut entries[..]);
        Reassignment::abandon(&mut any());
        Reassignment::is_idle(&any());
        Reassignment::plan(&any());
    }
    shows!(ReassignError);
}
