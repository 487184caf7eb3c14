//! Draws a call tree as a graph for Graphviz: one node a function, as `go tool pprof -dot` does. A function
//! that calls itself counts once a stack; edges past functions that are left out are dotted.

use crate::units;
use everflame_profile::{NodeIndex, StringIndex, Tree};
use hashbrown::HashMap;
use std::fmt::Write;

/// Functions that are drawn when nothing else is asked for.
pub const DEFAULT_NODES: usize = 100;

/// A function's own weight, and that of all stacks it is in.
#[derive(Clone, Copy, Default)]
struct Weight {
    own: i64,
    total: i64,
}

/// Weight of an edge, and whether functions between its ends are left out.
#[derive(Clone, Copy, Default)]
struct Edge {
    weight: i64,
    residual: bool,
}

/// Writes the `most` heaviest functions of `tree`, whose values are in `unit`; nothing for an empty tree.
pub fn write(tree: &Tree, title: &str, unit: &str, most: usize) -> String {
    if tree.nodes().len() <= 1 {
        return String::new();
    }
    let weights = weigh(tree);
    let mut order: Vec<StringIndex> = weights.keys().copied().collect();
    order.sort_unstable_by(|a, b| {
        let key = |name: &StringIndex| {
            (
                std::cmp::Reverse(weights.get(name).map_or(0, |weight| weight.total.unsigned_abs())),
                tree.names().get(*name),
            )
        };
        key(a).cmp(&key(b))
    });
    let hidden = order.len().saturating_sub(most);
    order.truncate(most);
    let ids: HashMap<StringIndex, usize> =
        order.iter().enumerate().map(|(at, name)| (*name, at + 1)).collect();
    let edges = connect(tree, &ids);

    let total = tree.total();
    let mut out = String::new();
    let title = quoted(title);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "digraph \"{title}\" {{\nnode [style=filled fillcolor=\"#f8f8f8\"]");
    let shown = format!(
        "Showing {} of {} functions, total {}",
        order.len(),
        order.len() + hidden,
        units::format(total, unit)
    );
    let _ = writeln!(
        out,
        "subgraph cluster_L {{ \"legend\" [shape=box fontsize=16 label=\"{title}\\l{}\\l\"] }}",
        quoted(&shown)
    );
    for (name, id) in order.iter().zip(1..) {
        let weight = weights.get(name).copied().unwrap_or_default();
        node(&mut out, id, tree.names().get(*name), weight, total, unit);
    }
    for ((from, to), edge) in &edges {
        let (Some(caller), Some(callee)) = (order.get(from - 1), order.get(to - 1)) else { continue };
        let names = (tree.names().get(*caller), tree.names().get(*callee));
        connect_nodes(&mut out, (*from, *to), names, *edge, total, unit);
    }
    out.push_str("}\n");
    out
}

fn node(out: &mut String, id: usize, name: &str, Weight { own, total }: Weight, all: i64, unit: &str) {
    let name = quoted(name);
    let (own_text, total_text) = (units::format(own, unit), units::format(total, unit));
    let own_share = units::percent(own, all);
    let label = match own == total {
        true => format!("{name}\\n{own_text} ({own_share})"),
        false => {
            format!("{name}\\n{own_text} ({own_share})\\nof {total_text} ({})", units::percent(total, all))
        }
    };
    let font = 8.0 + (share(own, all).sqrt() * 16.0).round();
    let (line, fill) = colors(share(total, all));
    let _ = writeln!(
        out,
        "N{id} [label=\"{label}\" id=\"node{id}\" fontsize={font} shape=box tooltip=\"{name} ({total_text})\" color=\"{line}\" fillcolor=\"{fill}\"]"
    );
}

fn connect_nodes(
    out: &mut String,
    (from, to): (usize, usize),
    (caller, callee): (&str, &str),
    edge: Edge,
    all: i64,
    unit: &str,
) {
    let text = units::format(edge.weight, unit);
    let share = share(edge.weight, all);
    let (line, _) = colors(share);
    let tooltip = format!("{} -> {} ({text})", quoted(caller), quoted(callee));
    let style = if edge.residual { " style=\"dotted\"" } else { "" };
    let _ = writeln!(
        out,
        "N{from} -> N{to} [label=\" {text}\" weight={} penwidth={} color=\"{line}\" tooltip=\"{tooltip}\" labeltooltip=\"{tooltip}\"{style}]",
        1 + (share * 100.0) as u32,
        1 + (share * 5.0) as u32,
    );
}

/// The part of the whole that a weight is, between 0 and 1.
fn share(weight: i64, all: i64) -> f64 {
    if all == 0 { 0.0 } else { (weight as f64 / all as f64).abs().min(1.0) }
}

/// Colours of line and area, from grey to red.
fn colors(share: f64) -> (String, String) {
    let mix = |low: f64, high: f64| (low + (high - low) * share.sqrt()).round() as u8;
    let line = format!("#{:02x}{:02x}{:02x}", mix(178.0, 178.0), mix(178.0, 0.0), mix(168.0, 0.0));
    let fill = format!("#{:02x}{:02x}{:02x}", mix(237.0, 237.0), mix(237.0, 213.0), mix(236.0, 213.0));
    (line, fill)
}

/// Bytes of a name within quotes. An edge has two of them in one string, and Graphviz reads strings of up to
/// 16 KiB.
const NAME_BYTES: usize = 4_000;

/// `text` within quotes of DOT, where Graphviz also decodes entities as HTML has them. Long ones keep their tail.
fn quoted(text: &str) -> String {
    let mut bytes = 0;
    let start = text
        .char_indices()
        .rev()
        .take_while(|&(_, c)| {
            bytes += quoted_bytes(c);
            bytes <= NAME_BYTES
        })
        .last()
        .map_or(text.len(), |(at, _)| at);
    let kept = text.get(start..).unwrap_or_default();
    let mut out = String::with_capacity(kept.len() + 16);
    if start > 0 {
        out.push('…');
    }
    for c in kept.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '&' => out.push_str(AMPERSAND),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

const AMPERSAND: &str = "&amp;";

fn quoted_bytes(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        '&' => AMPERSAND.len(),
        c => c.len_utf8(),
    }
}

/// Goes through the tree, root first: `enter` and `leave` each node but the root.
fn walk<T>(
    tree: &Tree,
    target: &mut T,
    mut enter: impl FnMut(&mut T, NodeIndex),
    mut leave: impl FnMut(&mut T, NodeIndex),
) {
    let children = tree.sorted_children();
    let mut open: Vec<(NodeIndex, usize)> = vec![(0, 0)];
    while let Some((node, next)) = open.last_mut() {
        let node = *node;
        match children.of(node).get(*next) {
            Some(&child) => {
                *next += 1;
                enter(target, child);
                open.push((child, 0));
            }
            None => {
                open.pop();
                if node != 0 {
                    leave(target, node);
                }
            }
        }
    }
}

fn weigh(tree: &Tree) -> HashMap<StringIndex, Weight> {
    let mut state: (HashMap<StringIndex, Weight>, HashMap<StringIndex, u32>) = Default::default();
    let node = |at: NodeIndex| tree.nodes().get(at as usize).copied();
    walk(
        tree,
        &mut state,
        |(weights, open), at| {
            let Some(node) = node(at) else { return };
            let depth = open.entry(node.name).or_insert(0);
            let weight = weights.entry(node.name).or_default();
            weight.own = weight.own.saturating_add(node.self_value);
            if *depth == 0 {
                weight.total = weight.total.saturating_add(node.total);
            }
            *depth += 1;
        },
        |(_, open), at| {
            if let Some(depth) = node(at).and_then(|node| open.get_mut(&node.name)) {
                *depth -= 1;
            }
        },
    );
    state.0
}

/// Edges between functions that have an id, each counted once a stack.
fn connect(
    tree: &Tree,
    ids: &HashMap<StringIndex, usize>,
) -> std::collections::BTreeMap<(usize, usize), Edge> {
    #[derive(Default)]
    struct Path {
        edges: std::collections::BTreeMap<(usize, usize), Edge>,
        /// Ids on the path, with how many functions without one follow.
        drawn: Vec<(usize, usize)>,
        open: HashMap<(usize, usize), u32>,
    }
    let node = |at: NodeIndex| tree.nodes().get(at as usize).copied();
    let mut path = Path::default();
    walk(
        tree,
        &mut path,
        |path, at| {
            let Some(node) = node(at) else { return };
            let Some(&id) = ids.get(&node.name) else {
                if let Some((_, skipped)) = path.drawn.last_mut() {
                    *skipped += 1;
                }
                return;
            };
            if let Some(&(caller, skipped)) = path.drawn.last() {
                let depth = path.open.entry((caller, id)).or_insert(0);
                // A function without callers between is no edge to itself.
                if *depth == 0 && !(caller == id && skipped > 0) {
                    let edge = path.edges.entry((caller, id)).or_default();
                    edge.weight = edge.weight.saturating_add(node.total);
                    edge.residual |= skipped > 0;
                }
                *depth += 1;
            }
            path.drawn.push((id, 0));
        },
        |path, at| {
            let Some(node) = node(at) else { return };
            let Some(&id) = ids.get(&node.name) else {
                if let Some((_, skipped)) = path.drawn.last_mut() {
                    *skipped -= 1;
                }
                return;
            };
            path.drawn.pop();
            if let Some(&(caller, _)) = path.drawn.last()
                && let Some(depth) = path.open.get_mut(&(caller, id))
            {
                *depth -= 1;
            }
        },
    );
    path.edges.retain(|_, edge| edge.weight != 0);
    path.edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folded: &str) -> Tree {
        let mut tree = Tree::default();
        for line in folded.lines() {
            let (stack, value) = line.rsplit_once(' ').unwrap();
            let stack: Vec<_> = stack.split(';').map(|name| tree.intern(name)).collect();
            tree.insert(stack, value.parse().unwrap());
        }
        tree
    }

    /// Labels of nodes and edges.
    fn shown(folded: &str, most: usize) -> Vec<String> {
        let dot = write(&tree(folded), "t", "count", most);
        let label = |line: &str| {
            let (head, rest) = line.split_once(" [label=\"")?;
            let residual = if rest.contains("dotted") { " dotted" } else { "" };
            Some(format!("{head} {}{residual}", rest.split_once('"')?.0))
        };
        dot.lines().filter(|line| line.starts_with('N')).filter_map(label).collect()
    }

    #[test]
    fn functions_and_calls() {
        assert_eq!(
            shown("main;work 3\nmain;idle 1\nmain;work;read 4", 10),
            [
                r"N1 main\n0 (0.0%)\nof 8 (100.0%)",
                r"N2 work\n3 (37.5%)\nof 7 (87.5%)",
                r"N3 read\n4 (50.0%)",
                r"N4 idle\n1 (12.5%)",
                "N1 -> N2  7",
                "N1 -> N4  1",
                "N2 -> N3  4",
            ]
        );
    }

    #[test]
    fn recursion_counts_once() {
        assert_eq!(shown("a;a;a 5\na 1", 10), [r"N1 a\n6 (100.0%)", "N1 -> N1  5"]);
        assert_eq!(
            shown("a;b;a;b 5", 10),
            [r"N1 a\n0 (0.0%)\nof 5 (100.0%)", r"N2 b\n5 (100.0%)", "N1 -> N2  5", "N2 -> N1  5"]
        );
    }

    #[test]
    fn what_is_left_out_is_dotted() {
        assert_eq!(
            shown("main;small;big 5\nmain;big 1\nother 90", 3),
            [
                r"N1 other\n90 (93.8%)",
                r"N2 big\n6 (6.2%)",
                r"N3 main\n0 (0.0%)\nof 6 (6.2%)",
                "N3 -> N2  6 dotted"
            ]
        );
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(write(&Tree::default(), "t", "count", 10), "");
        let dot = write(&tree("a\"b\\c\u{7}<x>;d 1"), "x\"]", "count", 10);
        assert!(dot.contains(r#"label="a\"b\\c <x>\n0 (0.0%)\nof 1 (100.0%)""#), "{dot}");
        assert!(dot.starts_with("digraph \"x\\\"]\" {\n") && dot.ends_with("}\n"));
        let dot = write(&tree("a&lt 1"), "t", "count", 10);
        assert!(dot.contains(r#"label="a&amp;lt\n1 (100.0%)""#), "{dot}");
    }

    #[test]
    fn no_text_is_too_long_for_graphviz() {
        for text in ["a", "&", "\"", "é", "日"] {
            let name = |last: char| format!("{}{last}", text.repeat(60_000 / text.len()));
            let dot = write(&tree(&format!("{};{} 1", name('x'), name('y'))), &name('t'), "count", 10);
            // Between the quotes, but for escaped ones.
            let longest = dot.replace("\\\"", "''").split('"').map(str::len).max();
            assert!(longest.is_some_and(|longest| (7_000..16_000).contains(&longest)), "{text} {longest:?}");
            assert!(dot.contains(&format!("label=\"…{}", quoted(text))) && dot.contains("y\\n1 "), "{text}");
        }
        let most = "a".repeat(NAME_BYTES);
        assert_eq!(quoted(&most), most);
        assert_eq!(quoted(&format!("b{most}")), format!("…{most}"));
    }
}
