//! Names from debug files for the frames of stacks, batch by batch: what was stored as an address is shown as the
//! functions that lie there, as every other answer has them.

use crate::symbolize::wanted;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int8Type, Int64Type};
use arrow::error::ArrowError;
use everflame_profile::{Frame, FrameKind, Mapping};
use everflame_symbols::{BuildId, Call, PATIENCE, Place, Symbolizer};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Fields of a frame that say, with its address, where in which file it is.
pub(super) const PLACE: [&str; 4] = ["build_id", "memory_start", "memory_limit", "file_offset"];

/// Frames after which the rest of a batch becomes another one: an address may stand for many calls.
const MAX_FRAMES: usize = 1 << 18;

/// Where a statement has names from.
pub(super) struct Names {
    symbolizer: Option<Arc<Symbolizer>>,
    /// How long it still waits for them; what comes later, the next one has.
    patience: Duration,
}

impl Names {
    pub(super) fn new(symbolizer: Option<Arc<Symbolizer>>) -> Self {
        Self { symbolizer, patience: PATIENCE }
    }

    /// Whether there may be any.
    pub(super) fn are_there(&self) -> bool {
        self.symbolizer.is_some()
    }

    /// What stands in the place of the frames of `batch`. Blocking.
    pub(super) fn of(&mut self, batch: &RecordBatch) -> Result<Named, ArrowError> {
        let frames = batch.column_by_name("frames").and_then(|frames| frames.as_list_opt::<i32>());
        let (Some(frames), Some(symbolizer)) = (frames, &self.symbolizer) else {
            return Ok(Named::default());
        };
        let stored = Stored::new(frames)?;
        let (unnamed, builds) = stored.unnamed();
        let build_of = |unnamed: &Unnamed<'_>| builds.get(unnamed.build).and_then(Option::as_ref);
        let wanted = wanted(unnamed.iter().filter_map(|unnamed| Some((build_of(unnamed)?, unnamed.place))));
        if wanted.is_empty() {
            return Ok(Named::default());
        }
        let known = symbolizer.resolve(&wanted, &mut self.patience);
        let mut found = Found::default();
        for unnamed in &unnamed {
            let calls = build_of(unnamed).and_then(|build| known.get(build)?.get(&unnamed.place));
            if let Some(calls) = calls {
                found.add(unnamed, calls);
            }
        }
        if found.calls.is_empty() { Ok(Named::default()) } else { stored.with(found) }
    }
}

/// Fields of frames, as they are stored.
struct Stored<'a> {
    frames: &'a StructArray,
    rows: Range<usize>,
    functions: &'a StringArray,
    system_names: &'a StringArray,
    build_ids: &'a StringArray,
    /// Only when they are asked for.
    mappings: Option<&'a StringArray>,
    addresses: &'a Int64Array,
    memory_starts: &'a Int64Array,
    memory_limits: &'a Int64Array,
    file_offsets: &'a Int64Array,
}

/// A frame without a name, and where its name may be found.
struct Unnamed<'a> {
    at: u32,
    build: &'a str,
    mapping: &'a str,
    place: Place,
}

impl<'a> Stored<'a> {
    fn new(list: &'a ListArray) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::SchemaError("its frames are none".to_owned());
        let frames = list.values().as_struct_opt().ok_or_else(wrong)?;
        let texts = |name: &str| frames.column_by_name(name).and_then(|texts| texts.as_string_opt::<i32>());
        let numbers =
            |name: &str| frames.column_by_name(name).and_then(|all| all.as_primitive_opt::<Int64Type>());
        let end = |end: Option<&i32>| end.and_then(|&end| usize::try_from(end).ok()).unwrap_or_default();
        Ok(Self {
            frames,
            rows: end(list.offsets().first())..end(list.offsets().last()),
            functions: texts("function").ok_or_else(wrong)?,
            system_names: texts("system_name").ok_or_else(wrong)?,
            build_ids: texts("build_id").ok_or_else(wrong)?,
            mappings: texts("mapping"),
            addresses: numbers("address").ok_or_else(wrong)?,
            memory_starts: numbers("memory_start").ok_or_else(wrong)?,
            memory_limits: numbers("memory_limit").ok_or_else(wrong)?,
            file_offsets: numbers("file_offset").ok_or_else(wrong)?,
        })
    }

    /// The frames without names, and what their build ids mean.
    fn unnamed(&self) -> (Vec<Unnamed<'a>>, HashMap<&'a str, Option<BuildId>>) {
        let mut builds: HashMap<&str, Option<BuildId>> = HashMap::new();
        let mut all = Vec::new();
        for at in self.rows.clone() {
            let is_named = !self.functions.value(at).is_empty() || !self.system_names.value(at).is_empty();
            let address = self.addresses.value(at).cast_unsigned();
            let build = self.build_ids.value(at);
            if is_named || address == 0 || build.is_empty() {
                continue;
            }
            if builds.entry(build).or_insert_with(|| BuildId::parse(build).ok()).is_none() {
                continue;
            }
            let mapping = Mapping {
                memory_start: self.memory_starts.value(at).cast_unsigned(),
                memory_limit: self.memory_limits.value(at).cast_unsigned(),
                file_offset: self.file_offsets.value(at).cast_unsigned(),
                ..Mapping::default()
            };
            let place = Place::of(&Frame { address, ..Frame::default() }, &mapping);
            let mapping = self.mappings.map_or("", |mappings| mappings.value(at));
            all.push(Unnamed { at: at as u32, build, mapping, place });
        }
        (all, builds)
    }

    /// The frames, with what was found in the place of some.
    fn with(&self, found: Found<'_>) -> Result<Named, ArrowError> {
        let calls = self.frames_of(&found.calls)?;
        let frames = concat(&[self.frames, &calls])?;
        Ok(Named { frames: Some(frames), instead: found.instead })
    }

    /// `calls` as frames with the same fields.
    fn frames_of(&self, calls: &[FoundCall<'_>]) -> Result<StructArray, ArrowError> {
        let text = |of: fn(&Call) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(calls.iter().map(|found| of(found.call))))
        };
        let number = |of: fn(&Call) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(calls.iter().map(|found| of(found.call))))
        };
        let old = UInt32Array::from_iter_values(calls.iter().map(|found| found.instead_of));
        let kind = |stored: &ArrayRef| -> Result<ArrayRef, ArrowError> {
            let stored = take(stored, &old, None)?;
            let native =
                |kind: i8| if kind == FrameKind::Unknown as i8 { FrameKind::Native as i8 } else { kind };
            Ok(Arc::new(stored.as_primitive::<Int8Type>().unary::<_, Int8Type>(native) as Int8Array))
        };
        let columns = self.frames.fields().iter().zip(self.frames.columns()).map(|(field, stored)| {
            Ok(match field.name().as_str() {
                "function" => text(|call| &call.function),
                "system_name" => text(|call| &call.system_name),
                "file" => text(|call| &call.file),
                "line" => number(|call| call.line.into()),
                "mapping" | "build_id" => take(stored, &old, None)?,
                "kind" => kind(stored)?,
                "inlined" => {
                    Arc::new(calls.iter().map(|found| Some(found.is_inlined)).collect::<BooleanArray>())
                }
                // Frames with names do not differ between two starts.
                _ => number(|_| 0),
            })
        });
        StructArray::try_new(self.frames.fields().clone(), columns.collect::<Result<_, ArrowError>>()?, None)
    }
}

/// A call, and the frame in whose place it stands.
struct FoundCall<'a> {
    call: &'a Call,
    is_inlined: bool,
    instead_of: u32,
}

/// The calls that are known, each once.
#[derive(Default)]
struct Found<'a> {
    calls: Vec<FoundCall<'a>>,
    /// By build, place and file, where the calls of a place are.
    of_places: HashMap<(&'a str, Place, &'a str), Range<u32>>,
    /// By frame, where the calls are that stand in its place.
    instead: HashMap<u32, Range<u32>>,
}

impl<'a> Found<'a> {
    fn add(&mut self, unnamed: &Unnamed<'a>, calls: &'a [Call]) {
        let &Unnamed { at, build, mapping, place } = unnamed;
        let range = self.of_places.entry((build, place, mapping)).or_insert_with(|| {
            let start = self.calls.len() as u32;
            let last = calls.len().saturating_sub(1);
            let calls = calls.iter().enumerate();
            self.calls.extend(calls.map(|(depth, call)| FoundCall {
                call,
                is_inlined: depth < last,
                instead_of: at,
            }));
            start..self.calls.len() as u32
        });
        self.instead.insert(at, range.clone());
    }
}

/// What stands in the place of the frames of a batch.
#[derive(Default)]
pub(super) struct Named {
    /// The stored frames and then the calls; `None` when the batch stays as it is.
    frames: Option<ArrayRef>,
    /// By frame, where the calls are that stand in its place.
    instead: HashMap<u32, Range<u32>>,
}

impl Named {
    /// The rows of `batch` with names, in batches of a bounded number of frames.
    pub(super) fn batches<'a>(
        &'a self,
        batch: &'a RecordBatch,
    ) -> Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + 'a> {
        let column = batch.schema_ref().index_of("frames").ok();
        let stored = column.and_then(|at| Some((at, batch.column(at).as_list_opt::<i32>()?)));
        let (Some(frames), Some((column, stored))) = (&self.frames, stored) else {
            return Box::new(std::iter::once(Ok(batch.clone())));
        };
        let mut next = 0;
        Box::new(std::iter::from_fn(move || {
            let (first, mut lengths, mut indices) = (next, Vec::new(), Vec::new());
            while indices.len() < MAX_FRAMES
                && let Some(&[start, end]) = stored.offsets().get(next..next + 2)
            {
                let before = indices.len();
                for at in start.cast_unsigned()..end.cast_unsigned() {
                    indices.extend(self.instead.get(&at).cloned().unwrap_or(at..at + 1));
                }
                lengths.push(indices.len() - before);
                next += 1;
            }
            (next > first).then(|| {
                let DataType::List(element) = stored.data_type() else {
                    return Err(ArrowError::SchemaError("its stacks are no lists".to_owned()));
                };
                let frames = take(frames, &UInt32Array::from(indices), None)?;
                let lists =
                    ListArray::try_new(element.clone(), OffsetBuffer::from_lengths(lengths), frames, None)?;
                let rows = batch.slice(first, next - first);
                let mut columns = rows.columns().to_vec();
                if let Some(frames) = columns.get_mut(column) {
                    *frames = Arc::new(lists);
                }
                RecordBatch::try_new(batch.schema(), columns)
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::schema;

    /// Two stacks, with frames of three fields that are looked at and ten that are not.
    fn batch() -> RecordBatch {
        // Name, mapping, address: leaf first.
        let frames =
            [("", "lib", 0x10), ("main", "", 0), ("", "lib", 0x20), ("", "lib", 0x10), ("main", "", 0)];
        let DataType::Struct(fields) = schema::frame().data_type().clone() else { panic!() };
        let columns = fields.iter().map(|field| -> ArrayRef {
            let texts =
                |of: &dyn Fn(usize) -> &'static str| Arc::new(StringArray::from_iter_values((0..5).map(of)));
            match (field.name().as_str(), field.data_type()) {
                ("function", _) => texts(&|at| frames[at].0),
                ("mapping", _) => texts(&|at| frames[at].1),
                ("build_id", _) => texts(&|at| if frames[at].1.is_empty() { "" } else { "C0FFEE" }),
                ("address", _) => Arc::new(Int64Array::from_iter_values(frames.map(|frame| frame.2))),
                (_, DataType::Utf8) => texts(&|_| ""),
                (_, DataType::Int8) => Arc::new(Int8Array::from(vec![0; 5])),
                (_, DataType::Boolean) => Arc::new(BooleanArray::from(vec![false; 5])),
                _ => Arc::new(Int64Array::from(vec![0; 5])),
            }
        });
        let structs = StructArray::new(fields.clone(), columns.collect(), None);
        let ends = OffsetBuffer::from_lengths([2, 3]);
        let lists = ListArray::new(Arc::new(schema::frame()), ends, Arc::new(structs), None);
        RecordBatch::try_from_iter([
            ("stack_id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
            ("frames", Arc::new(lists)),
        ])
        .unwrap()
    }

    #[test]
    fn calls_take_the_place_of_addresses() {
        let batch = batch();
        let list = batch.column(1).as_list::<i32>();
        let stored = Stored::new(list).unwrap();
        let (unnamed, _) = stored.unnamed();
        let places: Vec<_> = unnamed.iter().map(|unnamed| (unnamed.at, unnamed.place)).collect();
        let virt = Place::Virtual;
        assert_eq!(places, [(0, virt(0x10)), (2, virt(0x20)), (3, virt(0x10))]);
        let call = |name: &str| Call { function: name.to_owned(), line: 7, ..Call::default() };
        let calls = [call("inner"), call("work")];
        let mut found = Found::default();
        unnamed.iter().filter(|unnamed| unnamed.place == virt(0x10)).for_each(|at| found.add(at, &calls));
        // Both frames have the same calls.
        assert_eq!(found.calls.len(), 2);
        let named = stored.with(found).unwrap();
        let [batch] = named.batches(&batch).collect::<Result<Vec<_>, _>>().unwrap().try_into().unwrap();
        let list = batch.column(1).as_list::<i32>();
        assert_eq!(list.offsets().lengths().collect::<Vec<_>>(), [3, 4]);
        let frames = list.values().as_struct();
        let field = |name: &str| frames.column_by_name(name).unwrap();
        let names: Vec<_> = field("function").as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["inner", "work", "main", "", "inner", "work", "main"]);
        let inlined: Vec<_> = field("inlined").as_boolean().iter().flatten().collect();
        assert_eq!(inlined, [true, false, false, false, true, false, false]);
        let numbers = |name: &str| field(name).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(numbers("address"), [0, 0, 0, 0x20, 0, 0, 0]);
        assert_eq!(numbers("line"), [7, 7, 0, 0, 7, 7, 0]);
        let mappings: Vec<_> = field("mapping").as_string::<i32>().iter().flatten().collect();
        assert_eq!(mappings, ["lib", "lib", "", "lib", "lib", "lib", ""]);
    }

    #[test]
    fn many_frames_become_several_batches() {
        let batch = batch();
        let frames = batch.column(1).as_list::<i32>().values().clone();
        // The first frame stands for so many that the second stack has no room beside it.
        let calls = vec![0; MAX_FRAMES];
        let calls = take(&frames, &UInt32Array::from(calls), None).unwrap();
        let end = 5 + MAX_FRAMES as u32;
        let named = Named {
            frames: Some(concat(&[frames.as_ref(), calls.as_ref()]).unwrap()),
            instead: [(0, 5..end)].into(),
        };
        let batches: Vec<_> = named.batches(&batch).collect::<Result<_, _>>().unwrap();
        let rows: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(rows, [1, 1]);
        let unchanged: Vec<_> = Named::default().batches(&batch).collect::<Result<_, _>>().unwrap();
        assert_eq!(unchanged, [batch]);
    }
}
