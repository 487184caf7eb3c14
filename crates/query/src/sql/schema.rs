//! The tables and views that SQL sees, and what their columns are.

use super::columns::{date, id, labels, nullable, number, text, texts, time};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use everflame_lake::{Level, Tier};
use std::sync::Arc;

/// A table whose rows lie in files and in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Samples,
    SampleSums(Tier, Level),
    Profiles,
    ProfileSums(Tier, Level),
    Series,
}

impl Table {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let sums = || Level::ALL.into_iter().flat_map(|level| Tier::ALL.map(|tier| (tier, level)));
        let mut all = vec![Self::Samples];
        all.extend(sums().map(|(tier, level)| Self::SampleSums(tier, level)));
        all.push(Self::Profiles);
        all.extend(sums().map(|(tier, level)| Self::ProfileSums(tier, level)));
        all.push(Self::Series);
        all
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::SampleSums(Tier::FiveMinutes, Level::Series) => "samples_5m",
            Self::SampleSums(Tier::Hour, Level::Series) => "samples_1h",
            Self::SampleSums(Tier::Day, Level::Series) => "samples_1d",
            Self::SampleSums(Tier::FiveMinutes, Level::Service) => "samples_5m_service",
            Self::SampleSums(Tier::Hour, Level::Service) => "samples_1h_service",
            Self::SampleSums(Tier::Day, Level::Service) => "samples_1d_service",
            Self::Profiles => "profiles",
            Self::ProfileSums(Tier::FiveMinutes, Level::Series) => "profiles_5m",
            Self::ProfileSums(Tier::Hour, Level::Series) => "profiles_1h",
            Self::ProfileSums(Tier::Day, Level::Series) => "profiles_1d",
            Self::ProfileSums(Tier::FiveMinutes, Level::Service) => "profiles_5m_service",
            Self::ProfileSums(Tier::Hour, Level::Service) => "profiles_1h_service",
            Self::ProfileSums(Tier::Day, Level::Service) => "profiles_1d_service",
            Self::Series => "series",
        }
    }

    /// The tier whose windows its rows are sums of, and of what series they are.
    pub(super) fn sum(self) -> Option<(Tier, Level)> {
        match self {
            Self::SampleSums(tier, level) | Self::ProfileSums(tier, level) => Some((tier, level)),
            Self::Samples | Self::Profiles | Self::Series => None,
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Samples => "A row is one sample of one profile",
            Self::SampleSums(_, Level::Series) => {
                "A row is a part of the sum of a stack of a series in a window of time"
            }
            Self::SampleSums(_, Level::Service) => {
                "A row is a part of the sum of a stack in a window of time, of series without the labels that name instances"
            }
            Self::Profiles => "A row is one profile",
            Self::ProfileSums(_, Level::Series) => {
                "A row is a part of the sum of the profiles of a series in a window of time"
            }
            Self::ProfileSums(_, Level::Service) => {
                "A row is a part of the sum of the profiles in a window of time, of series without the labels that name instances"
            }
            Self::Series => "A row is a series on a day, as one flush saw it",
        }
    }

    pub(super) fn schema(self) -> SchemaRef {
        let fields = match self {
            Self::Samples => vec![
                text("service"),
                text("profile_type"),
                time("window"),
                id("stack_id"),
                id("series_id"),
                time("time"),
                number("value"),
                nullable(id("span_id")),
                nullable(id("trace_id")),
                date(),
            ],
            Self::SampleSums(..) => vec![
                text("service"),
                text("profile_type"),
                time("window"),
                id("stack_id"),
                id("series_id"),
                time("time"),
                number("value"),
                date(),
            ],
            Self::Profiles => vec![
                text("service"),
                text("profile_type"),
                id("series_id"),
                time("time"),
                number("duration"),
                number("total"),
                id("profile_id"),
                date(),
            ],
            Self::ProfileSums(..) => vec![
                text("service"),
                text("profile_type"),
                id("series_id"),
                time("time"),
                number("duration"),
                number("total"),
                number("profiles"),
                date(),
            ],
            Self::Series => vec![
                text("service"),
                id("series_id"),
                text("profile_type"),
                labels(),
                time("first_time"),
                time("last_time"),
                date(),
            ],
        };
        Arc::new(Schema::new(fields))
    }
}

/// The tables `label_sets` and `label_sets_service`: each series once.
pub(super) fn label_sets() -> SchemaRef {
    Arc::new(Schema::new(vec![
        id("series_id"),
        text("service"),
        text("profile_type"),
        labels(),
        time("first_time"),
        time("last_time"),
    ]))
}

/// The table `stacks`: each stack of a service once.
pub(super) fn stacks() -> SchemaRef {
    let frames = Field::new("frames", DataType::List(Arc::new(frame())), false);
    Arc::new(Schema::new(vec![text("service"), id("stack_id"), text("function"), texts("functions"), frames]))
}

/// A frame, as the files have it.
pub(super) fn frame() -> Field {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let fields = vec![
        text("function"),
        text("system_name"),
        text("file"),
        number("line"),
        number("start_line"),
        text("mapping"),
        text("build_id"),
        number("memory_start"),
        number("memory_limit"),
        number("file_offset"),
        number("address"),
        Field::new("kind", DataType::Int8, false),
        Field::new("inlined", DataType::Boolean, false),
    ];
    Field::new("element", DataType::Struct(fields.into()), false)
}

/// What the table function `flamegraph` answers: a row is a node of the tree.
pub(super) fn flame_graph() -> SchemaRef {
    Arc::new(Schema::new(vec![
        number("node"),
        nullable(number("parent")),
        number("level"),
        text("function"),
        texts("path"),
        number("self"),
        number("total"),
    ]))
}

/// The views that join samples with their labels and functions: name, the table of samples, and that of labels.
pub(super) const VIEWS: [(&str, &str, &str); 7] = [
    ("stack_samples", "samples", "label_sets"),
    ("stack_samples_5m", "samples_5m", "label_sets"),
    ("stack_samples_1h", "samples_1h", "label_sets"),
    ("stack_samples_1d", "samples_1d", "label_sets"),
    ("stack_samples_5m_service", "samples_5m_service", "label_sets_service"),
    ("stack_samples_1h_service", "samples_1h_service", "label_sets_service"),
    ("stack_samples_1d_service", "samples_1d_service", "label_sets_service"),
];

/// The statement behind a view over `samples`. A join keeps what stands on its left in memory: the planner
/// does not know how many rows a join has, and leaves the order of the second.
pub(super) fn view(samples: &str, label_sets: &str) -> String {
    format!(
        "SELECT s.time, s.date, s.service, s.profile_type, l.labels, k.function, k.functions, s.value, \
         s.stack_id, s.series_id FROM stacks k \
         RIGHT JOIN ({label_sets} l JOIN {samples} s ON l.series_id = s.series_id) \
         ON k.service = s.service AND k.stack_id = s.stack_id"
    )
}

/// A table, view or table function that statements can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlRelation {
    /// Its name; that of a table function with its arguments.
    pub name: String,
    /// `table`, `view` or `function`.
    pub kind: &'static str,
    /// What a row is.
    pub description: &'static str,
    /// Its columns, in order.
    pub columns: Vec<SqlColumn>,
}

/// A column of a [`SqlRelation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlColumn {
    /// Its name.
    pub name: String,
    /// Its type, as in `CAST(… AS type)` where there is such a name.
    pub data_type: String,
    /// Whether values may be missing.
    pub nullable: bool,
    /// What it says.
    pub description: &'static str,
}

/// Everything that statements can read.
pub(super) fn relations() -> Vec<SqlRelation> {
    let tables = Table::all().into_iter();
    let tables = tables.map(|table| relation(table.name(), "table", table.description(), &table.schema()));
    let mut all: Vec<SqlRelation> = tables.collect();
    all.push(relation("label_sets", "table", "A row is a series, with its labels", &label_sets()));
    let description = "A row is a series without the labels that name instances, with its other labels";
    all.push(relation("label_sets_service", "table", description, &label_sets()));
    all.push(relation("stacks", "table", "A row is a stack of a service, with its frames", &stacks()));
    for (name, ..) in VIEWS {
        let fields = vec![
            time("time"),
            date(),
            text("service"),
            text("profile_type"),
            labels(),
            nullable(text("function")),
            nullable(texts("functions")),
            number("value"),
            id("stack_id"),
            id("series_id"),
        ];
        let description = "A row is a sample, or a part of a sum, with its labels and functions";
        all.push(relation(name, "view", description, &Schema::new(fields)));
    }
    let name = "flamegraph(profile_type, selector, from, until)";
    let description = "A row is a node of the flame graph, a parent before its children";
    all.push(relation(name, "function", description, &flame_graph()));
    all
}

fn relation(name: &str, kind: &'static str, description: &'static str, schema: &Schema) -> SqlRelation {
    let columns = schema.fields().iter().map(|field| SqlColumn {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
        nullable: field.is_nullable(),
        description: describe(field.name()),
    });
    SqlRelation { name: name.to_owned(), kind, description, columns: columns.collect() }
}

/// A type as people write it.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "varchar".to_owned(),
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "bytea".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "bigint unsigned".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("decimal({precision},{scale})")
        }
        DataType::List(element) | DataType::LargeList(element) | DataType::ListView(element) => {
            format!("array<{}>", type_name(element.data_type()))
        }
        DataType::Dictionary(_, values) => type_name(values),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                let types: Vec<String> = fields.iter().map(|field| type_name(field.data_type())).collect();
                format!("map<{}>", types.join(","))
            }
            other => format!("map<{}>", type_name(other)),
        },
        DataType::Struct(fields) => {
            let fields =
                fields.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type())));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

fn describe(column: &str) -> &'static str {
    match column {
        "service" => "Label service_name",
        "profile_type" => "What is measured: name:sample_type:sample_unit:period_type:period_unit",
        "window" => "Start of the span of time by which the table is sorted",
        "stack_id" => "Identity of the stack, the same everywhere",
        "series_id" => "Identity of labels and profile type together",
        "time" => "Start of the profile, or of the window that was summed",
        "value" => "In the unit of the profile type",
        "span_id" => "The span during which the sample was taken",
        "trace_id" => "The trace of that span",
        "date" => "Partition: the UTC day, in tables of hours and days the first of the month",
        "duration" => "Nanoseconds",
        "total" => "Sum of the values",
        "profile_id" => "Identity of the profile",
        "profiles" => "How many profiles the row is the sum of",
        "labels" => "Labels by name, service_name among them; label(labels, 'team') takes one out",
        "first_time" => "When the first profile was taken",
        "last_time" => "When the last profile was taken",
        "function" => "Name of the innermost function",
        "functions" => "Names of all functions, outermost first",
        "frames" => "All frames, innermost first",
        "node" => "Number of the node, from 1, a parent before its children",
        "parent" => "Number of the node that called it",
        "level" => "How many callers it has",
        "path" => "Names from the outermost function to this one",
        "self" => "Value of the function itself",
        _ => "",
    }
}
