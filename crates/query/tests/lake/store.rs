//! A lake for tests, and profiles to push into it.

use everflame_lake::{Batch, Lake, LakeConfig, NewStacks, ProfileId, ProfileRow, Retention, Sample};
use everflame_profile::{Clock, Frame, Labels, Nanos, Series, StackId, SymbolInterner, Symbols, stack_id};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

pub(crate) const SECOND: Nanos = 1_000_000_000;
pub(crate) const HOUR: Nanos = 3_600 * SECOND;
pub(crate) const DAY: Nanos = 24 * HOUR;
/// 2026-08-01T00:00:00Z.
pub(crate) const AUGUST: Nanos = 1_785_542_400 * SECOND;
pub(crate) const TYPES: [&str; 2] =
    ["process_cpu:cpu:nanoseconds:cpu:nanoseconds", "memory:alloc_space:bytes:space:bytes"];

/// A clock that a test sets.
pub(crate) struct SetClock(pub(crate) AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Nanos {
        self.0.load(Relaxed)
    }
}

/// One profile of a test.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) service: usize,
    pub(crate) pod: usize,
    pub(crate) kind: usize,
    pub(crate) time: Nanos,
    pub(crate) samples: Vec<(usize, i64)>,
}

impl Pushed {
    pub(crate) fn series(&self) -> Series {
        let pod = format!("pod-{}", self.pod);
        Series {
            labels: Labels::from_pairs([("service_name", service(self.service)), ("pod", pod.as_str())]),
            profile_type: TYPES[self.kind].parse().unwrap(),
        }
    }

    pub(crate) fn total(&self) -> i64 {
        self.samples.iter().map(|sample| sample.1).sum()
    }
}

pub(crate) fn service(at: usize) -> &'static str {
    ["api", "shop", "web"][at]
}

pub(crate) fn stack(at: usize) -> StackId {
    let mut symbols = Symbols::default();
    let function = symbols.strings.push(&format!("function-{at}"));
    let frame = symbols.frame_id(&Frame { function, ..Frame::default() }, &mut Vec::new());
    stack_id(std::iter::once(frame), &mut Vec::new())
}

pub(crate) fn batch(lake: &Lake, pushed: &Pushed, number: u128) -> Batch {
    let stacks: Vec<StackId> = pushed.samples.iter().map(|sample| stack(sample.0)).collect();
    let (mut interner, mut new) = (SymbolInterner::default(), NewStacks::default());
    for at in lake.unknown_stacks(service(pushed.service), &stacks) {
        let function = interner.intern_string(&format!("function-{}", pushed.samples[at as usize].0));
        new.frames.push(interner.intern_frame(Frame { function, ..Frame::default() }));
        new.stacks.push((at, new.frames.len() as u32));
    }
    new.symbols = interner.into_symbols();
    let samples = pushed.samples.iter().enumerate();
    Batch {
        service: service(pushed.service).to_owned(),
        upload: None,
        series: vec![pushed.series()],
        profiles: vec![ProfileRow {
            series: 0,
            id: ProfileId(number + 1),
            time: pushed.time,
            duration: 10 * SECOND,
            total: pushed.total(),
            samples_end: pushed.samples.len() as u32,
        }],
        samples: samples
            .map(|(at, sample)| Sample { stack: at as u32, value: sample.1, span_id: 0, trace_id: 0 })
            .collect(),
        stacks,
        new_stacks: new,
    }
}

pub(crate) async fn open(path: &Path, retention: &Retention, clock: &Arc<SetClock>) -> Arc<Lake> {
    let config = LakeConfig {
        path: path.to_owned(),
        tenant: "anonymous".to_owned(),
        flush_interval: Duration::from_secs(3600),
        flush_bytes: 64 << 20,
        retention: retention.clone(),
        retention_overrides: Vec::new(),
        instance_labels: vec!["pod".to_owned()],
    };
    // The lock of the lake before goes when its tasks have ended.
    loop {
        match Lake::open(config.clone(), clock.clone()).await {
            Ok(lake) => return lake,
            Err(everflame_lake::Error::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn forever() -> Retention {
    Retention { raw: None, five_minutes: None, hour: None, day: None, bytes: None }
}
