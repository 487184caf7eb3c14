//! What is known of addresses, build by build: in memory within a bound, and on disk beside the debug files. What
//! memory has no room for comes from the disk again.
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

/// Bytes of the tables that stay in memory; one that is larger stays until there is another.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Bytes of one table in memory, which are enough for one of [`MAX_FILE`]; a larger one does not stay at all.
const MAX_TABLE: usize = 512 << 20;
/// Bytes of one table on disk; what comes then is not kept.
const MAX_FILE: u64 = 128 << 20;
/// The layout of the file, and how well it was made: the names of an older version are looked up again.
const VERSION: u32 = 2;
/// Name of the file in the folder of a build.
const FILE: &str = "names.jsonl";

/// The calls at a place; none when the files do not know it.
pub(crate) type Calls = Arc<[Call]>;

/// How long an answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As long as the files are the same.
    Final,
    /// Until the debug information can be read.
    ForNow,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    files: String,
}

/// What the files of one build say.
#[derive(Default)]
struct Table {
    files: String,
    calls: HashMap<Place, (Calls, Standing)>,
    bytes: usize,
    /// The turn of its last use.
    used: u64,
}

/// The tables that are in memory.
#[derive(Default)]
pub(crate) struct Tables {
    tables: HashMap<BuildId, Table>,
    bytes: usize,
    /// Counts uses.
    turn: u64,
}

impl Tables {
    /// What is known of `place`, when the table is that of `files`.
    pub(crate) fn get(&self, build: &BuildId, files: &str, place: Place) -> Option<(Calls, Standing)> {
        self.tables.get(build).filter(|table| table.files == files)?.calls.get(&place).cloned()
    }

    /// Whether there is a table for these files of a build, which is used now.
    pub(crate) fn has(&mut self, build: &BuildId, files: &str) -> bool {
        self.turn += 1;
        let table = self.tables.get_mut(build).filter(|table| table.files == files);
        table.map(|table| table.used = self.turn).is_some()
    }

    /// Adds what the files of a build say. Other tables may go, the one of which the last use is longest ago first.
    pub(crate) fn add(
        &mut self,
        build: &BuildId,
        files: &str,
        answers: impl IntoIterator<Item = (Place, Calls)>,
        standing: Standing,
    ) {
        let mut table = self.tables.remove(build).unwrap_or_default();
        self.bytes = self.bytes.saturating_sub(table.bytes);
        if table.files != files {
            table = Table { files: files.to_owned(), ..Table::default() };
        }
        for (place, calls) in answers {
            table.bytes += bytes(&calls);
            if let Some((before, _)) = table.calls.insert(place, (calls, standing)) {
                table.bytes = table.bytes.saturating_sub(bytes(&before));
            }
        }
        while self.bytes > 0 && self.bytes.saturating_add(table.bytes) > MAX_BYTES {
            let Some(oldest) = self.tables.iter().min_by_key(|(_, table)| table.used) else { break };
            let oldest = oldest.0.clone();
            self.forget(&oldest);
        }
        if table.bytes <= MAX_TABLE {
            self.turn += 1;
            table.used = self.turn;
            self.bytes += table.bytes;
            self.tables.insert(build.clone(), table);
        }
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

/// Bytes that the calls at a place take in memory, about.
pub(crate) fn bytes(calls: &Calls) -> usize {
    size_of::<(Place, Calls)>() * 2 + calls.iter().map(Call::bytes).sum::<usize>()
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
    let length = || {
        let file = File::open(&path).ok()?;
        let mut line = String::new();
        let length = file.metadata().ok()?.len();
        BufReader::new(file).read_line(&mut line).ok()?;
        let header: Header = serde_json::from_str(&line).ok()?;
        (header.version == VERSION && header.files == files).then_some(length)
    };
    if let Some(length) = length() {
        if length.saturating_add(lines.len() as u64) > MAX_FILE {
            return Ok(());
        }
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
        tables.add(&build, "first", [(place, calls("stopgap"))], Standing::ForNow);
        assert_eq!(tables.get(&build, "first", place), Some((calls("stopgap"), Standing::ForNow)));
        let bytes = tables.bytes();
        tables.add(&build, "first", [(place, calls("another"))], Standing::Final);
        assert_eq!(tables.get(&build, "first", place), Some((calls("another"), Standing::Final)));
        assert_eq!(tables.bytes(), bytes);
        assert_eq!(tables.get(&build, "second", place), None);
        tables.add(&build, "second", [(Place::Virtual(2), calls("b"))], Standing::Final);
        assert_eq!(tables.get(&build, "second", place), None);
        assert!(tables.bytes() > 0);
        tables.forget(&build);
        assert_eq!(tables.bytes(), 0);
    }

    #[test]
    fn the_table_goes_that_was_not_used_for_longest() {
        let builds = ["aaa", "bbb", "ccc", "ddd"].map(|id| BuildId::parse(id).unwrap());
        let mut tables = Tables::default();
        let large = |bytes: usize| [(Place::Virtual(1), calls(&"x".repeat(bytes)))];
        let kept = |tables: &Tables| {
            let is_kept = |build: &&BuildId| tables.get(build, "files", Place::Virtual(1)).is_some();
            builds.iter().filter(is_kept).map(BuildId::as_str).collect::<Vec<_>>().join(" ")
        };
        for build in &builds[..3] {
            tables.add(build, "files", large(MAX_BYTES / 4), Standing::Final);
        }
        assert!(tables.has(&builds[0], "files") && !tables.has(&builds[0], "others"));
        tables.add(&builds[3], "files", large(MAX_BYTES / 2), Standing::Final);
        assert_eq!(kept(&tables), "aaa ddd");
        // One that is too large for all others stays while nobody else needs the room.
        tables.add(&builds[1], "files", large(MAX_BYTES + 1), Standing::Final);
        assert_eq!(kept(&tables), "bbb");
        tables.add(&builds[2], "files", large(1), Standing::Final);
        assert_eq!(kept(&tables), "ccc");
        assert!(tables.bytes() < 1000);
    }

    #[test]
    fn a_table_that_is_full_on_disk_keeps_what_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let one = [(Place::Virtual(1), calls("a"))];
        save(folder.path(), "files", &one).unwrap();
        let large = [(Place::Virtual(2), calls(&"x".repeat(usize::try_from(MAX_FILE).unwrap())))];
        save(folder.path(), "files", &large).unwrap();
        assert_eq!(load(folder.path(), "files"), one);
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
        assert_eq!(text, "{\"version\":2,\"files\":\"second\"}\n[{\"Mapped\":[2,3]},[]]\n");
    }
}
