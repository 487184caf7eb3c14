//! Functions that statements have beside those of DataFusion: `label` and `package`.

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// Functions of DataFusion that make much out of little, outside of the memory limit, or work long without
/// a pause.
pub(super) const REFUSED: [&str; 10] = [
    "levenshtein",
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "range",
    "generate_series",
];

/// The functions that are added.
pub(super) fn all() -> [ScalarUDF; 2] {
    let signature = Signature::any(2, Volatility::Immutable);
    let label = Label { signature };
    let package = Package { signature: Signature::string(1, Volatility::Immutable) };
    [ScalarUDF::new_from_impl(label), ScalarUDF::new_from_impl(package)]
}

/// `label(labels, name)`: the value of a label, empty when there is none of that name, as in a selector.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Label {
    signature: Signature,
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &str {
        "label"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Map(..), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View] => {
                Ok(DataType::Utf8View)
            }
            _ => plan_err!("label takes labels and a name, as in label(labels, 'team')"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [labels, name] = args.args.as_slice() else { return exec_err!("label takes two arguments") };
        let labels = labels.to_array(args.number_rows)?;
        let ColumnarValue::Scalar(name) = name else {
            return exec_err!("label: the name must be written as a text, as in label(labels, 'team')");
        };
        let name = match name {
            ScalarValue::Utf8(Some(name))
            | ScalarValue::LargeUtf8(Some(name))
            | ScalarValue::Utf8View(Some(name)) => name.as_str(),
            _ => "",
        };
        let Some(maps) = labels.as_any().downcast_ref::<MapArray>() else {
            return exec_err!("label: these are no labels");
        };
        Ok(ColumnarValue::Array(values(maps, name)?))
    }
}

fn values(maps: &MapArray, name: &str) -> Result<ArrayRef> {
    let keys = cast(maps.keys(), &DataType::Utf8View)?;
    let values = cast(maps.values(), &DataType::Utf8View)?;
    let (keys, values) = (keys.as_string_view(), values.as_string_view());
    let mut found = StringViewBuilder::with_capacity(maps.len()).with_deduplicate_strings();
    for (row, ends) in maps.offsets().windows(2).enumerate() {
        let &[start, end] = ends else { continue };
        if maps.is_null(row) {
            found.append_null();
            continue;
        }
        let entries = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        let at = entries.into_iter().find(|&at| keys.is_valid(at) && keys.value(at) == name);
        found.append_value(at.filter(|&at| values.is_valid(at)).map_or("", |at| values.value(at)));
    }
    Ok(Arc::new(found.finish()))
}

/// `package(function)`: the package, crate or namespace that a function is of.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Package {
    signature: Signature,
}

impl ScalarUDFImpl for Package {
    fn name(&self) -> &str {
        "package"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [function] = args.args.as_slice() else { return exec_err!("package takes one argument") };
        let functions = cast(&function.to_array(args.number_rows)?, &DataType::Utf8View)?;
        let functions = functions.as_string_view();
        let mut packages = StringViewBuilder::with_capacity(functions.len()).with_deduplicate_strings();
        for function in functions {
            packages.append_option(function.map(package));
        }
        Ok(ColumnarValue::Array(Arc::new(packages.finish())))
    }
}

/// The package of a function name of Go, Rust, C++, the JVM or Python; empty when the name has none.
fn package(function: &str) -> &str {
    let name = function.trim_start_matches(['<', '&', '*']);
    let name = name.strip_prefix("dyn ").unwrap_or(name);
    // What follows are receivers, parameters and type arguments, which name other packages.
    let name = name.split(['(', '[', '<', ' ']).next().unwrap_or_default();
    if let Some((first, _)) = name.split_once("::") {
        return first;
    }
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let last = name.get(start..).unwrap_or_default();
    let is_class = |segment: &str| segment.starts_with(|c: char| c.is_uppercase());
    if start > 0 && is_class(last) {
        return name.get(..start - 1).unwrap_or_default();
    }
    // com.example.Shop.pay: the class comes before the method.
    let mut from_end = last.rsplitn(3, '.');
    if let (Some(_), Some(class), Some(package)) = (from_end.next(), from_end.next(), from_end.next())
        && is_class(class)
    {
        return name.get(..start + package.len()).unwrap_or_default();
    }
    match last.find('.') {
        Some(dot) => name.get(..start + dot).unwrap_or_default(),
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages() {
        for (function, expect) in [
            ("net/http.(*conn).serve", "net/http"),
            ("github.com/acme/shop/cart.Total[go.shape.int]", "github.com/acme/shop/cart"),
            ("github.com/acme/shop/v2.work.func1.2", "github.com/acme/shop/v2"),
            ("runtime.mallocgc", "runtime"),
            ("main.(*T).method.func1", "main"),
            ("main.T.method", "main"),
            ("std::io::Write::write_all", "std"),
            ("<alloc::vec::Vec<T> as core::iter::FromIterator<T>>::from_iter", "alloc"),
            ("com.example.shop.Cart.total", "com.example.shop"),
            ("java/util/HashMap.get", "java/util"),
            ("malloc", ""),
            ("0x4e354b", ""),
            ("", ""),
        ] {
            assert_eq!(package(function), expect, "{function}");
        }
    }
}
