//! Front end of `log` and `defmt`: one set of macros, either back end, both, or none.
//!
//! Source of truth: the features `log` and `defmt` of this crate; they are additive. Arguments
//! must be free of effects, since they are evaluated once for each back end. Format strings are
//! literals. State changes are logged at `info`, refused input at `warn`, pages at `trace`.

macro_rules! logged {
    ($level:ident, $text:literal $(, $argument:expr)* $(,)?) => {{
        #[cfg(feature = "log")]
        ::log::$level!($text $(, $argument)*);
        #[cfg(feature = "defmt")]
        ::defmt::$level!($text $(, $argument)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        {
            $(let _ = &$argument;)*
        }
    }};
}

macro_rules! trace {
    ($($part:tt)*) => { $crate::fmt::logged!(trace, $($part)*) };
}

macro_rules! info {
    ($($part:tt)*) => { $crate::fmt::logged!(info, $($part)*) };
}

macro_rules! warning {
    ($($part:tt)*) => { $crate::fmt::logged!(warn, $($part)*) };
}

pub(crate) use {info, logged, trace, warning};
