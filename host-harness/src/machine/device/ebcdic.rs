//! Text as the /390 and its consoles have it: EBCDIC, code page 037.
//!
//! Source of truth: the table of code page 037. Invariants: what can be shown comes back as it
//! was; what cannot is shown as one sign, so that the length stays. Deliberately not here: what
//! control characters do, which is a matter of the device.

/// The sign of code 0x40 and those behind it, to 0xFE.
const SIGNS: &str = concat!(
    " \u{A0}âäàáãåçñ¢.<(+|",
    "&éêëèíîïìß!$*);¬",
    "-/ÂÄÀÁÃÅÇÑ¦,%_>?",
    "øÉÊËÈÍÎÏÌ`:#@'=\"",
    "Øabcdefghi«»ðýþ±",
    "°jklmnopqrªºæ¸Æ¤",
    "µ~stuvwxyz¡¿ÐÝÞ®",
    "^£¥·©§¶¼½¾[]¯¨´×",
    "{ABCDEFGHI\u{AD}ôöòóõ",
    "}JKLMNOPQR¹ûüùúÿ",
    "\\÷STUVWXYZ²ÔÖÒÓÕ",
    "0123456789³ÛÜÙÚ",
);
/// The code of a blank, the first that is shown.
const BLANK: u8 = 0x40;
/// SUBSTITUTE: the code of a sign that there is not.
const SUBSTITUTE: u8 = 0x3F;

/// The codes of a text; SUBSTITUTE for each sign that has none.
#[must_use]
pub fn encode(text: &str) -> Vec<u8> {
    let code = |sign| {
        (BLANK..=0xFE).zip(SIGNS.chars()).find_map(|(code, it)| (it == sign).then_some(code))
    };
    text.chars().map(|sign| code(sign).unwrap_or(SUBSTITUTE)).collect()
}

/// The text of some codes; the replacement character for each that is not shown.
#[must_use]
pub fn decode(codes: &[u8]) -> String {
    let sign = |code: &u8| {
        let place = code.checked_sub(BLANK)?;
        SIGNS.chars().nth(usize::from(place))
    };
    codes.iter().map(|code| sign(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::{SIGNS, SUBSTITUTE, decode, encode};

    #[test]
    fn codes_are_those_of_the_code_page() {
        assert_eq!(encode("HELLO hello"), *b"\xC8\xC5\xD3\xD3\xD6\x40\x88\x85\x93\x93\x96");
        assert_eq!(encode("%0129 (='\""), *b"\x6C\xF0\xF1\xF2\xF9\x40\x4D\x7E\x7D\x7F");
        assert_eq!(encode("{}\\[]^~"), *b"\xC0\xD0\xE0\xBA\xBB\xB0\xA1");
    }

    #[test]
    fn each_sign_comes_back() {
        assert_eq!(SIGNS.chars().count(), 0xFF - 0x40);
        assert_eq!(decode(&encode(SIGNS)), SIGNS);
    }

    #[test]
    fn what_cannot_be_shown_keeps_its_place() {
        assert_eq!(encode("A€B"), [0xC1, SUBSTITUTE, 0xC2]);
        assert_eq!(decode(&[0xC1, 0x15, 0xFF, 0xC2]), "A\u{FFFD}\u{FFFD}B");
    }
}
