//! What the guest is told of, and which answer is to what.
//!
//! A guest may take its time: when an attempt is given up and another one begins, the answer to the
//! first word may come when the second one was said. So the parameter of a service signal carries
//! the number of the question beside the event, and the guest names the parameter with its answer.
//! A service signal may move before the guest takes it, and questions of two SUs may have the same
//! number, so the event is part of the answer as well.
//!
//! Source of truth: `monitor_core::ports::GuestEvents`. Invariant: a question has one answer at
//! most; an answer to what was not asked here, such as by the SU that the guest has left, is none.
//! Deliberately not here: what is said.

use monitor_core::vm::{GuestAnswer, GuestEvent};
use std::collections::VecDeque;

/// Questions whose numbers differ: those that can be open at a time.
const NUMBERS: u64 = 16;

/// The questions of one machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Questions {
    asked: u64,
    open: VecDeque<(u64, GuestEvent)>,
    answers: VecDeque<(u64, GuestAnswer)>,
}

impl Questions {
    /// Asks: gives the ticket of the question.
    pub(super) fn ask(&mut self, event: GuestEvent) -> u64 {
        let ticket = self.asked;
        self.asked += 1;
        self.open.push_back((ticket, event));
        if self.open.len() as u64 > NUMBERS {
            self.open.pop_front();
        }
        ticket
    }

    /// The guest's answer to the question with this parameter.
    pub(super) fn answer(&mut self, parameter: u64, answer: GuestAnswer) {
        let is_it = |asked: &(u64, _)| u64::from(self::parameter(asked.1, asked.0)) == parameter;
        if let Some(place) = self.open.iter().position(is_it)
            && let Some((ticket, _)) = self.open.remove(place)
        {
            self.answers.push_back((ticket, answer));
        }
    }

    /// The oldest answer that was not taken yet, and the ticket of its question.
    pub(super) fn take(&mut self) -> Option<(u64, GuestAnswer)> {
        self.answers.pop_front()
    }
}

/// The parameter of a question: the event, 1 to 4, and in front of it the number.
pub(super) const fn parameter(event: GuestEvent, ticket: u64) -> u32 {
    let event = match event {
        GuestEvent::MoveComing => 1,
        GuestEvent::MoveAbandoned => 2,
        GuestEvent::Moved => 3,
        GuestEvent::NetworkUp => 4,
    };
    (ticket % NUMBERS * NUMBERS) as u32 | event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_to_its_question_and_to_it_alone() {
        let mut questions = Questions::default();
        let asked: Vec<_> = (0..3).map(|_| questions.ask(GuestEvent::MoveComing)).collect();
        let of = |ticket| u64::from(parameter(GuestEvent::MoveComing, ticket));
        questions.answer(of(asked[2]), GuestAnswer::Refused);
        questions.answer(of(asked[2]), GuestAnswer::Ready);
        questions.answer(of(asked[0]), GuestAnswer::Ready);
        questions.answer(of(9), GuestAnswer::Resumed);
        let other = u64::from(parameter(GuestEvent::Moved, asked[1]));
        questions.answer(other, GuestAnswer::Resumed);
        assert_eq!(questions.take(), Some((asked[2], GuestAnswer::Refused)));
        assert_eq!(questions.take(), Some((asked[0], GuestAnswer::Ready)));
        assert_eq!(questions.take(), None);
    }

    #[test]
    fn questions_that_are_never_answered_are_forgotten_when_their_number_comes_again() {
        let mut questions = Questions::default();
        let last = (0..=NUMBERS).map(|_| questions.ask(GuestEvent::Moved)).last().unwrap();
        questions.answer(u64::from(parameter(GuestEvent::Moved, last)), GuestAnswer::Resumed);
        assert_eq!(questions.take(), Some((last, GuestAnswer::Resumed)));
    }
}
