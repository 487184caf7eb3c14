//! The table and the JSON file, and the project's targets beside what was measured.

use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// What a row must reach: the project's own targets, for the load of 57,600 profiles on two cores.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mark {
    AtMost(f64),
    AtLeast(f64),
    /// Measured, without a target.
    Open,
}

/// A first touch may cost so many times what the same question costs warm.
const COLD_TIMES: f64 = 5.0;

/// Below this many milliseconds a first touch is fast enough, whatever it is warm: a new process alone
/// takes a part of it.
const COLD_FLOOR_MS: f64 = 2.0;

/// The project's targets by row. A row that is missing here has none.
const MARKS: [(&str, Mark); 20] = [
    ("start_empty_seconds", Mark::AtMost(0.25)),
    ("start_replay_seconds", Mark::AtMost(1.0)),
    ("ingest_rate", Mark::AtLeast(2500.0)),
    ("cpu_ms_per_profile", Mark::AtMost(0.5)),
    ("peak_mb", Mark::AtMost(300.0)),
    ("ack_p50_ms", Mark::AtMost(60.0)),
    ("ack_p99_ms", Mark::AtMost(150.0)),
    ("ack_few_p50_ms", Mark::AtMost(3.0)),
    ("ack_few_p99_ms", Mark::AtMost(15.0)),
    ("query_peak_mb", Mark::AtMost(300.0)),
    ("disk_compacted_mb", Mark::AtMost(50.0)),
    ("flame_graph_service_1h", Mark::AtMost(8.0)),
    ("flame_graph_service_6h", Mark::AtMost(15.0)),
    ("flame_graph_all_1h", Mark::AtMost(20.0)),
    ("flame_graph_all_6h", Mark::AtMost(60.0)),
    ("timeline_pods_6h", Mark::AtMost(30.0)),
    ("pprof_service_6h", Mark::AtMost(30.0)),
    ("year_flame_graph_300d", Mark::AtMost(50.0)),
    ("year_timeline_300d", Mark::AtMost(30.0)),
    // Before compaction.
    ("samples_bytes_per_row", Mark::AtMost(5.0)),
];

impl Mark {
    /// The target of row `key`.
    pub(crate) fn of(key: &str) -> Self {
        MARKS.iter().find(|(name, _)| *name == key).map_or(Self::Open, |(_, mark)| *mark)
    }

    /// The target of a first touch of what takes `warm` milliseconds otherwise.
    pub(crate) fn first_touch(warm: f64) -> Self {
        Self::AtMost((COLD_TIMES * warm).max(COLD_FLOOR_MS))
    }

    fn reached(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(limit) => Some(value <= limit),
            Self::AtLeast(limit) => Some(value >= limit),
            Self::Open => None,
        }
    }
}

#[derive(Debug)]
struct Row {
    key: String,
    title: String,
    value: f64,
    unit: &'static str,
    mark: Mark,
    note: String,
}

/// What was measured, in the order of the table.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    wrong: Vec<String>,
    facts: Map<String, Value>,
}

impl Report {
    /// Adds a row; `key` finds its target and names it in the JSON file.
    pub(crate) fn row(
        &mut self,
        key: &str,
        title: impl Into<String>,
        value: f64,
        unit: &'static str,
        note: impl Into<String>,
    ) {
        self.marked_row(key, title, value, unit, Mark::of(key), note);
    }

    /// Adds a row whose target follows from another row.
    pub(crate) fn marked_row(
        &mut self,
        key: &str,
        title: impl Into<String>,
        value: f64,
        unit: &'static str,
        mark: Mark,
        note: impl Into<String>,
    ) {
        let row = Row { key: key.to_owned(), title: title.into(), value, unit, mark, note: note.into() };
        self.rows.push(row);
    }

    /// What was measured under `key`.
    pub(crate) fn value(&self, key: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.key == key).map(|row| row.value)
    }

    /// Notes an answer that was wrong.
    pub(crate) fn wrong(&mut self, error: &anyhow::Error) {
        self.wrong.push(format!("{error:#}"));
    }

    /// Whether every answer was right.
    pub(crate) fn is_right(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Adds something for the JSON file alone.
    pub(crate) fn fact(&mut self, key: &str, value: impl Into<Value>) {
        self.facts.insert(key.to_owned(), value.into());
    }

    /// The table, with a closing line about the targets.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![[
            "".to_owned(),
            "measured".to_owned(),
            "must reach".to_owned(),
            "".to_owned(),
            "".to_owned(),
        ]];
        let (mut reached, mut marked) = (0, 0);
        for row in &self.rows {
            let mark = row.mark;
            let verdict = mark.reached(row.value);
            marked += usize::from(verdict.is_some());
            reached += usize::from(verdict == Some(true));
            let target = match mark {
                Mark::AtMost(limit) => format!("≤ {} {}", figure(limit), row.unit),
                Mark::AtLeast(limit) => format!("≥ {} {}", figure(limit), row.unit),
                Mark::Open => String::new(),
            };
            let verdict = verdict.map_or("", |reached| if reached { "reached" } else { "MISSED" });
            lines.push([
                row.title.clone(),
                format!("{} {}", figure(row.value), row.unit),
                target,
                verdict.to_owned(),
                row.note.clone(),
            ]);
        }
        let mut widths = [0; 5];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut table = String::new();
        for line in &lines {
            let cells: Vec<String> =
                line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            table.push_str(cells.join("  ").trim_end());
            table.push('\n');
        }
        for wrong in &self.wrong {
            table.push_str(&format!("\nWRONG: {wrong}"));
        }
        table.push_str(&format!("\n{reached} of {marked} targets reached\n"));
        table
    }

    /// Writes the JSON file into `folder` and says where.
    pub(crate) fn write(&self, folder: &Path, date: &str) -> Result<PathBuf> {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "key": row.key,
                    "title": row.title,
                    "value": row.value,
                    "unit": row.unit,
                    "reached": row.mark.reached(row.value),
                    "note": row.note,
                })
            })
            .collect();
        let report = json!({ "date": date, "rows": rows, "wrong": self.wrong, "facts": self.facts });
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{date}.json"));
        fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
        Ok(path)
    }
}

/// Three significant digits, without an exponent.
pub(crate) fn figure(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        _ if value == value.trunc() => 0,
        _ if magnitude >= 100.0 => 0,
        _ if magnitude >= 10.0 => 1,
        _ if magnitude >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let found = [0.1234, 1.0, 2.3456, 23.456, 2345.6, 0.0].map(figure);
        assert_eq!(found, ["0.123", "1", "2.35", "23.5", "2346", "0"]);
    }

    #[test]
    fn a_missed_target_is_said() {
        let mut report = Report::default();
        report.row("ingest_rate", "ingest rate", 2600.4, "/s", "128 connections");
        report.row("peak_mb", "peak memory", 301.0, "MB", "");
        report.row("services", "services", 1.5, "ms", "");
        let twice = Mark::AtMost(2.0 * report.value("services").unwrap());
        report.marked_row("months", "months", 3.5, "ms", twice, "");
        assert!(report.is_right());
        report.wrong(&anyhow::anyhow!("7 is not 8").context("services"));
        let table = report.table();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].contains("≥ 2500 /s") && lines[1].contains("reached"), "{table}");
        assert!(lines[2].contains("MISSED"), "{table}");
        assert!(lines[4].contains("≤ 3 ms") && lines[4].contains("MISSED"), "{table}");
        assert_eq!(lines[6], "WRONG: services: 7 is not 8");
        assert!(!report.is_right());
        assert_eq!(lines[7], "1 of 3 targets reached");
    }

    #[test]
    fn the_file_holds_rows_and_facts() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        report.row("disk_compacted_mb", "on disk", 40.0, "MB", "");
        report.fact("profiles", 57_600);
        let path = report.write(folder.path(), "2026-01-01").unwrap();
        let read: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(read["rows"][0]["reached"], true);
        assert_eq!(read["facts"]["profiles"], 57_600);
    }
}
