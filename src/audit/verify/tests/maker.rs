//! Makes sealed logs, line by line, with keys in memory.

use crate::audit::base::Base;
use crate::audit::checkpoint::{Checkpoint, SealKey};
use crate::audit::line::{encode, time_text};
use crate::audit::queue::serialize_body;
use crate::audit::tree::{Tree, leaf};
use crate::audit::{Entry, Event, Outcome};
use crate::jose::{Algorithm, Curve, PublicKey, Signature, Verifier};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::path::Path;

pub(super) const ORIGIN: &str = "jwsd/test/host";

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key that seals.
pub(super) struct Signer {
    pub(super) key: SealKey,
    verifier: Verifier,
    sign: Sign,
}

impl Signer {
    pub(super) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = PublicKey::ed25519(pair.public_key().as_ref()).unwrap();
        Self::of(Algorithm::Ed25519, &public, Box::new(move |text| pair.sign(text).as_ref().to_vec()))
    }

    pub(super) fn es256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let public = PublicKey::ec(Curve::P256, pair.public_key().as_ref()).unwrap();
        let sign = move |text: &[u8]| pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec();
        Self::of(Algorithm::ES256, &public, Box::new(sign))
    }

    fn of(algorithm: Algorithm, public: &PublicKey, sign: Sign) -> Self {
        let key = SealKey::new(ORIGIN, algorithm, public.clone()).unwrap();
        Self { key, verifier: Verifier::new(algorithm, public.clone()).unwrap(), sign }
    }

    pub(super) fn kid(&self) -> String {
        self.key.kid().to_string()
    }

    pub(super) fn note(&self, tree: &Tree) -> String {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
        let text = checkpoint.to_string();
        let signature =
            Signature::from_backend((self.sign)(text.as_bytes()), self.verifier.public()).unwrap();
        let verified = self.verifier.prove(text.as_bytes(), signature).unwrap();
        self.key.note(&checkpoint, verified).unwrap()
    }
}

/// A log that is being made.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) segments: Vec<(u64, Vec<u8>)>,
    pub(super) tree: Tree,
    pub(super) next: u64,
    pub(super) second: i64,
    /// Number of the last leaf.
    pub(super) last: u64,
    /// What a witness has kept.
    pub(super) notes: Vec<String>,
    /// Where it begins.
    pub(super) base: Option<Base>,
    /// What was before that.
    pub(super) gone: Vec<(u64, Vec<u8>)>,
}

/// The head of a log at some moment.
pub(super) struct Head {
    pub(super) tree: Tree,
    pub(super) after: u64,
}

impl Maker {
    pub(super) fn new() -> Self {
        Self {
            segments: vec![(1, Vec::new())],
            tree: Tree::default(),
            next: 1,
            second: 1_780_000_000,
            last: 0,
            notes: Vec::new(),
            base: None,
            gone: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self) {
        self.segments.push((self.next, Vec::new()));
    }

    /// A record that is on the disk, whether the writer knows or not; its bytes.
    pub(super) fn stray(&mut self, entry: &Entry) -> Vec<u8> {
        let mut body = Vec::new();
        serialize_body(entry, &mut body).unwrap();
        let time = time_text(jiff::Timestamp::from_second(self.second).unwrap());
        let mut line = Vec::new();
        encode(&mut line, self.next, &time, &body);
        self.segments.last_mut().unwrap().1.extend(&line);
        self.next += 1;
        self.second += 1;
        line.pop();
        line
    }

    pub(super) fn record(&mut self, entry: &Entry) {
        let line = self.stray(entry);
        self.tree.push(leaf(&line));
        self.last = self.next - 1;
    }

    pub(super) fn issue(&mut self, count: usize) {
        for _ in 0..count {
            self.record(&issued(self.next));
        }
    }

    pub(super) fn head(&self) -> Head {
        Head { tree: self.tree.clone(), after: self.last }
    }

    /// The seal of an earlier head.
    pub(super) fn seal_at(&mut self, signer: &Signer, head: &Head) {
        self.seal_as(signer, head, signer.note(&head.tree));
    }

    /// The same, with this note.
    pub(super) fn seal_as(&mut self, signer: &Signer, head: &Head, note: String) {
        let entry = Entry {
            kid: Some(signer.kid()),
            after: Some(head.after),
            peaks: head.tree.peaks().iter().map(|peak| BASE64.encode(peak)).collect(),
            note: Some(note.clone()),
            ..Entry::new(Event::LogSealed, Outcome::Success)
        };
        self.record(&entry);
        self.notes.push(note);
    }

    pub(super) fn seal(&mut self, signer: &Signer) {
        self.seal_at(signer, &self.head());
    }

    pub(super) fn introduce(&mut self, signer: &Signer) {
        self.record(&Entry {
            kid: Some(signer.kid()),
            vkey: Some(signer.key.to_vkey()),
            ..Entry::new(Event::LogKey, Outcome::Success)
        });
    }

    /// The disk failed when `unknown` records were being written, of which `left` are there and a part of another.
    pub(super) fn gap(&mut self, unknown: u64, left: u64, torn: bool) {
        let after = self.last;
        for _ in 0..left {
            self.stray(&issued(self.next));
        }
        if torn {
            self.segments.last_mut().unwrap().1.extend(b"{\"seq\":12,\"ti");
        }
        let failed = crate::audit::segment::segment_name(self.segments.last().unwrap().0);
        self.next = after + unknown + 1;
        self.begin();
        self.record(&Entry {
            segment: Some(failed),
            after: Some(after),
            unknown: Some(unknown),
            ..Entry::new(Event::LogResumed, Outcome::Success)
        });
    }

    /// Puts a copy back that has the first records only, of one segment; the witness keeps what it has.
    pub(super) fn cut(&mut self, records: usize) {
        let (_, _, end) = self.lines()[records - 1];
        let (_, bytes) = &mut self.segments[0];
        bytes.truncate(end);
        self.tree = Tree::default();
        bytes
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .for_each(|line| self.tree.push(leaf(line)));
        (self.last, self.next) = (records as u64, records as u64 + 1);
    }

    pub(super) fn accept(&mut self, note: &str) {
        self.record(&Entry {
            reason: Some("restored from a copy".to_owned()),
            note: Some(note.to_owned()),
            ..Entry::new(Event::LogAccepted, Outcome::Success)
        });
    }

    /// The file of a witness.
    pub(super) fn witness(&self) -> String {
        self.notes.iter().map(|note| format!("{note}\n")).collect()
    }

    pub(super) fn write(&self, dir: &Path) {
        write(&self.segments, dir);
    }

    /// The place of each line: segment, and where it begins and ends (with its LF).
    pub(super) fn lines(&self) -> Vec<(usize, usize, usize)> {
        let mut lines = Vec::new();
        for (segment, (_, bytes)) in self.segments.iter().enumerate() {
            let mut begin = 0;
            for line in bytes.split_inclusive(|&b| b == b'\n') {
                lines.push((segment, begin, begin + line.len()));
                begin += line.len();
            }
        }
        lines
    }
}

/// Writes segments as the daemon does.
pub(super) fn write(segments: &[(u64, Vec<u8>)], dir: &Path) {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).unwrap();
    for (first, bytes) in segments {
        let path = dir.join(crate::audit::segment::segment_name(*first));
        let mut options = std::fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }
}

pub(super) fn issued(n: u64) -> Entry {
    Entry {
        request: Some(format!("r-{n}")),
        profile: Some("access-token".to_owned()),
        kid: Some("dzn6eAuDVeh1GEHKTcoV_PTyoYFBXfWC8PzoxsYDqPc".to_owned()),
        alg: Some("ES256"),
        jti: Some(format!("jti-{n}")),
        aud: vec!["https://api.example.com".to_owned()],
        iat: Some(1_780_000_000),
        exp: Some(1_780_000_300),
        ..Entry::new(Event::JwtIssued, Outcome::Success)
    }
}

/// 200 records in five segments, by an Ed25519 and then an ES256 key, with a seal each ten to thirty records, one of
/// them signed while records were added, a gap, and a recovery.
pub(super) fn two_hundred(first: &Signer, second: &Signer) -> Maker {
    let mut log = Maker::new();
    log.introduce(first);
    log.seal(first);
    log.issue(20);
    log.seal(first);
    log.issue(10);
    let head = log.head();
    log.issue(5);
    log.seal_at(first, &head);
    log.begin();
    log.record(&Entry {
        segment: Some(crate::audit::segment::segment_name(1)),
        dropped: Some(13),
        sha256: Some("00".repeat(32)),
        ..Entry::new(Event::LogRecovered, Outcome::Success)
    });
    log.issue(25);
    log.seal(first);
    log.introduce(second);
    log.issue(9);
    log.seal(first);
    log.begin();
    log.seal(second);
    log.issue(18);
    log.gap(3, 0, false);
    log.issue(14);
    log.seal(second);
    log.issue(30);
    log.seal(second);
    log.begin();
    log.issue(28);
    log.seal(second);
    log.issue(24);
    log.seal(second);
    log.issue(2);
    log.seal(second);
    assert_eq!((log.tree.size(), log.lines().len()), (200, 200));
    log
}
