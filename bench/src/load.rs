//! The closed loop: each connection sends its next profile as soon as the last one was answered.

use crate::http::{Address, Connection};
use crate::latency::Latencies;
use crate::plan::Plan;
use crate::process::usage;
use crate::target::Target;
use anyhow::{Context, Result, bail};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

/// What a load run measured.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) elapsed: Duration,
    pub(crate) profiles: usize,
    pub(crate) latencies: Latencies,
    /// Bytes of compressed profiles that were sent.
    pub(crate) sent_bytes: u64,
    /// What this program took of the machine that it shares with the server.
    pub(crate) generator_cpu_seconds: f64,
}

impl Loaded {
    /// Profiles a second.
    pub(crate) fn rate(&self) -> f64 {
        self.profiles as f64 / self.elapsed.as_secs_f64()
    }
}

struct Shared {
    plan: Rc<Plan>,
    target: Target,
    address: Address,
    next: Cell<usize>,
    failed: Cell<bool>,
    sent_bytes: Cell<u64>,
    latencies: RefCell<Vec<Duration>>,
}

/// Sends the whole plan over `connections` connections. A profile that is not accepted ends the run: what
/// the queries must answer would no longer be known.
pub(crate) async fn load(
    target: Target,
    address: &Address,
    plan: &Rc<Plan>,
    connections: usize,
) -> Result<Loaded> {
    let shared = Rc::new(Shared {
        plan: Rc::clone(plan),
        target,
        address: address.clone(),
        next: Cell::new(0),
        failed: Cell::new(false),
        sent_bytes: Cell::new(0),
        latencies: RefCell::new(Vec::with_capacity(plan.profiles / plan.per_request)),
    });
    let own = std::process::id();
    let idle = usage(own)?.cpu_seconds;
    let began = Instant::now();
    let tasks = LocalSet::new();
    let workers: Vec<_> = (0..connections).map(|_| tasks.spawn_local(work(Rc::clone(&shared)))).collect();
    tasks
        .run_until(async {
            for worker in workers {
                worker.await.context("a connection's task ended early")??;
            }
            anyhow::Ok(())
        })
        .await?;
    let elapsed = began.elapsed();
    Ok(Loaded {
        elapsed,
        profiles: plan.profiles,
        latencies: Latencies::new(shared.latencies.take()),
        sent_bytes: shared.sent_bytes.get(),
        generator_cpu_seconds: usage(own)?.cpu_seconds - idle,
    })
}

async fn work(shared: Rc<Shared>) -> Result<()> {
    let result = send_all(&shared).await;
    if result.is_err() {
        shared.failed.set(true);
    }
    result
}

async fn send_all(shared: &Shared) -> Result<()> {
    let mut connection = Connection::open(&shared.address).await?;
    let mut request = Vec::with_capacity(64 << 10);
    loop {
        let index = shared.next.get();
        let profiles: Vec<_> = shared.plan.request(index).collect();
        if profiles.is_empty() || shared.failed.get() {
            return Ok(());
        }
        shared.next.set(index + 1);
        shared.target.request(&mut request, &shared.address, &profiles);
        let began = Instant::now();
        let response = connection.send(&request).await.with_context(|| format!("request {index}"))?;
        let latency = began.elapsed();
        if !shared.target.accepted(&response) {
            bail!("request {index} was refused with status {}: {}", response.status, response.text());
        }
        let bytes: usize = profiles.iter().map(|planned| planned.body.gzip.len()).sum();
        shared.sent_bytes.set(shared.sent_bytes.get() + bytes as u64);
        shared.latencies.borrow_mut().push(latency);
    }
}

/// Sends the first profile of `plan` once.
pub(crate) async fn send_first(target: Target, address: &Address, plan: &Plan) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut request = Vec::new();
    target.request(&mut request, address, &[plan.profile(0)]);
    let response = connection.send(&request).await?;
    if !target.accepted(&response) {
        bail!("the first profile was refused with status {}: {}", response.status, response.text());
    }
    Ok(())
}
