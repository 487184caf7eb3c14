//! SQL sees what the engine sees, in whichever files and tables it lies, and nothing else.

#![cfg(feature = "sql")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod fixture;

use everflame_lake::Retention;
use everflame_query::{Limits, SqlErrorKind, SqlLimits};
use fixture::{AUGUST, CPU, DAY, Fixture, HOUR, lines};
use std::time::Duration;

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
    // Rows without columns weigh nothing, so that no limit would stop what a join keeps of them.
    for many in
        ["samples a, samples b, samples c", "generate_series(1, 100000) a, generate_series(1, 100000) b"]
    {
        let error = fixture.fails(&format!("SELECT count(*) FROM {many}")).await;
        assert_eq!(error.kind(), SqlErrorKind::TooLarge, "{many}: {error}");
        assert!(error.to_string().contains("only to be counted"), "{many}: {error}");
    }
    assert_eq!(fixture.rows("SELECT count(*) > 0 FROM profiles a, profiles b").await, ["true"]);
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
