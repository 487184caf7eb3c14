//! Batches for tests.

use crate::batch::{Batch, NewStacks, ProfileId, ProfileRow, Sample};
use everflame_profile::{Frame, Labels, Series, StackId, SymbolInterner, Symbols, stack_id};
use std::sync::LazyLock;

/// Whether Parquet files are written without compression, for long runs of the simulation: zstd asks for the
/// kind of processor for each column of each file, which takes half of the time on a virtual machine.
pub(crate) fn is_plain() -> bool {
    static IS_PLAIN: LazyLock<bool> = LazyLock::new(|| std::env::var_os("EVERFLAME_SIM_PLAIN").is_some());
    *IS_PLAIN
}

/// The cpu type that test batches have.
pub(crate) const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// The id of a stack of functions, leaf first.
pub(crate) fn stack(functions: &[&str]) -> StackId {
    let (mut buffer, mut ids) = (Vec::new(), Vec::new());
    for function in functions {
        let mut symbols = Symbols::default();
        let function = symbols.strings.push(function);
        ids.push(symbols.frame_id(&Frame { function, ..Frame::default() }, &mut buffer));
    }
    stack_id(ids.into_iter(), &mut buffer)
}

/// A batch with one profile at `time` µs: stacks of functions, leaf first, with their values. All stacks are
/// sent as new ones.
pub(crate) fn batch(service: &str, time: i64, samples: &[(&[&str], i64)]) -> Batch {
    let mut interner = SymbolInterner::default();
    let mut new = NewStacks::default();
    let mut stacks = Vec::new();
    for (at, (functions, _)) in samples.iter().enumerate() {
        stacks.push(stack(functions));
        for function in *functions {
            let function = interner.intern_string(function);
            new.frames.push(interner.intern_frame(Frame { function, ..Frame::default() }));
        }
        new.stacks.push((at as u32, new.frames.len() as u32));
    }
    new.symbols = interner.into_symbols();
    let rows = samples.iter().enumerate();
    let rows = rows.map(|(at, &(_, value))| Sample { stack: at as u32, value, span_id: 0, trace_id: 0 });
    let total = samples.iter().fold(0i64, |sum, (_, value)| sum.saturating_add(*value));
    Batch {
        service: service.to_owned(),
        upload: None,
        series: vec![Series {
            labels: Labels::from_pairs([("service_name", service)]),
            profile_type: CPU.parse().unwrap(),
        }],
        profiles: vec![ProfileRow {
            series: 0,
            id: ProfileId(time as u128),
            time: time * 1000,
            duration: 0,
            total,
            samples_end: samples.len() as u32,
        }],
        samples: rows.collect(),
        stacks,
        new_stacks: new,
    }
}

/// Leaves out the frames of all stacks but those at the positions `new`.
pub(crate) fn keep_new_stacks(batch: &mut Batch, new: &[u32]) {
    let old = std::mem::take(&mut batch.new_stacks);
    let (mut frames, mut stacks, mut start) = (Vec::new(), Vec::new(), 0);
    for (at, end) in old.stacks {
        if new.contains(&at) {
            frames.extend(&old.frames[start as usize..end as usize]);
            stacks.push((at, frames.len() as u32));
        }
        start = end;
    }
    batch.new_stacks = NewStacks { symbols: old.symbols, stacks, frames };
}
