//! What comes of an action: inputs for the machines, and their effects on the world.
//!
//! Source of truth: the ports and the drivers of `monitor_core`. Invariants: effects are performed
//! right after the input that caused them, and a restart may come between any two; what takes
//! time is owed from then on. Deliberately not here: what an operation does to the guest
//! ([`super::operate`]), and rules about states ([`super`]).

use monitor_core::{
    migrate::{Arrival, Effect, Input, LinkFault, SourcePhase, Verdict},
    units::{Epoch, Tick},
    vm::{DirectoryAnswer, GuestAnswer, GuestEvent, Operation, Reason},
    wire::{Frame, LoadState, Status},
};

use super::{
    action::{Action, Event, Mishap},
    bounds::{Bounds, Fault},
    ends::{Journal, Machine, NOW, OVERRUN, SourceEnd, TargetEnd},
    operate::{end, interrupt, is_fenced, start},
    state::{Ask, Item, Kept, Link, State, Su},
};

/// More effects than any step of a machine with a small VM has.
const EFFECTS_LIMIT: usize = 64;

/// The state behind an action, if it can happen.
pub(super) fn after(state: &State, bounds: &Bounds, action: Action) -> Option<State> {
    let mut world = World { state: state.clone(), mishap: action.mishap, effects: 0, taken: true };
    if let Some(fault) = action.fault() {
        world.state.spent[fault as usize] += 1;
    }
    world.happen(action.event);
    let has_happened = world.taken && world.mishap.is_none();
    has_happened.then(|| {
        world.settle(bounds);
        world.state
    })
}

/// How many effects an event has.
pub(super) fn effect_count(state: &State, event: Event) -> u8 {
    let mut world = World { state: state.clone(), mishap: None, effects: 0, taken: true };
    world.happen(event);
    world.effects
}

struct World {
    state: State,
    /// What is still to go wrong.
    mishap: Option<Mishap>,
    /// How many effects were performed.
    effects: u8,
    /// Whether the event can happen.
    taken: bool,
}

impl World {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Begin { from, to } => self.begin(from, to),
            Event::Store(su) => self.store(su),
            Event::Deliver(link, side) => self.deliver(link, side),
            Event::SeeCut(link, side) => self.lose_link(link, side, LinkFault::Cut),
            Event::Connect(link) => self.connect(link),
            Event::Done(su, operation) if is_fenced(&self.state, su, operation) => {
                end(&mut self.state, su, operation, false);
                self.feed(su, NOW, Input::Failed(operation), 0);
            }
            Event::Done(su, operation) => {
                end(&mut self.state, su, operation, true);
                self.feed(su, NOW, Input::Done(operation), 0);
            }
            Event::Fail(su, operation) => {
                end(&mut self.state, su, operation, false);
                self.feed(su, NOW, Input::Failed(operation), 0);
            }
            Event::Answer(su) => {
                if let Some(answer) = self.state.su_mut(su).told.take() {
                    self.feed(su, NOW, Input::Guest(answer), 0);
                }
            }
            Event::Directory(su) => self.ask(su, true, true),
            Event::LoseAnswer(su) => self.ask(su, true, false),
            Event::Delay(su) => self.ask(su, false, false),
            Event::Land(place) => {
                let ask = self.state.delayed.remove(place);
                self.state.perform(ask);
            }
            Event::Deadline(su) => {
                let deadline = self.state.su(su).end.as_ref().and_then(|end| end.get().deadline());
                self.feed(su, deadline.unwrap_or(NOW), Input::Deadline, 0);
            }
            Event::Overrun(su) => self.feed(su, OVERRUN, Input::Deadline, 0),
            Event::Lose(link, side) => self.replace_front(link, side, Item::Hole),
            Event::Spoil(link, side) => self.replace_front(link, side, Item::Spoiled),
            Event::Cut(link) => self.state.links[usize::from(link)].is_cut = true,
            Event::Stray(place) => {
                let (_, to, arrival) = self.state.past[place];
                self.feed(to, NOW, Input::Frame(arrival), 0);
            }
            Event::Cancel(su) => self.command(su, |end| end.machine.cancel(NOW).is_ok()),
            Event::Decide(su) => self.decide(su),
            Event::Restart(su, completes) => self.restart(su, completes),
            Event::LoseSu(su) => self.lose_su(su),
        }
    }

    fn begin(&mut self, from: u8, to: u8) {
        let number = u8::try_from(self.state.links.len()).expect("few attempts");
        let epoch = Epoch::new(self.state.su(from).copy.runs.expect("the guest runs there"));
        self.state.links.push(Link::new(from, to));
        let devices = self.state.devices(from);
        let source = Machine::Source(SourceEnd::begin(from, to, epoch, &devices));
        let target = Machine::Target(TargetEnd::begin(number, to, &devices));
        for (su, machine) in [(from, source), (to, target)] {
            let su = self.state.su_mut(su);
            (su.link, su.journal) = (number, None);
            su.end = Some(Kept::new(machine));
        }
        self.with_machine(from, NOW, 0, |_| ());
    }

    /// The guest stores as it runs, or its I/O does.
    fn store(&mut self, su: u8) {
        let runs = self.state.su(su).copy.runs.is_some();
        self.state.guest[0] += 1;
        self.state.guest[1] += u8::from(runs);
        let [page, registers] = self.state.guest;
        let copy = &mut self.state.su_mut(su).copy;
        copy.page = page;
        if runs {
            copy.registers = registers;
        }
        self.command(su, |end| {
            end.note_store();
            true
        });
    }

    fn deliver(&mut self, link: u8, side: usize) {
        let link_state = &mut self.state.links[usize::from(link)];
        let su = link_state.sus[side];
        match link_state.queues[side].remove(0) {
            Item::Frame(arrival, load) => self.feed(su, NOW, Input::Frame(arrival), load),
            Item::Spoiled | Item::Hole => self.lose_link(link, side, LinkFault::Gap),
        }
    }

    fn lose_link(&mut self, link: u8, side: usize, fault: LinkFault) {
        let link = &mut self.state.links[usize::from(link)];
        link.close(side);
        let su = link.sus[side];
        self.feed(su, NOW, Input::LinkLost(fault), 0);
    }

    /// The target takes a new connection, then the source says its first word on it.
    fn connect(&mut self, number: u8) {
        let link = &mut self.state.links[usize::from(number)];
        (link.is_open, link.is_cut) = ([true; 2], false);
        let [source, target] = link.sus;
        let devices = self.state.devices(target);
        let su = self.state.su_mut(target);
        if su.end.is_none() {
            let known = su.journal.as_ref().filter(|_| su.link == number);
            let machine = match known {
                Some(journal) => journal.get().restore(number, target, &devices),
                None => Machine::Target(TargetEnd::begin(number, target, &devices)),
            };
            su.link = number;
            su.end = Some(Kept::new(machine));
        }
        self.feed(target, NOW, Input::LinkUp, 0);
        self.feed(source, NOW, Input::LinkUp, 0);
    }

    fn replace_front(&mut self, link: u8, side: usize, item: Item) {
        let queue = &mut self.state.links[usize::from(link)].queues[side];
        queue[0] = item;
        if item == Item::Hole && queue.get(1) == Some(&Item::Hole) {
            queue.remove(0);
        }
    }

    /// An operator who looked at the target says what he saw.
    fn decide(&mut self, su: u8) {
        let link = &self.state.links[usize::from(self.state.su(su).link)];
        let target = self.state.su(link.sus[1]);
        let runs = target.copy.runs.filter(|_| link.has_run);
        let is_lost = target.is_lost;
        self.command(su, |end| {
            let verdict = match (runs, is_lost) {
                (Some(epoch), _) => Verdict::TargetRuns(Epoch::new(epoch)),
                (None, true) => Verdict::TargetLost(end.machine.epoch().next()),
                (None, false) => return false,
            };
            end.machine.decide(NOW, verdict).is_ok()
        });
    }

    /// A command to a source; one that is refused does not happen.
    fn command(&mut self, su: u8, command: impl FnOnce(&mut SourceEnd) -> bool) {
        let mut taken = false;
        self.with_machine(su, NOW, 0, |machine| {
            if let Machine::Source(end) = machine {
                taken = command(end);
            }
        });
        self.taken &= taken;
    }

    fn lose_su(&mut self, number: u8) {
        let su = self.state.su_mut(number);
        let (asked, link) = (su.asked.take(), su.link);
        *su = Su { is_lost: true, ..Su::default() };
        if let Some(ask) = asked {
            self.state.delay(ask);
        }
        self.leave_link(number, link);
    }

    fn leave_link(&mut self, su: u8, link: u8) {
        let link = self.state.links.get_mut(usize::from(link));
        if let Some(link) = link.filter(|link| link.sus.contains(&su)) {
            link.close(link.side(su));
        }
    }

    /// The monitor is restarted: guest, device and journal survive it.
    fn restart(&mut self, number: u8, completes: bool) {
        interrupt(&mut self.state, number, completes);
        let devices = self.state.devices(number);
        let su = self.state.su_mut(number);
        (su.end, su.told) = (None, None);
        let (asked, link) = (su.asked.take(), su.link);
        if let Some(journal) = &su.journal {
            su.end = Some(Kept::new(journal.get().restore(link, number, &devices)));
        }
        if let Some(ask) = asked {
            self.state.delay(ask);
        }
        self.leave_link(number, link);
        self.with_machine(number, NOW, 0, |_| ());
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
            if self.mishap == Some(Mishap::Restart(self.effects)) {
                self.mishap = None;
                self.restart(su, false);
                return;
            }
            self.effects += 1;
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
            Effect::Send { sequence, frame } => self.send(su, machine, sequence.get(), frame),
            Effect::Store { sequence, frame } => {
                let copy = &mut self.state.su_mut(su).copy;
                match frame {
                    Frame::Pages(_) => copy.page = load,
                    Frame::Processor { rehearsal: false, .. } => copy.registers = load,
                    _ => {}
                }
                return Some(Input::Stored(sequence));
            }
            Effect::Start(operation) => return start(&mut self.state, su, machine, operation),
            Effect::Save(stage) => {
                let journal = machine.journal(stage).map(Kept::new);
                return Some(self.save(su, journal));
            }
            Effect::StopTracking => {
                if let Machine::Source(end) = machine {
                    end.is_tracked = false;
                }
            }
            Effect::Tell(event) => return self.tell(su, event),
            Effect::ReadRecord => self.asks(su, Ask::Read),
            Effect::CompareAndSet { expected, new } => {
                self.asks(su, Ask::CompareAndSet { expected, new });
            }
            Effect::Collect
            | Effect::Notice(_)
            | Effect::ReportFindings { .. }
            | Effect::Mark(_) => {}
        }
        None
    }

    fn save(&mut self, su: u8, journal: Option<Kept<Journal>>) -> Input {
        if self.mishap == Some(Mishap::Journal) {
            self.mishap = None;
            return Input::Failed(Operation::SaveJournal);
        }
        self.state.su_mut(su).journal = journal;
        Input::Done(Operation::SaveJournal)
    }

    /// The guest is told. At the source it answers at once, for what follows if it does not is an
    /// end of the attempt like any other.
    fn tell(&mut self, su: u8, event: GuestEvent) -> Option<Input> {
        let answer = match event {
            GuestEvent::MoveComing | GuestEvent::MoveAbandoned => {
                return Some(Input::Guest(GuestAnswer::Ready));
            }
            GuestEvent::Moved => GuestAnswer::Resumed,
            GuestEvent::NetworkUp => GuestAnswer::Ready,
        };
        self.state.su_mut(su).told = Some(answer);
        None
    }

    fn asks(&mut self, su: u8, ask: Ask) {
        if self.state.su_mut(su).asked.replace(ask).is_some() {
            self.state.breaks("the directory is asked one question at a time");
        }
    }

    fn send(&mut self, su: u8, machine: &Machine, sequence: u64, frame: Frame) {
        let (stream, epoch) = machine.identity();
        let copy = self.state.su(su).copy;
        let number = usize::from(self.state.su(su).link);
        let link = &mut self.state.links[number];
        let is_attached = copy.devices[1].epoch().is_some();
        let mut load = 0;
        let mut is_early = false;
        match frame {
            Frame::Pages(_) => load = copy.page,
            Frame::Processor { rehearsal: false, .. } => load = copy.registers,
            Frame::Ready(load)
            | Frame::Status(Status { state: LoadState::Loaded, incarnation: load, .. }) => {
                link.ready |= Link::load_bit(load);
            }
            Frame::Commit(load) => is_early = link.ready & Link::load_bit(load) == 0,
            _ => {}
        }
        let arrival = Arrival { stream, epoch, sequence, frame: for_any_reason(frame) };
        let side = link.side(su);
        if !link.is_cut && link.is_open[1 - side] {
            link.queues[1 - side].push(Item::Frame(arrival, load));
        }
        let past = (su, link.sus[1 - side], Arrival { sequence: 0, ..arrival });
        if may_stray(&frame) && !self.state.past.contains(&past) {
            self.state.past.push(past);
        }
        if matches!(frame, Frame::Commit(_)) && is_attached {
            self.state.breaks("what does not go with the guest is detached before COMMIT");
        }
        if is_early {
            self.state.breaks("COMMIT names a load of which READY was said");
        }
    }

    /// Forgets what decides nothing any more.
    fn settle(&mut self, bounds: &Bounds) {
        let mut unheard = Vec::new();
        for (number, su) in (0..).zip(&mut self.state.sus) {
            if !su.copy.is_built {
                (su.copy.page, su.copy.registers) = (0, 0);
            }
            let Some(machine) = su.end.as_ref().map(Kept::get) else {
                continue;
            };
            let is_over = machine.is_over();
            if is_over || !machine.uses_link() {
                let link = &mut self.state.links[usize::from(su.link)];
                link.close(link.side(number));
            }
            if is_over {
                (su.end, su.owed, su.told) = (None, 0, None);
                unheard.extend(su.asked.take());
            }
        }
        unheard.into_iter().for_each(|ask| self.state.delay(ask));
        self.state.forget_void_writes();
        for (number, link) in (0..).zip(&mut self.state.links) {
            let [source, target] = link.sus.map(|su| &self.state.sus[usize::from(su)]);
            let phase = source.end.as_ref().and_then(|end| end.get().source_phase());
            let is_source = source.is_bound_to(number);
            if !(is_source && phase.is_some_and(|phase| phase <= SourcePhase::Suspended)) {
                link.forget_numbers();
            }
            if !is_source && !target.is_bound_to(number) {
                *link = Link::over(link.sus);
            }
        }
        if !self.state.admits(bounds, Fault::Stray) {
            self.state.past.clear();
        }
    }
}

/// The same frame for one reason that stands for all.
const fn for_any_reason(frame: Frame) -> Frame {
    let any = Reason::Cancelled;
    match frame {
        Frame::Abort(_) => Frame::Abort(any),
        Frame::Aborted { incarnation, .. } => Frame::Aborted { incarnation, reason: any },
        Frame::Status(Status { state: LoadState::Dropped(_), incarnation, stored }) => {
            Frame::Status(Status { state: LoadState::Dropped(any), incarnation, stored })
        }
        frame => frame,
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
            | Frame::Resume
            | Frame::Status(_)
    )
}
