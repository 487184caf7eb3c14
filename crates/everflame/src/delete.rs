//! `everflame delete`: forgets what a selector takes.

use crate::client::{Client, ServerArgs};
use crate::print;
use anyhow::Context;

/// Arguments of `everflame delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Which series, as in {service_name="shop",pod="shop-1"}.
    selector: String,
    /// First day, as a midnight in UTC: 2026-08-01T00:00:00Z. Without --from and --until all of time is meant.
    #[arg(long, requires = "until")]
    from: Option<String>,
    /// The midnight after the last day.
    #[arg(long, requires = "from")]
    until: Option<String>,
}

/// Deletes, and says how much.
pub(crate) async fn run(args: DeleteArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let pairs =
        [("query", Some(&args.selector)), ("from", args.from.as_ref()), ("until", args.until.as_ref())];
    let pairs: Vec<_> = pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let request = client.delete("/api/v1/profiles").query(&pairs);
    let answer: serde_json::Value =
        client.send(request).await?.json().await.context("the answer is not JSON")?;
    let number = |name: &str| answer.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
    print(&format!(
        "{} series lost profiles: {} single ones, and all sums that they were a part of\n",
        number("series"),
        number("profiles"),
    ))
}
