//! `.cpuprofile` of V8 (Node.js, Chrome): a call tree, and which node was running at each sample.
//! <https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile>

use crate::assembly::{Assembly, SMALLER};
use crate::list::{self, List};
use crate::{Error, Limits, Part, Parts, gzip};
use everflame_profile::{Frame, FrameKind, Profile, ValueType};
use hashbrown::HashMap;
use serde::Deserialize;
use std::borrow::Cow;

const WRITER: &str = "export the profile again, or repair the program that writes it";

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    nodes: List<Node<'a>, MAX_NODES>,
    #[serde(rename = "startTime", default)]
    start: f64,
    #[serde(rename = "endTime", default)]
    end: f64,
    #[serde(default)]
    samples: List<u64, MAX_SAMPLES>,
    #[serde(rename = "timeDeltas", default)]
    deltas: List<f64, MAX_SAMPLES>,
}

/// Nodes of the tree, and samples: an hour at a millisecond is 3.6 million.
const MAX_NODES: usize = 500_000;
const MAX_SAMPLES: usize = 8 << 20;

#[derive(Deserialize)]
struct Node<'a> {
    id: u64,
    #[serde(rename = "callFrame", borrow)]
    frame: CallFrame<'a>,
    #[serde(rename = "hitCount", default)]
    hits: u64,
    #[serde(default)]
    children: List<u64, MAX_NODES>,
    #[serde(default)]
    parent: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallFrame<'a> {
    #[serde(borrow)]
    function_name: Cow<'a, str>,
    #[serde(default, borrow)]
    url: Cow<'a, str>,
    /// From 0; -1 when unknown.
    #[serde(default)]
    line_number: i64,
}

/// Name of the node above all.
const ROOT: &str = "(root)";

/// Reads a profile, gzip or plain: samples, and the wall-clock time from each to the next.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    let file: File<'_> = list::from_json(&body).map_err(|error| {
        Error::malformed("cpuprofile", error, "send the whole file, as V8 or the developer tools write it")
    })?;
    let mut assembly = Assembly::new(limits);
    let tree = Tree::of(&file, &mut assembly)?;
    let weights = weights(&file, &tree)?;
    let mut stack = Vec::new();
    let leaves = tree.leaves(limits.depth)?;
    for (at, (&[count, nanos], node)) in weights.iter().zip(&file.nodes.0).enumerate() {
        if count == 0 {
            continue;
        }
        let leaf = leaves.get(at).map_or(at, |&leaf| leaf as usize);
        assembly.cuts.stacks = assembly.cuts.stacks.saturating_add(u32::from(leaf != at));
        tree.stack(leaf, &mut stack);
        assembly.push(format_args!("cpuprofile: node {}", node.id), &stack, &[count, nanos], &[])?;
    }
    let wall = ValueType::new("wall", "nanoseconds");
    let mut profile = Profile {
        sample_types: vec![ValueType::new("samples", "count"), wall.clone()],
        default_sample_type: Some(1),
        period_type: wall,
        duration: nanos(file.end - file.start).max(0),
        ..Profile::default()
    };
    let cuts = assembly.finish(&mut profile);
    Ok(Parts { parts: vec![Part { name: "wall".to_owned(), profile, ..Part::default() }], cuts })
}

/// Microseconds as nanoseconds.
fn nanos(micros: f64) -> i64 {
    (micros * 1e3).round() as i64
}

/// The nodes by position.
struct Tree {
    positions: HashMap<u64, usize>,
    /// Position of the caller + 1; 0 for none.
    callers: Vec<usize>,
    locations: Vec<u32>,
    /// Whether the node has the name of the one above all.
    is_root: Vec<bool>,
}

impl Tree {
    fn of(file: &File<'_>, assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let nodes = &file.nodes.0;
        let mut tree = Self {
            positions: nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect(),
            callers: vec![0; nodes.len()],
            locations: Vec::with_capacity(nodes.len()),
            is_root: nodes.iter().map(|node| node.frame.function_name == ROOT).collect(),
        };
        for (at, node) in nodes.iter().enumerate() {
            let CallFrame { function_name, url, line_number } = &node.frame;
            let name = if function_name.is_empty() { "(anonymous)" } else { function_name };
            let (function, file) = (assembly.string(name), assembly.string(url));
            let line = line_number.saturating_add(1).max(0);
            let kind = if file == 0 { FrameKind::Unknown } else { FrameKind::Interpreted };
            tree.locations.push(assembly.frame(Frame { function, file, line, kind, ..Frame::default() }));
            for child in &node.children.0 {
                let child = tree.position(*child)?;
                if let Some(caller) = tree.callers.get_mut(child) {
                    *caller = at + 1;
                }
            }
            if let Some(parent) = node.parent {
                let parent = tree.position(parent)?;
                if let Some(caller) = tree.callers.get_mut(at) {
                    *caller = parent + 1;
                }
            }
        }
        Ok(tree)
    }

    fn position(&self, id: u64) -> Result<usize, Error> {
        self.positions.get(&id).copied().ok_or_else(|| {
            let fault = format_args!("node {id} is referred to and missing ({} nodes)", self.positions.len());
            Error::malformed("cpuprofile", fault, WRITER)
        })
    }

    /// For each node the leaf that its stack keeps: the node itself, or the caller at which the stack is as
    /// deep as is allowed. Each node is looked at once, however deep its callers are.
    fn leaves(&self, depth: usize) -> Result<Vec<u32>, Error> {
        const OPEN: u32 = u32::MAX;
        let nodes = self.callers.len();
        let (mut leaves, mut depths) = (vec![OPEN; nodes], vec![0u32; nodes]);
        let mut path = Vec::new();
        for start in 0..nodes {
            let mut next = start + 1;
            path.clear();
            while let Some(at) = next.checked_sub(1).filter(|&at| leaves.get(at) == Some(&OPEN)) {
                path.push(at);
                if path.len() > nodes {
                    return Err(Error::malformed(
                        "cpuprofile",
                        "its nodes call each other in a circle",
                        WRITER,
                    ));
                }
                next = self.callers.get(at).copied().unwrap_or_default();
            }
            let above = next.checked_sub(1);
            let mut leaf = above.and_then(|at| leaves.get(at)).copied().unwrap_or_default();
            let mut deep = above.and_then(|at| depths.get(at)).copied().unwrap_or_default();
            for &at in path.iter().rev() {
                let is_top = self.callers.get(at) == Some(&0);
                deep += u32::from(!(is_top && self.is_root.get(at) == Some(&true)));
                if deep as usize <= depth {
                    leaf = at as u32;
                }
                if let (Some(own_leaf), Some(own_depth)) = (leaves.get_mut(at), depths.get_mut(at)) {
                    (*own_leaf, *own_depth) = (leaf, deep);
                }
            }
        }
        Ok(leaves)
    }

    /// The stack that begins at a node of [`Tree::leaves`], leaf first, without the root above all.
    fn stack(&self, leaf: usize, stack: &mut Vec<u32>) {
        stack.clear();
        let mut next = leaf + 1;
        while let Some(at) = next.checked_sub(1) {
            next = self.callers.get(at).copied().unwrap_or_default();
            if next != 0 || self.is_root.get(at) != Some(&true) {
                stack.extend(self.locations.get(at));
            }
        }
    }
}

/// For each node its samples, and the nanoseconds that they lasted.
fn weights(file: &File<'_>, tree: &Tree) -> Result<Vec<[i64; 2]>, Error> {
    let mut weights = vec![[0i64; 2]; file.nodes.0.len()];
    let (samples, deltas) = (&file.samples.0, &file.deltas.0);
    let mut add = |at: usize, count: i64, nanos: i64| {
        if let Some([samples, time]) = weights.get_mut(at) {
            (*samples, *time) = (samples.saturating_add(count), time.saturating_add(nanos));
        }
    };
    if samples.is_empty() {
        // Old files count hits alone.
        let hits: u64 = file.nodes.0.iter().fold(0, |sum, node| sum.saturating_add(node.hits));
        let each = if hits == 0 { 0.0 } else { (file.end - file.start).max(0.0) / hits as f64 };
        for (at, node) in file.nodes.0.iter().enumerate() {
            add(at, i64::try_from(node.hits).unwrap_or(i64::MAX), nanos(node.hits as f64 * each));
        }
        return Ok(weights);
    }
    if !deltas.is_empty() && deltas.len() != samples.len() {
        let fault = format_args!("it has {} samples and {} timeDeltas", samples.len(), deltas.len());
        return Err(Error::malformed("cpuprofile", fault, WRITER));
    }
    // A sample lasts until the next one, the last until the end. V8 writes some samples late, at a negative
    // distance from the one before: time up to the latest moment so far has been counted.
    let whole = file.end - file.start;
    let mut elapsed = deltas.first().copied().unwrap_or_default();
    let mut latest = elapsed;
    for (at, id) in samples.iter().enumerate() {
        let lasted = match deltas.get(at + 1) {
            Some(delta) => {
                elapsed += delta;
                elapsed - latest
            }
            None if deltas.is_empty() => whole.max(0.0) / samples.len() as f64,
            None => whole - latest,
        };
        latest = latest.max(elapsed);
        add(tree.position(*id)?, 1, nanos(lasted.max(0.0)));
    }
    if samples.len() > MAX_SAMPLES {
        return Err(Error::too_large("cpuprofile", "it has too many samples", SMALLER));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, folded};
    use serde_json::json;

    fn file() -> serde_json::Value {
        let frame = |name: &str, url: &str, line: i64| json!({"functionName": name, "scriptId": "1", "url": url, "lineNumber": line, "columnNumber": 3});
        json!({
            "nodes": [
                {"id": 1, "callFrame": frame("(root)", "", -1), "hitCount": 0, "children": [2, 4]},
                {"id": 2, "callFrame": frame("main", "file:///app.js", 6), "hitCount": 1, "children": [3]},
                {"id": 3, "callFrame": frame("", "file:///app.js", 9), "hitCount": 2},
                {"id": 4, "callFrame": frame("(idle)", "", -1), "hitCount": 1},
            ],
            "startTime": 1000, "endTime": 1100,
            "samples": [2, 3, 3, 4], "timeDeltas": [5, 10, 20, 30],
        })
    }

    fn read_json(file: &serde_json::Value) -> Result<Part, Error> {
        read(file.to_string().as_bytes(), &Limits::default())
            .map(|parts| parts.parts.into_iter().next().unwrap())
    }

    #[test]
    fn samples_last_until_the_next() {
        let part = read_json(&file()).unwrap();
        assert_eq!(folded::write(&part.profile, 0), "(idle) 1\nmain 1\nmain;(anonymous) 2\n");
        assert_eq!(folded::write(&part.profile, 1), "(idle) 35000\nmain 10000\nmain;(anonymous) 50000\n");
        let frame = part.profile.frames(0).next().unwrap();
        assert_eq!((part.profile.symbols.strings.get(frame.file), frame.line), ("file:///app.js", 7));
    }

    #[test]
    fn samples_that_come_late_add_no_time() {
        let mut file = file();
        file["timeDeltas"] = json!([5, 60, -50, 55]);
        // At 5, 65, 15 and 70, until 100.
        let part = read_json(&file).unwrap();
        assert_eq!(folded::write(&part.profile, 1), "(idle) 30000\nmain 60000\nmain;(anonymous) 5000\n");
        assert_eq!(part.profile.totals(), [4, 95_000]);
    }

    #[test]
    fn hits_alone_share_the_time() {
        let mut file = file();
        file.as_object_mut().unwrap().retain(|key, _| key != "samples" && key != "timeDeltas");
        let part = read_json(&file).unwrap();
        assert_eq!(part.profile.totals(), [4, 100_000]);
    }

    #[test]
    fn faults_are_refused() {
        let change = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut file = file();
            change(&mut file);
            read_json(&file).unwrap_err()
        };
        assert!(
            change(&|file| file["samples"][0] = json!(9))
                .to_string()
                .contains("node 9 is referred to and missing")
        );
        assert!(
            change(&|file| file["timeDeltas"] = json!([1]))
                .to_string()
                .contains("4 samples and 1 timeDeltas")
        );
        assert!(change(&|file| file["nodes"][2]["children"] = json!([2])).to_string().contains("circle"));
        assert_eq!(change(&|file| file["nodes"] = json!(7)).kind(), ErrorKind::Malformed);
    }

    #[test]
    fn deep_trees_keep_their_root_side_and_take_no_time() {
        let nodes: Vec<_> = (1..=60_000)
            .map(|id| json!({"id": id, "callFrame": {"functionName": format!("f{}", id % 10)}, "children": if id < 60_000 { vec![id + 1] } else { vec![] }, "hitCount": 1}))
            .collect();
        let file = json!({"nodes": nodes, "startTime": 0, "endTime": 60_000}).to_string();
        let limits = Limits { depth: 3, ..Limits::default() };
        let parts = read(file.as_bytes(), &limits).unwrap();
        assert_eq!(folded::write(&parts.parts[0].profile, 0), "f1 1\nf1;f2 1\nf1;f2;f3 59998\n");
        assert_eq!(parts.cuts.stacks, 59_997);
    }
}
