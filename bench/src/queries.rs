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
    FlameGraph {
        total: i64,
    },
    /// `points` where there is one for each profile.
    Timeline {
        series: usize,
        total: i64,
        points: Option<usize>,
    },
    Profile {
        total: i64,
    },
    Names(Vec<String>),
}

/// The whole list for the dense load. "6 h" is the whole span of the load, "1 h" its last hour.
pub(crate) fn dense(plan: &Plan) -> Vec<Query> {
    let (start, end) = (plan.start, plan.end());
    let hour = start.max(end - 3600 * SECOND);
    let service = plan.services().get(plan.services().len() / 2).copied().unwrap_or_default();
    let one = format!("{{service_name=\"{service}\"}}");
    let flame_graph = |key, selector: &str, service: Option<&str>, from: Nanos| {
        let what = if service.is_none() { "all services" } else { "one service" };
        flame_graph(key, what, (selector, service), (from, end), plan)
    };
    let pods =
        Answer::Timeline { series: plan.series.len(), total: plan.cpu(None, start, end), points: None };
    let mut services = Vec::new();
    wire::bytes(&mut services, 1, b"service_name");
    wire::number(&mut services, 3, millis(start));
    wire::number(&mut services, 4, millis(end));
    vec![
        flame_graph("flame_graph_service_1h", &one, Some(service), hour),
        flame_graph("flame_graph_service_6h", &one, Some(service), start),
        flame_graph("flame_graph_all_1h", "{}", None, hour),
        flame_graph("flame_graph_all_6h", "{}", None, start),
        timeline("timeline_pods_6h", "{}", (start, end), 15, pods),
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

/// The list for thirty days of profiles that were sent late.
pub(crate) fn backfill(plan: &Plan) -> Vec<Query> {
    let range = (plan.start, plan.end());
    let service = plan.services().first().copied().unwrap_or_default();
    let (one, all) = (format!("{{service_name=\"{service}\"}}"), "{service_name=~\"late-.+\"}");
    let (series, total) = (plan.series.len(), plan.cpu(None, range.0, range.1));
    let pods = |points| Answer::Timeline { series, total, points };
    vec![
        flame_graph("backfill_flame_graph_30d", "one service", (&one, Some(service)), range, plan),
        timeline("backfill_timeline_30d", all, range, 1800, pods(None)),
        // As long as the interval: each profile is a point of its own, and none may be missing.
        timeline("backfill_count_30d", all, range, plan.interval / SECOND, pods(Some(plan.profiles))),
    ]
}

/// The list for a year, over its last 300 days. They begin with an hour: what lies before the last days is
/// kept by the hour.
pub(crate) fn year(plan: &Plan) -> Vec<Query> {
    const HOUR: Nanos = 3600 * SECOND;
    let range = ((plan.end() - 300 * 24 * HOUR) / HOUR * HOUR, plan.end());
    let service = plan.services().first().copied().unwrap_or_default();
    let one = format!("{{service_name=\"{service}\"}}");
    let mut request = select(&one, range.0, range.1);
    let step = 6 * HOUR;
    wire::double(&mut request, 6, (step / SECOND) as f64);
    // A point is what comes up to its time: the first begins a step before the range, and what is left after
    // the last whole step has none.
    let covered = (range.0 - step, range.1 - (range.1 - range.0) % step + 1);
    vec![
        flame_graph("year_flame_graph_300d", "one service", (&one, Some(service)), range, plan),
        Query {
            key: "year_timeline_300d",
            title: "timeline of one service, 300 days at 6 h".to_owned(),
            path: SELECT_SERIES,
            request,
            answer: Answer::Timeline { series: 1, total: plan.cpu(None, covered.0, covered.1), points: None },
        },
    ]
}

const SELECT_SERIES: &str = "/querier.v1.QuerierService/SelectSeries";

/// The flame graph of the selected profiles of `plan`; `selector` takes those of the service, or all.
fn flame_graph(
    key: &'static str,
    what: &str,
    (selector, service): (&str, Option<&str>),
    (from, until): (Nanos, Nanos),
    plan: &Plan,
) -> Query {
    Query {
        key,
        title: format!("flame graph, {what}, {}", span(until - from)),
        path: "/querier.v1.QuerierService/SelectMergeStacktraces",
        request: select(selector, from, until),
        answer: Answer::FlameGraph { total: plan.cpu(service, from, until) },
    }
}

/// A timeline by pod with a point each `step` seconds.
fn timeline(
    key: &'static str,
    selector: &str,
    (from, until): (Nanos, Nanos),
    step: i64,
    answer: Answer,
) -> Query {
    let mut request = select(selector, from, until);
    wire::bytes(&mut request, 5, b"pod");
    wire::double(&mut request, 6, step as f64);
    let title = match answer {
        Answer::Timeline { series, .. } => {
            format!("timeline of {series} pods, {} at {step} s", span(until - from))
        }
        _ => String::new(),
    };
    Query { key, title, path: SELECT_SERIES, request, answer }
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
    match time / SECOND {
        seconds if seconds >= 48 * 3600 => format!("{} days", seconds / 86_400),
        seconds if seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds => format!("{seconds} s"),
    }
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
            Answer::Timeline { series, total, points } => {
                let found = Points::read(&response.body)?;
                equal("number of series", found.series, *series)?;
                if let Some(points) = points {
                    equal("number of points, one for each profile", found.points, *points)?;
                }
                // Whole nanoseconds, below what a double holds exactly.
                equal("sum of all points", found.sum as i64, *total)
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

/// What a SelectSeriesResponse holds.
#[derive(Default)]
struct Points {
    series: usize,
    /// Points that are not zero.
    points: usize,
    sum: f64,
}

impl Points {
    fn read(body: &[u8]) -> Result<Self> {
        let series = messages(body, 1)?;
        let mut found = Self { series: series.len(), ..Self::default() };
        for series in &series {
            for point in messages(series, 2)? {
                for (number, value) in fields(point)? {
                    if let (1, Value::Double(value)) = (number, value) {
                        found.sum += value;
                        found.points += usize::from(value != 0.0);
                    }
                }
            }
        }
        Ok(found)
    }
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
        let all = dense(&plan);
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
    fn a_missing_profile_is_found() {
        let plan = plan();
        let query = backfill(&plan).pop().unwrap();
        let answer = |points: usize| {
            let mut body = Vec::new();
            for at in 0..plan.series.len() {
                let mut series = Vec::new();
                // The last point makes up for the total, so that only the number of points can tell.
                for point in (at..points).step_by(plan.series.len()) {
                    let total = plan.cpu(None, plan.start, plan.end());
                    let value = if point == 0 { total - points as i64 + 1 } else { 1 };
                    let mut message = Vec::new();
                    wire::double(&mut message, 1, value as f64);
                    wire::bytes(&mut series, 2, &message);
                }
                wire::bytes(&mut body, 1, &series);
            }
            response(body)
        };
        query.check(&answer(plan.profiles)).unwrap();
        let error = query.check(&answer(plan.profiles - 1)).unwrap_err().to_string();
        assert!(error.contains("one for each profile"), "{error}");
    }

    #[test]
    fn timelines_are_summed() {
        let plan = plan();
        let all = dense(&plan);
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
