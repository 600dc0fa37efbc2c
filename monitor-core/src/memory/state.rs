//! The state of a page: whether the guest needs its content.
//!
//! Source of truth: EXTRACT AND SET STORAGE ATTRIBUTES (collaborative memory management) as
//! control programs and hosts know it. Invariants: a state without content says that what the page
//! held is gone or may be; a page whose content is gone reads as zero, or is not read at all.
//! Deliberately not here: where states are kept.

/// What a guest has said of a page, and what the host has made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PageState {
    /// The guest needs the content.
    #[default]
    Stable,
    /// The guest does not need the content; what it reads before the next store is of no meaning.
    Unused,
    /// The host may drop the content as long as the page has not been changed.
    PotentiallyVolatile,
    /// The host may drop the content, and the guest is told when it looks.
    Volatile,
    /// Volatile, and the host has dropped the content: an access is a block-volatility exception
    /// until the guest makes the page stable.
    Discarded,
}

/// What EXTRACT AND SET STORAGE ATTRIBUTES is to do beside extracting the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum StateOrder {
    /// Nothing.
    Get,
    /// The content is needed from now on.
    SetStable,
    /// The content is not needed any more.
    SetUnused,
    /// The content may be dropped.
    SetVolatile,
    /// The content may be dropped unless the page is changed.
    SetPotentiallyVolatile,
    /// The content is needed, and the page has to be in storage.
    SetStableResident,
    /// The content is needed if it is there.
    SetStableIfResident,
}

impl StateOrder {
    /// Every order, in the order of the codes.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::SetStable,
        Self::SetUnused,
        Self::SetVolatile,
        Self::SetPotentiallyVolatile,
        Self::SetStableResident,
        Self::SetStableIfResident,
    ];

    /// The order of this operation-request code, or `None`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl PageState {
    /// Every state, in the order of the codes.
    pub const ALL: [Self; 5] =
        [Self::Stable, Self::Unused, Self::PotentiallyVolatile, Self::Volatile, Self::Discarded];

    /// The number of the state on the wire and in a port.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stable => 0,
            Self::Unused => 1,
            Self::PotentiallyVolatile => 2,
            Self::Volatile => 3,
            Self::Discarded => 4,
        }
    }

    /// The state of this number, or `None`.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether the page has content that must not be lost silently.
    #[must_use]
    pub const fn has_content(self) -> bool {
        match self {
            Self::Stable | Self::PotentiallyVolatile | Self::Volatile => true,
            Self::Unused | Self::Discarded => false,
        }
    }

    /// The state after an order of the guest.
    #[must_use]
    pub const fn after(self, order: StateOrder) -> Self {
        match order {
            StateOrder::Get => self,
            StateOrder::SetStable | StateOrder::SetStableResident => Self::Stable,
            StateOrder::SetUnused => Self::Unused,
            StateOrder::SetStableIfResident if self.has_content() => Self::Stable,
            StateOrder::SetStableIfResident => self,
            // What is gone does not come back by a word.
            StateOrder::SetVolatile | StateOrder::SetPotentiallyVolatile if !self.has_content() => {
                Self::Discarded
            }
            StateOrder::SetVolatile => Self::Volatile,
            StateOrder::SetPotentiallyVolatile => Self::PotentiallyVolatile,
        }
    }

    /// The state after the host has dropped the content, or `None` when it may not; `changed` is
    /// the change bit of the guest's key.
    #[must_use]
    pub const fn dropped(self, changed: bool) -> Option<Self> {
        match self {
            Self::Stable => None,
            Self::PotentiallyVolatile if changed => None,
            Self::Unused => Some(Self::Unused),
            Self::PotentiallyVolatile | Self::Volatile | Self::Discarded => Some(Self::Discarded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_list() {
        for (code, state) in (0..).zip(PageState::ALL) {
            assert_eq!((state.code(), PageState::from_code(code)), (code, Some(state)));
        }
        assert_eq!(PageState::from_code(5), None);
        assert_eq!(StateOrder::from_code(3), Some(StateOrder::SetVolatile));
        assert_eq!(StateOrder::from_code(7), None);
    }

    #[test]
    fn orders_lead_from_each_state_where_the_guest_wants_it() {
        use PageState::{Discarded, PotentiallyVolatile, Stable, Unused, Volatile};
        let table = [
            (StateOrder::Get, [Stable, Unused, PotentiallyVolatile, Volatile, Discarded]),
            (StateOrder::SetStable, [Stable; 5]),
            (StateOrder::SetUnused, [Unused; 5]),
            (StateOrder::SetVolatile, [Volatile, Discarded, Volatile, Volatile, Discarded]),
            (
                StateOrder::SetPotentiallyVolatile,
                [
                    PotentiallyVolatile,
                    Discarded,
                    PotentiallyVolatile,
                    PotentiallyVolatile,
                    Discarded,
                ],
            ),
            (StateOrder::SetStableResident, [Stable; 5]),
            (StateOrder::SetStableIfResident, [Stable, Unused, Stable, Stable, Discarded]),
        ];
        for (order, expected) in table {
            assert_eq!(PageState::ALL.map(|state| state.after(order)), expected, "{order:?}");
        }
    }

    #[test]
    fn host_drops_what_it_may_and_nothing_that_is_stable_or_changed() {
        assert_eq!(PageState::Stable.dropped(false), None);
        assert_eq!(PageState::PotentiallyVolatile.dropped(true), None);
        for state in PageState::ALL.into_iter().skip(1) {
            let dropped = state.dropped(false).expect("it may be dropped");
            assert!(!dropped.has_content(), "{state:?}");
            assert_eq!(dropped.dropped(true), Some(dropped), "{state:?}");
        }
        assert_eq!(PageState::Unused.dropped(true), Some(PageState::Unused));
        assert_eq!(PageState::Volatile.dropped(true), Some(PageState::Discarded));
    }
}
