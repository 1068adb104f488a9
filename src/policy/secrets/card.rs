//! Numbers of payment cards (ISO/IEC 7812): 13 to 19 digits, grouped as people do, of a known issuer, with the right
//! check digit.

use super::{separator, step};

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
        if stands_alone(bytes.get(..at), bytes.get(end)) && is_in_run(bytes.get(at..end).unwrap_or_default())
        {
            return true;
        }
        at = end;
    }
    false
}

/// Parts of identifiers such as UUIDs, fractions of coordinates and international telephone numbers do not.
fn stands_alone(before: Option<&[u8]>, after: Option<&u8>) -> bool {
    let is_part = match before {
        Some([.., digit, b'.']) => digit.is_ascii_digit(),
        Some([.., before]) => *before == b'+' || before.is_ascii_alphanumeric(),
        _ => false,
    };
    !is_part && !after.is_some_and(u8::is_ascii_alphanumeric)
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

/// Whether the whole run is one, or groups in it that are those of a card. `run` begins and ends with a digit.
fn is_in_run(run: &[u8]) -> bool {
    let mut start = Some(0);
    while let Some(from) = start {
        if begins_card(run, from) {
            return true;
        }
        start = next_group(run, from);
    }
    false
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
fn begins_card(run: &[u8], from: usize) -> bool {
    let mut digits = [0; MOST];
    let mut groups = [0; MOST];
    let (mut count, mut group, mut at) = (0, 0, from);
    while let Some(byte) = run.get(at) {
        step();
        let gap = separator(run.get(at..).unwrap_or_default());
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
        if run.get(at).is_none_or(|next| !next.is_ascii_digit()) {
            let (known, lengths) = (digits.get(..count), groups.get(..=group));
            let is_whole = from == 0 && at == run.len();
            if lengths.is_some_and(|lengths| is_whole || is_usual(lengths)) && known.is_some_and(is_card) {
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
