//! `everflame lake inspect`: what is stored, and how small it is.

use super::{LakeArgs, table};
use crate::clock::SystemClock;
use crate::print;
use everflame_formats::units;
use everflame_lake::{ColumnInfo, Inspection, ServiceInfo, TableInfo};
use serde_json::{Value, json};
use std::sync::Arc;

/// Arguments of `everflame lake inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what the lake holds.
pub(crate) async fn run(args: InspectArgs) -> anyhow::Result<()> {
    let found = everflame_lake::inspect(&args.lake.path()?, Arc::new(SystemClock)).await?;
    match args.json {
        true => print(&format!("{:#}\n", json(&found))),
        false => print(&text(&found)),
    }
}

fn text(found: &Inspection) -> String {
    let [tables, services, columns] = [tables(found), services(found), columns(found)];
    let log = format!("{} of write-ahead log in {} files", bytes(found.wal_bytes), found.wal_files);
    format!("{tables}\n{log}\n\n{services}\n{columns}")
}

fn tables(found: &Inspection) -> String {
    let mut rows = vec![texts([
        "table",
        "windows",
        "kept from",
        "first",
        "last",
        "sequence",
        "files",
        "rows",
        "bytes",
        "bytes/row",
    ])];
    let mut total = (0, 0, 0);
    for info in &found.tables {
        let (first, last) = info.partitions.clone().unwrap_or_default();
        rows.push(vec![
            info.name.to_owned(),
            info.window_seconds.map_or_else(String::new, |seconds| units::format(seconds, "seconds")),
            info.horizon.clone().unwrap_or_default(),
            first,
            last,
            info.sequence.to_string(),
            info.files.to_string(),
            info.rows.to_string(),
            bytes(info.bytes),
            ratio(info.bytes, info.rows),
        ]);
        total = (total.0 + info.files, total.1 + info.rows, total.2 + info.bytes);
    }
    let mut last = texts(["total", "", "", "", "", ""]);
    last.extend([total.0.to_string(), total.1.to_string(), bytes(total.2), String::new()]);
    rows.push(last);
    table(5, &rows)
}

fn services(found: &Inspection) -> String {
    let mut rows = vec![texts(["service", "rows", "bytes", "profiles", "samples", "tiers", "stacks"])];
    for service in &found.services {
        let of = |is: &dyn Fn(&str) -> bool| -> u64 {
            service.tables.iter().filter(|(name, _)| is(name)).map(|(_, (_, bytes))| bytes).sum()
        };
        let is_raw = |name: &str| ["stacks", "series", "profiles", "samples"].contains(&name);
        rows.push(vec![
            service.name.clone(),
            service.tables.values().map(|(rows, _)| rows).sum::<u64>().to_string(),
            bytes(service.bytes()),
            bytes(of(&|name| name == "profiles")),
            bytes(of(&|name| name == "samples")),
            bytes(of(&|name| !is_raw(name))),
            bytes(of(&|name| name == "stacks")),
        ]);
    }
    table(1, &rows)
}

fn columns(found: &Inspection) -> String {
    let mut rows = vec![texts(["column", "encodings", "on disk", "encoded", "ratio"])];
    for info in &found.tables {
        for column in &info.columns {
            rows.push(vec![
                format!("{}.{}", info.name, column.name),
                column.encodings.join(" "),
                bytes(column.compressed),
                bytes(column.uncompressed),
                ratio(column.uncompressed, column.compressed),
            ]);
        }
    }
    table(2, &rows)
}

fn texts<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn bytes(bytes: u64) -> String {
    units::format(i64::try_from(bytes).unwrap_or(i64::MAX), "bytes")
}

fn ratio(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.2}", part as f64 / whole as f64) }
}

fn json(found: &Inspection) -> Value {
    json!({
        "tables": found.tables.iter().map(table_json).collect::<Vec<_>>(),
        "services": found.services.iter().map(service_json).collect::<Vec<_>>(),
        "wal": { "files": found.wal_files, "bytes": found.wal_bytes },
    })
}

fn table_json(info: &TableInfo) -> Value {
    let (first, last) = info.partitions.clone().unzip();
    json!({
        "name": info.name,
        "windowSeconds": info.window_seconds,
        "files": info.files,
        "rows": info.rows,
        "bytes": info.bytes,
        "sequence": info.sequence,
        "horizon": info.horizon,
        "firstPartition": first,
        "lastPartition": last,
        "columns": info.columns.iter().map(column_json).collect::<Vec<_>>(),
    })
}

fn column_json(column: &ColumnInfo) -> Value {
    json!({
        "name": column.name,
        "compressed": column.compressed,
        "uncompressed": column.uncompressed,
        "encodings": column.encodings,
    })
}

fn service_json(service: &ServiceInfo) -> Value {
    let of_table = |(name, (rows, bytes)): (&&str, &(u64, u64))| {
        ((*name).to_owned(), json!({ "rows": rows, "bytes": bytes }))
    };
    json!({
        "name": service.name,
        "rows": service.tables.values().map(|(rows, _)| rows).sum::<u64>(),
        "bytes": service.bytes(),
        "tables": service.tables.iter().map(of_table).collect::<serde_json::Map<_, _>>(),
    })
}
