//! What comes of an action: inputs for the machines, and their effects on the world.
//!
//! Source of truth: the ports and the drivers of `monitor_core`. Invariants: effects are performed
//! right after the input that caused them; what takes time is owed from then on; rules about
//! events are held here, rules about states in [`super`].

use monitor_core::{
    migrate::{Arrival, Effect, Input, LinkFault},
    units::Tick,
    vm::{DirectoryAnswer, GuestAnswer, GuestEvent, Operation, Reason},
    wire::Frame,
};

use super::{
    action::Action,
    bounds::{Bounds, Fault},
    ends::{Machine, NOW, OVERRUN, SourceEnd, TargetEnd, limits},
    state::{Ask, Copy, Device, Item, Kept, Link, State},
};

/// More effects than any step of a machine with a small VM has.
const EFFECTS_LIMIT: usize = 64;

/// The state behind an action.
pub(super) fn after(state: &State, bounds: &Bounds, action: Action) -> State {
    let mut world = World { state: state.clone() };
    if let Some(fault) = fault_of(action) {
        world.state.spent[fault as usize] += 1;
    }
    world.happen(action);
    world.settle(bounds);
    world.state
}

const fn fault_of(action: Action) -> Option<Fault> {
    match action {
        Action::Begin { .. }
        | Action::Store(_)
        | Action::Deliver(..)
        | Action::SeeCut(..)
        | Action::Done(..)
        | Action::Answer(_)
        | Action::Directory(_)
        | Action::Land(_)
        | Action::Deadline(_) => None,
        Action::Fail(..) => Some(Fault::Failure),
        Action::LoseAnswer(_) | Action::Delay(_) => Some(Fault::Directory),
        Action::Lose(..) | Action::Spoil(..) => Some(Fault::Loss),
        Action::Cut(_) => Some(Fault::Cut),
        Action::Stray(_) => Some(Fault::Stray),
        Action::Cancel(_) => Some(Fault::Cancel),
        Action::Overrun(_) => Some(Fault::Overrun),
        Action::LoseSu(_) => Some(Fault::SuLoss),
    }
}

struct World {
    state: State,
}

impl World {
    fn happen(&mut self, action: Action) {
        match action {
            Action::Begin { from, to } => self.begin(from, to),
            Action::Store(su) => self.store(su),
            Action::Deliver(link, side) => self.deliver(link, side),
            Action::SeeCut(link, side) => self.lose_link(link, side, LinkFault::Cut),
            Action::Done(su, operation) => self.done(su, operation),
            Action::Fail(su, operation) => self.fail(su, operation),
            Action::Answer(su) => {
                if let Some(answer) = self.state.su_mut(su).told.take() {
                    self.feed(su, NOW, Input::Guest(answer), 0);
                }
            }
            Action::Directory(su) => self.ask(su, true, true),
            Action::LoseAnswer(su) => self.ask(su, true, false),
            Action::Delay(su) => self.ask(su, false, false),
            Action::Land(place) => {
                let ask = self.state.delayed.remove(place);
                self.state.perform(ask);
            }
            Action::Deadline(su) => {
                let deadline = self.state.su(su).end.as_ref().and_then(|end| end.get().deadline());
                self.feed(su, deadline.unwrap_or(NOW), Input::Deadline, 0);
            }
            Action::Overrun(su) => self.feed(su, OVERRUN, Input::Deadline, 0),
            Action::Lose(link, side) => self.replace_front(link, side, Item::Hole),
            Action::Spoil(link, side) => self.replace_front(link, side, Item::Spoiled),
            Action::Cut(link) => self.state.links[usize::from(link)].is_cut = true,
            Action::Stray(place) => {
                let (_, to, arrival) = self.state.past[place];
                self.feed(to, NOW, Input::Frame(arrival), 0);
            }
            Action::Cancel(su) => {
                self.with_machine(su, NOW, 0, |machine| {
                    if let Machine::Source(end) = machine {
                        let _ = end.machine.cancel(NOW);
                    }
                });
            }
            Action::LoseSu(su) => self.lose_su(su),
        }
    }

    fn begin(&mut self, from: u8, to: u8) {
        let number = u8::try_from(self.state.links.len()).expect("few attempts");
        let epoch = self.state.su(from).copy.runs.expect("the guest runs there");
        self.state.links.push(Link::new(from, to));
        let epoch = monitor_core::units::Epoch::new(epoch);
        let source = Machine::Source(SourceEnd::begin(number, from, to, epoch, limits()));
        let target = Machine::Target(TargetEnd::begin(number, to, limits()));
        for (su, machine) in [(from, source), (to, target)] {
            let su = self.state.su_mut(su);
            su.link = number;
            su.end = Some(Kept::new(machine));
        }
        self.with_machine(from, NOW, 0, |_| ());
    }

    /// The guest stores as it runs, or its I/O does.
    fn store(&mut self, su: u8) {
        self.state.guest[0] += 1;
        let runs = self.state.su(su).copy.runs.is_some();
        if runs {
            self.state.guest[1] += 1;
        }
        let [page, registers] = self.state.guest;
        let copy = &mut self.state.su_mut(su).copy;
        copy.page = page;
        if runs {
            copy.registers = registers;
        }
        self.with_machine(su, NOW, 0, |machine| {
            if let Machine::Source(end) = machine {
                end.note_store();
            }
        });
    }

    fn deliver(&mut self, link: u8, side: usize) {
        let queue = &mut self.state.links[usize::from(link)].queues[side];
        match queue.remove(0) {
            Item::Frame(arrival, load) => {
                let su = self.state.links[usize::from(link)].sus[side];
                self.feed(su, NOW, Input::Frame(arrival), load);
            }
            Item::Spoiled | Item::Hole => self.lose_link(link, side, LinkFault::Gap),
        }
    }

    fn lose_link(&mut self, link: u8, side: usize, fault: LinkFault) {
        let link = &mut self.state.links[usize::from(link)];
        link.is_open[side] = false;
        link.queues[side].clear();
        let su = link.sus[side];
        self.feed(su, NOW, Input::LinkLost(fault), 0);
    }

    fn replace_front(&mut self, link: u8, side: usize, item: Item) {
        let queue = &mut self.state.links[usize::from(link)].queues[side];
        queue[0] = item;
        if item == Item::Hole && queue.get(1) == Some(&Item::Hole) {
            queue.remove(0);
        }
    }

    fn lose_su(&mut self, number: u8) {
        let su = self.state.su_mut(number);
        let asked = su.asked.take();
        *su = super::state::Su { is_lost: true, ..Default::default() };
        if let Some(ask) = asked {
            self.state.delay(ask);
        }
        for link in self.state.links.iter_mut().filter(|link| link.sus.contains(&number)) {
            link.is_cut = true;
            let side = link.side(number);
            link.is_open[side] = false;
            link.queues[side].clear();
        }
    }

    /// The directory performs what was asked, or not yet; and answers, or does not.
    fn ask(&mut self, number: u8, performs: bool, answers: bool) {
        let Some(ask) = self.state.su_mut(number).asked.take() else {
            return;
        };
        let won = performs && self.state.perform(ask);
        if !performs {
            self.state.delay(ask);
        }
        let record = self.state.record;
        let answer = match (answers, ask) {
            (false, _) => DirectoryAnswer::Unreachable,
            (true, Ask::Read) => DirectoryAnswer::Record(record),
            (true, Ask::CompareAndSet { .. }) if won => DirectoryAnswer::Won,
            (true, Ask::CompareAndSet { .. }) => DirectoryAnswer::Lost(record),
        };
        self.feed(number, NOW, Input::Directory(answer), 0);
    }

    fn done(&mut self, number: u8, operation: Operation) {
        let su = self.state.su_mut(number);
        let is_overtaken = su.is_overtaken(operation);
        su.end(operation);
        let copy = &mut su.copy;
        match operation {
            Operation::StopProcessors | Operation::QuiesceDevice(_) if is_overtaken => {}
            Operation::StopProcessors => copy.runs = None,
            Operation::QuiesceDevice(_) => {
                if let Device::Usable(epoch) = copy.device {
                    copy.device = Device::Quiet(epoch);
                }
            }
            Operation::BuildVm => *copy = Copy { is_built: true, ..Copy::default() },
            Operation::DestroyVm => *copy = Copy::default(),
            Operation::AssignDevice(_) => copy.device = Device::Assigned,
            Operation::RemoveDevice(_) => copy.device = Device::Free,
            Operation::AttachDevice(_) => copy.device_before = Device::Free,
            Operation::ResumeProcessors => self.note_run(number),
            _ => {}
        }
        self.feed(number, NOW, Input::Done(operation), 0);
    }

    /// The processors of this SU run.
    fn note_run(&mut self, number: u8) {
        if let Some(link) =
            self.state.links.get_mut(usize::from(self.state.sus[usize::from(number)].link))
        {
            link.has_run |= link.sus[1] == number;
        }
    }

    fn fail(&mut self, number: u8, operation: Operation) {
        let su = self.state.su_mut(number);
        su.end(operation);
        match operation {
            Operation::ResumeProcessors => su.copy.runs = None,
            Operation::AttachDevice(_) => {
                su.copy.device = std::mem::take(&mut su.copy.device_before);
            }
            _ => {}
        }
        self.feed(number, NOW, Input::Failed(operation), 0);
    }

    fn feed(&mut self, su: u8, now: Tick, input: Input, load: u8) {
        self.with_machine(su, now, load, |machine| machine.feed(now, input));
    }

    /// Does something to the machine of an SU, and performs what comes of it.
    fn with_machine(&mut self, su: u8, now: Tick, load: u8, action: impl FnOnce(&mut Machine)) {
        let Some(kept) = self.state.su_mut(su).end.take() else {
            return;
        };
        let mut machine = kept.get().clone();
        action(&mut machine);
        for _ in 0..EFFECTS_LIMIT {
            let Some(effect) = machine.poll(now) else {
                machine.forget();
                self.state.su_mut(su).end = Some(Kept::new(machine));
                return;
            };
            if let Some(input) = self.perform(su, &mut machine, effect, load) {
                machine.feed(now, input);
            }
        }
        panic!("the effects of a step do not come to an end");
    }

    /// Performs one effect; gives the input that follows at once.
    fn perform(
        &mut self,
        su: u8,
        machine: &mut Machine,
        effect: Effect,
        load: u8,
    ) -> Option<Input> {
        match effect {
            Effect::Send { sequence, frame } => {
                self.send(su, machine, sequence.get(), frame);
                None
            }
            Effect::Store { sequence, frame } => {
                let copy = &mut self.state.su_mut(su).copy;
                match frame {
                    Frame::Pages(_) => copy.page = load,
                    Frame::Processor { rehearsal: false, .. } => copy.registers = load,
                    _ => {}
                }
                Some(Input::Stored(sequence))
            }
            Effect::Start(operation) => self.start(su, machine, operation),
            Effect::StopTracking => {
                if let Machine::Source(end) = machine {
                    end.is_tracked = false;
                }
                None
            }
            Effect::Tell(GuestEvent::MoveComing | GuestEvent::MoveAbandoned) => {
                Some(Input::Guest(GuestAnswer::Ready))
            }
            Effect::Tell(GuestEvent::Moved) => {
                self.state.su_mut(su).told = Some(GuestAnswer::Resumed);
                None
            }
            Effect::Tell(GuestEvent::NetworkUp) => {
                self.state.su_mut(su).told = Some(GuestAnswer::Ready);
                None
            }
            Effect::ReadRecord => {
                self.asks(su, Ask::Read);
                None
            }
            Effect::CompareAndSet { expected, new } => {
                self.asks(su, Ask::CompareAndSet { expected, new });
                None
            }
            Effect::Collect
            | Effect::Notice(_)
            | Effect::ReportFindings { .. }
            | Effect::Mark(_) => None,
        }
    }

    fn asks(&mut self, su: u8, ask: Ask) {
        let asked = &mut self.state.su_mut(su).asked;
        if asked.replace(ask).is_some() {
            self.state.breaks("the directory is asked one question at a time");
        }
    }

    fn send(&mut self, su: u8, machine: &Machine, sequence: u64, frame: Frame) {
        let (stream, epoch) = machine.identity();
        let number = usize::from(self.state.su(su).link);
        let copy = self.state.su(su).copy;
        let load = match frame {
            Frame::Pages(_) => copy.page,
            Frame::Processor { rehearsal: false, .. } => copy.registers,
            _ => 0,
        };
        let link = &mut self.state.links[number];
        match frame {
            Frame::Ready(load) => link.ready |= Link::load_bit(load),
            Frame::Commit(load) if link.ready & Link::load_bit(load) == 0 => {
                self.state.breaks("COMMIT names a load of which READY was said");
            }
            _ => {}
        }
        let frame = match frame {
            Frame::Abort(_) => Frame::Abort(Reason::Cancelled),
            Frame::Aborted { incarnation, .. } => {
                Frame::Aborted { incarnation, reason: Reason::Cancelled }
            }
            frame => frame,
        };
        let arrival = Arrival { stream, epoch, sequence, frame };
        let link = &mut self.state.links[number];
        let side = link.side(su);
        if !link.is_cut && link.is_open[1 - side] {
            link.queues[1 - side].push(Item::Frame(arrival, load));
        }
        let past = (su, link.sus[1 - side], Arrival { sequence: 0, ..arrival });
        if may_stray(&frame) && !self.state.past.contains(&past) {
            self.state.past.push(past);
        }
    }

    fn start(&mut self, number: u8, machine: &mut Machine, operation: Operation) -> Option<Input> {
        match operation {
            Operation::TrackChanges => {
                if let Machine::Source(end) = machine {
                    end.is_tracked = true;
                }
                return Some(Input::Done(operation));
            }
            Operation::CheckVm => {
                return Some(Input::Checked(u16::from(self.state.su(number).copy.is_built)));
            }
            _ => {}
        }
        let epoch = machine.running_epoch().get();
        let guest = self.state.guest;
        let link = usize::from(self.state.su(number).link);
        let has_run = self.state.links[link].has_run;
        let su = self.state.su_mut(number);
        let is_new = su.start(operation);
        let mut is_whole = true;
        let mut is_given_up_early = false;
        match operation {
            Operation::ResumeProcessors => {
                su.overtake(Operation::StopProcessors);
                su.copy.runs = Some(epoch);
                is_whole = guest == [su.copy.page, su.copy.registers];
            }
            Operation::AttachDevice(slot) => {
                su.overtake(Operation::QuiesceDevice(slot));
                su.copy.device_before = su.copy.device;
                su.copy.device = Device::Usable(epoch);
            }
            Operation::DestroyVm => {
                is_given_up_early = machine.source_phase().is_some() && !has_run;
            }
            _ => {}
        }
        if !is_new {
            self.state.breaks("nothing is started while it is under way");
        }
        if !is_whole {
            self.state.breaks("the guest goes on with its storage and registers as they were");
        }
        if is_given_up_early {
            self.state.breaks("the source gives up its copy after the guest has run on the target");
        }
        None
    }

    /// Forgets what decides nothing any more.
    fn settle(&mut self, bounds: &Bounds) {
        self.state.forget_void_writes();
        for number in 0..self.state.sus.len() {
            let su = &mut self.state.sus[number];
            let Some(machine) = su.end.as_ref().map(Kept::get) else {
                continue;
            };
            let (is_over, uses_link) = (machine.is_over(), machine.uses_link());
            let link = &mut self.state.links[usize::from(su.link)];
            let side = usize::from(usize::from(link.sus[1]) == number);
            if is_over || !uses_link {
                link.is_open[side] = false;
                link.queues[side].clear();
            }
            if is_over {
                (su.end, su.owed, su.told, su.link) = (None, 0, None, 0);
            }
            if !su.copy.is_built {
                (su.copy.page, su.copy.registers) = (0, 0);
            }
        }
        for link in &mut self.state.links {
            if link.is_open == [false; 2] {
                (link.is_cut, link.ready, link.has_run) = (true, 0, link.has_run);
            }
        }
        if !self.state.admits(bounds, Fault::Stray) {
            self.state.past.clear();
        }
    }
}

/// What decides something about the handover, and so may not come at any time.
const fn may_stray(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::Built(_)
            | Frame::Ready(_)
            | Frame::Recopy
            | Frame::Commit(_)
            | Frame::Running(_)
            | Frame::Aborted { .. }
            | Frame::Abort(_)
            | Frame::Completed
            | Frame::Released
    )
}
