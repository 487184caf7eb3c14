//! The server's process: starting and stopping it, and what it costs, from `/proc` and the disk.

use crate::http::Address;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the server may take until it prints its URL, and until it has stopped.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// Ticks a second of `utime` and `stime` in `/proc/<pid>/stat`: the kernel's `USER_HZ`, 100 everywhere.
const TICKS: f64 = 100.0;

/// A running server of ours. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: Address,
    pub(crate) spawned: Instant,
}

impl Server {
    /// Starts `binary` on `data` and waits for the URL on its standard output. Its log goes to
    /// `server.log` beside `data`.
    pub(crate) fn start(binary: &Path, data: &Path) -> Result<Self> {
        Self::start_with(binary, data, &[])
    }

    /// The same, with more `arguments`.
    pub(crate) fn start_with(binary: &Path, data: &Path, arguments: &[&str]) -> Result<Self> {
        let log = data.with_extension("log");
        let log_file = File::options().create(true).append(true).open(&log)?;
        let spawned = Instant::now();
        let mut child = Command::new(binary)
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--listen", "127.0.0.1:0", "--self-profiling=false"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .with_context(|| format!("start {}; build it with `make build`", binary.display()))?;
        let stdout = child.stdout.take().context("the server's standard output")?;
        let (sender, receiver) = mpsc::channel();
        // Reads on after the URL, or the server would block once the pipe is full.
        thread::Builder::new().name("server-output".to_owned()).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = url_in(&line) {
                    let _ = sender.send(url);
                }
            }
        })?;
        let mut server = Self { child, address: Address(String::new()), spawned };
        let Ok(url) = receiver.recv_timeout(START_LIMIT) else {
            let log = fs::read_to_string(&log).unwrap_or_default();
            bail!("the server printed no http:// URL; its log says:\n{log}");
        };
        server.address = Address::parse(&url)?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, waits for it, and says what it has used in its whole life.
    pub(crate) async fn stop(mut self) -> Result<Stopped> {
        let began = Instant::now();
        let pid = self.pid();
        let mut used = usage(pid)?;
        Command::new("kill").args(["-TERM", &pid.to_string()]).status().context("run kill")?;
        while began.elapsed() < STOP_LIMIT {
            // Until it is waited for, a process that has ended still shows its times, but no memory.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let ended = stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'));
            if ended {
                let elapsed = began.elapsed();
                used.cpu_seconds = cpu_seconds(&stat).unwrap_or(used.cpu_seconds);
                let status = self.child.wait()?;
                if !status.success() {
                    bail!("the server ended with {status} when it was asked to stop");
                }
                return Ok(Stopped { elapsed, used });
            }
            used = usage(pid).unwrap_or(used);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("the server did not stop within {STOP_LIMIT:?} of SIGTERM");
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    /// From SIGTERM to its end.
    pub(crate) elapsed: Duration,
    /// What it had used when it ended, the last flush included.
    pub(crate) used: Usage,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `http://host:port` in a line.
fn url_in(line: &str) -> Option<String> {
    let rest = line.get(line.find("http://")?..)?;
    let host = rest.strip_prefix("http://")?;
    let end = host.find(|c: char| !(c.is_ascii_alphanumeric() || ".:-[]".contains(c))).unwrap_or(host.len());
    Some(format!("http://{}", host.get(..end)?))
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// Reads the usage of process `pid`.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let cpu_seconds = cpu_seconds(&stat).context("utime and stime in /proc/<pid>/stat")?;
    let peak_bytes = peak_bytes(&status).context("VmHWM in /proc/<pid>/status")?;
    Ok(Usage { cpu_seconds, peak_bytes })
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The command's name is in parentheses and may hold anything.
    let mut after_name = stat.rsplit_once(')')?.1.split_whitespace();
    let user: f64 = after_name.nth(11)?.parse().ok()?;
    let system: f64 = after_name.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// Bytes of all files below `data`, by table: the folder that a file lies in, without partitions and the
/// Delta log.
pub(crate) fn disk_bytes(data: &Path) -> Result<BTreeMap<String, u64>> {
    let mut bytes = BTreeMap::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        // Files come and go while the server runs.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                *bytes.entry(table_of(data, &folder)).or_default() += metadata.len();
            }
        }
    }
    Ok(bytes)
}

fn table_of(data: &Path, folder: &Path) -> String {
    let inside: PathBuf = folder
        .strip_prefix(data)
        .unwrap_or(folder)
        .components()
        .take_while(|part| {
            let name = part.as_os_str().to_string_lossy();
            !name.contains('=') && name != "_delta_log"
        })
        .collect();
    if inside.as_os_str().is_empty() { ".".to_owned() } else { inside.display().to_string() }
}

/// Drops the files below `data` from the page cache, so that the next read of each comes from the disk.
/// What is not written back yet stays; the server syncs what it writes.
pub(crate) fn drop_from_page_cache(data: &Path) -> Result<()> {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(file) = File::open(&path) {
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
                    .with_context(|| format!("drop {} from the page cache", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Waits until the files below `data` have not changed for `quiet`, at most `limit`.
pub(crate) async fn settle(data: &Path, quiet: Duration, limit: Duration) -> Result<()> {
    let began = Instant::now();
    let (mut last, mut since) = (disk_bytes(data)?, Instant::now());
    while began.elapsed() < limit && since.elapsed() < quiet {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = disk_bytes(data)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_what_a_server_prints() {
        for (line, wanted) in [
            ("Everflame is ready: http://127.0.0.1:43117/", Some("http://127.0.0.1:43117")),
            ("\u{1b}[1mhttp://127.0.0.1:1\u{1b}[0m", Some("http://127.0.0.1:1")),
            ("http://[::1]:4040 (store: x)", Some("http://[::1]:4040")),
            ("nothing here", None),
        ] {
            assert_eq!(url_in(line).as_deref(), wanted, "{line}");
        }
    }

    #[test]
    fn our_own_usage_can_be_read() {
        let used = usage(std::process::id()).unwrap();
        assert!(used.peak_bytes > 1 << 20);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn bytes_by_table() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        for (file, len) in [
            ("anonymous/samples/date=2026-01-01/a.parquet", 5),
            ("anonymous/samples/_delta_log/0.json", 2),
            ("anonymous/wal/1.wal", 3),
            ("LOCK", 1),
        ] {
            let path = data.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; len]).unwrap();
        }
        let found = disk_bytes(data).unwrap();
        let found: Vec<_> = found.iter().map(|(table, bytes)| (table.as_str(), *bytes)).collect();
        assert_eq!(found, [(".", 1), ("anonymous/samples", 7), ("anonymous/wal", 3)]);
    }
}
