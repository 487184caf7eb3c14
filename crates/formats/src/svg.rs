//! Draws a call tree as a flame graph in SVG, the root at the top: a picture that stands alone, without
//! scripts. Names are text and escaped as such; each bar says in its title what it weighs.

use crate::units;
use everflame_profile::{NodeIndex, Tree};
use std::fmt::Write;

/// Width of the picture, height of a bar and size of a letter, in pixels.
const WIDTH: f64 = 1200.0;
const BAR: f64 = 17.0;
const LETTER: f64 = 6.6;
/// Space around, and room for the title.
const MARGIN: f64 = 10.0;
const TITLE: f64 = 28.0;
/// Bars below this width cannot be seen.
const NARROWEST: f64 = 0.3;

/// Bars that are drawn when nothing else is asked for.
pub const DEFAULT_NODES: usize = 10_000;

/// Draws `tree`, whose values are in `unit`. What is too narrow to be seen is left out; a tree with many nodes
/// is best truncated before.
pub fn write(tree: &Tree, title: &str, unit: &str) -> String {
    let children = tree.sorted_children();
    let mut bars = String::new();
    let mut deepest = 0;
    let mut open = vec![Bar { node: 0, x: MARGIN, width: WIDTH - 2.0 * MARGIN, depth: 0 }];
    while let Some(bar) = open.pop() {
        let Some(node) = tree.nodes().get(bar.node as usize) else { continue };
        deepest = deepest.max(bar.depth);
        draw(&mut bars, tree, &bar, unit);
        let below = children.of(bar.node);
        let weight = |child: &NodeIndex| {
            tree.nodes().get(*child as usize).map_or(0.0, |node| node.total.max(0) as f64)
        };
        // Negative weights elsewhere can make the parts more than the whole.
        let whole = below.iter().map(weight).sum::<f64>().max(node.total.max(0) as f64);
        let mut x = bar.x;
        for child in below {
            let width = if whole > 0.0 { bar.width * weight(child) / whole } else { 0.0 };
            if width >= NARROWEST {
                open.push(Bar { node: *child, x, width, depth: bar.depth + 1 });
            }
            x += width;
        }
    }
    let height = TITLE + 2.0 * MARGIN + (deepest + 1) as f64 * BAR;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fbfaf8\"/>\n\
         <text x=\"{MARGIN}\" y=\"22\" font-size=\"14\" fill=\"#222\">{}</text>\n{bars}</svg>\n",
        escaped(title)
    )
}

/// A node and where it goes.
struct Bar {
    node: NodeIndex,
    x: f64,
    width: f64,
    depth: usize,
}

fn draw(out: &mut String, tree: &Tree, bar: &Bar, unit: &str) {
    let Some(node) = tree.nodes().get(bar.node as usize) else { return };
    let (name, fill) = match (bar.node, node.folded) {
        (0, _) => ("total".to_owned(), "#e4e0d8".to_owned()),
        (_, 0) => (tree.name(node).to_owned(), color(tree.name(node))),
        (_, folded) => (format!("other ({folded} frames)"), "#dcdcdc".to_owned()),
    };
    let y = TITLE + MARGIN + bar.depth as f64 * BAR;
    let value = format!("{} ({})", units::format(node.total, unit), units::percent(node.total, tree.total()));
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<g><title>{} {}</title><rect x=\"{:.1}\" y=\"{y:.0}\" width=\"{:.1}\" height=\"{}\" rx=\"1.5\" fill=\"{fill}\"/>",
        escaped(&name),
        escaped(&value),
        bar.x,
        (bar.width - 0.4).max(0.2),
        BAR - 1.0,
    );
    let letters = ((bar.width - 6.0) / LETTER) as usize;
    if letters >= 3 {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.0}\" fill=\"#1c1a17\">{}</text>",
            bar.x + 3.0,
            y + BAR - 5.0,
            escaped(&shortened(&name, letters))
        );
    }
    out.push_str("</g>\n");
}

/// The first characters, with two dots in place of the others.
fn shortened(name: &str, letters: usize) -> String {
    if name.chars().nth(letters).is_none() {
        return name.to_owned();
    }
    name.chars().take(letters.saturating_sub(2)).chain("..".chars()).collect()
}

/// Warm colours, the same for the same package: what stands before the last separator.
fn color(name: &str) -> String {
    let package = name.rsplit_once(['.', '/', ':']).map_or(name, |(package, _)| package);
    let hash = package
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("hsl({},{}%,{}%)", 12 + hash % 43, 62 + hash / 64 % 20, 66 + hash / 4096 % 12)
}

/// `text` as text of XML, which knows no control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push(char::REPLACEMENT_CHARACTER)
            }
            c => out.push(c),
        }
    }
    out
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

    #[test]
    fn bars_say_what_they_weigh() {
        let svg = write(&tree("main;work 3000000\nmain;idle 1000000"), "shop", "nanoseconds");
        for part in [
            "<title>total 4.00 ms (100.0%)</title><rect x=\"10.0\" y=\"38\" width=\"1179.6\"",
            "<title>main 4.00 ms (100.0%)</title><rect x=\"10.0\" y=\"55\" width=\"1179.6\"",
            "<title>idle 1.00 ms (25.0%)</title><rect x=\"10.0\" y=\"72\" width=\"294.6\"",
            "<title>work 3.00 ms (75.0%)</title><rect x=\"305.0\" y=\"72\" width=\"884.6\"",
            ">shop</text>",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }

    #[test]
    fn names_are_text() {
        let svg = write(&tree("<script>alert('1')</script>&\u{0}\u{1b} 1"), "</svg>", "count");
        assert!(!svg.contains("<script") && svg.matches("</svg>").count() == 1, "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\u{fffd}\u{fffd}"));
        assert!(svg.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn odd_trees_are_drawn() {
        for folded in ["", "a;b 5\na;c -9", "a -3", "a 0"] {
            let svg = write(&tree(folded), "t", "count");
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert_eq!(shortened("αβγδε", 4), "αβ..");
    }
}
