//! The report of functions as an Arrow record, with who calls each and whom it calls.

use super::flamegraph_arrow::{fault, stream};
use super::nodes::SymbolTable;
use super::stacks::Stacks;
use crate::error::ApiError;
use crate::wire::parca::query::v1alpha1::TableArrow;
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, Int64Array, Int64Builder, ListBuilder, PrimitiveArray,
    StringArray, UInt64Array,
};
use arrow::datatypes::{ArrowDictionaryKeyType, ArrowNativeType, UInt16Type, UInt32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use everflame_profile::Frame;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a function adds up to.
#[derive(Clone, Debug, Default)]
struct Sums {
    cumulative: i64,
    cumulative_diff: i64,
    flat: i64,
    flat_diff: i64,
    callers: BTreeSet<i64>,
    callees: BTreeSet<i64>,
}

pub(super) fn report(stacks: &Stacks, unit: String) -> Result<TableArrow, ApiError> {
    let record = record(stacks).and_then(|record| stream(&record)).map_err(fault)?;
    Ok(TableArrow { record, unit, ..Default::default() })
}

fn record(stacks: &Stacks) -> Result<RecordBatch, ArrowError> {
    let table = SymbolTable::new(stacks);
    // Rows are the functions that are met, in the order in which they are.
    let mut row_of: Vec<Option<usize>> = vec![None; table.first.len()];
    let (mut frames, mut sums): (Vec<Frame>, Vec<Sums>) = (Vec::new(), Vec::new());
    let mut met: Vec<usize> = Vec::new();
    for (at, (row, stack)) in stacks.iter().enumerate() {
        let mut callee: Option<usize> = None;
        for (depth, &frame) in stack.iter().enumerate() {
            let Some(own) = row_of.get_mut(table.entry(frame) as usize) else { continue };
            let own = *own.get_or_insert_with(|| {
                frames.push(stacks.frame(frame));
                sums.push(Sums::default());
                met.push(usize::MAX);
                sums.len() - 1
            });
            if let (Some(sum), Some(met)) = (sums.get_mut(own), met.get_mut(own)) {
                if depth == 0 {
                    sum.flat = sum.flat.saturating_add(row.value);
                    sum.flat_diff = sum.flat_diff.saturating_add(row.diff);
                }
                if *met != at {
                    *met = at;
                    sum.cumulative = sum.cumulative.saturating_add(row.value);
                    sum.cumulative_diff = sum.cumulative_diff.saturating_add(row.diff);
                }
                sum.callees.extend(callee.map(|callee| callee as i64));
            }
            if let Some(sum) = callee.and_then(|callee| sums.get_mut(callee)) {
                sum.callers.insert(own as i64);
            }
            callee = Some(own);
        }
    }
    let text = |field: fn(&Stacks, &Frame) -> u32| {
        frames
            .iter()
            .map(move |frame| Some(stacks.text(field(stacks, frame))).filter(|text| !text.is_empty()))
    };
    let name =
        |_: &Stacks, frame: &Frame| if frame.function == 0 { frame.system_name } else { frame.function };
    let system_name =
        |_: &Stacks, frame: &Frame| if frame.system_name == 0 { frame.function } else { frame.system_name };
    let number = |field: fn(&Frame) -> i64| {
        frames.iter().map(|frame| Some(field(frame)).filter(|&number| number > 0)).collect::<Int64Array>()
    };
    let sum = |field: fn(&Sums) -> i64| {
        Arc::new(sums.iter().map(field).map(Some).collect::<Int64Array>()) as ArrayRef
    };
    let addresses: UInt64Array = frames.iter().map(|frame| Some(frame.address)).collect();
    let differences = sums.iter().map(|sums| Some(sums.cumulative_diff).filter(|&diff| diff != 0));
    let columns: [(&str, ArrayRef); 14] = [
        (
            "mapping_file",
            dictionary::<UInt16Type>(text(|stacks, frame| stacks.symbols.mapping(frame.mapping).file))?,
        ),
        (
            "mapping_build_id",
            dictionary::<UInt16Type>(text(|stacks, frame| stacks.symbols.mapping(frame.mapping).build_id))?,
        ),
        ("location_address", Arc::new(addresses)),
        ("location_line", Arc::new(number(|frame| frame.line))),
        ("function_startline", Arc::new(number(|frame| frame.start_line))),
        ("function_name", dictionary::<UInt32Type>(text(name))?),
        ("function_system_name", dictionary::<UInt16Type>(text(system_name))?),
        ("function_file_name", dictionary::<UInt32Type>(text(|_, frame| frame.file))?),
        ("cumulative", sum(|sums| sums.cumulative)),
        ("cumulative_diff", Arc::new(differences.collect::<Int64Array>())),
        ("flat", sum(|sums| sums.flat)),
        ("flat_diff", sum(|sums| sums.flat_diff)),
        ("callers", lists(sums.iter().map(|sums| &sums.callers))),
        ("callees", lists(sums.iter().map(|sums| &sums.callees))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
}

fn lists<'a>(sets: impl Iterator<Item = &'a BTreeSet<i64>>) -> ArrayRef {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for set in sets {
        set.iter().for_each(|&row| lists.values().append_value(row));
        lists.append(!set.is_empty());
    }
    Arc::new(lists.finish())
}

/// Texts, each once. Those that the keys have no numbers for are left out: readers know the column by the
/// type of its keys.
fn dictionary<'a, K: ArrowDictionaryKeyType + ArrowPrimitiveType>(
    texts: impl Iterator<Item = Option<&'a str>>,
) -> Result<ArrayRef, ArrowError> {
    let (mut known, mut values): (HashMap<&str, Option<K::Native>>, Vec<&str>) = (HashMap::new(), Vec::new());
    let keys: PrimitiveArray<K> = texts
        .map(|text| {
            let text = text?;
            *known.entry(text).or_insert_with(|| {
                let key = K::Native::from_usize(values.len());
                if key.is_some() {
                    values.push(text);
                }
                key
            })
        })
        .collect();
    Ok(Arc::new(DictionaryArray::<K>::try_new(keys, Arc::new(StringArray::from(values)))?))
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::stacks;
    use super::*;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use arrow_ipc::reader::StreamReader;

    #[test]
    fn rows_and_their_neighbours() {
        let stacks = stacks("main@a.go;fib;fib 3 3\nmain@a.go;0x10%libc 2 -1\nidle 1");
        let answer = report(&stacks, "count".to_owned()).unwrap();
        let record = StreamReader::try_new(answer.record.as_slice(), None).unwrap().next().unwrap().unwrap();
        let format = FormatOptions::default().with_null("-");
        let columns =
            ["function_name", "mapping_file", "flat", "cumulative", "cumulative_diff", "callers", "callees"];
        let columns: Vec<_> = columns
            .into_iter()
            .map(|name| {
                ArrayFormatter::try_new(record.column_by_name(name).unwrap().as_ref(), &format).unwrap()
            })
            .collect();
        let rows: Vec<_> = (0..record.num_rows())
            .map(|row| {
                columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")
            })
            .collect();
        assert_eq!(
            rows,
            ["fib - 3 3 3 [0, 1] [0]", "main - 0 5 2 - [0, 2]", "- libc 2 2 -1 [1] -", "idle - 1 1 - - -"]
        );
        assert_eq!(record.num_columns(), 14);
    }

    #[test]
    fn too_many_texts_for_their_keys() {
        let texts: Vec<String> = (0..70_000).map(|at| format!("f{at}")).collect();
        let column = dictionary::<UInt16Type>(texts.iter().map(|text| Some(text.as_str()))).unwrap();
        assert_eq!((column.len(), column.null_count()), (70_000, 70_000 - 65_536));
    }
}
