//! `everflame diff`: the same question twice, and what changed.

use crate::client::{Client, ServerArgs};
use crate::query::{Merged, RangeArgs, SelectionArgs, query};
use crate::{print, text};
use anyhow::bail;
use everflame_profile::TopTable;

/// Arguments of `everflame diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    range: RangeArgs,
    /// What to compare with, when it is not the same selection: a service or a selector.
    #[arg(long, value_name = "QUERY")]
    baseline: Option<String>,
    /// Start of what to compare with.
    #[arg(long, default_value = "now-2h", allow_hyphen_values = true)]
    baseline_from: String,
    /// End of what to compare with.
    #[arg(long, default_value = "now-1h", allow_hyphen_values = true)]
    baseline_until: String,
    /// How many rows.
    #[arg(long, default_value_t = 30)]
    limit: usize,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the functions whose total changed most.
pub(crate) async fn run(args: DiffArgs) -> anyhow::Result<()> {
    let client = Client::new(&args.server)?;
    let selected = args.selection.query()?;
    let baseline = match &args.baseline {
        Some(text) => query(text, selected.split('{').next().unwrap_or_default())?,
        None => selected.clone(),
    };
    let baseline_range = RangeArgs { from: args.baseline_from, until: args.baseline_until };
    let before = Merged::fetch(&client, &baseline, &baseline_range).await?;
    let after = Merged::fetch(&client, &selected, &args.range).await?;
    if before.unit() != after.unit() {
        bail!("{baseline} is in {}, {selected} in {}; compare the same type", before.unit(), after.unit());
    }
    let (before_top, after_top) = (TopTable::new(&before.tree()), TopTable::new(&after.tree()));
    print(&text::diff(&before_top, &after_top, after.unit(), args.limit))
}
