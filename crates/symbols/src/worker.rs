//! The process in which debug files are read.
//!
//! They come from anywhere and make readers of debug information use much memory, much time or a deep stack.
//! So they are read in a process of its own, with bounds that the operating system keeps: what it takes down is
//! itself alone. The order comes on its standard input as one line of JSON, the answers go to its standard output,
//! a line for each place.

use crate::call::Call;
use crate::place::Place;
use crate::resolve::{Reading, resolve};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Memory of the process beside the files themselves, which are mapped.
const MAX_MEMORY: u64 = 1 << 30;
/// Seconds of computing; the process is told so by a signal of its own (SIGXCPU).
const MAX_CPU_SECONDS: u64 = 60;
/// Seconds of computing after which it is killed.
const LAST_CPU_SECOND: u64 = MAX_CPU_SECONDS + 5;
/// Seconds on the clock.
const MAX_SECONDS: u32 = 120;
/// Bytes of the order.
const MAX_ORDER: u64 = 64 << 20;
/// Bytes of all answers.
const MAX_ANSWERS: u64 = 256 << 20;
/// How long it may take to end after its last answer.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(1);
/// Signals that come from outside, and the one that tells of the time on the clock, which a busy machine uses up.
const FROM_OUTSIDE: [i32; 6] =
    [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGALRM];
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

/// What the process said.
pub(crate) struct Said {
    pub(crate) answers: Vec<(Place, Vec<Call>)>,
    pub(crate) end: End,
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself: it has said what it had to.
    Done,
    /// By what is in the files: a panic, a bound of its own, or nonsense that it said.
    Broken,
    /// By something else: a signal from outside, or too busy a machine.
    Stopped,
}

impl End {
    fn of(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) if FROM_OUTSIDE.contains(&signal) => Self::Stopped,
            None if status.success() => Self::Done,
            _ => Self::Broken,
        }
    }
}

/// The process that is at work, so that it can be stopped.
#[derive(Default)]
pub(crate) struct Current(Mutex<State>);

#[derive(Default)]
struct State {
    child: Option<Child>,
    is_closed: bool,
}

impl Current {
    /// Ends the process, and lets none begin.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        if let Some(child) = &mut state.child {
            let _ = child.kill();
        }
    }

    /// Whether no process may begin any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().is_closed
    }

    fn begin(&self, mut child: Child) {
        let mut state = self.0.lock();
        if state.is_closed {
            let _ = child.kill();
        }
        state.child = Some(child);
    }

    /// Waits for the end of the process, and ends it when it does not come.
    fn end(&self, patience: Duration) -> std::io::Result<End> {
        let begin = Instant::now();
        loop {
            let mut state = self.0.lock();
            let Some(child) = &mut state.child else { return Ok(End::Stopped) };
            if begin.elapsed() >= patience {
                let _ = child.kill();
            }
            let status = child.try_wait();
            if !matches!(status, Ok(None)) {
                state.child = None;
            }
            drop(state);
            match status? {
                Some(status) => return Ok(End::of(status)),
                None => std::thread::sleep(LOOK),
            }
        }
    }
}

impl Worker {
    /// What `files` say of `places`. Answers that came before the process ended count; the rest is missing.
    pub(crate) fn ask(
        &self,
        current: &Current,
        files: &[PathBuf],
        places: &[Place],
        reading: Reading,
    ) -> std::io::Result<Said> {
        let order = Order { files: files.to_vec(), places: places.to_vec(), reading };
        let mut order = serde_json::to_vec(&order)?;
        order.push(b'\n');
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // What the terminal sends to the server (Ctrl-C) is not for it.
            .process_group(0)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        current.begin(child);
        if let Some(mut stdin) = stdin {
            // It reads all before it answers. When it is gone, there are no answers.
            let _ = stdin.write_all(&order);
        }
        let (answers, is_sense) = stdout.map(read).unwrap_or_default();
        // It may still want to write what nobody reads.
        let end = current.end(if is_sense { LAST_MOMENT } else { Duration::ZERO })?;
        Ok(Said { answers, end: if is_sense { end } else { End::Broken } })
    }
}

/// The answers of a process, and whether it said nothing else. Half an answer, where it ended, does not count.
fn read(stdout: ChildStdout) -> (Vec<(Place, Vec<Call>)>, bool) {
    let (mut answers, mut line) = (Vec::new(), String::new());
    let mut stdout = BufReader::new(stdout.take(MAX_ANSWERS));
    loop {
        line.clear();
        match stdout.read_line(&mut line) {
            Ok(_) if !line.ends_with('\n') => return (answers, stdout.get_ref().limit() > 0),
            Ok(_) => match serde_json::from_str(&line) {
                Ok(answer) => answers.push(answer),
                Err(_) => return (answers, false),
            },
            Err(_) => return (answers, false),
        }
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
    let limit = |resource, most: u64, last: u64| {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: last };
        // SAFETY: the structure lives during the call. A bound that cannot be set leaves the others.
        unsafe { libc::setrlimit(resource, &limit) };
    };
    limit(libc::RLIMIT_DATA, MAX_MEMORY, MAX_MEMORY);
    limit(libc::RLIMIT_CPU, MAX_CPU_SECONDS, LAST_CPU_SECOND);
    limit(libc::RLIMIT_CORE, 0, 0);
    limit(libc::RLIMIT_FSIZE, 0, 0);
    // SAFETY: plain numbers in, and nothing that lives longer.
    unsafe {
        libc::alarm(MAX_SECONDS);
        libc::nice(NICE);
        #[cfg(target_os = "linux")]
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
}
