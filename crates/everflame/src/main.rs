//! The everflame binary: the server, and a command line that talks to one.

mod client;
mod clock;
mod config;
mod delete;
mod diff;
mod forward;
mod forward_settings;
mod ingest_settings;
mod keys;
mod lake;
mod logging;
mod push;
mod query;
mod reference;
mod self_profiling;
mod serve;
mod settings;
mod source_settings;
mod sql;
mod text;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// jemalloc keeps memory in bounds under many threads; around it, allocations are sampled for the server's
/// own heap profile.
#[global_allocator]
static ALLOCATOR: everflame_sdk::heap::Sampled<tikv_jemallocator::Jemalloc> =
    everflame_sdk::heap::Sampled(tikv_jemallocator::Jemalloc);

/// Everflame: a continuous profiler.
#[derive(Debug, Parser)]
#[command(name = "everflame", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(config::Overrides),
    /// Send profiles: pprof or folded stacks, gzip or plain.
    Push(push::PushArgs),
    /// Show what was measured: as a tree, a table, folded stacks, or a pprof file.
    Query(query::QueryArgs),
    /// Show the functions that weigh most.
    Top(query::TopArgs),
    /// Compare two ranges, or two selections.
    Diff(diff::DiffArgs),
    /// Look into a data folder, check it, tidy it up, copy out of it and into it.
    #[command(subcommand)]
    Lake(lake::LakeCommand),
    /// Delete profiles, for whole days.
    Delete(delete::DeleteArgs),
    /// Ask with SQL: a table of what a statement selects.
    Sql(sql::SqlArgs),
    /// Read debug files, as the server asks on standard input.
    #[command(hide = true)]
    ReadDebugFiles,
    /// Print the version.
    Version,
    /// Print the effective configuration of the server.
    Config(config::ConfigArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "everflame: {error:#}");
            ExitCode::from(if error.is::<config::ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(overrides) => {
            serve::run(&config::Config::load(&overrides, &config::process_environment)?)
        }
        Command::Push(args) => client::block_on(push::run(args)),
        Command::Query(args) => client::block_on(query::run(args)),
        Command::Top(args) => client::block_on(query::top(args)),
        Command::Diff(args) => client::block_on(diff::run(args)),
        Command::Lake(command) => lake::run(command),
        Command::Delete(args) => client::block_on(delete::run(args)),
        Command::Sql(args) => client::block_on(sql::run(args)),
        Command::ReadDebugFiles => Ok(everflame_symbols::serve()?),
        Command::Version => print(&format!("everflame {}\n", env!("CARGO_PKG_VERSION"))),
        Command::Config(args) => print(&args.text()?),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "everflame", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no fault.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("standard output"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
