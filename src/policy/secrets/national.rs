//! Numbers by which states know people. Chosen are those that chance seldom makes: they have check digits, or a form of
//! their own. The Dutch BSN, the Polish PESEL, the German tax number and others are numbers like any other, every tenth
//! to every thirtieth of which would be one; their names tell them.

use regex::{Regex, RegexSet};
use std::ops::Range;
use std::sync::LazyLock;

/// Digits of the shortest.
pub(super) const LEAST_DIGITS: usize = 6;

/// Whether what looks like one, in upper case, is one.
type Check = fn(&str) -> bool;

/// What each looks like, in either case; `~` is a space or dash.
const KINDS: [(&str, Check); 8] = [
    // United States: SSN and ITIN, as they are usually written.
    (r"[0-9]{3}~[0-9]{2}~[0-9]{4}", is_ssn),
    // United Kingdom: national insurance number.
    (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", is_nino),
    // Italy: codice fiscale.
    (r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]", is_codice_fiscale),
    // Spain: DNI and NIE.
    (r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-HJ-NP-TV-Z]", is_dni),
    // France: numéro d'inscription au répertoire.
    (
        r"[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[23][0-9]|4[0-2]|[5-9][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        is_nir,
    ),
    // Switzerland: AHV number.
    (r"756[. ]?[0-9]{4}[. ]?[0-9]{4}[. ]?[0-9]{2}", is_ahv),
    // Brazil: CPF, as it is usually written.
    (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}~[0-9]{2}", is_cpf),
    // Belgium: national register number, as it is usually written.
    (r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}~[0-9]{3}(?:\.|~)[0-9]{2}", is_rijksregister),
];

/// See [`super::separator`].
const SEPARATOR: &str = r"(?u:[ \-\u{a0}\u{2010}-\u{2015}\u{202f}])";

struct Patterns {
    all: RegexSet,
    each: Vec<(Regex, Check)>,
}
static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let whole =
        KINDS.map(|(form, check)| (format!(r"(?i-u)\b(?:{})\b", form.replace('~', SEPARATOR)), check));
    let all = RegexSet::new(whole.iter().map(|(form, _)| form)).ok()?;
    let each = whole.into_iter().map(|(form, check)| Some((Regex::new(&form).ok()?, check)));
    Some(Patterns { all, each: each.collect::<Option<_>>()? })
});

pub(super) fn prepare() {
    LazyLock::force(&PATTERNS);
}
pub(super) fn is_in(text: &str) -> bool {
    let Some(patterns) = PATTERNS.as_ref() else { return false };
    let is_one = |(pattern, check): &(Regex, Check)| {
        pattern.find_iter(text).any(|found| {
            stands_alone(text.as_bytes(), found.range()) && check(&found.as_str().to_ascii_uppercase())
        })
    };
    patterns.all.is_match(text)
        && patterns.all.matches(text).into_iter().any(|place| patterns.each.get(place).is_some_and(is_one))
}
/// Whether it is no part of a longer number.
fn stands_alone(text: &[u8], range: Range<usize>) -> bool {
    let before = text.get(..range.start).unwrap_or_default();
    let after = text.get(range.end..).unwrap_or_default();
    let goes_on = |sign: u8, digit: u8| matches!(sign, b'-' | b'.') && digit.is_ascii_digit();
    !matches!(before, [.., digit, sign] if goes_on(*sign, *digit))
        && !matches!(after, [sign, digit, ..] if goes_on(*sign, *digit))
}

/// Its digits, as numbers.
fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| u32::from(digit - b'0'))
}
/// Its digits as one number; none of these has more than 15.
fn number(digits: impl Iterator<Item = u32>) -> u64 {
    digits.fold(0, |number, digit| number * 10 + u64::from(digit))
}
/// Digits from the place `from` on, `count` of them, as one number.
fn part(text: &str, from: usize, count: usize) -> u64 {
    number(digits(text).skip(from).take(count))
}

/// Numbers that were never given out are none (SSA, POMS RM 10201.035). Areas from 900 on are the tax office's.
fn is_ssn(text: &str) -> bool {
    let (area, group, serial) = (part(text, 0, 3), part(text, 3, 2), part(text, 5, 4));
    match area {
        0 | 666 => false,
        900.. => matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99),
        _ => group != 0 && serial != 0,
    }
}
/// Prefixes that are not given out (HMRC, NIM39110).
fn is_nino(text: &str) -> bool {
    !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].iter().any(|prefix| text.starts_with(prefix))
}
/// The last letter checks the others (D.M. 23/12/1976).
fn is_codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    // A digit counts as the letter of the same place in the alphabet.
    let values =
        text.bytes().map(|byte| if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') });
    let values: Vec<u8> = values.collect();
    let Some((check, rest)) = values.split_last() else { return false };
    let worth = |(place, value): (usize, &u8)| match place % 2 {
        0 => ODD.get(usize::from(*value)).copied().unwrap_or(0),
        _ => u32::from(*value),
    };
    rest.iter().enumerate().map(worth).sum::<u32>() % 26 == u32::from(*check)
}
/// The last letter is the remainder by 23 (Real Decreto 1553/2005); X, Y and Z stand for 0, 1 and 2.
fn is_dni(text: &str) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let first = match text.as_bytes().first() {
        Some(b'Y') => 10_000_000,
        Some(b'Z') => 20_000_000,
        _ => 0,
    };
    let letter = LETTERS.iter().cycle().nth(((first + number(digits(text))) % 23) as usize);
    letter == text.as_bytes().last()
}
/// The last two digits are the complement to 97; Corsica's 2A and 2B count as 19 and 18.
fn is_nir(text: &str) -> bool {
    let text = text.replace(' ', "").replace("2A", "19").replace("2B", "18");
    97 - part(&text, 0, 13) % 97 == part(&text, 13, 2)
}
/// The check digit of EAN-13.
fn is_ahv(text: &str) -> bool {
    let worth = |(place, digit)| if place % 2 == 0 { digit } else { digit * 3 };
    digits(text).enumerate().map(worth).sum::<u32>().is_multiple_of(10)
}
/// Two check digits, by 11.
fn is_cpf(text: &str) -> bool {
    let is_checked = |count: u32| {
        let sum: u32 = digits(text).take(count as usize).zip((2..=count + 1).rev()).map(|(d, w)| d * w).sum();
        digits(text).nth(count as usize) == Some(sum * 10 % 11 % 10)
    };
    let first = digits(text).next();
    is_checked(9) && is_checked(10) && digits(text).any(|digit| Some(digit) != first)
}
/// The last two digits are the complement to 97; from the year 2000 on, of the number with a 2 before it.
fn is_rijksregister(text: &str) -> bool {
    let (number, key) = (part(text, 0, 9), part(text, 9, 2));
    [number, number + 2_000_000_000].iter().any(|number| 97 - number % 97 == key)
}
