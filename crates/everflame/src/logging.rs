//! Logs, on standard error.

use crate::config::ConfigError;
use crate::settings::LogFormat;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Starts to log what `filter` lets through: a level, or directives such as `info,everflame_lake=debug`. A
/// level alone is meant for Everflame's own code: its libraries are quiet below warnings.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), ConfigError> {
    let directives = match filter.parse::<Level>() {
        Ok(level) if level > Level::WARN => format!("warn,everflame={level}"),
        _ => filter.to_owned(),
    };
    let filter = EnvFilter::try_new(directives).map_err(|error| ConfigError::Value {
        place: "log-level".to_owned(),
        why: format!("{filter:?}: {error}; write a level (error, warn, info, debug, trace) or directives"),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
