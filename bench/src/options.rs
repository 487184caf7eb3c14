//! The command line.

use crate::datasets::Dataset;
use crate::decode::DecodeArgs;
use crate::target::Target;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Loads a profiling server with real profiles, asks it the usual questions, and prints what it cost.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The kind of server.
    #[arg(long, value_enum, default_value = "everflame")]
    pub(crate) target: Target,
    /// A running server, `http://host:port`. Without it, Everflame is started on a fresh store.
    #[arg(long, required_if_eq_any([("target", "pyroscope"), ("target", "parca"), ("target", "profefe")]))]
    pub(crate) url: Option<String>,
    /// Process of the server behind --url, for its CPU time and memory.
    #[arg(long, requires = "url")]
    pub(crate) server_pid: Option<u32>,
    /// Data folder of the server behind --url, for its size on disk.
    #[arg(long, requires = "url")]
    pub(crate) server_data: Option<PathBuf>,
    /// Everflame's binary [default: `everflame` beside this program].
    #[arg(long)]
    pub(crate) server_binary: Option<PathBuf>,
    /// Where fresh stores are made [default: the system's temporary folder].
    #[arg(long)]
    pub(crate) work_dir: Option<PathBuf>,
    /// What our own server is loaded with, one after the other.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "dense,backfill", conflicts_with = "url")]
    pub(crate) datasets: Vec<Dataset>,
    /// Services that send, of the dense data set.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) services: u32,
    /// Pods of each service.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) pods: u32,
    /// Seconds between two profiles of a pod.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) interval: u32,
    /// Hours that the load spans, ending now.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) hours: u32,
    /// Number of profiles instead of --hours.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) profiles: Option<u32>,
    /// Connections of the closed loop.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Profiles of the run over 4 connections that measures acknowledgement; 0 leaves it out.
    #[arg(long, default_value_t = 4000)]
    pub(crate) few_profiles: u32,
    /// Seconds to wait, at most, until the files in --server-data are at rest after the load.
    #[arg(long, default_value_t = 90)]
    pub(crate) settle: u32,
    /// Where the JSON file goes.
    #[arg(long, default_value = "bench/results")]
    pub(crate) results: PathBuf,
}

/// What needs no server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Decode(DecodeArgs),
}

impl Options {
    /// Profiles of the whole load.
    pub(crate) fn total_profiles(&self) -> usize {
        let series = self.services as usize * self.pods as usize;
        let steps = self.hours as usize * 3600 / self.interval as usize;
        self.profiles.map_or(series * steps.max(1), |profiles| profiles as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_load_of_the_design() {
        let options = Options::parse_from(["everflame-bench"]);
        assert_eq!(options.total_profiles(), 57_600);
        assert!(Options::try_parse_from(["x", "--target", "parca"]).is_err());
        assert_eq!(options.datasets, [Dataset::Dense, Dataset::Backfill]);
        let options = Options::parse_from(["x", "--datasets", "year"]);
        assert_eq!(options.datasets, [Dataset::Year]);
        let options = Options::parse_from(["x", "--target", "parca", "--url", "http://a", "--profiles", "9"]);
        assert_eq!(options.total_profiles(), 9);
    }
}
