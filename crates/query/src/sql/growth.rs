//! Bounds what functions make out of their arguments.
//!
//! Values that a function returns lie outside of the memory limit until an operator keeps them, and a short
//! statement can double a text thirty times. So the functions that make long values out of short ones are
//! wrapped: before a call it is estimated what it makes at most.

use super::context::external;
use crate::scan::within;
use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::prelude::SessionContext;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes that all calls in a statement may make at once, each of one batch of rows.
const TOGETHER: u64 = 512 << 20;
/// Bytes that each may make, however many there are.
const AT_LEAST: u64 = 8 << 20;
/// Bytes that the longest value may have: a join makes many rows out of one.
const LONGEST: u64 = 256 << 10;

/// Functions whose result is at most as long as their arguments together.
const ADDING: [&str; 8] = [
    "concat",
    "overlay",
    "make_array",
    "array_append",
    "array_prepend",
    "array_concat",
    "array_union",
    "string_to_array",
];
/// Functions that take one of their arguments many times, and where it stands.
const MULTIPLYING: [(&str, usize); 8] = [
    ("concat_ws", 0),
    ("replace", 2),
    ("regexp_replace", 2),
    ("translate", 2),
    ("to_char", 1),
    ("array_to_string", 1),
    ("array_replace", 2),
    ("array_replace_all", 2),
];

/// How much the calls of one statement may make.
#[derive(Clone, Debug)]
pub(super) struct Growth {
    calls: Arc<AtomicUsize>,
}

impl Growth {
    /// Wraps the functions that `session` knows.
    pub(super) fn new(session: &SessionContext) -> Self {
        let growth = Self { calls: Arc::new(AtomicUsize::new(usize::MAX)) };
        let known: Vec<Arc<ScalarUDF>> = session.state().scalar_functions().values().cloned().collect();
        for function in known {
            if let Some(bounded) = growth.bounded(&function) {
                session.register_udf(bounded);
            }
        }
        growth
    }

    /// Wraps the functions in `plan` that come from elsewhere, such as those of `||` and `[…]`, and divides
    /// what all may make among them.
    pub(super) fn bound(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let mut calls = 0;
        let plan = plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let bounded = expr.transform_up(|expr| Ok(self.bound_call(expr, &mut calls)))?;
                Ok(bounded.update_data(|expr| name.restore(expr)))
            })
        })?;
        self.calls.store(calls, Relaxed);
        Ok(plan.data)
    }

    fn bound_call(&self, expr: Expr, calls: &mut usize) -> Transformed<Expr> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                *calls += 1;
                let function = Join { signature: Signature::any(2, Volatility::Immutable) };
                let function = Arc::new(ScalarUDF::new_from_impl(function));
                let function = self.wrap(function, Kind::Adding);
                Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                    Arc::new(function),
                    vec![*left, *right],
                )))
            }
            Expr::ScalarFunction(call) if kind(call.func.name()).is_some() => {
                *calls += 1;
                match self.bounded(&call.func) {
                    Some(function) => Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(
                        Arc::new(function),
                        call.args,
                    ))),
                    None => Transformed::no(Expr::ScalarFunction(call)),
                }
            }
            other => Transformed::no(other),
        }
    }

    /// `function` within bounds; `None` when it needs none, or has them.
    fn bounded(&self, function: &Arc<ScalarUDF>) -> Option<ScalarUDF> {
        let kind = kind(function.name())?;
        let is_bounded = function.inner().is::<Bounded>();
        (!is_bounded).then(|| self.wrap(function.clone(), kind))
    }

    fn wrap(&self, inner: Arc<ScalarUDF>, kind: Kind) -> ScalarUDF {
        ScalarUDF::new_from_impl(Bounded { inner, kind, growth: self.clone() })
    }

    fn limit(&self) -> u64 {
        (TOGETHER / self.calls.load(Relaxed).max(1) as u64).max(AT_LEAST)
    }
}

// What a call may make is no part of what it is.
impl PartialEq for Growth {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Growth {}

impl Hash for Growth {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Adding,
    Multiplying(usize),
}

fn kind(name: &str) -> Option<Kind> {
    let multiplying = MULTIPLYING.iter().find(|(multiplying, _)| *multiplying == name);
    match multiplying {
        Some(&(_, argument)) => Some(Kind::Multiplying(argument)),
        None => ADDING.contains(&name).then_some(Kind::Adding),
    }
}

/// A function that is not called when what it would make may be too long.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    kind: Kind,
    growth: Growth,
}

impl Bounded {
    fn check(&self, args: &ScalarFunctionArgs) -> Result<()> {
        let rows = match args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            true => 1,
            false => args.number_rows as u64,
        };
        let mut bytes = 0u64;
        for (at, arg) in args.args.iter().enumerate() {
            if self.kind == Kind::Multiplying(at) {
                continue;
            }
            let times = if matches!(arg, ColumnarValue::Scalar(_)) { rows } else { 1 };
            let all = sizes_of(arg)?.into_iter().fold(0, u64::saturating_add);
            bytes = bytes.saturating_add(all.saturating_mul(times));
        }
        if let Kind::Multiplying(at) = self.kind {
            let times = args.args.get(at).map(longest).transpose()?.unwrap_or(0);
            bytes = bytes.saturating_add(rows).saturating_mul(times.saturating_add(1));
        }
        within("bytes of values that a function makes", bytes, self.growth.limit()).map_err(external)
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args)?;
        let made = self.inner.invoke_with_args(args)?;
        within("bytes of a value that a function makes", longest(&made)?, LONGEST).map_err(external)?;
        Ok(made)
    }
}

fn longest(value: &ColumnarValue) -> Result<u64> {
    Ok(sizes_of(value)?.into_iter().max().unwrap_or(0))
}

/// Bytes of each value; of a scalar, of the only one.
fn sizes_of(value: &ColumnarValue) -> Result<Vec<u64>> {
    Ok(match value {
        ColumnarValue::Array(array) => sizes(array),
        ColumnarValue::Scalar(scalar) => sizes(&scalar.to_array()?),
    })
}

/// Bytes of each value of `array`, were they not shared with others.
pub(super) fn sizes(array: &dyn Array) -> Vec<u64> {
    let lengths = |lengths: &mut dyn Iterator<Item = usize>| lengths.map(|length| length as u64).collect();
    match array.data_type() {
        DataType::Utf8 => lengths(&mut array.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => lengths(&mut array.as_string::<i64>().offsets().lengths()),
        DataType::Binary => lengths(&mut array.as_binary::<i32>().offsets().lengths()),
        DataType::LargeBinary => lengths(&mut array.as_binary::<i64>().offsets().lengths()),
        DataType::Utf8View => {
            array.as_string_view().lengths().map(|length| u64::from(length) + VIEW).collect()
        }
        DataType::BinaryView => {
            array.as_binary_view().lengths().map(|length| u64::from(length) + VIEW).collect()
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            sums(&sizes(list.values()), list.offsets().iter().map(|&end| end.max(0) as usize))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            sums(&sizes(list.values()), list.offsets().iter().map(|&end| end.max(0) as usize))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            sums(&sizes(map.entries()), map.offsets().iter().map(|&end| end.max(0) as usize))
        }
        DataType::Struct(_) => {
            let mut all = vec![0u64; array.len()];
            for column in array.as_struct().columns() {
                for (sum, size) in all.iter_mut().zip(sizes(column)) {
                    *sum = sum.saturating_add(size);
                }
            }
            all
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = sizes(dictionary.values());
            let keys = dictionary.normalized_keys();
            keys.into_iter().map(|key| values.get(key).copied().unwrap_or(0)).collect()
        }
        other => vec![other.primitive_width().unwrap_or(VIEW as usize) as u64; array.len()],
    }
}

/// Bytes of a view of a text.
const VIEW: u64 = 16;

/// The sums of the values between `ends`.
fn sums(values: &[u64], ends: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut before: Option<usize> = None;
    let mut sums = Vec::new();
    for end in ends {
        if let Some(start) = before {
            sums.push(
                values.get(start..end).unwrap_or_default().iter().fold(0u64, |a, b| a.saturating_add(*b)),
            );
        }
        before = Some(end);
    }
    sums
}

/// The operator `||` of texts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Join {
    signature: Signature,
}

impl ScalarUDFImpl for Join {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("|| joins two texts") };
        let is_scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let text = |value: &ColumnarValue| -> Result<ArrayRef> {
            Ok(cast(&value.to_array(rows)?, &DataType::Utf8View)?)
        };
        let (left, right) = (text(left)?, text(right)?);
        let (mut joined, mut buffer) = (StringViewBuilder::with_capacity(rows), String::new());
        for (left, right) in left.as_string_view().iter().zip(right.as_string_view()) {
            joined.append_option(left.zip(right).map(|(left, right)| {
                buffer.clear();
                buffer.push_str(left);
                buffer.push_str(right);
                buffer.as_str()
            }));
        }
        let joined: ArrayRef = Arc::new(joined.finish());
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?)
        } else {
            ColumnarValue::Array(joined)
        })
    }
}
