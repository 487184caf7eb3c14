//! `everflame lake import`: from another lake, from pprof files, or from a running server.
//!
//! What was stored is noted in a small file, and each upload has an id that follows from where it comes: an
//! import that was interrupted goes on where it ended, and nothing is stored twice.

mod files;
mod profefe;
mod progress;
mod pyroscope;

use super::export::{tell, transferred};
use super::{LakeArgs, times};
use crate::clock::SystemClock;
use crate::print;
use anyhow::{Context, bail};
use everflame_ingest::{Ingest, Limits, PushSample};
use everflame_lake::{Lake, LakePath};
use everflame_profile::{Clock, Nanos};
use progress::Progress;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `everflame lake import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// The data folder of another Everflame, or where its tables are, as in s3://bucket/prefix; or a folder of
    /// pprof files.
    #[arg(required_unless_present_any = ["from_pyroscope", "from_profefe"])]
    folder: Option<String>,
    /// A running server with Pyroscope's query API.
    #[arg(long, value_name = "URL", conflicts_with_all = ["folder", "from_profefe"])]
    from_pyroscope: Option<String>,
    /// A running profefe.
    #[arg(long, value_name = "URL", conflicts_with = "folder")]
    from_profefe: Option<String>,
    /// From a server: what was taken since this time.
    #[arg(long, value_name = "TIME", default_value = "now-7d", allow_hyphen_values = true)]
    from: String,
    /// From a server: what was taken before this time.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    until: String,
    /// From Pyroscope: the profiles of a series in so many seconds become one; a day has a whole number of
    /// them.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    step: u32,
    /// From Pyroscope: only these series.
    #[arg(long, default_value = "{}")]
    selector: String,
    /// Pprof files: the service that they are of; otherwise the name of a folder or file says it.
    #[arg(long)]
    service: Option<String>,
    /// Pprof files: what they are called, as in process_cpu or memory; seen from their types when absent.
    #[arg(long)]
    name: Option<String>,
    /// A label for all that is imported, as in region=eu; can be given many times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = crate::push::label)]
    labels: Vec<(String, String)>,
}

/// Copies profiles into the lake.
pub(crate) async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let target = args.lake.path_to_make()?;
    if let Some(folder) = &args.folder {
        let scratch = tempfile::tempdir().context("there is no room for temporary files")?;
        let source = super::lake_at(folder, &target.tenant, scratch.path())?;
        if is_lake(&source) {
            return print(&from_lake(&target, &source).await?);
        }
    }
    let lake = super::open(&target, None).await?;
    let result = import(&args, &target, &lake).await;
    // What came is kept, also when the rest failed.
    lake.close().await?;
    print(&result?)
}

async fn import(args: &ImportArgs, target: &LakePath, lake: &Arc<Lake>) -> anyhow::Result<String> {
    let into = Target::new(lake, &target.path, &args.labels)?;
    if let Some(folder) = &args.folder {
        return files::run(into, Path::new(folder), args.service.as_deref(), args.name.as_deref()).await;
    }
    let now = SystemClock.now();
    let time =
        |flag: &str, text: &str| times::parse(text, now).map_err(|why| anyhow::anyhow!("{flag}: {why}"));
    let range = time("--from", &args.from)?..time("--until", &args.until)?;
    if range.is_empty() {
        bail!("there is nothing from {} until {}; swap the two", args.from, args.until);
    }
    match (&args.from_pyroscope, &args.from_profefe) {
        (Some(url), _) => pyroscope::run(into, url, range, args.step, &args.selector).await,
        (None, Some(url)) => profefe::run(into, url, range).await,
        (None, None) => bail!("name a folder, or a server with --from-pyroscope or --from-profefe"),
    }
}

fn is_lake(source: &LakePath) -> bool {
    !source.storage.url.is_empty()
        || source.path.join("wal").is_dir()
        || source.path.join(&source.tenant).join("samples/_delta_log").is_dir()
}

async fn from_lake(target: &LakePath, source: &LakePath) -> anyhow::Result<String> {
    source.check(Arc::new(SystemClock)).await?;
    let other = super::open(source, None).await?;
    let labels = other.snapshot().dropped_labels;
    let lake = super::open(target, Some(labels)).await?;
    let transfer = lake.import(&other, &mut |table| tell(&format!("{table} …"))).await;
    lake.close().await?;
    other.close().await?;
    let transfer = transfer?;
    let report = transferred(&transfer);
    Ok(match transfer.skipped {
        0 => report,
        skipped => format!("{report}{skipped} tables had been imported before\n"),
    })
}

/// Where profiles go.
struct Target {
    ingest: Ingest,
    data: PathBuf,
    labels: Vec<(String, String)>,
    stored: u64,
    repeated: u64,
    empty: u64,
}

impl Target {
    fn new(lake: &Arc<Lake>, data: &Path, labels: &[(String, String)]) -> anyhow::Result<Self> {
        // Series are taken as they are: somebody else has bounded them.
        let limits =
            Limits { label_sets_per_service: 1 << 30, label_sets_per_upload: 1 << 20, ..Limits::default() };
        let ingest = Ingest::new(lake.clone(), limits, Arc::new(SystemClock));
        Ok(Self { ingest, data: data.to_owned(), labels: labels.to_vec(), stored: 0, repeated: 0, empty: 0 })
    }

    /// What has been done of an import of `source`.
    fn progress(&self, source: &str) -> anyhow::Result<Progress> {
        Progress::open(&self.data, source)
    }

    /// Stores a pprof under an id that follows from `origin`.
    async fn store(
        &mut self,
        origin: &str,
        mut labels: Vec<(String, String)>,
        pprof: Vec<u8>,
    ) -> anyhow::Result<()> {
        for (name, value) in &self.labels {
            labels.retain(|(other, _)| other != name);
            labels.push((name.clone(), value.clone()));
        }
        let id = Some(xxhash_rust::xxh3::xxh3_128(origin.as_bytes()));
        let stored =
            self.ingest.push(PushSample { labels, pprof: pprof.into(), id, ..PushSample::default() }).await?;
        match (stored.duplicate, stored.rows.is_empty()) {
            (true, _) => self.repeated += 1,
            (false, true) => self.empty += 1,
            (false, false) => self.stored += 1,
        }
        Ok(())
    }

    fn report(&self) -> String {
        let Self { stored, repeated, empty, .. } = self;
        format!("{stored} profiles were stored, {repeated} were there already, {empty} were empty\n")
    }
}

/// How long a server may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A client of the server at `url`.
fn client(flag: &str, url: &str) -> anyhow::Result<crate::client::Client> {
    crate::client::Client::with_timeout(flag, url, TIMEOUT)
}

/// The parts of `range` that begin with a multiple of `step`.
fn windows(range: std::ops::Range<Nanos>, step: Nanos) -> impl Iterator<Item = std::ops::Range<Nanos>> {
    let first = range.start - range.start.rem_euclid(step);
    let starts = (0..).map_while(move |at: i64| first.checked_add(at.checked_mul(step)?));
    let windows = starts.take_while(move |&start| start < range.end);
    windows.map(move |start| start.max(range.start)..start.saturating_add(step).min(range.end))
}

/// Sets time and length of a pprof, for one that is of a span of time and says otherwise or nothing.
fn retime(
    bytes: &[u8],
    change: impl FnOnce(&mut everflame_profile::Profile),
) -> anyhow::Result<Option<Vec<u8>>> {
    let limits = everflame_formats::Limits {
        inflated_bytes: 1 << 30,
        inflated_ratio: usize::MAX,
        ..everflame_formats::Limits::default()
    };
    let mut profile =
        everflame_formats::pprof::read(bytes, &limits).context("the answer is no pprof")?.profile;
    if profile.samples.is_empty() {
        return Ok(None);
    }
    change(&mut profile);
    Ok(Some(everflame_formats::pprof::write(&profile)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_aligned() {
        let found: Vec<_> = windows(7..25, 10).collect();
        assert_eq!(found, [7..10, 10..20, 20..25]);
        assert_eq!(windows(10..20, 10).collect::<Vec<_>>(), vec![10..20; 1]);
        assert_eq!(windows(-5..5, 10).collect::<Vec<_>>(), [-5..0, 0..5]);
    }
}
