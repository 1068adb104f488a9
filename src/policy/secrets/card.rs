//! Numbers of payment cards (ISO/IEC 7812): 13 to 19 digits, grouped as people do, of a known issuer, with the right
//! check digit.

use super::{separator, step};
use std::ops::Range;

/// Digits of the shortest.
pub(super) const LEAST: usize = 13;
/// Digits of the longest.
const MOST: usize = 19;

/// First six digits, from and to, and how many digits there are in all. Without it every tenth number would be one.
const ISSUERS: [(u32, u32, &[usize]); 29] = [
    (400_000, 499_999, &[13, 16, 18, 19]),             // Visa
    (510_000, 559_999, &[16]),                         // Mastercard
    (222_100, 272_099, &[16]),                         // Mastercard
    (340_000, 349_999, &[15]),                         // American Express
    (370_000, 379_999, &[15]),                         // American Express
    (300_000, 305_999, &[14, 16, 17, 18, 19]),         // Diners Club
    (309_500, 309_599, &[14, 16, 17, 18, 19]),         // Diners Club
    (360_000, 369_999, &[14, 15, 16, 17, 18, 19]),     // Diners Club
    (380_000, 399_999, &[14, 16, 17, 18, 19]),         // Diners Club
    (601_100, 601_199, &[16, 17, 18, 19]),             // Discover
    (644_000, 659_999, &[16, 17, 18, 19]),             // Discover, RuPay, Verve, Elo, Troy
    (352_800, 358_999, &[16, 17, 18, 19]),             // JCB
    (620_000, 629_999, &[16, 17, 18, 19]),             // UnionPay, Discover
    (810_000, 817_199, &[16, 17, 18, 19]),             // UnionPay, RuPay
    (500_000, 509_999, &[13, 14, 15, 16, 17, 18, 19]), // Maestro, Dankort, Elo, RuPay, Verve
    (560_000, 589_999, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (639_000, 639_099, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (670_000, 679_999, &[13, 14, 15, 16, 17, 18, 19]), // Maestro
    (630_400, 630_499, &[16, 18, 19]),                 // Laser
    (636_000, 636_999, &[16, 17, 18, 19]),             // InterPayment, Elo
    (637_000, 637_999, &[16]),                         // InstaPayment
    (220_000, 220_499, &[16, 17, 18, 19]),             // Mir
    (603_000, 606_999, &[16]),                         // UkrCard, RuPay, Hipercard
    (607_000, 608_999, &[16]),                         // RuPay
    (820_000, 829_999, &[16]),                         // RuPay
    (979_200, 979_299, &[16]),                         // Troy
    (970_400, 970_499, &[16, 19]),                     // NAPAS
    (860_000, 860_099, &[16]),                         // Uzcard
    (986_000, 986_099, &[16]),                         // Humo
];

pub(super) fn is_in(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        step();
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = end_of_run(bytes, at);
        if Run::of(bytes, at..end).has_card() {
            return true;
        }
        at = end;
    }
    false
}

/// Digits with at most one separator between two of them; begins and ends with a digit.
struct Run<'t> {
    bytes: &'t [u8],
    /// Its first group can begin a card: it is no part of a word, a fraction or an international telephone number.
    is_begin: bool,
    /// Its last group can end a card.
    is_end: bool,
    /// No letter is joined to it by a hyphen, as in UUIDs.
    is_separate: bool,
}
impl<'t> Run<'t> {
    fn of(text: &'t [u8], range: Range<usize>) -> Self {
        let before = text.get(..range.start).unwrap_or_default();
        let after = text.get(range.end..).unwrap_or_default();
        Self {
            bytes: text.get(range).unwrap_or_default(),
            is_begin: match before {
                [.., digit, b'.'] if digit.is_ascii_digit() => false,
                [.., byte] => *byte != b'+' && !byte.is_ascii_alphanumeric(),
                [] => true,
            },
            is_end: !after.first().is_some_and(u8::is_ascii_alphanumeric),
            is_separate: !matches!(before, [.., byte, b'-'] if byte.is_ascii_alphanumeric())
                && !matches!(after, [b'-', byte, ..] if byte.is_ascii_alphanumeric()),
        }
    }
    /// Whether the whole of it is one, or groups in it that are those of a card.
    fn has_card(&self) -> bool {
        let mut start = Some(0);
        while let Some(from) = start {
            if begins_card(self, from) {
                return true;
            }
            start = next_group(self.bytes, from);
        }
        false
    }
    /// Whether a card can go from one group to another, of these lengths.
    fn fits(&self, range: Range<usize>, groups: &[usize]) -> bool {
        let (first, last) = (range.start == 0, range.end == self.bytes.len());
        (!first || self.is_begin)
            && (!last || self.is_end)
            && (is_usual(groups) || (first && last && self.is_separate))
    }
}

/// Where the digits end that begin at `at`, with at most one separator between two of them.
fn end_of_run(bytes: &[u8], mut at: usize) -> usize {
    loop {
        step();
        let rest = bytes.get(at..).unwrap_or_default();
        let gap = separator(rest);
        match rest.get(gap) {
            Some(next) if next.is_ascii_digit() => at += gap + 1,
            _ => return at,
        }
    }
}

/// Where the group after the one that begins at `at` begins.
fn next_group(run: &[u8], mut at: usize) -> Option<usize> {
    while run.get(at)?.is_ascii_digit() {
        step();
        at += 1;
    }
    Some(at + separator(run.get(at..)?))
}

/// Takes up to [`MOST`] digits from `from` on, and tries at the end of each group.
fn begins_card(run: &Run<'_>, from: usize) -> bool {
    let mut digits = [0; MOST];
    let mut groups = [0; MOST];
    let (mut count, mut group, mut at) = (0, 0, from);
    while let Some(byte) = run.bytes.get(at) {
        step();
        let gap = separator(run.bytes.get(at..).unwrap_or_default());
        if gap > 0 {
            group += 1;
            at += gap;
            continue;
        }
        let Some(place) = digits.get_mut(count) else { return false };
        *place = byte.wrapping_sub(b'0');
        count += 1;
        at += 1;
        if let Some(length) = groups.get_mut(group) {
            *length += 1;
        }
        if run.bytes.get(at).is_none_or(|next| !next.is_ascii_digit()) {
            let (known, lengths) = (digits.get(..count), groups.get(..=group));
            if lengths.is_some_and(|groups| run.fits(from..at, groups)) && known.is_some_and(is_card) {
                return true;
            }
        }
    }
    false
}
/// Groups as they stand on cards.
fn is_usual(groups: &[usize]) -> bool {
    matches!(groups, [_] | [4, 6, 4 | 5] | [4, 4, 4, 1..=4] | [4, 4, 4, 4, 1..=3] | [6, 10..=13])
}
fn is_card(digits: &[u8]) -> bool {
    let known = |(first, last, lengths): &(u32, u32, &[usize])| {
        let prefix = digits.iter().take(6).fold(0, |prefix, digit| prefix * 10 + u32::from(*digit));
        (*first..=*last).contains(&prefix) && lengths.contains(&digits.len())
    };
    digits.len() >= LEAST && ISSUERS.iter().any(known) && is_luhn(digits)
}
/// ISO/IEC 7812-1 annex B.
fn is_luhn(digits: &[u8]) -> bool {
    let value = |(place, digit): (usize, &u8)| match (place % 2, u32::from(*digit)) {
        (0, digit) => digit,
        (_, digit) if digit > 4 => digit * 2 - 9,
        (_, digit) => digit * 2,
    };
    digits.iter().rev().enumerate().map(value).sum::<u32>().is_multiple_of(10)
}
