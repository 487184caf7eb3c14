//! Rows as JSON: an object for each, with the columns in their order.
//!
//! Whole numbers that a JavaScript number cannot hold become texts, as do decimals; ids are hexadecimal;
//! times are RFC 3339 in UTC; labels are objects.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use everflame_query::{Sql, SqlAnswer};
use serde_json::json;
use std::collections::HashSet;

/// The largest whole number that every reader of JSON keeps: 2^53 - 1.
const MAX_SAFE: u64 = (1 << 53) - 1;

/// `{"columns": [{"name", "type"}], "rows": [{…}], …}`.
pub(super) fn answer(answer: &SqlAnswer) -> Result<Vec<u8>, ArrowError> {
    let names = unique(answer.schema.fields().iter().map(|field| field.name().as_str()));
    let columns = names
        .iter()
        .zip(answer.schema.fields())
        .map(|(name, field)| json!({ "name": name, "type": Sql::type_name(field.data_type()) }));
    let mut out = Vec::new();
    out.extend_from_slice(b"{\"columns\":");
    write(&mut out, &columns.collect::<Vec<_>>())?;
    out.extend_from_slice(b",\"rows\":[");
    let keys: Result<Vec<Vec<u8>>, ArrowError> = names.iter().map(|name| text(name)).collect();
    let keys = keys?;
    let mut first = true;
    for batch in &answer.batches {
        for row in 0..batch.num_rows() {
            out.extend_from_slice(if first { b"\n{" } else { b",\n{" });
            first = false;
            for (at, (key, column)) in keys.iter().zip(batch.columns()).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(key);
                out.push(b':');
                value(&mut out, column, row)?;
            }
            out.push(b'}');
        }
    }
    let warnings: Vec<String> = answer.warnings.iter().map(ToString::to_string).collect();
    let stats = &answer.stats;
    let tail = json!({
        "rowCount": answer.rows(),
        "warnings": warnings,
        "scanned": { "files": stats.files, "rows": stats.rows, "bytes": stats.bytes },
        "milliseconds": u64::try_from(stats.elapsed.as_millis()).unwrap_or(u64::MAX),
    });
    out.extend_from_slice(b"],");
    let tail = tail.to_string();
    out.extend_from_slice(tail.strip_prefix('{').unwrap_or(&tail).as_bytes());
    out.push(b'\n');
    Ok(out)
}

/// Names that differ: of equal ones the second is called `name_2`.
fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut known = HashSet::new();
    let mut unique = Vec::new();
    for name in names {
        let mut candidate = name.to_owned();
        let mut number = 2;
        while !known.insert(candidate.clone()) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        unique.push(candidate);
    }
    unique
}

fn write(out: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), ArrowError> {
    serde_json::to_writer(out, value).map_err(|error| ArrowError::JsonError(error.to_string()))
}

fn text(value: &str) -> Result<Vec<u8>, ArrowError> {
    let mut out = Vec::new();
    write(&mut out, &value)?;
    Ok(out)
}

fn value(out: &mut Vec<u8>, array: &ArrayRef, row: usize) -> Result<(), ArrowError> {
    // An array of the type NULL has no list of what is missing.
    if array.is_null(row) || array.data_type() == &DataType::Null {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => write(out, &array.as_boolean().value(row)),
        DataType::Int8 => write(out, &array.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => write(out, &array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write(out, &array.as_primitive::<Int32Type>().value(row)),
        DataType::UInt8 => write(out, &array.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => write(out, &array.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => write(out, &array.as_primitive::<UInt32Type>().value(row)),
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            match value.unsigned_abs() <= MAX_SAFE {
                true => write(out, &value),
                false => write(out, &value.to_string()),
            }
        }
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            if value <= MAX_SAFE { write(out, &value) } else { write(out, &value.to_string()) }
        }
        // What is no number, JSON cannot say: null.
        DataType::Float16 => write(out, &array.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => write(out, &array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write(out, &array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => write(out, &array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write(out, &array.as_string::<i64>().value(row)),
        DataType::List(_) => list::<i32>(out, array, row),
        DataType::LargeList(_) => list::<i64>(out, array, row),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let names = unique(fields.iter().map(|field| field.name().as_str()));
            object(out, names.iter().zip(columns).map(|(name, column)| (text(name), column, row)))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let keys = ArrayFormatter::try_new(keys, &FormatOptions::default())?;
            object(out, (0..entries.len()).map(|at| (text(&keys.value(at).to_string()), values, at)))
        }
        // Dates, times, intervals, decimals; ids, as hexadecimal numbers.
        _ => {
            let shown = ArrayFormatter::try_new(array, &FormatOptions::default())?;
            write(out, &shown.value(row).to_string())
        }
    }
}

fn list<O: OffsetSizeTrait>(out: &mut Vec<u8>, array: &ArrayRef, row: usize) -> Result<(), ArrowError> {
    let elements = array.as_list::<O>().value(row);
    out.push(b'[');
    for at in 0..elements.len() {
        if at > 0 {
            out.push(b',');
        }
        value(out, &elements, at)?;
    }
    out.push(b']');
    Ok(())
}

fn object<'a>(
    out: &mut Vec<u8>,
    entries: impl Iterator<Item = (Result<Vec<u8>, ArrowError>, &'a ArrayRef, usize)>,
) -> Result<(), ArrowError> {
    out.push(b'{');
    for (at, (key, column, row)) in entries.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&key?);
        out.push(b':');
        value(out, column, row)?;
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };
    use std::sync::Arc;

    #[test]
    fn values() {
        let check = |array: ArrayRef, expect: &[&str]| {
            for (row, expect) in expect.iter().enumerate() {
                let mut out = Vec::new();
                value(&mut out, &array, row).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), *expect);
            }
        };
        let safe = MAX_SAFE.cast_signed();
        check(
            Arc::new(Int64Array::from(vec![Some(safe), Some(-safe), Some(safe + 1), Some(i64::MIN), None])),
            &[
                "9007199254740991",
                "-9007199254740991",
                "\"9007199254740992\"",
                "\"-9223372036854775808\"",
                "null",
            ],
        );
        check(Arc::new(Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY])), &["1.5", "null", "null"]);
        check(Arc::new(StringArray::from(vec!["a\"b"])), &[r#""a\"b""#]);
        check(Arc::new(BinaryArray::from_vec(vec![&[0, 0xab, 0x10]])), &["\"00ab10\""]);
        check(Arc::new(Date32Array::from(vec![20_666])), &["\"2026-08-01\""]);
        let times = TimestampMicrosecondArray::from(vec![1_785_542_400_000_000, 1_785_542_400_500_000]);
        check(
            Arc::new(times.with_timezone("UTC")),
            &["\"2026-08-01T00:00:00Z\"", "\"2026-08-01T00:00:00.500Z\""],
        );
        let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap();
        check(Arc::new(decimals), &["\"123.45\""]);
    }

    #[test]
    fn equal_names_are_told_apart() {
        assert_eq!(unique(["a", "b", "a", "a_2", "a"].into_iter()), ["a", "b", "a_2", "a_2_2", "a_3"]);
    }
}
