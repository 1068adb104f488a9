//! Proofs are checked without the log, and no changed one is good.

use super::maker::two_hundred;
use super::*;
use crate::audit::prove::check::{BadProof, Proven, check};
use crate::audit::prove::{self, Facts, NoProof};

fn facts(n: u64) -> Facts {
    Facts {
        jti: format!("jti-{n}"),
        kid: "dzn6eAuDVeh1GEHKTcoV_PTyoYFBXfWC8PzoxsYDqPc".to_owned(),
        alg: "ES256".to_owned(),
        iat: 1_780_000_000,
        exp: 1_780_000_300,
        aud: vec!["https://api.example.com".to_owned()],
    }
}

fn written() -> (Maker, [SealKey; 2], tempfile::TempDir) {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let mut log = two_hundred(&first, &second);
    log.issue(1);
    let dir = tempfile::tempdir().unwrap();
    log.write(&dir.path().join("audit"));
    (log, [first.key, second.key], dir)
}

#[test]
fn every_sealed_jwt_is_proven_and_no_other() {
    let (log, keys, dir) = written();
    let dir = dir.path().join("audit");
    let text: String = log.segments.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
    let issued: Vec<u64> = (1..log.last).filter(|n| text.contains(&format!("\"jti-{n}\""))).collect();
    assert!(issued.len() > 150);
    for n in issued.into_iter().step_by(17) {
        let proof = prove::inclusion_of(&dir, None, &facts(n)).unwrap();
        assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nextra "));
        let Ok(Proven::Inclusion { facts: said, seq, checkpoint, .. }) =
            check(&proof, &keys, Some(&facts(n)))
        else {
            panic!("{proof}")
        };
        assert_eq!((said, seq, checkpoint.size), (facts(n), n, 199));
        assert_eq!(check(&proof, &keys, Some(&facts(n + 1))), Err(BadProof::Other));
    }
    for stranger in [
        Facts { kid: "another".to_owned(), ..facts(5) },
        Facts { iat: 1, ..facts(5) },
        Facts { exp: 1, ..facts(5) },
        Facts { aud: vec!["https://other.example.com".to_owned()], ..facts(5) },
        Facts { aud: Vec::new(), ..facts(5) },
        Facts { alg: "EdDSA".to_owned(), ..facts(5) },
    ] {
        let none = prove::inclusion_of(&dir, None, &stranger).unwrap_err();
        assert!(none.to_string().contains("one has its jti, but another"), "{none}");
    }
    assert!(
        prove::inclusion_of(&dir, None, &facts(9_999)).unwrap_err().to_string().contains("none has its jti")
    );
    assert!(matches!(prove::inclusion_of(&dir, None, &facts(log.last)), Err(NoProof::Unsealed)));
    assert!(matches!(
        prove::inclusion_of(Path::new("/nonexistent"), None, &facts(5)),
        Err(NoProof::Read { .. })
    ));
}

#[test]
fn that_the_log_only_grew_is_proven_between_any_two_seals() {
    let (log, keys, dir) = written();
    let dir = dir.path().join("audit");
    let sizes: Vec<u64> =
        log.notes.iter().map(|note| note.lines().nth(1).unwrap().parse().unwrap()).collect();
    for (i, &old) in sizes.iter().enumerate() {
        let proof = prove::consistency_of(&dir, None, old, None).unwrap();
        let Ok(Proven::Consistency(first, second)) = check(&proof, &keys, None) else { panic!("{proof}") };
        assert_eq!((first.size, second.size), (old, 199));
        for &new in &sizes[i..] {
            let proof = prove::consistency_of(&dir, None, old, Some(new)).unwrap();
            assert!(check(&proof, &keys, None).is_ok(), "{old}..{new}");
        }
    }
    assert!(matches!(prove::consistency_of(&dir, None, 3, None), Err(NoProof::Size(3))));
    assert!(matches!(prove::consistency_of(&dir, None, 199, Some(1)), Err(NoProof::Order)));
}

#[test]
fn no_changed_proof_is_good() {
    let (_, keys, dir) = written();
    let dir = dir.path().join("audit");
    let both = [
        (prove::inclusion_of(&dir, None, &facts(50)).unwrap(), Some(facts(50))),
        (prove::consistency_of(&dir, None, 22, Some(199)).unwrap(), None),
    ];
    for (proof, jwt) in &both {
        for bit in (0..proof.len() * 8).step_by(5) {
            let mut bytes = proof.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(check(&changed, &keys, jwt.as_ref()).is_err(), "bit {bit}: {changed}");
        }
        for cut in (0..proof.len()).filter(|cut| proof.is_char_boundary(*cut)) {
            assert!(check(&proof[..cut], &keys, jwt.as_ref()).is_err(), "cut at {cut}");
        }
        let stranger = [Signer::ed25519().key];
        assert!(matches!(check(proof, &stranger, jwt.as_ref()), Err(BadProof::Note(_))));
    }
    assert!(matches!(check(&both[1].0, &keys, Some(&facts(50))), Err(BadProof::Form(_))), "of no JWT");
}

#[test]
fn the_log_names_its_keys() {
    let (_, keys, dir) = written();
    let named = prove::keys(&dir.path().join("audit")).unwrap();
    let named: Vec<_> = named.seals.into_iter().map(|(from, _, vkey)| (from, vkey.unwrap())).collect();
    assert_eq!(named, [(1, keys[0].to_vkey()), (77, keys[1].to_vkey())]);
}

/// Tells how fast a log is read: run it with --release, and JWSD_TORTURE_ROUNDS=400000, to measure.
#[test]
fn a_large_log_is_read_in_one_go() {
    let signer = Signer::es256();
    let mut log = Maker::new();
    let rounds = std::env::var("JWSD_TORTURE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    for n in 0..rounds.unwrap_or(5_000) {
        log.issue(1);
        if n % 1_000 == 0 {
            log.seal(&signer);
        }
    }
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let dir = dir.path().join("audit");
    log.write(&dir);
    let began = std::time::Instant::now();
    let report = verify_with(&dir, &trust(&[&signer], ""), &mut |_, _| {}).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert_sound(&report);
    let a_minute = report.records as f64 / seconds * 60.0;
    println!("verified {} records in {seconds:.2} s: {a_minute:.0} a minute", report.records);
}
