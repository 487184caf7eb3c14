//! The table `stacks`: each stack of a service once, with the names of its functions.
//!
//! In the files a stack may occur several times, and those of the newest profiles are only in the head: what
//! was seen is remembered while the table is read, so that a join adds no sample twice.

use super::columns::{id, text_element, texts_at};
use super::context::{Context, reading, stopped};
use super::named_frames::{Names, PLACE};
use super::plan::{Estimate, Leaf};
use super::prune::Pruner;
use super::rows::{Place, blocking, open, projected};
use super::schema;
use crate::scan::Interrupt;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBuilder, Int8Array, Int64Array, ListArray,
    ListBuilder, RecordBatch, RecordBatchOptions, StringArray, StringViewBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use everflame_lake::ResolvedStacks;
use everflame_profile::{Frame, StackId};
use hashbrown::{HashMap, HashSet};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What a stack that was seen takes in memory.
const SEEN_BYTES: usize = 64;
/// Stacks read at a time: each has up to a thousand frames.
const STACKS_AT_ONCE: usize = 1_024;

/// The table `stacks`.
#[derive(Debug)]
pub(super) struct StacksTable {
    context: Arc<Context>,
    schema: SchemaRef,
}

#[derive(Clone, Debug)]
struct Piece {
    place: Place,
    metadata: ArrowReaderMetadata,
    groups: Vec<usize>,
}

impl StacksTable {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, schema: schema::stacks() }
    }
}

#[async_trait]
impl TableProvider for StacksTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = projected(&self.schema, projection)?;
        let pruner = Pruner::new(session, filters, &self.schema);
        let context = self.context.clone();
        let pieces = blocking(move || pieces(&context, &pruner)).await?;
        let head = self.context.snapshot.head.iter().map(|chunk| chunk.stacks.len() as u64).sum::<u64>();
        let rows = pieces.iter().flat_map(|piece| {
            let groups = piece.metadata.metadata().row_groups();
            piece.groups.iter().filter_map(|&at| u64::try_from(groups.get(at)?.num_rows()).ok())
        });
        let rows = rows.sum::<u64>() + head;
        let what = format!("stacks, files={}", pieces.len());
        let reader = Reader { context: self.context.clone(), schema: schema.clone(), pieces };
        let estimate = Estimate { rows, values: self.context.values() };
        Ok(Leaf::plan(what, schema, vec![Arc::new(reader)], estimate))
    }
}

fn pieces(context: &Context, pruner: &Pruner) -> Result<Vec<Piece>> {
    let places = context.snapshot.stacks.iter().map(|file| Place::undated(file.clone()));
    let (mut pieces, mut rows) = (Vec::new(), 0u64);
    for place in pruner.files(places.collect()) {
        let file = place.file.clone();
        let found = reading(context, &file, || {
            let metadata = ArrowReaderMetadata::try_new(context.footer(&file)?, ArrowReaderOptions::new())?;
            Ok((pruner.row_groups(&place, &metadata), metadata))
        })?;
        let Some((groups, metadata)) = found else { continue };
        if !groups.is_empty() {
            rows = rows.saturating_add(place.file.stats.rows);
            pieces.push(Piece { place, metadata, groups });
        }
    }
    let groups = pieces.iter().map(|piece| piece.groups.len()).sum();
    context.will_read(pieces.len(), groups, rows).map_err(super::context::external)?;
    Ok(pieces)
}

struct Reader {
    context: Arc<Context>,
    schema: SchemaRef,
    pieces: Vec<Piece>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stacks")
    }
}

impl PartitionStream for Reader {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let send = stream.tx();
        let (context, schema, pieces) = (self.context.clone(), self.schema.clone(), self.pieces.clone());
        let memory = MemoryConsumer::new("stacks that were seen").register(task.memory_pool());
        stream.spawn_blocking(move || {
            let alone = pieces.len() == 1 && context.snapshot.head.is_empty();
            let mut seen = Seen { stacks: HashSet::new(), services: HashMap::new(), memory, alone };
            let mut names = Names::new(context.engine.symbolizer().cloned());
            for piece in &pieces {
                for &at in &piece.groups {
                    let mut failed = None;
                    let mut emit =
                        |batch| match seen.new_ones(batch).and_then(|batch| select(&batch, &schema)) {
                            Ok(batch) => send.blocking_send(Ok(batch)).is_ok(),
                            Err(error) => {
                                failed = Some(error);
                                false
                            }
                        };
                    reading(&context, &piece.place.file, || {
                        read(piece, at, &schema, &context, &mut names, &mut emit)
                    })?;
                    if let Some(error) = failed {
                        return Err(error);
                    }
                    if send.is_closed() {
                        return Ok(());
                    }
                }
            }
            for part in seen.missing(stacks_of_head(&context)).chunks(STACKS_AT_ONCE) {
                context.control.go_on().map_err(|_| stopped())?;
                let part = head(&context, part)?;
                for named in names.of(&part)?.batches(&part) {
                    let batch = select(&columns(&named?, &schema)?, &schema)?;
                    if send.blocking_send(Ok(batch)).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// The stacks that were read.
struct Seen {
    stacks: HashSet<(u32, [u8; 16])>,
    services: HashMap<String, u32>,
    memory: MemoryReservation,
    /// There is one file and nothing else, so that nothing can occur twice.
    alone: bool,
}

impl Seen {
    /// The rows of `batch` that were not seen; its first columns are service and stack.
    fn new_ones(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.alone || batch.num_columns() < 2 {
            return Ok(batch);
        }
        let (services, ids) = (batch.column(0).as_string_view(), batch.column(1).as_binary_view());
        let mut is_new = BooleanBuilder::with_capacity(batch.num_rows());
        let before = self.stacks.len();
        for (service, id) in services.iter().zip(ids.iter()) {
            let next = self.services.len() as u32;
            let service = *self.services.entry_ref(service.unwrap_or_default()).or_insert(next);
            let id = id.and_then(|id| <[u8; 16]>::try_from(id).ok()).unwrap_or_default();
            is_new.append_value(self.stacks.insert((service, id)));
        }
        self.memory.try_grow((self.stacks.len() - before) * SEEN_BYTES)?;
        Ok(filter_record_batch(&batch, &is_new.finish())?)
    }

    /// Those of `stacks` that were not seen.
    fn missing(&self, stacks: BTreeSet<(String, StackId)>) -> Vec<(String, StackId)> {
        let is_new = |(service, stack): &(String, StackId)| {
            let service = self.services.get(service);
            !service.is_some_and(|&service| self.stacks.contains(&(service, stack.0.to_be_bytes())))
        };
        stacks.into_iter().filter(is_new).collect()
    }
}

/// Names of the columns that are made from those of frames.
fn is_made(name: &str) -> bool {
    name == "function" || name == "functions"
}

/// Reads a row group: service and stack first, for [`Seen`], then made into the columns of `schema`.
fn read(
    piece: &Piece,
    at: usize,
    schema: &SchemaRef,
    context: &Context,
    names: &mut Names,
    emit: &mut impl FnMut(RecordBatch) -> bool,
) -> std::result::Result<(), Interrupt> {
    let wanted = |name: &str| schema.fields().iter().any(|field| field.name() == name);
    let names_alone = !wanted("frames") && schema.fields().iter().any(|field| is_made(field.name()));
    let parquet = piece.metadata.metadata().file_metadata().schema_descr();
    let leaves = parquet.columns().iter().enumerate().filter(|(_, column)| {
        let path = column.path().parts();
        match path.first().map(String::as_str) {
            Some("frames") if wanted("frames") => true,
            Some("frames") if names_alone => {
                let last = path.last().map_or("", String::as_str);
                ["function", "system_name", "address"].contains(&last)
                    || names.are_there() && PLACE.contains(&last)
            }
            Some("frames") => false,
            _ => true,
        }
    });
    let mask = ProjectionMask::leaves(parquet, leaves.map(|(leaf, _)| leaf).collect::<Vec<_>>());
    for batch in open(&piece.place.file, &piece.metadata, at, mask, STACKS_AT_ONCE, context)? {
        context.control.go_on()?;
        let batch = batch?;
        for named in names.of(&batch)?.batches(&batch) {
            if !emit(columns(&named?, schema)?) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Service, stack, and the columns of `schema`, from those of the file.
fn columns(batch: &RecordBatch, schema: &SchemaRef) -> std::result::Result<RecordBatch, ArrowError> {
    let stored = |name: &str| {
        let found = batch.column_by_name(name).cloned();
        found.ok_or_else(|| ArrowError::SchemaError(format!("it has no column {name:?}")))
    };
    let keyed = keyed(schema);
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(keyed.fields().len());
    for field in keyed.fields() {
        let array = match field.name().as_str() {
            "function" => leaf_names(&names(stored("frames")?.as_list::<i32>())?)?,
            "functions" => Arc::new(names(stored("frames")?.as_list::<i32>())?),
            name => stored(name)?,
        };
        arrays.push(cast(&array, field.data_type())?);
    }
    RecordBatch::try_new(keyed, arrays)
}

/// `schema` with service and stack in front, which tell stacks apart.
fn keyed(schema: &SchemaRef) -> SchemaRef {
    let keys = [super::columns::text("service"), id("stack_id")];
    let rest =
        schema.fields().iter().filter(|field| !["service", "stack_id"].contains(&field.name().as_str()));
    let fields: Vec<Field> = keys.into_iter().chain(rest.map(|field| field.as_ref().clone())).collect();
    Arc::new(Schema::new(fields))
}

/// The columns of `schema` of a batch that may have more.
fn select(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> =
        schema.fields().iter().filter_map(|field| batch.column_by_name(field.name()).cloned()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The names of all frames, outermost first.
fn names(frames: &ListArray) -> std::result::Result<ListArray, ArrowError> {
    let wrong = || ArrowError::SchemaError("its frames are none".to_owned());
    let fields = frames.values().as_struct_opt().ok_or_else(wrong)?;
    let field = |name: &str| fields.column_by_name(name).ok_or_else(wrong);
    let functions = field("function")?.as_string_opt::<i32>().ok_or_else(wrong)?;
    let system_names = field("system_name")?.as_string_opt::<i32>().ok_or_else(wrong)?;
    let addresses = field("address")?.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let mut all = builder();
    for ends in frames.offsets().windows(2) {
        let &[start, end] = ends else { continue };
        for at in (usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0)).rev() {
            match (functions.value(at), system_names.value(at)) {
                ("", "") => all.values().append_value(format!("0x{:x}", addresses.value(at))),
                ("", name) | (name, _) => all.values().append_value(name),
            }
        }
        all.append(true);
    }
    Ok(all.finish())
}

fn builder() -> ListBuilder<StringViewBuilder> {
    ListBuilder::new(StringViewBuilder::new().with_deduplicate_strings()).with_field(text_element())
}

/// The last of each list of names: the innermost function.
fn leaf_names(names: &ListArray) -> std::result::Result<ArrayRef, ArrowError> {
    let all = names.values().as_string_view();
    let mut leaves = StringViewBuilder::with_capacity(names.len()).with_deduplicate_strings();
    for ends in names.offsets().windows(2) {
        let &[start, end] = ends else { continue };
        let last = usize::try_from(end).ok().filter(|_| end > start).map(|end| end - 1);
        leaves.append_value(last.map_or("", |last| all.value(last)));
    }
    Ok(Arc::new(leaves.finish()))
}

/// The stacks of all samples of the head, by service.
fn stacks_of_head(context: &Context) -> BTreeSet<(String, StackId)> {
    let mut all = BTreeSet::new();
    for chunk in &context.snapshot.head {
        let mut of_services: BTreeMap<&str, HashSet<u32>> = BTreeMap::new();
        let mut start = 0;
        for profile in &chunk.profiles {
            let end = profile.samples_end as usize;
            let service = context.series().get(&profile.series).map_or("", |found| found.series.service());
            let stacks = chunk.sample_stacks.get(start..end).unwrap_or_default();
            of_services.entry(service).or_default().extend(stacks);
            start = end;
        }
        for (service, stacks) in of_services {
            let stacks = stacks.into_iter().filter_map(|at| chunk.stacks.get(at as usize).copied());
            all.extend(stacks.map(|stack| (service.to_owned(), stack)));
        }
    }
    all
}

/// These stacks of the head, with their frames.
fn head(context: &Context, stacks: &[(String, StackId)]) -> Result<RecordBatch> {
    let mut services: Vec<&str> = stacks.iter().map(|(service, _)| service.as_str()).collect();
    services.dedup();
    let ids: Vec<StackId> = stacks.iter().map(|(_, stack)| *stack).collect();
    let resolved = context.engine.lake().resolve_stacks(&services, &ids);
    let resolved = resolved.map_err(|error| super::context::external(error.into()))?;
    Ok(head_batch(stacks, &resolved)?)
}

fn head_batch(
    wanted: &[(String, StackId)],
    resolved: &ResolvedStacks,
) -> std::result::Result<RecordBatch, ArrowError> {
    let services = StringArray::from_iter_values(wanted.iter().map(|(service, _)| service));
    let rows = 0..services.len() as i32;
    let services = texts_at(rows.collect(), services)?;
    let ids = BinaryArray::from_iter_values(wanted.iter().map(|(_, stack)| stack.0.to_be_bytes()));
    let ids = cast(&ids, &DataType::BinaryView)?;
    let mut lengths = Vec::with_capacity(wanted.len());
    let mut frames: Vec<Frame> = Vec::new();
    for at in 0..wanted.len() {
        let stack = resolved.stack(at);
        let found = stack.iter().filter_map(|&frame| resolved.symbols.frames.get(frame as usize).copied());
        let before = frames.len();
        frames.extend(found);
        lengths.push(frames.len() - before);
    }
    let structs = Arc::new(frame_structs(&frames, resolved)?);
    let frames =
        ListArray::try_new(Arc::new(schema::frame()), OffsetBuffer::from_lengths(lengths), structs, None)?;
    RecordBatch::try_from_iter([("service", services), ("stack_id", ids), ("frames", Arc::new(frames) as _)])
        .map_err(|error| ArrowError::SchemaError(format!("stacks of the head: {error}")))
}

fn frame_structs(
    frames: &[Frame],
    resolved: &ResolvedStacks,
) -> std::result::Result<StructArray, ArrowError> {
    let symbols = &resolved.symbols;
    let texts = |of: &dyn Fn(&Frame) -> u32| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(frames.iter().map(|frame| symbols.strings.get(of(frame)))))
    };
    let numbers = |of: &dyn Fn(&Frame) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(frames.iter().map(of)))
    };
    let mapping = |frame: &Frame| symbols.mapping(frame.mapping);
    let columns: Vec<ArrayRef> = vec![
        texts(&|frame| frame.function),
        texts(&|frame| frame.system_name),
        texts(&|frame| frame.file),
        numbers(&|frame| frame.line),
        numbers(&|frame| frame.start_line),
        texts(&|frame| mapping(frame).file),
        texts(&|frame| mapping(frame).build_id),
        numbers(&|frame| mapping(frame).memory_start.cast_signed()),
        numbers(&|frame| mapping(frame).memory_limit.cast_signed()),
        numbers(&|frame| mapping(frame).file_offset.cast_signed()),
        numbers(&|frame| frame.address.cast_signed()),
        Arc::new(Int8Array::from_iter_values(frames.iter().map(|frame| (frame.kind as u8).cast_signed()))),
        Arc::new(frames.iter().map(|frame| Some(frame.inlined)).collect::<BooleanArray>()),
    ];
    match schema::frame().data_type() {
        DataType::Struct(fields) => StructArray::try_new(fields.clone(), columns, None),
        _ => Err(DataFusionError::Internal("frames are structs".to_owned()).into()),
    }
}
