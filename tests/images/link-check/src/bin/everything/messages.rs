//! Messages of the console, and the error kinds of the ports.
//!
//! Source of truth: `monitor_core::message` and `monitor_core::ports`. Deliberately not here: how
//! calls are made.

use link_check::any;
use monitor_core::{
    message::{Notice, render},
    ports::{ErrorKind, PortError},
};

use crate::calls::{calls, shows};

pub(crate) fn calls() {
    calls! {
        Notice::code(any());
        Notice::severity(any());
        Notice::wording(any());
        render(any(), &any());
    }
    shows!(ErrorKind);
    link_check::consume(<ErrorKind as PortError>::kind(&any()));
}
