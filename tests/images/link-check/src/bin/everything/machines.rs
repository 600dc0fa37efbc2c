//! The machines of both ends, their journals and their policy, without drivers.
//!
//! Source of truth: `monitor_core::migrate`. Deliberately not here: how calls are made.

use core::hint::black_box;

use link_check::{any, bytes, consume};
use monitor_core::{
    device::DeviceEntry,
    memory::{AtomicWord, DirtyBitmap},
    migrate::{
        Input, LinkFault, Reception, SentRun, Source, SourceJournal, SourceLoan, SourcePhase,
        StepError, Target, TargetJournal, TargetLoan, TargetPhase, admit, admit_incoming,
        policy::{self, Bandwidth, Prediction},
    },
    vm::{Findings, Reason, VmBlock},
};

use crate::calls::{calls, shows};

pub(crate) fn calls() {
    values();
    journals();
    estimates();
    source();
    target();
}

fn values() {
    let block: VmBlock = any();
    calls! {
        admit(Some(&block), any(), &mut any());
        admit_incoming(&block, &any(), &mut any());
        Reception::new(any(), any(), any());
        Input::kind(&any());
        LinkFault::is_recoverable(any());
        LinkFault::reason(any());
        Reason::unless_known(any(), any());
    }
    shows!(StepError<SourcePhase>);
    shows!(StepError<TargetPhase>);
}

fn journals() {
    calls! {
        SourceJournal::emit(&any(), &mut any());
        SourceJournal::parse(bytes());
        TargetJournal::emit(&any(), &mut any());
        TargetJournal::parse(bytes());
    }
}

fn estimates() {
    let passes: [policy::PassReport; 4] = any();
    calls! {
        Bandwidth::add(&mut any(), any(), any());
        Bandwidth::mean(&any());
        Bandwidth::low(&any());
        Prediction::blackout(&any());
        Prediction::fixed(&any());
        Prediction::commit(&any());
        policy::transfer(any(), any());
        policy::decide(&passes[..], &any(), any(), any());
        policy::forecast(&any(), &any(), any());
    }
}

fn source() {
    let words: [AtomicWord; 8] = Default::default();
    let Ok(bitmap) = DirtyBitmap::try_new(black_box(&words[..]), any()) else {
        return;
    };
    let (mut window, mut devices): ([Option<SentRun>; 2], [DeviceEntry; 2]) = ([None; 2], any());
    let mut findings: Findings = any();
    let mut loan = SourceLoan {
        pages: bitmap,
        keys: bitmap,
        window: black_box(&mut window[..]),
        devices: black_box(&mut devices[..]),
        findings: &mut findings,
    };
    consume(<Source as Default>::default());
    let mut source = if any() { Source::new() } else { Source::restore(any(), &any()) };
    calls! {
        Source::start(&mut source, any(), any());
        Source::cancel(&mut source, any());
        Source::decide(&mut source, any(), any());
        Source::set_limits(&mut source, any());
        Source::handle(&mut source, any(), any(), &mut loan);
        Source::poll_effect(&mut source, any(), &mut loan);
        Source::note_saved(&mut source, any(), any(), &mut loan);
        Source::poll_deadline(&source);
        Source::phase(&source);
        Source::reason(&source);
        Source::disposition(&source);
        Source::attempt(&source);
        Source::stream(&source);
        Source::epoch(&source);
        Source::uses_link(&source);
        Source::wants_link(&source);
        Source::is_resolved(&source);
        Source::will_take_back(&source);
        Source::owes_guest(&source);
        Source::takes_input(&source);
        Source::statistics(&source);
        Source::journal(&source, any());
    }
}

fn target() {
    let mut devices: [DeviceEntry; 2] = any();
    let mut loan = TargetLoan { devices: black_box(&mut devices[..]) };
    let mut target = if any() { Target::new(any()) } else { Target::restore(any(), any(), &any()) };
    calls! {
        Target::describe(&mut target, any(), any(), any());
        Target::handle(&mut target, any(), any(), &mut loan);
        Target::poll_effect(&mut target, any(), &mut loan);
        Target::poll_deadline(&target);
        Target::phase(&target);
        Target::reason(&target);
        Target::disposition(&target);
        Target::announced(&target);
        Target::reception(&target);
        Target::stream(&target);
        Target::epoch(&target);
        Target::claimed_epoch(&target);
        Target::incarnation(&target);
        Target::uses_link(&target);
        Target::wants_link(&target);
        Target::listens(&target);
        Target::owes_guest(&target);
        Target::takes_input(&target);
        Target::journal(&target, any());
    }
}
