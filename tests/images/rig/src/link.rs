//! The link between two machines: what joins their serial ports, and what befalls it.
//!
//! Each machine listens at a socket of its own; this connects to both and passes bytes on. At the
//! n-th frame of a type in one direction, which does not pass then, it can cut the link, cut it for
//! good, or end a machine.
//!
//! Source of truth: PROTOCOL.md, "Serial lines". Invariants: both ends are connected or none is;
//! each trigger fires once. Deliberately not here: what the machines make of it.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    framer::{Framer, Piece},
    machine::Process,
};

/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the link is down after a cut.
const DOWN: Duration = Duration::from_millis(300);

/// From which machine a frame comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The first, which has the VM at the beginning.
    Source,
    /// The second.
    Target,
}

/// What happens at a frame.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// The link is cut before the frame, and comes back.
    Cut,
    /// The link is cut before the frame and does not come back.
    Sever,
    /// A machine is lost before the frame, and with it what is under way on the link.
    Kill(Process),
}

/// At which frame what happens.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    /// Who sends the frame.
    pub(crate) from: Origin,
    /// The type of the frame, as in its header.
    pub(crate) type_code: u16,
    /// The how-manieth frame of the type, from 1.
    pub(crate) nth: u64,
    /// What happens.
    pub(crate) deed: Deed,
}

/// A link that passes bytes until it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    triggers: Mutex<Vec<(Trigger, u64)>>,
    streams: Mutex<Option<[UnixStream; 2]>>,
    is_severed: AtomicBool,
    fired: Mutex<u64>,
    has_fired: Condvar,
    bytes: [AtomicU64; 2],
    bytes_per_second: Option<u64>,
}

impl Link {
    /// Joins the machines that listen at these sockets, the source's first, as soon as both do.
    pub(crate) fn join(
        sockets: [PathBuf; 2],
        triggers: Vec<Trigger>,
        bytes_per_second: Option<u64>,
    ) -> Self {
        let shared = Arc::new(Shared {
            triggers: Mutex::new(triggers.into_iter().map(|trigger| (trigger, 0)).collect()),
            streams: Mutex::new(None),
            is_severed: AtomicBool::new(false),
            fired: Mutex::new(0),
            has_fired: Condvar::new(),
            bytes: Default::default(),
            bytes_per_second,
        });
        let keeper = Arc::clone(&shared);
        let keeper = Some(thread::spawn(move || keeper.keep(&sockets)));
        Self { shared, keeper }
    }

    /// Waits until so many triggers have fired, and says whether they have.
    pub(crate) fn wait_fired(&self, count: u64, limit: Duration) -> bool {
        let fired = lock(&self.shared.fired);
        let waited = self.shared.has_fired.wait_timeout_while(fired, limit, |fired| *fired < count);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Bytes that the source and the target have sent.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [&self.shared.bytes[0], &self.shared.bytes[1]].map(|count| count.load(Relaxed))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.is_severed.store(true, Relaxed);
        self.shared.cut();
        if let Some(keeper) = self.keeper.take() {
            // A keeper that panicked has said so; there is nothing to be added.
            drop(keeper.join());
        }
    }
}

impl Shared {
    fn keep(self: &Arc<Self>, sockets: &[PathBuf; 2]) {
        while !self.is_severed.load(Relaxed) {
            let Some((source, target)) = connected(sockets) else {
                thread::sleep(PAUSE);
                continue;
            };
            let pumps = [(Origin::Source, &source, &target), (Origin::Target, &target, &source)];
            let pumps =
                pumps.map(|(from, reader, writer)| Some((from, clone(reader)?, clone(writer)?)));
            *lock(&self.streams) = Some([source, target]);
            let threads = pumps.map(|pump| {
                let shared = Arc::clone(self);
                thread::spawn(move || {
                    if let Some((from, reader, writer)) = pump {
                        shared.pump(from, reader, writer);
                    }
                    shared.cut();
                })
            });
            // Severed while the streams were being noted: nobody has cut these.
            if self.is_severed.load(Relaxed) {
                self.cut();
            }
            for thread in threads {
                drop(thread.join());
            }
            thread::sleep(DOWN);
        }
    }

    fn pump(&self, from: Origin, mut reader: UnixStream, mut writer: UnixStream) {
        let mut framer = Framer::default();
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
            let began = Instant::now();
            for piece in framer.cut(bytes.get(..count).unwrap_or(&[])) {
                let passes = match &piece {
                    Piece::Header(type_code, head) => {
                        self.reach(from, *type_code) && writer.write_all(head).is_ok()
                    }
                    Piece::Bytes(bytes) => writer.write_all(bytes).is_ok(),
                };
                if !passes {
                    return;
                }
            }
            let count = u64::try_from(count).unwrap_or(0);
            self.bytes[from as usize].fetch_add(count, Relaxed);
            if let Some(rate) = self.bytes_per_second {
                let takes = Duration::from_micros(count * 1_000_000 / rate.max(1));
                thread::sleep(takes.saturating_sub(began.elapsed()));
            }
        }
    }

    /// A frame is about to pass. Says whether it does.
    fn reach(&self, from: Origin, type_code: u16) -> bool {
        let mut due = Vec::new();
        for (trigger, seen) in lock(&self.triggers).iter_mut() {
            if trigger.from == from && trigger.type_code == type_code {
                *seen += 1;
                if *seen == trigger.nth {
                    due.push(trigger.deed.clone());
                }
            }
        }
        let mut passes = true;
        let count = u64::try_from(due.len()).unwrap_or(0);
        for deed in due {
            match deed {
                Deed::Cut => passes = false,
                Deed::Sever => {
                    self.is_severed.store(true, Relaxed);
                    passes = false;
                }
                Deed::Kill(process) => {
                    process.kill();
                    passes = false;
                }
            }
        }
        *lock(&self.fired) += count;
        self.has_fired.notify_all();
        passes
    }

    fn cut(&self) {
        for stream in lock(&self.streams).take().into_iter().flatten() {
            // An end that has closed itself needs no closing.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn connected(sockets: &[PathBuf; 2]) -> Option<(UnixStream, UnixStream)> {
    let connect = |path: &Path| UnixStream::connect(path).ok();
    let [source, target] = sockets;
    Some((connect(source)?, connect(target)?))
}

fn clone(stream: &UnixStream) -> Option<UnixStream> {
    stream.try_clone().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixListener,
        time::Duration,
    };

    use monitor_core::{
        units::{Epoch, Sequence, StreamId},
        wire::{FrameFlags, FrameType, Header, VERSION_MIN},
    };

    use super::{Deed, Link, Origin, Trigger};

    fn empty_frame(kind: FrameType) -> [u8; 48] {
        let header = Header {
            version: VERSION_MIN,
            type_code: kind.code(),
            flags: FrameFlags::empty(),
            length: 0,
            stream: StreamId::new(1),
            epoch: Epoch::new(1),
            sequence: Sequence::new(1),
            body_check: 0,
        };
        header.emit()
    }

    #[test]
    fn second_frame_cuts_the_link_which_comes_back() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let sockets = ["a", "b"].map(|name| folder.path().join(name));
        let [source, target] = sockets.clone().map(|path| UnixListener::bind(path).expect("new"));
        let type_code = FrameType::Ack.code();
        let trigger = Trigger { from: Origin::Source, type_code, nth: 2, deed: Deed::Cut };
        let link = Link::join(sockets, vec![trigger], None);

        let mut source_end = source.accept().expect("the link connects").0;
        let mut target_end = target.accept().expect("the link connects").0;
        let frame = empty_frame(FrameType::Ack);
        source_end.write_all(&[frame, frame].concat()).expect("it is read");
        let mut heard = Vec::new();
        target_end.read_to_end(&mut heard).expect("it ends");
        assert_eq!(heard, frame);
        assert!(link.wait_fired(1, Duration::from_secs(5)));

        let mut source_end = source.accept().expect("the link connects again").0;
        let mut target_end = target.accept().expect("the link connects again").0;
        source_end.write_all(&frame).expect("it is read");
        let mut again = [0; 48];
        target_end.read_exact(&mut again).expect("it comes");
        assert_eq!(again, frame);
    }
}
