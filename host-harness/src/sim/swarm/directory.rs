//! The cluster directory of a world: slow, out of reach, late, or silent when a fault says so.
//!
//! Source of truth: `monitor_core::ports::ClusterDirectory`. Invariants: a question is carried
//! out at one moment and answered at another; both may lie on either side of the time that a
//! port waits, and a crash of who asked takes neither back. Deliberately not here: who owns what
//! by right, which the checkers say.

use std::rc::Rc;

use monitor_core::{
    ports::{ClusterDirectory, ErrorKind, ErrorType},
    units::{Micros, Tick, VmName},
    vm::{DirectoryAnswer, Ownership},
};

use super::{fault::FaultKind, shared::Spot};

/// A question on its way.
#[derive(Clone, Copy, Debug)]
struct Question {
    ticket: u64,
    vm: VmName,
    /// What the record is to be and to become; a read without.
    change: Option<(Ownership, Ownership)>,
    apply_at: Tick,
    /// When the answer comes; without one it is lost.
    answer_at: Option<Tick>,
}

/// The records and what is under way.
#[derive(Debug, Default)]
pub(super) struct Directory {
    records: Vec<(VmName, Ownership)>,
    questions: Vec<Question>,
    answers: Vec<(u64, Tick, DirectoryAnswer)>,
    tickets: u64,
    gone_until: Tick,
    pub(super) grants_twice: bool,
}

impl Directory {
    pub(super) fn enter(&mut self, vm: VmName, record: Ownership) {
        self.records.push((vm, record));
    }

    pub(super) fn record(&self, vm: VmName) -> Option<Ownership> {
        self.records.iter().find(|(name, _)| *name == vm).map(|(_, record)| *record)
    }

    /// Nobody reaches the directory until this moment.
    pub(super) fn go_away(&mut self, until: Tick) {
        self.gone_until = self.gone_until.max(until);
    }

    /// Carries out all questions whose moment has come.
    pub(super) fn advance(&mut self, now: Tick) {
        while let Some(place) = self.next_due(now) {
            let question = self.questions.remove(place);
            let answer = self.carry_out(&question);
            if let Some(at) = question.answer_at {
                self.answers.push((question.ticket, at, answer));
            }
        }
    }

    fn next_due(&self, now: Tick) -> Option<usize> {
        let due = self.questions.iter().enumerate().filter(|(_, it)| it.apply_at <= now);
        due.min_by_key(|(_, it)| (it.apply_at, it.ticket)).map(|(place, _)| place)
    }

    fn carry_out(&mut self, question: &Question) -> DirectoryAnswer {
        let record = self.records.iter_mut().find(|(name, _)| *name == question.vm);
        match (record, question.change) {
            (None, _) => DirectoryAnswer::Missing,
            (Some((_, record)), None) => DirectoryAnswer::Record(*record),
            (Some((_, record)), Some((expected, new))) => {
                if *record == expected || self.grants_twice {
                    *record = new;
                    DirectoryAnswer::Won
                } else {
                    DirectoryAnswer::Lost(*record)
                }
            }
        }
    }

    /// The next moment at which something changes by itself.
    pub(super) fn next_event(&self) -> Option<Tick> {
        self.questions.iter().map(|it| it.apply_at).min()
    }

    fn next_answer(&self, ticket: u64) -> Option<Tick> {
        let said = self.answers.iter().find(|(it, ..)| *it == ticket).map(|(_, at, _)| *at);
        let asked = || self.questions.iter().find(|it| it.ticket == ticket)?.answer_at;
        said.or_else(asked)
    }

    fn take_answer(&mut self, ticket: u64, now: Tick) -> Option<DirectoryAnswer> {
        let ready = |(it, at, _): &(u64, Tick, DirectoryAnswer)| *it == ticket && *at <= now;
        let place = self.answers.iter().position(ready)?;
        Some(self.answers.swap_remove(place).2)
    }
}

/// One monitor's access.
#[derive(Debug)]
pub(super) struct DirectoryPort<'a> {
    spot: Rc<Spot<'a>>,
    ticket: Option<u64>,
}

impl<'a> DirectoryPort<'a> {
    pub(super) const fn new(spot: Rc<Spot<'a>>) -> Self {
        Self { spot, ticket: None }
    }

    /// When the answer that is waited for comes.
    pub(super) fn next_event(&self) -> Option<Tick> {
        self.spot.shared.directory.borrow().next_answer(self.ticket?)
    }

    fn ask(&mut self, vm: VmName, change: Option<(Ownership, Ownership)>) -> Result<(), ErrorKind> {
        if !self.spot.lives() {
            return Err(ErrorKind::Unreachable);
        }
        let shared = &self.spot.shared;
        let now = shared.now();
        let base = shared.latency;
        let patience = shared.patience;
        let way = || Micros::new(shared.draw(base) + 1);
        let (mut there, mut back) = (way(), way());
        if self.spot.strikes(FaultKind::DirectorySlow) {
            (there, back) = (Micros::new(there.get() * 20), Micros::new(back.get() * 20));
        }
        if self.spot.strikes(FaultKind::DirectoryGone) {
            let span = self.spot.span.get();
            shared.directory.borrow_mut().go_away(now.after(span));
        }
        let mut apply_at = now.after(there);
        let mut answer_at = Some(apply_at.after(back));
        let gives_up_at = now.after(patience);
        if self.spot.strikes(FaultKind::AnswerLost) {
            answer_at = None;
        }
        if self.spot.strikes(FaultKind::AnswerLate) {
            apply_at = gives_up_at.after(Micros::new(shared.draw(patience.get() * 2)));
            answer_at = None;
        }
        let answer_at = answer_at.filter(|at| *at <= gives_up_at);
        let mut directory = shared.directory.borrow_mut();
        directory.tickets += 1;
        let ticket = directory.tickets;
        if now >= directory.gone_until {
            directory.questions.push(Question { ticket, vm, change, apply_at, answer_at });
        }
        if answer_at.is_none() || now < directory.gone_until {
            // Nothing was heard in time, whatever has become of the question.
            directory.answers.push((ticket, gives_up_at, DirectoryAnswer::Unreachable));
        }
        self.ticket = Some(ticket);
        Ok(())
    }
}

impl ErrorType for DirectoryPort<'_> {
    type Error = ErrorKind;
}

impl ClusterDirectory for DirectoryPort<'_> {
    fn start_read(&mut self, vm: VmName) -> Result<(), ErrorKind> {
        self.ask(vm, None)
    }

    fn start_compare_and_set(
        &mut self,
        vm: VmName,
        expected: Ownership,
        new: Ownership,
    ) -> Result<(), ErrorKind> {
        self.ask(vm, Some((expected, new)))
    }

    fn poll_answer(&mut self) -> Option<DirectoryAnswer> {
        let shared = &self.spot.shared;
        let ticket = self.ticket.filter(|_| !self.spot.is_dead())?;
        let answer = shared.directory.borrow_mut().take_answer(ticket, shared.now())?;
        self.spot.say(format_args!("directory: {answer:?}"));
        self.ticket = None;
        Some(answer)
    }
}
