//! Where the sender is, and the file that remembers it.

use std::fs;
use std::io;
use std::path::Path;

const FILE: &str = "position";
const UNFINISHED: &str = "position.unfinished";

/// A place in the spool: a segment, and an offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

impl Position {
    /// What `folder` remembers; the very beginning when it remembers nothing that can be read. Then more is sent
    /// again, and nothing is lost.
    pub(crate) fn load(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().ok());
        match (numbers.next(), numbers.next()) {
            (Some(Some(segment)), Some(Some(offset))) => Self { segment, offset },
            _ => Self::default(),
        }
    }

    /// Remembers it in `folder`. Not synced: after a loss of power something may be sent again.
    pub(crate) fn store(self, folder: &Path) -> io::Result<()> {
        let unfinished = folder.join(UNFINISHED);
        fs::write(&unfinished, format!("{} {}\n", self.segment, self.offset))?;
        fs::rename(&unfinished, folder.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Position::load(folder.path()), Position::default());
        let position = Position { segment: 12, offset: 99 };
        position.store(folder.path()).unwrap();
        assert_eq!(Position::load(folder.path()), position);
        fs::write(folder.path().join(FILE), "7").unwrap();
        assert_eq!(Position::load(folder.path()), Position::default());
    }
}
