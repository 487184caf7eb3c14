//! Profiles of real programs: what comes back is what the files say, stack by stack, through either wire.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_formats::{Limits, pprof};
use everflame_tests::{Server, Stacks, stacks_of, type_ids};
use serde_json::json;

fn files() -> Result<Vec<PathBuf>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["../bench/profiles", "fixtures/pprof"] {
        for entry in std::fs::read_dir(tests.join(folder))? {
            let path = entry?.path();
            if path.to_string_lossy().contains(".pb") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What is stored of names of generic functions: none of the types that Go compiled them for.
fn without_go_types(stacks: Stacks) -> Stacks {
    let mut out = Stacks::new();
    for (names, value) in stacks {
        let names = names.into_iter().map(|name| match name.split_once("[go.shape.") {
            // None of the files has a name with two of them.
            Some((before, types)) => {
                format!("{before}{}", types.rsplit_once(']').map_or("", |(_, after)| after))
            }
            None => name,
        });
        *out.entry(names.collect()).or_default() += value;
    }
    out
}

#[tokio::test]
async fn both_wires_keep_every_stack() -> Result<()> {
    let server = Server::start()?;
    let files = files()?;
    ensure!(files.len() >= 12, "{files:?}");
    for path in files {
        let bytes = std::fs::read(&path)?;
        let profile = pprof::read(&bytes, &Limits::default())?.profile;
        let stem = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next());
        let stem = stem.context("a name")?;

        let body = json!({"series": [{
            "labels": [{"name": "__name__", "value": "pushed"}, {"name": "service_name", "value": format!("push-{stem}")}],
            "samples": [{"rawProfile": base64::engine::general_purpose::STANDARD.encode(&bytes)}],
        }]});
        server.connect("push.v1.PusherService/Push", &body).await?;
        let answer = server.post(&format!("/ingest?name=ingest-{stem}&format=pprof"), &[], bytes).await?;
        ensure!(answer == (200, String::new()), "{stem}: {answer:?}");

        for wire in ["push", "ingest"] {
            let matchers = format!("{{service_name=\"{wire}-{stem}\"}}");
            let totals = server.totals(&matchers).await?;
            for (at, (id, total)) in type_ids("", &profile).iter().zip(profile.totals()).enumerate() {
                let expect = without_go_types(stacks_of(&profile, at));
                let found = totals.iter().find(|(found, _)| found.ends_with(id.as_str()));
                if expect.is_empty() {
                    ensure!(found.is_none_or(|(_, total)| *total == 0), "{wire} {stem}: {id} {totals:?}");
                    continue;
                }
                let (found, stored) = found.with_context(|| format!("{wire} {stem}: {id} {totals:?}"))?;
                ensure!(*stored == total, "{wire} {stem} {found}: {stored} of {total}");
                let stacks = server.stacks(found, &matchers).await?;
                let lost = expect.iter().find(|(stack, value)| stacks.get(*stack) != Some(value));
                ensure!(lost.is_none(), "{wire} {stem} {found}: {lost:?}");
                ensure!(stacks.len() == expect.len(), "{wire} {stem} {found}: stacks appeared");
            }
        }
    }
    Ok(())
}
