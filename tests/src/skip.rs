//! Tests that cannot run on this machine say so by name; the test runner has no word for that.

use std::io::Write;

use anyhow::{Context, Result};

/// Reports that `name` was not tested, and why: on stderr, and as one line in the file that
/// `EVERFLAME_SKIPPED` names, from which `make test` counts.
///
/// # Errors
/// When that file cannot be written: a test that was skipped must not pass for one that passed.
pub fn skip(name: &str, reason: &str) -> Result<()> {
    let reason = reason.replace('\n', " ");
    eprintln!("skipped {name}: {reason}");
    let Some(path) = std::env::var_os("EVERFLAME_SKIPPED") else { return Ok(()) };
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    writeln!(file, "{name}: {reason}").with_context(|| format!("writing {}", path.display()))
}
