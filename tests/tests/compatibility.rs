//! The table of `docs/compatibility.md`: its counts are true, and the tests that it names are there.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Parts of a hundred that must work.
const LEAST_WORKING: f64 = 95.0;

#[derive(Default)]
struct Counts {
    works: usize,
    differs: usize,
    not: usize,
}

#[test]
fn the_table_is_true() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/compatibility.md"))?;
    let mut counts = Counts::default();
    let mut faults = Vec::new();
    // Which column of the table says the state; no table where there is none.
    let mut state = None;
    for line in page.lines() {
        let Some(row) = line.strip_prefix("| ").and_then(|row| row.trim_end().strip_suffix('|')) else {
            if !line.starts_with('|') {
                state = None;
            }
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").map(str::trim).collect();
        let Some(column) = state else {
            state = cells.iter().position(|cell| *cell == "state");
            continue;
        };
        let cell = cells.get(column).with_context(|| line.to_owned())?;
        if cell.starts_with("---") {
            continue;
        }
        match cell.split(|c: char| !c.is_alphabetic()).next() {
            Some("works") => counts.works += 1,
            Some("differs") => counts.differs += 1,
            Some("not") => counts.not += 1,
            Some("more") => {}
            _ => faults.push(format!("a state that is none: {line}")),
        }
        let tests = cells.get(column + 1).copied().unwrap_or_default();
        if tests.is_empty() && !cell.starts_with("not") {
            faults.push(format!("no test: {line}"));
        }
        for test in tests.split(", ").map(|test| test.trim_matches('`')).filter(|test| !test.is_empty()) {
            if let Err(error) = find(&root, test) {
                faults.push(format!("{error:#}: {line}"));
            }
        }
    }
    let Counts { works, differs, not } = counts;
    let rows = works + differs + not;
    let part = 100.0 * works as f64 / rows.max(1) as f64;
    let sentence =
        format!("Of {rows} rows {works} work ({part:.1} %), {differs} differ on purpose, {not} are missing.");
    if !page.contains(&sentence) {
        faults.push(format!("docs/compatibility.md must say: {sentence}"));
    }
    if part < LEAST_WORKING {
        faults.push(format!("{part:.1} % work, {LEAST_WORKING} % must"));
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A test is a file of the project, or `file::function` in `tests/tests/`.
fn find(root: &Path, test: &str) -> Result<()> {
    let Some((file, function)) = test.split_once("::") else {
        ensure!(root.join(test).is_file(), "there is no file {test}");
        return Ok(());
    };
    let path = root.join(format!("tests/tests/{file}.rs"));
    let source = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(source.contains(&format!("fn {function}()")), "there is no test {test}");
    Ok(())
}
