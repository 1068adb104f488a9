//! Cosignatures: the example of the specification, one of our own, and what is refused.

use super::*;
use crate::audit::tree::{Tree, leaf};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

/// A witness with a key in memory.
pub(in crate::audit) struct Soft {
    pair: Ed25519KeyPair,
    pub(in crate::audit) vkey: String,
}

impl Soft {
    pub(in crate::audit) fn new(name: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = [&[4], pair.public_key().as_ref()].concat();
        let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &key].concat());
        let vkey = format!("{name}+{}+{}", hex(&hash.as_ref()[..4]), BASE64.encode(&key));
        Self { pair, vkey }
    }

    pub(in crate::audit) fn key(&self) -> Cosigner {
        Cosigner::from_vkey(&self.vkey).unwrap()
    }

    /// A signature line.
    pub(in crate::audit) fn line(&self, checkpoint: &Checkpoint, time: u64) -> String {
        let signature = self.pair.sign(format!("cosignature/v1\ntime {time}\n{checkpoint}").as_bytes());
        let key = self.key();
        let bytes = [&key.id[..], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("\u{2014} {} {}\n", key.name, BASE64.encode(bytes))
    }
}

fn checkpoint(leaves: u64) -> Checkpoint {
    let mut tree = Tree::default();
    (0..leaves).for_each(|n| tree.push(leaf(&n.to_be_bytes())));
    Checkpoint { origin: "jwsd/test".to_owned(), size: tree.size(), root: tree.root() }
}

#[test]
fn what_a_witness_answers_becomes_a_note_of_its_own() {
    let (witness, other) = (Soft::new("witness.example/w"), Soft::new("witness.example/w"));
    let (key, seen) = (witness.key(), checkpoint(7));
    let lines = [other.line(&seen, 9), witness.line(&seen, 5), witness.line(&seen, 6)].concat();
    let (note, time) = key.note(&seen, &lines).unwrap();
    assert_eq!((note.lines().count(), time), (5, 6));
    assert_eq!(key.open(&Note::parse(&note).unwrap()), Ok((seen.clone(), 6)));
    assert_eq!(other.key().open(&Note::parse(&note).unwrap()), Err(BadNote::Unsigned));
    assert_eq!(key.note(&seen, &other.line(&seen, 9)), Err(BadNote::Unsigned));
    assert_eq!(key.note(&checkpoint(8), &witness.line(&seen, 5)), Err(BadNote::Signature), "of another one");
    for lines in
        ["", "\n", "hello", "\u{2014} a b\n", "\u{2014} witness.example/w AAAA\n", "<html>\n\n</html>\n"]
    {
        assert!(matches!(key.note(&seen, lines), Err(BadNote::Form(_))), "{lines:?}");
    }
    let line = witness.line(&seen, 5);
    assert!(matches!(key.note(&seen, &format!("\n{line}")), Err(BadNote::Form(_))));
    // Another time than the one that was signed, none at all, and one that no clock shows.
    let raw = BASE64.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
    let with =
        |bytes: &[u8]| key.note(&seen, &format!("\u{2014} witness.example/w {}\n", BASE64.encode(bytes)));
    assert_eq!(with(&raw).map(|(_, time)| time), Ok(5));
    let mut changed = raw.clone();
    changed[11] ^= 1;
    assert_eq!(with(&changed), Err(BadNote::Signature));
    assert_eq!(with(&raw[..10]), Err(BadNote::Signature));
    assert_eq!(with(&raw[..raw.len() - 1]), Err(BadNote::Signature));
    assert_eq!(with(&[&raw[..], &[0]].concat()), Err(BadNote::Signature));
    changed = raw;
    changed[4] = 0xff;
    assert_eq!(with(&changed), Err(BadNote::Signature));
}

#[test]
fn only_keys_that_cosign_are_taken() {
    let vkey = Soft::new("witness.example/w").vkey;
    let (name, rest) = vkey.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    assert_eq!(format!("{:?}", Cosigner::from_vkey(&vkey).unwrap()), format!("Cosigner({name}+{id})"));
    let mut raw = BASE64.decode(key).unwrap();
    raw[0] = 1;
    for (text, why) in [
        (String::new(), "form"),
        (name.to_owned(), "form"),
        (format!("{name}+{id}"), "form"),
        (format!("a b+{id}+{key}"), "form"),
        (format!("+{id}+{key}"), "form"),
        (format!("{name}+{id}+"), "form"),
        (format!("{name}+{id}+####"), "form"),
        (format!("{name}+{id}+{}", BASE64.encode(&raw)), "of a log"),
        (format!("{name}+{id}+{}", BASE64.encode([9; 33])), "type 0x04 or 0x06"),
        (format!("{name}+{id}+{}", BASE64.encode([4; 32])), "damaged"),
        (format!("{name}2+{id}+{key}"), "another key or name"),
        (format!("{name}+00000000+{key}"), "another key or name"),
    ] {
        let bad = Cosigner::from_vkey(&text).unwrap_err();
        assert!(bad.to_string().contains(why), "{text}: {bad}");
    }
}
