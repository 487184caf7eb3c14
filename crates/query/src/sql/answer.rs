//! What a statement is answered with: rows with plain types, within the limits.

use super::growth::sizes;
use crate::{ScanStats, SqlError, SqlLimits, Warning};
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use std::sync::Arc;

/// The answer to a statement.
#[derive(Clone, Debug)]
pub struct SqlAnswer {
    /// The columns. Two may have the same name.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// What was read.
    pub stats: ScanStats,
    /// What could not be read; the answer lacks it.
    pub warnings: Vec<Warning>,
}

impl SqlAnswer {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Reads all rows of `stream`, if they are not too many.
pub(super) async fn collect(
    mut stream: SendableRecordBatchStream,
    limits: &SqlLimits,
) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
    let fields = stream.schema().fields().iter().map(plain).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let (mut rows, mut bytes, mut batches) = (0usize, 0usize, Vec::new());
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows = rows.saturating_add(batch.num_rows());
        if rows > limits.rows {
            return Err(SqlError::TooLarge(format!(
                "the answer has more than {} rows; group them, filter them, or end the statement with LIMIT {}",
                limits.rows, limits.rows
            )));
        }
        // Rows may share their values until they are given types without views.
        let used = batch.columns().iter().flat_map(|column| sizes(column));
        bytes =
            used.fold(bytes, |bytes, size| bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)));
        if bytes > limits.bytes {
            return Err(SqlError::TooLarge(format!(
                "the answer takes more than {} bytes; select fewer columns or rows",
                limits.bytes
            )));
        }
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        });
        let columns: Result<Vec<_>, ArrowError> = columns.collect();
        let columns = columns.map_err(|error| SqlError::Internal(error.to_string()))?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        batches.push(batch.map_err(|error| SqlError::Internal(error.to_string()))?);
    }
    Ok((schema, batches))
}

/// `field` with a type that every reader of Arrow knows: no views, no dictionaries.
fn plain(field: &FieldRef) -> FieldRef {
    // What a column of the answer holds is known when all rows are: it may always lack values.
    Arc::new(Field::new(field.name(), plain_type(field.data_type()), true))
}

fn inner(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_data_type(plain_type(field.data_type())))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::List(element) => DataType::List(inner(element)),
        DataType::LargeList(element) => DataType::LargeList(inner(element)),
        DataType::FixedSizeList(element, length) => DataType::FixedSizeList(inner(element), *length),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}
