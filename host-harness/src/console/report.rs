//! What came of a migration, for people and for programs.
//!
//! Source of truth: the keys of the JSON form, which are the names of the fields here.
//! Invariants: every number carries its unit in the name; what was not measured is null and not
//! zero; every outcome says where the guest is, if there is one.
//! Deliberately not here: words for people, which are in the modules `explain` and `summary`.

use std::fmt;

use monitor_core::{
    device::Usage,
    units::{Mnemonic, SuName},
    vm::{Finding, Findings, Reason},
};
use serde::{Serialize, Serializer};

use crate::workload::Sight;

/// How a migration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The guest is on the target.
    Completed,
    /// The check found obstacles; nothing was begun.
    Rejected,
    /// The attempt was ended and undone; the guest is on the source.
    Aborted,
    /// The guest is held until it is certain which side may run it.
    InDoubt,
    /// The guest was lost with the SU that had it.
    Lost,
}

/// Where the guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// It is on this SU, in the state that it had before.
    On(SuName),
    /// It is held, stopped, on this SU.
    HeldAt(SuName),
    /// It was lost with this SU.
    LostWith(SuName),
}

impl fmt::Display for Guest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(su) => su.fmt(formatter),
            Self::HeldAt(su) => write!(formatter, "held at {su}"),
            Self::LostWith(su) => write!(formatter, "lost with {su}"),
        }
    }
}

/// One pass over the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// Pages sent.
    #[serde(rename = "pages")]
    pub page_count: u64,
    /// Bytes on the wire.
    #[serde(rename = "bytes")]
    pub byte_count: u64,
    /// Time that it took.
    pub ms: u64,
}

/// A fault that was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inflicted {
    /// The fault and its moment, as in `cut-link@commit`.
    pub point: String,
    /// When it was inflicted, from the beginning of the move; none when its moment did not come.
    pub at_ms: Option<u64>,
}

/// What was compared after the move, by somebody who sees both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Every byte of memory is what it was at the stop.
    pub memory: bool,
    /// Every storage key is what it was at the stop.
    pub keys: bool,
    /// Every register of every processor is what it was at the stop.
    pub processors: bool,
    /// Every device has exactly one owner, the one that it should have.
    pub devices: bool,
    /// Every record of the guest's journal is on the disk exactly once and in order, no request
    /// was refused, and nothing was written by a former owner.
    pub io: bool,
    /// The guest found no fault in what it remembers.
    pub guest: bool,
}

impl Verified {
    /// Everything is as it was.
    pub const ALL: Self =
        Self { memory: true, keys: true, processors: true, devices: true, io: true, guest: true };

    /// Each comparison with its name and what it is about.
    #[must_use]
    pub const fn items(&self) -> [(&'static str, &'static str, bool); 6] {
        [
            ("memory", "every byte is what it was at the stop", self.memory),
            ("keys", "every storage key is what it was at the stop", self.keys),
            ("processors", "every register is what it was at the stop", self.processors),
            ("devices", "each device has exactly one owner, the right one", self.devices),
            ("io", "every journal record is on the disk exactly once", self.io),
            ("guest", "the guest finds no fault in what it remembers", self.guest),
        ]
    }

    /// Whether everything is as it was.
    #[must_use]
    pub fn all(&self) -> bool {
        *self == Self::ALL
    }
}

/// What stations on the guest's LAN lines have seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Pings that were sent.
    pub pings: u64,
    /// Pings that were answered.
    pub answered: u64,
    /// Pings that went where the guest was not.
    pub lost: u64,
    /// Answers that came twice, or from a copy of the guest that was left behind: none may.
    pub doubled: u64,
    /// The longest time without an answer on a line.
    pub outage_us: u64,
}

impl From<Sight> for Network {
    fn from(sight: Sight) -> Self {
        let Sight { sent, answered, lost, doubled, outage } = sight;
        Self { pings: sent, answered, lost, doubled, outage_us: outage.get() }
    }
}

/// How times are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The shortest.
    pub min_us: u64,
    /// The one in the middle.
    pub median_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Spread {
    /// That of these times, if there are any.
    #[must_use]
    pub fn of(times: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut times: Vec<u64> = times.into_iter().collect();
        times.sort_unstable();
        let (min_us, max_us) = (*times.first()?, *times.last()?);
        Some(Self { min_us, median_us: times[times.len() / 2], max_us })
    }
}

/// What came of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The VM, by name and index, or as it was asked for when there is none such.
    pub vm: String,
    /// The SU from where.
    #[serde(serialize_with = "text")]
    pub source: SuName,
    /// The SU to where.
    #[serde(serialize_with = "text")]
    pub target: SuName,
    /// Where the guest is; none when there is no such VM.
    #[serde(serialize_with = "shown")]
    pub guest: Option<Guest>,
    /// Why it did not complete.
    #[serde(serialize_with = "shown")]
    pub reason: Option<Reason>,
    /// What is known beyond the reason: which device, which side, which limit.
    pub detail: Option<String>,
    /// What the check found.
    #[serde(serialize_with = "findings")]
    pub findings: Findings,
    /// The whole time.
    pub total_ms: u64,
    /// The measured stop of the guest.
    pub blackout_us: Option<u64>,
    /// How long after the stop devices were quiet; none when there was no stop.
    pub drain: Option<Spread>,
    /// The stop that was predicted when it was begun.
    pub predicted_blackout_us: Option<u64>,
    /// What stations on the LAN lines have seen; none when there are none.
    pub network: Option<Network>,
    /// The guest's memory.
    pub memory_bytes: u64,
    /// All that went over the link, in both directions.
    pub bytes_on_wire: u64,
    /// What was not sent, since the guest does not need the content of its pages.
    pub saved_bytes: u64,
    /// Keys and states that were sent without their pages while the guest was stopped.
    pub keys_in_blackout: u64,
    /// The passes over memory; the last one with the guest stopped.
    pub passes: Vec<Pass>,
    /// What was compared; none when nothing was moved.
    pub verified: Option<Verified>,
    /// The faults that were planned.
    pub faults: Vec<Inflicted>,
    /// How often a lost connection came back.
    pub reconnects: u32,
    /// Pages that were sent once more because of that.
    pub repeated_pages: u64,
    /// The epoch of the target's record, when that is what keeps the guest held at the source.
    pub held_for_epoch: Option<u64>,
    /// What came of the operator's answer to a doubt.
    pub decision: Option<String>,
    /// The VM's state on the SU where it is, as VM2000 shows it.
    pub state: Option<String>,
    /// The devices that the guest has detached there.
    #[serde(serialize_with = "mnemonics")]
    pub detached: Vec<Mnemonic>,
    /// How the devices of the VM are used there, as VM2000 shows it.
    #[serde(serialize_with = "by_mnemonic")]
    pub usages: Vec<(Mnemonic, Usage)>,
    /// The SUs on which the processors of the VM ran in the end.
    #[serde(serialize_with = "names")]
    pub runs_on: Vec<SuName>,
    /// Whether the processors of the VM ever ran on two SUs at once.
    pub ran_twice: bool,
}

impl Report {
    /// A report with nothing measured yet.
    #[must_use]
    pub const fn new(outcome: Outcome, vm: String, source: SuName, target: SuName) -> Self {
        Self {
            outcome,
            vm,
            source,
            target,
            guest: None,
            reason: None,
            detail: None,
            findings: Findings::new(),
            total_ms: 0,
            blackout_us: None,
            drain: None,
            predicted_blackout_us: None,
            network: None,
            memory_bytes: 0,
            bytes_on_wire: 0,
            saved_bytes: 0,
            keys_in_blackout: 0,
            passes: Vec::new(),
            verified: None,
            faults: Vec::new(),
            reconnects: 0,
            repeated_pages: 0,
            held_for_epoch: None,
            decision: None,
            state: None,
            detached: Vec::new(),
            usages: Vec::new(),
            runs_on: Vec::new(),
            ran_twice: false,
        }
    }

    /// Whether the move completed and every comparison found everything as it was.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.outcome == Outcome::Completed
            && !self.ran_twice
            && self.verified.is_some_and(|verified| verified.all())
    }

    /// The JSON form of several, as a list with a line end.
    #[must_use]
    pub fn list_to_json(reports: &[Self]) -> String {
        // As for one.
        serde_json::to_string_pretty(reports).unwrap_or_default() + "\n"
    }

    /// The JSON form, with a line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Nothing here can fail to be written as JSON: all keys are texts.
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        json + "\n"
    }
}

/// Writes the name of an SU.
fn text<S: Serializer>(name: &SuName, target: S) -> Result<S::Ok, S::Error> {
    target.serialize_str(name.as_str())
}

/// Writes the names of SUs.
fn names<S: Serializer>(names: &[SuName], target: S) -> Result<S::Ok, S::Error> {
    target.collect_seq(names.iter().map(SuName::as_str))
}

/// Writes devices as a list of their mnemonics.
fn mnemonics<S: Serializer>(devices: &[Mnemonic], target: S) -> Result<S::Ok, S::Error> {
    target.collect_seq(devices.iter().map(Mnemonic::as_str))
}

/// Writes how devices are used, by their mnemonics.
fn by_mnemonic<S: Serializer>(usages: &[(Mnemonic, Usage)], target: S) -> Result<S::Ok, S::Error> {
    target.collect_map(usages.iter().map(|(device, usage)| (device.as_str(), usage.to_string())))
}

/// Writes what can be shown as text, or null.
fn shown<S: Serializer, T: fmt::Display>(value: &Option<T>, target: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => target.collect_str(value),
        None => target.serialize_none(),
    }
}

/// Writes findings in the form of the insert REASON of message VMS2404: `VMS4034,FAA5`.
fn findings<S: Serializer>(findings: &Findings, target: S) -> Result<S::Ok, S::Error> {
    target.collect_seq(findings.listed().iter().map(code))
}

/// The code of a finding, with the device if it concerns one.
pub(super) fn code(finding: &Finding) -> String {
    let code = finding.obstacle.code();
    if finding.device.is_empty() {
        format!("VMS{code}")
    } else {
        format!("VMS{code},{}", finding.device)
    }
}

#[cfg(test)]
mod tests {
    use monitor_core::vm::Obstacle;
    use serde_json::{Value, json};

    use super::*;

    fn report(outcome: Outcome) -> Report {
        let name = |text| SuName::new(text).unwrap();
        Report::new(outcome, "VM12PROD (12)".to_owned(), name("ABGSE501"), name("ABGSE701"))
    }

    fn parsed(report: &Report) -> Value {
        serde_json::from_str(&report.to_json()).unwrap()
    }

    #[test]
    fn json_of_a_completed_move_has_every_key() {
        let mut report = report(Outcome::Completed);
        report.guest = Some(Guest::On(report.target));
        report.total_ms = 2345;
        report.blackout_us = Some(12_345);
        report.predicted_blackout_us = Some(14_000);
        report.drain = Spread::of([400, 20, 30]);
        report.network =
            Some(Network { pings: 900, answered: 880, lost: 19, doubled: 0, outage_us: 4800 });
        report.memory_bytes = 1 << 30;
        report.bytes_on_wire = 1_100_000_000;
        (report.saved_bytes, report.keys_in_blackout) = (81_920, 17);
        report.passes = vec![Pass { page_count: 262_144, byte_count: 1_074_000_000, ms: 900 }];
        report.verified = Some(Verified { keys: false, ..Verified::ALL });
        let point = "cut-link@precopy".to_owned();
        report.faults = vec![Inflicted { point, at_ms: Some(120) }];
        (report.reconnects, report.repeated_pages) = (1, 64);
        report.state = Some("RUNNING(DIFF)".to_owned());
        report.detached = Mnemonic::new("T1").into_iter().collect();
        let named = |text| Mnemonic::new(text).unwrap();
        report.usages = vec![(named("CS"), Usage::Exclusive), (named("FAA5"), Usage::SharedDirect)];
        report.runs_on = vec![report.target];
        assert_eq!(
            parsed(&report),
            json!({
                "outcome": "completed", "vm": "VM12PROD (12)", "source": "ABGSE501",
                "target": "ABGSE701", "guest": "ABGSE701", "reason": null, "detail": null,
                "findings": [], "total_ms": 2345, "blackout_us": 12_345,
                "predicted_blackout_us": 14_000,
                "drain": {"min_us": 20, "median_us": 30, "max_us": 400},
                "network": {"pings": 900, "answered": 880, "lost": 19, "doubled": 0,
                    "outage_us": 4800},
                "memory_bytes": 1_073_741_824,
                "bytes_on_wire": 1_100_000_000, "saved_bytes": 81_920, "keys_in_blackout": 17,
                "passes": [{"pages": 262_144, "bytes": 1_074_000_000, "ms": 900}],
                "verified": {"memory": true, "keys": false, "processors": true,
                    "devices": true, "io": true, "guest": true},
                "faults": [{"point": "cut-link@precopy", "at_ms": 120}],
                "reconnects": 1, "repeated_pages": 64, "held_for_epoch": null,
                "decision": null, "state": "RUNNING(DIFF)", "detached": ["T1"],
                "usages": {"CS": "EXCLUSIVE", "FAA5": "SH(D)"},
                "runs_on": ["ABGSE701"], "ran_twice": false,
            })
        );
        assert!(!report.is_verified());
    }

    #[test]
    fn json_of_a_rejection_lists_the_findings() {
        let mut report = report(Outcome::Rejected);
        report.guest = Some(Guest::On(report.source));
        report.reason = Some(Reason::Rejected);
        report.findings.add(Obstacle::MemoryShort);
        report.findings.add_device(Obstacle::DeviceMissing, Mnemonic::new("FAA5").unwrap());
        let json = parsed(&report);
        assert_eq!(json["outcome"], "rejected");
        assert_eq!(json["findings"], json!(["VMS4011", "VMS4034,FAA5"]));
        assert_eq!(json["reason"], "rejected by the check");
        assert_eq!(json["blackout_us"], Value::Null);
        assert_eq!((&json["verified"], &json["network"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn json_of_a_doubt_says_where_the_guest_is_held() {
        let mut report = report(Outcome::InDoubt);
        report.guest = Some(Guest::HeldAt(report.source));
        let json = parsed(&report);
        assert_eq!(json["outcome"], "in-doubt");
        assert_eq!(json["guest"], "held at ABGSE501");
    }

    #[test]
    fn completed_move_without_comparison_is_not_verified() {
        let mut report = report(Outcome::Completed);
        assert!(!report.is_verified());
        report.verified = Some(Verified::ALL);
        assert!(report.is_verified());
        report.outcome = Outcome::Aborted;
        assert!(!report.is_verified());
    }
}
