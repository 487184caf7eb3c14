//! The leaf of every physical plan: streams of rows, and how many rows there are about.
//!
//! The estimate matters: a join keeps its smaller side in memory, and samples are many.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use std::fmt;
use std::sync::Arc;

/// Reads rows of a table.
#[derive(Debug)]
pub(super) struct Leaf {
    /// What `EXPLAIN` shows.
    what: String,
    parts: Vec<Arc<dyn PartitionStream>>,
    rows: u64,
    properties: Arc<PlanProperties>,
}

impl Leaf {
    /// A leaf whose rows come from `parts`, about `rows` of them.
    pub(super) fn plan(
        what: String,
        schema: SchemaRef,
        parts: Vec<Arc<dyn PartitionStream>>,
        rows: u64,
    ) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self { what, parts, rows, properties: Arc::new(properties) })
    }
}

impl DisplayAs for Leaf {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake: {}, rows<={}", self.what, self.rows)
    }
}

impl ExecutionPlan for Leaf {
    fn name(&self) -> &str {
        "Lake"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a table has no inputs") }
    }

    fn execute(&self, part: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        match self.parts.get(part) {
            Some(stream) => Ok(stream.execute(context)),
            None => internal_err!("part {part} of {}", self.parts.len()),
        }
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = usize::try_from(self.rows).unwrap_or(usize::MAX);
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(rows);
        let row: usize = self.schema().fields().iter().map(|field| width(field.data_type())).sum();
        statistics.total_byte_size = Precision::Inexact(rows.saturating_mul(row));
        Ok(Arc::new(statistics))
    }
}

/// Bytes that a value takes in memory, about.
fn width(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(element) if matches!(element.data_type(), DataType::Struct(_)) => 4096,
        DataType::List(_) => 512,
        DataType::Map(..) => 128,
        DataType::Utf8View | DataType::BinaryView => 24,
        _ => 8,
    }
}
