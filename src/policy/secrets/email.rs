//! E-mail addresses (RFC 5321, RFC 6531): something, an at sign, and a domain name with a dot.

use super::step;

pub(super) fn is_in(text: &str) -> bool {
    // As in a query string.
    ["@", "%40"].iter().any(|at| {
        text.match_indices(at).any(|(place, at)| {
            let (before, after) = (text.get(..place), text.get(place + at.len()..));
            before.and_then(|before| before.bytes().last()).is_some_and(is_local)
                && after.is_some_and(begins_domain)
        })
    })
}
/// A character that the part before the sign can end in; the closing quote of one that is quoted.
fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"!#$%&'*+-/=?^_`{|}~\"".contains(&byte)
}
/// Whether `text` begins with a domain name of at least two labels whose last is no number.
fn begins_domain(text: &str) -> bool {
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-' || !c.is_ascii();
    // No at sign is in it, so that nothing is looked at twice.
    let domain = text.split(|c: char| {
        step();
        !is_label(c) && c != '.'
    });
    let domain = domain.into_iter().next().unwrap_or_default().trim_end_matches(['.', '-']);
    domain.rsplit_once('.').is_some_and(|(labels, last)| {
        let is_word =
            last.chars().count() >= 2 && last.chars().all(|c| c.is_ascii_alphabetic() || !c.is_ascii());
        let is_encoded = last.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"));
        !labels.is_empty() && !labels.starts_with('.') && (is_word || is_encoded)
    })
}
