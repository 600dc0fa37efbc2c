//! Amounts in the form in which people read them.
//!
//! Source of truth: this file; JSON output has the bare numbers instead. Invariant: at most three
//! digits that matter, and always a unit. Deliberately not here: reading amounts.

/// A number with its thousands set apart: `262,144`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of tenths or hundredths without the zeros that say nothing.
fn decimal(value: f64) -> String {
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    if decimals == 0 {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes: `512 B`, `46.9 MiB`, `1 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let mut unit = "B";
    let mut value = bytes as f64;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    format!("{} {unit}", decimal(value))
}

/// A span of time: `850 us`, `12.3 ms`, `2.35 s`, `3 m 20 s`.
#[must_use]
pub fn span_us(span_us: u64) -> String {
    let value = span_us as f64;
    match span_us {
        0..1000 => format!("{span_us} us"),
        1000..999_500 => format!("{} ms", decimal(value / 1e3)),
        999_500..120_000_000 => format!("{} s", decimal(value / 1e6)),
        _ => format!("{} m {} s", span_us / 60_000_000, span_us / 1_000_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn bytes_have_the_nearest_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1 << 30), "1 GiB");
        assert_eq!(bytes((1 << 30) - 1), "1 GiB");
        assert_eq!(bytes(49_200_000), "46.9 MiB");
        assert_eq!(bytes(1_127_428_915), "1.05 GiB");
        assert_eq!(bytes(100 << 20), "100 MiB");
    }

    #[test]
    fn spans_have_the_nearest_unit() {
        assert_eq!(span_us(850), "850 us");
        assert_eq!(span_us(12_345), "12.3 ms");
        assert_eq!(span_us(300_000), "300 ms");
        assert_eq!(span_us(999_900), "1 s");
        assert_eq!(span_us(2_345_000), "2.35 s");
        assert_eq!(span_us(200_000_000), "3 m 20 s");
    }
}
