//! Everflame's benchmark: a load generator and a list of queries.
//!
//! Sends real CPU profiles through the wires that agents use, asks through the wires that dashboards
//! use, checks every answer against what was sent, and prints what it cost beside the project's targets.
//! A missed target is said and ends with success; a wrong answer ends with failure.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod bodies;
mod everflame;
mod http;
mod latency;
mod load;
mod options;
mod plan;
mod process;
mod queries;
mod report;
mod target;
mod wire;

use crate::http::Address;
use crate::load::{Loaded, load};
use crate::options::Options;
use crate::plan::{Plan, SECOND};
use crate::queries::Query;
use crate::report::{Report, figure};
use anyhow::{Context, Result};
use clap::Parser;
use everflame_profile::Nanos;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::macros::format_description;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let now = now()?;
    let (services, pods) = (options.services as usize, options.pods as usize);
    let interval = Nanos::from(options.interval) * SECOND;
    let bodies = bodies::bodies()?;
    let plan_of = |profiles| Rc::new(Plan::new(bodies.clone(), services, pods, interval, profiles, now));
    let plan = plan_of(options.total_profiles());
    let mut report = Report::default();
    describe(&mut report, &options, &plan);
    match &options.url {
        Some(url) => running_server(&options, url, &plan, &mut report).await?,
        None => {
            let few = plan_of(options.few_profiles as usize);
            everflame::run(&options, &plan, &few, &mut report).await?;
        }
    }
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

fn describe(report: &mut Report, options: &Options, plan: &Plan) {
    let sizes = plan.bodies.iter().map(|body| body.gzip.len());
    let average = sizes.sum::<usize>() / plan.bodies.len().max(1);
    println!(
        "{} profiles of {} series, {} samples, {} rows, {} bodies of {} bytes on average",
        plan.profiles,
        plan.series.len(),
        plan.samples(),
        plan.rows(),
        plan.bodies.len(),
        average,
    );
    report.fact("target", format!("{:?}", options.target).to_lowercase());
    report.fact("profiles", plan.profiles);
    report.fact("series", plan.series.len());
    report.fact("samples", plan.samples());
    report.fact("rows", plan.rows());
    report.fact("body_bytes", average);
    report.fact("connections", options.connections);
    report.fact("span_seconds", (plan.end() - plan.start) / SECOND);
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
        report.row("disk_mb", "on disk", bytes / 1e6, "MB", "");
    }
    if let (Some(before), Some(after)) = (before, usage()?) {
        let cpu = (after.cpu_seconds - before.cpu_seconds) * 1e3 / plan.profiles as f64;
        report.row("cpu_ms_per_profile", "server CPU for a profile", cpu, "ms", "");
        report.row("peak_mb", "peak memory", after.peak_bytes as f64 / 1e6, "MB", "");
    }
    if options.target.has_querier() {
        for query in queries::queries(plan) {
            query_row(report, &address, &query, None).await;
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

/// Measures one query warm and adds its row, with the first answer after a start where there is one.
async fn query_row(report: &mut Report, address: &Address, query: &Query, cold: Option<Duration>) {
    let warm = match query.warm(address).await {
        Ok(warm) => warm,
        Err(error) => return report.wrong(&error),
    };
    let mut note = format!("p95 {} ms", figure(warm.percentile_ms(95)));
    if let Some(cold) = cold {
        let cold = cold.as_secs_f64() * 1e3;
        note.push_str(&format!(", cold {} ms", figure(cold)));
        report.fact(&format!("{}_cold_ms", query.key), cold);
    }
    report.row(query.key, query.title.as_str(), warm.percentile_ms(50), "ms", note);
}
