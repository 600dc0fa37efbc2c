//! Who is at the other end of a guest's lines: a station that pings it, a partner that writes.
//!
//! Source of truth: the workloads `network` and `messages` for what is exchanged. Invariants: they
//! know nothing of SUs and moves; a partner writes its next message when the guest has taken the
//! one before. Deliberately not here: the judgement of what they have seen, which the checkers
//! make.

use std::{cell::Cell, sync::Arc};

use monitor_core::units::{Epoch, Micros, Tick, VmName};

use super::device::Adapters;
use crate::{
    machine::{Access, Buffer, Ctc, Device, Lan, MacAddress, Outcome, Path, Switch, command},
    workload::{Peer, Sight, message},
};

/// A line of the local network: the adapters of the SUs, and a station.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) adapters: Arc<Adapters>,
    peer: Peer,
    due: Cell<Tick>,
}

impl Line {
    /// The line of the VM with this number.
    pub(super) fn new(vm: u8, su_count: usize, interval: Micros, patience: Micros) -> Self {
        let switch = Switch::new();
        let adapter = |su: u8| Lan::new([2, 0, 0, vm, su, 0], &switch);
        let adapters = (0..).take(su_count).map(adapter).collect();
        let peer = Peer::new(&switch, 0, interval).with_patience(patience);
        Self { adapters: Arc::new(Adapters(adapters)), peer, due: Cell::new(Tick::new(0)) }
    }

    /// What the station has seen.
    pub(super) fn sight(&self, now: Tick) -> Sight {
        self.peer.sight(now)
    }

    /// Whether the station, and the switch, have the guest at this SU.
    pub(super) fn finds_guest_at(&self, su: usize) -> bool {
        let port = self.adapters.0[su].port();
        let mac: MacAddress = port.mac();
        self.peer.guest() == Some(mac) && port.switch().port_of(mac) == Some(port.number())
    }

    /// Pings the guest when it is time to; gives whether it did.
    fn step(&self, now: Tick) -> bool {
        let is_due = self.due.get() <= now;
        if is_due {
            self.due.set(self.peer.step(now));
        }
        is_due
    }
}

/// The program at the other side of a channel-to-channel adapter.
#[derive(Debug)]
pub(super) struct Partner {
    side: Arc<Ctc>,
    access: Access,
    interval: Micros,
    due: Cell<Tick>,
    /// Messages that the adapter has taken.
    written: Cell<u64>,
    /// Whether the next one waits for the guest.
    waits: Cell<bool>,
}

impl Partner {
    /// A partner, and the guest's side of the adapter.
    pub(super) fn new(interval: Micros) -> Option<(Self, Arc<Ctc>)> {
        let (here, there) = Ctc::pair();
        let path = Path { system: u16::MAX, channel: 0 };
        let access = Access::new(VmName::new("PARTNER")?, Epoch::new(1), path);
        there.admit(&access).ok()?;
        let (due, written, waits) = Default::default();
        Some((Self { side: there, access, interval, due, written, waits }, here))
    }

    /// Messages that were written.
    pub(super) const fn written(&self) -> u64 {
        self.written.get()
    }

    /// Writes the next message when it is time to; gives whether it has begun to.
    fn step(&self, now: Tick) -> bool {
        if !self.waits.get() && self.due.get() > now {
            return false;
        }
        let begins = !self.waits.get();
        let mut data = Buffer::output(&message(self.written.get() + 1));
        let outcome = self.side.execute(&mut self.access.clone(), command::WRITE, &mut data);
        self.waits.set(outcome == Outcome::Pending);
        if let Outcome::Ended(_) = outcome {
            self.due.set(now.after(self.interval));
            self.written.set(self.written.get() + u64::from(data.taken() > 0));
        }
        begins
    }

    fn next_event(&self) -> Option<Tick> {
        (!self.waits.get()).then(|| self.due.get())
    }
}

/// All that a VM has at the other ends of its lines.
#[derive(Debug, Default)]
pub(super) struct Neighbors {
    pub(super) line: Option<Line>,
    pub(super) partner: Option<Partner>,
}

impl Neighbors {
    /// Lets them do what is due; gives whether they have something for the guest.
    pub(super) fn step(&self, now: Tick) -> bool {
        let pings = self.line.as_ref().is_some_and(|line| line.step(now));
        let writes = self.partner.as_ref().is_some_and(|partner| partner.step(now));
        pings || writes
    }

    /// When there is something to do next.
    pub(super) fn next_event(&self) -> Option<Tick> {
        let line = self.line.as_ref().map(|line| line.due.get());
        let partner = self.partner.as_ref().and_then(Partner::next_event);
        [line, partner].into_iter().flatten().min()
    }
}
