//! Messages of the console, and the error kinds of the ports.
//!
//! Source of truth: `monitor_core::message` and `monitor_core::ports`. Deliberately not here: how
//! calls are made.

use link_check::{any, text};
use monitor_core::{
    message::{
        Notice,
        command::{self, CommandError, Operand},
        render,
    },
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
    commands();
    shows!(ErrorKind);
    link_check::consume(<ErrorKind as PortError>::kind(&any()));
}

fn commands() {
    calls! {
        command::parse(text());
        command::vm_id(text());
        command::vm_name(text());
        command::su_name(text());
        Operand::name(any());
        Operand::expected(any());
    }
    shows!(CommandError);
}
