//! The table of all keys of the configuration: how each is called, what it means, where its value goes.

use crate::config::{Config, ConfigError};
use crate::settings::Setting;

/// A key of the configuration.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) value_name: &'static str,
    pub(crate) help: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
    get: fn(&Config) -> String,
}

/// A row of [`KEYS`]: name, field, what its values are, help.
macro_rules! key {
    ($name:literal, $field:ident, $value_name:literal, $help:literal) => {
        Key {
            name: $name,
            value_name: $value_name,
            help: $help,
            set: |config, text| Setting::parse(text).map(|value| config.$field = value),
            get: |config| config.$field.show(),
        }
    };
}

/// All keys, in the order in which people read them.
pub(crate) const KEYS: &[Key] = &[
    key!("listen", listen, "ADDR", "Address and port on which the server listens; port 0 takes a free one"),
    key!(
        "extra-listen",
        extra_listen,
        "ADDRS",
        "More addresses on which the same is served, separated by commas; 127.0.0.1:4317,127.0.0.1:4318 is where OpenTelemetry's senders look; none for none"
    ),
    key!("data", data, "DIR", "Folder for everything that is stored; made when it is not there"),
    key!(
        "storage",
        storage,
        "URL",
        "Where the tables are: s3://bucket/prefix, gs://…, az://… or file:///folder; empty for the data folder. The log of new profiles stays in the data folder. Credentials come from the environment (AWS_…, GOOGLE_…, AZURE_…)"
    ),
    key!(
        "storage-cache",
        storage_cache,
        "SIZE",
        "Size of the copies of a bucket's data files that are kept in the data folder"
    ),
    key!(
        "storage-timeout",
        storage_timeout,
        "DURATION",
        "How long a request to a bucket may take before it is tried again; large bodies may take longer"
    ),
    key!(
        "allow-insecure-listen",
        allow_insecure_listen,
        "BOOL",
        "Listen beyond this machine although there is no authentication: whoever reaches the port can read and write"
    ),
    key!("self-profiling", self_profiling, "BOOL", "Profile the server itself, as service everflame"),
    key!(
        "log-level",
        log_level,
        "LEVEL",
        "What is logged: error, warn, info, debug, trace, or directives such as info,everflame_lake=debug"
    ),
    key!("log-format", log_format, "FORMAT", "How log lines look on standard error: text or json"),
    key!(
        "shutdown-grace",
        shutdown_grace,
        "DURATION",
        "How long running requests may go on when the server stops"
    ),
    key!(
        "flush-interval",
        flush_interval,
        "DURATION",
        "New profiles are moved from the log into the tables at least so often"
    ),
    key!(
        "flush-size",
        flush_size,
        "SIZE",
        "New profiles are moved into the tables when they take so much memory"
    ),
    key!(
        "retention-raw",
        retention_raw,
        "AGE",
        "How long single profiles and their samples are kept, in whole UTC days; a duration or forever"
    ),
    key!("retention-5m", retention_5m, "AGE", "How long sums of five minutes are kept"),
    key!("retention-1h", retention_1h, "AGE", "How long sums of an hour are kept, in whole months"),
    key!("retention-1d", retention_1d, "AGE", "How long sums of a day are kept, in whole months"),
    key!(
        "retention-size",
        retention_size,
        "SIZE",
        "What all files may take on disk; the oldest single profiles go first. A size or unlimited"
    ),
    key!(
        "retention-overrides",
        retention_overrides,
        "LIST",
        "Other ages for some series, the first that takes a series counts: {team=\"batch\"} raw=30d 5m=90d; {team=\"web\"} raw=1d"
    ),
    key!(
        "traces-size",
        traces_size,
        "SIZE",
        "What execution traces, which come through profefe's API, may take in the data folder; the oldest go first, and all go with single profiles"
    ),
    key!(
        "instance-labels",
        instance_labels,
        "NAMES",
        "Labels with a value for each instance of a service: sums for long ranges are also kept without them. Holds for ever once a store has such sums"
    ),
    key!(
        "max-connections",
        max_connections,
        "COUNT",
        "Connections open at once; more wait, and one that sends nothing is closed after 30 s"
    ),
    key!("max-requests", max_requests, "COUNT", "Requests worked on at once; more are answered with 503"),
    key!(
        "max-request-memory",
        max_request_memory,
        "SIZE",
        "Request bodies held at once; more are answered with 503"
    ),
    key!(
        "max-profile-size",
        max_profile_size,
        "SIZE",
        "Size of a profile after decompression; larger ones are refused"
    ),
    key!("max-samples", max_samples, "COUNT", "Samples of a profile; more are refused"),
    key!(
        "max-stack-depth",
        max_stack_depth,
        "COUNT",
        "Frames of a stack; deeper ones keep their root side, and are counted"
    ),
    key!(
        "max-labels",
        max_labels,
        "COUNT",
        "Labels of an upload, beside __name__; more are refused, and with OTLP and Arrow left out and counted"
    ),
    key!(
        "max-label-sets-per-upload",
        max_label_sets_per_upload,
        "COUNT",
        "Distinct label sets of an upload; past it the label with the most values is dropped, and counted"
    ),
    key!(
        "max-label-sets-per-service",
        max_label_sets_per_service,
        "COUNT",
        "Distinct label sets of a service on one day; past it the label with the most values is dropped, and counted"
    ),
    key!(
        "max-profiles-per-second",
        max_profiles_per_second,
        "COUNT",
        "Profiles that may come in within a second; more are answered with 429 and Retry-After. A number or unlimited"
    ),
    key!(
        "max-bytes-per-second",
        max_bytes_per_second,
        "SIZE",
        "Bytes of profiles, as they are sent, that may come in within a second. A size or unlimited"
    ),
    key!(
        "max-service-profiles-per-second",
        max_service_profiles_per_second,
        "COUNT",
        "Profiles that each service may send within a second"
    ),
    key!(
        "max-service-bytes-per-second",
        max_service_bytes_per_second,
        "SIZE",
        "Bytes of profiles that each service may send within a second"
    ),
    key!(
        "rate-burst",
        rate_burst,
        "DURATION",
        "After a pause, what a rate allows for so long may come at once"
    ),
    key!(
        "limit-overrides",
        limit_overrides,
        "LIST",
        "Other limits for some services, the first that takes an upload counts: {service_name=\"web\"} profiles=100 bytes=1MiB label-sets=500 profile-size=8MiB samples=10000 depth=500 upload-label-sets=10; {team=\"x\"} profiles=unlimited"
    ),
    key!(
        "relabel",
        relabel,
        "RULES",
        "How labels are rewritten, and which profiles are dropped, before they are stored: a list as in Prometheus' relabel_configs, also as YAML in a file. What is measured is in __name__, __type__ and __unit__: [{source_labels: [__name__], regex: block, action: drop}]"
    ),
    key!(
        "debug-files",
        debug_files,
        "BOOL",
        "Keep the debug files that agents send, and name functions with them in what was stored as addresses"
    ),
    key!(
        "debug-files-size",
        debug_files_size,
        "SIZE",
        "What all debug files may take on disk; more are refused"
    ),
    key!("max-debug-file-size", max_debug_file_size, "SIZE", "Size of a debug file; larger ones are refused"),
    key!(
        "debuginfod",
        debuginfod,
        "URLS",
        "debuginfod servers that are asked for the debug files that no agent has sent, or without names, separated by commas; none for none. They learn the build ids of what is profiled"
    ),
    key!(
        "forward-url",
        forward_url,
        "URL",
        "Where everything that is stored here is sent, too: another Everflame, Pyroscope, or an endpoint of OpenTelemetry, as in https://profiles.example.com; empty for nowhere"
    ),
    key!(
        "forward-protocol",
        forward_protocol,
        "PROTOCOL",
        "How it is sent: push (Pyroscope's Push, which keeps ids), otlp-http or otlp-grpc"
    ),
    key!(
        "forward-headers",
        forward_headers,
        "HEADERS",
        "Headers of what is sent, one a line or separated by semicolons: authorization=Bearer …; x-scope-orgid=team. Their values are never shown or logged; a file or the environment keeps them from other users of the machine, too. none for none"
    ),
    key!(
        "forward-selector",
        forward_selector,
        "SELECTOR",
        "Which series are sent, by the labels that they are stored with: {service_name!=\"everflame\"}; {} for all"
    ),
    key!(
        "forward-spool",
        forward_spool,
        "SIZE",
        "What is kept on disk, compressed, while the other end is away; when it is full the oldest is not sent, and counted"
    ),
    key!(
        "remote-write-url",
        remote_write_url,
        "URL",
        "Where what recording rules make is written each minute, by Prometheus' remote write: http://prometheus:9090/api/v1/write; empty for nowhere. It is part of /metrics either way"
    ),
    key!(
        "remote-write-headers",
        remote_write_headers,
        "HEADERS",
        "Headers of what is written, as in forward-headers"
    ),
    key!("query-max-rows", query_max_rows, "COUNT", "Rows that one query may scan"),
    key!("query-max-read", query_max_read, "SIZE", "Compressed bytes that one query may read"),
    key!("query-max-memory", query_max_memory, "SIZE", "Memory for the partial results of one query"),
    key!("query-timeout", query_timeout, "DURATION", "Time that one query may take"),
    key!(
        "query-concurrency",
        query_concurrency,
        "COUNT",
        "Queries that scan at once; more wait for their turn"
    ),
    key!(
        "query-threads",
        query_threads,
        "COUNT",
        "Threads that one query scans with; auto for one on each core"
    ),
    key!("sql-max-rows", sql_max_rows, "COUNT", "Rows that one SQL statement may be answered with"),
    key!(
        "sql-max-memory",
        sql_max_memory,
        "SIZE",
        "Memory for sorting, joining and grouping of one SQL statement"
    ),
    key!(
        "sql-concurrency",
        sql_concurrency,
        "COUNT",
        "SQL statements that are answered at once; more wait a moment, then are answered with 503"
    ),
    key!(
        "source-code",
        source_code,
        "LIST",
        "Where the source code of services is, to be shown beside profiles, the first that takes a service counts: {service_name=\"web\"} git=/srv/web.git, a repository on this machine, or url=https://git.example/web/raw/{ref}/{path}, a server of files (token-variable=NAME is the environment variable with a bearer token). What paths in profiles begin with and the repository has not: strip=/app; the folder of the repository: root=backend; what is shown when no commit is asked for: revision=main; by which address Pyroscope's pages ask for it: repository=https://github.com/example/web"
    ),
];

impl Key {
    /// `EVERFLAME_FLUSH_SIZE` for `flush-size`.
    pub(crate) fn variable(&self) -> String {
        format!("EVERFLAME_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// The value in `config`, as it is written.
    pub(crate) fn value(&self, config: &Config) -> String {
        (self.get)(config)
    }

    /// Reads `text`, which stands at `place`, into `config`.
    pub(crate) fn put(&self, config: &mut Config, text: &str, place: String) -> Result<(), ConfigError> {
        (self.set)(config, text.trim()).map_err(|why| ConfigError::Value { place, why })
    }

    /// Whether a configuration file may have a list here.
    pub(crate) fn is_list(&self) -> bool {
        self.value_name == "RULES"
    }

    /// Whether the flag may stand without a value.
    pub(crate) fn is_bool(&self) -> bool {
        self.value_name == "BOOL"
    }
}
