//! Decides what of a table must be read: files and row groups by statistics, pages by the page index.

use crate::TimeRange;
use crate::selection::Selection;
use crate::source::Source;
use everflame_lake::DataFile;
use everflame_lake::columns::{OpenFile, RowGroup};
use parquet::arrow::arrow_reader::RowSelection;
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use std::ops::Range;
use std::sync::Arc;

/// One row group to scan, and what its statistics leave open.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) source: Arc<Source>,
    pub(crate) row_group: usize,
    /// The rows of the pages that may hold something; `None` for all.
    pub(crate) rows: Option<RowSelection>,
    /// How many rows those are.
    pub(crate) row_count: u64,
    /// Rows of series that are not selected may be among them.
    pub(crate) check_series: bool,
    /// Rows outside of the range may be among them.
    pub(crate) check_time: bool,
}

impl Unit {
    /// Where it is, once its file is open.
    pub(crate) fn in_file<'a>(&'a self, file: &'a OpenFile) -> RowGroup<'a> {
        RowGroup { file, footer: self.source.metadata(), at: self.row_group }
    }

    /// The rows that may hold something, ascending and apart.
    pub(crate) fn row_ranges(&self) -> Vec<Range<usize>> {
        let Some(rows) = &self.rows else {
            let all = usize::try_from(self.row_count).unwrap_or(usize::MAX);
            return std::iter::once(0..all).collect();
        };
        let mut next = 0usize;
        let ranges = rows.iter().filter_map(|selector| {
            let start = next;
            next = next.saturating_add(selector.row_count);
            (!selector.skip && start < next).then_some(start..next)
        });
        ranges.collect()
    }
}

/// Whether a file can hold anything of the selection in the range.
pub(crate) fn takes_file(file: &DataFile, selection: &Selection, range: TimeRange) -> bool {
    let stats = &file.stats;
    let (from, until) = range.micros();
    stats.rows > 0
        && stats.min_time <= until
        && stats.max_time >= from
        && selection.has_service_in(stats.min_service.as_bytes(), stats.max_service.as_bytes())
}

/// The row groups of `file` that can hold something.
pub(crate) fn units(
    file: &Arc<DataFile>,
    metadata: Arc<ParquetMetaData>,
    selection: &Selection,
    range: TimeRange,
) -> Vec<Unit> {
    let source = Arc::new(Source::new(file.clone(), metadata));
    let parquet = source.metadata();
    let columns = Columns::of(parquet);
    let groups = parquet.row_groups().iter().enumerate();
    groups
        .filter_map(|(at, group)| {
            let open = open_questions(group, columns, selection, range)?;
            let rows = match open.check_series || open.check_time {
                true => pages(parquet, at, columns, selection, range, open),
                false => None,
            };
            let row_count = match &rows {
                Some(rows) => rows.row_count() as u64,
                None => u64::try_from(group.num_rows()).unwrap_or(0),
            };
            (row_count > 0).then(|| {
                source.expect();
                Unit {
                    source: source.clone(),
                    row_group: at,
                    rows,
                    row_count,
                    check_series: open.check_series,
                    check_time: open.check_time,
                }
            })
        })
        .collect()
}

/// Positions of the columns that a plan looks at.
#[derive(Clone, Copy)]
struct Columns {
    service: Option<usize>,
    profile_type: Option<usize>,
    series: Option<usize>,
    time: Option<usize>,
}

impl Columns {
    fn of(metadata: &ParquetMetaData) -> Self {
        let columns = metadata.file_metadata().schema_descr().columns();
        let find = |name: &str, physical: PhysicalType| {
            columns.iter().position(|column| {
                column.path().parts().len() == 1
                    && column.name() == name
                    && column.physical_type() == physical
            })
        };
        Self {
            service: find("service", PhysicalType::BYTE_ARRAY),
            profile_type: find("profile_type", PhysicalType::BYTE_ARRAY),
            series: find("series_id", PhysicalType::BYTE_ARRAY),
            time: find("time", PhysicalType::INT64),
        }
    }
}

#[derive(Clone, Copy)]
struct Open {
    check_series: bool,
    check_time: bool,
}

/// What the statistics of a row group leave open; `None` when it holds nothing of interest.
fn open_questions(
    group: &RowGroupMetaData,
    columns: Columns,
    selection: &Selection,
    range: TimeRange,
) -> Option<Open> {
    let statistics = |column: Option<usize>| group.columns().get(column?)?.statistics();
    let (from, until) = range.micros();
    let check_time = match statistics(columns.time) {
        Some(Statistics::Int64(time)) => match (time.min_opt(), time.max_opt()) {
            (Some(&min), Some(&max)) if min > until || max < from => return None,
            (Some(&min), Some(&max)) => min < from || max > until,
            _ => true,
        },
        _ => true,
    };
    let service = statistics(columns.service).and_then(bounds);
    let profile_type = statistics(columns.profile_type).and_then(bounds);
    if service.is_some_and(|(min, max, _)| !selection.has_service_in(min, max))
        || profile_type.is_some_and(|(min, max, _)| !selection.has_type_in(min, max))
    {
        return None;
    }
    let check_series = match (service, profile_type) {
        (Some((service, _, true)), Some((profile_type, _, true))) => {
            !selection.is_whole(service, profile_type)
        }
        _ => true,
    };
    Some(Open { check_series, check_time })
}

/// Lower and upper bound of a text column, and whether both are the one value that it has.
fn bounds(statistics: &Statistics) -> Option<(&[u8], &[u8], bool)> {
    let (min, max) = (statistics.min_bytes_opt()?, statistics.max_bytes_opt()?);
    let one_value = min == max
        && statistics.min_is_exact()
        && statistics.max_is_exact()
        && statistics.null_count_opt().unwrap_or(0) == 0;
    Some((min, max, one_value))
}

/// The rows of the pages that may hold something; `None` when that is all of them, or the file lacks the
/// page index.
fn pages(
    metadata: &ParquetMetaData,
    group: usize,
    columns: Columns,
    selection: &Selection,
    range: TimeRange,
    open: Open,
) -> Option<RowSelection> {
    let rows = usize::try_from(metadata.row_groups().get(group)?.num_rows()).ok()?;
    let (indices, offsets) = (metadata.column_index()?.get(group)?, metadata.offset_index()?.get(group)?);
    let (from, until) = range.micros();
    let narrow = |column: Option<usize>, may: &dyn Fn(&ColumnIndexMetaData, usize) -> bool| {
        let (index, offsets) = (indices.get(column?)?, offsets.get(column?)?.page_locations());
        let start = |page: usize| match offsets.get(page) {
            Some(location) => usize::try_from(location.first_row_index).unwrap_or(rows).min(rows),
            None => rows,
        };
        if index.num_pages() != offsets.len() as u64 || offsets.is_empty() || start(0) != 0 {
            return None;
        }
        let pages = 0..offsets.len();
        let kept = pages.filter(|&page| may(index, page)).map(|page| start(page)..start(page + 1));
        Some(kept.filter(|rows| rows.start < rows.end).collect::<Vec<_>>())
    };
    let text = |index: &ColumnIndexMetaData, page: usize, may: &dyn Fn(&[u8], &[u8]) -> bool| match index {
        ColumnIndexMetaData::BYTE_ARRAY(index) if !index.is_null_page(page) => {
            match (index.min_value(page), index.max_value(page)) {
                (Some(min), Some(max)) => may(min, max),
                _ => true,
            }
        }
        _ => true,
    };
    let mut kept: Vec<Range<usize>> = std::iter::once(0..rows).collect();
    if open.check_time {
        let time = narrow(columns.time, &|index, page| match index {
            ColumnIndexMetaData::INT64(index) => match (index.min_value(page), index.max_value(page)) {
                (Some(&min), Some(&max)) => min <= until && max >= from,
                _ => true,
            },
            _ => true,
        });
        kept = intersect(&kept, time);
    }
    if open.check_series {
        let in_service = |min: &[u8], max: &[u8]| selection.has_service_in(min, max);
        let in_type = |min: &[u8], max: &[u8]| selection.has_type_in(min, max);
        let in_series = |min: &[u8], max: &[u8]| selection.has_series_in(min, max);
        kept = intersect(&kept, narrow(columns.service, &|index, page| text(index, page, &in_service)));
        kept = intersect(&kept, narrow(columns.profile_type, &|index, page| text(index, page, &in_type)));
        kept = intersect(&kept, narrow(columns.series, &|index, page| text(index, page, &in_series)));
    }
    match kept.iter().map(ExactSizeIterator::len).sum::<usize>() == rows {
        true => None,
        false => Some(RowSelection::from_consecutive_ranges(kept.into_iter(), rows)),
    }
}

/// The rows that are in both lists, which are ascending and free of overlaps; all of `kept` without `other`.
fn intersect(kept: &[Range<usize>], other: Option<Vec<Range<usize>>>) -> Vec<Range<usize>> {
    let Some(other) = other else { return kept.to_vec() };
    let (mut a, mut b) = (kept.iter().peekable(), other.iter().peekable());
    let mut out: Vec<Range<usize>> = Vec::new();
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let both = x.start.max(y.start)..x.end.min(y.end);
        if both.start < both.end {
            match out.last_mut() {
                Some(last) if last.end == both.start => last.end = both.end,
                _ => out.push(both),
            }
        }
        if x.end <= y.end {
            a.next()
        } else {
            b.next()
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections() {
        let ranges =
            |pairs: &[(usize, usize)]| pairs.iter().map(|&(start, end)| start..end).collect::<Vec<_>>();
        let check = |a: &[(usize, usize)], b: &[(usize, usize)], expect: &[(usize, usize)]| {
            assert_eq!(intersect(&ranges(a), Some(ranges(b))), ranges(expect));
        };
        check(&[(0, 10)], &[(2, 4), (6, 8)], &[(2, 4), (6, 8)]);
        check(&[(0, 3), (5, 9)], &[(2, 6)], &[(2, 3), (5, 6)]);
        check(&[(0, 10)], &[(0, 5), (5, 10)], &[(0, 10)]);
        check(&[(0, 10)], &[], &[]);
        assert_eq!(intersect(&ranges(&[(0, 4), (6, 7)]), None), ranges(&[(0, 4), (6, 7)]));
    }
}
