//! Which files and row groups a statement's filters leave, by what is known of them without reading rows.

use super::columns::{dates, times};
use super::rows::Place;
use arrow::array::{ArrayRef, BooleanArray, StringViewArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use std::collections::HashSet;
use std::sync::Arc;

/// The filters of a scan, as a question to statistics.
pub(super) struct Pruner(Option<PruningPredicate>);

impl Pruner {
    /// Takes what it can of `filters`; rows are filtered again afterwards, so that the rest does no harm.
    pub(super) fn new(session: &dyn Session, filters: &[Expr], schema: &SchemaRef) -> Self {
        let Some(all) = conjunction(filters.iter().cloned()) else { return Self(None) };
        let predicate = DFSchema::try_from(schema.as_ref().clone())
            .and_then(|typed| session.create_physical_expr(all, &typed))
            .and_then(|expr| PruningPredicateBuilder::new().with_file_schema(schema.clone()).try_build(expr));
        match predicate {
            Ok(predicate) => Self(Some(predicate)),
            Err(error) => {
                tracing::debug!(%error, "filters of a statement cannot be asked of statistics");
                Self(None)
            }
        }
    }

    /// The files that may hold something.
    pub(super) fn files(&self, places: Vec<Place>) -> Vec<Place> {
        let kept = self.keep(&Files(&places));
        places.into_iter().zip(kept).filter_map(|(place, kept)| kept.then_some(place)).collect()
    }

    /// The row groups of a file that may hold something.
    pub(super) fn row_groups(&self, place: &Place, metadata: &ArrowReaderMetadata) -> Vec<usize> {
        let kept = self.keep(&RowGroups { place, metadata });
        kept.into_iter().enumerate().filter_map(|(at, kept)| kept.then_some(at)).collect()
    }

    fn keep(&self, statistics: &impl PruningStatistics) -> Vec<bool> {
        let all = || vec![true; statistics.num_containers()];
        match &self.0 {
            None => all(),
            Some(predicate) => predicate.prune(statistics).unwrap_or_else(|error| {
                tracing::debug!(%error, "statistics do not answer filters of a statement");
                all()
            }),
        }
    }
}

struct Files<'a>(&'a [Place]);

impl Files<'_> {
    fn bound(&self, column: &Column, is_max: bool) -> Option<ArrayRef> {
        let stats = || self.0.iter().map(|place| &place.file.stats);
        match column.name() {
            "service" => {
                let text = |stats: &everflame_lake::FileStats| match is_max {
                    true => stats.max_service.clone(),
                    false => stats.min_service.clone(),
                };
                Some(Arc::new(StringViewArray::from_iter_values(stats().map(text))))
            }
            // Other tables have no `time`.
            "time" => Some(times(self.0.iter().map(|place| {
                let stats = &place.file.stats;
                place.window(if is_max { stats.max_time } else { stats.min_time })
            }))),
            "date" => Some(dates(self.0.iter().map(|place| place.date))),
            _ => None,
        }
    }
}

impl PruningStatistics for Files<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, false)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(column, true)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

struct RowGroups<'a> {
    place: &'a Place,
    metadata: &'a ArrowReaderMetadata,
}

impl RowGroups<'_> {
    fn converter<'a>(&'a self, column: &'a Column) -> Option<StatisticsConverter<'a>> {
        if self.place.computes(column.name()) {
            return None;
        }
        let parquet = self.metadata.metadata().file_metadata().schema_descr();
        StatisticsConverter::try_new(column.name(), self.metadata.schema(), parquet).ok()
    }

    fn constant(&self, column: &Column) -> Option<ArrayRef> {
        let groups = std::iter::repeat_n(self.place.date, self.num_containers());
        (column.name() == "date").then(|| dates(groups))
    }
}

impl PruningStatistics for RowGroups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.metadata.metadata().row_groups().iter();
        self.constant(column).or_else(|| self.converter(column)?.row_group_mins(groups).ok())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.metadata.metadata().row_groups().iter();
        self.constant(column).or_else(|| self.converter(column)?.row_group_maxes(groups).ok())
    }

    fn num_containers(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
