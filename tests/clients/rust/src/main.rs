//! Profiles itself with the unmodified Rust SDK (pprof-rs backend), with a label that is set while it runs.
//!
//! usage: `everflame-client-rust SERVER_URL SECONDS`

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use pyroscope::backend::{BackendConfig, PprofConfig, pprof_backend};
use pyroscope::pyroscope::PyroscopeAgentBuilder;

/// How often the SDK uploads; its default is 10 s, and whole seconds are the shortest that it knows.
const WINDOW: Duration = Duration::from_secs(1);
const SAMPLE_RATE: u32 = 100;

#[inline(never)]
fn everflame_hot_rust(rounds: u64) -> u64 {
    let mut x = black_box(88_172_645_463_325_252_u64);
    for _ in 0..rounds {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(server), Some(seconds)) = (args.next(), args.next()) else {
        return Err("usage: everflame-client-rust SERVER_URL SECONDS".into());
    };
    let run_time = Duration::from_secs_f64(seconds.parse()?);
    let backend = pprof_backend(PprofConfig { sample_rate: SAMPLE_RATE }, BackendConfig::default());
    let agent =
        PyroscopeAgentBuilder::new(server, "client-rust", SAMPLE_RATE, "pyroscope-rs", "2.1.5", backend)
            .tags(vec![("region", "test")])
            .upload_interval(WINDOW)
            .build()?
            .start()?;
    let (add_tag, _) = agent.tag_wrapper();
    // Of this thread; the backend asks for it when it makes a profile.
    add_tag("endpoint".to_owned(), "cart".to_owned())?;
    let started = Instant::now();
    while started.elapsed() < run_time {
        black_box(everflame_hot_rust(10_000_000));
    }
    agent.stop()?.shutdown();
    Ok(())
}
