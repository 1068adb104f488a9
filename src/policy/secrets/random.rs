//! JWTs in JWTs, and text that looks as if made by a random generator: access keys, passwords, session ids.

use super::step;
use crate::jose::base64url_decode;

/// Characters of the shortest word that is looked at. Identifiers of 128 bits are shorter.
pub(super) const LEAST: usize = 20;
/// Characters of the shortest word that can look random by itself.
const LEAST_RANDOM: usize = 24;
/// So many of them are in unruly pieces.
const LEAST_UNRULY: usize = 20;
/// The longest piece of letters of one case with digits that is taken for an identifier: a UUID, a ULID, a Git commit.
const LONGEST_ID: usize = 40;
/// Bits per character, at least: letters that repeat make no secret.
const LEAST_ENTROPY: f64 = 3.5;

/// What access keys of well-known services begin with; 16 or more letters and digits follow.
const PREFIXES: [&str; 17] = [
    "AKIA",
    "ASIA",
    "AIza",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "rk_live_",
    "sk_test_",
    "npm_",
    "hvs.",
];

/// Whether there is a JWT, and whether there is something else that looks random.
pub(super) fn look(text: &str) -> (bool, bool) {
    let (mut jwt, mut entropy) = (false, false);
    let is_digest = is_digest(text);
    let is_gap = |byte: &u8| {
        step();
        !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_' | b'+' | b'/' | b'=' | b'.')
    };
    for word in text.as_bytes().split(is_gap).filter(|word| word.len() >= LEAST) {
        let word = std::str::from_utf8(word).unwrap_or_default(); // it is ASCII
        if has_jwt(word) {
            jwt = true;
        } else {
            entropy |= has_access_key(word);
            entropy |= !is_digest && is_mixed(word) && word.split('.').any(is_random);
        }
    }
    (jwt, entropy)
}

/// JWS (RFC 7515 section 7.1) or JWE (RFC 7516 section 7.1): a header and two or four parts more. A full stop can follow.
fn has_jwt(word: &str) -> bool {
    let after = word.bytes().filter(|byte| *byte == b'.').count().saturating_sub(1);
    word.split('.').take(after).any(ends_in_header)
}
/// Whether it is a header, with padding or not, after anything that is no letter or digit: `jwt-eyJ`, `id_token=eyJ`.
fn ends_in_header(part: &str) -> bool {
    let part = part.trim_end_matches('=');
    let part = part.rsplit(['+', '/', '=']).next().unwrap_or_default();
    let mut before = b'-';
    let start = part.as_bytes().windows(2).position(|pair| {
        // `{` and what can follow it, in base64url.
        let is_start = !before.is_ascii_alphanumeric() && matches!(pair, b"ey" | b"ew");
        before = pair.first().copied().unwrap_or_default();
        is_start
    });
    start.and_then(|start| part.get(start..)).is_some_and(is_header)
}
fn is_header(text: &str) -> bool {
    let json = base64url_decode(text).unwrap_or_default();
    json.first() == Some(&b'{') && json.windows(5).any(|part| part == b"\"alg\"")
}

/// Whether one begins the word, or what follows a sign in it: `id=AKIA`, `/ghp_`.
fn has_access_key(word: &str) -> bool {
    let signs = word.match_indices(['=', '/', '.', '+']).map(|(at, _)| at + 1);
    std::iter::once(0).chain(signs).any(|start| word.get(start..).is_some_and(begins_access_key))
}
fn begins_access_key(text: &str) -> bool {
    PREFIXES.iter().any(|prefix| {
        let key = text.strip_prefix(prefix).unwrap_or_default();
        let letters = key.bytes().take_while(|byte| {
            step();
            byte.is_ascii_alphanumeric() || b"_-".contains(byte)
        });
        let (mut length, mut has_digit) = (0, false);
        letters.for_each(|byte| {
            length += 1;
            has_digit |= byte.is_ascii_digit();
        });
        length >= 16 && has_digit
    })
}

/// Hashes that say what they are, and their bytes.
const HASHES: [(&str, usize); 4] = [("1", 20), ("256", 32), ("384", 48), ("512", 64)];
/// A hash that says what it is, of the right length in hex or base64: `sha256:...`, `sha512-...`.
fn is_digest(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("sha").map(|rest| rest.trim_start_matches('-')) else { return false };
    HASHES.iter().any(|(name, bytes)| {
        let value = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix([':', '-', '=']));
        value.is_some_and(|value| {
            let base64 = value.trim_end_matches('=');
            let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
            (value.len() == bytes * 2 && value.bytes().all(|byte| byte.is_ascii_hexdigit()))
                || (base64.len() == (bytes * 4).div_ceil(3) && base64.bytes().all(is_base64))
        })
    })
}

/// Whether it can have unruly pieces at all.
fn is_mixed(word: &str) -> bool {
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    word.len() > LONGEST_ID || (has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase))
}
/// `word` in pieces, of which enough change between upper case, lower case and digits as often as chance would have it.
/// In words that people make, these stand in groups.
fn is_random(word: &str) -> bool {
    let pieces = word.split(['-', '_', '+', '/', '=']);
    word.len() >= LEAST_RANDOM
        && pieces.map(|piece| if is_unruly(piece) { piece.len() } else { 0 }).sum::<usize>() >= LEAST_UNRULY
        && entropy(word) >= LEAST_ENTROPY
}
fn is_unruly(piece: &str) -> bool {
    let (mut upper, mut lower, mut digits, mut groups) = (false, false, false, 0);
    let mut before = b' ';
    for byte in piece.bytes() {
        step();
        let goes_on = match byte {
            b'A'..=b'Z' => before.is_ascii_uppercase(),
            b'a'..=b'z' => {
                before.is_ascii_alphabetic() && (before.is_ascii_lowercase() || before.is_ascii_uppercase())
            }
            _ => before.is_ascii_digit(),
        };
        groups += usize::from(!goes_on);
        upper |= byte.is_ascii_uppercase();
        lower |= byte.is_ascii_lowercase();
        digits |= byte.is_ascii_digit();
        before = byte;
    }
    // Tenths of characters that a group has on average in what is random, at most. Chosen by trial: of random base64url
    // nine in ten words of 32 characters are found, and of identifiers in programs one in a thousand is.
    let tenths = match (upper && lower, digits) {
        (true, true) => 34,
        (true, false) => 26,
        (false, true) if piece.len() > LONGEST_ID => 33,
        (false, _) => 0,
    };
    piece.len() * 10 < groups * tenths
}
/// Shannon's, of the characters, in bits.
fn entropy(word: &str) -> f64 {
    let mut counts = [0u32; 128];
    for byte in word.bytes() {
        step();
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = word.len() as f64;
    let share = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    share.map(|share| -share * share.log2()).sum()
}
