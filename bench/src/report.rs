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

/// The project's targets by row. A row that is missing here has none.
const MARKS: [(&str, Mark); 17] = [
    ("start_empty_seconds", Mark::AtMost(0.25)),
    ("start_replay_seconds", Mark::AtMost(1.0)),
    ("ingest_rate", Mark::AtLeast(2500.0)),
    ("cpu_ms_per_profile", Mark::AtMost(0.5)),
    ("peak_mb", Mark::AtMost(300.0)),
    ("ack_p50_ms", Mark::AtMost(60.0)),
    ("ack_p99_ms", Mark::AtMost(150.0)),
    ("ack_few_p50_ms", Mark::AtMost(3.0)),
    ("ack_few_p99_ms", Mark::AtMost(15.0)),
    ("disk_mb", Mark::AtMost(50.0)),
    ("flame_graph_service_1h", Mark::AtMost(8.0)),
    ("flame_graph_service_6h", Mark::AtMost(15.0)),
    ("flame_graph_all_1h", Mark::AtMost(20.0)),
    ("flame_graph_all_6h", Mark::AtMost(60.0)),
    ("timeline_pods_6h", Mark::AtMost(30.0)),
    ("pprof_service_6h", Mark::AtMost(30.0)),
    // Before compaction.
    ("samples_bytes_per_row", Mark::AtMost(5.0)),
];

impl Mark {
    fn of(key: &str) -> Self {
        MARKS.iter().find(|(name, _)| *name == key).map_or(Self::Open, |(_, mark)| *mark)
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
    key: &'static str,
    title: String,
    value: f64,
    unit: &'static str,
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
        key: &'static str,
        title: impl Into<String>,
        value: f64,
        unit: &'static str,
        note: impl Into<String>,
    ) {
        self.rows.push(Row { key, title: title.into(), value, unit, note: note.into() });
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
            let mark = Mark::of(row.key);
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
                    "reached": Mark::of(row.key).reached(row.value),
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
        assert!(report.is_right());
        report.wrong(&anyhow::anyhow!("7 is not 8").context("services"));
        let table = report.table();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].contains("≥ 2500 /s") && lines[1].contains("reached"), "{table}");
        assert!(lines[2].contains("MISSED"), "{table}");
        assert_eq!(lines[5], "WRONG: services: 7 is not 8");
        assert!(!report.is_right());
        assert_eq!(lines[6], "1 of 2 targets reached");
    }

    #[test]
    fn the_file_holds_rows_and_facts() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        report.row("disk_mb", "on disk", 40.0, "MB", "");
        report.fact("profiles", 57_600);
        let path = report.write(folder.path(), "2026-01-01").unwrap();
        let read: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(read["rows"][0]["reached"], true);
        assert_eq!(read["facts"]["profiles"], 57_600);
    }
}
