//! A migration that does not begin, for builds without the part that runs one.
//!
//! Source of truth: none. Invariant: the guest is where it was. Deliberately not here: a move.

use crate::{
    config::{Config, Request},
    console::{Guest, Observer, Outcome, Report},
};

/// Reports that nothing was done.
pub(super) fn migrate(config: &Config, request: &Request, _: &mut dyn Observer) -> Report {
    let (vm, on) = (request.vm_label(config), config.vm.on);
    let mut report = Report::new(Outcome::Aborted, vm, on, request.target);
    report.guest = Some(Guest::On(on));
    report.detail = Some("this build cannot run migrations".to_owned());
    report
}
