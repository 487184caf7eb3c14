//! Two trees side by side: for every node what it weighs on the left and on the right.

use crate::children::{Children, sorted_children};
use crate::strings::{StringIndex, StringInterner, Strings};
use crate::tree::{NodeIndex, OTHER, Tree, heaviest};
use hashbrown::HashMap;

/// A node of a [`DiffTree`]; what one side does not have weighs zero there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffNode {
    /// Index of the name in [`DiffTree::names`].
    pub name: StringIndex,
    /// The caller; the root is its own parent.
    pub parent: NodeIndex,
    /// Self value on the left.
    pub left_self: i64,
    /// Total on the left.
    pub left_total: i64,
    /// Self value on the right.
    pub right_self: i64,
    /// Total on the right.
    pub right_total: i64,
    /// Zero for a frame, otherwise the number of nodes that this one stands for.
    pub folded: u32,
}

/// The union of two trees.
#[derive(Clone, Debug)]
pub struct DiffTree {
    names: StringInterner,
    nodes: Vec<DiffNode>,
}

impl DiffTree {
    /// Puts `left` and `right` side by side. O(nodes of both).
    pub fn new(left: &Tree, right: &Tree) -> Self {
        let mut diff = Self { names: StringInterner::default(), nodes: vec![DiffNode::default()] };
        let mut children = HashMap::new();
        for (tree, is_left) in [(left, true), (right, false)] {
            let names: Vec<_> = tree.names().iter().map(|name| diff.names.intern(name)).collect();
            let mut indices: Vec<NodeIndex> = Vec::with_capacity(tree.nodes().len());
            for (at, node) in tree.nodes().iter().enumerate() {
                let index = if at == 0 {
                    0
                } else {
                    let key = (indices[node.parent as usize], names[node.name as usize], node.folded > 0);
                    let next = diff.nodes.len() as NodeIndex;
                    let index = *children.entry(key).or_insert(next);
                    if index == next {
                        diff.nodes.push(DiffNode { name: key.1, parent: key.0, ..DiffNode::default() });
                    }
                    index
                };
                indices.push(index);
                let target = &mut diff.nodes[index as usize];
                target.folded = target.folded.max(node.folded);
                let (self_value, total) = match is_left {
                    true => (&mut target.left_self, &mut target.left_total),
                    false => (&mut target.right_self, &mut target.right_total),
                };
                (*self_value, *total) = (node.self_value, node.total);
            }
        }
        diff
    }

    /// Keeps the `max` heaviest nodes by the sum of both sides, and folds the rest into one "other" per
    /// parent, as [`Tree::truncate`] does.
    pub fn truncate(&mut self, max: usize) {
        if self.nodes.len() <= max.saturating_add(1) {
            return;
        }
        let weight =
            |node: &DiffNode| node.left_total.unsigned_abs().saturating_add(node.right_total.unsigned_abs());
        let keep = heaviest(self.nodes.iter().map(|node| (node.parent, weight(node))), max);
        let other = self.names.intern(OTHER);
        let all = std::mem::take(&mut self.nodes);
        let mut indices: Vec<NodeIndex> = Vec::with_capacity(all.len());
        let mut stand_ins: HashMap<NodeIndex, NodeIndex> = HashMap::new();
        for (at, node) in all.iter().enumerate() {
            let parent = if at == 0 { 0 } else { indices[node.parent as usize] };
            if keep[at] {
                indices.push(self.nodes.len() as NodeIndex);
                self.nodes.push(DiffNode { parent, ..*node });
                continue;
            }
            let hidden = node.folded.max(1);
            if !keep[node.parent as usize] {
                let stand_in = &mut self.nodes[parent as usize];
                stand_in.folded = stand_in.folded.saturating_add(hidden);
                indices.push(parent);
                continue;
            }
            let next = self.nodes.len() as NodeIndex;
            let index = *stand_ins.entry(parent).or_insert(next);
            if index == next {
                self.nodes.push(DiffNode { name: other, parent, ..DiffNode::default() });
            }
            let stand_in = &mut self.nodes[index as usize];
            stand_in.folded = stand_in.folded.saturating_add(hidden);
            stand_in.left_total = stand_in.left_total.saturating_add(node.left_total);
            stand_in.right_total = stand_in.right_total.saturating_add(node.right_total);
            (stand_in.left_self, stand_in.right_self) = (stand_in.left_total, stand_in.right_total);
            indices.push(index);
        }
    }

    /// All nodes; the root first, every parent before its children.
    pub fn nodes(&self) -> &[DiffNode] {
        &self.nodes
    }

    /// The names that nodes refer to.
    pub fn names(&self) -> &Strings {
        self.names.strings()
    }

    /// The name of `node`.
    pub fn name(&self, node: &DiffNode) -> &str {
        self.names().get(node.name)
    }

    /// For every node its children, sorted by name, folded ones last.
    pub fn sorted_children(&self) -> Children {
        let key = |index: NodeIndex| {
            let node = &self.nodes[index as usize];
            (node.folded > 0, self.names().get(node.name))
        };
        sorted_children(self.nodes.iter().map(|node| node.parent), |a, b| key(a).cmp(&key(b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::{tree, trees};
    use proptest::prelude::*;

    #[test]
    fn truncation_keeps_the_totals_of_both_sides() {
        let mut diff = DiffTree::new(&tree("a;b 5\na;c 1\nd 1"), &tree("a;b 1\na;c 2\ne 1"));
        diff.truncate(2);
        let rows: Vec<_> = diff
            .nodes()
            .iter()
            .map(|node| {
                format!("{} {} {} {}", diff.name(node), node.left_total, node.right_total, node.folded)
            })
            .collect();
        assert_eq!(rows, [" 7 4 0", "a 6 3 0", "b 5 1 0", "other 1 2 1", "other 1 1 2"]);
    }

    proptest! {
        #[test]
        fn equal_trees_do_not_differ(tree in trees()) {
            for node in DiffTree::new(&tree, &tree).nodes() {
                prop_assert_eq!((node.left_self, node.left_total), (node.right_self, node.right_total));
            }
        }

        #[test]
        fn each_side_is_its_tree(left in trees(), right in trees(), max in 0usize..20) {
            let mut diff = DiffTree::new(&left, &right);
            diff.truncate(max);
            let root = diff.nodes()[0];
            prop_assert_eq!((root.left_total, root.right_total), (left.total(), right.total()));
            let sums = |side: fn(&DiffNode) -> i64| diff.nodes().iter().map(side).sum::<i64>();
            prop_assert_eq!(sums(|node| node.left_self), left.total());
            prop_assert_eq!(sums(|node| node.right_self), right.total());
        }
    }
}
