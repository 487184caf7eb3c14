//! Samples of Arrow records: rows of a value, a stack, labels, and what the value measures.
//!
//! Rows that differ in stack and time alone become one profile.

use super::columns::{Lists, Numbers, Structs, Texts, wrong};
use super::locations::{LocationTable, Locations};
use crate::error::ApiError;
use arrow::record_batch::RecordBatch;
use everflame_formats::{Limits, Moments, Part};
use everflame_profile::{FrameIndex, Location, Nanos, Profile, Samples, SymbolInterner, ValueType};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Profiles that one message may become: sets of labels times types.
const MAX_PROFILES: usize = 16_384;
/// Bytes of a stack's id: a UUID has 16.
const MAX_ID_BYTES: usize = 64;

/// What the rows of all records of a message said until now.
#[derive(Default)]
pub(super) struct Collected {
    locations: Locations,
    /// Location numbers of all stacks, leaf first.
    stack_locations: Vec<u32>,
    /// Stacks that are named by an id, in the order in which they were met, and theirs in `stack_locations`.
    ids: HashMap<Vec<u8>, u32>,
    stacks: Vec<Option<Range<usize>>>,
    groups: HashMap<Vec<u8>, u32>,
    parts: Vec<(Part, Vec<Row>)>,
    rows: usize,
}

struct Row {
    stack: Stack,
    value: i64,
    time: Nanos,
}

enum Stack {
    Here(Range<usize>),
    Named(u32),
}

/// The columns of one record of samples.
struct Columns {
    value: Numbers,
    producer: Texts,
    sample: (Texts, Texts),
    period_type: (Option<Texts>, Option<Texts>),
    period: Option<Numbers>,
    duration: Option<Numbers>,
    timestamp: Option<Numbers>,
    labels: Vec<(String, Texts)>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, ApiError> {
        let missing = |name: &str| {
            ApiError::invalid(format_args!(
                "Arrow record: the column {name:?} is missing; send it with each record"
            ))
        };
        let texts = |name: &str| batch.column_by_name(name).map(|column| Texts::of(name, column)).transpose();
        let numbers =
            |name: &str| batch.column_by_name(name).map(|column| Numbers::of(name, column)).transpose();
        let needed = |name: &str| texts(name)?.ok_or_else(|| missing(name));
        let mut labels = Vec::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if let Some(label) = field.name().strip_prefix("labels.") {
                labels.push((label.to_owned(), Texts::of(field.name(), column)?));
            } else if field.name() == "labels" {
                let structs = Structs::of("labels", column)?;
                if structs.len() != structs.rows() {
                    return Err(wrong("labels", column, "plain structs"));
                }
                for (label, column) in structs.fields() {
                    let texts = Texts::of(&label, &column)?;
                    labels.push((label, texts));
                }
            }
        }
        Ok(Self {
            value: numbers("value")?.ok_or_else(|| missing("value"))?,
            producer: needed("producer")?,
            sample: (needed("sample_type")?, needed("sample_unit")?),
            period_type: (texts("period_type")?, texts("period_unit")?),
            period: numbers("period")?,
            duration: numbers("duration")?,
            timestamp: numbers("timestamp")?,
            labels,
        })
    }

    /// What tells the profiles of rows apart.
    fn key(&self, row: usize, key: &mut Vec<u8>) {
        key.clear();
        let texts = [Some(&self.producer), Some(&self.sample.0), Some(&self.sample.1)];
        let texts = texts.into_iter().chain([self.period_type.0.as_ref(), self.period_type.1.as_ref()]);
        for text in texts.flatten() {
            push_text(key, text.bytes(row).unwrap_or_default());
        }
        for column in [&self.period, &self.duration] {
            key.extend_from_slice(&number(column, row).to_le_bytes());
        }
        for (name, values) in &self.labels {
            if let Some(value) = values.bytes(row).filter(|value| !value.is_empty()) {
                push_text(key, name.as_bytes());
                push_text(key, value);
            }
        }
    }

    fn part(&self, row: usize) -> Part {
        let text = |column: &Option<Texts>| {
            column.as_ref().map_or(String::new(), |column| column.text(row).into_owned())
        };
        let labels = self.labels.iter().map(|(name, values)| (name.clone(), values.text(row).into_owned()));
        let profile = Profile {
            sample_types: vec![ValueType::new(self.sample.0.text(row), self.sample.1.text(row))],
            period_type: ValueType::new(text(&self.period_type.0), text(&self.period_type.1)),
            period: number(&self.period, row),
            duration: number(&self.duration, row).max(0),
            ..Profile::default()
        };
        Part {
            name: self.producer.text(row).into_owned(),
            labels: labels.filter(|(_, value)| !value.is_empty()).collect(),
            profile,
            moments: Moments::default(),
        }
    }
}

/// Texts in a key end where the next begins.
fn push_text(key: &mut Vec<u8>, text: &[u8]) {
    key.extend_from_slice(&(text.len() as u32).to_le_bytes());
    key.extend_from_slice(text);
}

fn number(column: &Option<Numbers>, row: usize) -> i64 {
    column.as_ref().and_then(|column| column.number(row)).unwrap_or_default()
}

impl Collected {
    /// Adds a record of samples or of locations.
    pub(super) fn add(&mut self, batch: &RecordBatch, limits: &Limits) -> Result<(), ApiError> {
        let has = |name| batch.column_by_name(name).is_some();
        if has("value") {
            self.add_samples(batch, limits)
        } else if has("locations") {
            self.add_locations(batch, limits)
        } else {
            Err(ApiError::invalid(
                "Arrow record: it has neither a column \"value\" (samples) nor \"locations\"; send one of the two layouts",
            ))
        }
    }

    fn add_samples(&mut self, batch: &RecordBatch, limits: &Limits) -> Result<(), ApiError> {
        self.rows = self.rows.saturating_add(batch.num_rows());
        if self.rows > limits.samples {
            return Err(ApiError::invalid(format_args!(
                "{} samples in one message, at most {} are taken; send it in parts",
                self.rows, limits.samples
            )));
        }
        let columns = Columns::of(batch)?;
        let stacks = match batch.column_by_name("stacktrace") {
            Some(column) => Some(self.lists("stacktrace", column)?),
            None => None,
        };
        let ids = batch
            .column_by_name("stacktrace_id")
            .map(|column| Texts::of("stacktrace_id", column))
            .transpose()?;
        let mut key = Vec::new();
        for row in 0..batch.num_rows() {
            columns.key(row, &mut key);
            let next = self.groups.len();
            let group = *self.groups.entry_ref(key.as_slice()).or_insert_with(|| {
                self.parts.push((columns.part(row), Vec::new()));
                next as u32
            });
            if self.groups.len() > MAX_PROFILES {
                return Err(ApiError::invalid(format_args!(
                    "more than {MAX_PROFILES} sets of labels and types in one message; send it in parts"
                )));
            }
            let stack = match (&stacks, &ids) {
                (Some((lists, structs, first)), _) => Stack::Here(self.stack(
                    lists.run(row).filter_map(|at| Some(first + structs.position(at)? as u32)),
                    limits,
                )?),
                (None, Some(ids)) => Stack::Named(self.id(ids.bytes(row).unwrap_or_default())?),
                (None, None) => Stack::Here(0..0),
            };
            let (value, time) =
                (columns.value.number(row).unwrap_or_default(), number(&columns.timestamp, row));
            if let Some((_, rows)) = self.parts.get_mut(group as usize) {
                rows.push(Row { stack, value, time });
            }
        }
        Ok(())
    }

    fn add_locations(&mut self, batch: &RecordBatch, limits: &Limits) -> Result<(), ApiError> {
        let column = |name| {
            batch.column_by_name(name).ok_or_else(|| {
                ApiError::invalid(format_args!(
                    "Arrow record: the column {name:?} is missing beside locations"
                ))
            })
        };
        let ids = Texts::of("stacktrace_id", column("stacktrace_id")?)?;
        let (lists, structs, first) = self.lists("locations", column("locations")?)?;
        for row in 0..batch.num_rows() {
            // Nobody asked for stacks that no sample has.
            let Some(&id) = self.ids.get(ids.bytes(row).unwrap_or_default()) else { continue };
            let locations = lists.run(row).filter_map(|at| Some(first + structs.position(at)? as u32));
            let stack = self.stack(locations, limits)?;
            if let Some(known) = self.stacks.get_mut(id as usize) {
                *known = Some(stack);
            }
        }
        Ok(())
    }

    /// Lists of locations, and the number of the first of those.
    fn lists(
        &mut self,
        name: &str,
        column: &arrow::array::ArrayRef,
    ) -> Result<(Lists, Structs, u32), ApiError> {
        let lists = Lists::of(name, column)?;
        let structs = Structs::of(name, &lists.values)?;
        let first = self.locations.add(&structs)?;
        Ok((lists, structs, first))
    }

    /// Takes a stack up, leaf first; what is deeper than the limit keeps its root side.
    fn stack(
        &mut self,
        locations: impl Iterator<Item = u32>,
        limits: &Limits,
    ) -> Result<Range<usize>, ApiError> {
        let start = self.stack_locations.len();
        let room = limits.entries.saturating_sub(start);
        self.stack_locations.extend(locations.take(room + 1));
        if self.stack_locations.len() > limits.entries {
            return Err(ApiError::invalid(format_args!(
                "more than {} frames in all stacks of one message; send it in parts",
                limits.entries
            )));
        }
        let end = self.stack_locations.len();
        Ok(start.max(end.saturating_sub(limits.depth))..end)
    }

    fn id(&mut self, id: &[u8]) -> Result<u32, ApiError> {
        if id.len() > MAX_ID_BYTES {
            return Err(ApiError::invalid(format_args!(
                "Arrow record: a stacktrace_id has {} bytes, at most {MAX_ID_BYTES} are taken",
                id.len()
            )));
        }
        let next = self.stacks.len() as u32;
        Ok(*self.ids.entry_ref(id).or_insert_with(|| {
            self.stacks.push(None);
            next
        }))
    }

    /// The ids of stacks whose locations are not known, in the order in which they were met.
    pub(super) fn unknown(&self) -> Vec<&[u8]> {
        let is_unknown = |number: u32| self.stacks.get(number as usize).is_some_and(Option::is_none);
        let mut unknown: Vec<_> = self.ids.iter().filter(|(_, number)| is_unknown(**number)).collect();
        unknown.sort_unstable_by_key(|(_, number)| **number);
        unknown.into_iter().map(|(id, _)| id.as_slice()).collect()
    }

    /// The profiles; refused when a stack is not known.
    pub(super) fn into_parts(self) -> Result<Vec<Part>, ApiError> {
        let unknown = self.unknown().len();
        if unknown > 0 {
            return Err(ApiError::invalid(format_args!(
                "{unknown} stacks have no locations; send them with the samples, or after them with their stacktrace_id"
            )));
        }
        let Self { locations, stack_locations, stacks, parts, .. } = self;
        let locations = locations.finish();
        let stack_of = |stack: &Stack| {
            let range = match stack {
                Stack::Here(range) => Some(range.clone()),
                Stack::Named(number) => stacks.get(*number as usize).cloned().flatten(),
            };
            range.and_then(|range| stack_locations.get(range)).unwrap_or_default()
        };
        Ok(parts.into_iter().map(|(part, rows)| finish(part, &rows, stack_of, &locations)).collect())
    }
}

/// Fills in the samples, and the frames that they use.
fn finish<'a>(
    mut part: Part,
    rows: &[Row],
    stack_of: impl Fn(&Stack) -> &'a [u32],
    table: &LocationTable,
) -> Part {
    let mut interner = SymbolInterner::default();
    let mut known: HashMap<u32, u32> = HashMap::new();
    let mut frames: Vec<Vec<FrameIndex>> = Vec::new();
    let mut samples = Samples::default();
    let mut stack = Vec::new();
    for row in rows {
        stack.clear();
        for &location in stack_of(&row.stack) {
            stack.push(*known.entry(location).or_insert_with(|| {
                let content = table
                    .frames(location)
                    .iter()
                    .filter_map(|&frame| table.symbols.frames.get(frame as usize));
                frames.push(content.map(|frame| interner.intern(&table.symbols, frame)).collect());
                (frames.len() - 1) as u32
            }));
        }
        samples.push(&stack, &[row.value], &[]);
    }
    let profile = &mut part.profile;
    let (mut symbols, mut locations) = (interner.into_symbols(), Vec::with_capacity(frames.len()));
    // A location is a run of frames, so that one of several frames gets some of its own.
    for own in frames {
        let first = match own.as_slice() {
            [frame] => *frame,
            own => {
                let first = symbols.frames.len() as u32;
                for &frame in own {
                    let copy = symbols.frames.get(frame as usize).copied().unwrap_or_default();
                    symbols.frames.push(copy);
                }
                first
            }
        };
        locations.push(Location { first, count: own.len() as u32 });
    }
    (profile.symbols, profile.locations) = (Arc::new(symbols), Arc::new(locations));
    profile.samples = samples;
    profile.time = rows.iter().map(|row| row.time).filter(|&time| time > 0).min().unwrap_or_default();
    if rows.iter().any(|row| row.time != profile.time) {
        part.moments = Moments {
            times: rows.iter().map(|row| row.time).collect(),
            values: profile.samples.values.clone(),
            ends: (1..=rows.len() as u32).collect(),
        };
    }
    part
}
