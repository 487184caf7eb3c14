//! The tables whose rows lie in files and in the head: samples, profiles, their sums, and series.
//!
//! A table of sums holds what is summed already. What is newer comes from the table that is summed, moved to
//! the start of its window, as rows that are parts of sums too: so every table knows everything that was
//! acknowledged.

use super::columns::{as_type, dates, times};
use super::context::{Context, external, reading, stopped};
use super::plan::{Estimate, Leaf};
use super::prune::Pruner;
use super::schema::Table;
use crate::scan::Interrupt;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray,
};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use everflame_lake::{DataFile, HeadChunk, Level, Tier};
use everflame_profile::SeriesId;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

/// Rows read at a time.
pub(super) const BATCH_ROWS: usize = 8_192;

/// A table of the lake.
#[derive(Debug)]
pub(super) struct LakeTable {
    table: Table,
    schema: SchemaRef,
    context: Arc<Context>,
}

/// A file of a table, or of the table that it sums.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<DataFile>,
    /// The partition, days since the epoch.
    pub(super) date: i32,
    /// What its rows become parts of; `None` when they are what the table holds.
    sum: Option<(Tier, Level)>,
}

impl Place {
    /// A file of a table without partitions.
    pub(super) fn undated(file: Arc<DataFile>) -> Self {
        Self { file, date: 0, sum: None }
    }

    /// What a row at `time` has for its time.
    pub(super) fn window(&self, time: i64) -> i64 {
        self.sum.map_or(time, |(tier, _)| tier.window(time))
    }

    /// Whether the values of `column` are not those that the file has.
    pub(super) fn computes(&self, column: &str) -> bool {
        match self.sum {
            None => false,
            Some((_, Level::Service)) if column == "series_id" => true,
            Some(_) => ["time", "window", "profiles"].contains(&column),
        }
    }
}

/// What one thread reads without stopping.
#[derive(Clone, Debug)]
enum Piece {
    RowGroup { place: Place, metadata: ArrowReaderMetadata, at: usize },
    Head(Arc<HeadChunk>),
}

impl Piece {
    fn rows(&self, table: Table) -> u64 {
        match self {
            Self::RowGroup { metadata, at, .. } => {
                let group = metadata.metadata().row_groups().get(*at);
                group.map_or(0, |group| u64::try_from(group.num_rows()).unwrap_or(0))
            }
            Self::Head(chunk) => match table {
                Table::Samples | Table::SampleSums(..) => chunk.sample_values.len() as u64,
                Table::Profiles | Table::ProfileSums(..) | Table::Series => chunk.profiles.len() as u64,
            },
        }
    }
}

impl LakeTable {
    pub(super) fn new(table: Table, context: Arc<Context>) -> Self {
        Self { table, schema: table.schema(), context }
    }

    fn places(&self) -> Vec<Place> {
        let snapshot = &self.context.snapshot;
        let raw = match self.table {
            Table::Samples | Table::SampleSums(..) => &snapshot.samples,
            Table::Profiles | Table::ProfileSums(..) => &snapshot.profiles,
            Table::Series => &snapshot.series,
        };
        let Some((tier, level)) = self.table.sum() else {
            return raw.iter().map(|file| Place { date: day(file), file: file.clone(), sum: None }).collect();
        };
        let mut places = Vec::new();
        let mut sequence = 0;
        for sums in snapshot.tiers.iter().filter(|sums| sums.tier == tier && sums.level == level) {
            let (files, summed) = match self.table {
                Table::SampleSums(..) => (&sums.samples, sums.samples_sequence),
                _ => (&sums.profiles, sums.profiles_sequence),
            };
            sequence = summed;
            places.extend(files.iter().map(|file| Place {
                date: tier.partition(file.stats.min_time),
                file: file.clone(),
                sum: None,
            }));
        }
        let newer = raw.iter().filter(|file| file.sequence() > sequence);
        places.extend(newer.map(|file| Place {
            date: tier.partition(file.stats.min_time),
            file: file.clone(),
            sum: Some((tier, level)),
        }));
        places
    }

    /// The pieces that the filters leave.
    fn pieces(&self, pruner: &Pruner) -> Result<Vec<Piece>> {
        let (mut pieces, mut files) = (Vec::new(), 0);
        for place in pruner.files(self.places()) {
            let file = place.file.clone();
            let found = reading(&self.context, &file, || {
                let metadata = arrow_metadata(self.context.footer(&file)?)?;
                Ok((pruner.row_groups(&place, &metadata), metadata))
            })?;
            let Some((groups, metadata)) = found else { continue };
            files += usize::from(!groups.is_empty());
            pieces.extend(groups.into_iter().map(|at| Piece::RowGroup {
                place: place.clone(),
                metadata: metadata.clone(),
                at,
            }));
        }
        let groups = pieces.len();
        pieces.extend(self.context.snapshot.head.iter().cloned().map(Piece::Head));
        let rows = pieces.iter().map(|piece| piece.rows(self.table)).sum();
        self.context.will_read(files, groups, rows).map_err(external)?;
        Ok(pieces)
    }
}

#[async_trait]
impl TableProvider for LakeTable {
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
        let table = Self { table: self.table, schema: self.schema.clone(), context: self.context.clone() };
        let pieces = blocking(move || table.pieces(&pruner)).await?;
        let rows = pieces.iter().map(|piece| piece.rows(self.table)).sum();
        let what = format!("{}, pieces={}", self.table.name(), pieces.len());
        let parts = share_out(pieces, self.context.engine.limits().threads, self.table);
        let parts = parts.into_iter().map(|pieces| -> Arc<dyn PartitionStream> {
            let (schema, context) = (schema.clone(), self.context.clone());
            Arc::new(Part { table: self.table, schema, context, pieces })
        });
        Ok(Leaf::plan(
            what,
            schema.clone(),
            parts.collect(),
            Estimate { rows, values: self.context.values() },
        ))
    }
}

/// The partition that a file lies in, by the name of its folder: `date=2026-08-01`.
fn day(file: &Arc<DataFile>) -> i32 {
    let folder = file.path.parent().and_then(|folder| folder.file_name()?.to_str()?.strip_prefix("date="));
    folder.and_then(Date32Type::parse).unwrap_or_else(|| super::columns::day(file.stats.min_time))
}

/// Runs what reads files beside the threads that plan.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}

pub(super) fn projected(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
    Ok(match projection {
        Some(columns) => Arc::new(schema.project(columns)?),
        None => schema.clone(),
    })
}

/// Gives `threads` parts about the same number of rows.
fn share_out(mut pieces: Vec<Piece>, threads: usize, table: Table) -> Vec<Vec<Piece>> {
    let mut parts: Vec<(u64, Vec<Piece>)> = vec![(0, Vec::new()); threads.clamp(1, pieces.len().max(1))];
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.rows(table)));
    for piece in pieces {
        if let Some((rows, part)) = parts.iter_mut().min_by_key(|(rows, _)| *rows) {
            *rows += piece.rows(table);
            part.push(piece);
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// What one thread reads of a table.
#[derive(Debug)]
struct Part {
    table: Table,
    schema: SchemaRef,
    context: Arc<Context>,
    pieces: Vec<Piece>,
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), 2);
        let send = stream.tx();
        let (table, schema, context) = (self.table, self.schema.clone(), self.context.clone());
        let pieces = self.pieces.clone();
        stream.spawn_blocking(move || {
            for piece in pieces {
                let mut open = true;
                let mut emit = |batch: RecordBatch| {
                    open = send.blocking_send(Ok(batch)).is_ok();
                    open
                };
                match &piece {
                    Piece::Head(chunk) => {
                        context.control.go_on().map_err(|_| stopped())?;
                        emit(super::head::rows(table, chunk, context.series(), &schema)?);
                    }
                    Piece::RowGroup { place, metadata, at } => {
                        reading(&context, &place.file, || {
                            read(place, metadata, *at, &schema, &context, &mut emit)
                        })?;
                    }
                }
                if !open {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// A footer with the types that SQL sees: views instead of texts and ids.
fn arrow_metadata(metadata: Arc<ParquetMetaData>) -> std::result::Result<ArrowReaderMetadata, ParquetError> {
    let schema = parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None)?;
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            other => other.clone(),
        };
        Arc::new(Field::clone(field).with_data_type(data_type))
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new().with_schema(schema))
}

fn unreadable(error: everflame_lake::Error) -> Interrupt {
    Interrupt::Unreadable(ParquetError::External(Box::new(error)))
}

/// Starts reading some columns of a row group, and counts what that reads.
pub(super) fn open(
    file: &DataFile,
    metadata: &ArrowReaderMetadata,
    at: usize,
    columns: ProjectionMask,
    batch_rows: usize,
    context: &Context,
) -> std::result::Result<ParquetRecordBatchReader, Interrupt> {
    let group = metadata.metadata().row_groups().get(at);
    let chunks = group.iter().flat_map(|group| group.columns().iter().enumerate());
    let bytes =
        chunks.filter(|(leaf, _)| columns.leaf_included(*leaf)).map(|(_, chunk)| chunk.byte_range().1);
    context.control.charge_read(bytes.fold(0, u64::saturating_add))?;
    let file = file.open().map_err(unreadable)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
        .with_row_groups(vec![at])
        .with_projection(columns)
        .with_batch_size(batch_rows);
    Ok(builder.build()?)
}

/// Reads the columns of `schema` of a row group.
fn read(
    place: &Place,
    metadata: &ArrowReaderMetadata,
    at: usize,
    schema: &SchemaRef,
    context: &Context,
    emit: &mut impl FnMut(RecordBatch) -> bool,
) -> std::result::Result<(), Interrupt> {
    let stored = |name: &str| match (name, place.sum) {
        ("date", _) | ("profiles", Some(_)) => None,
        ("window", Some(_)) => Some("time".to_owned()),
        _ => Some(name.to_owned()),
    };
    let names: Vec<String> = schema.fields().iter().filter_map(|field| stored(field.name())).collect();
    let parquet = metadata.metadata().file_metadata().schema_descr();
    let mask = ProjectionMask::columns(parquet, names.iter().map(String::as_str));
    for batch in open(&place.file, metadata, at, mask, BATCH_ROWS, context)? {
        context.control.go_on()?;
        let batch = batch?;
        let columns: std::result::Result<Vec<ArrayRef>, ArrowError> =
            schema.fields().iter().map(|field| column(place, field, &batch, context)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        if !emit(RecordBatch::try_new_with_options(schema.clone(), columns?, &options)?) {
            break;
        }
    }
    Ok(())
}

fn column(
    place: &Place,
    field: &Field,
    batch: &RecordBatch,
    context: &Context,
) -> std::result::Result<ArrayRef, ArrowError> {
    let stored = |name: &str| {
        let found = batch.column_by_name(name).cloned();
        found.ok_or_else(|| ArrowError::SchemaError(format!("it has no column {name:?}")))
    };
    let moved = |to: &dyn Fn(i64) -> i64| -> std::result::Result<ArrayRef, ArrowError> {
        let time = stored("time")?;
        let micros = time.as_any().downcast_ref::<TimestampMicrosecondArray>();
        let micros = micros.ok_or_else(|| ArrowError::SchemaError("its times are none".to_owned()))?;
        Ok(times(micros.values().iter().map(|&time| to(time))))
    };
    let rows = batch.num_rows();
    let array = match (field.name().as_str(), place.sum) {
        ("date", _) => dates(std::iter::repeat_n(place.date, rows)),
        ("profiles", Some(_)) => Arc::new(Int64Array::from_value(1, rows)),
        ("window", Some((tier, _))) => moved(&|time| tier.span(time))?,
        ("time", Some((tier, _))) => moved(&|time| tier.window(time))?,
        ("series_id", Some((_, Level::Service))) => reduced(&stored("series_id")?, context)?,
        (name, _) => stored(name)?,
    };
    as_type(array, field.data_type())
}

/// The ids under which series are parts of sums without the labels that name instances.
fn reduced(ids: &ArrayRef, context: &Context) -> std::result::Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::SchemaError("its ids of series are none".to_owned());
    let ids = ids.as_binary_view_opt().ok_or_else(wrong)?;
    let mut all = BinaryViewBuilder::with_capacity(ids.len());
    for id in ids {
        let id = id.and_then(|id| <[u8; 8]>::try_from(id).ok()).ok_or_else(wrong)?;
        all.append_value(context.reduced(SeriesId(u64::from_be_bytes(id))).0.to_be_bytes());
    }
    Ok(Arc::new(all.finish()))
}
