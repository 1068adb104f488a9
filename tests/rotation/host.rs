//! What the daemon is built of for turning keys, in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jwsd::admin::{Admin, Parts};
use jwsd::audit::Log;
use jwsd::backend::{self, KeyStore};
use jwsd::clock::{Clock, SystemClock};
use jwsd::config::Config;
use jwsd::daemon::{self, Foundation};
use jwsd::keyring::{Keyring, Loader, Ring};
use jwsd::state::{KeyState, Store};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::common::JWSD;

pub struct Host {
    pub admin: Arc<Admin>,
    foundation: Foundation,
    log: Log,
    shutdown: CancellationToken,
    tracker: TaskTracker,
    keeper: JoinHandle<()>,
}

/// A configuration whose workers are the real program's.
pub fn config_of(file: &Path) -> Config {
    let mut config = jwsd::config::load(file).unwrap();
    for settings in config.backends.values_mut() {
        if let backend::Settings::Pkcs11(settings) = settings {
            settings.program = JWSD.into();
        }
    }
    config
}

impl Host {
    /// Takes the keys over and keeps them turning, with state and backends wrapped.
    pub async fn start<S: KeyState + 'static>(
        config: &Config,
        state: impl Fn(Arc<Store>) -> S,
        wrap: impl Fn(Arc<dyn KeyStore>) -> Arc<dyn KeyStore>,
    ) -> Self {
        let log = daemon::open_log(config).unwrap();
        let store = daemon::open_store(config).unwrap();
        let (notify, _events) = tokio::sync::mpsc::unbounded_channel();
        let foundation = Foundation::open(config, Arc::clone(&store), notify).await.unwrap();
        let backends: BTreeMap<_, _> = foundation
            .backends
            .iter()
            .map(|(name, backend)| (name.clone(), wrap(Arc::clone(backend))))
            .collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let admin = Arc::new(Admin::new(Parts {
            state: Arc::new(state(Arc::clone(&store))),
            store,
            keyring: Arc::new(Keyring::new(Ring::empty())),
            loader: Loader { keys: config.keys.clone(), backends },
            log: log.clone(),
            clock,
            environment: config.environment.clone(),
            host: config.audit.dir.display().to_string(),
        }));
        admin.refresh().await.unwrap();
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        let keeper = tokio::spawn(Arc::clone(&admin).keep(shutdown.clone(), tracker.clone()));
        Self { admin, foundation, log, shutdown, tracker, keeper }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.keeper.await.unwrap();
        self.tracker.close();
        self.tracker.wait().await;
        self.foundation.close().await;
        self.log.close().await;
    }
}

/// The `kid` that signs now.
pub fn active(admin: &Admin) -> Option<String> {
    admin.keyring.ring().active("access").map(|version| version.kid().to_string())
}
