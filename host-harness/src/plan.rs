//! From a configuration to what the core is asked to do.
//!
//! Source of truth: the sections `[vm]` and `[limits]` of the configuration. Invariant: the live
//! runs and the simulator begin with the same attempt. Deliberately not here: the guest's plan,
//! which the cluster makes.

use monitor_core::{
    message::{Notice, Parties, render},
    migrate::{Attempt, Coordination, Limits},
    units::{Epoch, StreamId, SuName, VmIndex, VmName},
    vm::{Findings, VmBlock},
};

use crate::config::{self, Config, Request, VmSelector};

/// The limits of both ends.
#[must_use]
pub const fn limits(config: &Config) -> Limits {
    let configured = &config.limits;
    Limits {
        blackout: configured.blackout_budget,
        total: configured.total,
        guest_answer: configured.guest_answer,
        peer_answer: configured.peer_answer,
        drain: configured.drain,
        reconnect: configured.reconnect,
        ..Limits::DEFAULT
    }
}

/// From where to where an attempt goes, and as which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The SU where the VM is.
    pub source: SuName,
    /// The SU to which it is to go.
    pub target: SuName,
    /// The epoch under which it runs at the source.
    pub epoch: Epoch,
    /// The attempt's identity on the wire.
    pub stream: StreamId,
}

/// The attempt to move the configured VM.
#[must_use]
pub const fn attempt(config: &Config, course: Course, block: &VmBlock) -> Attempt {
    Attempt {
        stream: course.stream,
        vm: block.name(),
        source: course.source,
        target: course.target,
        epoch: course.epoch,
        activity: block.state().activity(),
        pages: block.memory(),
        processors: block.processor_count(),
        coordination: match config.limits.coordination {
            config::Coordination::Required => Coordination::Required,
            config::Coordination::IfPossible => Coordination::IfPossible,
        },
        limits: limits(config),
    }
}

/// What the source's console says when the source itself rejects the command.
#[must_use]
pub fn rejection_lines(config: &Config, request: &Request, findings: &Findings) -> Vec<String> {
    let (index, name): (Option<VmIndex>, VmName) = match request.vm {
        VmSelector::Index(index) if index == config.vm.index => (Some(index), config.vm.name),
        VmSelector::Index(index) => (Some(index), VmName::EMPTY),
        VmSelector::Name(name) if name == config.vm.name => (Some(config.vm.index), name),
        VmSelector::Name(name) => (None, name),
    };
    let parties = Parties { index, name, source: config.vm.on, target: request.target };
    let notices = findings
        .listed()
        .iter()
        .map(|finding| Notice::Rejected { finding: *finding, by_target: false });
    notices
        .chain([Notice::NotPossible])
        .map(|notice| render(notice, &parties).as_str().to_owned())
        .collect()
}
