//! `everflame push`: sends files of profiles.

use crate::client::{Client, ServerArgs};
use crate::print;
use anyhow::{Context, bail};
use base64::Engine;
use everflame_formats::{Format, Limits, folded, pprof};
use std::path::{Path, PathBuf};

/// Arguments of `everflame push`.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// Files: pprof, JFR recordings, speedscope, perf script, .cpuprofile, Firefox profiles or folded stacks,
    /// gzip or plain; what they are is seen from their content.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The service that was profiled.
    #[arg(long)]
    service: String,
    /// A label, as in region=eu; can be given many times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// What the profile is called: process_cpu, memory, mutex, …; seen from its sample types when absent.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// A label, as in region=eu.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a label; write key=value")),
    }
}

/// Sends each file; stops at the first one that is refused.
pub(crate) async fn run(args: PushArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    for file in &args.files {
        let sent = push(&client, &args, file).await;
        let what = sent.with_context(|| file.display().to_string())?;
        print(&format!("{}: {what} stored as service {}\n", file.display(), args.service))?;
    }
    Ok(())
}

async fn push(client: &Client, args: &PushArgs, file: &Path) -> anyhow::Result<String> {
    let body = tokio::fs::read(file).await?;
    let limits = Limits::default();
    if let Some(format) = Format::detect(&body, &limits) {
        // What the server would refuse is said here, before anything is sent.
        let parts = format.read(&body, &limits)?.parts;
        let samples: usize = parts.iter().map(|part| part.profile.samples.len()).sum();
        push_file(client, args, format, body).await?;
        return Ok(format!("{} with {samples} stacks", format.as_str()));
    }
    let as_pprof = match pprof::read(&body, &limits) {
        Ok(decoded) => Some(decoded.profile).filter(|profile| !profile.sample_types.is_empty()),
        Err(error) => {
            // Text that is no pprof may still be folded stacks; what is neither gets pprof's fault.
            let text = folded::read(&body, folded::Lines::Counted, &limits);
            if !text.is_ok_and(|decoded| !decoded.profile.samples.is_empty()) {
                return Err(error.into());
            }
            None
        }
    };
    match as_pprof {
        Some(profile) => {
            let name = args.name.clone().unwrap_or_else(|| everflame_ingest::profile_name(&profile));
            if name.is_empty() {
                bail!("its sample type has no name; say what it is with --name, as in --name goroutine");
            }
            let samples = profile.samples.len();
            push_pprof(client, args, &name, &body).await?;
            Ok(format!("{name} with {samples} samples"))
        }
        None => {
            push_folded(client, args, body).await?;
            Ok("folded stacks".to_owned())
        }
    }
}

/// Through `push.v1.PusherService/Push`, under an id of its own: sending it again stores it once.
async fn push_pprof(client: &Client, args: &PushArgs, name: &str, body: &[u8]) -> anyhow::Result<()> {
    let own = [("__name__", name), ("service_name", args.service.as_str())];
    let given = args.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let labels: Vec<_> = own
        .into_iter()
        .chain(given)
        .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
        .collect();
    let sample = serde_json::json!({
        "rawProfile": base64::engine::general_purpose::STANDARD.encode(body),
        "ID": uuid::Uuid::new_v4().to_string(),
    });
    let message = serde_json::json!({ "series": [{ "labels": labels, "samples": [sample] }] });
    client.send(client.post("/push.v1.PusherService/Push").json(&message)).await?;
    Ok(())
}

/// Through `/ingest`, for formats that say themselves what they measure.
async fn push_file(client: &Client, args: &PushArgs, format: Format, body: Vec<u8>) -> anyhow::Result<()> {
    if args.name.is_some() {
        bail!("a file of format {} says itself what it measures; leave --name out", format.as_str());
    }
    let name = named(&args.service, &args.labels);
    let query = [("name", name.as_str()), ("format", format.as_str())];
    client.send(client.post("/ingest").query(&query).body(body)).await?;
    Ok(())
}

/// `app{key=value}`, the name of an upload through `/ingest`.
fn named(app: &str, labels: &[(String, String)]) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{app}{{{}}}", pairs.join(","))
}

/// Through `/ingest`, which knows folded stacks.
async fn push_folded(client: &Client, args: &PushArgs, body: Vec<u8>) -> anyhow::Result<()> {
    let app = match &args.name {
        None => args.service.clone(),
        Some(kind) if kind == "process_cpu" => args.service.clone(),
        Some(kind) if kind == "wall" => format!("{}.wall", args.service),
        Some(kind) => {
            bail!("folded stacks are stored as process_cpu or wall, not as {kind:?}; leave --name out")
        }
    };
    let name = named(&app, &args.labels);
    let request = client.post("/ingest").query(&[("name", name.as_str()), ("format", "folded")]);
    client.send(request.body(body)).await?;
    Ok(())
}
