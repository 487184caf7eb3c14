//! What the server was asked lately, for its status page: the slowest queries and who sends what. Both lists
//! are bounded, in memory, and gone with the process.

use crate::app::App;
use crate::metrics::Wire;
use axum::Json;
use axum::extract::State;
use everflame_profile::Nanos;
use everflame_query::{ScanStats, TimeRange};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;

/// Queries that are kept.
const QUERIES: usize = 50;
/// How long a query is kept.
const QUERY_AGE: Nanos = 3_600_000_000_000;
/// Clients that are kept.
const CLIENTS: usize = 200;
/// Most characters of a query.
const TEXT: usize = 1_000;
/// Most characters of what a client calls itself.
const AGENT: usize = 200;

/// A query that was answered.
#[derive(Clone, Debug)]
struct Query {
    at: Nanos,
    kind: &'static str,
    text: String,
    range: TimeRange,
    stats: ScanStats,
}

/// A client by what it calls itself and what it asks for.
#[derive(Clone, Debug)]
struct Client {
    wire: Wire,
    agent: String,
    first: Nanos,
    last: Nanos,
    requests: u64,
}

/// What was asked lately.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    queries: Mutex<Vec<Query>>,
    clients: Mutex<Vec<Client>>,
}

impl Watch {
    /// Remembers a query when it is one of the slowest of the last hour.
    pub(crate) fn query(
        &self,
        now: Nanos,
        kind: &'static str,
        text: &str,
        range: TimeRange,
        stats: &ScanStats,
    ) {
        let mut queries = self.queries.lock();
        queries.retain(|query| now.saturating_sub(query.at) < QUERY_AGE);
        if queries.len() >= QUERIES {
            let quickest = queries.iter().enumerate().min_by_key(|(_, query)| query.stats.elapsed);
            match quickest.map(|(at, query)| (at, query.stats.elapsed)) {
                Some((at, elapsed)) if elapsed < stats.elapsed => drop(queries.swap_remove(at)),
                _ => return,
            }
        }
        queries.push(Query { at: now, kind, text: cut(text, TEXT), range, stats: *stats });
    }

    /// Remembers a request; of too many clients the one that was silent for longest is forgotten.
    pub(crate) fn client(&self, now: Nanos, wire: Wire, agent: &str) {
        let agent = cut(agent, AGENT);
        let mut clients = self.clients.lock();
        if let Some(known) = clients.iter_mut().find(|known| known.wire == wire && known.agent == agent) {
            known.last = now;
            known.requests += 1;
            return;
        }
        if clients.len() >= CLIENTS {
            let silent = clients.iter().enumerate().min_by_key(|(_, client)| client.last).map(|(at, _)| at);
            silent.map(|at| clients.swap_remove(at));
        }
        clients.push(Client { wire, agent, first: now, last: now, requests: 1 });
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// `/api/v1/status/queries`: the slowest queries of the last hour, the slowest first.
pub(crate) async fn queries(State(app): State<Arc<App>>) -> Json<Value> {
    let mut queries = app.watch.queries.lock().clone();
    let now = app.now();
    queries.retain(|query| now.saturating_sub(query.at) < QUERY_AGE);
    queries.sort_by_key(|query| std::cmp::Reverse(query.stats.elapsed));
    let queries = queries.iter().map(|Query { at, kind, text, range, stats }| {
        json!({
            "at": millis(*at),
            "kind": kind,
            "query": text,
            "from": millis(range.from),
            "until": millis(range.until),
            "milliseconds": u64::try_from(stats.elapsed.as_millis()).unwrap_or(u64::MAX),
            "rows": stats.rows,
            "bytes": stats.bytes,
            "files": stats.files,
        })
    });
    Json(json!({ "queries": queries.collect::<Vec<_>>() }))
}

/// `/api/v1/status/clients`: who was seen, the latest first.
pub(crate) async fn clients(State(app): State<Arc<App>>) -> Json<Value> {
    let mut clients = app.watch.clients.lock().clone();
    clients.sort_by_key(|client| std::cmp::Reverse(client.last));
    let clients = clients.iter().map(|Client { wire, agent, first, last, requests }| {
        let (first, last) = (millis(*first), millis(*last));
        json!({ "wire": wire.name(), "agent": agent, "first": first, "last": last, "requests": requests })
    });
    Json(json!({ "clients": clients.collect::<Vec<_>>() }))
}

fn millis(nanos: Nanos) -> i64 {
    nanos.div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_slowest_of_the_last_hour_stay() {
        let watch = Watch::default();
        let ask = |now: Nanos, ms: u64| {
            let stats = ScanStats { elapsed: Duration::from_millis(ms), ..ScanStats::default() };
            watch.query(now, "series", "{}", TimeRange::ALL, &stats);
        };
        (0..200).for_each(|ms| ask(0, ms * 7 % 200));
        let mut kept: Vec<_> =
            watch.queries.lock().iter().map(|query| query.stats.elapsed.as_millis()).collect();
        kept.sort_unstable();
        assert_eq!(kept, (150..200).collect::<Vec<_>>());
        ask(QUERY_AGE, 1);
        assert_eq!(watch.queries.lock().len(), 1);
    }

    #[test]
    fn clients_are_counted_and_bounded() {
        let watch = Watch::default();
        (0..3).for_each(|now| watch.client(now, Wire::Push, "alloy/1"));
        watch.client(3, Wire::Querier, &"x".repeat(5000));
        assert_eq!(watch.clients.lock()[0].requests, 3);
        assert_eq!(watch.clients.lock()[1].agent.len(), AGENT);
        (0..500).for_each(|now| watch.client(10 + now, Wire::Push, &format!("agent {now}")));
        let clients = watch.clients.lock();
        assert_eq!(clients.len(), CLIENTS);
        assert!(clients.iter().all(|client| client.agent != "alloy/1"));
    }
}
