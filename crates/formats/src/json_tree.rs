//! Writes a call tree as nested JSON: `{"name", "value", "self", "children"}`, as d3's flame graphs read it.
//! What truncation folded has the member `folded`: how many nodes it stands for.

use everflame_profile::{NodeIndex, Tree};
use std::fmt::Write;

/// Writes `tree`; the root is called `total`. Children are sorted by name.
pub fn write(tree: &Tree) -> String {
    let children = tree.sorted_children();
    let mut out = String::new();
    // Nodes whose children are written, and how many of them are.
    let mut open: Vec<(NodeIndex, usize)> = vec![(0, 0)];
    begin(&mut out, tree, 0);
    while let Some((node, next)) = open.last_mut() {
        match children.of(*node).get(*next) {
            Some(&child) => {
                out.push_str(if *next == 0 { ",\"children\":[" } else { "," });
                *next += 1;
                begin(&mut out, tree, child);
                open.push((child, 0));
            }
            None => {
                out.push_str(if *next > 0 { "]}" } else { "}" });
                open.pop();
            }
        }
    }
    out
}

fn begin(out: &mut String, tree: &Tree, at: NodeIndex) {
    let Some(node) = tree.nodes().get(at as usize) else { return };
    let name = if at == 0 { "total" } else { tree.name(node) };
    // A text can always be written, and to a String too.
    let name = serde_json::to_string(name).unwrap_or_default();
    let _ = write!(out, "{{\"name\":{name},\"value\":{},\"self\":{}", node.total, node.self_value);
    if node.folded > 0 {
        let _ = write!(out, ",\"folded\":{}", node.folded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn trees() {
        let mut tree = Tree::default();
        for (stack, value) in [(["a", "b\"<\u{1}"], 3), (["a", "c"], 1), (["a", "d"], 1)] {
            let stack: Vec<_> = stack.iter().map(|name| tree.intern(name)).collect();
            tree.insert(stack, value);
        }
        tree.truncate(2);
        let written: Value = serde_json::from_str(&write(&tree)).unwrap();
        let expect = json!({"name": "total", "value": 5, "self": 0, "children": [
            {"name": "a", "value": 5, "self": 0, "children": [
                {"name": "b\"<\u{1}", "value": 3, "self": 3},
                {"name": "other", "value": 2, "self": 2, "folded": 2},
            ]},
        ]});
        assert_eq!(written, expect);
        assert_eq!(write(&Tree::default()), r#"{"name":"total","value":0,"self":0}"#);
    }
}
