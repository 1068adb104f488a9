//! Signatures as no token should give them.
#![allow(unreachable_pub, reason = "a module of a program")]

use crate::script::Action;

/// What becomes of a good signature.
pub fn spoil(action: Action, good: &[u8]) -> Vec<u8> {
    let mut bad = good.to_vec();
    let half = good.len() / 2;
    match action {
        Action::Corrupt => bad[half] ^= 1,
        Action::Short => bad.truncate(good.len() - 1),
        Action::Zero => bad[..half].fill(0),
        Action::Der => bad = der(&good[..half], &good[half..]),
        _ => {}
    }
    bad
}

/// `ECDSA-Sig-Value` (RFC 3279 section 2.2.3), for curves up to P-384.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(body.len()).expect("short enough for one byte")], body].concat()
}

fn integer(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
    let mut digits = number[start..].to_vec();
    if digits[0] >= 0x80 {
        digits.insert(0, 0);
    }
    [vec![2, u8::try_from(digits.len()).expect("short enough for one byte")], digits].concat()
}
