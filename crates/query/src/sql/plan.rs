//! The leaf of every physical plan: streams of rows, and how many rows there are about.
//!
//! The estimates matter: a join keeps its smaller side in memory, and samples are many. How many rows a join
//! has follows from how many values its columns have; without that it is taken for small.

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
    estimate: Estimate,
    properties: Arc<PlanProperties>,
}

/// How many rows and values a table has about.
#[derive(Clone, Debug)]
pub(super) struct Estimate {
    pub(super) rows: u64,
    /// Columns, and how many different values each has at most.
    pub(super) values: Vec<(&'static str, u64)>,
}

impl Leaf {
    /// A leaf whose rows come from `parts`.
    pub(super) fn plan(
        what: String,
        schema: SchemaRef,
        parts: Vec<Arc<dyn PartitionStream>>,
        estimate: Estimate,
    ) -> Arc<dyn ExecutionPlan> {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Arc::new(Self { what, parts, estimate, properties: Arc::new(properties) })
    }
}

impl DisplayAs for Leaf {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake: {}, rows<={}", self.what, self.estimate.rows)
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
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let rows = number(self.estimate.rows);
        let mut statistics = Statistics::new_unknown(&self.schema());
        for (field, column) in self.schema().fields().iter().zip(&mut statistics.column_statistics) {
            let known = self.estimate.values.iter().find(|(name, _)| name == field.name());
            if let Some(&(_, values)) = known {
                column.distinct_count = Precision::Inexact(number(values).min(rows));
            }
        }
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
