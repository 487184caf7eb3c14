//! The id of this server in the chains of what it forwards, in a file of the spool's folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use uuid::Uuid;

const FILE: &str = "server-id";
const UNFINISHED: &str = "server-id.unfinished";

/// The id that `folder` remembers; a new one when it remembers none that can be read.
pub(crate) fn load(folder: &Path) -> io::Result<Uuid> {
    let known = match fs::read(folder.join(FILE)) {
        Ok(bytes) => Uuid::try_parse_ascii(bytes.trim_ascii()).ok().filter(|id| !id.is_nil()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    known.map_or_else(|| make(folder), Ok)
}

fn make(folder: &Path) -> io::Result<Uuid> {
    let id = Uuid::new_v4();
    let unfinished = folder.join(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(format!("{id}\n").as_bytes())?;
    file.sync_data()?;
    fs::rename(&unfinished, folder.join(FILE))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_until_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let id = load(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), id);
        for damaged in [&b""[..], b"\xff\xfe", b"00000000-0000-0000-0000-000000000000", &[b'a'; 35]] {
            fs::write(folder.path().join(FILE), damaged).unwrap();
            let other = load(folder.path()).unwrap();
            assert_ne!(other, id);
            assert_eq!(load(folder.path()).unwrap(), other);
        }
        assert!(!folder.path().join(UNFINISHED).exists());
    }
}
