//! Folds many stack traces into one tree and keeps, for every node, what it weighs.
//!
//! The tree is an arena in which a parent always comes before its children. While stacks are added one by
//! one, children are found through one hash map. Many stacks at once are sorted into groups that share their
//! callers, which needs no map. Merging costs O(nodes of the tree that is added).

use crate::children::{Children, sorted_children};
use crate::profile::Profile;
use crate::strings::{StringIndex, StringInterner, Strings};
use crate::symbols::{FrameIndex, Symbols};
use hashbrown::HashMap;
use std::ops::Range;

/// Position of a node in [`Tree::nodes`]; 0 is the root.
pub type NodeIndex = u32;

/// A node: one frame below one chain of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Index of the name in [`Tree::names`].
    pub name: StringIndex,
    /// The caller; the root is its own parent.
    pub parent: NodeIndex,
    /// What was measured in this frame itself.
    pub self_value: i64,
    /// What was measured in this frame and all that it called.
    pub total: i64,
    /// Zero for a frame. Otherwise this node stands for so many nodes that truncation folded into it.
    pub folded: u32,
}

/// What truncation hid: see [`Tree::truncate`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Number of nodes that are no longer there one by one.
    pub nodes: u32,
    /// Sum of their weight, still part of every total.
    pub total: i64,
}

/// A call tree. Values are in the unit of the profile type that it was built for.
#[derive(Clone, Debug)]
pub struct Tree {
    names: StringInterner,
    nodes: Vec<Node>,
    /// All nodes but the root, or none: it is filled before it is needed.
    children: HashMap<(NodeIndex, StringIndex, bool), NodeIndex>,
}

/// Name of the nodes that truncation leaves in place of what it folds.
pub(crate) const OTHER: &str = "other";

/// A stack on its way from the root to its leaf.
#[derive(Clone, Copy)]
struct Descent {
    /// Name of the frame that comes next plus one; 0 at the end.
    key: u32,
    /// Where its leaf lies.
    start: u32,
    /// Behind the frame that comes next.
    next: u32,
    value: i64,
}

const ROOT: Node = Node { name: 0, parent: 0, self_value: 0, total: 0, folded: 0 };

impl Default for Tree {
    fn default() -> Self {
        Self { names: StringInterner::default(), nodes: vec![ROOT], children: HashMap::new() }
    }
}

impl Tree {
    /// The calls of `profile`, each with its value of the sample type at the position `sample_type`. Stacks
    /// without one leave no node.
    pub fn of_profile(profile: &Profile, sample_type: usize) -> Self {
        let mut tree = Self::default();
        let mut names = HashMap::new();
        for sample in 0..profile.samples.len() {
            let value = profile.values(sample).get(sample_type).copied().unwrap_or_default();
            if value == 0 {
                continue;
            }
            let frames = profile.frames(sample).rev();
            let stack: Vec<StringIndex> = frames
                .map(|frame| {
                    let name = profile.symbols.name(frame);
                    *names.entry(*frame).or_insert_with(|| tree.intern(&name))
                })
                .collect();
            tree.insert(stack, value);
        }
        tree
    }

    /// The index of a name, for [`Tree::insert`]; added when it is new.
    pub fn intern(&mut self, name: &str) -> StringIndex {
        self.names.intern(name)
    }

    /// Adds `value` along `stack`, root first, made of indices from [`Tree::intern`]. O(depth).
    pub fn insert(&mut self, stack: impl IntoIterator<Item = StringIndex>, value: i64) {
        self.find_children();
        let mut at = 0;
        self.add_total(at, value);
        for name in stack {
            at = self.child(at, name, 0);
            self.add_total(at, value);
        }
        self.add_self(at, value);
    }

    /// The calls of many stacks at once: `frames` has their frames of `symbols`, leaf first, one stack after the
    /// other; `ends` says where each ends, and `values` what was measured in it. Stacks without a value leave
    /// no node. What stacks share is walked once for each level, in memory that lies together, where one by
    /// one each frame costs a random look into a map of all nodes.
    pub fn of_stacks(symbols: &Symbols, frames: &[FrameIndex], ends: &[u32], values: &[i64]) -> Self {
        let mut tree = Self::default();
        let names: Vec<StringIndex> =
            symbols.frames.iter().map(|frame| tree.intern(&symbols.name(frame))).collect();
        let name_at = |at: u32| frames.get(at as usize).and_then(|&frame| names.get(frame as usize)).copied();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let mut stacks: Vec<Descent> = (starts.zip(ends).zip(values))
            .filter(|(_, value)| **value != 0)
            .map(|((start, &end), &value)| Descent { key: 0, start, next: end, value })
            .collect();
        // Groups of stacks that are the same down to a node.
        let mut groups: Vec<(Range<usize>, NodeIndex)> = vec![(0..stacks.len(), 0)];
        while let Some((range, node)) = groups.pop() {
            let mut at = range.start;
            let group = stacks.get_mut(range).unwrap_or_default();
            for stack in group.iter_mut() {
                stack.key = 0;
                if stack.next > stack.start {
                    stack.next -= 1;
                    stack.key = name_at(stack.next).unwrap_or_default() + 1;
                }
            }
            group.sort_unstable_by_key(|stack| stack.key);
            for same in group.chunk_by(|a, b| a.key == b.key) {
                let begin = at;
                at += same.len();
                match (same, same.first().map_or(0, |stack| stack.key).checked_sub(1)) {
                    (same, None) => same.iter().for_each(|stack| tree.add_self(node, stack.value)),
                    ([only], Some(name)) => {
                        let mut leaf = tree.push(name, node);
                        for at in (only.start..only.next).rev() {
                            leaf = tree.push(name_at(at).unwrap_or_default(), leaf);
                        }
                        tree.add_self(leaf, only.value);
                    }
                    (_, Some(name)) => groups.push((begin..at, tree.push(name, node))),
                }
            }
        }
        tree.add_up();
        tree
    }

    /// Adds every value of `other` to this tree.
    pub fn merge(&mut self, other: &Tree) {
        self.find_children();
        let names: Vec<StringIndex> = other.names().iter().map(|name| self.names.intern(name)).collect();
        let mut indices = Vec::with_capacity(other.nodes.len());
        for (at, node) in other.nodes.iter().enumerate() {
            let index = match at {
                0 => 0,
                _ => self.child(indices[node.parent as usize], names[node.name as usize], node.folded),
            };
            indices.push(index);
            let target = &mut self.nodes[index as usize];
            target.self_value = target.self_value.saturating_add(node.self_value);
            target.total = target.total.saturating_add(node.total);
        }
    }

    /// Keeps the `max` heaviest nodes, not counting the root. What is folded stays visible as one node
    /// "other" per parent, so that every total is still exact.
    pub fn truncate(&mut self, max: usize) -> Folded {
        if self.nodes.len() <= max.saturating_add(1) {
            return Folded::default();
        }
        let keep = heaviest(self.nodes.iter().map(|node| (node.parent, node.total.unsigned_abs())), max);
        let all = std::mem::take(self);
        self.names = all.names;
        let other = self.names.intern(OTHER);
        // For each old node its new index, or that of the "other" node which stands for it.
        let mut indices: Vec<NodeIndex> = Vec::with_capacity(all.nodes.len());
        let mut folded = Folded::default();
        for (at, node) in all.nodes.iter().enumerate() {
            if at == 0 {
                self.nodes[0] = *node;
                indices.push(0);
                continue;
            }
            let parent_kept = keep[node.parent as usize];
            let parent = indices[node.parent as usize];
            if keep[at] {
                let index = self.child(parent, node.name, node.folded);
                self.nodes[index as usize].self_value = node.self_value;
                self.nodes[index as usize].total = node.total;
                indices.push(index);
                continue;
            }
            let hidden = node.folded.max(1);
            folded.nodes = folded.nodes.saturating_add(hidden);
            let index = if parent_kept { self.child(parent, other, hidden) } else { parent };
            if parent_kept {
                let stand_in = &mut self.nodes[index as usize];
                stand_in.self_value = stand_in.self_value.saturating_add(node.total);
                stand_in.total = stand_in.total.saturating_add(node.total);
                folded.total = folded.total.saturating_add(node.total);
            } else {
                let stand_in = &mut self.nodes[index as usize];
                stand_in.folded = stand_in.folded.saturating_add(hidden);
            }
            indices.push(index);
        }
        folded
    }

    /// All nodes; the root first, every parent before its children.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The names that nodes refer to.
    pub fn names(&self) -> &Strings {
        self.names.strings()
    }

    /// The name of `node`.
    pub fn name(&self, node: &Node) -> &str {
        self.names().get(node.name)
    }

    /// Sum of all values that were inserted.
    pub fn total(&self) -> i64 {
        self.nodes[0].total
    }

    /// For every node its children, sorted by name, folded ones last.
    pub fn sorted_children(&self) -> Children {
        let key = |index: NodeIndex| {
            let node = &self.nodes[index as usize];
            (node.folded > 0, self.names().get(node.name))
        };
        sorted_children(self.nodes.iter().map(|node| node.parent), |a, b| key(a).cmp(&key(b)))
    }

    /// The child of `parent` called `name`, made when it is not there. `folded` > 0 asks for the node that
    /// stands for folded ones, which is never the same as a function that happens to be called "other".
    fn child(&mut self, parent: NodeIndex, name: StringIndex, folded: u32) -> NodeIndex {
        let next = self.nodes.len() as NodeIndex;
        let index = *self.children.entry((parent, name, folded > 0)).or_insert(next);
        if index == next {
            self.nodes.push(Node { name, parent, folded, ..ROOT });
        } else if folded > 0 {
            let node = &mut self.nodes[index as usize];
            node.folded = node.folded.saturating_add(folded);
        }
        index
    }

    /// A new node, which the map of children does not know.
    fn push(&mut self, name: StringIndex, parent: NodeIndex) -> NodeIndex {
        let index = self.nodes.len() as NodeIndex;
        self.nodes.push(Node { name, parent, ..ROOT });
        index
    }

    /// Sets the totals of nodes that have their own values only.
    fn add_up(&mut self) {
        for at in (0..self.nodes.len()).rev() {
            let Node { parent, self_value, .. } = self.nodes[at];
            self.add_total(at as NodeIndex, self_value);
            if at > 0 {
                self.add_total(parent, self.nodes[at].total);
            }
        }
    }

    /// Makes the map of children know all nodes.
    fn find_children(&mut self) {
        if self.children.len() + 1 < self.nodes.len() {
            let nodes = self.nodes.iter().zip(0..).skip(1);
            self.children = nodes.map(|(node, at)| ((node.parent, node.name, node.folded > 0), at)).collect();
        }
    }

    fn add_self(&mut self, at: NodeIndex, value: i64) {
        let node = &mut self.nodes[at as usize];
        node.self_value = node.self_value.saturating_add(value);
    }

    fn add_total(&mut self, at: NodeIndex, value: i64) {
        let total = &mut self.nodes[at as usize].total;
        *total = total.saturating_add(value);
    }
}

impl PartialEq for Tree {
    /// Equal when the same stacks have the same values, whatever order they came in.
    fn eq(&self, other: &Self) -> bool {
        self.outline() == other.outline()
    }
}

impl Tree {
    /// One line per node, indented by depth: name, total, self. For tests and for people.
    pub fn outline(&self) -> String {
        let children = self.sorted_children();
        let mut out = format!("total {}\n", self.total());
        let mut stack: Vec<(NodeIndex, usize)> =
            children.of(0).iter().rev().map(|&child| (child, 0)).collect();
        while let Some((index, depth)) = stack.pop() {
            let node = &self.nodes[index as usize];
            let folded = if node.folded > 0 { format!(" ({} nodes)", node.folded) } else { String::new() };
            out += &format!(
                "{:indent$}{} {} {}{folded}\n",
                "",
                self.name(node),
                node.total,
                node.self_value,
                indent = depth * 2
            );
            stack.extend(children.of(index).iter().rev().map(|&child| (child, depth + 1)));
        }
        out
    }
}

/// Which nodes stay when only `max` may, the root not counted: the heaviest ones whose parents stay.
/// `nodes` gives parent and weight; a parent comes before its children.
pub(crate) fn heaviest(nodes: impl ExactSizeIterator<Item = (NodeIndex, u64)>, max: usize) -> Vec<bool> {
    let nodes: Vec<(NodeIndex, u64)> = nodes.collect();
    let mut weights: Vec<u64> = nodes.iter().skip(1).map(|&(_, weight)| weight).collect();
    if weights.len() <= max {
        return vec![true; nodes.len()];
    }
    let threshold =
        if max == 0 { u64::MAX } else { *weights.select_nth_unstable_by(max - 1, |a, b| b.cmp(a)).1 };
    let heavier = weights.iter().filter(|&&weight| weight > threshold).count();
    let mut ties = max.saturating_sub(heavier);
    let mut keep = vec![false; nodes.len()];
    keep[0] = true;
    for (at, &(parent, weight)) in nodes.iter().enumerate().skip(1) {
        if !keep[parent as usize] || weight < threshold || max == 0 {
            continue;
        }
        if weight == threshold {
            if ties == 0 {
                continue;
            }
            ties -= 1;
        }
        keep[at] = true;
    }
    keep
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::symbols::{Frame, SymbolInterner};
    use proptest::prelude::*;

    /// Reads `a;b 3` lines, root first.
    pub(crate) fn tree(folded: &str) -> Tree {
        let mut tree = Tree::default();
        for line in folded.lines() {
            let (stack, value) = line.rsplit_once(' ').unwrap();
            let stack: Vec<_> = stack.split(';').map(|name| tree.intern(name)).collect();
            tree.insert(stack, value.parse().unwrap());
        }
        tree
    }

    /// Trees of up to 30 stacks over few names, so that stacks share prefixes; some values are negative.
    pub(crate) fn trees() -> impl Strategy<Value = Tree> {
        let stack = (prop::collection::vec("[a-d]", 0..6), -1000i64..100_000);
        prop::collection::vec(stack, 0..30).prop_map(|stacks| {
            let mut tree = Tree::default();
            for (stack, value) in stacks {
                let stack: Vec<_> = stack.iter().map(|name| tree.intern(name)).collect();
                tree.insert(stack, value);
            }
            tree
        })
    }

    proptest! {
        #[test]
        fn many_stacks_at_once_make_the_same_tree(
            stacks in prop::collection::vec((prop::collection::vec(0..5u32, 0..9), -1000i64..1000), 0..60),
        ) {
            let mut interner = SymbolInterner::default();
            // Two frames of one name.
            let frames = [("a", 0), ("b", 0), ("c", 0), ("d", 0), ("a", 7)];
            let names = frames.map(|(name, _)| name);
            for (name, line) in frames {
                let function = interner.intern_string(name);
                interner.intern_frame(Frame { function, line, ..Frame::default() });
            }
            let mut one_by_one = Tree::default();
            let (mut all, mut ends, mut values) = (Vec::new(), Vec::new(), Vec::new());
            for (stack, value) in stacks {
                all.extend(stack.iter().rev());
                ends.push(all.len() as u32);
                values.push(value);
                if value != 0 {
                    let stack: Vec<_> = stack.iter().map(|&at| one_by_one.intern(names[at as usize])).collect();
                    one_by_one.insert(stack, value);
                }
            }
            let at_once = Tree::of_stacks(&interner.into_symbols(), &all, &ends, &values);
            prop_assert_eq!(one_by_one.outline(), at_once.outline());
            prop_assert!(at_once.nodes().iter().enumerate().skip(1).all(|(at, node)| (node.parent as usize) < at));
        }
    }

    #[track_caller]
    fn check(folded: &str, max: usize, expect: &str) {
        let mut tree = tree(folded);
        tree.truncate(max);
        assert_eq!(tree.outline(), expect);
    }

    #[test]
    fn truncation_keeps_totals() {
        check("a;b 3\na;c 1", 2, "total 4\na 4 0\n  b 3 3\n  other 1 1 (1 nodes)\n");
        check("a;b 3\na;c;d;e 1", 1, "total 4\na 4 0\n  other 4 4 (4 nodes)\n");
        check("a 3\nb 1", 0, "total 4\nother 4 4 (2 nodes)\n");
        check("a 3\nb 1", 2, "total 4\na 3 3\nb 1 1\n");
    }

    #[test]
    fn a_function_called_other_is_not_what_was_folded() {
        check("other 5\na 1\nb 1", 1, "total 7\nother 5 5\nother 2 2 (2 nodes)\n");
    }

    fn merged(trees: &[&Tree]) -> Tree {
        let mut all = Tree::default();
        trees.iter().for_each(|tree| all.merge(tree));
        all
    }

    proptest! {
        #[test]
        fn merge_is_commutative_and_associative(a in trees(), b in trees(), c in trees()) {
            prop_assert_eq!(merged(&[&a, &b]), merged(&[&b, &a]));
            let (ab, bc) = (merged(&[&a, &b]), merged(&[&b, &c]));
            prop_assert_eq!(merged(&[&ab, &c]), merged(&[&a, &bc]));
        }

        #[test]
        fn truncation_is_exact(tree in trees(), max in 0usize..40) {
            let mut cut = tree.clone();
            let folded = cut.truncate(max);
            prop_assert_eq!(cut.total(), tree.total());
            prop_assert_eq!(cut.nodes().iter().map(|node| node.self_value).sum::<i64>(), tree.total());
            let kept = cut.nodes().iter().skip(1).filter(|node| node.folded == 0).count();
            prop_assert!(kept <= max);
            prop_assert_eq!(kept + folded.nodes as usize, tree.nodes().len() - 1);
            // Each node weighs what it and its children weigh.
            for (at, node) in cut.nodes().iter().enumerate() {
                let children = cut.nodes().iter().enumerate().skip(1);
                let below: i64 =
                    children.filter(|(_, child)| child.parent as usize == at).map(|(_, child)| child.total).sum();
                prop_assert_eq!(node.total, node.self_value + below);
            }
        }
    }
}
