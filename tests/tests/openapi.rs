//! The document of the own API, compared with a running server: every operation in it is asked, and the answer
//! must be what the document says.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use everflame_tests::{Prepared, Repository, Server, prepare, skip};
use serde_json::Value;

/// What `reference` in the document leads to.
fn resolve<'a>(document: &'a Value, mut value: &'a Value) -> Result<&'a Value> {
    while let Some(reference) = value["$ref"].as_str() {
        let path = reference.strip_prefix('#').with_context(|| reference.to_owned())?;
        value = document.pointer(path).with_context(|| format!("{reference} leads nowhere"))?;
    }
    Ok(value)
}

/// Whether `value` is what `schema` says; the error names the place.
fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<()> {
    let schema = resolve(document, schema)?;
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().any(|choice| check(document, choice, value, place).is_ok());
        ensure!(fits, "{place}: {value} is none of {choices:?}");
    }
    let is = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    match &schema["type"] {
        Value::String(kind) => ensure!(is(kind), "{place}: {value} is no {kind}"),
        Value::Array(kinds) => {
            ensure!(kinds.iter().filter_map(Value::as_str).any(is), "{place}: {value} is none of {kinds:?}");
        }
        _ => {}
    }
    if let Some(values) = schema["enum"].as_array() {
        ensure!(values.contains(value), "{place}: {value} is none of {values:?}");
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ensure!(value.get(name).is_some(), "{place}: {name} is missing in {value}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(property), _) | (None, Some(property)) => check(document, property, value, &place)?,
            (None, None) if schema.get("properties").is_some() => bail!("{place} is not in the document"),
            (None, None) => {}
        }
    }
    for (at, value) in value.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], value, &format!("{place}[{at}]"))?;
    }
    Ok(())
}

async fn ask(
    server: &Server,
    method: &str,
    path: &str,
    query: &[(String, String)],
    body: Option<&Value>,
) -> Result<(u16, String, Vec<u8>)> {
    let method = reqwest::Method::from_bytes(method.to_uppercase().as_bytes())?;
    let mut request = server.http().request(method, server.url(path)).query(query);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await?;
    let content_type = answer.headers().get("content-type").map(|value| value.to_str()).transpose()?;
    let content_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
    Ok((answer.status().as_u16(), content_type, answer.bytes().await?.to_vec()))
}

#[tokio::test]
async fn the_document_is_true() -> Result<()> {
    let repository = Repository::new()?;
    repository.commit("v1", &[("main.go", b"package main\n\nfunc work() {}\n")])?;
    let source_code = format!("{{}} git={} strip=/app", repository.path().display());
    let server = Server::start_with(&["--source-code", &source_code])?;
    let name = "api{region=eu}";
    let query = [("name", name), ("format", "folded")];
    let sent = server.http().post(server.url("/ingest")).query(&query).body("main;work 3\n").send().await?;
    ensure!(sent.status() == 200);
    // Something that was dropped, so that lists have entries.
    let refused =
        server.http().post(server.url("/ingest")).query(&query[..1]).body("work no-number\n").send().await?;
    ensure!(refused.status() == 422, "{}", refused.status());

    let (_, content_type, body) = ask(&server, "get", "/api/v1/openapi.json", &[], None).await?;
    let document: Value = serde_json::from_slice(&body)?;
    ensure!(content_type == "application/json" && document["openapi"] == "3.1.0");
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().context("no paths")? {
        let operations = operations.as_object().context("no operations")?;
        for (method, operation) in operations {
            let place = format!("{method} {path}");
            let mut query = Vec::new();
            let mut required = false;
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let parameter = resolve(&document, parameter)?;
                required |= parameter["required"] == true;
                if let (Some(name), Some(example)) =
                    (parameter["name"].as_str(), parameter["example"].as_str())
                {
                    query.push((name.to_owned(), example.to_owned()));
                }
            }
            let body = operation.pointer("/requestBody/content/application~1json/example");
            required |= body.is_some();
            let (status, content_type, body) = ask(&server, method, path, &query, body).await?;
            ensure!(status == 200, "{place}: {status} {}", String::from_utf8_lossy(&body));
            let content = &operation["responses"]["200"]["content"];
            let schema =
                &content.get(&content_type).with_context(|| format!("{place}: {content_type}"))?["schema"];
            if content_type == "application/json" {
                check(&document, schema, &serde_json::from_slice(&body)?, &place)?;
            }
            if required {
                let (status, content_type, body) = ask(&server, method, path, &[], None).await?;
                ensure!(
                    status == 400 && content_type == "application/json",
                    "{place}: {status} {content_type}"
                );
                let error = &document["components"]["schemas"]["Error"];
                check(&document, error, &serde_json::from_slice(&body)?, &place)?;
            }
            asked += 1;
        }
        // No method that the document does not know.
        let refused = server.http().request(reqwest::Method::PATCH, server.url(path)).send().await?;
        ensure!(refused.status() == 405, "{path}: {}", refused.status());
        let allowed = refused.headers().get("allow").context("no Allow header")?.to_str()?.to_lowercase();
        let mut allowed: Vec<&str> =
            allowed.split(',').map(str::trim).filter(|method| *method != "head").collect();
        allowed.sort_unstable();
        let mut known: Vec<&str> = operations.keys().map(String::as_str).collect();
        known.sort_unstable();
        ensure!(allowed == known, "{path}: {allowed:?}");
    }
    ensure!(asked >= 20, "{asked}");
    Ok(())
}

/// Requests that schemathesis makes up from the document: valid ones, and ones with a fault.
#[tokio::test]
async fn made_up_requests_are_answered_as_documented() -> Result<()> {
    let command = match prepare("schemathesis")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("schemathesis", &reason),
    };
    let (program, args) = command.split_first().context("prepare.sh printed no command")?;
    let server = Server::start()?;
    let sent = server.http().post(server.url("/ingest?name=api&format=folded")).body("main;work 3\n");
    ensure!(sent.send().await?.status() == 200);
    let folder = tempfile::tempdir()?;
    let out = Command::new(program)
        .args(args)
        .args(["run", &server.url("/api/v1/openapi.json"), "--no-color", "--seed", "1"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--workers", "1"])
        // A selector, a time and a statement have grammars that a schema cannot say, so that a text which it
        // takes is refused.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .current_dir(folder.path())
        .output()
        .with_context(|| program.clone())?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    Ok(())
}
