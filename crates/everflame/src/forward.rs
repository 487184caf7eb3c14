//! Forwarding of what is stored, as the configuration says.

use crate::config::{Config, ConfigError};
use crate::serve::TENANT;
use anyhow::Context;
use everflame_forward::{Forwarder, Jitter, RemoteWrite, RemoteWriter, Select, Spool, Target};
use everflame_ingest::Ingest;
use everflame_profile::Clock;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The spool and where it goes; nothing when nothing is forwarded.
pub(crate) struct Forward(Option<(Arc<Spool>, Target)>);

/// Where the configuration says that everything goes; nothing when it goes nowhere.
fn target(config: &Config) -> Result<Option<Target>, ConfigError> {
    if config.forward_url.0.is_empty() {
        return Ok(None);
    }
    let target = Target::new(&config.forward_url.0, config.forward_protocol, &config.forward_headers.0);
    target
        .map(Some)
        .map_err(|error| ConfigError::Value { place: "forward-url".to_owned(), why: error.to_string() })
}

/// Other numbers in each process.
fn jitter() -> Jitter {
    let (random, mut drawn) = (RandomState::new(), 0u64);
    Jitter::new(move || {
        drawn += 1;
        random.hash_one(drawn)
    })
}

/// Writes what recording rules make, where the configuration says so.
pub(crate) fn remote_writer(config: &Config) -> anyhow::Result<Option<RemoteWriter>> {
    if config.remote_write_url.0.is_empty() {
        return Ok(None);
    }
    let target = RemoteWrite::new(&config.remote_write_url.0, &config.remote_write_headers.0);
    let target = target.map_err(|error| ConfigError::Value {
        place: "remote-write-url".to_owned(),
        why: error.to_string(),
    })?;
    tracing::info!(endpoint = target.endpoint(), "writing what recording rules make");
    RemoteWriter::new(target, jitter()).map(Some).context("the client that writes samples cannot be made")
}

impl Forward {
    /// Opens the spool beside the other files of the server.
    pub(crate) fn open(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let Some(target) = target(config)? else { return Ok(Self(None)) };
        let folder = config.data.join(".server").join(TENANT).join("forward");
        let selector = config.forward_selector.clone();
        let select = Select::new(move |series| selector.matches(series));
        let spool = Spool::open(folder, config.forward_spool.0, select, clock)?;
        Ok(Self(Some((Arc::new(spool), target))))
    }

    pub(crate) fn spool(&self) -> Option<Arc<Spool>> {
        self.0.as_ref().map(|(spool, _)| spool.clone())
    }

    /// Begins to send.
    pub(crate) fn start(
        &self,
        ingest: &Arc<Ingest>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Option<JoinHandle<()>>> {
        let Some((spool, target)) = &self.0 else { return Ok(None) };
        let jitter = jitter();
        let ingest = ingest.clone();
        let note = move |unsent| ingest.note_unsent(&unsent);
        let forwarder = Forwarder::new(spool.clone(), target.clone(), clock, jitter, note);
        let forwarder = forwarder.context("the client that forwards cannot be made")?;
        Ok(Some(tokio::spawn(forwarder.run())))
    }

    /// Makes what is spooled survive a loss of power.
    pub(crate) fn sync(&self) {
        if let Some(Err(error)) = self.0.as_ref().map(|(spool, _)| spool.sync()) {
            tracing::warn!(%error, "the spool of what is to be forwarded cannot be synced");
        }
    }
}
