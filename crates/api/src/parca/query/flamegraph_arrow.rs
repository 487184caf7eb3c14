//! The report of a flame graph as an Arrow record, which Parca's pages draw.

use super::GroupBy;
use super::flamegraph::{self, Content, Node, Shows};
use super::stacks::Stacks;
use crate::error::ApiError;
use crate::wire::parca::query::v1alpha1::FlamegraphArrow;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Int8Array, Int16Array, Int32Array, Int64Array,
    ListBuilder, UInt8Array, UInt16Array, UInt32Array, UInt32Builder, UInt64Array,
};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use everflame_profile::StringIndex;
use hashbrown::HashMap;
use std::sync::Arc;

pub(super) fn report(
    stacks: &Stacks,
    unit: String,
    group_by: &GroupBy,
    trim: f64,
) -> Result<FlamegraphArrow, ApiError> {
    let tree = flamegraph::tree(stacks, group_by);
    let shown = flamegraph::shown(&tree, trim);
    let record = record(stacks, group_by, &tree, &shown).and_then(|record| stream(&record)).map_err(fault)?;
    let (height, trimmed) = (flamegraph::height(&tree), shown.trimmed);
    Ok(FlamegraphArrow { record, unit, height, trimmed, ..Default::default() })
}

/// Arrow refuses only what does not fit together, which is nobody's fault but ours.
pub(super) fn fault(error: ArrowError) -> ApiError {
    ApiError::internal(format_args!("the Arrow record could not be made: {error}; please report it"))
}

/// `record` as a stream with its schema, compressed as the peer does it.
pub(super) fn stream(record: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &record.schema(), options)?;
    writer.write(record)?;
    writer.into_inner()
}

fn record(
    stacks: &Stacks,
    group_by: &GroupBy,
    tree: &[Node],
    shown: &flamegraph::Shown,
) -> Result<RecordBatch, ArrowError> {
    let nodes: Vec<&Node> = shown.nodes.iter().filter_map(|&(at, ..)| tree.get(at as usize)).collect();
    let contents: Vec<Option<Content>> = nodes
        .iter()
        .map(|node| match node.shows {
            Shows::Frame(content) => Some(content),
            Shows::Root | Shows::Labels => None,
        })
        .collect();
    let of = |field: fn(&Content) -> Option<u64>| {
        contents.iter().map(|content| content.as_ref().and_then(field)).collect::<Vec<_>>()
    };
    let text = |field: fn(&Content) -> Option<StringIndex>| {
        let texts = contents.iter().map(|content| content.as_ref().and_then(field));
        dictionary(texts.map(|index| index.map(|index| stacks.text(index))))
    };
    let labels_only = nodes.iter().map(|node| match node.shows {
        Shows::Root => None,
        Shows::Labels => Some(true),
        Shows::Frame(_) => Some(false),
    });
    let inlined = contents.iter().zip(&nodes).map(|(content, node)| match (content, node.shows) {
        (Some(content), _) => content.inlined,
        (None, Shows::Root) => Some(false),
        (None, _) => None,
    });
    let mut children = ListBuilder::new(UInt32Builder::new());
    for own in &shown.children {
        own.iter().for_each(|&child| children.values().append_value(child));
        children.append(!own.is_empty());
    }
    let number = |field: fn(&Node) -> i64| nodes.iter().map(|node| field(node)).collect::<Vec<_>>();
    let unsigned = |numbers: Vec<i64>| -> Vec<Option<u64>> {
        numbers.into_iter().map(|number| Some(u64::try_from(number).unwrap_or(0))).collect()
    };
    let positive = |numbers: Vec<i64>| narrow(unsigned(numbers));
    let offsets = shown.nodes.iter().map(|&(_, _, offset)| offset).collect();
    let parents: Int32Array = shown.nodes.iter().map(|&(_, parent, _)| parent).collect::<Vec<_>>().into();
    let mut columns: Vec<(String, ArrayRef)> = [
        ("labels_only", Arc::new(labels_only.collect::<BooleanArray>()) as ArrayRef),
        ("location_address", Arc::new(UInt64Array::from(of(|content| content.address)))),
        ("mapping_file", text(|content| content.mapping_file)?),
        ("mapping_build_id", text(|content| content.build_id)?),
        ("location_line", narrow(of(|content| content.line))),
        ("inlined", Arc::new(inlined.collect::<BooleanArray>())),
        ("function_startline", narrow(of(|content| content.start_line))),
        ("function_name", text(|content| content.function)?),
        ("function_system_name", text(|content| content.system_name)?),
        ("function_file_name", text(|content| content.file)?),
        ("children", Arc::new(children.finish())),
        ("parent", Arc::new(parents)),
        // Parca's pages read it as 64 bits, Grafana without a sign.
        ("cumulative", Arc::new(UInt64Array::from(unsigned(number(|node| node.cumulative))))),
        ("flat", positive(number(|node| node.flat))),
        ("diff", narrow_signed(&number(|node| node.diff))),
        ("timestamp", Arc::new(Int64Array::from(number(|node| node.time)))),
        ("depth", positive(number(|node| i64::from(node.depth)))),
        ("value_offset", positive(offsets)),
    ]
    .into_iter()
    .map(|(name, column)| (name.to_owned(), column))
    .collect();
    for (at, label) in group_by.labels.iter().enumerate() {
        let values = nodes.iter().map(|node| {
            let set = stacks.groups.get(node.group? as usize)?;
            set.get(at).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        });
        columns.push((format!("labels.{label}"), dictionary(values)?));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
}

/// Texts, each once, and which row has which.
fn dictionary<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Result<ArrayRef, ArrowError> {
    let (mut known, mut values): (HashMap<&str, i32>, Vec<&[u8]>) = (HashMap::new(), Vec::new());
    let keys: Int32Array = texts
        .map(|text| {
            text.map(|text| {
                *known.entry(text).or_insert_with(|| {
                    values.push(text.as_bytes());
                    (values.len() - 1) as i32
                })
            })
        })
        .collect();
    let values = Arc::new(BinaryArray::from_vec(values));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

/// In the narrowest width that holds them all.
fn narrow(numbers: Vec<Option<u64>>) -> ArrayRef {
    let most = numbers.iter().flatten().copied().max().unwrap_or(0);
    let each = numbers.into_iter();
    if most <= u64::from(u8::MAX) {
        Arc::new(each.map(|number| number.map(|number| number as u8)).collect::<UInt8Array>())
    } else if most <= u64::from(u16::MAX) {
        Arc::new(each.map(|number| number.map(|number| number as u16)).collect::<UInt16Array>())
    } else if most <= u64::from(u32::MAX) {
        Arc::new(each.map(|number| number.map(|number| number as u32)).collect::<UInt32Array>())
    } else {
        Arc::new(each.collect::<UInt64Array>())
    }
}

/// In the narrowest width that holds them all.
fn narrow_signed(numbers: &[i64]) -> ArrayRef {
    let (least, most) = numbers
        .iter()
        .fold((0, 0), |(least, most): (i64, i64), &number| (least.min(number), most.max(number)));
    let fits = |min: i64, max: i64| min <= least && most <= max;
    if fits(i8::MIN.into(), i8::MAX.into()) {
        Arc::new(numbers.iter().map(|&number| Some(number as i8)).collect::<Int8Array>())
    } else if fits(i16::MIN.into(), i16::MAX.into()) {
        Arc::new(numbers.iter().map(|&number| Some(number as i16)).collect::<Int16Array>())
    } else if fits(i32::MIN.into(), i32::MAX.into()) {
        Arc::new(numbers.iter().map(|&number| Some(number as i32)).collect::<Int32Array>())
    } else {
        Arc::new(Int64Array::from(numbers.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::stacks;
    use super::*;
    use arrow::datatypes::DataType;
    use arrow_ipc::reader::StreamReader;

    #[test]
    fn columns_and_their_types() {
        let mut stacks = stacks("main@a.go;work%bin 300 5\nmain@a.go;0x10%bin 2 -700");
        stacks.groups = vec![vec![("pod".to_owned(), "x".to_owned())]];
        let group_by = GroupBy { labels: vec!["pod".to_owned()], ..GroupBy::default() };
        let answer = report(&stacks, "count".to_owned(), &group_by, 0.0).unwrap();
        assert_eq!((answer.height, answer.trimmed, answer.unit.as_str()), (4, 0, "count"));
        let record = StreamReader::try_new(answer.record.as_slice(), None).unwrap().next().unwrap().unwrap();
        let dictionary = "Dictionary(Int32, Binary)";
        let expect = [
            ("labels_only", "Boolean"),
            ("location_address", "UInt64"),
            ("mapping_file", dictionary),
            ("mapping_build_id", dictionary),
            ("location_line", "UInt8"),
            ("inlined", "Boolean"),
            ("function_startline", "UInt8"),
            ("function_name", dictionary),
            ("function_system_name", dictionary),
            ("function_file_name", dictionary),
            ("children", "List(UInt32)"),
            ("parent", "Int32"),
            ("cumulative", "UInt64"),
            ("flat", "UInt16"),
            ("diff", "Int16"),
            ("timestamp", "Int64"),
            ("depth", "UInt8"),
            ("value_offset", "UInt16"),
            ("labels.pod", dictionary),
        ];
        let schema = record.schema();
        let fields: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| {
                let data_type = match field.data_type() {
                    DataType::List(item) => format!("List({})", item.data_type()),
                    other => other.to_string(),
                };
                (field.name().as_str(), data_type)
            })
            .collect();
        assert_eq!(fields, expect.map(|(name, data_type)| (name, data_type.to_owned())));
        let shown = |name: &str| {
            let column = record.column_by_name(name).unwrap();
            let format = arrow::util::display::FormatOptions::default().with_null("-");
            let texts = arrow::util::display::ArrayFormatter::try_new(column.as_ref(), &format).unwrap();
            (0..record.num_rows()).map(|row| texts.value(row).to_string()).collect::<Vec<_>>().join(" ")
        };
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(shown("function_name"), format!("- - {} {} -", hex("main"), hex("work")));
        assert_eq!(shown("labels_only"), "- true false false false");
        assert_eq!(shown("labels.pod"), ["-", &hex("x"), &hex("x"), &hex("x"), &hex("x")].join(" "));
        assert_eq!(shown("cumulative"), "302 302 302 300 2");
        assert_eq!(shown("flat"), "0 0 0 300 2");
        assert_eq!(shown("diff"), "-695 -695 -695 5 -700");
        assert_eq!(shown("parent"), "-1 0 1 2 2");
        assert_eq!(shown("children"), "[1] [2] [3, 4] - -");
        assert_eq!(shown("value_offset"), "0 0 0 0 300");
        assert_eq!(shown("location_address"), "- - 0 0 16");
    }

    #[test]
    fn an_empty_graph_has_a_root() {
        let answer = report(&Stacks::default(), "count".to_owned(), &GroupBy::default(), 0.0).unwrap();
        let record = StreamReader::try_new(answer.record.as_slice(), None).unwrap().next().unwrap().unwrap();
        assert_eq!((record.num_rows(), answer.height), (1, 1));
    }
}
