//! Tables whose rows are made when a statement reads them, all at once.

use super::plan::{Estimate, Leaf};
use super::rows::{BATCH_ROWS, projected};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::TryFutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// Makes the rows of a table, with the columns of a schema; what takes much memory is asked for before.
pub(super) type Make =
    Arc<dyn Fn(SchemaRef, Arc<MemoryReservation>) -> BoxFuture<'static, Result<RecordBatch>> + Send + Sync>;

/// A table whose rows are made when they are read.
#[derive(Clone)]
pub(super) struct MadeTable {
    pub(super) name: &'static str,
    pub(super) schema: SchemaRef,
    /// How many rows there are about.
    pub(super) rows: u64,
    pub(super) make: Make,
}

impl fmt::Debug for MadeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[async_trait]
impl TableProvider for MadeTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = projected(&self.schema, projection)?;
        let table = Self { schema: schema.clone(), ..self.clone() };
        let estimate = Estimate { rows: self.rows, values: vec![("series_id", self.rows)] };
        Ok(Leaf::plan(self.name.to_owned(), schema, vec![Arc::new(table)], estimate))
    }
}

impl PartitionStream for MadeTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let memory = Arc::new(MemoryConsumer::new(self.name).register(task.memory_pool()));
        let rows = (self.make)(self.schema.clone(), memory.clone()).and_then(async move |rows| {
            memory.try_resize(rows.get_array_memory_size())?;
            let parts = (0..rows.num_rows()).step_by(BATCH_ROWS).map(move |start| {
                // The memory is given back with the last part.
                let _ = &memory;
                Ok(rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start)))
            });
            Ok(futures::stream::iter(parts))
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows.try_flatten_stream()))
    }
}

/// The batch of `rows` rows whose columns `column` makes.
pub(super) fn batch(
    schema: SchemaRef,
    rows: usize,
    column: impl Fn(&Field) -> std::result::Result<ArrayRef, ArrowError>,
) -> std::result::Result<RecordBatch, ArrowError> {
    let columns: std::result::Result<Vec<_>, _> =
        schema.fields().iter().map(|field| column(field.as_ref())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns?, &options)
}
