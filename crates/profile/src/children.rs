//! The children of the nodes of a tree whose nodes know their parents.

use crate::tree::NodeIndex;

/// The children of every node.
#[derive(Clone, Debug)]
pub struct Children {
    /// For each node the end of its children in `nodes`.
    ends: Vec<u32>,
    nodes: Vec<NodeIndex>,
}

impl Children {
    /// The children of `node`; none when there is no such node.
    pub fn of(&self, node: NodeIndex) -> &[NodeIndex] {
        let node = node as usize;
        let start = if node == 0 { Some(0) } else { self.ends.get(node - 1).copied() };
        let (Some(start), Some(&end)) = (start, self.ends.get(node)) else { return &[] };
        self.nodes.get(start as usize..end as usize).unwrap_or_default()
    }
}

/// For every node its children in the order of `compare`. All lie in one list: most nodes have one child.
pub(crate) fn sorted_children(
    parents: impl ExactSizeIterator<Item = NodeIndex> + Clone,
    compare: impl Fn(NodeIndex, NodeIndex) -> std::cmp::Ordering,
) -> Children {
    let count = parents.len();
    // First how many children each node has, then where they begin, and, once they are there, where they end.
    let mut ends = vec![0u32; count];
    for parent in parents.clone().skip(1) {
        ends[parent as usize] += 1;
    }
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    let mut nodes = vec![0; count.saturating_sub(1)];
    for (at, parent) in parents.enumerate().skip(1) {
        let end = &mut ends[parent as usize];
        nodes[*end as usize] = at as NodeIndex;
        *end += 1;
    }
    let mut start = 0;
    for &end in &ends {
        let siblings = &mut nodes[start..end as usize];
        if siblings.len() > 1 {
            siblings.sort_unstable_by(|&a, &b| compare(a, b));
        }
        start = end as usize;
    }
    Children { ends, nodes }
}
