//! Short links: `POST /api/v1/links` stores where a page is looked at, `GET /l/{id}` leads there.
//!
//! A link is a file named after the hash of its content, so that the same page has the same link and nothing
//! needs an index. Files are written beside, synced and renamed, as everything that is acknowledged. There
//! are at most [`MOST`]; the oldest go.

use crate::app::{App, blocking};
use crate::body;
use crate::error::ApiError;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path as PathOf, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use xxhash_rust::xxh3::xxh3_128;

/// Links that are kept.
const MOST: usize = 20_000;
/// Bytes of what a link leads to.
const LONGEST: usize = 8_192;
/// Characters of an id: 60 bits, and more where two links would have the same.
const ID_LENGTHS: [usize; 2] = [12, 24];
/// Digits of an id: none that are mistaken for others.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The folder of the links.
#[derive(Debug, Default)]
pub(crate) struct Links {
    folder: Option<PathBuf>,
    /// One link is stored at a time, so that their number is kept.
    storing: Mutex<()>,
}

impl Links {
    /// Links in a folder of `data`; without one there are none.
    pub(crate) fn new(data: Option<&Path>) -> Self {
        Self { folder: data.map(|data| data.join("links")), storing: Mutex::new(()) }
    }

    fn folder(&self) -> Result<&Path, ApiError> {
        self.folder.as_deref().ok_or_else(|| {
            ApiError::unimplemented("this server has no folder for short links; copy the whole address")
        })
    }

    /// The id of `target`, which is stored when this returns.
    fn store(&self, target: &str) -> Result<String, ApiError> {
        let folder = self.folder()?;
        let failed = |error: io::Error| {
            let folder = folder.display();
            ApiError::unavailable(format_args!("the link could not be stored in {folder}: {error}"))
        };
        let digits = digits(xxh3_128(target.as_bytes()));
        let _storing = self.storing.lock();
        fs::create_dir_all(folder).map_err(failed)?;
        for id in ID_LENGTHS.iter().filter_map(|&length| digits.get(..length)) {
            match fs::read(folder.join(id)) {
                Ok(known) if known == target.as_bytes() => return Ok(id.to_owned()),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
            forget_oldest(folder).map_err(failed)?;
            write(folder, id, target).map_err(failed)?;
            return Ok(id.to_owned());
        }
        Err(ApiError::internal("another link has the same id; change something in the address"))
    }

    /// What a link leads to.
    fn target(&self, id: &str) -> Result<String, ApiError> {
        let gone =
            || ApiError::not_found(format_args!("there is no link {id:?}; the oldest links are forgotten"));
        let is_id = ID_LENGTHS.contains(&id.len()) && id.bytes().all(|byte| DIGITS.contains(&byte));
        if !is_id {
            return Err(gone());
        }
        let path = self.folder()?.join(id);
        match fs::read_to_string(&path) {
            Ok(target) if is_target(&target) => Ok(target),
            Ok(_) => Err(ApiError::internal(format_args!("{} is damaged; remove it", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(gone()),
            Err(error) => Err(ApiError::unavailable(format_args!("{}: {error}", path.display()))),
        }
    }
}

/// Writes a link whole or not at all. No id has a dot, so the file beside is none.
fn write(folder: &Path, id: &str, target: &str) -> io::Result<()> {
    let beside = folder.join("new.tmp");
    let mut file = File::create(&beside)?;
    file.write_all(target.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(id))?;
    File::open(folder)?.sync_all()
}

/// Makes room for one more.
fn forget_oldest(folder: &Path) -> io::Result<()> {
    let mut links: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        links.push((entry.metadata()?.modified()?, entry.path()));
    }
    if links.len() < MOST {
        return Ok(());
    }
    links.sort_unstable();
    let surplus = links.len() + 1 - MOST;
    links.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// The first 24 digits of a hash, 5 bits each.
fn digits(hash: u128) -> String {
    let digits = (0..24).filter_map(|at| DIGITS.get((hash >> (123 - 5 * at) & 31) as usize));
    digits.map(|&digit| char::from(digit)).collect()
}

/// A path of this server with its parameters: never another server, never a header of its own.
fn is_target(target: &str) -> bool {
    target.len() <= LONGEST
        && target.starts_with('/')
        && !target.starts_with("//")
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Stores `{"url": "/explore?…"}`; answers `{"id": …, "url": "/l/…"}`.
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let bytes = body::read(&headers, body, app.load.budget()).await?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::invalid(format_args!("the body is no JSON: {error}; send {{\"url\": \"/explore?…\"}}"))
    })?;
    let target = value.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_target(&target) {
        return Err(ApiError::invalid(format_args!(
            "url is not an address of this server's pages: send its path and parameters, percent-encoded, \
             at most {LONGEST} bytes, as in /explore?v=1&service=api"
        )));
    }
    let id = blocking(move || app.links.store(&target)).await??;
    Ok(Json(json!({ "id": id, "url": format!("/l/{id}") })))
}

/// Leads to where the link was made.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    PathOf(id): PathOf<String>,
) -> Result<Response, ApiError> {
    let target = blocking(move || app.links.target(&id)).await??;
    Ok((StatusCode::FOUND, [(LOCATION, target), (CACHE_CONTROL, "no-store".to_owned())]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_page_has_the_same_link() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::new(Some(folder.path()));
        let id = links.store("/explore?v=1&service=a").unwrap();
        assert_eq!(id.len(), ID_LENGTHS[0]);
        assert_eq!(links.store("/explore?v=1&service=a").unwrap(), id);
        assert_ne!(links.store("/explore?v=1&service=b").unwrap(), id);
        // A server that starts anew knows them.
        let again = Links::new(Some(folder.path()));
        assert_eq!(again.target(&id).unwrap(), "/explore?v=1&service=a");
        // Of two pages with one hash the second gets a longer id.
        fs::write(folder.path().join("links").join(&id), "/other").unwrap();
        let longer = links.store("/explore?v=1&service=a").unwrap();
        assert!(longer.starts_with(&id) && longer.len() == ID_LENGTHS[1]);
        for unknown in ["", "0", "../../etc/hosts", "000000000000", &id.to_uppercase()] {
            assert_eq!(again.target(unknown).err().unwrap().status(), 404, "{unknown}");
        }
        assert_eq!(Links::default().store("/").err().unwrap().status(), 501);
    }

    #[test]
    fn links_lead_to_this_server_alone() {
        for target in ["/", "/explore?v=1&q=%22a%22#x", &format!("/{}", "a".repeat(LONGEST - 1))] {
            assert!(is_target(target), "{target}");
        }
        let others = ["", "explore", "//evil.example", "https://evil.example/", "/\\evil.example", "/a b"];
        for target in others.into_iter().chain(["/a\r\nx: y", "/é"]) {
            assert!(!is_target(target), "{target}");
        }
        assert!(!is_target(&format!("/{}", "a".repeat(LONGEST))));
    }
}
