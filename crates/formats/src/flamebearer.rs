//! Pyroscope's flame graphs as JSON: bars of four numbers (offset from the end of the bar before, total, self,
//! index of the name), level by level from the root on.

use crate::list::{self, List, Text};
use crate::{Error, Limits, gzip, json_text};
use everflame_profile::{StringIndex, Tree};
use serde::Deserialize;
use std::borrow::Cow;

const WRITER: &str = "save the flame graph again, or repair the program that writes it";
/// Levels of a flame graph, bars of one level, and names.
/// What a bar costs besides its stack.
const ENTRIES_OF_BAR: usize = 10;
const MAX_LEVELS: usize = 4_096;
const MAX_NUMBERS: usize = 4 << 20;
const MAX_NAMES: usize = 1 << 20;

/// A flame graph of one side.
#[derive(Debug)]
pub struct Flamebearer {
    /// What was measured, as in `cpu`.
    pub name: String,
    /// What the numbers are, as Pyroscope says it: `samples`, `objects`, `bytes`, …
    pub units: String,
    /// How many of them make a second, for units of time.
    pub sample_rate: u64,
    /// The calls.
    pub tree: Tree,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    flamebearer: Graph<'a>,
    #[serde(default, borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
struct Graph<'a> {
    #[serde(borrow)]
    names: List<Text<'a>, MAX_NAMES>,
    levels: List<List<i64, MAX_NUMBERS>, MAX_LEVELS>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(default, borrow)]
    format: Cow<'a, str>,
    #[serde(default, borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    units: Cow<'a, str>,
    #[serde(default)]
    sample_rate: u64,
}

/// Whether `bytes`, gzip or plain, seem to be such a flame graph.
pub fn looks_like(bytes: &[u8], limits: &Limits) -> bool {
    let Ok(body) = gzip::inflate_if_gzip(bytes, limits) else { return false };
    let has = |text: &str| memchr::memmem::find(&body, text.as_bytes()).is_some();
    json_text::without_mark(&body).trim_ascii_start().first() == Some(&b'{')
        && has("\"flamebearer\"")
        && has("\"levels\"")
}

/// Reads a flame graph, gzip or plain.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Flamebearer, Error> {
    let body = gzip::inflate_if_gzip(bytes, limits)?;
    json_text::read(&body, |body| read_json(body, limits))
}

fn read_json(body: &[u8], limits: &Limits) -> Result<Flamebearer, Error> {
    let File { flamebearer, metadata } = list::from_json(body).map_err(|error| {
        Error::malformed(format_args!("flamebearer: line {}", error.line()), error, WRITER)
    })?;
    if metadata.format == "double" {
        let remedy = "save the two flame graphs one by one";
        return Err(Error::malformed("flamebearer: metadata.format", "it is a comparison of two", remedy));
    }
    let mut tree = Tree::default();
    let names: Vec<StringIndex> = flamebearer.names.0.iter().map(|name| tree.intern(&name.0)).collect();
    // Bars of the level above: where they begin and end, and where their stack ends in `stacks`.
    let mut above: Vec<(i64, i64, Vec<StringIndex>)> = Vec::new();
    let mut entries = 0usize;
    for (depth, level) in flamebearer.levels.0.iter().enumerate() {
        let fault = |what: String| Error::malformed(format_args!("flamebearer: level {depth}"), what, WRITER);
        if level.0.len() % 4 != 0 {
            return Err(fault(format!("it has {} numbers, which are no fours", level.0.len())));
        }
        let (mut here, mut end, mut parent) = (Vec::with_capacity(level.0.len() / 4), 0i64, 0);
        for bar in level.0.chunks_exact(4) {
            let &[offset, total, own, name] = bar else { continue };
            if offset < 0 || total < 0 || own < 0 {
                return Err(fault(format!("a bar has the numbers {bar:?}, which are not all above zero")));
            }
            let name = usize::try_from(name).ok().and_then(|name| names.get(name));
            let name =
                *name.ok_or_else(|| fault(format!("a bar has the name {bar:?}, which is not there")))?;
            let start = end.saturating_add(offset);
            end = start.saturating_add(total);
            let mut stack = Vec::new();
            if depth > 0 {
                while above.get(parent).is_some_and(|(_, until, _)| *until <= start)
                    && parent + 1 < above.len()
                {
                    parent += 1;
                }
                let Some((from, until, calls)) = above.get(parent) else {
                    return Err(fault("there is no level above it".to_owned()));
                };
                if start < *from || end > *until {
                    return Err(fault(format!("the bar from {start} to {end} has none above it")));
                }
                stack.reserve_exact(calls.len() + 1);
                stack.extend_from_slice(calls);
                stack.push(name);
            }
            entries += stack.len() + ENTRIES_OF_BAR;
            if entries > limits.entries {
                let fault = format!("there are more than {} frames of stacks", limits.entries);
                return Err(Error::too_large("flamebearer", fault, "save a smaller flame graph"));
            }
            if own > 0 {
                tree.insert(stack.iter().copied(), own);
            }
            here.push((start, end, stack));
        }
        above = here;
    }
    Ok(Flamebearer {
        name: metadata.name.into_owned(),
        units: metadata.units.into_owned(),
        sample_rate: metadata.sample_rate,
        tree,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_profile::FlameGraph;
    use proptest::prelude::*;

    fn json(graph: &FlameGraph) -> String {
        serde_json::json!({
            "version": 1,
            "flamebearer": {"names": graph.names, "levels": graph.levels, "numTicks": graph.total, "maxSelf": graph.max_self},
            "metadata": {"format": "single", "name": "cpu", "units": "samples", "sampleRate": 1_000_000_000},
        })
        .to_string()
    }

    proptest! {
        /// What the server answers can be read again.
        #[test]
        fn trees_come_back(stacks in prop::collection::vec((prop::collection::vec(0u32..4, 1..6), 1i64..9), 0..30)) {
            let mut tree = Tree::default();
            for (stack, value) in stacks {
                let stack: Vec<_> = stack.iter().map(|name| tree.intern(&format!("f{name}"))).collect();
                tree.insert(stack, value);
            }
            let read = read(json(&FlameGraph::new(&tree)).as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(read.tree.outline(), tree.outline());
        }

        #[test]
        fn nonsense_is_refused(numbers in prop::collection::vec(any::<i64>(), 0..20)) {
            let graph = FlameGraph { names: vec!["a".to_owned()], levels: vec![vec![0, 9, 0, 0], numbers], total: 9, max_self: 9 };
            let _ = read(json(&graph).as_bytes(), &Limits::default());
        }
    }

    #[test]
    fn faults_say_where() {
        for (levels, expect) in [
            ("[[0,9,0]]", "level 0: it has 3 numbers"),
            ("[[0,9,0,7]]", "level 0: a bar has the name"),
            ("[[0,9,0,0],[5,9,9,0]]", "level 1: the bar from 5 to 14 has none above it"),
            ("[[0,-9,0,0]]", "level 0: a bar has the numbers"),
            ("7", "line 1"),
        ] {
            let file = format!(r#"{{"flamebearer":{{"names":["a"],"levels":{levels}}}}}"#);
            assert!(looks_like(file.as_bytes(), &Limits::default()));
            let fault = read(file.as_bytes(), &Limits::default()).unwrap_err().to_string();
            assert!(fault.contains(expect), "{fault}");
        }
    }
}
