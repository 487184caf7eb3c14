//! The benchmark of our own server: starts it on fresh stores, kills it, loads it, and restarts it before
//! each query that touches files for the first time.

use crate::datasets::{self, Dataset};
use crate::http::Connection;
use crate::load::{load, send_first};
use crate::options::Options;
use crate::plan::{Plan, SECOND};
use crate::process::{Server, disk_bytes, drop_from_page_cache, usage};
use crate::queries::{self, Query};
use crate::report::{Mark, Report, figure};
use crate::settle::settle;
use crate::target::Target;
use crate::{describe, load_rows, query_row};
use anyhow::{Context, Result};
use everflame_profile::Nanos;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// Starts on an empty store, of which the median counts.
const STARTS: usize = 5;

/// Connections of the run that measures acknowledgement, and of the load of a year.
const FEW: usize = 4;

/// First touches of a query, of which the median counts.
const COLD: usize = 9;

/// How long compaction may take to settle after a load.
const SETTLE_LIMIT: Duration = Duration::from_secs(1800);

/// How a server is started that has nothing to do but to settle: what waits until no profiles have come for
/// a while need not wait for long.
const SETTLING: &[&str] = &["--flush-interval", "2s"];

const MEGABYTE: f64 = 1e6;

/// Runs everything and fills `report`.
pub(crate) async fn run(options: &Options, now: Nanos, report: &mut Report) -> Result<()> {
    let binary = match &options.server_binary {
        Some(binary) => binary.clone(),
        None => beside_this_program()?,
    };
    let work = match &options.work_dir {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let has = |dataset| options.datasets.contains(&dataset);
    let data = work.path().join("load");
    if has(Dataset::Dense) {
        let plan = datasets::dense(options, options.total_profiles(), now)?;
        describe(report, "dense", &plan);
        let few = datasets::dense(options, options.few_profiles as usize, now)?;
        starts(&binary, work.path(), &few, report).await?;
        if few.profiles > 0 {
            acknowledgement(options, &binary, work.path(), &few, report).await?;
        }
        ingest(options, &binary, &data, &plan, report).await?;
        compacted(&binary, &data, &plan, report).await?;
        let marked = queries::dense(&plan).into_iter().map(|query| (Mark::of(query.key), query)).collect();
        let peak = ask(&binary, &data, marked, report).await?;
        report.row("query_peak_mb", "peak memory, queries", peak / MEGABYTE, "MB", "");
    }
    if has(Dataset::Backfill) {
        let plan = datasets::backfill(now)?;
        describe(report, "backfill", &plan);
        let connections = options.connections as usize;
        let seconds = send(options, &binary, &data, &plan, connections).await?;
        report.row(
            "backfill_seconds",
            "30 days sent late, accepted and settled",
            seconds,
            "s",
            "random order",
        );
        // Months cost at most twice what an hour costs.
        let hour = report.value("flame_graph_service_1h");
        let mark = |query: &Query| match (query.key, hour) {
            ("backfill_flame_graph_30d", Some(hour)) => Mark::AtMost(2.0 * hour),
            _ => Mark::of(query.key),
        };
        let marked = queries::backfill(&plan).into_iter().map(|query| (mark(&query), query)).collect();
        ask(&binary, &data, marked, report).await?;
    }
    if has(Dataset::Year) {
        let plan = datasets::year(now)?;
        describe(report, "year", &plan);
        let data = work.path().join("year");
        let seconds = send(options, &binary, &data, &plan, FEW).await?;
        report.row("year_seconds", "a year, accepted and settled", seconds, "s", "");
        let disk: u64 = disk_bytes(&data)?.values().sum();
        report.row("year_disk_mb", "a year on disk", disk as f64 / MEGABYTE, "MB", "");
        let marked = queries::year(&plan).into_iter().map(|query| (Mark::of(query.key), query)).collect();
        let peak = ask(&binary, &data, marked, report).await?;
        report.row("year_query_peak_mb", "peak memory, queries over a year", peak / MEGABYTE, "MB", "");
    }
    Ok(())
}

fn beside_this_program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("the folder of this program")?.join("everflame"))
}

async fn starts(binary: &Path, work: &Path, plan: &Plan, report: &mut Report) -> Result<()> {
    let mut seconds = Vec::new();
    for round in 0..STARTS {
        let server = Server::start(binary, &work.join(format!("start-{round}")))?;
        seconds.push(first_accepted(&server, plan).await?);
        server.kill()?;
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(STARTS / 2).copied().unwrap_or(f64::NAN);
    report.row("start_empty_seconds", "start to first accepted profile", median, "s", "empty store");
    report.fact("starts_empty_seconds", seconds);
    Ok(())
}

/// Seconds from the start of the process to the first profile that it accepted. The profile is from an
/// hour before the load, so that no query counts it.
async fn first_accepted(server: &Server, plan: &Plan) -> Result<f64> {
    let mut early = plan.clone();
    early.start -= 3600 * SECOND;
    send_first(Target::Everflame, &server.address, &early).await?;
    Ok(server.spawned.elapsed().as_secs_f64())
}

async fn acknowledgement(
    options: &Options,
    binary: &Path,
    work: &Path,
    plan: &Rc<Plan>,
    report: &mut Report,
) -> Result<()> {
    let data = work.join("few");
    let server = Server::start(binary, &data)?;
    eprintln!("loading {} profiles over {FEW} connections", plan.profiles);
    let loaded = load(options.target, &server.address, plan, FEW).await?;
    server.kill()?;
    let replayed = disk_bytes(&data)?;
    let server = Server::start(binary, &data)?;
    let seconds = first_accepted(&server, plan).await?;
    for query in queries::dense(plan) {
        let mut connection = Connection::open(&server.address).await?;
        if let Err(error) = query.ask(&mut connection, &server.address).await {
            report.wrong(&error.context("after kill -9"));
        }
    }
    server.kill()?;
    let note = format!("after kill -9 under {} profiles", plan.profiles);
    report.row("start_replay_seconds", "start with a log to replay", seconds, "s", note);
    report.fact("replayed_bytes_by_table", json!(replayed));
    let latencies = &loaded.latencies;
    let title = format!("acknowledgement at {FEW} connections");
    let note = format!("{:.0} profiles a second", loaded.rate());
    report.row("ack_few_p50_ms", format!("{title}, p50"), latencies.percentile_ms(50), "ms", note);
    report.row("ack_few_p99_ms", format!("{title}, p99"), latencies.percentile_ms(99), "ms", "");
    report.row("ack_few_max_ms", format!("{title}, max"), latencies.percentile_ms(100), "ms", "");
    Ok(())
}

async fn ingest(
    options: &Options,
    binary: &Path,
    data: &Path,
    plan: &Rc<Plan>,
    report: &mut Report,
) -> Result<()> {
    let server = Server::start(binary, data)?;
    let connections = options.connections as usize;
    eprintln!("loading {} profiles over {connections} connections", plan.profiles);
    let idle = usage(server.pid())?;
    let loaded = load(options.target, &server.address, plan, connections).await?;
    let used = usage(server.pid())?;
    let running = disk_bytes(data)?;
    eprintln!("loaded in {:.1} s; stopping, which flushes", loaded.elapsed.as_secs_f64());
    let stopped = server.stop().await?;
    let disk = disk_bytes(data)?;

    load_rows(report, connections, &loaded);
    let per_profile = |seconds: f64| (seconds - idle.cpu_seconds) * 1e3 / plan.profiles as f64;
    let note = format!("{:.3} ms when the last was acknowledged", per_profile(used.cpu_seconds));
    let cpu = per_profile(stopped.used.cpu_seconds);
    report.row("cpu_ms_per_profile", "server CPU for a profile, flushed", cpu, "ms", note);
    report.row("peak_mb", "peak memory", stopped.used.peak_bytes as f64 / MEGABYTE, "MB", "");
    let total: u64 = disk.values().sum();
    let rows = plan.rows() as f64;
    report.row("disk_mb", "on disk after a clean stop", total as f64 / MEGABYTE, "MB", "");
    report.row("disk_bytes_per_row", "on disk for a sample row", total as f64 / rows, "B", "all tables");
    let samples: u64 =
        disk.iter().filter(|(table, _)| table.ends_with("samples")).map(|(_, bytes)| bytes).sum();
    let per_row = samples as f64 / rows;
    report.row("samples_bytes_per_row", "samples table for a sample row", per_row, "B", "");
    report.row("stop_seconds", "clean stop", stopped.elapsed.as_secs_f64(), "s", "");
    report.fact("disk_bytes_by_table", json!(disk));
    report.fact("disk_bytes_by_table_before_stop", json!(running));
    Ok(())
}

/// What is on disk once nothing is left to compact.
async fn compacted(binary: &Path, data: &Path, plan: &Plan, report: &mut Report) -> Result<()> {
    let server = Server::start_with(binary, data, SETTLING)?;
    let settled = settle(&server.address, data, SETTLE_LIMIT).await?;
    server.stop().await?;
    let Some(settled) = settled else {
        eprintln!("this server does not compact");
        return Ok(());
    };
    let disk = disk_bytes(data)?;
    let total = disk.values().sum::<u64>() as f64;
    let note = format!(
        "all tables and tiers, {} B a row, {} s after the load",
        figure(total / plan.rows() as f64),
        figure(settled.as_secs_f64())
    );
    report.row("disk_compacted_mb", "on disk, compacted", total / MEGABYTE, "MB", note);
    report.fact("disk_compacted_bytes_by_table", json!(disk));
    Ok(())
}

/// Sends `plan`, stops the server, which flushes, starts it again, waits
/// until nothing is left to compact. Returns the seconds of the load and of the wait.
async fn send(
    options: &Options,
    binary: &Path,
    data: &Path,
    plan: &Rc<Plan>,
    connections: usize,
) -> Result<f64> {
    let server = Server::start(binary, data)?;
    eprintln!("loading {} profiles over {connections} connections", plan.profiles);
    let loaded = load(options.target, &server.address, plan, connections).await?;
    eprintln!("loaded in {:.1} s", loaded.elapsed.as_secs_f64());
    server.stop().await?;
    let server = Server::start_with(binary, data, SETTLING)?;
    let settled = settle(&server.address, data, SETTLE_LIMIT).await?.unwrap_or_default();
    server.stop().await?;
    Ok((loaded.elapsed + settled).as_secs_f64())
}

/// Asks each query on first touch and warm, and adds their rows. Returns the peak memory of the server
/// that was asked warm.
async fn ask(binary: &Path, data: &Path, queries: Vec<(Mark, Query)>, report: &mut Report) -> Result<f64> {
    let mut cold = Vec::new();
    for (_, query) in &queries {
        cold.push(first_touch(binary, data, query).await);
    }
    let server = Server::start(binary, data)?;
    for ((mark, query), cold) in queries.iter().zip(cold) {
        query_row(report, &server.address, query, *mark).await;
        let limit = report.value(query.key).map_or(Mark::Open, Mark::first_touch);
        match cold {
            Ok(milliseconds) => {
                let key = format!("{}_cold", query.key);
                report.marked_row(&key, "    first touch", milliseconds, "ms", limit, "");
            }
            Err(error) => report.wrong(&error.context("on first touch")),
        }
    }
    let used = usage(server.pid())?;
    server.stop().await?;
    Ok(used.peak_bytes as f64)
}

/// Milliseconds that `query` takes as the first of a new server whose files are not in the page cache.
async fn first_touch(binary: &Path, data: &Path, query: &Query) -> Result<f64> {
    let mut milliseconds = Vec::with_capacity(COLD);
    for _ in 0..COLD {
        let server = Server::start(binary, data)?;
        let mut connection = Connection::open(&server.address).await?;
        drop_from_page_cache(data)?;
        let latency = query.ask(&mut connection, &server.address).await?;
        milliseconds.push(latency.as_secs_f64() * 1e3);
        server.stop().await?;
    }
    milliseconds.sort_by(f64::total_cmp);
    Ok(milliseconds.get(COLD / 2).copied().unwrap_or(f64::NAN))
}
