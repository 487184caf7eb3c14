//! Trees as bars in levels, the form in which Pyroscope's clients draw flame graphs.
//!
//! Level 0 is the root. Bars of a level go from left to right; children begin right of their parent's own
//! self value and are sorted by name, what truncation folded comes last.

use crate::children::Children;
use crate::diff::DiffTree;
use crate::strings::{StringIndex, Strings};
use crate::tree::{NodeIndex, Tree};

/// Name of the root bar.
const TOTAL: &str = "total";

/// Name of bars without one.
const NO_NAME: &str = "(no name)";

/// A flame graph: four numbers a bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameGraph {
    /// The texts that bars refer to; the first is the root's.
    pub names: Vec<String>,
    /// For each bar: offset from the end of the bar before it, total, self, index of its name.
    pub levels: Vec<Vec<i64>>,
    /// Total of the root.
    pub total: i64,
    /// The largest self value.
    pub max_self: i64,
}

/// A tree as columns, a level after the other: the root, its children, their children. Where children are
/// follows from how many each node has, so that nothing depends on sums: they stop at the largest number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlameColumns {
    /// The texts that nodes refer to; the first is the root's.
    pub names: Vec<String>,
    /// For each node the index of its name.
    pub name: Vec<u32>,
    /// How many children each node has.
    pub children: Vec<u32>,
    /// What was measured in each node itself.
    pub self_values: Vec<i64>,
    /// What was measured in each node and all that it called.
    pub totals: Vec<i64>,
    /// The nodes that stand for others which truncation folded.
    pub folded: Vec<u32>,
}

impl FlameColumns {
    /// Lays out `tree`: siblings are sorted by name, folded ones come last.
    pub fn new(tree: &Tree) -> Self {
        let (children, nodes) = (tree.sorted_children(), tree.nodes());
        let mut columns = Self { names: vec![TOTAL.to_owned()], ..Self::default() };
        // For each text its index among the names plus one, 0 when no node had it yet.
        let mut known = vec![0u32; tree.names().len()];
        let mut order: Vec<NodeIndex> = Vec::with_capacity(nodes.len());
        order.push(0);
        let mut next = 0;
        while let Some(&at) = order.get(next) {
            let node = &nodes[at as usize];
            let name = match known.get_mut(node.name as usize) {
                Some(known) if at != 0 => {
                    if *known == 0 {
                        let text = tree.names().get(node.name);
                        columns.names.push(if text.is_empty() { NO_NAME } else { text }.to_owned());
                        *known = columns.names.len() as u32;
                    }
                    *known - 1
                }
                _ => 0,
            };
            columns.name.push(name);
            columns.children.push(children.of(at).len() as u32);
            columns.self_values.push(node.self_value);
            columns.totals.push(node.total);
            if node.folded > 0 {
                columns.folded.push(next as u32);
            }
            order.extend_from_slice(children.of(at));
            next += 1;
        }
        columns
    }
}

/// A flame graph of two trees: seven numbers a bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffFlameGraph {
    /// The texts that bars refer to; the first is the root's.
    pub names: Vec<String>,
    /// For each bar: offset, total, self on the left; offset, total, self on the right; index of its name.
    pub levels: Vec<Vec<i64>>,
    /// Sum of both totals.
    pub total: i64,
    /// The largest self value of either side.
    pub max_self: i64,
    /// Total of the left side.
    pub left_total: i64,
    /// Total of the right side.
    pub right_total: i64,
}

impl FlameGraph {
    /// Lays out `tree`. A bar is as wide as its total; one with a negative total has no width.
    pub fn new(tree: &Tree) -> Self {
        let nodes = tree.nodes();
        let mut max_self = 0;
        let (names, levels) = lay_out::<1>(
            &tree.sorted_children(),
            tree.names(),
            |at| nodes[at as usize].name,
            |at| {
                let node = &nodes[at as usize];
                max_self = max_self.max(node.self_value);
                [Bar { total: node.total, self_value: node.self_value }]
            },
        );
        Self { names, levels, total: tree.total(), max_self }
    }
}

impl DiffFlameGraph {
    /// Lays out `tree`, each side by its own widths.
    pub fn new(tree: &DiffTree) -> Self {
        let nodes = tree.nodes();
        let mut max_self = 0;
        let (names, levels) = lay_out::<2>(
            &tree.sorted_children(),
            tree.names(),
            |at| nodes[at as usize].name,
            |at| {
                let node = &nodes[at as usize];
                max_self = max_self.max(node.left_self).max(node.right_self);
                [
                    Bar { total: node.left_total, self_value: node.left_self },
                    Bar { total: node.right_total, self_value: node.right_self },
                ]
            },
        );
        let (left_total, right_total) = (nodes[0].left_total, nodes[0].right_total);
        Self {
            names,
            levels,
            total: left_total.saturating_add(right_total),
            max_self,
            left_total,
            right_total,
        }
    }
}

/// Width of a node on one side, and how much of it is the node's own.
#[derive(Clone, Copy)]
struct Bar {
    total: i64,
    self_value: i64,
}

/// Breadth first over the tree, with a position for each of `SIDES` sides.
fn lay_out<const SIDES: usize>(
    children: &Children,
    texts: &Strings,
    name: impl Fn(NodeIndex) -> StringIndex,
    mut bars: impl FnMut(NodeIndex) -> [Bar; SIDES],
) -> (Vec<String>, Vec<Vec<i64>>) {
    let mut names = vec![TOTAL.to_owned()];
    // For each text its index among the names plus one, 0 when no bar had it yet.
    let mut known = vec![0usize; texts.len()];
    let mut levels = Vec::new();
    let mut level: Vec<(NodeIndex, [i64; SIDES])> = vec![(0, [0; SIDES])];
    while !level.is_empty() {
        let mut numbers = Vec::with_capacity(level.len() * (SIDES * 3 + 1));
        let mut ends = [0i64; SIDES];
        let mut next = Vec::new();
        for (at, starts) in level {
            let sides = bars(at);
            let mut child_starts = starts;
            for side in 0..SIDES {
                let Bar { total, self_value } = sides[side];
                numbers.extend([starts[side].saturating_sub(ends[side]), total, self_value]);
                ends[side] = starts[side].saturating_add(total.max(0));
                child_starts[side] = starts[side].saturating_add(self_value.max(0));
            }
            let index = match known.get_mut(name(at) as usize) {
                Some(known) if at != 0 => {
                    if *known == 0 {
                        let text = texts.get(name(at));
                        names.push(if text.is_empty() { NO_NAME.to_owned() } else { text.to_owned() });
                        *known = names.len();
                    }
                    *known - 1
                }
                _ => 0,
            };
            numbers.push(index as i64);
            for &child in children.of(at) {
                next.push((child, child_starts));
                for (start, bar) in child_starts.iter_mut().zip(bars(child)) {
                    *start = start.saturating_add(bar.total.max(0));
                }
            }
        }
        levels.push(numbers);
        level = next;
    }
    (names, levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    #[test]
    fn children_begin_right_of_their_parents_self() {
        let graph = FlameGraph::new(&tree("a 2\na;b 3\na;c;d 1\ne 4"));
        assert_eq!(graph.names, ["total", "a", "e", "b", "c", "d"]);
        assert_eq!(
            graph.levels,
            [vec![0, 10, 0, 0], vec![0, 6, 2, 1, 0, 4, 4, 2], vec![2, 3, 3, 3, 0, 1, 0, 4], vec![5, 1, 1, 5]]
        );
        assert_eq!((graph.total, graph.max_self), (10, 4));
    }

    #[test]
    fn columns_go_level_by_level() {
        let mut tree = tree("a 2\na;b 3\na;c;d 1\ne 4\nf 1");
        tree.truncate(4);
        let columns = FlameColumns::new(&tree);
        assert_eq!(columns.names, ["total", "a", "e", "other", "b", "c"]);
        assert_eq!(columns.name, [0, 1, 2, 3, 4, 5, 3]);
        assert_eq!(columns.children, [3, 2, 0, 0, 0, 1, 0]);
        assert_eq!(columns.self_values, [0, 2, 4, 1, 3, 0, 1]);
        assert_eq!(columns.totals, [11, 6, 4, 1, 3, 1, 1]);
        assert_eq!(columns.folded, [3, 6]);
    }

    #[test]
    fn no_data_is_the_root_alone() {
        let graph = FlameGraph::new(&Tree::default());
        assert_eq!((graph.names, graph.levels), (vec!["total".to_owned()], vec![vec![0, 0, 0, 0]]));
    }

    #[test]
    fn negative_totals_take_no_width() {
        let graph = FlameGraph::new(&tree("a -5\nb 3"));
        assert_eq!(graph.levels[1], [0, -5, -5, 1, 0, 3, 3, 2]);
    }

    #[test]
    fn sides_have_their_own_offsets() {
        let graph = DiffFlameGraph::new(&DiffTree::new(&tree("a 2\nb 1"), &tree("b 5")));
        assert_eq!(graph.levels, [vec![0, 3, 0, 0, 5, 0, 0], vec![0, 2, 2, 0, 0, 0, 1, 0, 1, 1, 0, 5, 5, 2]]);
        assert_eq!((graph.total, graph.left_total, graph.right_total), (8, 3, 5));
    }
}
