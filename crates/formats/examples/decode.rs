//! Measures pprof decoding: `decode FILE…` prints megabytes of inflated profile a second, gunzip included.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use everflame_formats::{Limits, gzip, pprof};
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let inflated = gzip::inflate_if_gzip(&bytes, &limits)?.into_owned();
        let profile = pprof::read(&bytes, &limits)?.profile;
        let whole = time(|| pprof::read(&bytes, &limits).is_ok());
        let plain = time(|| pprof::read(&inflated, &limits).is_ok());
        let write = time(|| !pprof::write(&profile).is_empty());
        let rate = |time: Duration| inflated.len() as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{:6.0} MB/s with gunzip, {:6.0} MB/s without, {:7.3} ms to write ({} samples, {} bytes inflated) {path}",
            rate(whole),
            rate(plain),
            write.as_secs_f64() * 1e3,
            profile.samples.len(),
            inflated.len()
        );
    }
    Ok(())
}

/// The fastest of many runs within half a second.
fn time(mut run: impl FnMut() -> bool) -> Duration {
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(500) {
        let begin = Instant::now();
        assert!(std::hint::black_box(run()));
        best = best.min(begin.elapsed());
    }
    best
}
