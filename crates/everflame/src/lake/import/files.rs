//! From a folder of pprof files. Labels are in the names of folders, as in `service_name=shop/region=eu`, or
//! given; `profile_type=…` is what `everflame lake export --format pprof` writes.

use super::{Target, tell};
use crate::lake::names;
use anyhow::{Context, bail};
use everflame_formats::pprof;
use everflame_profile::{PROFILE_NAME, ProfileType, SERVICE_NAME};
use std::path::{Path, PathBuf};

/// Folders within folders.
const MAX_DEPTH: usize = 16;

/// Largest file.
const MAX_BYTES: u64 = 256 << 20;

/// Stores the files below `folder`.
pub(super) async fn run(
    mut into: Target,
    folder: &Path,
    service: Option<&str>,
    name: Option<&str>,
) -> anyhow::Result<String> {
    let mut files = Vec::new();
    list(folder, MAX_DEPTH, &mut files)?;
    files.sort();
    if files.is_empty() {
        bail!("{} has no files: it is neither a lake nor a folder of pprof files", folder.display());
    }
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let source = format!(
        "pprof {} {} {} {:?}",
        whole.display(),
        service.unwrap_or_default(),
        name.unwrap_or_default(),
        into.labels
    );
    let mut progress = into.progress(&source)?;
    let (mut refused, mut done) = (Vec::new(), 0);
    for (at, path) in files.iter().enumerate() {
        let relative = path.strip_prefix(folder).unwrap_or(path);
        let key = relative.to_string_lossy().into_owned();
        if progress.done(&key).is_some() {
            done += 1;
            continue;
        }
        match store(&mut into, path, relative, service, name).await {
            Ok(()) => progress.note(&key, 1)?,
            Err(error) => refused.push(format!("{}: {error:#}", path.display())),
        }
        if (at + 1) % 100 == 0 {
            tell(&format!("{} of {} files", at + 1, files.len()));
        }
    }
    for refusal in &refused {
        tell(refusal);
    }
    if !refused.is_empty() {
        bail!("{} of {} files were not stored; the others were", refused.len(), files.len());
    }
    let before = if done > 0 { format!("{done} files had been imported before\n") } else { String::new() };
    Ok(into.report() + &before)
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if kind.is_dir() && !hidden && depth > 0 {
            list(&entry.path(), depth - 1, files)?;
        } else if kind.is_file() && !hidden {
            files.push(entry.path());
        }
    }
    Ok(())
}

async fn store(
    into: &mut Target,
    path: &Path,
    relative: &Path,
    service: Option<&str>,
    name: Option<&str>,
) -> anyhow::Result<()> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        bail!("it is larger than {MAX_BYTES} bytes");
    }
    let bytes = std::fs::read(path)?;
    let mut labels = labels(relative);
    let profile_type = labels.iter().position(|(key, _)| key == "profile_type").map(|at| labels.remove(at).1);
    let profile_type = profile_type.map(|text| text.parse::<ProfileType>()).transpose()?;
    if let Some(service) = service {
        labels.retain(|(key, _)| key != SERVICE_NAME);
        labels.push((SERVICE_NAME.to_owned(), service.to_owned()));
    }
    if !labels.iter().any(|(key, _)| key == SERVICE_NAME) {
        labels.push((SERVICE_NAME.to_owned(), service_of(relative)?));
    }
    let limits = everflame_ingest::Limits::default();
    let profile = pprof::read(&bytes, &limits.decode)?.profile;
    let name = match (name, profile_type) {
        (Some(name), _) => name.to_owned(),
        (None, Some(profile_type)) => profile_type.name,
        (None, None) => everflame_ingest::profile_name(&profile),
    };
    if name.is_empty() {
        bail!("its sample type has no name; say what it is with --name, as in --name goroutine");
    }
    labels.push((PROFILE_NAME.to_owned(), name));
    let origin = format!("pprof {labels:?} {:032x}", xxhash_rust::xxh3::xxh3_128(&bytes));
    into.store(&origin, labels, bytes).await
}

/// The pairs among the folders that a file is in.
fn labels(relative: &Path) -> Vec<(String, String)> {
    let folders = relative.parent().into_iter().flat_map(Path::components);
    let names = folders.map(|folder| folder.as_os_str().to_string_lossy().into_owned());
    names
        .filter_map(|name| {
            name.split_once('=').map(|(key, value)| (names::decode(key), names::decode(value)))
        })
        .collect()
}

/// The first folder that a file is in, or else the file's name up to the first dot.
fn service_of(relative: &Path) -> anyhow::Result<String> {
    let mut parts = relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let first = parts.find(|part| !part.contains('=')).unwrap_or_default();
    let service = if parts.next().is_some() { &first } else { first.split('.').next().unwrap_or_default() };
    if service.is_empty() {
        bail!("neither a folder nor its name says of which service it is; say so with --service");
    }
    Ok(names::decode(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        let check = |path: &str, expect: &[(&str, &str)], service: &str| {
            let found = labels(Path::new(path));
            let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(found, expect, "{path}");
            assert_eq!(service_of(Path::new(path)).unwrap_or_default(), service, "{path}");
        };
        check("shop.cpu.pb.gz", &[], "shop");
        check("shop/a.pb.gz", &[], "shop");
        check("shop/2026/a.pb.gz", &[], "shop");
        check("service_name=a%2Fb/region=eu/a.pb", &[("service_name", "a/b"), ("region", "eu")], "a");
        check("region=eu/shop/a.pb", &[("region", "eu")], "shop");
        check(".pb", &[], "");
    }
}
