//! The bare token: `C_SignInit` and `C_Sign` from threads, each with its own session, key handle and buffer.
//!
//! This is the most that the module can do, and what every ratio is taken to. Straight C calls, because safe wrappers
//! add a size query to each signature.

#[allow(unsafe_code, dead_code, reason = "calls into a C library; the faulty module uses more of it")]
#[path = "../faulty_pkcs11/real.rs"]
mod real;

use crate::Fault;
use aws_lc_rs::digest::{SHA256, digest};
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SLOT_ID, CKM_ECDSA, CKM_SHA256_RSA_PKCS};
use real::{Module, Session};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
pub(crate) enum Algorithm {
    #[value(name = "ES256")]
    ES256,
    #[value(name = "RS256")]
    RS256,
}

impl Algorithm {
    /// Name of its key and of its profile in the daemon's configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ES256 => "es256",
            Self::RS256 => "rs256",
        }
    }
}

/// A logged-in token. The module is never unloaded.
pub(crate) struct Token {
    module: &'static Module,
    slot: CK_SLOT_ID,
    /// The login lasts until the last session is closed.
    anchor: Session<'static>,
}

/// Durations of all signatures of one measurement, and how long it took.
pub(crate) struct Samples {
    pub(crate) each: Vec<Duration>,
    pub(crate) wall: Duration,
}

impl Token {
    /// Loads the module, finds the token and logs in.
    pub(crate) fn open(path: &Path, label: &str, pin: &str) -> Result<Self, Fault> {
        let module: &Module = Box::leak(Box::new(Module::load(path)?));
        module.initialize()?;
        let slot = module.slot(label)?;
        let anchor = module.open_session(slot)?;
        anchor.login(pin)?;
        Ok(Self { module, slot, anchor })
    }

    /// Signs with the key `id` on `threads` threads for `duration`.
    pub(crate) fn measure(
        &self,
        algorithm: Algorithm,
        id: &[u8],
        threads: usize,
        duration: Duration,
    ) -> Result<Samples, Fault> {
        let key = self.anchor.private_key(id)?;
        let sessions = (0..threads).map(|_| self.module.open_session(self.slot));
        let sessions: Vec<Session<'_>> = sessions.collect::<Result<_, _>>()?;
        let start_line = Barrier::new(threads + 1);
        thread::scope(|scope| {
            let start_line = &start_line;
            let signers: Vec<_> = sessions
                .into_iter()
                .map(|session| {
                    scope.spawn(move || {
                        start_line.wait();
                        sign_loop(&session, key, algorithm, duration)
                    })
                })
                .collect();
            start_line.wait();
            let start = Instant::now();
            let mut each = Vec::new();
            for signer in signers {
                each.extend(signer.join().map_err(|_| "a signing thread panicked")??);
            }
            Ok(Samples { each, wall: start.elapsed() })
        })
    }
}

fn sign_loop(
    session: &Session<'_>,
    key: CK_OBJECT_HANDLE,
    algorithm: Algorithm,
    duration: Duration,
) -> Result<Vec<Duration>, Fault> {
    let input = [b'a'; 300];
    let mut signature = [0; 512];
    let mut times = Vec::with_capacity(1 << 17);
    let start = Instant::now();
    while start.elapsed() < duration {
        let before = Instant::now();
        match algorithm {
            // The token has no mechanism that hashes, too.
            Algorithm::ES256 => {
                session.sign(CKM_ECDSA, key, digest(&SHA256, &input).as_ref(), &mut signature)?
            }
            Algorithm::RS256 => session.sign(CKM_SHA256_RSA_PKCS, key, &input, &mut signature)?,
        };
        times.push(before.elapsed());
    }
    Ok(times)
}
