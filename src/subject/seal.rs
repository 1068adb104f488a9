//! Keys under keys: a bucket's under an epoch's, a subject's under its bucket's. AES-256-GCM with random nonces.
//!
//! A sealed value opens in its own place only: the place is authenticated with it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use secrecy::zeroize::Zeroizing;

use super::{Error, Person, SubjectKey};
use crate::state::SubjectRow;

/// Bytes of a key.
pub(super) const KEY: usize = 32;
const NONCE: usize = 12;

/// 32 secret bytes.
pub(super) type Secret = Zeroizing<[u8; KEY]>;

/// Fresh ones.
pub(super) fn random() -> Result<Secret, Error> {
    let mut secret = Zeroizing::new([0; KEY]);
    rand::fill(&mut *secret)?;
    Ok(secret)
}

/// A key that seals.
pub(super) struct Sealer(RandomizedNonceKey);

impl Sealer {
    pub(super) fn new(secret: &[u8; KEY]) -> Result<Self, Error> {
        Ok(Self(RandomizedNonceKey::new(&AES_256_GCM, secret)?))
    }

    /// Nonce, ciphertext, tag.
    pub(super) fn seal(&self, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        let mut text = Zeroizing::new(plain.to_vec());
        // It must not move and leave the plain bytes behind.
        text.reserve_exact(AES_256_GCM.tag_len());
        let nonce = self.0.seal_in_place_append_tag(Aad::from(place), &mut *text)?;
        Ok([nonce.as_ref().as_slice(), text.as_slice()].concat())
    }

    /// What was sealed in this place, if it was sealed by this key.
    pub(super) fn open<const N: usize>(&self, place: &[u8], sealed: &[u8]) -> Option<Zeroizing<[u8; N]>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE>()?;
        let mut text = Zeroizing::new(text.to_vec());
        let plain = self.0.open_in_place(Nonce::from(nonce), Aad::from(place), &mut text).ok()?;
        Some(Zeroizing::new(<[u8; N]>::try_from(&*plain).ok()?))
    }
}

/// A bucket of subjects with its key.
pub(super) struct Bucket {
    secret: Secret,
    sealer: Sealer,
    rows: hmac::Key,
}

impl Bucket {
    pub(super) fn new(secret: Secret) -> Result<Self, Error> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &*secret);
        let derive = |what: &[u8]| {
            let mut key = Zeroizing::new([0; KEY]);
            key.copy_from_slice(hmac::sign(&root, what).as_ref());
            key
        };
        let (sealer, rows) =
            (Sealer::new(&derive(b"seal"))?, hmac::Key::new(hmac::HMAC_SHA256, &*derive(b"row")));
        Ok(Self { secret, sealer, rows })
    }

    /// As an epoch's key gave it.
    pub(super) fn open(epoch: &Sealer, number: u16, sealed: &[u8]) -> Result<Option<Self>, Error> {
        epoch.open(&number.to_be_bytes(), sealed).map(Self::new).transpose()
    }

    /// The same.
    pub(super) fn again(&self) -> Result<Self, Error> {
        Self::new(self.secret.clone())
    }

    /// Sealed by an epoch's key.
    pub(super) fn seal(&self, epoch: &Sealer, number: u16) -> Result<Vec<u8>, Error> {
        epoch.seal(&number.to_be_bytes(), &*self.secret)
    }

    /// What a person's row is called, as long as the bucket has this key.
    pub(super) fn row(&self, person: &Person) -> Vec<u8> {
        hmac::sign(&self.rows, &person.0).as_ref().to_vec()
    }

    /// A person's row in this bucket, whose number is `bucket`.
    pub(super) fn subject(
        &self,
        bucket: u16,
        person: &Person,
        key: &SubjectKey,
        seen: i64,
    ) -> Result<SubjectRow, Error> {
        let mut plain = Zeroizing::new([0; 2 * KEY]);
        let (first, last) = plain.split_at_mut(KEY);
        first.copy_from_slice(&*key.bytes);
        last.copy_from_slice(&person.0);
        let row = self.row(person);
        let sealed = self.sealer.seal(&row, &*plain)?;
        Ok(SubjectRow { row, bucket, sealed, seen })
    }

    /// Whose row it is, and the key.
    pub(super) fn open_subject(&self, row: &[u8], sealed: &[u8]) -> Result<(Person, SubjectKey), Error> {
        let plain: Zeroizing<[u8; 2 * KEY]> = self.sealer.open(row, sealed).ok_or(Error::Damaged)?;
        let (Some(key), Some(person)) = (plain.first_chunk(), plain.last_chunk()) else {
            return Err(Error::Damaged);
        };
        Ok((Person(*person), SubjectKey::new(Zeroizing::new(*key))))
    }
}
