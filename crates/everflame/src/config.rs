//! The server's configuration: one table of keys, each also a flag and an environment variable.
//!
//! A flag wins over the environment, the environment over the file, the file over the default. Help texts,
//! `everflame config` and `docs/configuration.md` are made from the same table.

use crate::forward_settings::{ForwardHeaders, ForwardUrl, RemoteWriteUrl};
use crate::ingest_settings::{LimitOverrides, Most, RelabelRules};
use crate::keys::{KEYS, Key};
use crate::reference;
use crate::settings::{self, Addresses, Age, LogFormat, Names, Room, Servers, Size, StorageUrl, Threads};
use crate::source_settings::SourceCode;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use everflame_forward::Protocol;
use everflame_ingest::RelabelRule;
use everflame_query::Selector;
use std::path::PathBuf;
use std::time::Duration;

/// What the server runs with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) extra_listen: Addresses,
    pub(crate) data: PathBuf,
    pub(crate) storage: StorageUrl,
    pub(crate) storage_cache: Size,
    pub(crate) storage_timeout: Duration,
    pub(crate) allow_insecure_listen: bool,
    pub(crate) self_profiling: bool,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) shutdown_grace: Duration,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_size: Size,
    pub(crate) retention_raw: Age,
    pub(crate) retention_5m: Age,
    pub(crate) retention_1h: Age,
    pub(crate) retention_1d: Age,
    pub(crate) retention_size: Room,
    pub(crate) retention_overrides: settings::Overrides,
    pub(crate) traces_size: Size,
    pub(crate) instance_labels: Names,
    pub(crate) max_connections: u64,
    pub(crate) max_requests: u64,
    pub(crate) max_request_memory: Size,
    pub(crate) max_profile_size: Size,
    pub(crate) max_samples: u64,
    pub(crate) max_stack_depth: u64,
    pub(crate) max_labels: u64,
    pub(crate) max_label_sets_per_upload: u64,
    pub(crate) max_label_sets_per_service: u64,
    pub(crate) max_profiles_per_second: Most,
    pub(crate) max_bytes_per_second: Room,
    pub(crate) max_service_profiles_per_second: Most,
    pub(crate) max_service_bytes_per_second: Room,
    pub(crate) rate_burst: Duration,
    pub(crate) limit_overrides: LimitOverrides,
    pub(crate) relabel: RelabelRules,
    pub(crate) debug_files: bool,
    pub(crate) debug_files_size: Size,
    pub(crate) max_debug_file_size: Size,
    pub(crate) debuginfod: Servers,
    pub(crate) forward_url: ForwardUrl,
    pub(crate) forward_protocol: Protocol,
    pub(crate) forward_headers: ForwardHeaders,
    pub(crate) forward_selector: Selector,
    pub(crate) forward_spool: Size,
    pub(crate) remote_write_url: RemoteWriteUrl,
    pub(crate) remote_write_headers: ForwardHeaders,
    pub(crate) query_max_rows: u64,
    pub(crate) query_max_read: Size,
    pub(crate) query_max_memory: Size,
    pub(crate) query_timeout: Duration,
    pub(crate) query_concurrency: u64,
    pub(crate) query_threads: Threads,
    pub(crate) sql_max_rows: u64,
    pub(crate) sql_max_memory: Size,
    pub(crate) sql_concurrency: u64,
    pub(crate) source_code: SourceCode,
}

impl Default for Config {
    fn default() -> Self {
        let retention = everflame_lake::Retention::default();
        Self {
            listen: "127.0.0.1:4040".to_owned(),
            extra_listen: Addresses::default(),
            data: PathBuf::from("everflame-data"),
            storage: StorageUrl(String::new()),
            storage_cache: Size(10 << 30),
            storage_timeout: Duration::from_secs(10),
            allow_insecure_listen: false,
            self_profiling: true,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            shutdown_grace: Duration::from_secs(10),
            flush_interval: Duration::from_secs(60),
            flush_size: Size(64 << 20),
            retention_raw: Age(retention.raw),
            retention_5m: Age(retention.five_minutes),
            retention_1h: Age(retention.hour),
            retention_1d: Age(retention.day),
            retention_size: Room(retention.bytes),
            retention_overrides: settings::Overrides(Vec::new()),
            traces_size: Size(1 << 30),
            instance_labels: Names(INSTANCE_LABELS.map(str::to_owned).to_vec()),
            max_connections: 8_192,
            max_requests: 1_024,
            max_request_memory: Size(512 << 20),
            max_profile_size: Size(64 << 20),
            max_samples: 1_000_000,
            max_stack_depth: 2_048,
            max_labels: 30,
            max_label_sets_per_upload: 64,
            max_label_sets_per_service: 2_000,
            max_profiles_per_second: Most(None),
            max_bytes_per_second: Room(None),
            max_service_profiles_per_second: Most(None),
            max_service_bytes_per_second: Room(None),
            rate_burst: Duration::from_secs(10),
            limit_overrides: LimitOverrides(Vec::new()),
            relabel: RelabelRules::default(),
            debug_files: true,
            debug_files_size: Size(10 << 30),
            max_debug_file_size: Size(1 << 30),
            debuginfod: Servers::default(),
            forward_url: ForwardUrl::default(),
            forward_protocol: Protocol::default(),
            forward_headers: ForwardHeaders::default(),
            forward_selector: Selector::all(),
            forward_spool: Size(1 << 30),
            remote_write_url: RemoteWriteUrl::default(),
            remote_write_headers: ForwardHeaders::default(),
            query_max_rows: 4_000_000_000,
            query_max_read: Size(16 << 30),
            query_max_memory: Size(512 << 20),
            query_timeout: Duration::from_secs(60),
            query_concurrency: 8,
            query_threads: Threads(0),
            sql_max_rows: 100_000,
            sql_max_memory: Size(256 << 20),
            sql_concurrency: 2,
            source_code: SourceCode::default(),
        }
    }
}

/// Labels that name one instance in the conventions of Prometheus, Kubernetes, Pyroscope and OpenTelemetry.
const INSTANCE_LABELS: [&str; 10] = [
    "pod",
    "instance",
    "hostname",
    "host",
    "container_id",
    "pid",
    "ip",
    "k8s_pod_name",
    "service_instance_id",
    "host_name",
];

/// What is wrong with the configuration, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: {source}; check the path (--config)")]
    Read { path: PathBuf, source: std::io::Error },
    /// The file is not YAML, or not a list of keys.
    #[error("configuration file {path}: {why}")]
    File { path: PathBuf, why: String },
    /// A value is wrong.
    #[error("{place}: {why}")]
    Value { place: String, why: String },
    /// The address is open to others.
    #[error(
        "listen: {0} can be reached from other machines, and there is no authentication; listen on 127.0.0.1, \
         or say --allow-insecure-listen=true"
    )]
    InsecureListen(String),
}

/// What a configuration file may have lists in.
#[derive(serde::Deserialize)]
struct Lists {
    #[serde(default)]
    relabel: Vec<RelabelRule>,
}

/// What flags say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    file: Option<PathBuf>,
    values: Vec<(&'static str, String)>,
}

/// Variable that names the configuration file.
const FILE_VARIABLE: &str = "EVERFLAME_CONFIG";

/// Reads a variable of this process.
pub(crate) fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

impl Config {
    /// The effective configuration: flags over environment over file over defaults.
    pub(crate) fn load(
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let file = overrides
            .file
            .clone()
            .or_else(|| environment(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        if let Some(path) = file {
            config.read_file(path)?;
        }
        for key in KEYS {
            if let Some(text) = environment(&key.variable()) {
                key.put(&mut config, &text, format!("environment variable {}", key.variable()))?;
            }
        }
        for (name, text) in &overrides.values {
            if let Some(key) = KEYS.iter().find(|key| key.name == *name) {
                key.put(&mut config, text, format!("flag --{name}"))?;
            }
        }
        Ok(config)
    }

    fn read_file(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let fault = |why: String| ConfigError::File { path: path.clone(), why };
        let yaml: serde_yaml_ng::Value =
            serde_yaml_ng::from_str(&text).map_err(|error| fault(format!("not YAML: {error}")))?;
        let pairs = match yaml {
            serde_yaml_ng::Value::Null => return Ok(()),
            serde_yaml_ng::Value::Mapping(pairs) => pairs,
            _ => {
                return Err(fault(
                    "not a list of keys; write lines such as `listen: 127.0.0.1:4040`".to_owned(),
                ));
            }
        };
        for (name, value) in &pairs {
            let name = name.as_str().unwrap_or_default();
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
                return Err(fault(format!("there is no key {name:?}; there are {}", names.join(", "))));
            };
            let text = match value {
                serde_yaml_ng::Value::Bool(value) => value.to_string(),
                serde_yaml_ng::Value::Number(value) => value.to_string(),
                serde_yaml_ng::Value::String(value) => value.clone(),
                serde_yaml_ng::Value::Sequence(_) if key.is_list() => {
                    // As it is written: what YAML takes for a number has lost its zeros in `value`.
                    let rules = serde_yaml_ng::from_str(&text)
                        .map(|Lists { relabel }| serde_json::to_string(&relabel).unwrap_or_default());
                    rules.map_err(|error| fault(format!("key {name}: {error}")))?
                }
                _ => return Err(fault(format!("key {name}: write one value"))),
            };
            key.put(self, &text, format!("configuration file {}, key {name}", path.display()))?;
        }
        Ok(())
    }

    /// The configuration as a file that gives the same one again.
    pub(crate) fn to_yaml(&self) -> String {
        KEYS.iter().map(|key| format!("{}: {}\n", key.name, yaml_scalar(&key.value(self)))).collect()
    }
}

/// Quotes what YAML would read as something else than the text.
fn yaml_scalar(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./_-,=".contains(&byte));
    if plain && !text.is_empty() && !text.starts_with('-') { text.to_owned() } else { format!("{text:?}") }
}

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(format!("Configuration file, YAML [env: {FILE_VARIABLE}]"));
        KEYS.iter().fold(command.arg(config), |command, key| {
            let default = key.value(&Config::default());
            let help = format!("{} [env: {}] [default: {default}]", key.help, key.variable());
            let arg = Arg::new(key.name).long(key.name).value_name(key.value_name).help(help);
            command.arg(match key.is_bool() {
                true => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
                false => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut overrides = Self::default();
        overrides.update_from_arg_matches(matches)?;
        Ok(overrides)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        let value = |key: &Key| Some((key.name, matches.get_one::<String>(key.name)?.clone()));
        self.values = KEYS.iter().filter_map(value).collect();
        Ok(())
    }
}

/// Arguments of `everflame config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    overrides: Overrides,
    /// Print the reference of all keys, as in docs/configuration.md, instead.
    #[arg(long)]
    reference: bool,
}

impl ConfigArgs {
    /// What the command prints.
    pub(crate) fn text(&self) -> Result<String, ConfigError> {
        match self.reference {
            true => Ok(reference::markdown()),
            false => Ok(Config::load(&self.overrides, &process_environment)?.to_yaml()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Setting;

    fn load(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("everflame.yaml");
        std::fs::write(&path, file).unwrap();
        let values = flags.iter().map(|(name, text)| (*name, text.to_string())).collect();
        let environment = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.to_string())
        };
        Config::load(&Overrides { file: Some(path), values }, &environment)
    }

    #[test]
    fn flag_over_environment_over_file_over_default() {
        let file = "listen: 127.0.0.1:1\ndata: /file\nflush-size: 1MiB\nmax-samples: 7\n";
        let variables = [("EVERFLAME_LISTEN", "127.0.0.1:2"), ("EVERFLAME_DATA", "/env")];
        let config = load(&[("listen", "127.0.0.1:3")], &variables, file).unwrap();
        assert_eq!(config.listen, "127.0.0.1:3");
        assert_eq!(config.data, PathBuf::from("/env"));
        assert_eq!((config.flush_size, config.max_samples), (Size(1 << 20), 7));
        assert_eq!(config.query_threads, Config::default().query_threads);
    }

    #[test]
    fn rules_may_be_written_as_yaml() {
        let file = "relabel:\n  - source_labels: [env]\n    regex: d.v\\d\n    action: drop\n  - target_label: a\n    replacement: 1.10\n    regex: 007\n    separator: ~\n";
        let config = load(&[], &[], file).unwrap();
        assert_eq!(
            config.relabel.show(),
            r#"[{"source_labels":["env"],"regex":"d.v\\d","action":"drop"},{"target_label":"a","regex":"007","replacement":"1.10"}]"#
        );
        assert_eq!(load(&[], &[], &config.to_yaml()).unwrap(), config);
        let fault = load(&[], &[], "relabel: [{action: hashmod, target_label: a}]").unwrap_err().to_string();
        assert!(fault.contains("key relabel: rule 1: hashmod needs a modulus"), "{fault}");
    }

    #[test]
    fn what_is_printed_can_be_read() {
        let config = Config { listen: "[::1]:80".to_owned(), ..Config::default() };
        assert_eq!(load(&[], &[], &config.to_yaml()).unwrap(), config);
        assert_eq!(load(&[], &[], "").unwrap(), Config::default());
    }

    #[test]
    fn faults_name_their_place() {
        let fault = |flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: &str| {
            load(flags, variables, file).unwrap_err().to_string()
        };
        assert!(
            fault(&[("flush-size", "big")], &[], "").starts_with("flag --flush-size: \"big\" is not a size")
        );
        assert!(
            fault(&[], &[("EVERFLAME_FLUSH_SIZE", "")], "")
                .starts_with("environment variable EVERFLAME_FLUSH_SIZE:")
        );
        assert!(fault(&[], &[], "flush-size: x").contains("everflame.yaml, key flush-size: "));
        assert!(
            fault(&[], &[], "flush-sizes: 1").contains("there is no key \"flush-sizes\"; there are listen, ")
        );
        assert!(fault(&[], &[], "listen: [1]").contains("key listen: write one value"));
        assert!(fault(&[], &[], "- listen").contains("not a list of keys"));
        assert!(fault(&[], &[], "a: b: c").contains("not YAML"));
    }
}
