//! `everflame-bench decode`: how fast one core reads profiles, format by format, without a server.
//!
//! The fastest of many short runs counts: what else the machine does can only slow them. Megabytes are of
//! the input as it is when inflated.

use crate::bodies::{Size, bodies, push_time, real};
use crate::report::figure;
use anyhow::{Context, Result};
use everflame_formats::{Limits, folded, gzip, pprof};
use everflame_profile::Profile;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an input is measured.
const SPAN: Duration = Duration::from_millis(1500);

/// How long a run is at least, of which the fastest counts.
const RUN: Duration = Duration::from_millis(1);

/// Measures how fast profiles are decoded on one core.
#[derive(Debug, clap::Args)]
pub(crate) struct DecodeArgs {
    /// pprof files to read besides the ones that the benchmark sends.
    files: Vec<PathBuf>,
}

/// Measures and prints one line for each input.
pub(crate) fn run(args: &DecodeArgs) -> Result<()> {
    let limits = Limits::default();
    println!("{:<28} {:>9} {:>9} {:>9}", "one core", "KB", "us", "MB/s");
    for (name, bytes) in real() {
        pprof_lines(name, bytes, &limits)?;
    }
    for path in &args.files {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        pprof_lines(&name, &bytes, &limits)?;
    }
    let sent: Vec<Vec<u8>> = bodies(Size::Full)?
        .into_iter()
        .map(|body| {
            let mut sent = body.gzip;
            push_time(&mut sent, 1_767_225_600_123_456_789);
            sent
        })
        .collect();
    let inflated: Vec<Vec<u8>> =
        sent.iter().map(|body| gzip::inflate(body, &limits)).collect::<Result<_, _>>()?;
    let bytes = inflated.iter().map(Vec::len).sum::<usize>();
    line("bodies as sent, gunzip", bytes, sent.len(), || {
        sent.iter().try_for_each(|body| {
            black_box(gzip::inflate(body, &limits)?);
            Ok(())
        })
    })?;
    line("bodies as sent, pprof", bytes, sent.len(), || {
        inflated.iter().try_for_each(|body| read_pprof(body, &limits))
    })?;
    line("bodies as sent, both", bytes, sent.len(), || {
        sent.iter().try_for_each(|body| read_pprof(body, &limits))
    })?;
    let profiles: Vec<Profile> =
        sent.iter().map(|body| Ok(pprof::read(body, &limits)?.profile)).collect::<Result<_>>()?;
    line("bodies as sent, stack ids", bytes, sent.len(), || {
        profiles.iter().for_each(|profile| drop(black_box(profile.stack_ids())));
        Ok(())
    })?;
    let folded: Vec<Vec<u8>> =
        profiles.iter().map(|profile| folded::write(profile, 0).into_bytes()).collect();
    let bytes = folded.iter().map(Vec::len).sum();
    line("bodies as folded stacks", bytes, folded.len(), || {
        folded.iter().try_for_each(|body| {
            black_box(folded::read(body, folded::Lines::Counted, &limits)?);
            Ok(())
        })
    })
}

fn pprof_lines(name: &str, bytes: &[u8], limits: &Limits) -> Result<()> {
    let plain = gzip::inflate_if_gzip(bytes, limits)?;
    line(&format!("{name}, pprof"), plain.len(), 1, || read_pprof(&plain, limits))?;
    if gzip::is_gzip(bytes) {
        line(&format!("{name}, gunzip and pprof"), plain.len(), 1, || read_pprof(bytes, limits))?;
    }
    Ok(())
}

fn read_pprof(bytes: &[u8], limits: &Limits) -> Result<()> {
    drop(black_box(pprof::read(bytes, limits)?));
    Ok(())
}

/// Runs `work`, which reads `count` profiles of `bytes` bytes in all, and prints its line.
fn line(name: &str, bytes: usize, count: usize, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    work()?;
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < SPAN {
        let (began, mut rounds) = (Instant::now(), 0u32);
        while began.elapsed() < RUN {
            work()?;
            rounds += 1;
        }
        best = best.min(began.elapsed().as_secs_f64() / f64::from(rounds));
    }
    let (kilobytes, micros) = (bytes as f64 / 1e3 / count as f64, best * 1e6 / count as f64);
    println!(
        "{name:<28} {:>9} {:>9} {:>9}",
        figure(kilobytes),
        figure(micros),
        figure(bytes as f64 / 1e6 / best)
    );
    Ok(())
}
