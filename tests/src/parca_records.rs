//! Arrow records as Parca's agents send them, in both layouts.

use anyhow::Result;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, ListViewArray,
    RunArray, StringArray, StringViewArray, StructArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Field, Fields, Int32Type, Schema, UInt32Type};
use arrow::record_batch::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use std::collections::HashMap;
use std::sync::Arc;

/// Each row its text, as a dictionary.
fn dictionary(texts: &[&str]) -> ArrayRef {
    let mut values: Vec<&str> = texts.to_vec();
    values.sort_unstable();
    values.dedup();
    let key = |text: &&str| {
        (!text.is_empty()).then(|| values.iter().position(|value| value == text).unwrap_or(0) as u32)
    };
    let keys: UInt32Array = texts.iter().map(key).collect();
    Arc::new(DictionaryArray::<UInt32Type>::new(keys, Arc::new(StringArray::from(values.clone()))))
}

/// The same with the bytes of texts.
fn binary_dictionary(texts: &[&str]) -> ArrayRef {
    let keys: UInt32Array = (0..texts.len() as u32).map(Some).collect();
    let values: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    Arc::new(DictionaryArray::<UInt32Type>::new(keys, Arc::new(BinaryArray::from_vec(values))))
}

/// `values`, each for as many rows as `ends` says.
fn runs(ends: &[i32], values: ArrayRef) -> Result<ArrayRef> {
    let ends = Int32Array::from(ends.to_vec());
    Ok(Arc::new(RunArray::<Int32Type>::try_new(&ends, values.as_ref())?))
}

fn structs(columns: Vec<(&str, ArrayRef)>) -> Result<ArrayRef> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(Arc::new(StructArray::try_new(Fields::from(fields), columns, None)?))
}

fn list_view(lists: &[(i32, i32)], values: ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = ScalarBuffer::from(lists.iter().map(|(offset, _)| *offset).collect::<Vec<_>>());
    let sizes = ScalarBuffer::from(lists.iter().map(|(_, size)| *size).collect::<Vec<_>>());
    Ok(Arc::new(ListViewArray::try_new(field, offsets, sizes, values, None)?))
}

/// `batch` as an IPC stream.
///
/// # Errors
/// When Arrow does not take it.
pub fn stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Result<Vec<u8>> {
    let options = IpcWriteOptions::default().try_with_compression(compression)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options)?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// `columns` as a record of that version of the layout.
///
/// # Errors
/// When Arrow does not take it.
pub fn batch(columns: Vec<(&str, ArrayRef)>, version: &str) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let metadata = HashMap::from([("parca_write_schema_version".to_owned(), version.to_owned())]);
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)?)
}

/// Three samples of two containers, 19 a second: `main;work` twice and `main;0xbeef`; `work` has `inner`
/// inlined into it.
///
/// # Errors
/// When Arrow does not take it.
pub fn second_layout(time: i64) -> Result<RecordBatch> {
    let functions = structs(vec![
        (
            "system_name",
            Arc::new(StringViewArray::from(vec!["a.main", "a.work", "a.inner_with_a_long_name"])),
        ),
        ("filename", dictionary(&["main.go", "work.go", "work.go"])),
        ("start_line", Arc::new(UInt64Array::from(vec![1, 10, 20]))),
    ])?;
    let function = DictionaryArray::<UInt32Type>::new(UInt32Array::from(vec![0, 2, 1]), functions);
    let lines = structs(vec![
        ("line", Arc::new(UInt64Array::from(vec![3, 21, 12]))),
        ("column", Arc::new(UInt64Array::from(vec![0, 0, 0]))),
        ("function", Arc::new(function)),
    ])?;
    let locations = structs(vec![
        ("address", Arc::new(UInt64Array::from(vec![0x10, 0x20, 0xbeef]))),
        ("frame_type", dictionary(&["native", "native", "kernel"])),
        ("mapping_file", dictionary(&["/bin/app", "/bin/app", "[kernel.kallsyms]"])),
        ("mapping_build_id", dictionary(&["abc", "abc", ""])),
        ("lines", list_view(&[(0, 1), (1, 2), (0, 0)], lines)?),
    ])?;
    let keys = UInt32Array::from(vec![1, 0, 2, 0]);
    let location = DictionaryArray::<UInt32Type>::new(keys, locations);
    let stacks = list_view(&[(0, 2), (0, 2), (2, 2)], Arc::new(location))?;
    let all = |text: &str| runs(&[3], Arc::new(StringArray::from(vec![text])));
    let labels = structs(vec![
        ("node", runs(&[3], dictionary(&["n1"]))?),
        ("container", runs(&[2, 3], dictionary(&["web", "db"]))?),
        ("pod", runs(&[1, 3], dictionary(&["p", ""]))?),
    ])?;
    batch(
        vec![
            ("labels", labels),
            ("stacktrace", stacks),
            ("value", Arc::new(Int64Array::from(vec![1, 2, 4]))),
            ("producer", all("parca_agent")?),
            ("sample_type", all("samples")?),
            ("sample_unit", all("count")?),
            ("period_type", all("cpu")?),
            ("period_unit", all("nanoseconds")?),
            ("temporality", all("delta")?),
            ("period", runs(&[3], Arc::new(Int64Array::from(vec![52_631_578])))?),
            ("duration", runs(&[3], Arc::new(UInt64Array::from(vec![10_000_000_000])))?),
            ("timestamp", Arc::new(TimestampNanosecondArray::from(vec![time; 3]))),
        ],
        "v2",
    )
}

/// Samples of the first layout: stacks are named by their ids.
///
/// # Errors
/// When Arrow does not take it.
pub fn first_layout(time: i64) -> Result<RecordBatch> {
    let all = |text: &str| runs(&[3], binary_dictionary(&[text]));
    let numbers = |number: i64| runs(&[3], Arc::new(Int64Array::from(vec![number])));
    batch(
        vec![
            ("duration", numbers(10_000_000_000)?),
            ("labels.job", runs(&[3], binary_dictionary(&["first"]))?),
            ("period", numbers(10_000_000)?),
            ("period_type", all("cpu")?),
            ("period_unit", all("nanoseconds")?),
            ("producer", all("process_cpu")?),
            ("sample_type", all("samples")?),
            ("sample_unit", all("count")?),
            ("stacktrace_id", runs(&[1, 2, 3], binary_dictionary(&["stack-a", "stack-b", "stack-a"]))?),
            // Each sample is of a moment of its own, as the agent takes them.
            ("timestamp", Arc::new(Int64Array::from(vec![time, time + 52_631_578, time + 105_263_156]))),
            ("value", Arc::new(Int64Array::from(vec![1, 2, 4]))),
        ],
        "v1",
    )
}

/// Their locations: `main;work` and `main`.
///
/// # Errors
/// When Arrow does not take it.
pub fn first_locations() -> Result<RecordBatch> {
    let lines = structs(vec![
        ("line", Arc::new(Int64Array::from(vec![7, 3, 3]))),
        ("column", Arc::new(UInt64Array::from(vec![0, 0, 0]))),
        ("function_name", binary_dictionary(&["work", "main", "main"])),
        ("function_system_name", binary_dictionary(&["_Zwork", "main", "main"])),
        ("function_filename", runs(&[3], binary_dictionary(&["a.c"]))?),
        ("function_start_line", Arc::new(Int64Array::from(vec![5, 1, 1]))),
    ])?;
    let list = |offsets: Vec<i32>, values: ArrayRef| -> Result<ArrayRef> {
        let field = Arc::new(Field::new("item", values.data_type().clone(), true));
        Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, None)?))
    };
    let numbers = |number: u64| runs(&[3], Arc::new(UInt64Array::from(vec![number])));
    let locations = structs(vec![
        ("address", Arc::new(UInt64Array::from(vec![0x10, 0x20, 0x20]))),
        ("mapping_start", numbers(0x1000)?),
        ("mapping_limit", numbers(0x2000)?),
        ("mapping_offset", numbers(0)?),
        ("mapping_file", runs(&[3], binary_dictionary(&["/bin/app"]))?),
        ("mapping_build_id", runs(&[3], binary_dictionary(&["abc"]))?),
        ("lines", list(vec![0, 1, 2, 3], lines)?),
    ])?;
    batch(
        vec![
            ("stacktrace_id", Arc::new(BinaryArray::from_vec(vec![b"stack-a", b"stack-b"]))),
            ("locations", list(vec![0, 2, 3], locations)?),
            ("is_complete", Arc::new(BooleanArray::from(vec![true, true]))),
        ],
        "v1",
    )
}
