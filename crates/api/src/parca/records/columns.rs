//! Columns of Arrow records in whichever encoding they come: plain, dictionary, run-end, or one in another.

use crate::error::ApiError;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, StringArray, StringViewArray,
};
use arrow::datatypes::{
    DataType, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use std::borrow::Cow;
use std::ops::Range;

/// Encodings may lie in each other so deep.
const MAX_ENCODINGS: usize = 4;

/// A column without its encodings: rows, and where each has its value.
pub(super) struct Plain {
    /// Positions in `values`; of each row, where the column is encoded.
    positions: Option<Vec<Option<u32>>>,
    pub(super) values: ArrayRef,
    rows: usize,
}

impl Plain {
    pub(super) fn of(name: &str, array: &ArrayRef) -> Result<Self, ApiError> {
        let rows = array.len();
        let mut plain = Self { positions: None, values: array.clone(), rows };
        for _ in 0..MAX_ENCODINGS {
            let (of_value, values) = match plain.values.data_type() {
                DataType::Dictionary(..) => {
                    let Some(dictionary) = plain.values.as_any_dictionary_opt() else { break };
                    let values = dictionary.values().clone();
                    let keys = dictionary.keys();
                    let found: Vec<Option<u32>> = match values.is_empty() {
                        true => vec![None; keys.len()],
                        false => {
                            let each = dictionary.normalized_keys().into_iter().enumerate();
                            each.map(|(row, key)| keys.is_valid(row).then_some(key as u32)).collect()
                        }
                    };
                    (found, values)
                }
                DataType::RunEndEncoded(ends, _) => {
                    let (positions, values) = match ends.data_type() {
                        DataType::Int16 => runs::<Int16Type>(&plain.values),
                        DataType::Int32 => runs::<Int32Type>(&plain.values),
                        _ => runs::<Int64Type>(&plain.values),
                    }
                    .ok_or_else(|| wrong(name, array, "runs with an end of 16, 32 or 64 bits"))?;
                    (positions, values)
                }
                _ => return Ok(plain),
            };
            let through = |position: u32| of_value.get(position as usize).copied().flatten();
            plain.positions = Some(match plain.positions {
                None => of_value,
                Some(positions) => positions.into_iter().map(|position| position.and_then(through)).collect(),
            });
            plain.values = values;
        }
        match plain.values.data_type() {
            DataType::Dictionary(..) | DataType::RunEndEncoded(..) => {
                Err(wrong(name, array, "fewer encodings in each other"))
            }
            _ => Ok(plain),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Where `row` has its value; nothing when it has none.
    pub(super) fn position(&self, row: usize) -> Option<usize> {
        let position = match &self.positions {
            None => Some(row),
            Some(positions) => positions.get(row).copied().flatten().map(|position| position as usize),
        };
        position.filter(|&position| position < self.values.len() && self.values.is_valid(position))
    }
}

fn runs<K: arrow::datatypes::RunEndIndexType>(array: &ArrayRef) -> Option<(Vec<Option<u32>>, ArrayRef)> {
    let runs = array.as_any().downcast_ref::<arrow::array::RunArray<K>>()?;
    let mut positions = Vec::with_capacity(runs.len());
    for row in 0..runs.len() {
        positions.push(Some(runs.get_physical_index(row) as u32));
    }
    Some((positions, runs.values().clone()))
}

/// A column that is not of the type that it should have.
pub(super) fn wrong(name: &str, array: &dyn Array, expected: &str) -> ApiError {
    ApiError::invalid(format_args!(
        "Arrow record: column {name:?} is {}; send {expected}, plain or encoded",
        array.data_type()
    ))
}

/// Texts.
pub(super) struct Texts(Plain);

impl Texts {
    pub(super) fn of(name: &str, array: &ArrayRef) -> Result<Self, ApiError> {
        let plain = Plain::of(name, array)?;
        match plain.values.data_type() {
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
            | DataType::Null => Ok(Self(plain)),
            _ => Err(wrong(name, array, "texts or bytes")),
        }
    }

    /// The bytes of `row`.
    pub(super) fn bytes(&self, row: usize) -> Option<&[u8]> {
        let at = self.0.position(row)?;
        let any = self.0.values.as_any();
        if let Some(texts) = any.downcast_ref::<StringArray>() {
            return Some(texts.value(at).as_bytes());
        }
        if let Some(bytes) = any.downcast_ref::<BinaryArray>() {
            return Some(bytes.value(at));
        }
        if let Some(texts) = any.downcast_ref::<StringViewArray>() {
            return Some(texts.value(at).as_bytes());
        }
        if let Some(bytes) = any.downcast_ref::<FixedSizeBinaryArray>() {
            return Some(bytes.value(at));
        }
        if let Some(bytes) = any.downcast_ref::<BinaryViewArray>() {
            return Some(bytes.value(at));
        }
        if let Some(texts) = any.downcast_ref::<LargeStringArray>() {
            return Some(texts.value(at).as_bytes());
        }
        any.downcast_ref::<LargeBinaryArray>().map(|bytes| bytes.value(at))
    }

    /// The text of `row`, "" when it has none; what is not UTF-8 is replaced.
    pub(super) fn text(&self, row: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(row).unwrap_or_default())
    }
}

/// Whole numbers and times, as 64 bits with a sign.
pub(super) struct Numbers {
    plain: Plain,
    numbers: Vec<i64>,
}

impl Numbers {
    pub(super) fn of(name: &str, array: &ArrayRef) -> Result<Self, ApiError> {
        let plain = Plain::of(name, array)?;
        let values = &plain.values;
        macro_rules! numbers {
            ($kind:ty, $number:expr) => {
                values.as_primitive_opt::<$kind>().map(|values| values.values().iter().map($number).collect())
            };
        }
        let numbers: Option<Vec<i64>> = match values.data_type() {
            DataType::Int8 => numbers!(Int8Type, |&number| number.into()),
            DataType::Int16 => numbers!(Int16Type, |&number| number.into()),
            DataType::Int32 => numbers!(Int32Type, |&number| number.into()),
            DataType::Int64 => numbers!(Int64Type, |&number| number),
            DataType::UInt8 => numbers!(UInt8Type, |&number| number.into()),
            DataType::UInt16 => numbers!(UInt16Type, |&number| number.into()),
            DataType::UInt32 => numbers!(UInt32Type, |&number| number.into()),
            // Addresses use all 64 bits.
            DataType::UInt64 => numbers!(UInt64Type, |number| number.cast_signed()),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers!(TimestampNanosecondType, |&time| time),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                numbers!(TimestampMicrosecondType, |time: &i64| time.saturating_mul(1_000))
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                numbers!(TimestampMillisecondType, |time: &i64| time.saturating_mul(1_000_000))
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                numbers!(TimestampSecondType, |time: &i64| time.saturating_mul(1_000_000_000))
            }
            DataType::Null => Some(Vec::new()),
            _ => None,
        };
        let numbers = numbers.ok_or_else(|| wrong(name, array, "whole numbers"))?;
        Ok(Self { plain, numbers })
    }

    /// The number of `row`.
    pub(super) fn number(&self, row: usize) -> Option<i64> {
        self.numbers.get(self.plain.position(row)?).copied()
    }
}

/// Lists: for each row a run of values.
pub(super) struct Lists {
    plain: Plain,
    runs: Vec<Range<usize>>,
    pub(super) values: ArrayRef,
}

impl Lists {
    pub(super) fn of(name: &str, array: &ArrayRef) -> Result<Self, ApiError> {
        let plain = Plain::of(name, array)?;
        let values = &plain.values;
        let (runs, values): (Vec<Range<usize>>, ArrayRef) = match values.data_type() {
            DataType::List(_) => {
                let lists = values.as_list::<i32>();
                let ends = lists.offsets().windows(2).map(|pair| index(pair[0])..index(pair[1]));
                (ends.collect(), lists.values().clone())
            }
            DataType::LargeList(_) => {
                let lists = values.as_list::<i64>();
                let ends = lists.offsets().windows(2).map(|pair| index(pair[0])..index(pair[1]));
                (ends.collect(), lists.values().clone())
            }
            DataType::ListView(_) => {
                let lists = values.as_list_view::<i32>();
                let each = lists.offsets().iter().zip(lists.sizes().iter());
                let each = each.map(|(&start, &size)| index(start)..index(start).saturating_add(index(size)));
                (each.collect(), lists.values().clone())
            }
            DataType::LargeListView(_) => {
                let lists = values.as_list_view::<i64>();
                let each = lists.offsets().iter().zip(lists.sizes().iter());
                let each = each.map(|(&start, &size)| index(start)..index(start).saturating_add(index(size)));
                (each.collect(), lists.values().clone())
            }
            _ => return Err(wrong(name, array, "lists")),
        };
        if runs.iter().any(|run| run.start > run.end || run.end > values.len()) {
            return Err(wrong(name, array, "lists that lie in their values"));
        }
        Ok(Self { plain, runs, values })
    }

    /// The positions of the values of `row`.
    pub(super) fn run(&self, row: usize) -> Range<usize> {
        self.plain.position(row).and_then(|at| self.runs.get(at).cloned()).unwrap_or(0..0)
    }
}

fn index(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(usize::MAX)
}

/// The fields of a column of structs by name, and the column itself.
pub(super) struct Structs {
    plain: Plain,
}

impl Structs {
    pub(super) fn of(name: &str, array: &ArrayRef) -> Result<Self, ApiError> {
        let plain = Plain::of(name, array)?;
        match plain.values.data_type() {
            DataType::Struct(_) => Ok(Self { plain }),
            _ => Err(wrong(name, array, "structs")),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.plain.rows()
    }

    /// Number of different structs.
    pub(super) fn len(&self) -> usize {
        self.plain.values.len()
    }

    /// Which struct `row` is.
    pub(super) fn position(&self, row: usize) -> Option<usize> {
        self.plain.position(row)
    }

    pub(super) fn field(&self, name: &str) -> Option<&ArrayRef> {
        self.plain.values.as_struct_opt()?.column_by_name(name)
    }

    /// Name and column of each field.
    pub(super) fn fields(&self) -> Vec<(String, ArrayRef)> {
        let Some(structs) = self.plain.values.as_struct_opt() else { return Vec::new() };
        let names = structs.fields().iter().map(|field| field.name().clone());
        names.zip(structs.columns().iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Int64Array, ListBuilder, RunArray, UInt64Array};
    use std::sync::Arc;

    #[test]
    fn encodings_in_encodings() {
        let keys = arrow::array::UInt32Array::from(vec![Some(1), None, Some(0)]);
        let dictionary =
            DictionaryArray::<UInt32Type>::try_new(keys, Arc::new(StringArray::from(vec!["a", "b"])))
                .unwrap();
        let ends = arrow::array::Int32Array::from(vec![2, 3, 5]);
        let column: ArrayRef = Arc::new(RunArray::<Int32Type>::try_new(&ends, &dictionary).unwrap());
        let texts = Texts::of("x", &column).unwrap();
        let rows: Vec<_> = (0..6).map(|row| texts.text(row).into_owned()).collect();
        assert_eq!(rows, ["b", "b", "", "a", "a", ""]);
        assert_eq!((texts.bytes(2), texts.bytes(3)), (None, Some(&b"a"[..])));
        assert!(Numbers::of("x", &column).is_err());
    }

    #[test]
    fn numbers_of_all_bits() {
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]));
        let numbers = Numbers::of("x", &column).unwrap();
        assert_eq!((numbers.number(0), numbers.number(1), numbers.number(2)), (Some(-1), None, None));
        let column: ArrayRef = Arc::new(Int64Array::from(vec![5]));
        assert!(Texts::of("x", &column).err().unwrap().to_string().contains("column \"x\" is Int64"));
    }

    #[test]
    fn lists_of_both_kinds() {
        let mut lists = ListBuilder::new(arrow::array::Int64Builder::new());
        lists.append_value([Some(1), Some(2)]);
        lists.append_null();
        lists.append_value([Some(3)]);
        let column: ArrayRef = Arc::new(lists.finish());
        let lists = Lists::of("x", &column).unwrap();
        assert_eq!([lists.run(0), lists.run(1), lists.run(2), lists.run(3)], [0..2, 0..0, 2..3, 0..0]);
    }
}
