//! One version of a key: what signs, what its signatures are checked against, and the gate that every JWT goes
//! through. Outside of its time, past its bound, or once it was revoked, the gate lets nothing through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::backend::{Member, Replicas};
use crate::jose::{Algorithm, Kid, Verifier};

/// One version of a key.
pub struct Version {
    key: String,
    kid: Kid,
    replicas: Replicas,
    gate: Gate,
}

/// When it may sign, and what it signed. Times are Unix seconds.
struct Gate {
    from: AtomicI64,
    until: AtomicI64,
    /// No JWT expires later: the state knows of no more.
    bound: AtomicI64,
    revoked: AtomicBool,
    /// Since the last tally.
    signatures: AtomicU64,
    /// `i64::MIN` before the first.
    last_exp: AtomicI64,
    /// The rights that are in use.
    uses: TaskTracker,
}

/// Why a version signs nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shut {
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// Its time has not come.
    #[error("it signs from {from} on (Unix seconds); is the clock right?")]
    Early {
        /// From when on, Unix seconds.
        from: i64,
    },
    /// Its time is over.
    #[error("it stopped signing at {until} (Unix seconds); rotate the key")]
    Over {
        /// When, Unix seconds.
        until: i64,
    },
    /// The state does not know yet of a JWT that lives so long.
    #[error("the state could not be told yet how long its JWTs live")]
    Unbound,
}

/// The right to sign one JWT with these times, until it is dropped.
pub struct Use {
    version: Arc<Version>,
    iat: i64,
    exp: i64,
    token: TaskTrackerToken,
}

/// A signed JWT that has not left yet: a revocation of its version waits until this is dropped.
pub struct Leaving {
    _token: TaskTrackerToken,
}

impl Version {
    /// The version of `key` whose public key is pinned in `verifier`. It signs nothing before it is opened.
    pub fn new(key: String, verifier: Verifier, members: Vec<Member>) -> Self {
        let kid = verifier.public().thumbprint();
        let gate = Gate {
            from: AtomicI64::new(i64::MAX),
            until: AtomicI64::new(i64::MAX),
            bound: AtomicI64::new(i64::MIN),
            revoked: AtomicBool::new(false),
            signatures: AtomicU64::new(0),
            last_exp: AtomicI64::new(i64::MIN),
            uses: TaskTracker::new(),
        };
        Self { key, kid, replicas: Replicas::new(verifier, members), gate }
    }

    /// Name of the key that this is a version of.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// RFC 7638 thumbprint of the public key.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The algorithm, fixed for the life of the version.
    pub fn algorithm(&self) -> Algorithm {
        self.verifier().algorithm()
    }

    /// Checks signatures against the pinned public key.
    pub fn verifier(&self) -> &Verifier {
        self.replicas.verifier()
    }

    /// The version in each of its backends; signing with it is reserved to `issuer`, and to the audit log's seals.
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Whole seconds since a signature of this version last verified; `None` before the first.
    pub fn unproven_for(&self) -> Option<u64> {
        self.replicas.unproven_for()
    }

    /// Lets it sign JWTs that are issued at `from` or later and before `until`, Unix seconds.
    pub fn open(&self, from: i64, until: i64) {
        self.gate.from.store(from, Ordering::SeqCst);
        self.gate.until.store(until, Ordering::SeqCst);
    }

    /// Ends its time then, if it does not end sooner; what was let through goes on.
    pub fn close_at(&self, until: i64) {
        self.gate.until.fetch_min(until, Ordering::SeqCst);
    }

    /// From now on nothing is let through, and what was is void.
    pub fn revoke(&self) {
        self.gate.revoked.store(true, Ordering::SeqCst);
    }

    /// Whether it was revoked in this run, even if the state could not be told.
    pub fn is_revoked(&self) -> bool {
        self.gate.revoked.load(Ordering::SeqCst)
    }

    /// Waits until nothing that was let through is on its way any more. Only for one that is shut for good.
    pub async fn drained(&self) {
        self.gate.uses.close();
        self.gate.uses.wait().await;
    }

    /// The state knows that JWTs may expire as late as this, Unix seconds.
    pub fn reserve(&self, bound: i64) {
        self.gate.bound.fetch_max(bound, Ordering::SeqCst);
    }

    /// No JWT expires later than this, Unix seconds.
    pub fn bound(&self) -> i64 {
        self.gate.bound.load(Ordering::SeqCst)
    }

    /// Signatures since this was last asked, and the greatest `exp` of all.
    pub fn take_tally(&self) -> (u64, Option<i64>) {
        let last = self.gate.last_exp.load(Ordering::SeqCst);
        (self.gate.signatures.swap(0, Ordering::SeqCst), (last != i64::MIN).then_some(last))
    }

    /// Gives back signatures that could not be noted.
    pub fn return_tally(&self, signatures: u64) {
        self.gate.signatures.fetch_add(signatures, Ordering::SeqCst);
    }

    /// The right to sign one JWT with these times, Unix seconds.
    ///
    /// # Errors
    /// Why not now.
    pub fn enter(self: &Arc<Self>, iat: i64, exp: i64) -> Result<Use, Shut> {
        let gate = &self.gate;
        // Whoever shuts the gate and then waits for the rights in use to end sees this one, or is seen by it.
        let token = gate.uses.token();
        let (from, until) = (gate.from.load(Ordering::SeqCst), gate.until.load(Ordering::SeqCst));
        if gate.revoked.load(Ordering::SeqCst) {
            return Err(Shut::Revoked);
        }
        if iat < from {
            return Err(Shut::Early { from });
        }
        if iat >= until {
            return Err(Shut::Over { until });
        }
        if exp > gate.bound.load(Ordering::SeqCst) {
            return Err(Shut::Unbound);
        }
        gate.last_exp.fetch_max(exp, Ordering::SeqCst);
        Ok(Use { version: Arc::clone(self), iat, exp, token })
    }

    /// The right to sign one checkpoint of the audit log `now`, Unix seconds. It expires never, so that the state need not
    /// know of it. Without `now`: although its time is over, because the log does not vouch for the next version yet.
    ///
    /// # Errors
    /// Why not now.
    pub fn enter_checkpoint(self: &Arc<Self>, now: Option<i64>) -> Result<Use, Shut> {
        let gate = &self.gate;
        // As above.
        let token = gate.uses.token();
        let (from, until) = (gate.from.load(Ordering::SeqCst), gate.until.load(Ordering::SeqCst));
        let iat = now.unwrap_or(from);
        if gate.revoked.load(Ordering::SeqCst) {
            return Err(Shut::Revoked);
        }
        if now.is_some_and(|now| now < from) {
            return Err(Shut::Early { from });
        }
        if now.is_some_and(|now| now >= until) {
            return Err(Shut::Over { until });
        }
        Ok(Use { version: Arc::clone(self), iat, exp: iat, token })
    }
}

impl Use {
    /// What signs.
    pub fn version(&self) -> &Arc<Version> {
        &self.version
    }

    /// When the JWT is issued, Unix seconds.
    pub fn iat(&self) -> i64 {
        self.iat
    }

    /// When it expires, Unix seconds.
    pub fn exp(&self) -> i64 {
        self.exp
    }

    /// The JWT is signed.
    ///
    /// # Errors
    /// The version was revoked meanwhile: the JWT must not be released.
    pub fn signed(&self) -> Result<Leaving, Shut> {
        if self.version.gate.revoked.load(Ordering::SeqCst) {
            return Err(Shut::Revoked);
        }
        self.version.gate.signatures.fetch_add(1, Ordering::SeqCst);
        Ok(Leaving { _token: self.token.clone() })
    }
}

#[cfg(test)]
mod tests;
