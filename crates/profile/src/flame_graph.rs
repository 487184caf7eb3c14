//! Trees as bars in levels, the form in which Pyroscope's clients draw flame graphs.
//!
//! Level 0 is the root. Bars of a level go from left to right; children begin right of their parent's own
//! self value and are sorted by name, what truncation folded comes last.
//!
//! Every bar lies within its parent, by which clients find who called whom. Values below zero have no width, so
//! that what is next to them would outgrow its parent: they are left out, of totals as well, as Pyroscope leaves
//! out samples with such values.

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
    /// Lays out `tree` without its values below zero.
    pub fn new(tree: &Tree) -> Self {
        let nodes = tree.nodes();
        let bars = Bars::new(nodes.iter().map(|node| (node.parent, [node.self_value])));
        let (names, levels) =
            lay_out(&tree.sorted_children(), tree.names(), |at| nodes[at as usize].name, &bars);
        let [total] = bars.totals();
        Self { names, levels, total, max_self: bars.max_self() }
    }
}

impl DiffFlameGraph {
    /// Lays out `tree` without its values below zero, each side by its own widths.
    pub fn new(tree: &DiffTree) -> Self {
        let nodes = tree.nodes();
        let bars = Bars::new(nodes.iter().map(|node| (node.parent, [node.left_self, node.right_self])));
        let (names, levels) =
            lay_out(&tree.sorted_children(), tree.names(), |at| nodes[at as usize].name, &bars);
        let [left_total, right_total] = bars.totals();
        Self {
            names,
            levels,
            total: left_total.saturating_add(right_total),
            max_self: bars.max_self(),
            left_total,
            right_total,
        }
    }
}

/// Width of a node on one side, and how much of it is the node's own. Neither is below zero.
#[derive(Clone, Copy, Default)]
struct Bar {
    total: i64,
    self_value: i64,
}

/// The bars of a tree, and which of them are drawn.
struct Bars<const SIDES: usize> {
    bars: Vec<[Bar; SIDES]>,
    /// The nodes below which there are only values below zero.
    is_left_out: Vec<bool>,
}

impl<const SIDES: usize> Bars<SIDES> {
    /// Those of nodes with these parents, each of which comes before its children, and self values.
    fn new(nodes: impl ExactSizeIterator<Item = (NodeIndex, [i64; SIDES])> + DoubleEndedIterator) -> Self {
        let mut bars = vec![[Bar::default(); SIDES]; nodes.len()];
        let mut is_left_out = vec![false; nodes.len()];
        for (at, (parent, self_values)) in nodes.enumerate().rev() {
            for (side, self_value) in self_values.into_iter().enumerate() {
                let bar = &mut bars[at][side];
                bar.self_value = self_value.max(0);
                bar.total = bar.total.saturating_add(bar.self_value);
                let total = bar.total;
                if at > 0 {
                    let above = &mut bars[parent as usize][side].total;
                    *above = above.saturating_add(total);
                }
            }
            is_left_out[at] |= self_values.iter().any(|&value| value < 0);
            is_left_out[at] &= at > 0 && bars[at].iter().all(|bar| bar.total == 0);
            // Nothing is drawn above what is left out, unless something else is there.
            if is_left_out[at] {
                is_left_out[parent as usize] = true;
            }
        }
        Self { bars, is_left_out }
    }

    fn of(&self, node: NodeIndex) -> [Bar; SIDES] {
        self.bars[node as usize]
    }

    /// Those of the root.
    fn totals(&self) -> [i64; SIDES] {
        self.of(0).map(|bar| bar.total)
    }

    fn max_self(&self) -> i64 {
        self.bars.iter().flatten().map(|bar| bar.self_value).max().unwrap_or(0)
    }
}

/// Breadth first over the tree, with a position for each of `SIDES` sides.
fn lay_out<const SIDES: usize>(
    children: &Children,
    texts: &Strings,
    name: impl Fn(NodeIndex) -> StringIndex,
    bars: &Bars<SIDES>,
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
            let sides = bars.of(at);
            let mut child_starts = starts;
            for side in 0..SIDES {
                let Bar { total, self_value } = sides[side];
                numbers.extend([starts[side].saturating_sub(ends[side]), total, self_value]);
                ends[side] = starts[side].saturating_add(total);
                child_starts[side] = starts[side].saturating_add(self_value);
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
            for &child in children.of(at).iter().filter(|&&child| !bars.is_left_out[child as usize]) {
                next.push((child, child_starts));
                for (start, bar) in child_starts.iter_mut().zip(bars.of(child)) {
                    *start = start.saturating_add(bar.total);
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
    use crate::tree::tests::{tree, trees};
    use proptest::prelude::*;

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
    fn values_below_zero_are_left_out() {
        let graph = FlameGraph::new(&tree("a -5\nb 3\nb;c 4\nb;d;e -2\nf 0"));
        assert_eq!(graph.names, ["total", "b", "f", "c"]);
        assert_eq!(graph.levels, [vec![0, 7, 0, 0], vec![0, 7, 3, 1, 0, 0, 0, 2], vec![3, 4, 4, 3]]);
        assert_eq!((graph.total, graph.max_self), (7, 4));
        let diff = DiffFlameGraph::new(&DiffTree::new(&tree("a -2\nb 1"), &tree("a 3\nc -1")));
        assert_eq!(diff.names, ["total", "a", "b"]);
        assert_eq!(diff.levels, [vec![0, 1, 0, 0, 3, 0, 0], vec![0, 0, 0, 0, 3, 3, 1, 0, 1, 1, 0, 0, 0, 2]]);
        assert_eq!((diff.total, diff.left_total, diff.right_total), (4, 1, 3));
    }

    proptest! {
        /// As clients look for it.
        #[test]
        fn every_bar_lies_within_a_bar_above(tree in trees()) {
            let graph = FlameGraph::new(&tree);
            let mut above = vec![(0, graph.total)];
            for level in &graph.levels {
                let (mut bars, mut end) = (Vec::new(), 0);
                for bar in level.chunks(4) {
                    let start = end + bar[0];
                    end = start + bar[1];
                    prop_assert!(bar[0] >= 0 && bar[2] >= 0 && bar[1] >= bar[2], "{graph:?}");
                    prop_assert!(above.iter().any(|&(from, until)| from <= start && end <= until), "{graph:?}");
                    bars.push((start, end));
                }
                above = bars;
            }
        }
    }

    #[test]
    fn sides_have_their_own_offsets() {
        let graph = DiffFlameGraph::new(&DiffTree::new(&tree("a 2\nb 1"), &tree("b 5")));
        assert_eq!(graph.levels, [vec![0, 3, 0, 0, 5, 0, 0], vec![0, 2, 2, 0, 0, 0, 1, 0, 1, 1, 0, 5, 5, 2]]);
        assert_eq!((graph.total, graph.left_total, graph.right_total), (8, 3, 5));
    }
}
