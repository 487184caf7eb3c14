//! `everflame sql`: a statement to a server, the rows as a table, as JSON or as CSV.

use crate::client::{Client, ServerArgs};
use crate::print;
use anyhow::{Context, bail};
use serde_json::Value;
use std::io::{Read, Write};

/// Longest value that a table shows whole.
const MAX_WIDTH: usize = 80;

/// Arguments of `everflame sql`.
#[derive(Debug, clap::Args)]
pub(crate) struct SqlArgs {
    /// The statement, such as "SELECT service, count(*) FROM profiles GROUP BY service"; - reads it from
    /// standard input. SHOW TABLES and DESCRIBE samples say what there is.
    statement: String,
    /// How the rows are written.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Columns for people; long values are cut.
    Table,
    /// The server's answer, whole.
    Json,
    /// RFC 4180, with a line of names.
    Csv,
}

/// Runs the statement and prints its rows.
pub(crate) async fn run(args: SqlArgs) -> anyhow::Result<()> {
    let statement = match args.statement.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            text
        }
        statement => statement.to_owned(),
    };
    let client = Client::new(&args.server)?;
    let request = client.post("/api/v1/sql").json(&serde_json::json!({ "query": statement }));
    let body = client.send(request).await?.text().await.context("the answer broke off")?;
    let text = match args.output {
        Output::Json => body,
        Output::Table => table(&Answer::parse(&body)?),
        Output::Csv => {
            let answer = Answer::parse(&body)?;
            for warning in &answer.warnings {
                let _ = writeln!(std::io::stderr(), "everflame: {}", line(warning));
            }
            csv(&answer)
        }
    };
    print(&text)
}

/// Rows of texts.
struct Answer {
    names: Vec<String>,
    /// Whether the values of a column are numbers.
    numeric: Vec<bool>,
    rows: Vec<Vec<String>>,
    warnings: Vec<String>,
}

impl Answer {
    fn parse(body: &str) -> anyhow::Result<Self> {
        let json: Value = serde_json::from_str(body).context("the answer is no JSON")?;
        let list = |name: &str| json.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let field = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if json.get("rows").is_none() {
            bail!("the answer has no rows; is the server of another version?");
        }
        let names: Vec<String> = list("columns").iter().map(|column| field(column, "name")).collect();
        let types = list("columns").iter().map(|column| field(column, "type"));
        let numeric = types
            .map(|name| {
                let numbers = ["bigint", "integer", "smallint", "tinyint", "double", "real", "decimal"];
                numbers.iter().any(|number| name.starts_with(number))
            })
            .collect();
        let rows = list("rows").iter();
        let rows = rows.map(|row| names.iter().map(|name| shown(row.get(name))).collect());
        let warnings = list("warnings").iter().filter_map(|warning| warning.as_str().map(str::to_owned));
        Ok(Self { rows: rows.collect(), warnings: warnings.collect(), names, numeric })
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One line: what a terminal would take as a command, or as the end of a line, is replaced.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One line that is not too long for a table.
fn cell(text: &str) -> String {
    match text.chars().count() > MAX_WIDTH {
        true => line(text).chars().take(MAX_WIDTH - 1).chain(['…']).collect(),
        false => line(text),
    }
}

fn table(answer: &Answer) -> String {
    let rows: Vec<Vec<String>> =
        answer.rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let names: Vec<String> = answer.names.iter().map(|name| cell(name)).collect();
    let widths: Vec<usize> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let values = rows.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count());
            values.max().unwrap_or(0).max(name.chars().count())
        })
        .collect();
    let row = |cells: &[String]| {
        let columns = cells.iter().zip(&widths).zip(&answer.numeric);
        let columns = columns.map(|((text, &width), numeric)| match numeric {
            true => format!("{text:>width$}"),
            false => format!("{text:<width$}"),
        });
        format!("{}\n", columns.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut out = row(&names);
    let rule: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
    out += &format!("{}\n", rule.join("  "));
    rows.iter().for_each(|cells| out += &row(cells));
    out += &match rows.len() {
        1 => "1 row\n".to_owned(),
        count => format!("{count} rows\n"),
    };
    for warning in &answer.warnings {
        out += &format!("warning: {}\n", line(warning));
    }
    out
}

fn csv(answer: &Answer) -> String {
    let quoted = |text: &String| match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.clone(),
    };
    let record = |cells: &Vec<String>| cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
    std::iter::once(&answer.names).chain(&answer.rows).map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"columns":[{"name":"service","type":"varchar"},{"name":"profiles","type":"bigint"},
        {"name":"labels","type":"map<varchar,varchar>"}],
        "rows":[{"service":"shop","profiles":12,"labels":{"a":"b"}},
                {"service":"a,\"b\"\u001b","profiles":null,"labels":null}],
        "rowCount":2,"warnings":["x could not be read"]}"#;

    #[test]
    fn tables() {
        let expect = "service  profiles  labels\n\
                      ───────  ────────  ─────────\n\
                      shop           12  {\"a\":\"b\"}\n\
                      a,\"b\"\n\
                      2 rows\n\
                      warning: x could not be read\n";
        assert_eq!(table(&Answer::parse(BODY).unwrap()), expect);
        assert_eq!(cell(&"x".repeat(100)).chars().count(), MAX_WIDTH);
    }

    #[test]
    fn csv_is_quoted() {
        let expect =
            "service,profiles,labels\r\nshop,12,\"{\"\"a\"\":\"\"b\"\"}\"\r\n\"a,\"\"b\"\"\u{1b}\",,\r\n";
        assert_eq!(csv(&Answer::parse(BODY).unwrap()), expect);
    }
}
