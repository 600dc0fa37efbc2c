//! The catalogue: number, severity, origin and text of every notice, in one table.
//!
//! Source of truth: the sources named in [`crate::message`] for entries marked `Documented`; this
//! file for the others, whose numbers continue the visible plan (243x target, 245x source).
//! Invariant: an insert of a text is a word in braces that names one of the parties or what
//! the notice carries. Deliberately not here: the filling-in of inserts.

use super::Notice;

/// How serious a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Severity {
    /// A step of a move that succeeds.
    Info,
    /// The operator should know, and may have to act later.
    Warning,
    /// The move has failed, or a guest stands still until somebody acts.
    Error,
}

/// Where the number and the text of a notice stem from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Wording {
    /// Number and text are those that VM2000 documents, to the letter.
    Documented,
    /// The number is documented with this meaning; the text is this library's own.
    NumberDocumented,
    /// Number and text are this library's own.
    Own,
}

/// One line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The number of the VMS message.
    pub(super) code: u16,
    /// How serious it is.
    pub(super) severity: Severity,
    /// Where number and text stem from.
    pub(super) wording: Wording,
    /// The text after the number, with its inserts in braces.
    pub(super) text: &'static str,
}

/// Makes of the table a total function from notices to entries.
macro_rules! catalogue {
    ($($($name:ident)::+ $({ $($fields:tt)* })? $(( $payload:tt ))?,
        $code:literal $severity:ident $wording:ident $text:expr;)+) => {
        impl Notice {
            /// The notice's line of the catalogue.
            pub(super) const fn entry(self) -> &'static Entry {
                match self {
                    $($($name)::+ $({ $($fields)* })? $(( $payload ))? => const {
                        &Entry {
                            code: $code,
                            severity: Severity::$severity,
                            wording: Wording::$wording,
                            text: $text,
                        }
                    })+
                }
            }
        }
    };
}

catalogue! {
    Self::MigrationStarted, 2450 Info Documented
        "LIVE MIGRATION OF VM {vm} TO TARGET SU '{target}' STARTED";
    Self::MigrationCompleted, 2451 Info Documented
        "LIVE MIGRATION OF VM {vm} TO TARGET SU '{target}' COMPLETED";
    Self::SuspendedAtSource, 2452 Info Documented
        "VM {vm} SUSPENDED AT LIVE MIGRATION TO TARGET SU '{target}'";
    Self::MigrationAborted(_), 2453 Error Own
        "LIVE MIGRATION OF VM {vm} TO TARGET SU '{target}' ABORTED. REASON: {reason}";
    Self::ResumedAtSource, 2454 Warning Own
        "VM {vm} RESUMED ON SOURCE SU '{source}' AFTER LIVE MIGRATION TO TARGET SU '{target}' \
         FAILED";
    Self::HeldAtSource, 2455 Error Own
        "VM {vm} HELD ON SOURCE SU '{source}': NO USABLE ANSWER OF THE CLUSTER DIRECTORY. RESTORE \
         IT OR ITS RECORD; DO NOT START THE VM ELSEWHERE";
    Self::HeldForTarget(_), 2456 Error Own
        "VM {vm} HELD ON SOURCE SU '{source}': TARGET SU OWNS IT (EPOCH {epoch}). IF IT RUNS \
         THERE, DECIDE 'TARGET-RUNS', IF THE SU IS LOST, 'TARGET-LOST'";
    Self::ClaimedByTarget(_), 2462 Warning Own
        "VM {vm} STOPPED ON SOURCE SU '{source}': TARGET SU HAS CLAIMED IT (EPOCH {epoch}). IT IS \
         TAKEN BACK UNLESS THE TARGET STARTS IT SOON";
    Self::NotStartedAtSource, 2457 Error Own
        "VM {vm} STANDS STILL ON SOURCE SU '{source}': DEVICES OR PROCESSORS DO NOT START. IT IS \
         TRIED AGAIN";
    Self::NotStoppedAtSource, 2460 Error Own
        "VM {vm} MAY RUN ON SOURCE SU '{source}': ITS PROCESSORS DO NOT STOP AFTER A RESTART OF \
         THE MONITOR. IT IS TRIED AGAIN";
    Self::NotReattached, 2463 Error Own
        "DEVICES OF VM {vm} DETACHED FOR LIVE MIGRATION TO TARGET SU '{target}' DO NOT ATTACH \
         AGAIN. IT IS TRIED AGAIN";
    Self::LinkInterrupted, 2458 Warning Own
        "LINK TO TARGET SU '{target}' LOST AT LIVE MIGRATION OF VM {vm}. RECONNECTING";
    Self::LinkRestored, 2459 Info Own
        "LINK TO TARGET SU '{target}' RESTORED AT LIVE MIGRATION OF VM {vm}";
    Self::IncomingStarted, 2430 Info Documented
        "LIVE MIGRATION OF VM {vm} FROM SOURCE SU '{source}' STARTED";
    Self::IncomingCompleted, 2431 Info Documented
        "LIVE MIGRATION OF VM {vm} FROM SOURCE SU '{source}' COMPLETED";
    Self::ResumedAtTarget, 2432 Info Documented
        "VM {vm} RESUMED AT LIVE MIGRATION FROM SOURCE SU '{source}'";
    Self::IncomingAborted(_), 2433 Error Own
        "LIVE MIGRATION OF VM {vm} FROM SOURCE SU '{source}' ABORTED. REASON: {reason}";
    Self::HeldAtTarget, 2434 Error Own
        "VM {vm} HELD ON TARGET SU '{target}': NO USABLE ANSWER OF THE CLUSTER DIRECTORY. RESTORE \
         IT OR ITS RECORD; DO NOT START THE VM ELSEWHERE";
    Self::NotStartedAtTarget, 2436 Error Own
        "VM {vm} STANDS STILL ON TARGET SU '{target}': DEVICES OR PROCESSORS DO NOT START. IT IS \
         TRIED AGAIN";
    Self::GuestLate, 2435 Warning Own
        "VM {vm} HAS NOT REPORTED ITSELF READY IN TIME AFTER LIVE MIGRATION FROM SOURCE SU \
         '{source}'";
    Self::Created, 3050 Info Documented
        "VIRTUAL MACHINE {vm} CREATED";
    Self::DeviceAssigned { shared_device: false, .. }, 4005 Info Documented
        "DEVICE '{device}' ASSIGNED TO VIRTUAL MACHINE {vm}";
    Self::DeviceAssigned { shared_device: true, .. }, 4005 Info Documented
        "DEVICE '{device}' ASSIGNED TO VIRTUAL MACHINE {vm} (TYPE=SD)";
    Self::DeviceInUse { .. }, 4003 Error NumberDocumented
        "DEVICE '{device}' IS IN USE BY VIRTUAL MACHINE {vm} AND CANNOT BE DETACHED";
    Self::DeviceRemoved { .. }, 4009 Info Documented
        "DEVICE '{device}' REMOVED FROM VIRTUAL MACHINE {vm}";
    Self::Terminated, 4024 Info Documented
        "VIRTUAL MACHINE {vm} TERMINATED";
    Self::Rejected { by_target: true, .. }, 2404 Error Documented
        "LIVE MIGRATION OF VM {vm} REJECTED BY TARGET SU '{target}'. REASON: {finding}";
    Self::Rejected { by_target: false, .. }, 2404 Error NumberDocumented
        "LIVE MIGRATION OF VM {vm} REJECTED BY SOURCE SU '{source}'. REASON: {finding}";
    Self::MoreFindings(_), 2404 Error NumberDocumented
        "LIVE MIGRATION OF VM {vm} TO TARGET SU '{target}' REJECTED. FURTHER REASONS: {count}";
    Self::NotPossible, 2461 Error NumberDocumented
        "LIVE MIGRATION OF VM {vm} TO TARGET SU '{target}' NOT POSSIBLE";
    Self::DetachWarning { .. }, 2471 Warning NumberDocumented
        "DEVICE '{device}' WILL BE DETACHED FROM VM {vm} AT LIVE MIGRATION TO TARGET SU '{target}'";
    Self::ProcessorsBlocked(_), 2472 Warning Own
        "PROCESSORS OF VM {vm} TO BE BLOCKED AT LIVE MIGRATION TO TARGET SU '{target}': {count}";
}
