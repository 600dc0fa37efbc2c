//! The result of a judgement: what does not hold, and what the guest has done.
//!
//! Source of truth: [`super::check()`] for the judgement itself. Invariant: all faults are
//! counted, also those beyond the length of the list. Deliberately not here: any look at a guest.

use std::fmt;

use monitor_core::units::PageNumber;

use super::Kind;

/// Something that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The guest's storage or processors cannot be read, or one of them has ended.
    Unusable,
    /// A workload of the plan is not there.
    WorkloadLost(Kind),
    /// A register does not hold what it should.
    Register {
        /// The processor.
        processor: u16,
        /// Which register.
        name: &'static str,
    },
    /// A page of the hot set has wrong content.
    HotSetPage(PageNumber),
    /// A page of the sweep is out of step with its neighbors.
    SweepPage(PageNumber),
    /// The storage key of a page is not what it was left as.
    Key(PageNumber),
    /// A page of the page-states workload is not what it was left as.
    State(PageNumber),
    /// A slot of the key-value store is broken.
    Slot(u64),
    /// The tick count of the idle workload is broken.
    Ticks,
    /// The page with the journal's latest record is broken or old.
    Record,
    /// Signals of one processor to another are lost or doubled.
    Signals {
        /// Who has sent them.
        sender: u16,
        /// Who should have received them.
        receiver: u16,
    },
    /// The disk has this record where another one was expected.
    JournalOrder {
        /// The record after the one before.
        expected: u64,
        /// The record that is there.
        found: u64,
    },
    /// A sum does not agree with the guest's count.
    Count {
        /// What was summed up.
        name: &'static str,
        /// The sum.
        found: u64,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
    },
    /// The guest itself has found something wrong.
    Reported {
        /// What it has found.
        name: &'static str,
        /// How often.
        count: u64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable => formatter.write_str("guest cannot be judged"),
            Self::WorkloadLost(kind) => write!(formatter, "workload lost: {kind:?}"),
            Self::Register { processor, name } => {
                write!(formatter, "{name} of processor {processor} is wrong")
            }
            Self::HotSetPage(page) => write!(formatter, "page {page} of the hot set is wrong"),
            Self::SweepPage(page) => write!(formatter, "page {page} of the sweep is out of step"),
            Self::Key(page) => write!(formatter, "the key of page {page} is wrong"),
            Self::State(page) => write!(formatter, "page {page} is in a wrong state"),
            Self::Slot(index) => write!(formatter, "slot {index} is broken"),
            Self::Ticks => formatter.write_str("tick count is broken"),
            Self::Record => formatter.write_str("latest journal record is broken or old"),
            Self::Signals { sender, receiver } => {
                write!(formatter, "signals of processor {sender} to {receiver} lost or doubled")
            }
            Self::JournalOrder { expected, found } => {
                write!(formatter, "journal record {found} where {expected} was expected")
            }
            Self::Count { name, found, least, most } => {
                write!(formatter, "{name}: {found} found, {least} to {most} expected")
            }
            Self::Reported { name, count } => write!(formatter, "{name}: {count}"),
        }
    }
}

/// What the guest has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ticks of the idle workload.
    pub ticks: u64,
    /// Pages dirtied by the hot set.
    pub dirtyings: u64,
    /// Pages dirtied by the sweep.
    pub swept: u64,
    /// Puts into the key-value store.
    pub puts: u64,
    /// Gets from the key-value store.
    pub gets: u64,
    /// Records in the journal.
    pub records: u64,
    /// Records read back.
    pub read_back: u64,
    /// Pings answered on the LAN lines.
    pub answers: u64,
    /// Messages of a partner that were read.
    pub messages: u64,
    /// Visits to pages whose keys are used.
    pub key_visits: u64,
    /// Visits to pages whose states change.
    pub state_visits: u64,
    /// Rounds of the processors' tasks.
    pub rounds: u64,
    /// Interruptions of their timers.
    pub timer_interruptions: u64,
    /// Signals that processors have received from one another.
    pub signals: u64,
    /// Requests to devices that failed; the guest has repeated them or done without.
    pub io_faults: u64,
    /// Requests to disks whose end did not come, so that the guest cleared them.
    pub io_missed: u64,
}

/// The judgement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What does not hold; at most [`Verdict::FAULTS_MAX`] are listed.
    pub faults: Vec<Fault>,
    /// The number of all faults.
    pub fault_count: u64,
    /// The number of those that the journal has: its records in memory and on the disk.
    pub journal_fault_count: u64,
    /// What the guest has done.
    pub counts: Counts,
}

impl Verdict {
    /// The most faults that are listed.
    pub const FAULTS_MAX: usize = 64;

    /// Whether all holds.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.fault_count == 0
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, fault: Fault) {
        self.fault_count += 1;
        if self.faults.len() < Self::FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Notes the fault unless the condition holds.
    pub(super) fn require(&mut self, holds: bool, fault: Fault) {
        if !holds {
            self.fault(fault);
        }
    }

    /// Notes a fault unless what was found is within bounds.
    pub(super) fn within(&mut self, name: &'static str, found: u64, least: u64, most: u64) {
        let holds = (least..=most).contains(&found);
        self.require(holds, Fault::Count { name, found, least, most });
    }
}
