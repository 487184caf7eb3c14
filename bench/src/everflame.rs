//! The benchmark of our own server: starts it on fresh stores, kills it, loads it, and restarts it before
//! each cold query.

use crate::http::Connection;
use crate::load::{load, send_first};
use crate::options::Options;
use crate::plan::{Plan, SECOND};
use crate::process::{Server, disk_bytes, usage};
use crate::queries::queries;
use crate::report::Report;
use crate::target::Target;
use crate::{load_rows, query_row};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Starts on an empty store, of which the median counts.
const STARTS: usize = 5;

/// Connections of the run that measures acknowledgement.
const FEW: usize = 4;

const MEGABYTE: f64 = 1e6;

/// Runs everything and fills `report`.
pub(crate) async fn run(
    options: &Options,
    plan: &Rc<Plan>,
    few: &Rc<Plan>,
    report: &mut Report,
) -> Result<()> {
    let binary = match &options.server_binary {
        Some(binary) => binary.clone(),
        None => beside_this_program()?,
    };
    let work = match &options.work_dir {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    starts(&binary, work.path(), few, report).await?;
    if few.profiles > 0 {
        acknowledgement(options, &binary, work.path(), few, report).await?;
    }
    let data = work.path().join("load");
    ingest(options, &binary, &data, plan, report).await?;
    ask(&binary, &data, plan, report).await
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
    let early = Plan { start: plan.start - 3600 * SECOND, ..plan.clone() };
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
    for query in queries(plan) {
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
    report.row("disk_mb", "on disk after a clean stop", total as f64 / MEGABYTE, "MB", "not compacted");
    report.row("disk_bytes_per_row", "on disk for a sample row", total as f64 / rows, "B", "all tables");
    let samples: u64 =
        disk.iter().filter(|(table, _)| table.ends_with("samples")).map(|(_, bytes)| bytes).sum();
    let per_row = samples as f64 / rows;
    report.row("samples_bytes_per_row", "samples table for a sample row", per_row, "B", "not compacted");
    report.row("stop_seconds", "clean stop", stopped.elapsed.as_secs_f64(), "s", "");
    report.fact("disk_bytes_by_table", json!(disk));
    report.fact("disk_bytes_by_table_before_stop", json!(running));
    Ok(())
}

async fn ask(binary: &Path, data: &Path, plan: &Plan, report: &mut Report) -> Result<()> {
    let all = queries(plan);
    let mut cold = Vec::new();
    for query in &all {
        let server = Server::start(binary, data)?;
        let mut connection = Connection::open(&server.address).await?;
        cold.push(query.ask(&mut connection, &server.address).await.ok());
        server.stop().await?;
    }
    let server = Server::start(binary, data)?;
    for (query, cold) in all.iter().zip(cold) {
        query_row(report, &server.address, query, cold).await;
    }
    let used = usage(server.pid())?;
    server.stop().await?;
    report.row("query_peak_mb", "peak memory, queries", used.peak_bytes as f64 / MEGABYTE, "MB", "");
    Ok(())
}
