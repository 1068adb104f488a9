//! Sealed logs made in memory, good ones and others, and who finds what is wrong with them.

mod beginnings;
mod changed;
mod cosigned;
mod epochs;
mod maker;
mod proofs;
mod python;
mod retained;
mod second;
mod shorten;
mod tamper;
mod witnesses;

use super::*;
use crate::audit::checkpoint::SealKey;
use maker::{Maker, Signer};

/// Verifies segments in memory, as files would be.
fn verify_segments(segments: &[(u64, Vec<u8>)], trust: &Trust) -> Report {
    verify_from(None, segments, trust)
}

/// The same, of a log that begins there.
fn verify_from(base: Option<&Base>, segments: &[(u64, Vec<u8>)], trust: &Trust) -> Report {
    let (listed, unknown) = listed(segments);
    let mut check = Check::new(trust, &unknown);
    base.into_iter().for_each(|base| check.begin(base, None));
    for (index, (segment, (_, bytes))) in listed.iter().zip(segments).enumerate() {
        check.segment(&bytes[..], segment, index + 1 == segments.len(), &mut |_| {}).unwrap();
    }
    check.finish()
}

/// The segments as they would be listed, and what their first lines declare.
fn listed(segments: &[(u64, Vec<u8>)]) -> (Vec<Listed>, Unknown) {
    let mut unknown = Unknown::default();
    let mut listed = Vec::new();
    for (first, bytes) in segments {
        let mut lines = Lines::new(&bytes[..]);
        if let Some(raw) = lines.next().unwrap()
            && let Ok(line) = raw.record()
        {
            unknown.declare(&line);
        }
        let name = crate::audit::segment::segment_name(*first);
        listed.push(Listed { first: *first, name, size: bytes.len() as u64 });
    }
    (listed, unknown)
}

fn trust(keys: &[&Signer], file: &str) -> Trust {
    let keys = keys.iter().map(|signer| SealKey::from_vkey(&signer.key.to_vkey()).unwrap()).collect();
    let mut trust = Trust::new(keys);
    trust.add_checkpoints("witness", file);
    trust
}

#[track_caller]
fn assert_sound(report: &Report) {
    assert!(report.is_sound(), "{:#?}", report.problems);
}

#[track_caller]
fn assert_finds(report: &Report, what: &str) {
    assert!(report.problems.iter().any(|p| p.what.contains(what)), "{what}: {:#?}", report.problems);
}
