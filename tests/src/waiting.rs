//! Waiting for what a server does by itself.

use std::time::Duration;

use anyhow::{Context, Result};

/// How long something that must happen may take on a busy machine.
const LONGEST_WAIT: Duration = Duration::from_secs(90);

/// Waits until `holds`; an answer that is not to be had counts as no.
///
/// # Errors
/// When it does not hold in time; `what` says then what was waited for.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let wait = async {
        while !holds().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONGEST_WAIT, wait).await.with_context(|| format!("waiting until {what}"))
}
