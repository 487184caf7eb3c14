//! One running `everflame serve`, on a temporary data folder, killed when it goes out of scope.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

/// How long a server may take until it prints its URL; generous, because test machines are busy.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    base: String,
    data: PathBuf,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    stderr: Arc<Mutex<String>>,
    http: reqwest::Client,
    _folder: Option<TempDir>,
}

impl Server {
    /// Starts a server on an empty data folder and a free port of loopback.
    ///
    /// # Errors
    /// When the binary is missing, or ends or stays silent instead of printing its URL.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Like [`Server::start`], with more arguments for `everflame serve`.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(args: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("everflame-test-").tempdir()?;
        let mut server = Self::start_on(folder.path(), args)?;
        server._folder = Some(folder);
        Ok(server)
    }

    /// Like [`Server::start_with`], with more variables in the environment of the server.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_in(environment: &[(String, String)], args: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("everflame-test-").tempdir()?;
        let mut server = Self::spawn_on(folder.path(), args, environment)?;
        server._folder = Some(folder);
        Ok(server)
    }

    /// Starts a server on the data folder `data`, which stays when the server goes.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_on(data: &Path, args: &[&str]) -> Result<Self> {
        Self::spawn_on(data, args, &[])
    }

    fn spawn_on(data: &Path, args: &[&str], environment: &[(String, String)]) -> Result<Self> {
        let args: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
        let (environment, stderr) = (environment.to_vec(), Arc::new(Mutex::new(String::new())));
        let (child, base) = spawn(serve(data, &args, &environment)?, &stderr)?;
        let http = reqwest::Client::new();
        Ok(Self { child, base, data: data.to_owned(), args, environment, stderr, http, _folder: None })
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that keeps its connections, for requests to this server.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// What the server has written to stderr until now, over all its restarts.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the process as a crash would, at whatever instruction it is.
    ///
    /// # Errors
    /// When the process cannot be killed or waited for.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill().context("kill -9")?;
        self.child.wait().context("waiting for the killed server")?;
        Ok(())
    }

    /// The most memory that it held so far, in bytes.
    ///
    /// # Errors
    /// When the system does not say it.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Asks the server to end (SIGTERM) and waits until it has; a clean shutdown exits with 0.
    ///
    /// # Errors
    /// When it exits with anything else.
    pub fn shutdown(&mut self) -> Result<()> {
        let kill = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status()?;
        if !kill.success() {
            bail!("kill -TERM {}: {kill}", self.pid());
        }
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the server ended with {status} after SIGTERM; its stderr:\n{}", self.stderr());
        }
        Ok(())
    }

    /// Starts the server again on the same data, after [`Server::kill9`] or [`Server::shutdown`]. The
    /// port is another one.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn restart(&mut self) -> Result<()> {
        let command = serve(&self.data, &self.args, &self.environment)?;
        (self.child, self.base) = spawn(command, &self.stderr)?;
        Ok(())
    }

    /// Starts the server again on the same data, and ends it as a crash would `after` so long, whether it
    /// is ready by then or not.
    ///
    /// # Errors
    /// When the process cannot be started, killed or waited for.
    pub fn crash_while_starting(&mut self, after: Duration) -> Result<()> {
        let mut command = serve(&self.data, &self.args, &self.environment)?;
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(after);
        child.kill().context("kill -9")?;
        child.wait().context("waiting for the killed server")?;
        Ok(())
    }

    /// Calls a method such as `querier.v1.QuerierService/ProfileTypes` with Connect JSON.
    ///
    /// # Errors
    /// When the answer is not 200 with a JSON body.
    pub async fn connect(&self, method: &str, request: &Value) -> Result<Value> {
        let answer = self.http.post(self.url(&format!("/{method}"))).json(request).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{method} {request}: {status} {text}\nstderr of the server:\n{}", self.stderr());
        }
        serde_json::from_str(&text).with_context(|| format!("{method}: {text}"))
    }

    /// The figure of `/metrics` whose line begins with `name`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.http.get(self.url("/metrics")).send().await?.text().await?;
        let line = text.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
        Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The time in milliseconds since 1970, for the ranges of queries.
///
/// # Errors
/// When the machine's clock is before 1970.
#[expect(clippy::disallowed_methods, reason = "a black-box test shares its clock with the programs it runs")]
pub fn now_ms() -> Result<i64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}

/// What a command of the binary did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Runs `everflame` with `args` and waits for its end.
///
/// # Errors
/// When the binary is missing.
pub fn everflame(args: &[&str]) -> Result<Ran> {
    everflame_in(&[], args)
}

/// Runs it with more in its environment; see [`everflame`].
///
/// # Errors
/// When it cannot be started.
pub fn everflame_in(environment: &[(String, String)], args: &[&str]) -> Result<Ran> {
    let environment = environment.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(binary()?);
    let out = command.args(args).envs(environment).stdin(Stdio::null()).output().context("everflame")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { code: out.status.code(), stdout: text(&out.stdout), stderr: text(&out.stderr) })
}

/// The built binary.
///
/// # Errors
/// When it is missing.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("EVERFLAME_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace.join("target"), PathBuf::from);
            target.join("release/everflame")
        }
    };
    if !path.is_file() {
        bail!("{} is missing: `make build` makes it, EVERFLAME_BIN names another", path.display());
    }
    Ok(path)
}

/// The command that starts a server.
fn serve(data: &Path, args: &[String], environment: &[(String, String)]) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--self-profiling=false", "--data"])
        .arg(data)
        .args(args)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    Ok(command)
}

fn spawn(mut command: Command, stderr: &Arc<Mutex<String>>) -> Result<(Child, String)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    let pipe = child.stderr.take().context("stderr of the server")?;
    let log = Arc::clone(stderr);
    let collector =
        std::thread::Builder::new().name("server-stderr".into()).spawn(move || collect(pipe, &log))?;
    let (tell, told) = mpsc::channel();
    let pipe = child.stdout.take().context("stdout of the server")?;
    std::thread::Builder::new().name("server-stdout".into()).spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if let Some(base) = url_in(&line) {
                // Later lines have no listener any more; the pipe must be emptied all the same.
                let _ = tell.send(base);
            }
        }
    })?;
    match told.recv_timeout(START_LIMIT) {
        Ok(base) => Ok((child, base)),
        Err(reason) => {
            let _ = child.kill();
            let status = child.wait()?;
            // What it wrote last may still be in the pipe.
            let _ = collector.join();
            let log = stderr.lock().unwrap_or_else(PoisonError::into_inner);
            match reason {
                RecvTimeoutError::Disconnected => bail!("the server ended ({status}); its stderr:\n{log}"),
                RecvTimeoutError::Timeout => {
                    bail!("the server printed no URL within {START_LIMIT:?}; its stderr:\n{log}")
                }
            }
        }
    }
}

fn collect(mut pipe: impl Read, log: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = pipe.read(&mut buffer) {
        let text = String::from_utf8_lossy(buffer.get(..n).unwrap_or_default()).into_owned();
        log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
    }
}

fn url_in(line: &str) -> Option<String> {
    let start = line.find("http://")?;
    let url = line.get(start..)?.split(|c: char| c.is_whitespace() || "\"',;)".contains(c)).next()?;
    Some(url.trim_end_matches(['/', '.']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::url_in;

    #[test]
    fn finds_the_url_in_a_line() {
        for (line, url) in [
            ("http://127.0.0.1:4040", Some("http://127.0.0.1:4040")),
            ("Everflame is ready: http://127.0.0.1:4040/.", Some("http://127.0.0.1:4040")),
            ("listening on http://[::1]:80/ (data in x)", Some("http://[::1]:80")),
            ("starting", None),
        ] {
            assert_eq!(url_in(line).as_deref(), url, "{line}");
        }
    }
}
