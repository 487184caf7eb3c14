//! The report of a flame graph as a message with tables: each text, mapping, function and location is sent
//! once, and a node names its location by one more than its position.

use super::GroupBy;
use super::flamegraph::{self, Content, Node, Shows};
use super::stacks::Stacks;
use crate::wire::parca::metastore::v1alpha1::{Function, Line, Location, Mapping};
use crate::wire::parca::query::v1alpha1::{
    Flamegraph, FlamegraphNode, FlamegraphNodeMeta, FlamegraphRootNode,
};
use hashbrown::HashMap;
use std::hash::Hash;

/// Deepest level of nodes: readers of messages refuse what is nested much deeper.
const MAX_DEPTH: u32 = 2_048;

pub(super) fn report(stacks: &Stacks, unit: String, trim: f64) -> Flamegraph {
    let tree = flamegraph::tree(stacks, &GroupBy::default());
    let shown = flamegraph::shown(&tree, trim);
    let mut tables = Tables {
        stacks,
        texts: Table::default(),
        mappings: Table::default(),
        functions: Table::default(),
        locations: Table::default(),
    };
    tables.texts.of("");
    let mut nodes: Vec<FlamegraphNode> = Vec::with_capacity(shown.nodes.len());
    for &(at, ..) in &shown.nodes {
        let Some(node) = tree.get(at as usize) else { continue };
        nodes.push(tables.node(node));
    }
    // Children come after their parents: from the last one on, each is whole when its turn comes.
    for (at, &(of, parent, _)) in shown.nodes.iter().enumerate().skip(1).rev() {
        if tree.get(of as usize).is_some_and(|node| node.depth > MAX_DEPTH) {
            continue;
        }
        let Some(mut node) = nodes.get_mut(at).map(std::mem::take) else { continue };
        node.children.reverse();
        if let Some(parent) = usize::try_from(parent).ok().and_then(|parent| nodes.get_mut(parent)) {
            parent.children.push(node);
        }
    }
    let mut root = nodes.into_iter().next().unwrap_or_default();
    root.children.reverse();
    let total = stacks.total();
    Flamegraph {
        root: FlamegraphRootNode {
            cumulative: root.cumulative,
            diff: root.diff,
            children: root.children,
            ..Default::default()
        }
        .into(),
        total,
        untrimmed_total: total,
        unit,
        height: flamegraph::height(&tree),
        string_table: tables.texts.entries,
        locations: tables.locations.entries,
        mapping: tables.mappings.entries,
        function: tables.functions.entries,
        trimmed: shown.trimmed,
        ..Default::default()
    }
}

/// Entries in the order in which they were first met.
struct Table<K, V> {
    known: HashMap<K, u32>,
    entries: Vec<V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), entries: Vec::new() }
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// The position of `key`.
    fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> u32 {
        let next = self.entries.len() as u32;
        *self.known.entry(key).or_insert_with(|| {
            self.entries.push(make());
            next
        })
    }
}

impl Table<String, String> {
    fn of(&mut self, text: &str) -> u32 {
        self.entry(text.to_owned(), || text.to_owned())
    }
}

type Texts = [u32; 3];

struct Tables<'a> {
    stacks: &'a Stacks,
    texts: Table<String, String>,
    mappings: Table<Texts, Mapping>,
    functions: Table<(Texts, u64), Function>,
    locations: Table<(u32, u32, u64, u64), Location>,
}

impl Tables<'_> {
    fn node(&mut self, node: &Node) -> FlamegraphNode {
        let &Node { cumulative, diff, .. } = node;
        let mut out = FlamegraphNode { cumulative, diff, ..Default::default() };
        if let Shows::Frame(content) = &node.shows {
            let location_index = self.location(content) + 1;
            out.meta = FlamegraphNodeMeta { location_index, ..Default::default() }.into();
        }
        out
    }

    fn location(&mut self, content: &Content) -> u32 {
        let mapping_index = match (content.mapping_file, content.build_id) {
            (None, None) => 0,
            (file, build_id) => {
                let (file, build_id) = (self.text(file), self.text(build_id));
                let make = || Mapping {
                    file_string_index: file,
                    build_id_string_index: build_id,
                    ..Default::default()
                };
                self.mappings.entry([file, build_id, 0], make) + 1
            }
        };
        let function_index = match content.function {
            None => 0,
            Some(_) => {
                let texts = [content.function, content.system_name, content.file].map(|text| self.text(text));
                let [name_string_index, system_name_string_index, filename_string_index] = texts;
                let start_line = content.start_line.unwrap_or_default();
                let make = || Function {
                    start_line: start_line.cast_signed(),
                    name_string_index,
                    system_name_string_index,
                    filename_string_index,
                    ..Default::default()
                };
                self.functions.entry((texts, start_line), make) + 1
            }
        };
        let (address, line) = (content.address.unwrap_or_default(), content.line.unwrap_or_default());
        self.locations.entry((mapping_index, function_index, address, line), || {
            let known = Line { line: line.cast_signed(), function_index, ..Default::default() };
            let lines = if function_index == 0 { Vec::new() } else { vec![known] };
            Location { address, mapping_index, lines, ..Default::default() }
        })
    }

    fn text(&mut self, index: Option<u32>) -> u32 {
        let text = self.stacks.text(index.unwrap_or_default());
        self.texts.of(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stacks::tests::stacks;
    use super::*;

    fn outline(graph: &Flamegraph, node: &FlamegraphNode, depth: usize, out: &mut Vec<String>) {
        let location = &graph.locations[node.meta.as_option().unwrap().location_index as usize - 1];
        let name = match location.lines.first() {
            Some(line) => {
                let function = &graph.function[line.function_index as usize - 1];
                graph.string_table[function.name_string_index as usize].clone()
            }
            None => {
                let mapping = &graph.mapping[location.mapping_index as usize - 1];
                format!("{:#x} {}", location.address, graph.string_table[mapping.file_string_index as usize])
            }
        };
        out.push(format!("{}{name} {}", " ".repeat(depth), node.cumulative));
        node.children.iter().for_each(|child| outline(graph, child, depth + 1, out));
    }

    #[test]
    fn nodes_and_tables() {
        let graph = report(&stacks("main;a 3 3\nmain;b;a 2\nmain;b;0x10%libc 1"), "count".into(), 0.0);
        let root = graph.root.as_option().unwrap();
        let mut lines = Vec::new();
        root.children.iter().for_each(|child| outline(&graph, child, 0, &mut lines));
        assert_eq!(lines, ["main 6", " a 3", " b 3", "  a 2", "  0x10 libc 1"]);
        assert_eq!((root.cumulative, root.diff, graph.height, graph.total), (6, 3, 4, 6));
        assert_eq!((graph.locations.len(), graph.function.len(), graph.mapping.len()), (4, 3, 1));
        assert_eq!(graph.string_table[0], "");
        let trimmed = report(&stacks("a 99\nb 1"), "count".into(), 0.5);
        assert_eq!((trimmed.trimmed, trimmed.root.as_option().unwrap().children.len()), (1, 1));
    }
}
