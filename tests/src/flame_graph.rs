//! A flame graph as `SelectMergeStacktraces` answers it in JSON, and what tests ask of it.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The bars of one flame graph, as (name, total, self).
#[derive(Debug)]
pub struct FlameGraph {
    /// Sum of all samples.
    pub total: i64,
    bars: Vec<(String, i64, i64)>,
}

impl FlameGraph {
    /// Reads the answer of `querier.v1.QuerierService/SelectMergeStacktraces`.
    ///
    /// # Errors
    /// When a field is missing, of another type, or an index leads nowhere.
    pub fn from_json(answer: &Value) -> Result<Self> {
        let graph = answer.get("flamegraph").with_context(|| format!("no flamegraph in {answer}"))?;
        let names: Vec<&str> =
            graph["names"].as_array().context("names")?.iter().filter_map(Value::as_str).collect();
        let mut bars = Vec::new();
        for level in graph["levels"].as_array().context("levels")? {
            let values = level["values"]
                .as_array()
                .context("values")?
                .iter()
                .map(integer)
                .collect::<Result<Vec<i64>>>()?;
            let mut chunks = values.chunks_exact(4);
            for bar in chunks.by_ref() {
                let &[_offset, total, own, name] = bar else { bail!("a bar is not four numbers") };
                let name = usize::try_from(name)
                    .ok()
                    .and_then(|i| names.get(i))
                    .with_context(|| format!("name {name} of {}", names.len()))?;
                bars.push(((*name).to_owned(), total, own));
            }
            if !chunks.remainder().is_empty() {
                bail!("a level is not made of fours: {values:?}");
            }
        }
        let total = graph.get("total").map_or(Ok(0), integer)?;
        Ok(Self { total, bars })
    }

    /// The part (0 to 1) of the total that functions whose name contains `name` spent themselves.
    #[must_use]
    pub fn self_share(&self, name: &str) -> f64 {
        let own: i64 = self.bars.iter().filter(|(n, ..)| n.contains(name)).map(|(.., own)| own).sum();
        own as f64 / self.total.max(1) as f64
    }

    /// What the function `name` spent itself.
    #[must_use]
    pub fn own(&self, name: &str) -> i64 {
        self.bars.iter().filter(|(n, ..)| n == name).map(|(.., own)| own).sum()
    }

    /// What each function spent itself.
    #[must_use]
    pub fn own_by_name(&self) -> HashMap<String, i64> {
        let mut sums = HashMap::new();
        for (name, _, own) in &self.bars {
            *sums.entry(name.clone()).or_default() += own;
        }
        sums
    }

    /// The names with the most own weight, for messages of failing tests.
    #[must_use]
    pub fn heaviest(&self) -> Vec<(&str, i64)> {
        let mut heavy: Vec<(&str, i64)> = self.bars.iter().map(|(n, _, own)| (n.as_str(), *own)).collect();
        heavy.sort_by_key(|&(_, own)| std::cmp::Reverse(own));
        heavy.truncate(10);
        heavy
    }
}

/// 64-bit integers leave protobuf JSON as strings; readers take both.
fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::String(text) => text.parse().with_context(|| format!("{text:?} is no integer")),
        other => other.as_i64().with_context(|| format!("{other} is no integer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_integers_as_text_and_as_numbers() {
        let graph = FlameGraph::from_json(&serde_json::json!({"flamegraph": {
            "names": ["total", "a", "b"],
            "levels": [{"values": ["0", "10", "0", "0"]}, {"values": [0, 4, 4, 1, 0, 6, 6, 2]}],
            "total": "10",
        }}))
        .unwrap();
        assert_eq!(graph.total, 10);
        assert_eq!(graph.self_share("b"), 0.6);
        assert_eq!(graph.heaviest()[0], ("b", 6));
    }

    #[test]
    fn refuses_a_name_that_is_not_there() {
        let answer = serde_json::json!({"flamegraph": {
            "names": ["total"], "levels": [{"values": [0, 1, 1, 7]}], "total": 1}});
        assert!(FlameGraph::from_json(&answer).unwrap_err().to_string().contains("name 7"));
    }
}
