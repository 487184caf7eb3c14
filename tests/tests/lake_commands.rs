//! `everflame lake …`: what is stored is shown, checked, tidied up, copied out and copied in, and nothing is
//! lost or counted twice on the way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use everflame_tests::{Ran, Server, everflame, now_ms};
use serde_json::Value;

/// Nothing goes because of its age, and nothing is moved in the background.
const QUIET: [&str; 4] = ["--flush-interval", "1h", "--retention-raw", "forever"];
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Totals by profile type.
type Totals = BTreeMap<String, i64>;

fn lake(args: &[&str]) -> Result<Ran> {
    everflame(&[&["lake"], args].concat())
}

/// Runs a command that must succeed; what it printed.
fn good(args: &[&str]) -> Result<String> {
    let ran = lake(args)?;
    ensure!(ran.code == Some(0), "lake {args:?}: {ran:?}");
    Ok(ran.stdout)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("UTF-8")
}

/// The UTC midnight three days ago, in seconds.
fn first_day() -> Result<i64> {
    let now = now_ms()? / 1_000;
    Ok(now - now.rem_euclid(DAY) - 3 * DAY)
}

/// Profiles of two services, two pods, three days and several hours; other stacks each time.
async fn fill(server: &Server) -> Result<()> {
    let first = first_day()?;
    for day in 0..3 {
        for hour in [0, 5, 23] {
            for (service, weight) in [("shop", 1), ("cart.wall", 7)] {
                for pod in ["a", "b"] {
                    let from = first + day * DAY + hour * HOUR + weight;
                    let body = format!("main;work;step{hour} {}\nmain;day{day} {weight}\n", 3 + day);
                    let name = format!("{service}%7Bpod%3D{pod}%7D");
                    let path = format!("/ingest?name={name}&from={from}&until={}", from + 10);
                    let (status, answer) = server.post(&path, &[], body.into()).await?;
                    ensure!(status == 200, "{path}: {status} {answer}");
                }
            }
        }
    }
    Ok(())
}

/// A data folder with [`fill`] in its tables, and the totals of both services.
async fn filled(folder: &Path) -> Result<[Totals; 2]> {
    let mut server = Server::start_on(folder, &QUIET)?;
    fill(&server).await?;
    let totals = both(&server).await?;
    server.shutdown()?;
    Ok(totals)
}

async fn both(server: &Server) -> Result<[Totals; 2]> {
    Ok([server.totals("{service_name=\"shop\"}").await?, server.totals("{service_name=\"cart\"}").await?])
}

/// The totals of a lake, asked of a server on it.
async fn totals_of(data: &Path) -> Result<[Totals; 2]> {
    let mut server = Server::start_on(data, &QUIET)?;
    let totals = both(&server).await?;
    server.shutdown()?;
    Ok(totals)
}

fn rows(inspected: &Value, table: &str) -> u64 {
    let tables = inspected["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = tables.iter().find(|found| found["name"] == table);
    found.and_then(|found| found["rows"].as_u64()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_stored_is_shown_checked_and_tidied_up() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = text(folder.path())?;
    let mut server = Server::start_on(folder.path(), &QUIET)?;
    fill(&server).await?;
    // Beside the server, with all in its log.
    let checked = good(&["verify", "--data", data])?;
    ensure!(checked.contains("36 records of the write-ahead log: all is well"), "{checked}");
    let ran = lake(&["compact", "--data", data])?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("in use by another process"), "{ran:?}");

    let changed = good(&["compact", "--url", server.base()])?;
    ensure!(changed.contains("samples_1d"), "{changed}");
    let inspected: Value = serde_json::from_str(&good(&["inspect", "--data", data, "--json"])?)?;
    ensure!(rows(&inspected, "profiles") == 36 && rows(&inspected, "samples") == 72, "{inspected}");
    ensure!(rows(&inspected, "samples_1h") == 72 && rows(&inspected, "profiles_1d") == 12, "{inspected}");
    ensure!(rows(&inspected, "profiles_1d_service") == 6, "{inspected}");
    for table in inspected["tables"].as_array().context("tables")? {
        let columns = table["columns"].as_array().context("columns")?;
        ensure!(columns.iter().all(|column| column["compressed"].as_u64() > Some(0)), "{table}");
        let days = if ["_1h", "_1d"].iter().any(|tier| table["name"].as_str().unwrap_or("").contains(tier)) {
            // Days of one month, or of two.
            1..3
        } else if table["name"] == "stacks" {
            1..2
        } else {
            3..4
        };
        ensure!(days.contains(&table["files"].as_i64().unwrap_or_default()), "{table}");
    }
    let services = inspected["services"].as_array().context("services")?;
    let names: Vec<_> = services.iter().filter_map(|service| service["name"].as_str()).collect();
    ensure!(names.len() == 2 && names.contains(&"shop") && names.contains(&"cart"), "{names:?}");
    let shown = good(&["inspect", "--data", data])?;
    ensure!(shown.contains("samples.stack_id") && shown.contains("shop"), "{shown}");
    let checked: Value = serde_json::from_str(&good(&["verify", "--data", data, "--json"])?)?;
    ensure!(checked["ok"] == true && checked["totals"].as_u64() > Some(0), "{checked}");

    server.shutdown()?;
    good(&["compact", "--data", data, "--retention-raw", "forever"])?;
    good(&["verify", "--data", data])?;
    Ok(())
}

#[tokio::test]
async fn a_folder_without_a_lake_is_said_to_be_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for command in ["inspect", "verify", "compact"] {
        let ran = lake(&[command, "--data", text(folder.path())?])?;
        ensure!(ran.code == Some(1) && ran.stderr.contains("there is no lake here"), "{ran:?}");
    }
    Ok(())
}

/// Any of the files of `table`, with the extension `extension`.
fn file_of(data: &Path, table: &str, extension: &str) -> Result<PathBuf> {
    let mut folders = vec![data.join("anonymous").join(table)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                return Ok(path);
            }
        }
    }
    anyhow::bail!("no {extension} file in {table}")
}

#[tokio::test]
async fn damage_is_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = text(folder.path())?;
    filled(folder.path()).await?;
    good(&["compact", "--data", data, "--retention-raw", "forever"])?;
    good(&["verify", "--data", data])?;
    let tables = ["stacks", "series", "profiles", "samples", "profiles_5m", "samples_5m", "samples_1d"];
    for table in tables {
        let path = file_of(folder.path(), table, "parquet")?;
        let whole = fs::read(&path)?;
        let name = path.file_name().and_then(|name| name.to_str()).context("name")?;
        let check = |what: &str| -> Result<()> {
            let ran = lake(&["verify", "--data", data])?;
            ensure!(ran.code == Some(1) && ran.stdout.contains(name), "{table} {what}: {ran:?}");
            Ok(())
        };
        // A bit anywhere: in a page, in an index, in the footer.
        for at in [5, whole.len() / 2, whole.len() - 40] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(&path, damaged)?;
            check(&format!("bit at {at}"))?;
        }
        fs::write(&path, &whole[..whole.len() - 1])?;
        check("cut")?;
        fs::remove_file(&path)?;
        check("gone")?;
        fs::write(&path, &whole)?;
    }
    good(&["verify", "--data", data])?;

    // Sums that a log no longer names: all is readable, and does not add up.
    let log = folder.path().join("anonymous/samples_1d/_delta_log");
    let mut commits = Vec::new();
    for entry in fs::read_dir(&log)? {
        let path = entry?.path();
        let whole = fs::read_to_string(&path)?;
        let lines: Vec<&str> = whole.lines().filter(|line| !line.starts_with("{\"add\"")).collect();
        fs::write(&path, lines.join("\n"))?;
        commits.push((path, whole));
    }
    let ran = lake(&["verify", "--data", data])?;
    ensure!(ran.code == Some(1) && ran.stdout.contains("samples_1d has 0, samples has"), "{ran:?}");
    for (path, whole) in commits {
        fs::write(path, whole)?;
    }

    // A log that cannot be read.
    let commit = log.join(format!("{:020}.json", 0));
    let whole = fs::read_to_string(&commit)?;
    fs::write(&commit, "{")?;
    let ran = lake(&["verify", "--data", data])?;
    ensure!(ran.code == Some(1) && ran.stdout.contains("samples_1d: its log cannot be read"), "{ran:?}");
    fs::write(&commit, whole)?;
    good(&["verify", "--data", data])?;
    Ok(())
}

#[tokio::test]
async fn days_are_exported_as_a_lake_and_as_pprof_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (source, whole, day, files, back) = (at("source"), at("whole"), at("day"), at("files"), at("back"));
    let totals = filled(&source).await?;
    let export = |args: &[&str], to: &Path| -> Result<()> {
        good(&[&["export", "--data", text(&source)?], args, &[text(to)?]].concat())?;
        Ok(())
    };
    // Half of the days are in the tiers, half are not.
    export(&[], &whole)?;
    good(&["verify", "--data", text(&whole)?])?;
    ensure!(totals_of(&whole).await? == totals, "{totals:?}");
    good(&["compact", "--data", text(&source)?, "--retention-raw", "forever"])?;

    // The second day of one pod: its totals are 2 types of 3 uploads of 4 + 1 samples.
    let first = first_day()?;
    let (from, until) = ((first + DAY).to_string(), (first + 2 * DAY).to_string());
    let selector = "{service_name=\"shop\",pod=\"a\"}";
    export(&["--from", &from, "--until", &until, "--selector", selector], &day)?;
    good(&["verify", "--data", text(&day)?])?;
    let [shop, cart] = totals_of(&day).await?;
    ensure!(
        shop.values().sum::<i64>() == 3 * 5 * 10_000_000 && cart.values().all(|&sum| sum == 0),
        "{shop:?} {cart:?}"
    );
    let inspected: Value = serde_json::from_str(&good(&["inspect", "--data", text(&day)?, "--json"])?)?;
    ensure!(rows(&inspected, "stacks") == 4 && rows(&inspected, "samples_1d") == 4, "{inspected}");
    // One pod of two: the sums of the service are made again.
    ensure!(rows(&inspected, "samples_1d_service") == 4, "{inspected}");
    let ran = lake(&["export", "--data", text(&source)?, text(&day)?])?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("is not empty"), "{ran:?}");

    export(&["--format", "pprof"], &files)?;
    let imported = good(&["import", "--data", text(&back)?, text(&files)?])?;
    // 2 services, 3 days, 3 hours.
    ensure!(imported.starts_with("18 profiles were stored"), "{imported}");
    let again = good(&["import", "--data", text(&back)?, text(&files)?])?;
    ensure!(again.starts_with("0 profiles were stored"), "{again}");
    ensure!(totals_of(&back).await? == totals, "{totals:?}");
    Ok(())
}

#[tokio::test]
async fn a_lake_is_imported_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (source, empty, other) = (folder.path().join("s"), folder.path().join("e"), folder.path().join("o"));
    let totals = filled(&source).await?;
    for (target, times) in [(&empty, 1), (&other, 2)] {
        if times == 2 {
            filled(target).await?;
        }
        for _ in 0..2 {
            good(&["import", "--data", text(target)?, text(&source)?])?;
            good(&["verify", "--data", text(target)?])?;
            let found = totals_of(target).await?;
            let expect = totals.clone().map(|totals| {
                totals.into_iter().map(|(name, total)| (name, total * times)).collect::<Totals>()
            });
            ensure!(found == expect, "{found:?} {expect:?}");
        }
    }
    // One that has grown cannot be told apart from what was imported.
    filled(&source).await?;
    let ran = lake(&["import", "--data", text(&empty)?, text(&source)?])?;
    ensure!(ran.code == Some(1) && ran.stderr.contains("was imported before"), "{ran:?}");
    ensure!(totals_of(&empty).await? == totals);
    Ok(())
}

#[tokio::test]
async fn running_servers_are_imported() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start_with(&QUIET)?;
    fill(&server).await?;
    let totals = both(&server).await?;
    // profefe knows seven types and calls all others so.
    let [shop, cart] = totals.clone();
    let other = cart.into_iter().map(|(name, sum)| (name.replace("wall:wall", "other:wall"), sum)).collect();
    let expect = [totals, [shop, other]];
    let from = first_day()?.to_string();
    let sources = [("--from-pyroscope", "pyroscope"), ("--from-profefe", "profefe")];
    for ((flag, name), totals) in sources.into_iter().zip(expect) {
        let data = folder.path().join(name);
        let step: &[&str] = if name == "pyroscope" { &["--step", "3600"] } else { &[] };
        let args = [&["import", "--data", text(&data)?, flag, server.base(), "--from", &from], step].concat();
        let imported = good(&args)?;
        ensure!(imported.starts_with("36 profiles were stored, 0 were there already"), "{name}: {imported}");
        ensure!(totals_of(&data).await? == totals, "{name}: {totals:?}");
        // What is noted as done is not asked for again; without the note each upload is known by its id.
        for forget in [false, true] {
            let notes = fs::read_dir(&data)?.filter_map(|entry| Some(entry.ok()?.path()));
            let notes = notes.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
            if forget {
                notes.into_iter().try_for_each(fs::remove_file)?;
            }
            let again = good(&args)?;
            ensure!(again.starts_with("0 profiles were stored"), "{name}: {again}");
        }
        ensure!(totals_of(&data).await? == totals, "{name}: {totals:?}");
        good(&["verify", "--data", text(&data)?])?;
    }
    Ok(())
}
