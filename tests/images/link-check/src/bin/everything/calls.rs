//! How a call is made: hidden arguments, and a result that is taken.
//!
//! Source of truth: `core::hint::black_box`. Deliberately not here: the calls.

use core::fmt::{self, Write};

/// Takes text of which the optimizer does not know whether it can be taken.
pub(crate) struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        core::hint::black_box(text);
        core::hint::black_box(Ok(()))
    }
}

/// Calls functions and hides each argument: `calls! { f(a, b); g(); }`.
macro_rules! calls {
    ($($(::)? $($segment:ident)::+ $(::<$($generic:tt),*>)? ($($argument:expr),* $(,)?);)*) => {
        $(::link_check::consume(
            $($segment)::+ $(::<$($generic),*>)? ($(::core::hint::black_box($argument)),*)
        );)*
    };
}

/// Shows a value of each type, as its `Display` has it.
macro_rules! shows {
    ($Type:ty) => {
        ::link_check::consume(::core::fmt::Write::write_fmt(
            &mut crate::calls::Sink,
            ::core::format_args!("{}", ::link_check::any::<$Type>()),
        ));
    };
}

/// Both ways of a number with a unit.
macro_rules! quantity {
    ($Type:ident) => {
        crate::calls::calls! {
            $Type::new(::link_check::any());
            $Type::get(::link_check::any());
        }
        crate::calls::shows!($Type);
    };
}

/// All that bitflags gives to a set of flags.
macro_rules! flags {
    ($Type:ident) => {{
        let (mut a, b) = ($Type::from_bits_retain(any()), $Type::from_bits_retain(any()));
        crate::calls::calls! {
            $Type::empty();
            $Type::all();
            $Type::bits(&a);
            $Type::from_bits(any());
            $Type::from_bits_truncate(any());
            $Type::from_bits_retain(any());
            $Type::from_name(::link_check::text());
            $Type::is_empty(&a);
            $Type::is_all(&a);
            $Type::intersects(&a, b);
            $Type::contains(&a, b);
            $Type::insert(&mut a, b);
            $Type::remove(&mut a, b);
            $Type::toggle(&mut a, b);
            $Type::set(&mut a, b, any());
            $Type::intersection(a, b);
            $Type::union(a, b);
            $Type::difference(a, b);
            $Type::symmetric_difference(a, b);
            $Type::complement(a);
        }
        for flag in $Type::iter(&a) {
            ::link_check::consume(flag);
        }
        for flag in $Type::iter_names(&a) {
            ::link_check::consume(flag);
        }
    }};
}

pub(crate) use {calls, flags, quantity, shows};
