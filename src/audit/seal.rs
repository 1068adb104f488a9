//! The task that seals the log: at start, every so often, after so many records and at stop it has the checkpoint key
//! sign how many records there are and the root of the tree over them, records that, and tells the witnesses.
//!
//! Never signs a smaller size than before, nor the tree of a log that is down, and never holds up a record: whatever
//! fails here is tried again.

mod cosign;
mod report;
mod settings;
mod tell;
mod turn;

pub use report::{CosignReport, Report, WitnessReport};
pub use settings::Settings;

use super::checkpoint::{Checkpoint, SealKey};
use super::cosignature::Cosigner;
use super::log::{Head, Log, Sealing, Unavailable};
use super::{Entry, Event, Outcome};
use crate::backend::{self, Ask, Attempt, Signing};
use crate::clock::Clock;
use crate::keyring::{Keyring, Ring, Shut, Version};
use crate::telemetry::Chain;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cosign::Cosigning;
use std::sync::Arc;
use std::time::Duration;
use tell::{Teller, alert};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use turn::{NoTurn, Turn};

/// A record of ours is durable within this, or it is tried again.
const RECORD_WITHIN: Duration = Duration::from_secs(5);
/// Records between a seal and what it covers, at most, with room for those that are being written: verifiers refuse more.
const FARTHEST: u64 = 1 << 19;
/// What failed is tried again after this, or sooner if the log is sealed more often.
const RETRY: Duration = Duration::from_secs(10);

/// Why the log was not sealed.
#[derive(Debug, thiserror::Error)]
enum NotSealed {
    #[error(transparent)]
    Turn(#[from] NoTurn),
    #[error("the checkpoint key does not sign: {0}")]
    Shut(#[from] Shut),
    #[error("the checkpoint key did not sign")]
    Backend(#[from] backend::Error),
    #[error(transparent)]
    Log(#[from] Unavailable),
    #[error("the log has {now} records, and {before} were signed before: see `jwsd audit verify`")]
    Smaller { now: u64, before: u64 },
    #[error("{behind} records were written while it was signed, too many for one seal: it is tried again")]
    Overtaken { behind: u64 },
    #[error(
        "since its last seal the log introduces a key ({kid}) that is none of ours: somebody changed it while no daemon \
         ran; see `jwsd audit verify`, move the log away and begin a new one"
    )]
    Foreign { kid: String },
    #[error("the checkpoint key cannot seal: {0}")]
    Key(#[from] super::checkpoint::BadNote),
    #[error("a signature of something else: this is a defect")]
    Defect,
}

/// Seals one log.
pub struct Sealer {
    log: Log,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// A signature takes no longer.
    within: Duration,
    origin: String,
    turn: Turn,
    /// The greatest size that was ever signed.
    signed: u64,
    /// Number of the last record that is sealed.
    sealed: u64,
    cosigning: Option<Cosigning>,
    witnesses: Teller,
    /// Records about them that could not be written yet.
    unwritten: Vec<Entry>,
    /// A key that the log introduces and that is none of ours: with a seal over that it could take over.
    foreign: Option<String>,
}

impl Sealer {
    /// Seals `log` as `settings` say; `within` bounds one signature. The versions of the checkpoint key are opened
    /// already. `None` for a log that was opened without a checkpoint key.
    pub fn new(
        settings: Settings,
        log: Log,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        within: Duration,
    ) -> Option<Self> {
        let Sealing { dir, origin, last, introduced, asked, .. } = log.sealing()?;
        let ring = keyring.ring();
        let is_ours = |kid: &str| ring.keys.versions.iter().any(|row| row.kid == kid);
        let foreign = introduced.iter().find(|kid| !is_ours(kid)).cloned();
        let turn = Turn::new(&settings.key, dir, last.as_ref(), &ring);
        let (signed, sealed) = last.as_ref().map_or((0, 0), |seal| (seal.checkpoint.size, seal.after));
        let witnesses = Teller::new(dir, &settings.witnesses, asked, clock.now());
        let key = settings.cosign.as_ref();
        let cosigning = key.map(|key| Cosigning::new(key, origin));
        let cosign = cosigning.as_ref().map(|cosigning| cosigning.report.clone());
        *log.report() = Some(Report::new(&settings, origin, last.as_ref(), cosign, witnesses.reports()));
        let origin = origin.clone();
        let silent = asked.iter().filter_map(|asked| Some((asked.name.clone(), asked.answer.clone().err()?)));
        let unwritten = silent.map(|(name, problem)| alert(name, problem, "witness.failed")).collect();
        Some(Self {
            log,
            keyring,
            clock,
            settings,
            within,
            origin,
            turn,
            signed,
            sealed,
            cosigning,
            witnesses,
            unwritten,
            foreign,
        })
    }

    /// Seals until `stop`, and once more then.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let sealed = self.seal(true).await;
            let due = self.sealed.saturating_add(self.settings.records.into());
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(if sealed { self.settings.every } else { self.settings.every.min(RETRY) }) => {}
                () = self.log.until(due), if sealed => {}
            }
        }
        // Nothing may follow the last seal.
        self.unwritten.extend(self.witnesses.cosigned(self.clock.now(), true));
        if !self.unwritten.is_empty() {
            let unwritten = std::mem::take(&mut self.unwritten);
            if let Err(error) = self.record(unwritten).await {
                tracing::error!(%error, "What witnesses said last was not recorded");
            }
        }
        self.seal(false).await;
    }

    /// Whether it is done. `records` says whether what happens to witnesses is recorded.
    pub(super) async fn seal(&mut self, records: bool) -> bool {
        let outcome = self.try_seal().await;
        let now = self.clock.now();
        let told = {
            let mut report = self.log.report();
            let Some(report) = report.as_mut() else { return false };
            match &outcome {
                Ok((done, _)) => report.done(done.clone(), now),
                Err(error) => report.failed(Chain(error).to_string(), now),
            }
        };
        match &outcome {
            // Once, not at every try.
            Err(error) if told => tracing::error!(error = %Chain(error), "Audit log not sealed"),
            Ok((done, _)) if told => {
                tracing::info!(size = done.size, vkey = done.vkey, "Audit log is sealed")
            }
            _ => {}
        }
        let Ok((_, note)) = outcome else { return false };
        self.unwritten.extend(self.witnesses.tell(&note, !records, now).await);
        if let Some(report) = self.log.report().as_mut() {
            report.witnesses = self.witnesses.reports();
            report.cosign = self.cosigning.as_ref().map(|cosigning| cosigning.report.clone());
        }
        if !records {
            return true;
        }
        self.unwritten.extend(self.witnesses.cosigned(now, false));
        if !self.unwritten.is_empty() {
            match self.log.append(self.unwritten.clone()).map(drop) {
                Ok(()) => self.unwritten.clear(),
                Err(error) => tracing::error!(%error, "What a witness said is not recorded yet"),
            }
        }
        true
    }

    /// The seal and its note, once it is on disk.
    async fn try_seal(&mut self) -> Result<(report::Done, String), NotSealed> {
        if let Some(kid) = self.foreign.clone() {
            return Err(NotSealed::Foreign { kid });
        }
        self.introduce().await?;
        let ring = self.keyring.ring();
        let (version, late) = self.turn.choose(&ring, self.clock.now().as_second()).await?;
        let head = self.log.head().await?;
        let (size, last) = (head.tree.size(), head.last);
        if size < self.signed {
            return Err(NotSealed::Smaller { now: size, before: self.signed });
        }
        let key = self.key(&version)?;
        let (origin, root) = (self.origin.clone(), head.tree.root());
        let checkpoint = Checkpoint { origin, size, root };
        let (signed, cosigned) =
            tokio::join!(self.sign(&version, &key, &checkpoint, late), self.cosign(&ring, &checkpoint));
        let (note, requests) = signed?;
        let done = match note {
            Ok(note) => {
                let line = cosigned.as_ref().and_then(|cosigned| Some(cosigned.as_ref().ok()?.1.as_str()));
                self.record_seal(&version, &head, format!("{note}{}", line.unwrap_or_default())).await
            }
            Err(error) => Err(error),
        };
        // The record of a seal answers for one request.
        version.replicas().untold(requests.iter().skip(usize::from(done.is_ok())));
        let note = done?;
        if let (Some(cosigning), Some(cosigned)) = (&mut self.cosigning, cosigned) {
            match cosigned {
                Ok((key, _)) => cosigning.cosigned(&key, size),
                Err(error) => {
                    let problem = Chain(&error).to_string();
                    self.unwritten.extend(cosigning.failed(problem, self.clock.now()));
                }
            }
        }
        self.sealed = last;
        self.turn.sealed(&version);
        let (kid, vkey) = (version.kid().to_string(), key.to_vkey());
        Ok((report::Done { size, after: last, kid, vkey }, note))
    }

    /// The note, once its record is on disk.
    async fn record_seal(
        &mut self,
        version: &Version,
        head: &Head,
        note: String,
    ) -> Result<String, NotSealed> {
        let behind = self.log.durable().saturating_sub(head.last);
        if behind > FARTHEST {
            return Err(NotSealed::Overtaken { behind });
        }
        self.signed = head.tree.size();
        let sealed = Entry {
            kid: Some(version.kid().to_string()),
            after: Some(head.last),
            peaks: head.tree.peaks().iter().map(|peak| BASE64.encode(peak)).collect(),
            note: Some(note.clone()),
            ..Entry::new(Event::LogSealed, Outcome::Success)
        };
        self.record(vec![sealed]).await?;
        Ok(note)
    }

    /// Records each version that is to seal before it does, so that a seal by the one before covers that.
    async fn introduce(&mut self) -> Result<(), NotSealed> {
        let ring = self.keyring.ring();
        for version in self.turn.newcomers(&ring) {
            self.record(vec![introduction(&version, self.key(&version)?.to_vkey())]).await?;
            self.turn.introduced(&version);
        }
        let newcomers = self.cosigning.as_ref().map(|cosigning| cosigning.newcomers(&ring));
        for (version, vkey) in newcomers.into_iter().flatten() {
            self.record(vec![introduction(&version, vkey)]).await?;
            self.cosigning.iter_mut().for_each(|cosigning| cosigning.introduced(&version));
        }
        Ok(())
    }

    /// The note, and the requests that it took.
    async fn sign(
        &self,
        version: &Arc<Version>,
        key: &SealKey,
        checkpoint: &Checkpoint,
        late: bool,
    ) -> Result<(Result<String, NotSealed>, Vec<Attempt>), NotSealed> {
        let text = checkpoint.to_string();
        let right = version.enter_checkpoint((!late).then(|| self.clock.now().as_second()))?;
        let ask = Ask::own(Instant::now() + self.within);
        let Signing { result, attempts } = right.version().replicas().sign(text.as_bytes(), ask).await;
        let note = result.map_err(NotSealed::from).and_then(|verified| {
            let _leaving = right.signed()?;
            key.note(checkpoint, verified).ok_or(NotSealed::Defect)
        });
        Ok((note, attempts))
    }

    /// The line by which the second key signs the checkpoint too; `None` if there is none.
    async fn cosign(
        &self,
        ring: &Ring,
        checkpoint: &Checkpoint,
    ) -> Option<Result<(Cosigner, String), NotSealed>> {
        let cosigning = self.cosigning.as_ref()?;
        let cosign = async || {
            let version = cosigning.active(ring).ok_or_else(|| NoTurn::None(cosigning.report.key.clone()))?;
            let (key, time) = (cosigning.cosigner(&version)?, self.clock.now().as_second());
            let message = key.message(checkpoint, time);
            let right = version.enter_checkpoint(Some(time))?;
            let ask = Ask::own(Instant::now() + self.within);
            let Signing { result, attempts } = right.version().replicas().sign(&message, ask).await;
            // No record answers for these.
            version.replicas().untold(&attempts);
            let verified = result?;
            let _leaving = right.signed()?;
            let line = key.line(checkpoint, time, verified).ok_or(NotSealed::Defect)?;
            Ok((key, line))
        };
        Some(cosign().await)
    }

    fn key(&self, version: &Version) -> Result<SealKey, NotSealed> {
        let public = version.verifier().public().clone();
        Ok(SealKey::new(&self.origin, version.algorithm(), public)?)
    }

    async fn record(&self, entries: Vec<Entry>) -> Result<(), Unavailable> {
        self.log.append(entries)?.durable_by(Instant::now() + RECORD_WITHIN).await
    }
}

/// The record that introduces a version under this verifier key.
fn introduction(version: &Version, vkey: String) -> Entry {
    Entry {
        kid: Some(version.kid().to_string()),
        object: Some(version.key().to_owned()),
        alg: Some(version.algorithm().name()),
        vkey: Some(vkey),
        ..Entry::new(Event::LogKey, Outcome::Success)
    }
}
