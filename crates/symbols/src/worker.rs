//! The process in which debug files are read.
//!
//! They come from anywhere and make readers of debug information use much memory, much time or a deep stack.
//! So they are read in a process of its own, with bounds that the operating system keeps: what it takes down is
//! itself alone. The order comes on its standard input as one line of JSON, the answers go to its standard output,
//! a line for each place.

use crate::call::Call;
use crate::place::Place;
use crate::resolve::{Reading, resolve};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Memory of the process beside the files themselves, which are mapped.
const MAX_MEMORY: u64 = 1 << 30;
/// Seconds of computing.
const MAX_CPU_SECONDS: u64 = 60;
/// Seconds on the clock.
const MAX_SECONDS: u32 = 120;
/// Bytes of the order.
const MAX_ORDER: u64 = 64 << 20;
/// Bytes of all answers.
const MAX_ANSWERS: u64 = 256 << 20;
/// How much further back in the queue for the processor it is.
const NICE: i32 = 10;

/// How to start the process.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; it must call [`serve`].
    pub arguments: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Order {
    files: Vec<PathBuf>,
    places: Vec<Place>,
    reading: Reading,
}

impl Worker {
    /// What `files` say of `places`. Answers that came before the process broke down count; the rest is missing.
    pub(crate) fn ask(
        &self,
        files: &[PathBuf],
        places: &[Place],
        reading: Reading,
    ) -> std::io::Result<Vec<(Place, Vec<Call>)>> {
        let order = Order { files: files.to_vec(), places: places.to_vec(), reading };
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let mut line = serde_json::to_vec(&order)?;
            line.push(b'\n');
            // It reads all before it answers. When it is gone, there are no answers.
            let _ = stdin.write_all(&line);
        }
        let mut answers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout.take(MAX_ANSWERS)).lines() {
                match line.ok().and_then(|line| serde_json::from_str(&line).ok()) {
                    Some(answer) => answers.push(answer),
                    None => break,
                }
            }
        }
        // It may still want to write what nobody reads.
        let _ = child.kill();
        child.wait()?;
        Ok(answers)
    }
}

/// Does what a [`Worker`] asks for, once: the whole life of the process.
pub fn serve() -> std::io::Result<()> {
    bound();
    std::panic::set_hook(Box::new(|_| {}));
    let mut line = String::new();
    BufReader::new(std::io::stdin().take(MAX_ORDER)).read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut fault = Ok(());
    resolve(&order.files, &order.places, order.reading, |place, calls| {
        let line = serde_json::to_vec(&(place, calls)).map_err(std::io::Error::from);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            // Each answer goes out at once: the next one may be the last thing that happens here.
            out.write_all(&line)?;
            out.flush()
        });
        if written.is_err() && fault.is_ok() {
            fault = written;
        }
    });
    fault
}

/// Sets the bounds of this process.
#[allow(unsafe_code)] // The operating system's calls have no safe interface.
fn bound() {
    let limit = |resource, most: u64| {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the structure lives during the call. A bound that cannot be set leaves the others.
        unsafe { libc::setrlimit(resource, &limit) };
    };
    limit(libc::RLIMIT_DATA, MAX_MEMORY);
    limit(libc::RLIMIT_CPU, MAX_CPU_SECONDS);
    limit(libc::RLIMIT_CORE, 0);
    limit(libc::RLIMIT_FSIZE, 0);
    // SAFETY: plain numbers in, and nothing that lives longer.
    unsafe {
        libc::alarm(MAX_SECONDS);
        libc::nice(NICE);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}
