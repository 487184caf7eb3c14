//! A lake with two services, and SQL over it.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use everflame_lake::{
    Batch, Lake, LakeConfig, NewStacks, ProfileId, ProfileRow, Retention, Sample, StorageConfig,
};
use everflame_profile::{Clock, Frame, Labels, Nanos, Series, StackId, SymbolInterner, Symbols, stack_id};
use everflame_query::{Engine, Limits, Selector, Sql, SqlAnswer, SqlError, SqlLimits, StackQuery, TimeRange};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(super) const SECOND: Nanos = 1_000_000_000;
pub(super) const HOUR: Nanos = 3_600 * SECOND;
pub(super) const DAY: Nanos = 24 * HOUR;
/// 2026-08-01T00:00:00Z.
pub(super) const AUGUST: Nanos = 1_785_542_400 * SECOND;
pub(super) const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
pub(super) const HEAP: &str = "memory:inuse_space:bytes:space:bytes";

/// Two months after the profiles.
pub(super) struct October;

impl Clock for October {
    fn now(&self) -> Nanos {
        AUGUST + 70 * DAY
    }
}

/// All tables of sums of samples.
pub(super) const SUMS: [&str; 6] = [
    "samples_5m",
    "samples_1h",
    "samples_1d",
    "samples_5m_service",
    "samples_1h_service",
    "samples_1d_service",
];

/// Function names, leaf first.
pub(super) const STACKS: [&[&str]; 4] =
    [&["json.Parse", "main"], &["gzip.write", "json.Parse", "main"], &["main"], &["idle"]];

pub(super) struct Fixture {
    pub(super) lake: Arc<Lake>,
    pub(super) engine: Arc<Engine>,
    pub(super) sql: Sql,
    pub(super) pushed: i64,
    /// Label sets with their type, and the same without the pod.
    series: BTreeSet<String>,
    reduced: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(Limits::default(), SqlLimits::default()).await
    }

    pub(super) async fn with(limits: Limits, sql: SqlLimits) -> Self {
        let forever = Retention { raw: None, five_minutes: None, hour: None, day: None, bytes: None };
        Self::keeping(forever, limits, sql).await
    }

    pub(super) async fn keeping(retention: Retention, limits: Limits, sql: SqlLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = LakeConfig {
            path: folder.path().to_owned(),
            tenant: "anonymous".to_owned(),
            flush_interval: Duration::from_secs(3600),
            flush_bytes: 64 << 20,
            storage: StorageConfig::default(),
            retention,
            retention_overrides: Vec::new(),
            instance_labels: vec!["pod".to_owned()],
        };
        let lake = Lake::open(config, Arc::new(October)).await.unwrap();
        let engine = Arc::new(Engine::new(lake.clone(), limits));
        let sql = Sql::new(engine.clone(), sql);
        let (series, reduced) = (BTreeSet::new(), BTreeSet::new());
        Self { lake, engine, sql, pushed: 0, series, reduced, _folder: folder }
    }

    /// A profile with the value 1000 on each of all stacks but the first, which has `pushed`.
    pub(super) async fn push(&mut self, service: &str, team: &str, profile_type: &str, time: Nanos) {
        self.pushed += 1;
        let ids: Vec<StackId> = STACKS.iter().map(|stack| id(stack)).collect();
        let (mut interner, mut new) = (SymbolInterner::default(), NewStacks::default());
        for at in self.lake.unknown_stacks(service, &ids) {
            for name in STACKS[at as usize] {
                let function = interner.intern_string(name);
                new.frames.push(interner.intern_frame(Frame { function, ..Frame::default() }));
            }
            new.stacks.push((at, new.frames.len() as u32));
        }
        new.symbols = interner.into_symbols();
        let value = |at: usize| if at == 0 { self.pushed } else { 1000 };
        let samples = (0..STACKS.len()).map(|at| Sample {
            stack: at as u32,
            value: value(at),
            span_id: at as u64,
            trace_id: at as u128 * 7,
        });
        let pod = format!("{service}-{}", self.pushed % 3);
        self.reduced.insert(format!("{service} {team} {profile_type}"));
        self.series.insert(format!("{service} {team} {profile_type} {pod}"));
        let labels = [("service_name", service), ("team", team), ("pod", &pod)];
        let series =
            Series { labels: Labels::from_pairs(labels), profile_type: profile_type.parse().unwrap() };
        let batch = Batch {
            service: service.to_owned(),
            upload: None,
            series: vec![series],
            profiles: vec![ProfileRow {
                series: 0,
                id: ProfileId(self.pushed as u128),
                time,
                duration: 10 * SECOND,
                total: self.pushed + 3000,
                samples_end: STACKS.len() as u32,
            }],
            samples: samples.collect(),
            stacks: ids,
            new_stacks: new,
        };
        self.lake.append(batch).await.unwrap();
    }

    /// Ten profiles on each of three days at the end of August and in September.
    pub(super) async fn push_all(&mut self) {
        for day in [0, 30, 31] {
            for at in 0..10 {
                let time = AUGUST + day * DAY + at * 47 * 60 * SECOND + 123;
                let service = if at % 3 == 0 { "shop" } else { "web" };
                let team = if at % 2 == 0 { "blue" } else { "green" };
                let profile_type = if at % 5 == 0 { HEAP } else { CPU };
                self.push(service, team, profile_type, time).await;
            }
        }
    }

    pub(super) async fn rows(&self, statement: &str) -> Vec<String> {
        match self.sql.query(statement).await {
            Ok(answer) => lines(&answer),
            Err(error) => panic!("{statement}: {error}"),
        }
    }

    pub(super) async fn fails(&self, statement: &str) -> SqlError {
        match self.sql.query(statement).await {
            Ok(answer) => panic!("{statement}: {:?}", lines(&answer)),
            Err(error) => error,
        }
    }

    /// Compares every table with what was pushed, and with the engine.
    pub(super) async fn check(&self) {
        let totals = "GROUP BY service, profile_type ORDER BY service, profile_type";
        let expect = self
            .rows(&format!("SELECT service, profile_type, sum(total), count(*) FROM profiles {totals}"))
            .await;
        assert_eq!(expect.len(), 4, "{expect:?}");
        let found = self
            .rows(&format!("SELECT service, profile_type, sum(value), count(*) / 4 FROM samples {totals}"))
            .await;
        assert_eq!(found, expect);
        assert_eq!(
            self.rows("SELECT sum(total) FROM profiles").await,
            [(self.pushed * (self.pushed + 1) / 2 + 3000 * self.pushed).to_string()]
        );
        self.check_sums(&expect).await;
        self.check_labels().await;
    }

    /// Compares the tables of sums with the totals of `expect`.
    pub(super) async fn check_sums(&self, expect: &[String]) {
        let totals = "GROUP BY service, profile_type ORDER BY service, profile_type";
        for tier in ["5m", "1h", "1d", "5m_service", "1h_service", "1d_service"] {
            let statement = "SELECT service, profile_type, sum(total), sum(profiles) FROM profiles_";
            assert_eq!(self.rows(&format!("{statement}{tier} {totals}")).await, expect, "profiles_{tier}");
        }
        for table in SUMS.into_iter().flat_map(|table| [table.to_owned(), format!("stack_{table}")]) {
            let found = self
                .rows(&format!("SELECT service, profile_type, sum(value), 0 FROM {table} {totals}"))
                .await;
            let short = |lines: &[String]| -> Vec<String> {
                lines.iter().map(|line| line.rsplit_once('|').unwrap().0.to_owned()).collect()
            };
            assert_eq!(short(&found), short(expect), "{table}");
        }
        for table in SUMS {
            let edges = match table.trim_end_matches("_service") {
                "samples_5m" => "date_bin(interval '5 minutes', time) = time AND date = CAST(time AS date)",
                "samples_1h" => {
                    "date_trunc('hour', time) = time AND date = CAST(date_trunc('month', time) AS date)"
                }
                _ => "date_trunc('day', time) = time AND date = CAST(date_trunc('month', time) AS date)",
            };
            let statement = format!("SELECT count(*) FROM {table} WHERE NOT ({edges})");
            assert_eq!(self.rows(&statement).await, ["0"], "{table}");
        }
        let selector: Selector = r#"{team="blue"}"#.parse().unwrap();
        let range = TimeRange::new(AUGUST, AUGUST + 40 * DAY);
        let merged =
            self.engine.stacks(&StackQuery::new(CPU.parse().unwrap(), selector, range)).await.unwrap();
        for table in SUMS {
            let statement = format!(
                "SELECT sum(value) FROM stack_{table} WHERE profile_type = '{CPU}' AND label(labels, 'team') = 'blue'"
            );
            assert_eq!(self.rows(&statement).await, [merged.total().to_string()], "{table}");
        }
        let roots = self
            .rows("SELECT sum(total) FROM flamegraph('cpu', '{team=\"blue\"}', '2026-08-01', '2026-09-10') WHERE level = 0")
            .await;
        assert_eq!(roots, [merged.total().to_string()]);
    }

    /// Compares series and stacks with those that were pushed.
    pub(super) async fn check_labels(&self) {
        assert_eq!(self.rows("SELECT count(*), count(DISTINCT stack_id) FROM stacks").await, ["8|4"]);
        for (table, expect) in [("label_sets", self.series.len()), ("label_sets_service", self.reduced.len())]
        {
            let statement = format!("SELECT count(*), count(DISTINCT series_id) FROM {table}");
            assert_eq!(self.rows(&statement).await, [format!("{expect}|{expect}")], "{table}");
        }
        let statement = "SELECT count(*) FROM label_sets_service WHERE label(labels, 'pod') <> ''";
        assert_eq!(self.rows(statement).await, ["0"]);
        let statement = "SELECT count(DISTINCT series_id) FROM series";
        assert_eq!(self.rows(statement).await, [self.series.len().to_string()]);
    }
}

pub(super) fn id(functions: &[&str]) -> StackId {
    let (mut buffer, mut ids) = (Vec::new(), Vec::new());
    for function in functions {
        let mut symbols = Symbols::default();
        let function = symbols.strings.push(function);
        ids.push(symbols.frame_id(&Frame { function, ..Frame::default() }, &mut buffer));
    }
    stack_id(ids.into_iter(), &mut buffer)
}

/// A line for each row, values between bars.
pub(super) fn lines(answer: &SqlAnswer) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in &answer.batches {
        let options = FormatOptions::default();
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            lines.push(values.join("|"));
        }
    }
    lines
}
