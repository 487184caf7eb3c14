//! `.cpuprofile` of V8 (Node.js, Chrome): a call tree, and which node was running at each sample.
//! <https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile>

use crate::assembly::{Assembly, SMALLER};
use crate::list::{self, List, Text};
use crate::{Error, Limits, Part, Parts, gzip, json_text};
use everflame_profile::{Frame, FrameKind, Profile, ValueType};
use hashbrown::HashMap;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;

const WRITER: &str = "export the profile again, or repair the program that writes it";
const WHOLE: &str = "send the whole file, as V8 or the developer tools write it";

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    nodes: Option<List<Node<'a>, MAX_NODES>>,
    /// The tree instead of nodes, as V8 wrote it up to Node.js 10, and some modules still do. Times are seconds
    /// then.
    #[serde(borrow)]
    head: Option<OldNode<'a>>,
    #[serde(rename = "startTime", default)]
    start: f64,
    #[serde(rename = "endTime", default)]
    end: f64,
    #[serde(default)]
    samples: List<u64, MAX_SAMPLES>,
    #[serde(rename = "timeDeltas", default)]
    deltas: List<f64, MAX_SAMPLES>,
    /// Microseconds at which samples were taken, beside `head`.
    #[serde(default)]
    timestamps: List<f64, MAX_SAMPLES>,
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
    #[serde(default, borrow, deserialize_with = "list::or_default")]
    url: Text<'a>,
    /// From 0; -1 when unknown.
    #[serde(default)]
    line_number: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OldNode<'a> {
    #[serde(deserialize_with = "counted_id")]
    id: u64,
    #[serde(borrow)]
    function_name: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "list::or_default")]
    url: Text<'a>,
    /// From 1.
    #[serde(default)]
    line_number: Option<f64>,
    #[serde(default)]
    hit_count: u64,
    /// The parser stops at 128 levels, of which each call takes two.
    #[serde(default, borrow)]
    children: List<OldNode<'a>, MAX_NODES>,
}

/// Counts the node that an old one becomes, too, and the room for it in a list that grows.
fn counted_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    list::count::<D::Error>(2 * size_of::<Node<'_>>())?;
    u64::deserialize(deserializer)
}

/// A file of the one form or the other.
struct Recorded<'a> {
    nodes: Vec<Node<'a>>,
    /// Microseconds.
    start: f64,
    end: f64,
    samples: Vec<u64>,
    /// Microseconds from each sample to the one before it.
    deltas: Vec<f64>,
}

impl<'a> Recorded<'a> {
    fn of(file: File<'a>) -> Result<Self, Error> {
        let File { nodes, head, start, end, samples, deltas, timestamps } = file;
        let samples = samples.0;
        match (nodes, head) {
            (Some(nodes), _) => Ok(Self { nodes: nodes.0, start, end, samples, deltas: deltas.0 }),
            (None, Some(head)) => {
                let nodes = flat(head);
                let (mut start, mut end) = (start * 1e6, end * 1e6);
                // One more than samples is the end. What was written as whole seconds is no use as such.
                let moments = &timestamps.0;
                if let (Some(&first), Some(&last)) = (moments.first(), moments.last()) {
                    (start, end) = (first, end.max(last));
                }
                let steps = moments.windows(2).map(|pair| if let [a, b] = pair { b - a } else { 0.0 });
                let from_start = moments.first().map(|_| 0.0);
                let deltas = from_start.into_iter().chain(steps).take(samples.len()).collect();
                Ok(Self { nodes, start, end, samples, deltas })
            }
            (None, None) => Err(Error::malformed("cpuprofile", "it has no nodes", WHOLE)),
        }
    }
}

/// The nodes of an old tree.
fn flat(head: OldNode<'_>) -> Vec<Node<'_>> {
    let (mut nodes, mut pending) = (Vec::new(), vec![head]);
    while let Some(node) = pending.pop() {
        let OldNode { id, function_name, url, line_number, hit_count, children } = node;
        let line_number = line_number.map(|line| line - 1.0);
        nodes.push(Node {
            id,
            frame: CallFrame { function_name, url, line_number },
            hits: hit_count,
            children: List(children.0.iter().map(|child| child.id).collect()),
            parent: None,
        });
        pending.extend(children.0);
    }
    nodes
}

/// Name of the node above all.
const ROOT: &str = "(root)";

/// Reads a profile, gzip or plain: samples, and the wall-clock time from each to the next.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    json_text::read(&body, |body| read_json(body, limits))
}

fn read_json(body: &[u8], limits: &Limits) -> Result<Parts, Error> {
    let file: File<'_> =
        list::from_json(body).map_err(|error| Error::malformed("cpuprofile", error, WHOLE))?;
    let file = Recorded::of(file)?;
    let mut assembly = Assembly::new(limits);
    let tree = Tree::of(&file, &mut assembly)?;
    let weights = weights(&file, &tree)?;
    let mut stack = Vec::new();
    let leaves = tree.leaves(limits.depth)?;
    for (at, (&[count, nanos], node)) in weights.iter().zip(&file.nodes).enumerate() {
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
    fn of(file: &Recorded<'_>, assembly: &mut Assembly<'_>) -> Result<Self, Error> {
        let nodes = &file.nodes;
        let mut tree = Self {
            positions: nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect(),
            callers: vec![0; nodes.len()],
            locations: Vec::with_capacity(nodes.len()),
            is_root: nodes.iter().map(|node| node.frame.function_name == ROOT).collect(),
        };
        for (at, node) in nodes.iter().enumerate() {
            let CallFrame { function_name, url, line_number } = &node.frame;
            let name = if function_name.is_empty() { "(anonymous)" } else { function_name };
            let (function, file) = (assembly.string(name), assembly.string(&url.0));
            let line = line_number.map_or(0, |line| (line as i64).saturating_add(1).max(0));
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
fn weights(file: &Recorded<'_>, tree: &Tree) -> Result<Vec<[i64; 2]>, Error> {
    let mut weights = vec![[0i64; 2]; file.nodes.len()];
    let (samples, deltas) = (&file.samples, &file.deltas);
    let mut add = |at: usize, count: i64, nanos: i64| {
        if let Some([samples, time]) = weights.get_mut(at) {
            (*samples, *time) = (samples.saturating_add(count), time.saturating_add(nanos));
        }
    };
    if samples.is_empty() {
        // Old files count hits alone.
        let hits: u64 = file.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.hits));
        let each = if hits == 0 { 0.0 } else { (file.end - file.start).max(0.0) / hits as f64 };
        for (at, node) in file.nodes.iter().enumerate() {
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
    use crate::{ErrorKind, Format, folded};
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
    fn old_files_have_a_tree() {
        let node = |id: u64, name: &str, line: u64, hits: u64, children: serde_json::Value| {
            json!({"functionName": name, "url": "a.js", "lineNumber": line, "callUID": id, "bailoutReason": "",
                   "id": id, "scriptId": 0, "hitCount": hits, "children": children})
        };
        let tree =
            node(1, "(root)", 0, 0, json!([node(2, "main", 7, 1, json!([node(3, "", 9, 2, json!([]))]))]));
        let whole = json!({"typeId": "CPU", "uid": "1", "title": "t", "head": tree, "startTime": 2, "endTime": 2,
                           "samples": [2, 3, 3], "timestamps": [2_000_010, 2_000_020, 2_000_050, 2_000_055]});
        let part = read_json(&whole).unwrap();
        assert_eq!(folded::write(&part.profile, 1), "main 10000\nmain;(anonymous) 35000\n");
        assert_eq!(part.profile.duration, 45_000);
        let lines: Vec<_> = part.profile.frames(0).map(|frame| frame.line).collect();
        assert_eq!(lines, [7]);
        let hits = json!({"head": whole["head"], "startTime": 1.5, "endTime": 1.8});
        assert_eq!(read_json(&hits).unwrap().profile.totals(), [3, 300_000_000]);
        assert_eq!(
            Format::detect(whole.to_string().as_bytes(), &Limits::default()),
            Some(Format::CpuProfile)
        );
        let heap = json!({"head": {"callFrame": {"functionName": "a"}, "selfSize": 5, "children": []}});
        assert_eq!(Format::detect(heap.to_string().as_bytes(), &Limits::default()), None);
    }

    #[test]
    fn members_may_be_odd() {
        let mut file = file();
        let main = &mut file["nodes"][1]["callFrame"];
        (main["url"], main["lineNumber"]) = (json!(null), json!(6.0));
        file["nodes"][3]["callFrame"]["lineNumber"] = json!(null);
        let text = file.to_string().replace("main", "m\\ud800in");
        let text = format!("\u{feff}{text}");
        let part = read(text.as_bytes(), &Limits::default()).unwrap().parts.remove(0);
        assert_eq!(folded::write(&part.profile, 0), "(idle) 1\nm\u{fffd}in 1\nm\u{fffd}in;(anonymous) 2\n");
        let symbols = &part.profile.symbols;
        let line = |name| symbols.frames.iter().find(|frame| symbols.name(frame) == name).unwrap().line;
        assert_eq!((line("m\u{fffd}in"), line("(idle)")), (7, 0));
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
        assert!(change(&|file| file["nodes"] = json!(null)).to_string().contains("no nodes"));
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
