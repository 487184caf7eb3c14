//! The table function `flamegraph(profile_type, selector, from, until)`: the nodes of a call tree, as the
//! engine answers it from whichever tables are quickest.

use super::columns::text_element;
use super::context::{Context, external};
use super::made::{MadeTable, batch};
use super::rows::blocking;
use super::schema;
use crate::{Engine, Selector, StackQuery, TimeRange};
use arrow::array::{ArrayRef, Int64Array, ListBuilder, StringViewArray, StringViewBuilder};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use everflame_profile::{Nanos, ProfileType, Tree};
use futures::FutureExt;
use std::sync::Arc;

/// The table function.
#[derive(Debug)]
pub(super) struct FlameGraph(pub(super) Arc<Context>);

const USAGE: &str = "write flamegraph('process_cpu:cpu:nanoseconds:cpu:nanoseconds', \
                     '{service_name=\"shop\"}', now() - interval '1 hour', now()); selector and times may be left out";

impl TableFunctionImpl for FlameGraph {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let args = args.exprs();
        let (Some(profile_type), true) = (args.first(), args.len() <= 4) else {
            return plan_err!("flamegraph takes a profile type, a selector, and two times; {USAGE}");
        };
        let Some(profile_type) = text(profile_type) else {
            return plan_err!("flamegraph: the profile type must be a text; {USAGE}");
        };
        let profile_type = find_type(&self.0.engine, profile_type)?;
        let selector = match args.get(1).map(text) {
            None | Some(Some("")) => Selector::all(),
            Some(Some(selector)) => selector.parse::<Selector>().map_err(|error| external(error.into()))?,
            Some(None) => return plan_err!("flamegraph: the selector must be a text; {USAGE}"),
        };
        let bound = |at: usize, what: &str, otherwise: Nanos| match args.get(at).map(time) {
            None => Ok(otherwise),
            Some(Some(time)) => Ok(time.unwrap_or(otherwise)),
            Some(None) => {
                plan_err!("flamegraph: {what} must be a time, as in '2026-08-01T00:00:00Z' or now(); {USAGE}")
            }
        };
        let range = TimeRange {
            from: bound(2, "from", TimeRange::ALL.from)?,
            until: bound(3, "until", TimeRange::ALL.until)?,
        };
        range.check().map_err(external)?;
        let query = StackQuery::new(profile_type, selector, range);
        let context = self.0.clone();
        Ok(Arc::new(MadeTable {
            name: "flamegraph",
            schema: schema::flame_graph(),
            rows: 10_000,
            make: Arc::new(move |schema, memory| {
                let (context, query) = (context.clone(), query.clone());
                let made = async move {
                    let merged = context.engine.stacks_in(context.snapshot.clone(), &query).await;
                    let merged = merged.map_err(external)?;
                    context.add(&merged.stats, &merged.warnings);
                    blocking(move || {
                        let nodes = Nodes::new(merged.tree());
                        if schema.column_with_name("path").is_some() {
                            memory.try_grow(nodes.path_bytes())?;
                        }
                        Ok(batch(schema, nodes.rows.len(), |field| nodes.column(field))?)
                    })
                    .await
                };
                made.boxed()
            }),
        }))
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text),
        _ => None,
    }
}

/// The time that an argument says; `Some(None)` for NULL, which stands for no bound.
fn time(expr: &Expr) -> Option<Option<Nanos>> {
    let Expr::Literal(value, _) = expr else { return None };
    if value.is_null() {
        return Some(None);
    }
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let numeric = value.data_type().is_numeric();
    match value.cast_to(&nanos) {
        Ok(ScalarValue::TimestampNanosecond(Some(time), _)) if !numeric => Some(Some(time)),
        _ => None,
    }
}

/// The type of that name: all five parts, or as much of it as no other stored type has.
fn find_type(engine: &Engine, name: &str) -> Result<ProfileType> {
    if let Ok(profile_type) = name.parse() {
        return Ok(profile_type);
    }
    let all = engine.profile_types(TimeRange::ALL);
    let parts = |profile_type: &ProfileType| {
        let text = profile_type.to_string();
        text.starts_with(&format!("{name}:")) || profile_type.sample.kind == name
    };
    let mut found = all.iter().filter(|profile_type| parts(profile_type));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (first, _) => {
            let known: Vec<String> = all.iter().map(ProfileType::to_string).collect();
            let why = if first.is_some() { "there are several" } else { "there is no" };
            plan_err!(
                "flamegraph: {why} profile type {name:?}; write one of {}",
                if known.is_empty() {
                    "those that are stored: there are none yet".to_owned()
                } else {
                    known.join(", ")
                }
            )
        }
    }
}

/// The nodes of a tree in the order of the rows: a caller before what it calls, the heaviest first.
struct Nodes {
    tree: Tree,
    rows: Vec<Row>,
}

struct Row {
    /// Position in the tree.
    node: usize,
    /// Position in the rows; `None` for an outermost function.
    parent: Option<usize>,
    level: usize,
}

impl Nodes {
    fn new(tree: Tree) -> Self {
        let children = tree.sorted_children();
        let total = |node: u32| tree.nodes().get(node as usize).map_or(0, |node| node.total);
        // The heaviest last: it is taken first. Of equal ones the first by name is.
        let of = |node: usize| {
            let mut siblings = children.of(node as u32).to_vec();
            siblings.reverse();
            siblings.sort_by_key(|&node| total(node));
            siblings.into_iter()
        };
        let mut rows: Vec<Row> = Vec::with_capacity(tree.nodes().len());
        let mut open: Vec<Row> =
            of(0).map(|node| Row { node: node as usize, parent: None, level: 0 }).collect();
        while let Some(row) = open.pop() {
            let (at, level) = (rows.len(), row.level + 1);
            open.extend(of(row.node).map(|node| Row { node: node as usize, parent: Some(at), level }));
            rows.push(row);
        }
        Self { tree, rows }
    }

    fn name(&self, row: &Row) -> &str {
        self.tree.nodes().get(row.node).map_or("", |node| self.tree.name(node))
    }

    fn column(&self, field: &Field) -> std::result::Result<ArrayRef, ArrowError> {
        let rows = self.rows.iter();
        let node = |row: &Row| self.tree.nodes().get(row.node).copied();
        Ok(match field.name().as_str() {
            "node" => Arc::new(Int64Array::from_iter_values(1..=self.rows.len() as i64)),
            "parent" => Arc::new(rows.map(|row| row.parent.map(|at| at as i64 + 1)).collect::<Int64Array>()),
            "level" => Arc::new(Int64Array::from_iter_values(rows.map(|row| row.level as i64))),
            "function" => Arc::new(StringViewArray::from_iter_values(rows.map(|row| self.name(row)))),
            "self" => Arc::new(Int64Array::from_iter_values(
                rows.map(|row| node(row).map_or(0, |node| node.self_value)),
            )),
            "total" => {
                Arc::new(Int64Array::from_iter_values(rows.map(|row| node(row).map_or(0, |node| node.total))))
            }
            "path" => self.paths(),
            other => return Err(ArrowError::SchemaError(format!("a flame graph has no column {other}"))),
        })
    }

    /// Bytes that the paths of all nodes take: a view for each function of each.
    fn path_bytes(&self) -> usize {
        self.rows.iter().map(|row| (row.level + 1) * size_of::<u128>()).sum()
    }

    fn paths(&self) -> ArrayRef {
        let names = StringViewBuilder::new().with_deduplicate_strings();
        let mut paths = ListBuilder::new(names).with_field(text_element());
        let mut path: Vec<&str> = Vec::new();
        for row in &self.rows {
            path.truncate(row.level);
            path.push(self.name(row));
            path.iter().for_each(|name| paths.values().append_value(name));
            paths.append(true);
        }
        Arc::new(paths.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_the_tree() {
        let mut tree = Tree::default();
        for (stack, value) in [("main;idle", 1), ("main;work;inner", 5), ("main;work", 2), ("other", 9)] {
            let names: Vec<_> = stack.split(';').map(|name| tree.intern(name)).collect();
            tree.insert(names, value);
        }
        let nodes = Nodes::new(tree);
        let rows: Vec<_> = nodes.rows.iter().map(|row| (nodes.name(row), row.parent, row.level)).collect();
        assert_eq!(
            rows,
            [
                ("other", None, 0),
                ("main", None, 0),
                ("work", Some(1), 1),
                ("inner", Some(2), 2),
                ("idle", Some(1), 1)
            ]
        );
    }
}
