//! Trees and tables for a terminal.

use everflame_formats::units::{format, percent};
use everflame_profile::{NodeIndex, TopRow, TopTable, Tree};
use std::collections::BTreeMap;

/// A call tree, heaviest first: share, total, self, name. Past `limit` frames the rest is summed up as
/// "other", never left out.
pub(crate) fn tree(mut tree: Tree, unit: &str, limit: usize) -> String {
    tree.truncate(limit);
    let nodes = tree.nodes();
    let mut children = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate().skip(1) {
        if let Some(siblings) = children.get_mut(node.parent as usize) {
            siblings.push(at as NodeIndex);
        }
    }
    let total = tree.total();
    let mut out = format!("{:>7} {:>9} {:>9}\n", "share", "total", "self");
    out += &line(&percent(total, total), &format(total, unit), "", "total");
    // Leaves the root out; depth counts from its children.
    let mut open: Vec<(NodeIndex, usize)> = vec![(0, 0)];
    while let Some((at, depth)) = open.pop() {
        let Some(node) = nodes.get(at as usize) else { continue };
        if at != 0 {
            let name = match node.folded {
                0 => printable(tree.name(node)),
                folded => format!("({folded} more)"),
            };
            let own = if node.self_value == 0 || node.folded > 0 {
                String::new()
            } else {
                format(node.self_value, unit)
            };
            let name = format!("{:depth$}{name}", "", depth = depth * 2);
            out += &line(&percent(node.total, total), &format(node.total, unit), &own, &name);
        }
        if let Some(below) = children.get_mut(at as usize) {
            below.sort_by_key(|&child| nodes.get(child as usize).map(|node| (node.folded == 0, node.total)));
            open.extend(below.iter().map(|&child| (child, depth + 1)));
        }
    }
    out
}

/// The functions that weigh most by themselves.
pub(crate) fn top(table: &TopTable, unit: &str, limit: usize) -> String {
    let mut out = format!("{:>9} {:>7} {:>9} {:>7}  {}\n", "self", "share", "total", "share", "function");
    for TopRow { name, self_value, total } in table.rows.iter().take(limit) {
        out += &format!(
            "{:>9} {:>7} {:>9} {:>7}  {}\n",
            format(*self_value, unit),
            percent(*self_value, table.total),
            format(*total, unit),
            percent(*total, table.total),
            printable(name)
        );
    }
    let hidden = table.rows.len().saturating_sub(limit);
    if hidden > 0 {
        out += &format!("{hidden} more functions; show them with --limit {}\n", table.rows.len());
    }
    out
}

/// The functions whose self value changed most, as shares of their sides, so that ranges of different
/// lengths can be compared.
pub(crate) fn diff(before: &TopTable, after: &TopTable, unit: &str, limit: usize) -> String {
    let mut rows: BTreeMap<&str, [i64; 2]> = BTreeMap::new();
    for (side, table) in [before, after].into_iter().enumerate() {
        for row in &table.rows {
            if let Some(value) = rows.entry(&row.name).or_default().get_mut(side) {
                *value = row.self_value;
            }
        }
    }
    let share = |value: i64, total: i64| if total == 0 { 0.0 } else { value as f64 / total as f64 * 100.0 };
    let mut rows: Vec<_> = rows
        .into_iter()
        .map(|(name, [left, right])| {
            (name, left, right, share(right, after.total) - share(left, before.total))
        })
        .collect();
    rows.sort_by(|a, b| b.3.abs().total_cmp(&a.3.abs()));
    let mut out = format!("{:>9} {:>9} {:>9}  {}\n", "before", "after", "change", "function (self)");
    out += &format!("{:>9} {:>9} {:>9}  total\n", format(before.total, unit), format(after.total, unit), "");
    for (name, left, right, change) in rows.iter().take(limit) {
        let (left, right) = (format(*left, unit), format(*right, unit));
        out += &format!("{left:>9} {right:>9} {change:>+8.1}%  {}\n", printable(name));
    }
    let hidden = rows.len().saturating_sub(limit);
    if hidden > 0 {
        out += &format!("{hidden} more functions; show them with --limit {}\n", rows.len());
    }
    out
}

fn line(share: &str, total: &str, own: &str, name: &str) -> String {
    format!("{share:>7} {total:>9} {own:>9}  {name}\n")
}

/// A name that cannot steer the terminal.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(folded: &str) -> Tree {
        let mut tree = Tree::default();
        for line in folded.lines() {
            let (stack, value) = line.rsplit_once(' ').unwrap();
            let stack: Vec<_> = stack.split(';').map(|name| tree.intern(name)).collect();
            tree.insert(stack, value.parse().unwrap());
        }
        tree
    }

    #[test]
    fn trees_are_sorted_by_weight_and_hide_nothing() {
        let text = tree(sample("main;idle 1\nmain;work;fib 6\nmain;x\x1b[31m 2\nmain;y 1"), "count", 4);
        let expect = [
            "  share     total      self\n",
            " 100.0%        10            total\n",
            " 100.0%        10              main\n",
            "  60.0%         6                work\n",
            "  60.0%         6         6        fib\n",
            "  20.0%         2         2      x\u{fffd}[31m\n",
            "  20.0%         2                (2 more)\n",
        ]
        .concat();
        assert_eq!(text, expect);
    }

    #[test]
    fn tables() {
        let expect = [
            "     self   share     total   share  function\n",
            "        3   60.0%         3   60.0%  b\n",
            "        1   20.0%         4   80.0%  a\n",
            "1 more functions; show them with --limit 3\n",
        ]
        .concat();
        assert_eq!(top(&TopTable::new(&sample("a;b 3\na 1\nc 1")), "count", 2), expect);
        let (before, after) = (sample("a;b 5\na;c 5"), sample("a;b 15\na;c 5"));
        let expect = [
            "   before     after    change  function (self)\n",
            "       10        20            total\n",
            "        5        15    +25.0%  b\n",
            "        5         5    -25.0%  c\n",
            "        0         0     +0.0%  a\n",
        ]
        .concat();
        assert_eq!(diff(&TopTable::new(&before), &TopTable::new(&after), "count", 9), expect);
    }
}
