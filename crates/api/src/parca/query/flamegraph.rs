//! The tree of a flame graph with all that Parca's pages show of a node.
//!
//! A node stands for all frames of one function below one caller. What these do not agree on (line, file,
//! address, …) is unknown for the node, unless the query tells nodes apart by it.

use super::GroupBy;
use super::nodes::{Symbol, symbol};
use super::stacks::{Row, Stacks};
use everflame_profile::{Frame, Nanos, StringIndex};
use hashbrown::HashMap;

/// A node; the first is the root.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) depth: u32,
    pub(super) cumulative: i64,
    pub(super) flat: i64,
    pub(super) diff: i64,
    pub(super) time: Nanos,
    /// The label set that it belongs to, when there are any to tell apart.
    pub(super) group: Option<u32>,
    /// What it shows; nothing for the root.
    pub(super) shows: Shows,
    pub(super) children: Vec<u32>,
}

/// What a node shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Shows {
    #[default]
    Root,
    Labels,
    Frame(Content),
}

/// What the frames of a node agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) address: Option<u64>,
    pub(super) mapping_file: Option<StringIndex>,
    pub(super) build_id: Option<StringIndex>,
    pub(super) line: Option<u64>,
    pub(super) inlined: Option<bool>,
    pub(super) start_line: Option<u64>,
    pub(super) function: Option<StringIndex>,
    pub(super) system_name: Option<StringIndex>,
    pub(super) file: Option<StringIndex>,
}

/// What tells the children of a node apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    parent: u32,
    symbol: Option<Symbol>,
    group: u32,
    mapping_file: StringIndex,
    address: u64,
    file: StringIndex,
}

/// What of a tree is shown.
pub(super) struct Shown {
    /// The nodes breadth first, as positions in the tree, each with its parent and its left edge.
    pub(super) nodes: Vec<(u32, i32, i64)>,
    /// For each of them its children, as positions in `nodes`.
    pub(super) children: Vec<Vec<u32>>,
    /// What the nodes weigh that are left out.
    pub(super) trimmed: i64,
}

/// The tree of `stacks`.
pub(super) fn tree(stacks: &Stacks, group_by: &GroupBy) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    let mut known: HashMap<Key, u32> = HashMap::new();
    let mut rows: Vec<_> = stacks.iter().collect();
    if group_by.timestamp {
        rows.sort_by_key(|(row, _)| row.time);
    }
    for (row, frames) in rows {
        let has_labels = stacks
            .groups
            .get(row.group as usize)
            .is_some_and(|set| set.iter().any(|(_, value)| !value.is_empty()));
        let group = has_labels.then_some(row.group);
        let mut at = 0;
        add(&mut nodes, at, row, false);
        if group.is_some() {
            let key = Key { parent: 0, symbol: None, group: row.group, mapping_file: 0, address: 0, file: 0 };
            at = *known.entry(key).or_insert_with(|| push(&mut nodes, 0, row, group, Shows::Labels));
            add(&mut nodes, at, row, false);
        }
        for (left, &index) in frames.iter().enumerate().rev() {
            let frame = stacks.frame(index);
            let mapping = stacks.symbols.mapping(frame.mapping);
            let key = Key {
                parent: at,
                symbol: Some(symbol(&frame)),
                group: 0,
                mapping_file: if group_by.mapping_file { mapping.file } else { 0 },
                address: if group_by.address { frame.address } else { 0 },
                file: if group_by.function_file { frame.file } else { 0 },
            };
            let content = Content::of(stacks, &frame);
            let found =
                known.get(&key).copied().filter(|&found| !group_by.timestamp || follows(&nodes, found, row));
            at = match found {
                Some(found) => {
                    if let Some(Node { shows: Shows::Frame(own), .. }) = nodes.get_mut(found as usize) {
                        own.agree(&content);
                    }
                    found
                }
                None => {
                    let new = push(&mut nodes, at, row, group, Shows::Frame(content));
                    known.insert(key, new);
                    new
                }
            };
            add(&mut nodes, at, row, left == 0);
        }
    }
    nodes
}

/// Whether a sample goes on where a node of a flame chart ends, a tenth of its length aside.
fn follows(nodes: &[Node], at: u32, row: &Row) -> bool {
    let Some(node) = nodes.get(at as usize) else { return false };
    let is_last = nodes.get(node.parent as usize).is_some_and(|parent| parent.children.last() == Some(&at));
    let end = node.time.saturating_add(node.cumulative);
    is_last && (node.time == row.time || row.time.saturating_sub(end) <= row.value / 10)
}

fn push(nodes: &mut Vec<Node>, parent: u32, row: &Row, group: Option<u32>, shows: Shows) -> u32 {
    let new = nodes.len() as u32;
    let mut depth = 0;
    if let Some(parent) = nodes.get_mut(parent as usize) {
        parent.children.push(new);
        depth = parent.depth + 1;
    }
    nodes.push(Node { parent, depth, time: row.time, group, shows, ..Node::default() });
    new
}

fn add(nodes: &mut [Node], at: u32, row: &Row, is_leaf: bool) {
    let Some(node) = nodes.get_mut(at as usize) else { return };
    node.cumulative = node.cumulative.saturating_add(row.value);
    node.diff = node.diff.saturating_add(row.diff);
    if is_leaf {
        node.flat = node.flat.saturating_add(row.value);
    }
}

impl Content {
    fn of(stacks: &Stacks, frame: &Frame) -> Self {
        let mapping = stacks.symbols.mapping(frame.mapping);
        let name = if frame.function == 0 { frame.system_name } else { frame.function };
        let is_named = name != 0;
        let text = |index: StringIndex| (index != 0).then_some(index);
        let number = |number: i64| u64::try_from(number).ok().filter(|_| is_named);
        Self {
            address: Some(frame.address),
            mapping_file: text(mapping.file),
            build_id: text(mapping.build_id),
            line: number(frame.line),
            inlined: Some(frame.inlined),
            start_line: number(frame.start_line),
            function: text(name),
            system_name: text(if frame.system_name == 0 { name } else { frame.system_name }),
            file: text(frame.file),
        }
    }

    /// Forgets what `other` says otherwise.
    fn agree(&mut self, other: &Self) {
        fn keep<T: PartialEq>(own: &mut Option<T>, other: &Option<T>) {
            if own != other {
                *own = None;
            }
        }
        keep(&mut self.address, &other.address);
        keep(&mut self.mapping_file, &other.mapping_file);
        keep(&mut self.build_id, &other.build_id);
        keep(&mut self.line, &other.line);
        keep(&mut self.inlined, &other.inlined);
        keep(&mut self.start_line, &other.start_line);
        keep(&mut self.system_name, &other.system_name);
        keep(&mut self.file, &other.file);
    }
}

/// The nodes that weigh more than `fraction` of their parents; the others and all below them are left out.
pub(super) fn shown(tree: &[Node], fraction: f64) -> Shown {
    let mut nodes: Vec<(u32, i32, i64)> = vec![(0, -1, 0)];
    let mut children: Vec<Vec<u32>> = Vec::with_capacity(tree.len());
    let (mut trimmed, mut next) = (0i64, 0);
    while let Some(&(at, _, left)) = nodes.get(next) {
        let mut own = Vec::new();
        if let Some(node) = tree.get(at as usize) {
            let least = node.cumulative as f64 * fraction;
            let mut offset = left;
            for &child in &node.children {
                let weight = tree.get(child as usize).map_or(0, |child| child.cumulative);
                // What weighs nothing, or less, has no width.
                if weight > 0 && weight as f64 > least {
                    own.push(nodes.len() as u32);
                    nodes.push((child, next as i32, offset));
                    offset = offset.saturating_add(weight);
                } else {
                    trimmed = trimmed.saturating_add(weight);
                }
            }
        }
        children.push(own);
        next += 1;
    }
    Shown { nodes, children, trimmed }
}

/// How deep the tree is, its root included.
pub(super) fn height(tree: &[Node]) -> i32 {
    i32::try_from(tree.iter().map(|node| node.depth).max().unwrap_or(0)).unwrap_or(i32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::stacks;
    use super::*;

    fn outline(stacks: &Stacks, group_by: &GroupBy) -> Vec<String> {
        let line = |node: &Node| {
            let name = match node.shows {
                Shows::Root => "root".to_owned(),
                Shows::Labels => format!("{:?}", stacks.groups[node.group.unwrap() as usize]),
                Shows::Frame(content) => match (content.function, content.address) {
                    (Some(function), _) => stacks.text(function).to_owned(),
                    (None, address) => format!("{address:?}"),
                },
            };
            format!(
                "{}{name} {} {} {}",
                " ".repeat(node.depth as usize),
                node.cumulative,
                node.flat,
                node.diff
            )
        };
        tree(stacks, group_by).iter().map(line).collect()
    }

    #[test]
    fn functions_are_one_node_each() {
        let stacks = stacks("main@a.go;work 3 1\nmain@b.go;idle 2\nmain@a.go;work;0x10 4 -1");
        let all = ["root 9 0 0", " main 9 0 0", "  work 7 3 0", "  idle 2 2 0", "   Some(16) 4 4 -1"];
        assert_eq!(outline(&stacks, &GroupBy::default()), all);
        let nodes = tree(&stacks, &GroupBy::default());
        assert!(matches!(nodes[1].shows, Shows::Frame(Content { file: None, line: Some(0), .. })));
        let by_file = GroupBy { function_file: true, ..GroupBy::default() };
        assert_eq!(outline(&stacks, &by_file)[1..4], [" main 7 0 0", "  work 7 3 0", " main 2 0 0"]);
        assert_eq!(height(&nodes), 4);
    }

    #[test]
    fn label_sets_are_nodes_below_the_root() {
        let mut stacks = stacks("main 3\nmain 2\nmain 1");
        let set = |value: &str| vec![("pod".to_owned(), value.to_owned())];
        stacks.groups = vec![set("x"), set("y"), set("")];
        (0..3).for_each(|at| stacks.rows[at].group = at as u32);
        let lines = [
            "root 6 0 0",
            " [(\"pod\", \"x\")] 3 0 0",
            "  main 3 3 0",
            " [(\"pod\", \"y\")] 2 0 0",
            "  main 2 2 0",
            " main 1 1 0",
        ];
        assert_eq!(outline(&stacks, &GroupBy::default()), lines);
    }

    #[test]
    fn light_nodes_are_left_out() {
        let tree = tree(&stacks("a;b 90\na;c 5\nd 5\nmoved 0 -4"), &GroupBy::default());
        let all = shown(&tree, 0.0);
        assert_eq!((all.nodes.len(), all.trimmed), (5, 0));
        assert_eq!(all.nodes[1..], [(1, 0, 0), (4, 0, 95), (2, 1, 0), (3, 1, 90)]);
        assert_eq!(all.children[..2], [vec![1, 2], vec![3, 4]]);
        let some = shown(&tree, 0.06);
        assert_eq!((some.nodes.len(), some.trimmed), (3, 10));
        assert_eq!(shown(&tree, 1.0).nodes.len(), 1);
    }

    #[test]
    fn charts_join_what_follows() {
        let mut stacks = stacks("main 100\nmain 100\nmain 100\nother 100");
        [0, 105, 400, 500].into_iter().zip(&mut stacks.rows).for_each(|(time, row)| row.time = time);
        let chart = GroupBy { timestamp: true, ..GroupBy::default() };
        assert_eq!(
            outline(&stacks, &chart),
            ["root 400 0 0", " main 200 200 0", " main 100 100 0", " other 100 100 0"]
        );
    }
}
