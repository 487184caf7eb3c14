//! A file of a commit, read with the program `git` from a repository on this machine. Nothing is checked out,
//! no hook, filter or transport runs, and what a client sends reaches git on its standard input alone.

use crate::app::blocking;
use crate::error::ApiError;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long git may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes that git says about objects, or about what is wrong.
const MAX_TEXT: u64 = 64 << 10;
/// Largest commit, in bytes: signatures and messages are a few thousand.
const MAX_COMMIT: u64 = 1 << 20;

/// A file as a commit has it.
pub(super) struct Blob {
    id: String,
    pub(super) bytes: u64,
    /// Its path in the repository.
    pub(super) path: String,
    /// Which of the candidates it is.
    pub(super) at: usize,
}

/// The first of `revisions` that is a commit: its position, and its hash.
pub(super) async fn commit(folder: &Path, revisions: &[String]) -> Result<Option<(usize, String)>, ApiError> {
    let names: Vec<String> = revisions.iter().map(|revision| format!("{revision}^{{commit}}")).collect();
    let objects = objects(folder, &names).await?;
    Ok(objects.into_iter().find(|(_, object)| object.kind == "commit").map(|(at, object)| (at, object.id)))
}

/// A commit as git keeps it.
pub(super) struct RawCommit {
    pub(super) id: String,
    /// Headers, an empty line, and the message.
    pub(super) text: String,
}

/// Those of `revisions` that are commits, with their positions.
pub(super) async fn commits(
    folder: &Path,
    revisions: &[String],
) -> Result<Vec<(usize, RawCommit)>, ApiError> {
    let names: Vec<String> = revisions.iter().map(|revision| format!("{revision}^{{commit}}")).collect();
    let mut commits = Vec::new();
    for (at, object) in objects(folder, &names).await? {
        if object.kind != "commit" || object.bytes > MAX_COMMIT {
            continue;
        }
        let text = run(folder, &["cat-file", "commit", &object.id], Vec::new(), object.bytes).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        commits.push((at, RawCommit { id: object.id, text }));
    }
    Ok(commits)
}

/// Those of `candidates` that are files of `commit`, in their order.
pub(super) async fn files(folder: &Path, commit: &str, candidates: &[String]) -> Result<Vec<Blob>, ApiError> {
    let names: Vec<String> = candidates.iter().map(|path| format!("{commit}:{path}")).collect();
    let objects = objects(folder, &names).await?.into_iter().filter(|(_, object)| object.kind == "blob");
    let blob = |(at, object): (usize, Object)| {
        Some(Blob { id: object.id, bytes: object.bytes, path: candidates.get(at)?.clone(), at })
    };
    Ok(objects.filter_map(blob).collect())
}

/// The content of `blob`.
pub(super) async fn content(folder: &Path, blob: &Blob) -> Result<Vec<u8>, ApiError> {
    run(folder, &["cat-file", "blob", &blob.id], Vec::new(), blob.bytes).await
}

struct Object {
    id: String,
    kind: String,
    bytes: u64,
}

/// What `names` are, with their positions; those that are nothing are left out.
async fn objects(folder: &Path, names: &[String]) -> Result<Vec<(usize, Object)>, ApiError> {
    let input: String = names.iter().map(|name| format!("{name}\n")).collect();
    let output = run(folder, &["cat-file", "--batch-check"], input.into_bytes(), MAX_TEXT).await?;
    let output = String::from_utf8_lossy(&output);
    let object = |line: &str| {
        let [id, kind, bytes] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let is_id = id.len() >= 40 && id.chars().all(|c| c.is_ascii_hexdigit());
        is_id.then_some(Object { id: id.to_owned(), kind: kind.to_owned(), bytes: bytes.parse().ok()? })
    };
    Ok(output.lines().enumerate().filter_map(|(at, line)| Some((at, object(line)?))).collect())
}

/// Runs git in `folder`, and gives at most `most` bytes of what it says.
async fn run(folder: &Path, arguments: &[&str], input: Vec<u8>, most: u64) -> Result<Vec<u8>, ApiError> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        // The folder was named by whoever runs the server, and may belong to somebody else.
        .args(["--no-replace-objects", "-c", "safe.directory=*"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        // A folder that is no repository must not stand for one that it lies in.
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder))
        .env_remove("GIT_DIR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| {
        ApiError::failed_precondition(format_args!("the program git cannot be started: {error}; install git"))
    })?;
    let child = Arc::new(Mutex::new(child));
    let work = blocking({
        let child = child.clone();
        move || talk(&child, &input, most)
    });
    match tokio::time::timeout(TIMEOUT, work).await {
        Ok(done) => done?.map_err(|why| {
            ApiError::failed_precondition(format_args!(
                "git, in {}: {why}; see source-code in the configuration",
                folder.display()
            ))
        }),
        Err(_) => {
            // Its thread ends with it.
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            Err(ApiError::deadline_exceeded(format_args!(
                "git takes longer than {} s in {}",
                TIMEOUT.as_secs(),
                folder.display()
            )))
        }
    }
}

fn talk(child: &Mutex<Child>, input: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let (stdin, stdout, stderr) = {
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    };
    if let Some(mut stdin) = stdin {
        // A git that found a fault does not read on; it says so below.
        let _ = stdin.write_all(input);
    }
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(most).read_to_end(&mut output).map_err(|error| error.to_string())?;
    }
    let mut fault = String::new();
    if let Some(stderr) = stderr {
        let _ = stderr.take(MAX_TEXT).read_to_string(&mut fault);
    }
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait().map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(output),
        false => Err(format!("{status}: {}", fault.trim().chars().take(500).collect::<String>())),
    }
}
