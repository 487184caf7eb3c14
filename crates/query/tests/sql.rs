//! SQL sees what the engine sees, in whichever files and tables it lies, and nothing else.

#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use arrow::util::display::{ArrayFormatter, FormatOptions};
use everflame_lake::{
    Batch, Lake, LakeConfig, NewStacks, ProfileId, ProfileRow, Retention, Sample, StorageConfig,
};
use everflame_profile::{Clock, Frame, Labels, Nanos, Series, StackId, SymbolInterner, Symbols, stack_id};
use everflame_query::{
    Engine, Limits, Selector, Sql, SqlAnswer, SqlError, SqlErrorKind, SqlLimits, StackQuery, TimeRange,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Nanos = 1_000_000_000;
const HOUR: Nanos = 3_600 * SECOND;
const DAY: Nanos = 24 * HOUR;
/// 2026-08-01T00:00:00Z.
const AUGUST: Nanos = 1_785_542_400 * SECOND;
const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const HEAP: &str = "memory:inuse_space:bytes:space:bytes";

/// Two months after the profiles.
struct October;

impl Clock for October {
    fn now(&self) -> Nanos {
        AUGUST + 70 * DAY
    }
}

/// All tables of sums of samples.
const SUMS: [&str; 6] = [
    "samples_5m",
    "samples_1h",
    "samples_1d",
    "samples_5m_service",
    "samples_1h_service",
    "samples_1d_service",
];

/// Function names, leaf first.
const STACKS: [&[&str]; 4] =
    [&["json.Parse", "main"], &["gzip.write", "json.Parse", "main"], &["main"], &["idle"]];

struct Fixture {
    lake: Arc<Lake>,
    engine: Arc<Engine>,
    sql: Sql,
    pushed: i64,
    /// Label sets with their type, and the same without the pod.
    series: BTreeSet<String>,
    reduced: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(Limits::default(), SqlLimits::default()).await
    }

    async fn with(limits: Limits, sql: SqlLimits) -> Self {
        let forever = Retention { raw: None, five_minutes: None, hour: None, day: None, bytes: None };
        Self::keeping(forever, limits, sql).await
    }

    async fn keeping(retention: Retention, limits: Limits, sql: SqlLimits) -> Self {
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
    async fn push(&mut self, service: &str, team: &str, profile_type: &str, time: Nanos) {
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
    async fn push_all(&mut self) {
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

    async fn rows(&self, statement: &str) -> Vec<String> {
        match self.sql.query(statement).await {
            Ok(answer) => lines(&answer),
            Err(error) => panic!("{statement}: {error}"),
        }
    }

    async fn fails(&self, statement: &str) -> SqlError {
        match self.sql.query(statement).await {
            Ok(answer) => panic!("{statement}: {:?}", lines(&answer)),
            Err(error) => error,
        }
    }

    /// Compares every table with what was pushed, and with the engine.
    async fn check(&self) {
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
    async fn check_sums(&self, expect: &[String]) {
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
    async fn check_labels(&self) {
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

fn id(functions: &[&str]) -> StackId {
    let (mut buffer, mut ids) = (Vec::new(), Vec::new());
    for function in functions {
        let mut symbols = Symbols::default();
        let function = symbols.strings.push(function);
        ids.push(symbols.frame_id(&Frame { function, ..Frame::default() }, &mut buffer));
    }
    stack_id(ids.into_iter(), &mut buffer)
}

/// A line for each row, values between bars.
fn lines(answer: &SqlAnswer) -> Vec<String> {
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

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_the_same_in_every_table_wherever_rows_lie() {
    let mut fixture = Fixture::new().await;
    fixture.push_all().await;
    fixture.check().await;
    fixture.lake.flush().await.unwrap();
    fixture.check().await;
    fixture.push_all().await;
    fixture.lake.flush().await.unwrap();
    fixture.push_all().await;
    fixture.check().await;
    fixture.lake.compact().await.unwrap();
    fixture.check().await;
    // Files that are not summed yet, and the head.
    fixture.lake.flush().await.unwrap();
    fixture.push_all().await;
    fixture.check().await;
    fixture.lake.flush().await.unwrap();
    fixture.lake.compact().await.unwrap();
    fixture.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_in_the_sums() {
    let mut fixture = Fixture::keeping(Retention::default(), Limits::default(), SqlLimits::default()).await;
    fixture.push_all().await;
    fixture.lake.flush().await.unwrap();
    let totals = "FROM profiles GROUP BY service, profile_type ORDER BY service, profile_type";
    let statement = format!("SELECT service, profile_type, sum(total), count(*) {totals}");
    let expect = fixture.rows(&statement).await;
    let all = "SELECT service, profile_type, sum(total), sum(profiles) FROM profiles_1d_service \
               GROUP BY service, profile_type ORDER BY service, profile_type";
    fixture.lake.compact().await.unwrap();
    assert_eq!(fixture.rows("SELECT count(*) FROM samples").await, ["0"]);
    assert_eq!(fixture.rows(all).await, expect);
    assert_eq!(fixture.rows("SELECT count(*) FROM samples_5m").await, ["0"]);
    let sums: Vec<String> = fixture.rows("SELECT sum(value) FROM stack_samples_1h").await;
    let pushed = fixture.pushed;
    assert_eq!(sums, [(pushed * (pushed + 1) / 2 + 3000 * pushed).to_string()]);
    let roots = "SELECT sum(self) FROM flamegraph('cpu')";
    let cpu = format!("SELECT sum(value) FROM samples_1h_service WHERE profile_type = '{CPU}'");
    assert_eq!(fixture.rows(roots).await, fixture.rows(&cpu).await);
    // What comes now lies beside them.
    fixture.push("shop", "blue", CPU, AUGUST + 70 * DAY).await;
    assert_eq!(fixture.rows("SELECT count(*) FROM profiles").await, ["1"]);
    let pushed = fixture.pushed.to_string();
    assert_eq!(fixture.rows("SELECT sum(profiles) FROM profiles_1d").await, [pushed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_say_what_the_rows_hold() {
    let mut fixture = Fixture::new().await;
    fixture.push("shop", "blue", CPU, AUGUST + 26 * HOUR + 1500).await;
    let all = async |fixture: &Fixture| {
        let mut found = Vec::new();
        for statement in [
            "SELECT service, profile_type, window, time, value, span_id, trace_id, date FROM samples ORDER BY value, stack_id LIMIT 1",
            "SELECT window, time, value, date FROM samples_1d ORDER BY value LIMIT 1",
            "SELECT count(*) FROM samples s JOIN stacks USING (service, stack_id) WHERE s.span_id IS NOT NULL",
            "SELECT service, time, duration, total, profile_id, date FROM profiles",
            "SELECT time, duration, total, profiles, date FROM profiles_1h",
            "SELECT service, profile_type, labels, first_time, last_time FROM label_sets",
            "SELECT service, labels, first_time, last_time, date FROM series",
            "SELECT function, functions, frames[1]['function'], frames[1]['line'] FROM stacks ORDER BY function, functions",
            "SELECT label(labels, 'team'), label(labels, 'none'), labels['team'], package(function), sum(value) \
             FROM stack_samples GROUP BY 1, 2, 3, 4 ORDER BY 4, 5",
            "SELECT node, parent, level, function, path, self, total FROM flamegraph('cpu') ORDER BY node",
        ] {
            found.extend(fixture.rows(statement).await);
        }
        found
    };
    let head = all(&fixture).await;
    let expect = format!("shop|{CPU}|2026-08-02T02:00:00Z|2026-08-02T02:00:00.000001Z|1|||2026-08-02");
    assert_eq!(head.first(), Some(&expect), "{head:#?}");
    fixture.lake.flush().await.unwrap();
    assert_eq!(all(&fixture).await, head);
    fixture.lake.compact().await.unwrap();
    assert_eq!(all(&fixture).await, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_keep_files_from_being_read() {
    let mut fixture = Fixture::new().await;
    fixture.push_all().await;
    fixture.lake.flush().await.unwrap();
    let read = async |filter: &str| {
        let statement = format!("SELECT count(*) FROM samples WHERE {filter}");
        let answer = fixture.sql.query(&statement).await.unwrap();
        (lines(&answer).concat(), answer.stats.files)
    };
    assert_eq!(read("true").await, ("120".to_owned(), 3));
    assert_eq!(read("date = '2026-08-31'").await, ("40".to_owned(), 1));
    assert_eq!(read("time >= '2026-08-31T00:00:00Z'").await, ("80".to_owned(), 2));
    assert_eq!(read("time < '2026-08-31' AND service = 'shop'").await, ("16".to_owned(), 1));
    assert_eq!(read("service = 'none'").await, ("0".to_owned(), 0));
    assert_eq!(read("profile_type = 'aaa' OR date = '2020-01-01'").await, ("0".to_owned(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_keep_labels_and_stacks_in_memory_and_never_samples() {
    let mut fixture = Fixture::new().await;
    for _ in 0..5 {
        fixture.push_all().await;
    }
    fixture.lake.flush().await.unwrap();
    let plan = fixture
        .rows(&format!(
            "EXPLAIN SELECT sum(value) FROM stack_samples WHERE profile_type = '{CPU}' GROUP BY function"
        ))
        .await
        .concat();
    // What stands first below a join is kept in memory.
    let place = |table: &str| plan.find(&format!("Lake: {table}")).unwrap();
    assert!(place("stacks") < place("samples") && place("label_sets") < place("samples"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_written_or_reached() {
    let fixture = Fixture::new().await;
    for statement in [
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "INSERT INTO samples SELECT * FROM samples",
        "COPY (SELECT 1) TO '/tmp/everflame-sql-test.csv'",
        "SET datafusion.execution.batch_size = 1",
        "DROP TABLE samples",
        "DELETE FROM samples",
        "WITH x AS (SELECT 1) INSERT INTO samples SELECT * FROM samples",
        "SELECT 1; SELECT 2",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT repeat('x', 1000000000)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
        "EXPLAIN ANALYZE INSERT INTO samples SELECT * FROM samples",
    ] {
        let error = fixture.fails(statement).await;
        assert_eq!(error.kind(), SqlErrorKind::Statement, "{statement}: {error}");
    }
    assert!(!std::path::Path::new("/tmp/everflame-sql-test.csv").exists());
    for statement in
        ["SHOW TABLES", "DESCRIBE samples", "SHOW COLUMNS FROM stacks", "EXPLAIN SELECT * FROM samples"]
    {
        assert!(!fixture.rows(statement).await.is_empty(), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_with_their_place() {
    let fixture = Fixture::new().await;
    for (statement, expect) in [
        ("SELEC 1", "line: 1, column: 1"),
        ("SELECT 1 FROM", "expected"),
        ("SELECT nothing FROM samples", "nothing"),
        ("SELECT * FROM nothing", "nothing"),
        ("SELECT no_function(1)", "no_function"),
        ("SELECT 1 / 0", "divide by zero"),
        ("SELECT CAST('x' AS bigint)", "'x'"),
        ("SELECT label(1, 'x')", "label(labels, 'team')"),
        ("SELECT * FROM flamegraph()", "flamegraph("),
        ("SELECT * FROM flamegraph('no')", "no profile type"),
        ("SELECT * FROM flamegraph('a:b:c:d:e', '{x=}')", "expected a quoted value"),
        ("SELECT * FROM flamegraph('a:b:c:d:e', '', 'yesterday')", "from must be a time"),
        ("SELECT * FROM flamegraph('a:b:c:d:e', '', '2026-02-01', '2026-01-01')", "before it begins"),
    ] {
        let error = fixture.fails(statement).await;
        let text = error.to_string();
        assert_eq!(error.kind(), SqlErrorKind::Statement, "{statement}: {text}");
        assert!(text.to_lowercase().contains(expect), "{statement}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let sql = SqlLimits { rows: 50, bytes: 100_000, memory: 1 << 20, concurrency: 1 };
    let mut fixture = Fixture::with(Limits { rows: 250, ..Limits::default() }, sql).await;
    for (statement, expect) in [
        ("SELECT * FROM generate_series(1, 51)", "50 rows"),
        ("SELECT * FROM generate_series(1, 1000000) ORDER BY value DESC", "more memory"),
        ("SELECT value * 7919 % 1000003 AS v FROM generate_series(1, 1000000) GROUP BY v", "more memory"),
    ] {
        let error = fixture.fails(statement).await;
        assert_eq!(error.kind(), SqlErrorKind::TooLarge, "{statement}: {error}");
        assert!(error.to_string().contains(expect), "{statement}: {error}");
    }
    assert_eq!(fixture.rows("SELECT * FROM generate_series(1, 50)").await.len(), 50);
    fixture.push_all().await;
    fixture.lake.flush().await.unwrap();
    fixture.rows("SELECT sum(value) FROM samples").await;
    let error = fixture.fails("SELECT sum(a.value) FROM samples a JOIN samples b USING (stack_id) JOIN samples c USING (stack_id)").await;
    assert_eq!(error.kind(), SqlErrorKind::TooLarge, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_statements_end_and_others_are_told_to_wait() {
    let endless = "SELECT count(*) FROM generate_series(1, 1000) a, generate_series(1, 10000000000) b WHERE a.value + b.value = 0";
    let quick = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let fixture = Fixture::with(quick, SqlLimits::default()).await;
    let error = fixture.fails(endless).await;
    assert_eq!(error.kind(), SqlErrorKind::Timeout, "{error}");

    let sql = SqlLimits { concurrency: 1, ..SqlLimits::default() };
    let fixture = Fixture::with(Limits::default(), sql).await;
    {
        let endless = fixture.sql.query(endless);
        let waiting = fixture.sql.query("SELECT 1");
        tokio::select! {
            biased;
            done = endless => panic!("{done:?}"),
            busy = waiting => assert_eq!(busy.unwrap_err().kind(), SqlErrorKind::Unavailable),
        }
    }
    // The endless one was dropped, and its turn is free again.
    assert_eq!(fixture.rows("SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_and_long_statements_do_no_harm() {
    let fixture = Fixture::new().await;
    let nested = |open: &str, close: &str, times: usize| {
        format!("SELECT {}1{}", open.repeat(times), close.repeat(times))
    };
    let statements = [
        nested("(", ")", 100),
        nested("(", ")", 1_900),
        nested("- ", "", 1_900),
        nested("NOT ", " = 1", 900),
        nested("(SELECT ", ")", 300),
        nested("[", "]", 400),
        format!("SELECT {}", vec!["1"; 1_900].join(" + ")),
        format!("SELECT {}", vec!["1 = 1"; 900].join(" AND ")),
        vec!["SELECT 1"; 120].join(" UNION ALL "),
        format!("SELECT 1 IN ({})", vec!["1"; 20_000].join(",")),
        format!("SELECT '{}'", "x".repeat(300_000)),
    ];
    for statement in statements {
        match fixture.sql.query(&statement).await {
            Ok(answer) => assert!(answer.rows() > 0),
            Err(error) => {
                let expect = [SqlErrorKind::Statement, SqlErrorKind::TooLarge];
                let begin: String = statement.chars().take(60).collect();
                assert!(expect.contains(&error.kind()), "{begin}: {error}");
            }
        }
    }
    assert_eq!(fixture.rows("SELECT 1").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_do_not_grow_without_bound() {
    let mut fixture = Fixture::new().await;
    fixture.push_all().await;
    let doubled = |start: &str, twice: &str| {
        let steps = (1..25).map(|step| format!("x{step} AS (SELECT {twice} AS x FROM x{})", step - 1));
        format!("WITH x0 AS ({start}), {} SELECT * FROM x24", steps.collect::<Vec<_>>().join(", "))
    };
    let statements = [
        doubled("SELECT function AS x FROM stacks", "concat(x, x)"),
        doubled("SELECT function AS x FROM stacks", "x || x"),
        doubled("SELECT function AS x FROM stacks", "replace(x, 'a', concat(x, x))"),
        doubled("SELECT function AS x FROM stacks", "regexp_replace(x, '.', x, 'g')"),
        doubled("SELECT functions AS x FROM stacks", "array_concat(x, x)"),
        doubled("SELECT functions AS x FROM stacks", "x || x"),
        doubled("SELECT 'ab' AS x", "concat_ws(x, x, x, x)"),
        doubled("SELECT function AS x FROM stacks", "[x, x]"),
        format!("SELECT concat(function, '{}') FROM stacks", "x".repeat(20_000)),
        format!("SELECT {} FROM stacks", vec![format!("'{}'", "x".repeat(4_000)); 20].join(", ")),
    ];
    for statement in statements {
        let begin: String = statement.chars().take(60).collect();
        let error = fixture.fails(&statement).await;
        assert_eq!(error.kind(), SqlErrorKind::TooLarge, "{begin}: {error}");
    }
    for (statement, expect) in [
        ("SELECT 'a' || 1 || NULL", ""),
        ("SELECT 'a' || 1 || 'b'", "a1b"),
        ("SELECT concat('a', 1, NULL, 'b')", "a1b"),
        ("SELECT [1, 2] || 3", "[1, 2, 3]"),
        ("SELECT replace('aba', 'a', 'cc')", "ccbcc"),
        ("SELECT min(service || '/' || array_to_string(functions, ';')) FROM stacks", "shop/idle"),
        ("SELECT to_char(DATE '2026-08-01', '%Y')", "2026"),
    ] {
        assert_eq!(fixture.rows(statement).await, [expect], "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_named_and_the_rest_answered() {
    let mut fixture = Fixture::new().await;
    fixture.push_all().await;
    fixture.lake.flush().await.unwrap();
    let file = fixture.lake.snapshot().samples[1].path.clone();
    std::fs::write(&file, b"PAR1 no longer PAR1").unwrap();
    let answer = fixture.sql.query("SELECT count(*) FROM samples").await.unwrap();
    assert_eq!(lines(&answer), ["80"]);
    assert_eq!(answer.warnings.len(), 1);
    assert_eq!(answer.warnings[0].path, file);
}
