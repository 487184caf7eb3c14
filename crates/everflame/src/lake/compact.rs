//! `everflame lake compact`: sums, merges and deletes now, in a data folder or on a running server.

use super::table;
use crate::clock::SystemClock;
use crate::config::{Config, Overrides, process_environment};
use crate::{client, print, serve};
use anyhow::Context;
use everflame_formats::units;
use everflame_lake::{Lake, LakeStatus};
use serde_json::Value;
use std::sync::Arc;

/// Arguments of `everflame lake compact`. They are those of the server, because its retention says what is
/// too old.
#[derive(Debug, clap::Args)]
pub(crate) struct CompactArgs {
    /// Ask this server to do it, in the folder that it has open.
    #[arg(long, conflicts_with = "data")]
    url: Option<String>,
    #[command(flatten)]
    server: Overrides,
}

/// Compacts, and prints what changed.
pub(crate) fn run(args: CompactArgs) -> anyhow::Result<()> {
    if let Some(url) = args.url {
        return client::block_on(remote(url));
    }
    let config = Config::load(&args.server, &process_environment)?;
    super::block_on_threads(local(&config))
}

async fn local(config: &Config) -> anyhow::Result<()> {
    let path = config.data.join(serve::TENANT);
    anyhow::ensure!(
        !config.storage.0.is_empty() || path.is_dir(),
        "{}: there is no lake here; name a data folder with --data",
        path.display()
    );
    let lake = Lake::open(serve::lake_config(config), Arc::new(SystemClock)).await?;
    let before = lake.status();
    lake.flush().await?;
    lake.compact().await?;
    let after = lake.status();
    lake.close().await?;
    print(&changes(&sizes(&before), &sizes(&after)))
}

/// Files and bytes of a table.
type Size = (String, u64, u64);

fn sizes(status: &LakeStatus) -> Vec<Size> {
    status.tables.iter().map(|&(name, files, bytes)| (name.to_owned(), files, bytes)).collect()
}

/// Asks a server, which answers when it is done.
async fn remote(url: String) -> anyhow::Result<()> {
    let client = client::Client::patient(&url)?;
    let answer: Value = client.send(client.post("/api/v1/lake/compact")).await?.json().await?;
    let tables = answer.get("tables").and_then(Value::as_array).context("the answer names no tables")?;
    let side = |side: &str| -> Vec<Size> {
        let number = |table: &Value, what: &str| {
            table.get(side).and_then(|counts| counts.get(what)).and_then(Value::as_u64).unwrap_or_default()
        };
        let name = |table: &Value| table.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        tables.iter().map(|table| (name(table), number(table, "files"), number(table, "bytes"))).collect()
    };
    print(&changes(&side("before"), &side("after")))
}

fn changes(before: &[Size], after: &[Size]) -> String {
    let bytes = |bytes: u64| units::format(i64::try_from(bytes).unwrap_or(i64::MAX), "bytes");
    let row = |name: &str, before: (u64, u64), after: (u64, u64)| {
        vec![name.to_owned(), before.0.to_string(), after.0.to_string(), bytes(before.1), bytes(after.1)]
    };
    let head = ["table", "files before", "after", "bytes before", "after"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut total = [(0, 0); 2];
    for ((name, files, bytes), (_, files_after, bytes_after)) in before.iter().zip(after) {
        rows.push(row(name, (*files, *bytes), (*files_after, *bytes_after)));
        for (sum, side) in total.iter_mut().zip([(files, bytes), (files_after, bytes_after)]) {
            *sum = (sum.0 + side.0, sum.1 + side.1);
        }
    }
    rows.push(row("total", total[0], total[1]));
    table(1, &rows)
}
