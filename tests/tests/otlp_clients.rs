//! OTLP exports as published libraries make them: the collector's in Go, and the protocol packages for
//! Python in three layouts, by gRPC and by HTTP, plain and gzip.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use everflame_tests::{FlameGraph, Prepared, Server, prepare, program, run, skip};
use serde_json::{Value, json};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const WAYS: [&str; 6] = ["grpc", "grpc-gzip", "protobuf", "protobuf-gzip", "json", "json-gzip"];
const SPAN: &str = "00000000000000cd";
const TRACE: &str = "000000000000000000000000000000ab";

/// Every client sends 5 samples of main;work, and one of main;idle by the thread w1 in a span, each 10 ms.
async fn check(server: &Server, sender: &str) -> Result<()> {
    for way in WAYS {
        let service = format!("otlp-{sender}-{way}");
        let selector = format!("{{service_name=\"{service}\"}}");
        let stacks = async |more: Value| -> Result<FlameGraph> {
            let mut question = json!({
                "profileTypeID": CPU, "labelSelector": selector, "start": 1, "end": 4_000_000_000_000_i64,
            });
            let (Some(question_map), Some(more)) = (question.as_object_mut(), more.as_object()) else {
                anyhow::bail!("not an object")
            };
            question_map.extend(more.clone());
            FlameGraph::from_json(
                &server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &question).await?,
            )
        };
        let all = stacks(json!({})).await.with_context(|| service.clone())?;
        ensure!(
            (all.own("work"), all.own("idle"), all.total) == (50_000_000, 10_000_000, 60_000_000),
            "{service}: {:?}",
            all.heaviest()
        );
        for part in [
            json!({"spanSelector": [SPAN]}),
            json!({"traceIdSelector": [TRACE]}),
            json!({"labelSelector": format!("{{service_name=\"{service}\",region=\"test\",\"thread.name\"=\"w1\"}}")}),
        ] {
            let found = stacks(part.clone()).await.with_context(|| format!("{service} {part}"))?;
            ensure!(
                (found.own("idle"), found.total) == (10_000_000, 10_000_000),
                "{service} {part}: {:?}",
                found.heaviest()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn go_collector() -> Result<()> {
    let command = match prepare("otlp-go")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("OTLP from Go", &reason),
    };
    let server = Server::start()?;
    run(&command, &[server.base()])?;
    check(&server, "go").await
}

#[tokio::test]
async fn python_in_three_layouts() -> Result<()> {
    let python = match prepare("grpc-python")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("OTLP from Python", &reason),
    };
    // The older packages are beside the environment of the newest.
    let environment = python.first().and_then(|python| Path::new(python).ancestors().nth(2));
    let environment = environment.context("no environment")?;
    let program = program("grpc-python/otlp.py");
    let server = Server::start()?;
    run(&python, &[&program, server.base(), "1.10"])?;
    for layout in ["1.9", "1.7"] {
        let packages = environment.join(format!("layout-{layout}"));
        run(&python, &[&program, server.base(), layout, packages.to_str().context("no text")?])?;
    }
    for layout in ["1.10", "1.9", "1.7"] {
        check(&server, layout).await?;
    }
    Ok(())
}
