//! International bank account numbers (ISO 13616): country, length and check digits all fit.

use super::{separator, step};

/// Digits of any account's number, at least.
pub(super) const LEAST_DIGITS: usize = 6;
/// Characters of the longest.
const MOST: usize = 34;

/// Countries and lengths, of the registry of ISO 13616.
const COUNTRIES: [(&[u8; 2], usize); 89] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

pub(super) fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut before = b' ';
    bytes.iter().enumerate().any(|(at, byte)| {
        step();
        let is_start = byte.is_ascii_alphabetic() && !before.is_ascii_alphanumeric();
        before = *byte;
        is_start && begins(bytes.get(at..).unwrap_or_default())
    })
}

/// Whether `rest` begins with one that ends where a word ends.
fn begins(rest: &[u8]) -> bool {
    let [first, second, rest_of @ ..] = rest else { return false };
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    let known = COUNTRIES.iter().find(|(known, _)| **known == country);
    let (Some((_, length)), [b'0'..=b'9', b'0'..=b'9', ..]) = (known, rest_of) else { return false };
    let mut characters = [0; MOST];
    // Dashes only between groups of four, or they would join the groups of UUIDs.
    let is_dashed = separator(rest.get(4..).unwrap_or_default()) > 0;
    let mut at = 0;
    for (place, to) in characters.iter_mut().take(*length).enumerate() {
        step();
        let left = rest.get(at..).unwrap_or_default();
        let gap = match (is_dashed, place) {
            (true, 1..) if place % 4 == 0 => match separator(left) {
                0 => return false,
                gap => gap,
            },
            _ => space(left),
        };
        let Some(character) = rest.get(at + gap).filter(|byte| byte.is_ascii_alphanumeric()) else {
            return false;
        };
        *to = *character;
        at += gap + 1;
    }
    let ends = rest.get(at).is_none_or(|next| !next.is_ascii_alphanumeric());
    ends && characters.get(..*length).is_some_and(is_checked)
}
/// Length of the space at the beginning of `rest`, bytes.
fn space(rest: &[u8]) -> usize {
    match rest {
        [b' ', ..] => 1,
        [0xc2, 0xa0, ..] => 2, // no-break space
        _ => 0,
    }
}
/// ISO 7064, MOD 97-10: the first four characters stand last, letters count from 10 on.
fn is_checked(characters: &[u8]) -> bool {
    let (head, tail) = characters.split_at(characters.len().min(4));
    let rest = tail.iter().chain(head).fold(0, |rest, character| {
        let value = char::from(*character).to_digit(36).unwrap_or(0);
        (rest * if value < 10 { 10 } else { 100 } + value) % 97
    });
    rest == 1
}
