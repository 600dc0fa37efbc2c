//! A monitor's link and its access to the directory, watched for the moments of faults.
//!
//! Source of truth: PROTOCOL.md, "Header", for where a frame begins. Invariants: nothing of a
//! frame is sent before the faults of its moment were inflicted; with no fault to come, what
//! passes is not looked at. Deliberately not here: what a fault does to a monitor.

use std::{sync::Arc, time::Duration};

use monitor_core::{
    limits::{GROUP_PAGES, HEADER_BYTES},
    ports::{ClusterDirectory, ErrorKind, ErrorType, Link},
    units::{PageCount, VmName},
    vm::{DirectoryAnswer, Ownership, Standing},
    wire::{FrameType, Header},
};

use super::{
    LinkError, Shaped,
    directory::Access,
    faults::{Faults, Side},
};
use crate::config::Moment;

/// A link that is watched.
#[derive(Debug)]
pub(super) struct WatchedLink {
    link: Shaped,
    faults: Arc<Faults>,
    /// Bytes of the present frame that were not sent yet.
    rest: usize,
    /// Frames of pages that are still to be sent until half of the memory was.
    pages_frames: u64,
    /// Cuts of the connection that this end knows of.
    cuts: u32,
    is_cut: bool,
}

impl WatchedLink {
    /// The link of a VM with so much memory.
    pub(super) fn new(link: Shaped, faults: Arc<Faults>, memory: PageCount) -> Self {
        let pages_frames = memory.get() / GROUP_PAGES as u64 / 2;
        Self { link, faults, rest: 0, pages_frames, cuts: 0, is_cut: false }
    }

    /// The link without its watch.
    pub(super) fn into_link(self) -> Shaped {
        self.link
    }

    pub(super) fn wait(&self, to_send: bool, time: Duration) {
        self.link.wait(to_send, time);
    }

    /// Closes the present connection, as the end of the monitor does.
    pub(super) fn close(&mut self) {
        (self.rest, self.cuts, self.is_cut) = (0, self.faults.cuts(), false);
        self.link.reconnect();
    }

    /// Fails on a connection that was cut: what was under way on it is lost.
    fn carries(&mut self) -> Result<(), LinkError> {
        let cuts = self.faults.cuts();
        if cuts != self.cuts {
            (self.cuts, self.is_cut) = (cuts, true);
            self.link.cut();
        }
        if self.is_cut { Err(LinkError::Closed) } else { Ok(()) }
    }

    /// The moment of which a frame that is about to be sent is the sign.
    fn moment(&mut self, header: &Header) -> Option<Moment> {
        let kind = header.frame_type().ok().flatten()?;
        if kind == FrameType::Pages && self.pages_frames > 0 {
            self.pages_frames -= 1;
        }
        moment_of(kind).filter(|moment| *moment != Moment::Precopy || self.pages_frames == 0)
    }
}

impl ErrorType for WatchedLink {
    type Error = LinkError;
}

impl Link for WatchedLink {
    fn try_send(&mut self, source: &[u8]) -> Result<usize, LinkError> {
        self.carries()?;
        if !self.faults.watches() && self.rest == 0 {
            return self.link.try_send(source);
        }
        if self.rest == 0 {
            let header = source.first_chunk::<HEADER_BYTES>().map(Header::parse);
            // What is no frame is none of this link's business.
            let Some(Ok(header)) = header else {
                return self.link.try_send(source);
            };
            if self.moment(&header).is_some_and(|moment| self.faults.reach(moment)) {
                return Ok(0);
            }
            self.carries()?;
            self.rest = HEADER_BYTES + header.body_bytes();
        }
        let frame = source.get(..self.rest).unwrap_or(source);
        let sent = self.link.try_send(frame)?;
        self.rest -= sent;
        Ok(sent)
    }

    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, LinkError> {
        self.carries()?;
        self.link.try_receive(target)
    }

    fn reconnect(&mut self) {
        self.close();
    }

    fn poll_connected(&mut self) -> bool {
        !self.faults.is_severed() && self.link.poll_connected()
    }
}

/// The moment of which a frame is the sign.
const fn moment_of(kind: FrameType) -> Option<Moment> {
    match kind {
        FrameType::Built => Some(Moment::Setup),
        FrameType::Pages => Some(Moment::Precopy),
        FrameType::LoadEnd => Some(Moment::Stop),
        FrameType::Ready => Some(Moment::Ready),
        FrameType::Commit => Some(Moment::Commit),
        FrameType::Running => Some(Moment::Running),
        FrameType::Completed => Some(Moment::Release),
        FrameType::Hello
        | FrameType::Abort
        | FrameType::Resume
        | FrameType::Status
        | FrameType::Definition
        | FrameType::Device
        | FrameType::Check
        | FrameType::Build
        | FrameType::PassEnd
        | FrameType::Keys
        | FrameType::Processor
        | FrameType::Subchannel
        | FrameType::RehearsalEnd
        | FrameType::Recopy
        | FrameType::Machine
        | FrameType::Released
        | FrameType::Findings
        | FrameType::Ack
        | FrameType::Rehearsed
        | FrameType::Aborted => None,
    }
}

/// An access to the directory that is watched: the source's reads, and the target's claims.
#[derive(Debug)]
pub(super) struct WatchedAccess {
    access: Access,
    faults: Arc<Faults>,
    side: Side,
    /// The moment of the question that was asked last.
    moment: Option<Moment>,
    /// An answer that is held back, or one that the directory itself did not give.
    held: Option<DirectoryAnswer>,
}

impl WatchedAccess {
    pub(super) const fn new(access: Access, faults: Arc<Faults>, side: Side) -> Self {
        Self { access, faults, side, moment: None, held: None }
    }

    /// The access without its watch.
    pub(super) fn into_access(self) -> Access {
        self.access
    }

    /// Forgets what was asked, as the end of the monitor does.
    pub(super) fn forget(&mut self) {
        (self.moment, self.held) = (None, None);
        self.access.forget();
    }

    fn ask(
        &mut self,
        moment: Option<Moment>,
        question: impl FnOnce(&mut Access) -> Result<(), ErrorKind>,
    ) -> Result<(), ErrorKind> {
        self.moment = moment;
        if self.faults.is_directory_gone() {
            self.held = Some(DirectoryAnswer::Unreachable);
            return Ok(());
        }
        question(&mut self.access)
    }
}

impl ErrorType for WatchedAccess {
    type Error = ErrorKind;
}

impl ClusterDirectory for WatchedAccess {
    fn start_read(&mut self, vm: VmName) -> Result<(), ErrorKind> {
        let moment = (self.side == Side::Source).then_some(Moment::Check);
        self.ask(moment, |access| access.start_read(vm))
    }

    fn start_compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        let step = match new.standing {
            Standing::Claimed => Moment::Claim,
            Standing::Running => Moment::Start,
        };
        let moment = (self.side == Side::Target).then_some(step);
        self.ask(moment, |access| access.start_compare_and_set(vm, expected, new))
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        let answer = self.held.take().or_else(|| self.access.poll_answer())?;
        if self.moment.is_some_and(|moment| self.faults.reach(moment)) {
            self.held = Some(answer);
            return None;
        }
        let lost = self.faults.is_directory_gone() || self.faults.takes_answer();
        Some(if lost { DirectoryAnswer::Unreachable } else { answer })
    }
}
