//! What the bytes of a disk give away of subjects' keys: every place of every file is tried with every key that can be
//! had, whatever SQLite says is there, so that free pages and the write-ahead log count like all the rest.
//!
//! Written from what `src/subject` documents, without its code.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

use crate::bed::{ISSUER, files};

pub type Secret = [u8; 32];

/// Buckets of a table.
const BUCKETS: u16 = 1024;
/// Bytes around what is sealed.
const NONCE: usize = 12;
const TAG: usize = 16;

/// A person, as the state tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person([u8; 32]);

impl Person {
    /// Of the state in this directory.
    pub fn of(state: &Path, name: &str) -> Self {
        let database = rusqlite::Connection::open(state.join("state.db")).unwrap();
        let select = "SELECT value FROM secrets WHERE name = 'subject-index'";
        let index: Vec<u8> = database.query_row(select, [], |row| row.get(0)).unwrap();
        Self(mac(&index, format!("sub\0{ISSUER}\0{name}").as_bytes()))
    }

    pub fn bucket(&self) -> u16 {
        u16::from_be_bytes([self.0[30], self.0[31]]) % BUCKETS
    }
}

/// The bytes of files.
pub struct Disk(Vec<(String, Vec<u8>)>);

/// A bucket's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    pub number: u16,
    pub secret: Secret,
}

impl Bucket {
    fn row(&self, person: &Person) -> [u8; 32] {
        mac(&mac(&self.secret, b"row"), &person.0)
    }

    fn key(&self) -> LessSafeKey {
        aes(&mac(&self.secret, b"seal"))
    }
}

impl Disk {
    /// Of all files below these directories, but those that `without` names.
    pub fn read(directories: &[&Path], without: impl Fn(&str) -> bool) -> Self {
        let mut read = Vec::new();
        for path in files(directories) {
            if !without(path.file_name().unwrap().to_str().unwrap()) {
                read.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
        Self(read)
    }

    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Keys of epochs: files that are one, and whatever 32 bytes, raw or as text, open one of `sealed`.
    pub fn epochs(&self, sealed: &[(u16, Vec<u8>)]) -> BTreeSet<Secret> {
        let mut found = BTreeSet::new();
        let opens = |secret: &Secret| {
            let key = aes(secret);
            sealed.iter().any(|(bucket, sealed)| open::<32>(&key, &bucket.to_be_bytes(), sealed).is_some())
        };
        for (_, bytes) in &self.0 {
            found.extend(text_secret(bytes));
            let texts = bytes.windows(43).filter_map(text_secret);
            let raw = bytes.windows(32).filter(|window| **window != [0; 32]);
            let raw = raw.map(|window| <Secret>::try_from(window).unwrap());
            found.extend(texts.chain(raw).filter(opens));
        }
        found
    }

    /// Keys of buckets that this epoch sealed, wherever they lie.
    pub fn buckets(&self, epoch: &Secret) -> BTreeSet<Bucket> {
        let key = aes(epoch);
        // By what a bucket's number changes a tag is the same for every nonce and text, as GHASH is linear: so the tag
        // tells the number.
        let zero = |bucket: u16| tag(&key, [7; NONCE], bucket, &mut [0; 32]);
        let numbers: HashMap<_, _> =
            (0..BUCKETS).map(|bucket| (xor(zero(bucket), zero(0)), bucket)).collect();
        let mut found = BTreeSet::new();
        for window in self.0.iter().flat_map(|(_, bytes)| bytes.windows(NONCE + 32 + TAG)) {
            let nonce = *window.first_chunk::<NONCE>().unwrap();
            let mut stream = [0; 32];
            tag(&key, nonce, 0, &mut stream);
            let secret = xor(stream, *window[NONCE..].first_chunk::<32>().unwrap());
            let changed = xor(tag(&key, nonce, 0, &mut { secret }), *window.last_chunk::<TAG>().unwrap());
            found.extend(numbers.get(&changed).map(|&number| Bucket { number, secret }));
        }
        found
    }

    /// Keys of these people in rows of these buckets: beside the name of a row wherever it lies, and those of
    /// `everywhere` at every place.
    pub fn subjects(
        &self,
        buckets: &BTreeSet<Bucket>,
        people: &[Person],
        everywhere: &[Person],
    ) -> BTreeMap<Person, BTreeSet<Secret>> {
        let mut rows = HashMap::new();
        for person in people.iter().chain(everywhere) {
            for bucket in buckets.iter().filter(|bucket| bucket.number == person.bucket()) {
                rows.insert(bucket.row(person), (*bucket, *person));
            }
        }
        let mut found = BTreeMap::<_, BTreeSet<Secret>>::new();
        let mut try_at = |bucket: &Bucket, person: &Person, row: &[u8], sealed: &[u8]| {
            if let Some(plain) = open::<64>(&bucket.key(), row, sealed) {
                assert_eq!(plain[32..], person.0);
                found.entry(*person).or_default().insert(*plain.first_chunk().unwrap());
            }
        };
        for (_, bytes) in &self.0 {
            for (place, window) in bytes.windows(32).enumerate() {
                let Some((bucket, person)) = rows.get(window) else { continue };
                for sealed in
                    (0..8).filter_map(|more| bytes.get(place + 32 + more..)?.get(..NONCE + 64 + TAG))
                {
                    try_at(bucket, person, window, sealed);
                }
            }
        }
        for person in everywhere {
            for bucket in buckets.iter().filter(|bucket| bucket.number == person.bucket()) {
                let (row, key) = (bucket.row(person), bucket.key());
                let windows = self.0.iter().flat_map(|(_, bytes)| bytes.windows(NONCE + 64 + TAG));
                for sealed in windows.filter(|sealed| open::<64>(&key, &row, sealed).is_some()) {
                    try_at(bucket, person, &row, sealed);
                }
            }
        }
        found
    }

    /// Which of these secrets lie about, as they are or as text, and where.
    pub fn plain<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) -> Vec<String> {
        let mut needles = HashMap::<[u8; 8], Vec<Vec<u8>>>::new();
        for secret in secrets {
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            for needle in [secret.to_vec(), BASE64URL.encode(secret).into_bytes(), hex.into_bytes()] {
                needles.entry(*needle.first_chunk().unwrap()).or_default().push(needle);
            }
        }
        let mut found = Vec::new();
        for (file, bytes) in &self.0 {
            for (place, window) in bytes.windows(8).enumerate() {
                let Some(needles) = needles.get(window) else { continue };
                let hit = needles.iter().any(|needle| bytes[place..].starts_with(needle));
                found.extend(hit.then(|| format!("{file} at {place}")));
            }
        }
        found
    }
}

/// Buckets as a table of this directory has them.
pub fn sealed_buckets(state: &Path) -> Vec<(u16, Vec<u8>)> {
    let database = rusqlite::Connection::open(state.join("state.db")).unwrap();
    let mut rows = database.prepare("SELECT bucket, sealed FROM subject_buckets ORDER BY bucket").unwrap();
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

fn mac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().try_into().unwrap()
}

fn aes(key: &Secret) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap())
}

/// Seals `text` in its place; the tag.
fn tag(key: &LessSafeKey, nonce: [u8; NONCE], bucket: u16, text: &mut [u8; 32]) -> [u8; TAG] {
    let place = Aad::from(bucket.to_be_bytes());
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), place, text).unwrap();
    tag.as_ref().try_into().unwrap()
}

fn open<const N: usize>(key: &LessSafeKey, place: &[u8], sealed: &[u8]) -> Option<[u8; N]> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
    let mut text = text.to_vec();
    let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut text).ok()?;
    (&*plain).try_into().ok()
}

fn text_secret(text: &[u8]) -> Option<Secret> {
    if text.len() != 43 || !text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)) {
        return None;
    }
    BASE64URL.decode(text).ok()?.try_into().ok()
}

fn xor<const N: usize>(mut one: [u8; N], other: [u8; N]) -> [u8; N] {
    one.iter_mut().zip(other).for_each(|(one, other)| *one ^= other);
    one
}
