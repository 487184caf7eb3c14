//! `everflame lake export`: some days as a lake of their own, or as pprof files.

use super::{LakeArgs, names, table, times};
use crate::clock::SystemClock;
use crate::print;
use anyhow::{Context, bail};
use everflame_formats::pprof;
use everflame_lake::{Excerpt, Lake, LakePath, StorageConfig, Transfer};
use everflame_profile::{Clock, Nanos, ProfileType, SERVICE_NAME};
use everflame_query::{Engine, Limits, Matcher, Selector, StackQuery, TimeRange};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Nanoseconds of an hour and of a day.
const HOUR: Nanos = 3_600_000_000_000;
const DAY: Nanos = 24 * HOUR;

/// Arguments of `everflame lake export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    lake: LakeArgs,
    /// First day, whole and UTC: 2026-01-31, or now-7d.
    #[arg(long, value_name = "TIME", default_value = "1970-01-02", allow_hyphen_values = true)]
    from: String,
    /// The day before this time is the last one; a day that has begun belongs to it.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    until: String,
    /// Only these series, as in '{service_name="shop"}'.
    #[arg(long, default_value = "{}")]
    selector: String,
    /// What to write: a lake that a server opens, or a pprof file for each service, type and hour.
    #[arg(long, value_enum, default_value_t = Format::Lake)]
    format: Format,
    /// The folder to make, which must not be there, or be empty; or a place in a bucket without a lake, as in
    /// s3://bucket/january.
    to: String,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Lake,
    Pprof,
}

/// Copies some days out of the lake.
pub(crate) async fn run(args: ExportArgs) -> anyhow::Result<()> {
    let path = args.lake.path()?;
    let now = SystemClock.now();
    let time =
        |flag: &str, text: &str| times::parse(text, now).map_err(|why| anyhow::anyhow!("{flag}: {why}"));
    let days = times::days(time("--from", &args.from)?, time("--until", &args.until)?);
    if days.is_empty() {
        bail!("there is no day from {} until {}; swap the two", args.from, args.until);
    }
    let selector: Selector = args.selector.parse().context("--selector")?;
    let select = |series: &everflame_profile::Series| selector.matches(series);
    let excerpt = Excerpt { days: days.clone(), select: &select };
    if args.to.contains("://") {
        if args.format == Format::Pprof {
            bail!("pprof files are written to a folder; name one instead of {}", args.to);
        }
        let scratch = tempfile::tempdir().context("there is no room for temporary files")?;
        let target = super::lake_at(&args.to, &path.tenant, scratch.path())?;
        let lake = super::open(&path, None).await?;
        let transfer = copy(&lake, &excerpt, &target).await;
        lake.close().await?;
        return print(&transferred(&transfer?));
    }
    let to = Path::new(&args.to);
    let is_empty = match std::fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| args.to.clone()),
    };
    if !is_empty {
        bail!("{} is not empty; name a folder that is not there", args.to);
    }
    let lake = super::open(&path, None).await?;
    // Written beside, and moved when it is whole.
    let draft = draft(to)?;
    let report = match args.format {
        Format::Lake => {
            let storage = StorageConfig::default();
            let target = LakePath { path: draft.clone(), tenant: path.tenant.clone(), storage };
            transferred(&copy(&lake, &excerpt, &target).await?)
        }
        Format::Pprof => {
            let range = i64::from(days.start) * DAY..i64::from(days.end) * DAY;
            let files = profiles(&lake, &selector, range, &draft).await?;
            format!("{files} pprof files in {}\n", args.to)
        }
    };
    lake.close().await?;
    std::fs::rename(&draft, to).with_context(|| args.to.clone())?;
    print(&report)
}

async fn copy(lake: &Lake, excerpt: &Excerpt<'_>, target: &LakePath) -> anyhow::Result<Transfer> {
    let tell = &mut |table: &str| tell(&format!("{table} …"));
    Ok(lake.export(excerpt, target, Arc::new(SystemClock), tell).await?)
}

/// An empty folder beside `to`.
fn draft(to: &Path) -> anyhow::Result<PathBuf> {
    let mut name = to.file_name().context("the folder to make has no name")?.to_owned();
    name.push(".part");
    let draft = to.with_file_name(name);
    if draft.exists() {
        std::fs::remove_dir_all(&draft).with_context(|| draft.display().to_string())?;
    }
    std::fs::create_dir_all(&draft).with_context(|| draft.display().to_string())?;
    Ok(draft)
}

/// A line about progress.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What was copied, as a table.
pub(crate) fn transferred(transfer: &Transfer) -> String {
    let mut rows = vec![["table", "files", "rows", "bytes"].map(str::to_owned).to_vec()];
    for &(name, files, count, bytes) in &transfer.tables {
        let bytes = everflame_formats::units::format(i64::try_from(bytes).unwrap_or(i64::MAX), "bytes");
        rows.push(vec![name.to_owned(), files.to_string(), count.to_string(), bytes]);
    }
    table(1, &rows)
}

/// Writes a pprof file for each service, type and hour; returns how many.
async fn profiles(
    lake: &Arc<Lake>,
    selector: &Selector,
    range: std::ops::Range<Nanos>,
    folder: &Path,
) -> anyhow::Result<u64> {
    let limits = Limits {
        rows: u64::MAX,
        bytes: u64::MAX,
        memory: 4 << 30,
        time: Duration::from_secs(3600),
        ..Limits::default()
    };
    let engine = Engine::new(lake.clone(), limits);
    let found = lake.series(range.start, range.end - 1, &|series| selector.matches(series));
    let groups: BTreeSet<(String, ProfileType)> = found
        .iter()
        .map(|found| (found.series.service().to_owned(), found.series.profile_type.clone()))
        .collect();
    let mut files = 0;
    for (service, profile_type) in groups {
        tell(&format!("{service} {profile_type} …"));
        let of_group = found
            .iter()
            .filter(|found| found.series.service() == service && found.series.profile_type == profile_type);
        let first = of_group.clone().map(|found| found.first).min().unwrap_or_default().max(range.start);
        let last = of_group.map(|found| found.last).max().unwrap_or_default().min(range.end - 1);
        let folder = folder
            .join(format!("service_name={}", names::encode(&service)))
            .join(format!("profile_type={}", names::encode(&profile_type.to_string())));
        let selector = selector.clone().with(Matcher::equal(SERVICE_NAME, &service));
        let mut hour = first - first.rem_euclid(HOUR);
        while hour <= last {
            let range = TimeRange::new(hour, hour + HOUR - 1);
            let query = StackQuery::new(profile_type.clone(), selector.clone(), range);
            let merged = engine.stacks(&query).await?;
            if let Some(warning) = merged.warnings.first() {
                bail!("{service} at {}: {warning:?}; see `everflame lake verify`", times::hour(hour));
            }
            if !merged.is_empty() {
                let mut profile = merged.to_profile(&profile_type, range);
                (profile.time, profile.duration) = (hour, HOUR);
                let path = folder.join(format!("{}.pb.gz", times::hour(hour)));
                let write = || {
                    std::fs::create_dir_all(&folder)?;
                    std::fs::write(&path, pprof::write(&profile))
                };
                write().with_context(|| path.display().to_string())?;
                files += 1;
            }
            hour += HOUR;
        }
    }
    Ok(files)
}
