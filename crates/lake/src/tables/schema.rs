//! The columns of the tables, as Arrow types in memory and Delta types on disk.
//!
//! Columns that repeat are Arrow dictionaries in memory. On disk they are plain strings and binaries
//! (Delta knows nothing else), dictionary-encoded by Parquet.

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::{StructField, StructType};
use std::sync::{Arc, LazyLock};

/// Version of what is on disk, in the table's properties. A newer one is not opened.
pub(super) const FORMAT_VERSION: u32 = 1;

/// Name of the partition column.
pub(super) const DATE: &str = "date";

/// What the partition column `date` of a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partition {
    /// The table has none.
    None,
    /// The UTC day of the rows' time.
    Day,
    /// The first day of their UTC month.
    Month,
}

/// One of the tables.
pub(super) struct Table {
    /// Its name, also that of its folder.
    pub(super) name: &'static str,
    /// The columns in the files.
    pub(super) schema: LazyLock<SchemaRef>,
    /// By what its files are told apart into folders.
    pub(super) partition: Partition,
    /// The columns by which the rows of a file are sorted.
    pub(super) order: &'static [&'static str],
    /// Columns that Parquet must not dictionary-encode but write as differences.
    pub(super) deltas: &'static [&'static str],
    /// Columns whose values hardly ever repeat.
    pub(super) unique: &'static [&'static str],
}

pub(super) static SAMPLES: Table = Table {
    name: "samples",
    schema: LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("service", dictionary(DataType::Utf8)),
            required("profile_type", dictionary(DataType::Utf8)),
            required("window", timestamp()),
            required("stack_id", dictionary(DataType::Binary)),
            required("series_id", dictionary(DataType::Binary)),
            required("time", timestamp()),
            required("value", DataType::Int64),
            Field::new("span_id", DataType::Binary, true),
            Field::new("trace_id", DataType::Binary, true),
        ]))
    }),
    partition: Partition::Day,
    order: &["service", "profile_type", "window", "stack_id", "series_id", "time"],
    deltas: &[],
    unique: &[],
};

pub(super) static PROFILES: Table = Table {
    name: "profiles",
    schema: LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("service", dictionary(DataType::Utf8)),
            required("profile_type", dictionary(DataType::Utf8)),
            required("series_id", dictionary(DataType::Binary)),
            required("time", timestamp()),
            required("duration", DataType::Int64),
            required("total", DataType::Int64),
            required("profile_id", DataType::Binary),
        ]))
    }),
    partition: Partition::Day,
    order: &["service", "profile_type", "series_id", "time"],
    deltas: &["time", "total"],
    unique: &["profile_id"],
};

pub(super) static SERIES: Table = Table {
    name: "series",
    schema: LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("service", DataType::Utf8),
            required("series_id", DataType::Binary),
            required("profile_type", DataType::Utf8),
            required("labels", DataType::Map(map_entry(), false)),
            required("first_time", timestamp()),
            required("last_time", timestamp()),
        ]))
    }),
    partition: Partition::Day,
    order: &["service", "series_id"],
    deltas: &["first_time", "last_time"],
    unique: &["series_id"],
};

const STACKS_ORDER: &[&str] = &["service", "stack_id"];

pub(super) static STACKS: Table = Table {
    name: "stacks",
    schema: LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            required("service", dictionary(DataType::Utf8)),
            required("stack_id", DataType::Binary),
            required("frames", DataType::List(frame_element())),
        ]))
    }),
    partition: Partition::None,
    order: STACKS_ORDER,
    deltas: &[],
    unique: &["stack_id"],
};

/// The table `stacks` without dictionaries in memory: those of several files would have to be merged.
pub(super) static PLAIN_STACKS: Table = Table {
    name: "stacks",
    schema: LazyLock::new(|| {
        let fields = STACKS.schema.fields().iter().map(|field| plain(field));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }),
    partition: Partition::None,
    order: STACKS_ORDER,
    deltas: &[],
    unique: &["stack_id"],
};

/// `field` with the values of dictionaries in their place.
fn plain(field: &Field) -> Arc<Field> {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(element) => DataType::List(plain(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| plain(field)).collect()),
        other => other.clone(),
    };
    Arc::new(field.clone().with_data_type(data_type))
}

/// A table of sums of `samples` in aligned windows: the columns of `samples`, except for spans. `time` is the
/// start of a row's window, `window` that of the span of time by which rows are sorted.
const fn samples_tier(name: &'static str, partition: Partition) -> Table {
    Table {
        name,
        schema: LazyLock::new(|| {
            let of_samples = SAMPLES.schema.fields().iter().filter(|field| !field.is_nullable());
            Arc::new(Schema::new(of_samples.cloned().collect::<Vec<_>>()))
        }),
        partition,
        order: &["service", "profile_type", "window", "stack_id", "series_id", "time"],
        deltas: &[],
        unique: &[],
    }
}

/// A table of sums of `profiles` in aligned windows; `profiles` is how many there are in a row.
const fn profiles_tier(name: &'static str, partition: Partition) -> Table {
    Table {
        name,
        schema: LazyLock::new(|| {
            let of_profiles = PROFILES.schema.fields().iter().filter(|field| field.name() != "profile_id");
            let count = Arc::new(required("profiles", DataType::Int64));
            Arc::new(Schema::new(of_profiles.cloned().chain([count]).collect::<Vec<_>>()))
        }),
        partition,
        order: &["service", "profile_type", "series_id", "time"],
        deltas: &["time", "total"],
        unique: &[],
    }
}

pub(super) static SAMPLES_5M: Table = samples_tier("samples_5m", Partition::Day);
pub(super) static SAMPLES_1H: Table = samples_tier("samples_1h", Partition::Month);
pub(super) static SAMPLES_1D: Table = samples_tier("samples_1d", Partition::Month);
pub(super) static PROFILES_5M: Table = profiles_tier("profiles_5m", Partition::Day);
pub(super) static PROFILES_1H: Table = profiles_tier("profiles_1h", Partition::Month);
pub(super) static PROFILES_1D: Table = profiles_tier("profiles_1d", Partition::Month);
pub(super) static SAMPLES_5M_SERVICE: Table = samples_tier("samples_5m_service", Partition::Day);
pub(super) static SAMPLES_1H_SERVICE: Table = samples_tier("samples_1h_service", Partition::Month);
pub(super) static SAMPLES_1D_SERVICE: Table = samples_tier("samples_1d_service", Partition::Month);
pub(super) static PROFILES_5M_SERVICE: Table = profiles_tier("profiles_5m_service", Partition::Day);
pub(super) static PROFILES_1H_SERVICE: Table = profiles_tier("profiles_1h_service", Partition::Month);
pub(super) static PROFILES_1D_SERVICE: Table = profiles_tier("profiles_1d_service", Partition::Month);

impl Table {
    /// The schema as it stands in the Delta log, the partition column included.
    pub(super) fn delta_schema(&self) -> Result<StructType, deltalake_core::DeltaTableError> {
        let columns: StructType =
            self.schema.as_ref().try_into_kernel().map_err(deltalake_core::DeltaTableError::from)?;
        let date = StructField::new(DATE, deltalake_core::kernel::DataType::DATE, false);
        let fields = columns.fields().cloned().chain((self.partition != Partition::None).then_some(date));
        Ok(StructType::try_new(fields)?)
    }
}

/// The fields of a frame, in the order of their columns.
pub(super) fn frame_fields() -> Fields {
    let text = || dictionary(DataType::Utf8);
    Fields::from(vec![
        required("function", text()),
        required("system_name", text()),
        required("file", text()),
        required("line", DataType::Int64),
        required("start_line", DataType::Int64),
        required("mapping", text()),
        required("build_id", text()),
        required("memory_start", DataType::Int64),
        required("memory_limit", DataType::Int64),
        required("file_offset", DataType::Int64),
        required("address", DataType::Int64),
        required("kind", DataType::Int8),
        required("inlined", DataType::Boolean),
    ])
}

/// What the list of frames contains.
pub(super) fn frame_element() -> Arc<Field> {
    Arc::new(required("element", DataType::Struct(frame_fields())))
}

/// What a map of labels contains, under the names that the Parquet format asks for.
pub(super) fn map_entry() -> Arc<Field> {
    let entry = vec![required("key", DataType::Utf8), required("value", DataType::Utf8)];
    Arc::new(required("key_value", DataType::Struct(Fields::from(entry))))
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn dictionary(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}
