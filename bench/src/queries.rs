//! The query list: what dashboards and `go tool pprof` ask, through the wire that Grafana uses, each with
//! a check that the answer holds exactly what was sent.

use crate::http::{Address, Connection, Response, post};
use crate::latency::Latencies;
use crate::plan::{Plan, SECOND};
use crate::wire::{self, Value, fields};
use anyhow::{Context, Result, bail, ensure};
use everflame_formats::{Limits, pprof};
use everflame_profile::Nanos;
use std::time::{Duration, Instant};

/// Unmeasured and measured repetitions of a warm query.
const WARM_UP: usize = 3;
const WARM: usize = 20;

/// The profile type that is asked for.
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// Seconds between two points of the timeline.
const STEP: f64 = 15.0;

/// One question with its right answer.
#[derive(Debug)]
pub(crate) struct Query {
    /// Key of its target and in the JSON report.
    pub(crate) key: &'static str,
    /// Its row in the table.
    pub(crate) title: String,
    path: &'static str,
    request: Vec<u8>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    FlameGraph { total: i64 },
    Timeline { series: usize, total: i64 },
    Profile { total: i64 },
    Names(Vec<String>),
}

/// The whole list for `plan`. "6 h" is the whole span of the load, "1 h" its last hour.
pub(crate) fn queries(plan: &Plan) -> Vec<Query> {
    let (start, end) = (plan.start, plan.end());
    let hour = start.max(end - 3600 * SECOND);
    let service = plan.services().get(plan.services().len() / 2).copied().unwrap_or_default();
    let one = format!("{{service_name=\"{service}\"}}");
    let flame_graph = |key, selector: &str, service: Option<&str>, from: Nanos| Query {
        key,
        title: format!(
            "flame graph, {}, {}",
            if service.is_some() { "one service" } else { "all services" },
            span(end - from)
        ),
        path: "/querier.v1.QuerierService/SelectMergeStacktraces",
        request: select(selector, from, end),
        answer: Answer::FlameGraph { total: plan.cpu(service, from, end) },
    };
    let mut timeline = select("{}", start, end);
    wire::bytes(&mut timeline, 5, b"pod");
    wire::double(&mut timeline, 6, STEP);
    let mut services = Vec::new();
    wire::bytes(&mut services, 1, b"service_name");
    wire::number(&mut services, 3, millis(start));
    wire::number(&mut services, 4, millis(end));
    vec![
        flame_graph("flame_graph_service_1h", &one, Some(service), hour),
        flame_graph("flame_graph_service_6h", &one, Some(service), start),
        flame_graph("flame_graph_all_1h", "{}", None, hour),
        flame_graph("flame_graph_all_6h", "{}", None, start),
        Query {
            key: "timeline_pods_6h",
            title: format!("timeline of {} pods, {} at 15 s", plan.series.len(), span(end - start)),
            path: "/querier.v1.QuerierService/SelectSeries",
            request: timeline,
            answer: Answer::Timeline { series: plan.series.len(), total: plan.cpu(None, start, end) },
        },
        Query {
            key: "pprof_service_6h",
            title: format!("pprof of one service, {}", span(end - start)),
            path: "/querier.v1.QuerierService/SelectMergeProfile",
            request: select(&one, start, end),
            answer: Answer::Profile { total: plan.cpu(Some(service), start, end) },
        },
        Query {
            key: "services",
            title: "list of services".to_owned(),
            path: "/querier.v1.QuerierService/LabelValues",
            request: services,
            answer: Answer::Names(plan.services().into_iter().map(str::to_owned).collect()),
        },
    ]
}

/// The four fields that all selections begin with.
fn select(selector: &str, from: Nanos, until: Nanos) -> Vec<u8> {
    let mut request = Vec::new();
    wire::bytes(&mut request, 1, CPU.as_bytes());
    wire::bytes(&mut request, 2, selector.as_bytes());
    wire::number(&mut request, 3, millis(from));
    wire::number(&mut request, 4, millis(until));
    request
}

fn span(time: Nanos) -> String {
    let seconds = time / SECOND;
    if seconds % 3600 == 0 { format!("{} h", seconds / 3600) } else { format!("{seconds} s") }
}

fn millis(time: Nanos) -> u64 {
    (time / 1_000_000) as u64
}

impl Query {
    /// Asks once and checks the answer; the time ends with its last byte.
    pub(crate) async fn ask(&self, connection: &mut Connection, address: &Address) -> Result<Duration> {
        let request = post(address, self.path, "application/proto", &self.request);
        let began = Instant::now();
        let response = connection.send(&request).await.with_context(|| self.key)?;
        let latency = began.elapsed();
        self.check(&response).with_context(|| format!("the answer to {} is wrong", self.key))?;
        Ok(latency)
    }

    /// Asks until the server is warm, then measures.
    pub(crate) async fn warm(&self, address: &Address) -> Result<Latencies> {
        let mut connection = Connection::open(address).await?;
        let mut latencies = Vec::with_capacity(WARM);
        for round in 0..WARM_UP + WARM {
            let latency = self.ask(&mut connection, address).await?;
            if round >= WARM_UP {
                latencies.push(latency);
            }
        }
        Ok(Latencies::new(latencies))
    }

    fn check(&self, response: &Response) -> Result<()> {
        if response.status != 200 {
            bail!("status {}: {}", response.status, response.text());
        }
        match &self.answer {
            Answer::FlameGraph { total } => {
                equal("total of the flame graph", flame_graph_total(&response.body)?, *total)
            }
            Answer::Timeline { series, total } => {
                let found = timeline(&response.body)?;
                equal("number of series", found.0, *series)?;
                // Whole nanoseconds, below what a double holds exactly.
                equal("sum of all points", found.1 as i64, *total)
            }
            Answer::Profile { total } => {
                let limits = Limits { inflated_bytes: usize::MAX, ..Limits::default() };
                let profile = pprof::read(&response.body, &limits)?.profile;
                equal("total of the pprof", profile.totals().first().copied().unwrap_or_default(), *total)
            }
            Answer::Names(names) => equal("names", texts(&response.body, 1)?, names.clone()),
        }
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<()> {
    ensure!(found == wanted, "{what}: {found:?}, but {wanted:?} was sent");
    Ok(())
}

/// The total in SelectMergeStacktracesResponse's flame graph, after a look at its root.
fn flame_graph_total(body: &[u8]) -> Result<i64> {
    let graph = messages(body, 1)?.into_iter().next().context("no flame graph")?;
    let names = texts(graph, 1)?;
    ensure!(names.first().is_some_and(|name| name == "total"), "the root is not named total");
    ensure!(messages(graph, 2)?.len() > 3, "the flame graph has no depth");
    let total = fields(graph)?.into_iter().find_map(|(number, value)| match value {
        Value::Number(total) if number == 3 => Some(total as i64),
        _ => None,
    });
    Ok(total.unwrap_or_default())
}

/// Number of series in a SelectSeriesResponse, and the sum of all their points.
fn timeline(body: &[u8]) -> Result<(usize, f64)> {
    let series = messages(body, 1)?;
    let mut sum = 0.0;
    for series in &series {
        for point in messages(series, 2)? {
            for (number, value) in fields(point)? {
                if let (1, Value::Double(value)) = (number, value) {
                    sum += value;
                }
            }
        }
    }
    Ok((series.len(), sum))
}

fn messages(message: &[u8], field: u32) -> Result<Vec<&[u8]>> {
    let found = fields(message)?.into_iter().filter_map(|(number, value)| match value {
        Value::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    });
    Ok(found.collect())
}

fn texts(message: &[u8], field: u32) -> Result<Vec<String>> {
    let found = messages(message, field)?;
    Ok(found.into_iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    fn response(body: Vec<u8>) -> Response {
        Response { status: 200, body }
    }

    #[test]
    fn wrong_totals_are_found() {
        let plan = plan();
        let all = queries(&plan);
        let query = all.iter().find(|query| query.key == "flame_graph_all_6h").unwrap();
        let answer = |total: i64| {
            let mut graph = Vec::new();
            wire::bytes(&mut graph, 1, b"total");
            for _ in 0..4 {
                wire::bytes(&mut graph, 2, &[]);
            }
            wire::number(&mut graph, 3, total as u64);
            let mut body = Vec::new();
            wire::bytes(&mut body, 1, &graph);
            response(body)
        };
        let total = plan.cpu(None, plan.start, plan.end());
        query.check(&answer(total)).unwrap();
        let error = query.check(&answer(total + 1)).unwrap_err().to_string();
        assert!(error.contains("total of the flame graph"), "{error}");
        assert!(query.check(&response(Vec::new())).is_err());
    }

    #[test]
    fn timelines_are_summed() {
        let plan = plan();
        let all = queries(&plan);
        let query = all.iter().find(|query| query.key == "timeline_pods_6h").unwrap();
        let mut body = Vec::new();
        for index in 0..plan.series.len() {
            let (mut series, mut point) = (Vec::new(), Vec::new());
            let total = plan.cpu(None, plan.start, plan.end());
            wire::double(&mut point, 1, if index == 0 { total as f64 } else { 0.0 });
            wire::bytes(&mut series, 2, &point);
            wire::bytes(&mut body, 1, &series);
        }
        query.check(&response(body.clone())).unwrap();
        wire::bytes(&mut body, 1, &[]);
        assert!(query.check(&response(body)).is_err());
    }
}
