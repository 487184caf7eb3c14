//! What is stored belongs to the user: the Python `deltalake` package and Polars open the tables and
//! compute the totals that the API answers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use everflame_tests::{FlameGraph, Prepared, Server, now_ms, prepare, skip};
use serde_json::{Value, json};

const PROFILES: [&str; 4] = ["go-compile", "gofmt", "go-link", "shop"];

#[tokio::test]
async fn deltalake_and_polars_get_the_totals_of_the_api() -> Result<()> {
    let command = match prepare("lake-readers")? {
        Prepared::Ready(command) => command,
        Prepared::Missing(reason) => return skip("lake readers", &reason),
    };
    // The profiles are older than what is kept otherwise.
    let mut server = Server::start_with(&["--retention-raw", "forever"])?;
    for name in PROFILES {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../bench/profiles/{name}.pb.gz"));
        let body = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let url = server.url(&format!("/ingest?name={name}&format=pprof"));
        let answer = server.http().post(url).body(body).send().await?;
        ensure!(answer.status().is_success(), "{name}: {} {}", answer.status(), answer.text().await?);
    }
    // A clean shutdown moves everything into the tables.
    server.shutdown()?;
    let read = read_tables(&command, &server.data().join("anonymous"))?;
    ensure!(read["deltalake"] == read["polars"], "the two readers differ: {read}");
    server.restart()?;

    let types = read["polars"].as_object().context("polars")?;
    ensure!(types.len() == 2, "samples and cpu of Go, but {:?}", types.keys());
    for (profile_type, services) in types {
        for name in PROFILES {
            let graph = flame_graph(&server, profile_type, &format!("{{service_name=\"{name}\"}}")).await?;
            ensure!(graph.total > 0, "{name} {profile_type} is empty");
            ensure!(
                services[name] == graph.total,
                "{name} {profile_type}: {} and {}",
                services[name],
                graph.total
            );
        }
        // The same for the heaviest function over all services.
        let functions = read["self"][profile_type].as_object().context("self")?;
        let (function, own) = functions.iter().max_by_key(|(_, own)| own.as_i64()).context("no function")?;
        let graph = flame_graph(&server, profile_type, "{}").await?;
        ensure!(
            graph.own(function) == own.as_i64().unwrap_or_default(),
            "{function} in {profile_type}: {own} in the tables, {} from the API",
            graph.own(function)
        );
    }

    // Compacted and summed, the tables hold the same, and so does each tier.
    let answer = server.http().post(server.url("/api/v1/lake/compact")).send().await?;
    ensure!(answer.status().is_success(), "compact: {} {}", answer.status(), answer.text().await?);
    server.shutdown()?;
    let again = read_tables(&command, &server.data().join("anonymous"))?;
    for part in ["deltalake", "polars", "self"] {
        ensure!(again[part] == read[part], "{part}: {} before and {} after", read[part], again[part]);
    }
    let tiers = again["tiers"].as_object().context("tiers")?;
    ensure!(tiers.len() == 6, "there should be six tables of sums, but {:?}", tiers.keys());
    for (table, totals) in tiers {
        ensure!(*totals == read["polars"], "{table}: {totals} and {}", read["polars"]);
    }
    Ok(())
}

async fn flame_graph(server: &Server, profile_type: &str, selector: &str) -> Result<FlameGraph> {
    let request = json!({
        "profileTypeID": profile_type, "labelSelector": selector,
        "start": 1, "end": now_ms()?, "maxNodes": 1_000_000,
    });
    let answer = server.connect("querier.v1.QuerierService/SelectMergeStacktraces", &request).await?;
    FlameGraph::from_json(&answer)
}

fn read_tables(command: &[String], tenant: &Path) -> Result<Value> {
    let (program, args) = command.split_first().context("prepare.sh printed no command")?;
    let out = Command::new(program).args(args).arg(tenant).output().with_context(|| program.clone())?;
    if !out.status.success() {
        bail!(
            "lake_readers.py {}: {}\n{}",
            tenant.display(),
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}
