//! Logs, on standard error.

use crate::config::ConfigError;
use crate::settings::LogFormat;
use tracing_subscriber::EnvFilter;

/// Starts to log what `filter` lets through: a level, or directives such as `info,everflame_lake=debug`.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), ConfigError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| ConfigError::Value {
        place: "log-level".to_owned(),
        why: format!("{filter:?}: {error}; write a level (error, warn, info, debug, trace) or directives"),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
