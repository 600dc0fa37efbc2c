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
    ($($($segment:ident)::+ ($($argument:expr),*);)*) => {
        $(::link_check::consume(
            $($segment)::+ ($(::core::hint::black_box($argument)),*)
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
        let (mut a, b) = (
            $Type::from_bits_retain(link_check::any()),
            $Type::from_bits_retain(link_check::any()),
        );
        crate::calls::calls! {
            $Type::empty();
            $Type::all();
            $Type::bits(&a);
            $Type::from_bits(::link_check::any());
            $Type::from_bits_truncate(::link_check::any());
            $Type::from_bits_retain(::link_check::any());
            $Type::from_name(::link_check::text());
            $Type::is_empty(&a);
            $Type::is_all(&a);
            $Type::intersects(&a, b);
            $Type::contains(&a, b);
            $Type::insert(&mut a, b);
            $Type::remove(&mut a, b);
            $Type::toggle(&mut a, b);
            $Type::set(&mut a, b, ::link_check::any());
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

/// The operators and forms that bitflags gives to a set of flags.
macro_rules! operators {
    ($Type:ident) => {{
        use core::{
            fmt::{Binary, LowerHex, Octal, UpperHex},
            hint::black_box,
            ops::{
                BitAnd, BitAndAssign, BitOr, BitOrAssign, BitXor, BitXorAssign, Not, Sub, SubAssign,
            },
        };
        use link_check::consume;

        let b = $Type::from_bits_retain(link_check::any());
        let mut a = b;
        consume(<$Type as BitAnd>::bitand(black_box(a), black_box(b)));
        consume(<$Type as BitOr>::bitor(black_box(a), black_box(b)));
        consume(<$Type as BitXor>::bitxor(black_box(a), black_box(b)));
        consume(<$Type as Sub>::sub(black_box(a), black_box(b)));
        consume(<$Type as Not>::not(black_box(a)));
        <$Type as BitAndAssign>::bitand_assign(black_box(&mut a), black_box(b));
        <$Type as BitOrAssign>::bitor_assign(black_box(&mut a), black_box(b));
        <$Type as BitXorAssign>::bitxor_assign(black_box(&mut a), black_box(b));
        <$Type as SubAssign>::sub_assign(black_box(&mut a), black_box(b));
        <$Type as Extend<$Type>>::extend(black_box(&mut a), black_box([b, b]));
        consume(<$Type as FromIterator<$Type>>::from_iter(black_box([a, b])));
        for flag in <$Type as IntoIterator>::into_iter(black_box(a)) {
            consume(flag);
        }
        crate::calls::written(|to| <$Type as Binary>::fmt(black_box(&a), to));
        crate::calls::written(|to| <$Type as Octal>::fmt(black_box(&a), to));
        crate::calls::written(|to| <$Type as LowerHex>::fmt(black_box(&a), to));
        crate::calls::written(|to| <$Type as UpperHex>::fmt(black_box(&a), to));
    }};
}

/// Writes with a formatter of which the optimizer knows nothing.
pub(crate) fn written(write: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) {
    struct Written<F>(F);

    impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Written<F> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            (self.0)(formatter)
        }
    }

    link_check::consume(write!(
        Sink,
        "{} {:>9} {:#}",
        Written(&write),
        Written(&write),
        Written(&write)
    ));
}

pub(crate) use {calls, flags, operators, quantity, shows};
