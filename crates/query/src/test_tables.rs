//! Tables for tests: profiles as plain rows, written as the lake writes them, in any layout.

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use everflame_lake::{DataFile, FileStats, HeadChunk, HeadProfile, ProfileId, SeriesMatch};
use everflame_profile::{Labels, Series, StackId};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A profile of a test.
#[derive(Clone, Debug)]
pub(crate) struct TestProfile {
    pub(crate) series: usize,
    pub(crate) id: ProfileId,
    /// Microseconds.
    pub(crate) time: i64,
    pub(crate) duration: i64,
    pub(crate) samples: Vec<TestSample>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TestSample {
    pub(crate) stack: u128,
    pub(crate) value: i64,
    /// 0 when unknown; the trace is ten times as much.
    pub(crate) span: u64,
}

impl TestProfile {
    pub(crate) fn total(&self) -> i64 {
        self.samples.iter().fold(0, |total, sample| total.saturating_add(sample.value))
    }
}

/// How a file is cut into row groups and pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) group_rows: usize,
    pub(crate) page_rows: usize,
    pub(crate) dictionary: bool,
    /// Numbers are written as differences, not in a dictionary.
    pub(crate) deltas: bool,
    /// Row groups end where service or type change.
    pub(crate) cut: bool,
}

pub(crate) fn series_match(series: Series) -> SeriesMatch {
    SeriesMatch {
        id: series.id(),
        reduced: series.id(),
        series: Arc::new(series),
        first: i64::MIN,
        last: i64::MAX,
    }
}

/// Services a, b and ab, two types, up to three pods.
pub(crate) fn series() -> Vec<SeriesMatch> {
    let mut all = Vec::new();
    for (service, pods) in [("a", 3), ("ab", 1), ("b", 2)] {
        for profile_type in
            ["memory:alloc_space:bytes:space:bytes", "process_cpu:cpu:nanoseconds:cpu:nanoseconds"]
        {
            for pod in 0..pods {
                let pod = if pod == 0 { String::new() } else { pod.to_string() };
                all.push(series_match(Series {
                    labels: Labels::from_pairs([("service_name", service), ("pod", &pod)]),
                    profile_type: profile_type.parse().unwrap(),
                }));
            }
        }
    }
    all
}

const HOUR: i64 = 3_600_000_000;

struct SampleRow<'a> {
    service: &'a str,
    profile_type: String,
    window: i64,
    stack: [u8; 16],
    series: [u8; 8],
    time: i64,
    value: i64,
    span: Option<[u8; 8]>,
    trace: Option<[u8; 16]>,
}

/// Writes a file of the table `samples`.
pub(crate) fn write_samples(
    path: &Path,
    series: &[SeriesMatch],
    profiles: &[TestProfile],
    layout: Layout,
) -> Arc<DataFile> {
    let mut rows: Vec<SampleRow> = Vec::new();
    for profile in profiles {
        let SeriesMatch { id, series, .. } = &series[profile.series];
        for sample in &profile.samples {
            rows.push(SampleRow {
                service: series.service(),
                profile_type: series.profile_type.to_string(),
                window: profile.time.div_euclid(HOUR) * HOUR,
                stack: sample.stack.to_be_bytes(),
                series: id.0.to_be_bytes(),
                time: profile.time,
                value: sample.value,
                span: (sample.span > 0).then(|| sample.span.to_be_bytes()),
                trace: (sample.span > 0).then(|| (u128::from(sample.span) * 10).to_be_bytes()),
            });
        }
    }
    rows.sort_by(|a, b| {
        let key = |row: &SampleRow| (row.window, row.stack, row.series, row.time);
        (a.service, &a.profile_type, key(a)).cmp(&(b.service, &b.profile_type, key(b)))
    });
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("service", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.service)))),
        ("profile_type", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.profile_type)))),
        ("window", times(rows.iter().map(|row| row.window))),
        ("stack_id", Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.stack)))),
        ("series_id", Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.series)))),
        ("time", times(rows.iter().map(|row| row.time))),
        ("value", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.value)))),
        ("span_id", Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.span)))),
        ("trace_id", Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.trace)))),
    ];
    let batch = batch(columns);
    let cuts = rows
        .windows(2)
        .map(|pair| (pair[0].service, &pair[0].profile_type) != (pair[1].service, &pair[1].profile_type));
    write(path, &batch, layout, cuts);
    data_file(path, rows.iter().map(|row| (row.service, row.time)))
}

/// Writes a file of the table `profiles`.
pub(crate) fn write_profiles(
    path: &Path,
    series: &[SeriesMatch],
    profiles: &[TestProfile],
    layout: Layout,
) -> Arc<DataFile> {
    let mut rows: Vec<(&str, String, [u8; 8], &TestProfile)> = profiles
        .iter()
        .map(|profile| {
            let SeriesMatch { id, series, .. } = &series[profile.series];
            (series.service(), series.profile_type.to_string(), id.0.to_be_bytes(), profile)
        })
        .collect();
    rows.sort_by(|a, b| (a.0, &a.1, a.2, a.3.time).cmp(&(b.0, &b.1, b.2, b.3.time)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("service", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))),
        ("profile_type", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1)))),
        ("series_id", Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.2)))),
        ("time", times(rows.iter().map(|row| row.3.time))),
        ("duration", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3.duration)))),
        ("total", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3.total())))),
        (
            "profile_id",
            Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.3.id.0.to_be_bytes()))),
        ),
    ];
    let batch = batch(columns);
    let cuts = rows.windows(2).map(|pair| (pair[0].0, &pair[0].1) != (pair[1].0, &pair[1].1));
    write(path, &batch, layout, cuts);
    data_file(path, rows.iter().map(|row| (row.0, row.3.time)))
}

/// A chunk of the head.
pub(crate) fn head_chunk(series: &[SeriesMatch], profiles: &[TestProfile]) -> Arc<HeadChunk> {
    let mut chunk = HeadChunk::default();
    let with_spans = profiles.iter().flat_map(|profile| &profile.samples).any(|sample| sample.span > 0);
    for profile in profiles {
        for sample in &profile.samples {
            let id = StackId(sample.stack);
            let at = chunk.stacks.iter().position(|known| *known == id).unwrap_or_else(|| {
                chunk.stacks.push(id);
                chunk.stacks.len() - 1
            });
            chunk.sample_stacks.push(at as u32);
            chunk.sample_values.push(sample.value);
            if with_spans {
                chunk.sample_spans.push(sample.span);
                chunk.sample_traces.push(u128::from(sample.span) * 10);
            }
        }
        chunk.profiles.push(HeadProfile {
            series: series[profile.series].id,
            id: profile.id,
            time: profile.time * 1000,
            duration: profile.duration,
            total: profile.total(),
            samples_end: chunk.sample_values.len() as u32,
        });
    }
    Arc::new(chunk)
}

fn times(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let nullable = |name: &str| matches!(name, "span_id" | "trace_id");
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name.to_owned(), array, nullable(name))),
    )
    .unwrap()
}

fn write(path: &Path, batch: &RecordBatch, layout: Layout, cuts: impl Iterator<Item = bool>) {
    let mut properties = WriterProperties::builder();
    for name in ["time", "value", "duration", "total"].into_iter().filter(|_| layout.deltas) {
        let column = || ColumnPath::from(name);
        properties = properties.set_column_dictionary_enabled(column(), false);
        properties = properties.set_column_encoding(column(), Encoding::DELTA_BINARY_PACKED);
    }
    let properties = properties
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_dictionary_enabled(layout.dictionary)
        .set_dictionary_page_size_limit(1 << 30)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(layout.page_rows)
        .set_write_batch_size(layout.page_rows.min(1024))
        .set_max_row_group_row_count(Some(layout.group_rows))
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    let mut start = 0;
    for (at, cut) in cuts.enumerate() {
        if cut && layout.cut {
            writer.write(&batch.slice(start, at + 1 - start)).unwrap();
            writer.flush().unwrap();
            start = at + 1;
        }
    }
    writer.write(&batch.slice(start, batch.num_rows() - start)).unwrap();
    writer.close().unwrap();
}

fn data_file<'a>(path: &Path, rows: impl Iterator<Item = (&'a str, i64)> + Clone) -> Arc<DataFile> {
    let services = rows.clone().map(|(service, _)| service);
    let times = rows.clone().map(|(_, time)| time);
    let stats = FileStats {
        rows: rows.clone().count() as u64,
        min_service: services.clone().min().unwrap_or_default().to_owned(),
        max_service: services.max().unwrap_or_default().to_owned(),
        min_time: times.clone().min().unwrap_or_default(),
        max_time: times.max().unwrap_or_default(),
    };
    let bytes = std::fs::metadata(path).unwrap().len();
    Arc::new(DataFile::new(path.to_owned(), bytes, stats))
}
