//! Answers questions about what the lake holds: which series a selector takes, what their samples add up
//! to per stack, and how their totals move over time.
//!
//! An [`Engine`] plans a query on one snapshot of the lake (files by statistics, row groups by statistics,
//! pages by the page index), scans with a kernel that adds values into dense arrays, and resolves frames
//! once at the end. It never writes, and knows no wire.

mod bands;
mod buckets;
mod cache;
mod catalogue;
mod cover;
mod engine;
#[cfg(test)]
mod equivalence;
mod error;
mod heatmap;
mod limits;
mod merged;
mod pgo;
mod plan;
mod profiles;
mod range;
mod row_group;
mod samples;
mod scan;
mod selection;
mod selector;
mod source;
mod spans;
#[cfg(feature = "sql")]
mod sql;
mod sums;
mod symbolize;
#[cfg(test)]
mod test_tables;
mod time_series;
mod totals;
mod warm_up;

pub use engine::{Bounds, Engine, StackQuery};
pub use error::{Error, ErrorKind};
pub use heatmap::{Area, Heatmap, HeatmapCell, HeatmapExemplar, HeatmapQuery, HeatmapSeries, Single};
pub use limits::{Limits, SqlLimits};
pub use merged::Merged;
pub use pgo::GoPgo;
pub use profiles::{Order, ProfileInfo, ProfileList, ProfileQuery};
pub use range::{TimeRange, ValueRange};
pub use scan::{ScanStats, Warning};
pub use selection::{VIRTUAL_LABELS, label_value};
pub use selector::{
    MatchOp, Matcher, Selector, SelectorError, SelectorFault, TypedSelector, TypedSelectorError,
};
pub use spans::{SpanInfo, SpanList, SpanQuery};
#[cfg(feature = "sql")]
pub use sql::{Sql, SqlAnswer, SqlColumn, SqlError, SqlErrorKind, SqlRelation};
pub use time_series::{Aggregation, Exemplar, Exemplars, Point, SeriesQuery, TimeSeries, TimeSeriesAnswer};
