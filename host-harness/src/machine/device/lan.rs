//! The adapter of an SU on a line of the local network: each command moves one frame.
//!
//! | command | what it does |
//! | --- | --- |
//! | WRITE 01 | sends a frame; the adapter puts in its own hardware address as the sender's |
//! | READ 02 | waits for a frame |
//! | READ IF ANY 12 | gives a frame, or ends with unit exception when there is none |
//! | READ ADDRESS 22 | gives the hardware address of the adapter |
//! | CONTROL 07 | nothing |
//!
//! A frame that waits is told by attention, once until the next READ. So a guest need not have a
//! READ waiting, and has its line free to write.
//!
//! Source of truth: ARCHITECTURE.md ("The emulated machine"); IEEE 802.3 for frames. Invariants:
//! frames come in the order in which the switch has delivered them; what waited for a former
//! attachment is not given to a later one. Deliberately not here: protocols, and the switch.

use super::{
    Access, Device, Ending, Fence, Outcome, Refusal, SenseId, Transfer, command,
    ethernet::{Frame, MacAddress, ProtocolAddress},
    switch::{Port, Switch},
    take_all,
};
use crate::machine::lock;
use monitor_core::{channel::DeviceStatus, units::Epoch};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Command code READ IF ANY.
pub const READ_IF_ANY: u8 = 0x12;
/// Command code READ ADDRESS.
pub const READ_ADDRESS: u8 = 0x22;

/// What an adapter has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanCounts {
    /// Frames that were sent.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Frames that were given to the guest.
    pub received: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Frames that were lost because too many waited.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Line {
    fence: Fence,
    epoch: Option<Epoch>,
    /// The frames that wait were told by attention.
    is_told: bool,
    announcements: VecDeque<(MacAddress, ProtocolAddress)>,
    counts: LanCounts,
}

/// The adapter of one SU on one line.
#[derive(Debug)]
pub struct Lan {
    port: Port,
    line: Mutex<Line>,
}

impl Lan {
    /// Announcements that are remembered; of more, the latest.
    pub const ANNOUNCEMENTS_MAX: usize = 256;

    /// An adapter with this hardware address, plugged into a switch.
    #[must_use]
    pub fn new(mac: MacAddress, switch: &Arc<Switch>) -> Self {
        Self { port: switch.plug(mac), line: Mutex::default() }
    }

    /// The port of the switch.
    #[must_use]
    pub const fn port(&self) -> &Port {
        &self.port
    }

    /// The addresses that were announced through this adapter: who has said to have which one.
    #[must_use]
    pub fn announcements(&self) -> Vec<(MacAddress, ProtocolAddress)> {
        lock(&self.line).announcements.iter().copied().collect()
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> LanCounts {
        LanCounts { dropped: self.port.dropped_count(), ..lock(&self.line).counts }
    }

    fn send(&self, line: &mut Line, data: &mut dyn Transfer) -> Result<Outcome, Refusal> {
        // One byte more than there may be shows that a frame is too long.
        let Some(bytes) = take_all(data, Frame::BYTES_MAX + 1) else {
            // Some of it is refused, which the channel tells.
            return Ok(Outcome::NORMAL);
        };
        let frame = Frame::parse(&bytes).ok_or(Refusal::CommandReject)?;
        line.counts.sent += 1;
        line.counts.sent_bytes += bytes.len() as u64;
        if let Some(announced) = frame.announced() {
            line.announcements.push_back(announced);
            if line.announcements.len() > Self::ANNOUNCEMENTS_MAX {
                line.announcements.pop_front();
            }
        }
        self.port.send(frame);
        Ok(Outcome::NORMAL)
    }

    /// Gives the next frame; of one that is longer than the room, what fits.
    fn receive(&self, line: &mut Line, data: &mut dyn Transfer) -> Option<Outcome> {
        line.is_told = false;
        let bytes = self.port.receive()?.to_bytes();
        line.counts.received += 1;
        line.counts.received_bytes += data.give(&bytes) as u64;
        Some(Outcome::NORMAL)
    }
}

/// The end of a READ for which there is no frame.
fn no_frame() -> Outcome {
    let status = Ending::NORMAL.status.union(DeviceStatus::UNIT_EXCEPTION);
    Outcome::Ended(Ending { status, ..Ending::NORMAL })
}

impl Device for Lan {
    fn sense_id(&self) -> SenseId {
        SenseId { unit_type: 0x3088, unit_model: 0x60, device_type: 0x3088, device_model: 0x01 }
    }

    fn admit(&self, access: &Access) -> Result<(), Refusal> {
        let mut line = lock(&self.line);
        line.fence.pass(access)?;
        if line.epoch != Some(access.epoch) {
            (line.epoch, line.is_told) = (Some(access.epoch), false);
            self.port.clear();
        }
        Ok(())
    }

    fn execute(&self, access: &mut Access, command: u8, data: &mut dyn Transfer) -> Outcome {
        let mut line = lock(&self.line);
        let line = &mut *line;
        if let Err(refusal) = line.fence.pass(access) {
            return Err(refusal).into();
        }
        match command {
            command::WRITE => self.send(line, data).into(),
            command::READ => self.receive(line, data).unwrap_or(Outcome::Pending),
            READ_IF_ANY => self.receive(line, data).unwrap_or_else(no_frame),
            READ_ADDRESS => {
                data.give(&self.port.mac());
                Outcome::NORMAL
            }
            command::CONTROL => Outcome::NORMAL,
            _ => Err(Refusal::CommandReject).into(),
        }
    }

    fn take_unsolicited(&self, access: &Access) -> Option<DeviceStatus> {
        let mut line = lock(&self.line);
        if line.is_told || self.port.waiting_count() == 0 || line.fence.pass(access).is_err() {
            return None;
        }
        line.is_told = true;
        Some(DeviceStatus::ATTENTION)
    }

    fn fenced_count(&self) -> u64 {
        lock(&self.line).fence.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Buffer, Path,
            ethernet::{BROADCAST, TYPE_LOCAL},
        },
        *,
    };
    use monitor_core::units::VmName;

    const HERE: MacAddress = [2, 0, 0, 0, 5, 1];
    const THERE: MacAddress = [2, 0, 0, 0, 7, 1];
    const PEER: MacAddress = [2, 0, 0, 0, 9, 1];

    fn access(epoch: u64) -> Access {
        Access::new(VmName::new("VM12PROD").unwrap(), Epoch::new(epoch), Path::default())
    }

    fn frame(target: MacAddress, number: u8) -> Frame {
        Frame { target, source: [0; 6], kind: TYPE_LOCAL, payload: vec![number; 46] }
    }

    fn write(lan: &Lan, epoch: u64, frame: &Frame) -> Outcome {
        lan.execute(&mut access(epoch), command::WRITE, &mut Buffer::output(&frame.to_bytes()))
    }

    fn read(lan: &Lan, epoch: u64, code: u8) -> (Outcome, Option<Frame>) {
        let mut data = Buffer::input(Frame::BYTES_MAX);
        let outcome = lan.execute(&mut access(epoch), code, &mut data);
        (outcome, Frame::parse(data.given()))
    }

    /// The adapters of two SUs, and a peer.
    fn network() -> (Lan, Lan, Port) {
        let switch = Switch::new();
        let adapters = [HERE, THERE].map(|mac| Lan::new(mac, &switch));
        let [here, there] = adapters;
        here.admit(&access(1)).unwrap();
        (here, there, switch.plug(PEER))
    }

    #[test]
    fn frame_comes_from_the_address_of_the_adapter_that_sends_it() {
        let (here, _, peer) = network();
        assert_eq!(write(&here, 1, &frame(PEER, 1)), Outcome::NORMAL);
        assert_eq!(peer.receive(), Some(Frame { source: HERE, ..frame(PEER, 1) }));
        let mut data = Buffer::input(6);
        let outcome = here.execute(&mut access(1), READ_ADDRESS, &mut data);
        assert_eq!((outcome, data.given()), (Outcome::NORMAL, &HERE[..]));
        assert_eq!((here.counts().sent, here.counts().sent_bytes), (1, 60));
    }

    #[test]
    fn read_waits_for_a_frame_and_read_if_any_does_not() {
        let (here, _, peer) = network();
        assert_eq!(read(&here, 1, command::READ), (Outcome::Pending, None));
        assert_eq!(read(&here, 1, READ_IF_ANY), (no_frame(), None));
        peer.send(frame(HERE, 1));
        peer.send(frame(THERE, 2));
        peer.send(frame(HERE, 3));
        let got = |number| Some(Frame { source: PEER, ..frame(HERE, number) });
        assert_eq!(read(&here, 1, command::READ), (Outcome::NORMAL, got(1)));
        assert_eq!(read(&here, 1, READ_IF_ANY), (Outcome::NORMAL, got(3)));
        assert_eq!(read(&here, 1, command::READ), (Outcome::Pending, None));
        assert_eq!((here.counts().received, here.counts().received_bytes), (2, 120));
    }

    #[test]
    fn attention_tells_of_frames_once_until_the_next_read() {
        let (here, _, peer) = network();
        assert_eq!(here.take_unsolicited(&access(1)), None);
        peer.send(frame(HERE, 1));
        peer.send(frame(HERE, 2));
        assert_eq!(here.take_unsolicited(&access(1)), Some(DeviceStatus::ATTENTION));
        assert_eq!(here.take_unsolicited(&access(1)), None);
        read(&here, 1, READ_IF_ANY);
        assert_eq!(here.take_unsolicited(&access(1)), Some(DeviceStatus::ATTENTION));
        read(&here, 1, READ_IF_ANY);
        assert_eq!(here.take_unsolicited(&access(1)), None);
    }

    #[test]
    fn frames_that_waited_for_a_former_attachment_are_gone() {
        let (here, _, peer) = network();
        peer.send(frame(HERE, 1));
        here.admit(&access(1)).unwrap();
        assert_eq!(here.port().waiting_count(), 1);
        here.admit(&access(3)).unwrap();
        assert_eq!(read(&here, 3, READ_IF_ANY).1, None);
    }

    #[test]
    fn former_owner_neither_sends_nor_takes_frames() {
        let (here, _, peer) = network();
        here.admit(&access(2)).unwrap();
        peer.send(frame(HERE, 1));
        let fenced = Outcome::from(Err(Refusal::Fenced));
        assert_eq!(write(&here, 1, &frame(PEER, 9)), fenced);
        assert_eq!(read(&here, 1, READ_IF_ANY), (fenced, None));
        assert_eq!(here.take_unsolicited(&access(1)), None);
        assert_eq!((peer.receive(), here.fenced_count()), (None, 3));
        assert!(read(&here, 2, READ_IF_ANY).1.is_some());
    }

    #[test]
    fn announcement_of_the_moved_guest_draws_the_frames_to_its_new_port() {
        let (here, there, peer) = network();
        let address = [10, 0, 1, 12];
        assert_eq!(write(&here, 1, &Frame::gratuitous_arp(HERE, address)), Outcome::NORMAL);
        assert_eq!(peer.receive().unwrap().announced(), Some((HERE, address)));
        assert_eq!(peer.switch().port_of(HERE), Some(here.port().number()));
        there.admit(&access(2)).unwrap();
        write(&there, 2, &Frame::gratuitous_arp(THERE, address));
        assert_eq!(peer.receive().unwrap().announced(), Some((THERE, address)));
        assert_eq!(peer.switch().port_of(THERE), Some(there.port().number()));
        peer.send(frame(THERE, 1));
        assert!(read(&there, 2, READ_IF_ANY).1.is_some());
        assert_eq!(there.announcements(), [(THERE, address)]);
        // The adapter that the guest has left has heard the announcement, and nothing else.
        assert_eq!(here.port().receive().unwrap().target, BROADCAST);
        assert_eq!(here.port().receive(), None);
    }

    #[test]
    fn what_is_no_frame_and_what_is_no_command_is_rejected() {
        let (here, _, peer) = network();
        let rejected = Outcome::from(Err(Refusal::CommandReject));
        let short = here.execute(&mut access(1), command::WRITE, &mut Buffer::output(&[0; 13]));
        assert_eq!(short, rejected);
        let unknown = here.execute(&mut access(1), 0x55, &mut Buffer::default());
        assert_eq!((unknown, peer.receive()), (rejected, None));
    }
}
