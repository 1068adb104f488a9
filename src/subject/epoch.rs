//! Epochs: where their keys are, and how they are made and destroyed. A file of the state by default; or a key pair in
//! a backend that never leaves it, whose signature of a constant is the secret, so that no copy of any disk has it.
//!
//! What is made is written down before, so that nothing stays behind when that is broken off.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::seal::{self, KEY, Secret};
use super::{BASE64URL, Error, Settings};
use crate::backend::{self, Ask, KeySpec, KeyStore, Opened, Wanted};
use crate::jose::{Algorithm, PublicKey, Verifier};
use crate::state::{EpochRow, EpochStage};
use crate::sys::secure_file::{self, SecureFileError};
use base64::Engine as _;

/// What an epoch's key signs. No signing input of a JWT is like it: those have one dot and no space.
const INPUT: &[u8] = b"jwsd epoch of subjects, not a JWT\n";
/// What our keys are called in a backend, in the place of a key's name, which has no such character.
const LABEL: &str = "+epoch";
/// A backend gets so long for one signature.
const WITHIN: Duration = Duration::from_secs(10);

/// Where epochs' keys are.
pub struct Epochs {
    /// What the configuration says.
    pub settings: Settings,
    /// All configured backends.
    pub backends: BTreeMap<String, Arc<dyn KeyStore>>,
    /// Part of the keys' labels.
    pub environment: String,
}

impl Epochs {
    /// Whether the configuration wants epochs' keys where this one's is.
    pub(super) fn is_at_home(&self, row: &EpochRow) -> bool {
        row.backend == self.settings.backend
    }

    /// What is about to be made; to be written down before it is.
    pub(super) fn plan(&self, number: i64) -> Result<EpochRow, Error> {
        let mut id = vec![0; 16];
        rand::fill(&mut id)?;
        let backend = self.settings.backend.clone();
        Ok(EpochRow { number, backend, id, public: None, stage: EpochStage::Making })
    }

    /// Makes the key of an epoch that is planned.
    pub(super) async fn make(&self, plan: EpochRow) -> Result<(EpochRow, Secret), Error> {
        let Some(name) = plan.backend.clone() else {
            let (secret, path) = (seal::random()?, self.file(plan.number));
            let text = Zeroizing::new(BASE64URL.encode(*secret));
            apart(move || Ok(secure_file::write_atomic(&path, text.as_bytes())?)).await?;
            return Ok((plan, secret));
        };
        let (backend, algorithm) = (self.backend(plan.number, &name)?, self.settings.algorithm);
        let spec = KeySpec { algorithm, rsa_bits: 2048 };
        let made = backend.generate(&plan.id, &self.label(&plan), spec).await?;
        let jwk = made.public.to_jwk(algorithm);
        let public = Some(serde_json::to_string(&jwk).map_err(|error| useless(&name, error))?);
        let row = EpochRow { id: made.id, public, ..plan };
        let first = self.open(&row).await?;
        // One that signs otherwise each time would be lost with this process.
        if first != self.open(&row).await? {
            let problem =
                "its signatures of the same bytes differ: use another algorithm (RS256), or none of it";
            return Err(useless(&name, problem));
        }
        Ok((row, first))
    }

    /// The epoch's key.
    pub(super) async fn open(&self, row: &EpochRow) -> Result<Secret, Error> {
        let number = row.number;
        let Some(name) = &row.backend else {
            let path = self.file(number);
            let text = match apart(move || Ok(secure_file::read_secret(&path))).await? {
                Err(SecureFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Err(Error::Foreign { number });
                }
                text => text?,
            };
            let bytes = Zeroizing::new(BASE64URL.decode(text.expose_secret()).unwrap_or_default());
            let secret = <[u8; KEY]>::try_from(bytes.as_slice()).map_err(|_| Error::Foreign { number })?;
            return Ok(Zeroizing::new(secret));
        };
        let (backend, (algorithm, public)) = (self.backend(number, name)?, key_of(row, name)?);
        let Opened { signer, .. } = backend.open(Wanted::Id(&row.id), algorithm, Some(&public)).await?;
        let ask = Ask::own(Instant::now() + WITHIN);
        let signature = signer.sign(INPUT, ask).await.result?;
        let verifier = Verifier::new(algorithm, public).map_err(|error| useless(name, error))?;
        verifier.verify(INPUT, &signature).map_err(|error| useless(name, error))?;
        let mut secret = Zeroizing::new([0; KEY]);
        secret.copy_from_slice(digest::digest(&digest::SHA256, signature.as_bytes()).as_ref());
        Ok(secret)
    }

    /// Destroys the epoch's key for good. It is done as well when it is not there.
    pub(super) async fn destroy(&self, row: &EpochRow) -> Result<(), Error> {
        let Some(name) = &row.backend else {
            let path = self.file(row.number);
            return apart(move || {
                let mut files = drafts(&path);
                files.push(path);
                for path in files {
                    wipe(&path).map_err(|source| SecureFileError::Io { path, action: "destroy", source })?;
                }
                Ok(())
            })
            .await;
        };
        let backend = self.backend(row.number, name)?;
        if row.public.is_some() {
            return Ok(backend.destroy(&row.id, &key_of(row, name)?.1).await.map(drop)?);
        }
        // Broken off while it was made.
        if let Some(id) = backend.find_made(&row.id, &self.label(row)).await? {
            let opened = backend.open(Wanted::Id(&id), self.settings.algorithm, None).await?;
            backend.destroy(&id, &opened.public).await?;
        }
        Ok(())
    }

    fn file(&self, number: i64) -> PathBuf {
        self.settings.dir.join(format!("epoch-{number}.key"))
    }

    fn label(&self, row: &EpochRow) -> String {
        label(&self.environment, row)
    }

    fn backend(&self, number: i64, name: &str) -> Result<&Arc<dyn KeyStore>, Error> {
        self.backends.get(name).ok_or_else(|| Error::NoBackend { number, backend: name.to_owned() })
    }
}

/// What an epoch's key is called in its backend.
pub fn label(environment: &str, row: &EpochRow) -> String {
    backend::label(environment, LABEL, &row.id)
}

/// Files block.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // A panic is logged where it happens.
    spawn_blocking(work).await.unwrap_or(Err(Error::Ended))
}

fn useless(backend: &str, problem: impl ToString) -> Error {
    Error::Useless { backend: backend.to_owned(), problem: problem.to_string() }
}

fn key_of(row: &EpochRow, backend: &str) -> Result<(Algorithm, PublicKey), Error> {
    let text = row.public.as_deref().unwrap_or_default();
    let jwk: Value = serde_json::from_str(text).map_err(|_| Error::Damaged)?;
    let algorithm =
        jwk.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name).ok_or(Error::Damaged)?;
    Ok((algorithm, PublicKey::from_jwk(&jwk).map_err(|error| useless(backend, error))?))
}

/// What is left of writing this file where that was broken off: it lies beside it, under its name with a dot before.
fn drafts(path: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let start = format!(".{}.", name.display());
    let is_draft = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&start))
    };
    // A directory that cannot be read has no file that can be wiped: that fails next.
    let beside = fs::read_dir(dir).into_iter().flatten().flatten();
    beside.map(|entry| entry.path()).filter(is_draft).collect()
}

/// Overwrites and removes a file, durably. What a file system keeps of it elsewhere is beyond our reach.
fn wipe(path: &Path) -> io::Result<()> {
    let mut file = match File::options().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default().min(4096);
    file.write_all(&vec![0; length])?;
    file.sync_all()?;
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
