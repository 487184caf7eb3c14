//! Arrow arrays of the kinds that the tables have.

use arrow::array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, Int32Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use parquet::errors::ParquetError;
use std::sync::Arc;

/// A column that takes the value at `keys` out of `values`.
pub(super) fn dictionary(keys: Vec<i32>, values: &ArrayRef) -> Result<ArrayRef, ParquetError> {
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), values.clone())?))
}

/// Texts.
pub(super) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}

/// Byte strings.
pub(super) fn binaries<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<BinaryArray>())
}

/// Times, from microseconds since the epoch.
pub(super) fn times(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

/// The array at `index` of a batch, as what it was written as.
pub(super) fn typed<A: Array + 'static>(columns: &[ArrayRef], index: usize) -> Result<&A, ParquetError> {
    columns.get(index).and_then(|column| column.as_any().downcast_ref::<A>()).ok_or_else(|| {
        ParquetError::General(format!("column {index} is not of the type that Everflame writes"))
    })
}

/// A number of `N` bytes, big-endian, from a binary column.
pub(super) fn bytes<const N: usize>(value: &[u8]) -> Result<[u8; N], ParquetError> {
    value
        .try_into()
        .map_err(|_| ParquetError::General(format!("an id has {} bytes instead of {N}", value.len())))
}
