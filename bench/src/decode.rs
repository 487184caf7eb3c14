//! `everflame-bench decode`: how fast one core reads profiles, format by format, without a server.
//!
//! The fastest of many short runs counts: what else the machine does can only slow them, and a run that
//! nothing interrupts takes as long by the clock as on the CPU. Megabytes are of the input as it is when
//! inflated. Reading ends with a profile in flat arrays; stack ids, by which samples are stored, are a line
//! of their own.

use crate::bodies::{Size, bodies, push_time, real};
use crate::exports::export;
use crate::report::figure;
use anyhow::{Context, Result};
use everflame_formats::{Format, Limits, folded, gzip, jfr, otlp, pprof, speedscope, tree};
use everflame_profile::{Profile, Tree};
use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long an input is measured.
const SPAN: Duration = Duration::from_millis(1500);

/// How long a run is at least, of which the fastest counts.
const RUN: Duration = Duration::from_millis(1);

/// Megabytes a second that each format must reach.
const PPROF: Option<f64> = Some(500.0);
const OTLP: Option<f64> = Some(300.0);
const JFR: Option<f64> = Some(150.0);
const FOLDED: Option<f64> = Some(300.0);

/// Recordings that async-profiler and the JDK wrote; they are fixtures of the reader's tests.
const RECORDINGS: [(&str, &[u8]); 4] = [
    (
        "async-profiler 2.9",
        include_bytes!("../../crates/formats/tests/fixtures/jfr/async-profiler-2.9.jfr.gz"),
    ),
    (
        "async-profiler 3.0",
        include_bytes!("../../crates/formats/tests/fixtures/jfr/async-profiler-3.0.jfr.gz"),
    ),
    (
        "async-profiler 4.1",
        include_bytes!("../../crates/formats/tests/fixtures/jfr/async-profiler-4.1.jfr.gz"),
    ),
    ("JDK 17", include_bytes!("../../crates/formats/tests/fixtures/jfr/jdk-17.jfr.gz")),
];

/// Profiles and samples of each: as a host sends them, and what a gateway makes of a hundred such.
const EXPORTS: [(u64, u64); 3] = [(50, 4), (500, 4), (5_000, 4)];

/// Measures how fast profiles are decoded on one core.
#[derive(Debug, clap::Args)]
pub(crate) struct DecodeArgs {
    /// Files to read besides the ones that come with this program: pprof, OTLP (with `otlp` in the name),
    /// folded stacks (`.folded`, `.txt`), recordings, and all else that says itself what it is.
    files: Vec<PathBuf>,
}

/// Measures and prints one line for each input.
pub(crate) fn run(args: &DecodeArgs) -> Result<()> {
    let limits = Limits::default();
    println!("{:<36} {:>9} {:>9} {:>9} {:>9}", "one core", "KB", "us", "MB/s", "at least");
    for (name, bytes) in real() {
        gunzip_and_read(name, "pprof", bytes, PPROF, |body| read_pprof(body, &limits))?;
    }
    let profiles = sent_bodies(&limits)?;
    other_formats(&profiles, &limits)?;
    for (profiles, samples) in EXPORTS {
        let body = export(profiles, samples)?;
        line(&format!("export of {profiles} profiles, OTLP"), body.len(), 1, OTLP, || {
            read_otlp(&body, &limits)
        })?;
    }
    for (name, bytes) in RECORDINGS {
        gunzip_and_read(name, "JFR", bytes, JFR, |body| read_jfr(body, &limits))?;
    }
    for path in &args.files {
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        file(&name, &bytes, &limits).with_context(|| format!("decode {}", path.display()))?;
    }
    Ok(())
}

/// The bodies that the benchmark sends, each with the member that holds its time.
fn sent_bodies(limits: &Limits) -> Result<Vec<Profile>> {
    let sent: Vec<Vec<u8>> = bodies(Size::Full)?
        .into_iter()
        .map(|body| {
            let mut sent = body.gzip;
            push_time(&mut sent, 1_767_225_600_123_456_789);
            sent
        })
        .collect();
    let inflated: Vec<Vec<u8>> =
        sent.iter().map(|body| gzip::inflate(body, limits)).collect::<Result<_, _>>()?;
    let bytes = inflated.iter().map(Vec::len).sum::<usize>();
    line("bodies as sent, gunzip", bytes, sent.len(), None, || {
        sent.iter().try_for_each(|body| {
            black_box(gzip::inflate(body, limits)?);
            Ok(())
        })
    })?;
    line("bodies as sent, pprof", bytes, sent.len(), PPROF, || {
        inflated.iter().try_for_each(|body| read_pprof(body, limits))
    })?;
    line("bodies as sent, gunzip and pprof", bytes, sent.len(), PPROF, || {
        sent.iter().try_for_each(|body| read_pprof(body, limits))
    })?;
    let profiles: Vec<Profile> =
        sent.iter().map(|body| Ok(pprof::read(body, limits)?.profile)).collect::<Result<_>>()?;
    line("bodies as sent, stack ids", bytes, sent.len(), None, || {
        profiles.iter().for_each(|profile| drop(black_box(profile.stack_ids())));
        Ok(())
    })?;
    Ok(profiles)
}

/// The same profiles in other formats.
fn other_formats(profiles: &[Profile], limits: &Limits) -> Result<()> {
    let folded: Vec<Vec<u8>> =
        profiles.iter().map(|profile| folded::write(profile, 0).into_bytes()).collect();
    all("bodies as folded stacks", &folded, FOLDED, |body| read_folded(body, limits))?;
    let scopes: Vec<Vec<u8>> =
        profiles.iter().map(|profile| speedscope::write(profile, "x").into_bytes()).collect();
    all("bodies as speedscope", &scopes, None, |body| {
        black_box(speedscope::read(body, limits)?);
        Ok(())
    })?;
    let trees: Vec<Vec<u8>> = folded.iter().map(|body| tree::write(&tree_of(body))).collect();
    all("bodies as binary trees", &trees, None, |body| {
        black_box(tree::read_profile(body, limits)?);
        Ok(())
    })
}

fn tree_of(folded: &[u8]) -> Tree {
    let mut tree = Tree::default();
    for line in String::from_utf8_lossy(folded).lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap_or((line, "1"));
        let stack: Vec<_> = stack.split(';').map(|name| tree.intern(name)).collect();
        tree.insert(stack, value.parse().unwrap_or(1));
    }
    tree
}

/// A file of any format, by its name where the content does not tell.
fn file(name: &str, bytes: &[u8], limits: &Limits) -> Result<()> {
    if name.contains("otlp") && name.ends_with(".json") {
        return gunzip_and_read(name, "OTLP JSON", bytes, None, |body| {
            black_box(otlp::read_json(body, limits)?);
            Ok(())
        });
    }
    if name.contains("otlp") {
        return gunzip_and_read(name, "OTLP", bytes, OTLP, |body| read_otlp(body, limits));
    }
    match Format::detect(bytes, limits) {
        Some(Format::Jfr) => gunzip_and_read(name, "JFR", bytes, JFR, |body| read_jfr(body, limits)),
        Some(format) => gunzip_and_read(name, format.as_str(), bytes, None, |body| {
            black_box(format.read(body, limits)?);
            Ok(())
        }),
        None if name.contains(".folded") || name.contains(".txt") => {
            gunzip_and_read(name, "folded", bytes, FOLDED, |body| read_folded(body, limits))
        }
        None => gunzip_and_read(name, "pprof", bytes, PPROF, |body| read_pprof(body, limits)),
    }
}

/// A line for the bytes when they are inflated, and one from gzip when they are.
fn gunzip_and_read(
    name: &str,
    format: &str,
    bytes: &[u8],
    mark: Option<f64>,
    read: impl Fn(&[u8]) -> Result<()>,
) -> Result<()> {
    let plain = gzip::inflate_if_gzip(bytes, &Limits::default())?;
    line(&format!("{name}, {format}"), plain.len(), 1, mark, || read(&plain))?;
    match gzip::is_gzip(bytes) {
        true => line(&format!("{name}, gunzip and {format}"), plain.len(), 1, mark, || read(bytes)),
        false => Ok(()),
    }
}

fn all(name: &str, bodies: &[Vec<u8>], mark: Option<f64>, read: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
    let bytes = bodies.iter().map(Vec::len).sum();
    line(name, bytes, bodies.len(), mark, || bodies.iter().try_for_each(|body| read(body)))
}

fn read_pprof(bytes: &[u8], limits: &Limits) -> Result<()> {
    drop(black_box(pprof::read(bytes, limits)?));
    Ok(())
}

fn read_otlp(bytes: &[u8], limits: &Limits) -> Result<()> {
    drop(black_box(otlp::read(bytes, limits)?));
    Ok(())
}

fn read_jfr(bytes: &[u8], limits: &Limits) -> Result<()> {
    drop(black_box(jfr::read(bytes, &jfr::Options::default(), limits)?));
    Ok(())
}

fn read_folded(bytes: &[u8], limits: &Limits) -> Result<()> {
    drop(black_box(folded::read(bytes, folded::Lines::Counted, limits)?));
    Ok(())
}

/// Runs `work`, which reads `count` profiles of `bytes` bytes in all, and prints its line with the megabytes a
/// second that it must reach.
fn line(
    name: &str,
    bytes: usize,
    count: usize,
    mark: Option<f64>,
    mut work: impl FnMut() -> Result<()>,
) -> Result<()> {
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
    let speed = bytes as f64 / 1e6 / best;
    let mark = mark.map_or(String::new(), |mark| match speed >= mark {
        true => figure(mark),
        false => format!("MISSED {}", figure(mark)),
    });
    println!(
        "{name:<36} {:>9} {:>9} {:>9} {mark:>9}",
        figure(bytes as f64 / 1e3 / count as f64),
        figure(best * 1e6 / count as f64),
        figure(speed),
    );
    Ok(())
}
