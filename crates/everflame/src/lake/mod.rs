//! `everflame lake …`: what can be done with a data folder beside or without a server.

mod compact;
mod export;
mod import;
mod inspect;
mod names;
mod times;
mod verify;

use crate::client::block_on;
use crate::clock::SystemClock;
use crate::config::{Config, Overrides, process_environment};
use crate::serve;
use anyhow::{Context, bail};
use everflame_lake::{Lake, LakeConfig, LakePath, Retention, StorageConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum LakeCommand {
    /// Show what is stored: tables, tiers, services, and how columns are compressed. A server may run.
    Inspect(inspect::InspectArgs),
    /// Check all files: checksums, order, counts, references, and that tiers add up. A server may run.
    Verify(verify::VerifyArgs),
    /// Sum, merge and delete now what otherwise waits for its time.
    Compact(compact::CompactArgs),
    /// Copy some days into a folder, as a lake of their own or as pprof files.
    Export(export::ExportArgs),
    /// Copy profiles in: from another lake, from pprof files, from a running Pyroscope or profefe.
    Import(import::ImportArgs),
}

/// Runs a command.
pub(crate) fn run(command: LakeCommand) -> anyhow::Result<()> {
    match command {
        LakeCommand::Inspect(args) => block_on(inspect::run(args)),
        LakeCommand::Verify(args) => block_on(verify::run(args)),
        LakeCommand::Compact(args) => compact::run(args),
        LakeCommand::Export(args) => block_on_threads(export::run(args)),
        LakeCommand::Import(args) => block_on_threads(import::run(args)),
    }
}

/// Runs a command that opens a lake, whose tasks need threads of their own.
fn block_on_threads(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the threads cannot be started")?.block_on(command)
}

/// Opens a lake in which nothing is deleted because of its age: that is for the server to decide. A new one
/// drops `instance_labels` in its sums of services, or what the server's configuration says.
async fn open(lake: &LakePath, instance_labels: Option<Vec<String>>) -> anyhow::Result<Arc<Lake>> {
    let config = Config::load(&Overrides::default(), &process_environment)?;
    let config = LakeConfig {
        path: lake.path.clone(),
        tenant: lake.tenant.clone(),
        storage: lake.storage.clone(),
        retention: Retention { raw: None, five_minutes: None, hour: None, day: None, bytes: None },
        retention_overrides: Vec::new(),
        instance_labels: instance_labels.unwrap_or_else(|| config.instance_labels.0.clone()),
        ..serve::lake_config(&config)
    };
    Ok(Lake::open(config, Arc::new(SystemClock)).await?)
}

/// Which lake.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LakeArgs {
    /// The data folder of a server.
    #[arg(long, value_name = "DIR", env = "EVERFLAME_DATA", default_value = "everflame-data")]
    data: PathBuf,
    /// Whose profiles: the name of a folder in the data folder.
    #[arg(long, value_name = "NAME", default_value = serve::TENANT, value_parser = tenant)]
    tenant: String,
    /// Where the tables are when not in the data folder: s3://bucket/prefix, gs://…, az:// or file:///folder; as
    /// the configuration says when absent.
    #[arg(long, value_name = "URL", value_parser = storage_url)]
    storage: Option<String>,
}

fn storage_url(text: &str) -> Result<String, String> {
    StorageConfig::check(text).map(|()| text.to_owned())
}

/// The lake that `place` names, a data folder or the URL of a storage. Without a data folder of its own it gets
/// one in `scratch`.
fn lake_at(place: &str, tenant: &str, scratch: &Path) -> anyhow::Result<LakePath> {
    let config = Config::load(&Overrides::default(), &process_environment)?;
    let (path, url) = match place.contains("://") {
        true => (scratch.to_owned(), storage_url(place).map_err(anyhow::Error::msg)?),
        false => (PathBuf::from(place), String::new()),
    };
    let storage = StorageConfig { url, ..serve::storage(&config) };
    Ok(LakePath { path, tenant: tenant.to_owned(), storage })
}

fn tenant(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\\', '\0']);
    is_name.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is not a tenant's name"))
}

impl LakeArgs {
    /// The lake, when there is one.
    fn path(&self) -> anyhow::Result<LakePath> {
        let lake = self.path_to_make()?;
        if lake.storage.url.is_empty() && !self.data.join(&self.tenant).is_dir() {
            bail!(
                "{}: there is no lake here, for it has no folder {}; name the data folder of a server with --data",
                self.data.display(),
                self.tenant
            );
        }
        Ok(lake)
    }

    /// The lake, which is made when it is opened.
    fn path_to_make(&self) -> anyhow::Result<LakePath> {
        let config = Config::load(&Overrides::default(), &process_environment)?;
        let mut storage = serve::storage(&config);
        if let Some(url) = &self.storage {
            storage.url.clone_from(url);
        }
        Ok(LakePath { path: self.data.clone(), tenant: self.tenant.clone(), storage })
    }
}

/// Columns of text, the first ones to the left and the rest to the right.
fn table(left: usize, rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            line += gap;
            let cell = printable(cell);
            line += &match at < left {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// A name that cannot steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn tables_are_aligned() {
        let rows = [["table", "rows"], ["a", "12345"], ["µ\u{1b}longer", "1"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let expect = "table      rows\na         12345\nµ\u{fffd}longer      1\n";
        assert_eq!(super::table(1, &rows), expect);
    }

    #[test]
    fn tenants_are_no_paths() {
        assert!(super::tenant("anonymous").is_ok());
        for text in ["", ".", "..", "a/b", "/"] {
            assert!(super::tenant(text).is_err(), "{text}");
        }
    }
}
