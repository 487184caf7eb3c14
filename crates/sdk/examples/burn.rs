//! Burns CPU in two threads and prints what the profiler saw: one line per stack, root first, with its
//! nanoseconds. `burn off` burns without the profiler, to compare; `burn 10` burns so many seconds' worth.

use everflame_sdk::{CpuProfiler, DEFAULT_HZ};
use std::hint::black_box;
use std::time::Instant;

/// Rounds that take about a second of one core.
const ROUNDS_A_SECOND: u64 = 1_000_000_000;

#[inline(never)]
fn burn(rounds: u64) -> u64 {
    (0..rounds).fold(1, |sum, round| black_box(sum ^ round.wrapping_mul(sum | 1)))
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), everflame_sdk::Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let start = Instant::now();
    let mut profiler = match arguments.iter().any(|argument| argument == "off") {
        true => None,
        false => Some(CpuProfiler::start(DEFAULT_HZ, 0)?),
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| black_box(burn(ROUNDS_A_SECOND * seconds)));
        }
    });
    let burnt = start.elapsed();
    if let Some(profiler) = &mut profiler {
        let before = Instant::now();
        let profile = profiler.collect(burnt.as_nanos() as i64);
        eprintln!("collected in {:?}", before.elapsed());
        for sample in 0..profile.samples.len() {
            let names: Vec<_> =
                profile.frames(sample).rev().map(|frame| profile.symbols.name(frame)).collect();
            println!("{} {}", names.join(";"), profile.values(sample)[1]);
        }
    }
    eprintln!("burnt for {burnt:?}");
    Ok(())
}
