//! Everflame's benchmark: a load generator and a list of queries.
//!
//! Sends real CPU profiles through the wires that agents use, asks through the wires that dashboards
//! use, checks every answer against what was sent, and prints what it cost beside the project's targets.
//! A missed target is said and ends with success; a wrong answer ends with failure.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod bodies;
mod datasets;
mod decode;
mod everflame;
mod exports;
mod http;
mod latency;
mod load;
mod options;
mod plan;
mod process;
mod queries;
mod report;
mod settle;
mod target;
mod wire;

use crate::http::Address;
use crate::load::{Loaded, load};
use crate::options::{Command, Options};
use crate::plan::{Plan, SECOND};
use crate::queries::Query;
use crate::report::{Mark, Report, figure};
use anyhow::{Context, Result};
use clap::Parser;
use everflame_profile::Nanos;
use serde_json::json;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::macros::format_description;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(Command::Decode(args)) = &options.command {
        decode::run(args)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = now()?;
    let mut report = Report::default();
    match &options.url {
        Some(url) => {
            let plan = datasets::dense(&options, options.total_profiles(), now)?;
            describe(&mut report, "dense", &plan);
            running_server(&options, url, &plan, &mut report).await?;
        }
        None => {
            // What was measured until then is worth printing.
            if let Err(error) = everflame::run(&options, now, &mut report).await {
                report.wrong(&error.context("the run ended early"));
            }
        }
    }
    report.fact("target", format!("{:?}", options.target).to_lowercase());
    report.fact("connections", options.connections);
    let format = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]");
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(now))?.format(format)?;
    let path = report.write(&options.results, &date)?;
    println!("{}written to {}", report.table(), path.display());
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[allow(clippy::disallowed_methods, reason = "the outermost place: the load ends now")]
fn now() -> Result<Nanos> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(now.as_nanos() as Nanos)
}

/// Says what `dataset` is, in the output and in the JSON file.
fn describe(report: &mut Report, dataset: &str, plan: &Plan) {
    let sizes = plan.bodies.iter().map(|body| body.gzip.len());
    let average = sizes.sum::<usize>() / plan.bodies.len().max(1);
    let (samples, rows) = (plan.samples(), plan.rows());
    let seconds = (plan.end() - plan.start) / SECOND;
    println!(
        "{dataset}: {} profiles of {} series over {} h, {samples} samples, {rows} rows, {} bodies of {average} \
         bytes on average",
        plan.profiles,
        plan.series.len(),
        seconds / 3600,
        plan.bodies.len(),
    );
    report.fact(
        dataset,
        json!({
            "profiles": plan.profiles,
            "series": plan.series.len(),
            "samples": samples,
            "rows": rows,
            "body_bytes": average,
            "span_seconds": seconds,
        }),
    );
}

/// Loads a server that somebody else started, and asks it if it speaks the query wire.
async fn running_server(options: &Options, url: &str, plan: &Rc<Plan>, report: &mut Report) -> Result<()> {
    let address = Address::parse(url)?;
    let connections = options.connections as usize;
    let usage = || options.server_pid.map(process::usage).transpose();
    let before = usage()?;
    let loaded = load(options.target, &address, plan, connections).await?;
    load_rows(report, connections, &loaded);
    if let Some(data) = &options.server_data {
        let limit = Duration::from_secs(u64::from(options.settle));
        process::settle(data, Duration::from_secs(15), limit).await?;
        let bytes = process::disk_bytes(data)?.values().sum::<u64>() as f64;
        report.row("disk_compacted_mb", "on disk", bytes / 1e6, "MB", "");
    }
    if let (Some(before), Some(after)) = (before, usage()?) {
        let cpu = (after.cpu_seconds - before.cpu_seconds) * 1e3 / plan.profiles as f64;
        report.row("cpu_ms_per_profile", "server CPU for a profile", cpu, "ms", "");
        report.row("peak_mb", "peak memory", after.peak_bytes as f64 / 1e6, "MB", "");
    }
    if options.target.has_querier() {
        for query in queries::dense(plan) {
            query_row(report, &address, &query, Mark::of(query.key)).await;
        }
    }
    Ok(())
}

/// The rows that every load run has.
fn load_rows(report: &mut Report, connections: usize, loaded: &Loaded) {
    let sent = loaded.sent_bytes as f64 / loaded.elapsed.as_secs_f64() / 1e6;
    let note = format!("{connections} connections, {} MB/s", figure(sent));
    report.row("ingest_rate", "ingest rate", loaded.rate(), "/s", note);
    let latencies = &loaded.latencies;
    report.fact("generator_cpu_ms_per_profile", loaded.generator_cpu_seconds * 1e3 / loaded.profiles as f64);
    report.row("ack_p50_ms", "acknowledgement, p50", latencies.percentile_ms(50), "ms", "");
    report.row("ack_p99_ms", "acknowledgement, p99", latencies.percentile_ms(99), "ms", "");
    report.row("ack_max_ms", "acknowledgement, max", latencies.percentile_ms(100), "ms", "");
}

/// Measures one query warm and adds its row.
async fn query_row(report: &mut Report, address: &Address, query: &Query, mark: Mark) {
    match query.warm(address).await {
        Ok(warm) => {
            let note = format!("p95 {} ms", figure(warm.percentile_ms(95)));
            report.marked_row(query.key, query.title.as_str(), warm.percentile_ms(50), "ms", mark, note);
        }
        Err(error) => report.wrong(&error),
    }
}
