//! What is known of addresses, build by build: in memory within a bound, and on disk beside the debug files.
//!
//! A table holds for one state of a build's files. Another file, and it begins anew. On disk it is a file of
//! lines of JSON: the first says of which files it is, each other one has a place and its calls; new ones are
//! added at the end, and what a crash left of a line is passed over.

use crate::build_id::BuildId;
use crate::call::Call;
use crate::place::Place;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

/// Bytes of all tables in memory.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Bytes of one table on disk; a larger one begins anew.
const MAX_FILE: u64 = 64 << 20;
/// The layout of the file.
const VERSION: u32 = 1;
/// Name of the file in the folder of a build.
const FILE: &str = "names.jsonl";

/// The calls at a place; none when the files do not know it.
pub(crate) type Calls = Arc<[Call]>;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    files: String,
}

/// What the files of one build say.
#[derive(Default)]
struct Table {
    files: String,
    calls: HashMap<Place, Calls>,
    bytes: usize,
}

/// The tables that are in memory.
#[derive(Default)]
pub(crate) struct Tables {
    tables: HashMap<BuildId, Table>,
    bytes: usize,
}

impl Tables {
    /// What is known of `place`, when the table is that of `files`.
    pub(crate) fn get(&self, build: &BuildId, files: &str, place: Place) -> Option<Calls> {
        self.tables.get(build).filter(|table| table.files == files)?.calls.get(&place).cloned()
    }

    /// Whether there is a table for these files of a build.
    pub(crate) fn has(&self, build: &BuildId, files: &str) -> bool {
        self.tables.get(build).is_some_and(|table| table.files == files)
    }

    /// Adds what the files of a build say.
    pub(crate) fn add(
        &mut self,
        build: &BuildId,
        files: &str,
        answers: impl IntoIterator<Item = (Place, Calls)>,
    ) {
        let mut table = self.tables.remove(build).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(table.bytes);
        if table.files != files {
            table = Table { files: files.to_owned(), ..Table::default() };
        }
        for (place, calls) in answers {
            let bytes = size_of::<(Place, Calls)>() * 2 + calls.iter().map(Call::bytes).sum::<usize>();
            if table.calls.insert(place, calls).is_none() {
                table.bytes += bytes;
            }
        }
        self.bytes += table.bytes;
        if self.bytes > MAX_BYTES {
            // What is asked for again comes from the disk.
            self.tables.clear();
            self.bytes = table.bytes;
        }
        self.tables.insert(build.clone(), table);
    }

    /// Forgets what is known of a build.
    pub(crate) fn forget(&mut self, build: &BuildId) {
        if let Some(table) = self.tables.remove(build) {
            self.bytes = self.bytes.saturating_sub(table.bytes);
        }
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What the folder of a build has for `files`.
pub(crate) fn load(folder: &Path, files: &str) -> Vec<(Place, Calls)> {
    let Ok(file) = File::open(folder.join(FILE)) else { return Vec::new() };
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    let header = lines.next().and_then(|line| serde_json::from_str::<Header>(&line).ok());
    if !header.is_some_and(|header| header.version == VERSION && header.files == files) {
        return Vec::new();
    }
    let answers = lines.filter_map(|line| serde_json::from_str::<(Place, Vec<Call>)>(&line).ok());
    answers.map(|(place, calls)| (place, calls.into())).collect()
}

/// Adds answers to the table in the folder of a build.
pub(crate) fn save(folder: &Path, files: &str, answers: &[(Place, Calls)]) -> std::io::Result<()> {
    let path = folder.join(FILE);
    let mut lines = Vec::new();
    for (place, calls) in answers {
        serde_json::to_writer(&mut lines, &(place, &**calls))?;
        lines.push(b'\n');
    }
    let has_header = || {
        let file = File::open(&path).ok()?;
        let mut line = String::new();
        let small = file.metadata().ok()?.len() < MAX_FILE;
        BufReader::new(file).read_line(&mut line).ok()?;
        let header: Header = serde_json::from_str(&line).ok()?;
        (small && header.version == VERSION && header.files == files).then_some(())
    };
    if has_header().is_some() {
        // A line of its own, whatever a crash left before.
        return File::options().append(true).open(&path)?.write_all(&[b"\n", &*lines].concat());
    }
    let mut content = serde_json::to_vec(&Header { version: VERSION, files: files.to_owned() })?;
    content.push(b'\n');
    content.extend(lines);
    let unfinished = path.with_extension("jsonl.unfinished");
    fs::write(&unfinished, content)?;
    fs::rename(&unfinished, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(name: &str) -> Calls {
        vec![Call { function: name.to_owned(), ..Call::default() }].into()
    }

    #[test]
    fn tables_are_of_one_state_of_the_files() {
        let build = BuildId::parse("abcd").unwrap();
        let place = Place::Virtual(1);
        let mut tables = Tables::default();
        tables.add(&build, "first", [(place, calls("a"))]);
        assert_eq!(tables.get(&build, "first", place), Some(calls("a")));
        assert_eq!(tables.get(&build, "second", place), None);
        tables.add(&build, "second", [(Place::Virtual(2), calls("b"))]);
        assert_eq!(tables.get(&build, "second", place), None);
        assert!(tables.bytes() > 0);
        tables.forget(&build);
        assert_eq!(tables.bytes(), 0);
    }

    #[test]
    fn tables_come_back_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ((Place::Virtual(1), calls("a")), (Place::Mapped(2, 3), Calls::from(Vec::new())));
        save(folder.path(), "first", std::slice::from_ref(&one)).unwrap();
        // What a crash leaves.
        let path = folder.path().join(FILE);
        File::options().append(true).open(&path).unwrap().write_all(b"[{\"Vir").unwrap();
        save(folder.path(), "first", std::slice::from_ref(&two)).unwrap();
        assert_eq!(load(folder.path(), "first"), [one, two.clone()]);
        assert!(load(folder.path(), "second").is_empty());
        save(folder.path(), "second", std::slice::from_ref(&two)).unwrap();
        assert_eq!(load(folder.path(), "second"), [two]);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"version\":1,\"files\":\"second\"}\n[{\"Mapped\":[2,3]},[]]\n");
    }
}
