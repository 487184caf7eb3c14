//! The real clients: programs in `tests/clients/` that use the unmodified SDKs, and `go tool pprof`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// One SDK, and the program that uses it.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// `github.com/grafana/pyroscope-go`
    Go,
    /// `pyroscope-io`
    Python,
    /// `pyroscope` with its pprof-rs backend
    Rust,
    /// `@pyroscope/nodejs`
    Node,
    /// `io.pyroscope:agent`
    Java,
}

/// Whether a program can run here.
#[derive(Debug)]
pub enum Prepared {
    /// The program and its first arguments.
    Ready(Vec<String>),
    /// Its language or its packages cannot be had on this machine.
    Missing(String),
}

impl Client {
    /// The folder in `tests/clients/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Python => "python",
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Java => "java",
        }
    }

    /// Installs or builds the client.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn prepare(self) -> Result<Prepared> {
        prepare(self.name())
    }

    /// Runs the prepared client against `server` for `seconds`, until it has flushed and ended. Returns what it
    /// printed.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(self, command: &[String], server: &str, seconds: f64) -> Result<String> {
        let seconds = seconds.to_string();
        match self {
            // Its command is followed by the program.
            Self::Java => run(command, &["Client", server, &seconds]),
            _ => run(command, &[server, &seconds]),
        }
    }
}

/// Runs a prepared program with more arguments. Returns what it printed.
///
/// # Errors
/// When it does not exit with 0, or complains: the SDKs log what the server refuses.
pub fn run(command: &[String], args: &[&str]) -> Result<String> {
    let (program, first) = command.split_first().context("prepare.sh printed no command")?;
    let out = Command::new(program)
        .args(first)
        .args(args)
        // What each SDK needs to say aloud what went wrong with an upload.
        .env("DEBUG", "pyroscope")
        .env("RUST_LOG", "error")
        .output()
        .with_context(|| format!("running {program}"))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let complaint = [
        "rejected",
        "failed to upload",
        "Failed to send",
        "Sending Session failed",
        "Error sending",
        "[ERROR]",
    ];
    if !out.status.success() || complaint.iter().any(|c| stderr.contains(c) || stdout.contains(c)) {
        bail!("{program} {args:?}: {}\n{stderr}\n{stdout}", out.status);
    }
    Ok(stdout.into_owned())
}

/// The path of a file in `tests/clients/`.
#[must_use]
pub fn program(name: &str) -> String {
    format!("{}/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What `go tool pprof -top URL` prints, or why there is no such tool.
///
/// # Errors
/// When the tool fails, or warns about the profile that it got.
pub fn go_pprof_top(url: &str) -> Result<Result<String, String>> {
    let home = tempfile::tempdir()?;
    let run = Command::new("go")
        .args(["tool", "pprof", "-top", "-nodecount=50", url])
        // Where it would keep what it fetched.
        .env("PPROF_TMPDIR", home.path())
        .output();
    let out = match run {
        Ok(out) => out,
        Err(error) => return Ok(Err(format!("go: {error}"))),
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if !out.status.success() || stderr.to_lowercase().contains("warning") {
        bail!("go tool pprof -top {url}: {}\n{stderr}{stdout}", out.status);
    }
    Ok(Ok(stdout.into_owned()))
}

/// Installs or builds a program through `tests/prepare.sh`, which exits with 3 when that is impossible
/// here and prints the command, one word a line, when it is ready.
///
/// # Errors
/// When the script fails in any other way: a program that does not build is a failure.
pub fn prepare(program: &str) -> Result<Prepared> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("prepare.sh");
    let out = Command::new("sh").arg(&script).arg(program).output().context("prepare.sh")?;
    let stderr = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    match out.status.code() {
        Some(0) => Ok(Prepared::Ready(String::from_utf8(out.stdout)?.lines().map(str::to_owned).collect())),
        Some(3) => Ok(Prepared::Missing(stderr)),
        _ => bail!("{} {program}: {}\n{stderr}", script.display(), out.status),
    }
}
