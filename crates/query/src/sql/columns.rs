//! Types and arrays of the columns that SQL sees. Texts and ids are views: DataFusion groups and joins by
//! them without copying; answers have plain ones.

use arrow::array::{Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, StringArray};
use arrow::array::{Date32Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type, TimeUnit};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

pub(super) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8View, false)
}

pub(super) fn id(name: &str) -> Field {
    Field::new(name, DataType::BinaryView, false)
}

pub(super) fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

pub(super) fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

pub(super) fn date() -> Field {
    Field::new("date", DataType::Date32, false)
}

pub(super) fn nullable(field: Field) -> Field {
    field.with_nullable(true)
}

/// A list of texts.
pub(super) fn texts(name: &str) -> Field {
    Field::new(name, DataType::List(text_element()), false)
}

pub(super) fn text_element() -> FieldRef {
    Arc::new(text("element"))
}

/// Labels: texts by name.
pub(super) fn labels() -> Field {
    let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)];
    let entries = Field::new("key_value", DataType::Struct(Fields::from(entry)), false);
    Field::new("labels", DataType::Map(Arc::new(entries), false), false)
}

/// The texts at `keys` of `values`.
pub(super) fn texts_at(keys: Vec<i32>, values: StringArray) -> Result<ArrayRef, ArrowError> {
    let all = DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), Arc::new(values))?;
    cast(&all, &DataType::Utf8View)
}

/// The ids at `keys` of `values`.
pub(super) fn ids_at(keys: Vec<i32>, values: BinaryArray) -> Result<ArrayRef, ArrowError> {
    let all = DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), Arc::new(values))?;
    cast(&all, &DataType::BinaryView)
}

/// Times, from microseconds since the epoch.
pub(super) fn times(micros: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

/// Dates, from days since the epoch.
pub(super) fn dates(days: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(days))
}

/// The UTC day of a time in microseconds.
pub(super) fn day(time: i64) -> i32 {
    // A time of 64 bits is less than 107 million days away from the epoch.
    time.div_euclid(DAY) as i32
}

/// `array` as `data_type`, which it mostly has already.
pub(super) fn as_type(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == data_type { Ok(array) } else { cast(&array, data_type) }
}
