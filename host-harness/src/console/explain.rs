//! Why a move did not take place, in sentences, and what can be done about it.
//!
//! Source of truth: the obstacles and reasons of `monitor_core::vm`. Invariant: every one has its
//! sentence and its next step; a new one does not compile without. Deliberately not here: the
//! console messages, which have the system's own words.

use monitor_core::vm::{Finding, Obstacle, Reason};

use super::{
    Outcome, Report,
    report::{Guest, code},
};

/// A finding of the check: its code, what is in the way, and what to do.
pub(super) fn finding(finding: &Finding, report: &Report) -> String {
    let Report { vm, source, target, .. } = report;
    let device = finding.device;
    let (what, next) = match finding.obstacle {
        Obstacle::TargetUnknown if source == target => {
            (format!("{vm} is on {target} already"), "name another SU of the cluster".to_owned())
        }
        Obstacle::TargetUnknown => (
            format!("there is no other SU {target} in the cluster, or it does not answer"),
            "check the name, and that its monitor runs".to_owned(),
        ),
        Obstacle::RecordUnusable => (
            format!("the ownership record of {vm} cannot be read, or it names another SU"),
            format!("find out from the cluster directory where {vm} belongs"),
        ),
        Obstacle::MonitorVm => (
            "VM 1 is the monitor VM, which is part of its SU".to_owned(),
            "choose another VM".to_owned(),
        ),
        Obstacle::OtherMigration => (
            format!("{source} or {target} is busy with another migration"),
            "try again when it has ended".to_owned(),
        ),
        Obstacle::Incompatible if !device.is_empty() => (
            format!("{target} lacks facility {device}, which {vm} was given at its start"),
            "move it to another SU, or start it in a domain that all SUs have ([cluster] \
             facilities)"
                .to_owned(),
        ),
        Obstacle::Incompatible => (
            format!("the monitors of {source} and {target} have no protocol version in common"),
            "bring both to neighboring versions".to_owned(),
        ),
        Obstacle::DeviceHeld => (
            format!("device {device} is exclusively assigned to another VM on {target}"),
            "remove it from that VM".to_owned(),
        ),
        Obstacle::AlreadyMigrating => {
            (format!("{vm} is being migrated already"), "wait for the end of that".to_owned())
        }
        Obstacle::VmUnknown => (
            format!("{source} has no VM of this index or name"),
            "check the index or name, and where the VM is".to_owned(),
        ),
        Obstacle::MemoryShort => (
            format!("{target} has not enough free main memory for {vm}"),
            format!("end or shrink other VMs on {target}"),
        ),
        Obstacle::IndexTaken => (
            format!("another VM on {target} has the same VM index as {vm}"),
            "give one of the two another index".to_owned(),
        ),
        Obstacle::NameTaken => (
            format!("another VM on {target} has the same name as {vm}"),
            "give one of the two another name".to_owned(),
        ),
        Obstacle::NoProcessor => (
            format!("{target} has no processor for {vm}"),
            format!("attach a processor on {target}"),
        ),
        Obstacle::DeviceMissing => (
            format!("device {device} is not generated on {target}, or is another device there"),
            format!("generate it there, or remove it from {vm}"),
        ),
    };
    format!("{}: {what}; {next}", code(finding))
}

/// What to do after an attempt that was ended and undone.
pub(super) const fn next_step(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected => "remove what the check found, then try again",
        Reason::Cancelled => "nothing; a new attempt can be made at any time",
        Reason::GuestRefused => {
            "find out from the guest's console why; to move it without its consent, use \
             --coordination if-possible"
        }
        Reason::GuestSilent => {
            "look at the guest's console; to move it without its answer, use --coordination \
             if-possible"
        }
        Reason::WillNotConverge => {
            "try again when the guest writes less, over a faster link, or with a longer --budget"
        }
        Reason::BudgetExceeded => {
            "try again when the guest writes less, over a faster link, or with a longer --budget"
        }
        Reason::TimeExceeded => "raise limits.total, or try again when the guest writes less",
        Reason::LinkLost => "restore the connection between the two monitors, then try again",
        Reason::PeerSilent => "see whether the other SU's monitor runs, then try again",
        Reason::PeerProtocol | Reason::StreamDamaged => {
            "see what runs at the other end of the connection; with the right monitor there this \
             is a fault of the program"
        }
        Reason::VersionUnknown => "bring both monitors to neighboring versions",
        Reason::BuildFailed => "look at the target's console and its free resources",
        Reason::DeviceUnavailable => "look at the device on the target, then try again",
        Reason::DeviceNotQuiet => "look for I/O that does not end, or raise limits.drain",
        Reason::ProcessorsNotStopped | Reason::StateUnavailable | Reason::TrackingFailed => {
            "this is a fault of the source's or target's hardware or of the program; keep the \
             output"
        }
        Reason::DirectoryUnreachable => "restore the connection to the cluster directory",
        Reason::NotOwner => "find out from the cluster directory where the VM belongs",
        Reason::MonitorRestarted => "find out why the monitor was restarted, then try again",
        Reason::JournalUnavailable => "see whether the monitor can write its journal file",
        Reason::DeviceInUse => {
            "end what the guest does with the device that the console names, then try again"
        }
        Reason::PeerAborted => "look at the other SU's console, which names its reason",
    }
}

/// What to do when it is not certain which side may run the guest.
pub(super) fn next_in_doubt(report: &Report) -> String {
    let Report { vm, source, target, .. } = report;
    let Some(epoch) = report.held_for_epoch else {
        return format!(
            "restore the connection between {source}, {target} and the cluster directory: the \
             record there decides, and both sides follow it. A record that is gone for good is \
             entered anew by su390 directory set, after a look at both consoles. Do not start \
             {vm} by hand before."
        );
    };
    format!(
        "the record says {target} (epoch {epoch}). Restore the connection, and both sides follow \
         it; or look at {target} and decide. If the guest runs there (VMS2432 on its console): \
         su390 migrate --decide target-runs. If {target} is lost for good: su390 migrate --decide \
         target-lost; the guest goes on from its stop on {source} then. Do not start {vm} by hand."
    )
}

/// Where the guest is, as a sentence.
pub(super) fn whereabouts(report: &Report) -> String {
    match report.guest {
        None => "Nothing has changed.".to_owned(),
        Some(Guest::On(su)) if report.outcome == Outcome::Rejected => {
            format!("The guest is on {su} as before.")
        }
        Some(Guest::On(su)) if su == report.source => {
            format!("The guest is on {su} as before; nothing of the attempt is left.")
        }
        Some(Guest::On(su)) => format!("The guest is on {su}."),
        Some(Guest::LostWith(su)) => format!("The guest was lost with {su}."),
        Some(Guest::HeldAt(su)) => format!(
            "The guest is held, stopped, on {su}, until it is certain that it runs nowhere else."
        ),
    }
}

#[cfg(test)]
mod tests {
    use monitor_core::units::{Mnemonic, SuName};

    use super::*;

    fn report() -> Report {
        let name = |text| SuName::new(text).unwrap();
        let vm = "VM12PROD (12)".to_owned();
        Report::new(Outcome::Rejected, vm, name("ABGSE501"), name("ABGSE701"))
    }

    #[test]
    fn missing_device_is_named_with_its_su() {
        let device = Mnemonic::new("FAA5").unwrap();
        let text = finding(&Finding { obstacle: Obstacle::DeviceMissing, device }, &report());
        assert!(text.starts_with("VMS4034,FAA5: device FAA5 is not generated on ABGSE701"));
    }

    #[test]
    fn every_obstacle_and_reason_has_its_own_words() {
        let device = Mnemonic::EMPTY;
        let mut texts: Vec<String> = Obstacle::ALL
            .map(|obstacle| finding(&Finding { obstacle, device }, &report()))
            .to_vec();
        assert!(texts.iter().all(|text| text.contains("; ") && text.len() > 40), "{texts:#?}");
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), Obstacle::ALL.len());
        assert!(Reason::ALL.iter().all(|reason| next_step(*reason).len() > 20));
    }

    #[test]
    fn guest_is_said_to_be_where_it_is() {
        let mut report = report();
        assert!(whereabouts(&report).contains("Nothing has changed"));
        report.guest = Some(Guest::On(report.source));
        assert!(whereabouts(&report).contains("on ABGSE501 as before"));
        report.guest = Some(Guest::HeldAt(report.target));
        assert!(whereabouts(&report).contains("held, stopped, on ABGSE701"));
    }
}
