//! Notes and keys: those of others, ours, and damaged ones.

use super::*;
use crate::jose::Curve;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use proptest::prelude::*;

const NAME: &str = "jwsd/test";

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn keys() -> [(SealKey, Sign); 2] {
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let public = PublicKey::ed25519(ed25519.public_key().as_ref()).unwrap();
    let first = SealKey::new(NAME, Algorithm::Ed25519, public).unwrap();
    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public = PublicKey::ec(Curve::P256, ecdsa.public_key().as_ref()).unwrap();
    let second = SealKey::new(NAME, Algorithm::ES256, public).unwrap();
    [
        (first, Box::new(move |text| ed25519.sign(text).as_ref().to_vec())),
        (second, Box::new(move |text| ecdsa.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec())),
    ]
}

fn sealed(key: &SealKey, sign: &Sign, checkpoint: &Checkpoint) -> String {
    let text = checkpoint.to_string();
    let public = key.verifier.public();
    let signature = Signature::from_backend(sign(text.as_bytes()), public).unwrap();
    let verified = key.verifier.prove(text.as_bytes(), signature).unwrap();
    key.note(checkpoint, verified).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint { origin: NAME.to_owned(), size, root: [7; 32] }
}

/// The example of Go's `sumdb/note`, which made this format.
#[test]
fn the_note_of_another_implementation_verifies() {
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let note = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n\
                \n\
                \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let key = SealKey::from_vkey(vkey).unwrap();
    assert_eq!(key.to_vkey(), vkey);
    let read = Note::parse(note).unwrap();
    let [(name, signature)] = &read.signatures[..] else { panic!("one signature") };
    assert_eq!((*name, &signature[..4]), ("PeterNeumann", &key.id[..]));
    assert_eq!(key.verify(read.text, &signature[4..]), Ok(()));
    assert_eq!(key.verify("If you think", &signature[4..]), Err(BadNote::Signature));
    // Of its text no checkpoint can be made.
    assert!(matches!(read.open(&key), Err(BadNote::Checkpoint(_))));
}

#[test]
fn what_is_sealed_opens_with_its_key_alone() {
    let keys = keys();
    let note = |(key, sign): &(SealKey, Sign), size| sealed(key, sign, &checkpoint(size));
    for key in &keys {
        let text = note(key, 12);
        let read = Note::parse(&text).unwrap();
        assert_eq!(read.open(&key.0), Ok(checkpoint(12)));
        assert_eq!(read.open(&SealKey::from_vkey(&key.0.to_vkey()).unwrap()), Ok(checkpoint(12)));
    }
    let [first, second] = &keys;
    let of_first = note(first, 12);
    assert_eq!(Note::parse(&of_first).unwrap().open(&second.0), Err(BadNote::Unsigned));
    let with_line_of = |other: String| format!("{of_first}{}\n", other.lines().last().unwrap());
    let both = with_line_of(note(second, 12));
    for (key, _) in &keys {
        assert_eq!(Note::parse(&both).unwrap().open(key), Ok(checkpoint(12)));
    }
    // A line by a stranger changes nothing; one that claims to be by the key and is not spoils all.
    let foreign = with_line_of(note(second, 13));
    assert_eq!(Note::parse(&foreign).unwrap().open(&first.0), Ok(checkpoint(12)));
    assert_eq!(Note::parse(&foreign).unwrap().open(&second.0), Err(BadNote::Signature));
}

#[test]
fn every_changed_bit_is_found() {
    for (key, sign) in keys() {
        let note = sealed(&key, &sign, &checkpoint(4711));
        for bit in 0..note.len() * 8 {
            let mut bytes = note.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let opened =
                std::str::from_utf8(&bytes).ok().and_then(|text| Note::parse(text).ok()?.open(&key).ok());
            assert_eq!(opened, None, "bit {bit}");
        }
        for cut in 0..note.len() {
            let opened = note.get(..cut).and_then(|text| Note::parse(text).ok()?.open(&key).ok());
            assert_eq!(opened, None, "cut at {cut}");
        }
    }
}

#[test]
fn only_plain_forms_are_read() {
    let [(key, sign), _] = keys();
    let note = sealed(&key, &sign, &checkpoint(12));
    for (from, to) in [
        ("\n12\n", "\n012\n"),
        ("\n12\n", "\n+12\n"),
        ("\n12\n", "\n12 \n"),
        ("\n12\n", "\n-1\n"),
        ("\n12\n", "\n99999999999999999999\n"),
        ("\n12\n", "\n12\nextension\n"),
        ("\n12\n", "\n"),
        ("\u{2014} ", "- "),
        ("\u{2014} ", "\u{2014}"),
        ("\n\n", "\n"),
    ] {
        let changed = note.replacen(from, to, 1);
        assert_ne!(changed, note);
        assert!(Note::parse(&changed).and_then(|read| read.open(&key)).is_err(), "{from:?} to {to:?}");
    }
    let crowd = format!("{note}{}", format!("{}\n", note.lines().last().unwrap()).repeat(MOST_SIGNATURES));
    assert_eq!(Note::parse(&crowd), Err(BadNote::Form("it has too many signatures")));
    assert!(Note::parse(&"x".repeat(LONGEST_NOTE + 1)).is_err());
    assert_eq!(
        Note::parse(&note)
            .unwrap()
            .open(&SealKey { name: "jwsd/other".to_owned(), ..keys().into_iter().next().unwrap().0 }),
        Err(BadNote::Origin)
    );
}

#[test]
fn keys_of_other_kinds_and_names_are_refused() {
    let [(key, _), (ecdsa, _)] = keys();
    for name in ["", "a b", "a+b", "a\nb", &"x".repeat(LONGEST_NAME + 1)] {
        assert!(SealKey::new(name, Algorithm::Ed25519, key.verifier.public().clone()).is_err(), "{name:?}");
    }
    assert!(SealKey::new(NAME, Algorithm::ES256, key.verifier.public().clone()).is_err());
    assert!(SealKey::new(NAME, Algorithm::ES384, ecdsa.verifier.public().clone()).is_err());
    for vkey in [key.to_vkey(), ecdsa.to_vkey()] {
        assert_eq!(SealKey::from_vkey(&vkey).unwrap().to_vkey(), vkey);
        for cut in 0..vkey.len() {
            assert!(SealKey::from_vkey(&vkey[..cut]).is_err(), "{cut} of {vkey}");
        }
    }
    let renamed = key.to_vkey().replacen(NAME, "jwsd/other", 1);
    assert!(SealKey::from_vkey(&renamed).is_err(), "the id is of the name too");
}

proptest! {
    #[test]
    fn nothing_that_is_read_panics(text in ".{0,300}", size in any::<u64>()) {
        let _ = Note::parse(&text).map(|note| note.unverified());
        let _ = SealKey::from_vkey(&text);
        let made = checkpoint(size).to_string();
        prop_assert_eq!(Checkpoint::parse(&made), Ok(checkpoint(size)));
    }
}
