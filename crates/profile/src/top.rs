//! The top table: what each function weighs by itself and with all that it called.

use crate::tree::{NodeIndex, Tree};

/// One function of a [`TopTable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopRow {
    /// Name of the function.
    pub name: String,
    /// Sum of the self values of all its nodes.
    pub self_value: i64,
    /// Sum of the totals of its outermost nodes: a recursive function counts once in each stack.
    pub total: i64,
}

/// All functions of a tree, the largest self value first; ties by total, then by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopTable {
    /// The functions.
    pub rows: Vec<TopRow>,
    /// Total of the tree.
    pub total: i64,
}

impl TopTable {
    /// Adds up `tree` by name. What truncation folded is left out, since it is no function. O(nodes).
    pub fn new(tree: &Tree) -> Self {
        let nodes = tree.nodes();
        let mut children: Vec<Vec<NodeIndex>> = vec![Vec::new(); nodes.len()];
        for (at, node) in nodes.iter().enumerate().skip(1) {
            children[node.parent as usize].push(at as NodeIndex);
        }
        let mut sums = vec![(0i64, 0i64, false); tree.names().len()];
        let mut on_path = vec![0u32; tree.names().len()];
        // Depth first with an explicit stack: a node is met once on the way in and once on the way out.
        let mut stack: Vec<(NodeIndex, bool)> = children[0].iter().map(|&child| (child, true)).collect();
        while let Some((at, entering)) = stack.pop() {
            let node = &nodes[at as usize];
            let name = node.name as usize;
            if !entering {
                on_path[name] -= 1;
                continue;
            }
            if node.folded > 0 {
                continue;
            }
            let (self_value, total, seen) = &mut sums[name];
            *seen = true;
            *self_value = self_value.saturating_add(node.self_value);
            if on_path[name] == 0 {
                *total = total.saturating_add(node.total);
            }
            on_path[name] += 1;
            stack.push((at, false));
            stack.extend(children[at as usize].iter().map(|&child| (child, true)));
        }
        let mut rows: Vec<TopRow> = sums
            .into_iter()
            .enumerate()
            .filter(|(_, (_, _, seen))| *seen)
            .map(|(name, (self_value, total, _))| TopRow {
                name: tree.names().get(name as u32).to_owned(),
                self_value,
                total,
            })
            .collect();
        rows.sort_by(|a, b| (b.self_value, b.total, &a.name).cmp(&(a.self_value, a.total, &b.name)));
        Self { rows, total: tree.total() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    #[test]
    fn recursion_counts_once() {
        let table = TopTable::new(&tree("main;fib;fib;fib 3\nmain;fib 1\nmain;idle 2"));
        let rows: Vec<_> =
            table.rows.iter().map(|row| (row.name.as_str(), row.self_value, row.total)).collect();
        assert_eq!(rows, [("fib", 4, 4), ("idle", 2, 2), ("main", 0, 6)]);
    }
}
