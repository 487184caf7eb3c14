//! `adhocprofiles.v1.AdHocProfileService`: files that somebody looks at, without storing them as profiles of a
//! service. They are kept in the data folder, the latest of them.

mod read;

use crate::app::blocking;
use crate::error::ApiError;
use crate::flamebearer::Flamebearer;
use crate::kept::Kept;
use crate::querier::requests::max_nodes;
use crate::wire::adhocprofiles::v1::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use everflame_profile::{Clock, DiffFlameGraph, DiffTree, FlameGraph};
use read::View;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Files that are kept; beyond these the oldest goes.
const MAX_FILES: usize = 200;
/// Bytes of all of them.
const MAX_BYTES: u64 = 512 << 20;
/// Largest file.
const MAX_FILE: usize = 64 << 20;
/// Longest name.
const MAX_NAME: usize = 128;
/// Characters of a ULID: 48 bits of time and 80 of chance, in Crockford's base 32.
const ULID: usize = 26;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

pub(crate) struct AdHoc {
    kept: Kept,
    clock: Arc<dyn Clock>,
    /// One upload at a time makes room.
    turn: Arc<Mutex<()>>,
}

impl AdHoc {
    pub(crate) fn new(kept: Kept, clock: Arc<dyn Clock>) -> Self {
        Self { kept, clock, turn: Arc::default() }
    }

    fn views(kept: &Kept, id: &str) -> Result<Vec<View>, ApiError> {
        check_id(id)?;
        let content = kept.read(id)?.ok_or_else(|| {
            ApiError::not_found(format_args!("there is no file {id:?}; List says which there are"))
        })?;
        read::read(&content)
    }
}

impl AdHocProfileService for AdHoc {
    async fn upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, AdHocProfilesUploadRequest>,
    ) -> ServiceResult<AdHocProfilesGetResponse> {
        let request = request.to_owned_message();
        let max_nodes = max_nodes(request.max_nodes)?;
        let now = self.clock.now().div_euclid(1_000_000);
        let id = format!("{}-{}", ulid(now, Uuid::new_v4().as_u128()), sanitized(&request.name));
        let (kept, turn) = (self.kept.clone(), self.turn.clone());
        let answer = blocking(move || {
            let content = STANDARD.decode(request.profile.trim()).map_err(|error| {
                ApiError::invalid(format_args!("profile: it is not base64: {error}; send the file as base64"))
            })?;
            if content.len() > MAX_FILE {
                return Err(ApiError::too_large(format_args!(
                    "profile: it has {} bytes, at most {MAX_FILE} are taken",
                    content.len()
                )));
            }
            // What cannot be read is not kept.
            let views = read::read(&content)?;
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            make_room(&kept, content.len() as u64)?;
            kept.write(&id, &content)?;
            answer(id, views, None, max_nodes)
        });
        Response::ok(answer.await??)
    }

    async fn get(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, AdHocProfilesGetRequest>,
    ) -> ServiceResult<AdHocProfilesGetResponse> {
        let request = request.to_owned_message();
        let max_nodes = max_nodes(request.max_nodes)?;
        let kept = self.kept.clone();
        let answer = blocking(move || {
            let views = Self::views(&kept, &request.id)?;
            answer(request.id, views, request.profile_type.as_deref(), max_nodes)
        });
        Response::ok(answer.await??)
    }

    async fn list(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, AdHocProfilesListRequest>,
    ) -> ServiceResult<AdHocProfilesListResponse> {
        let kept = self.kept.clone();
        let files = blocking(move || kept.list()).await??;
        // Names begin with the time of the upload; the newest comes first.
        let profiles = files.into_iter().rev().filter_map(|(id, _)| {
            check_id(&id).ok()?;
            let (name, uploaded_at) = (name_of(&id).to_owned(), time_of(&id));
            Some(AdHocProfilesProfileMetadata { id, name, uploaded_at, ..Default::default() })
        });
        Response::ok(AdHocProfilesListResponse { profiles: profiles.collect(), ..Default::default() })
    }

    async fn diff(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, AdHocProfilesDiffRequest>,
    ) -> ServiceResult<AdHocProfilesDiffResponse> {
        let request = request.to_owned_message();
        let max_nodes = max_nodes(request.max_nodes)?;
        let kept = self.kept.clone();
        let answer = blocking(move || {
            let left = Self::views(&kept, &request.left_id).map_err(|error| error.at("left_id"))?;
            let right = Self::views(&kept, &request.right_id).map_err(|error| error.at("right_id"))?;
            let both = |view: &&View| right.iter().any(|other| other.name == view.name);
            let profile_types: Vec<String> = left.iter().filter(both).map(|view| view.name.clone()).collect();
            let wanted = request.profile_type.filter(|name| !name.is_empty());
            let Some(name) = wanted.or_else(|| profile_types.first().cloned()) else {
                return Err(ApiError::invalid(
                    "the two files measure nothing that is the same; compare others",
                ));
            };
            let (left, right) = (chosen(&left, Some(&name))?, chosen(&right, Some(&name))?);
            let mut diff = DiffTree::new(&left.tree, &right.tree);
            diff.truncate(max_nodes);
            let graph = Flamebearer::double(DiffFlameGraph::new(&diff), &left.profile_type);
            let flamebearer_profile = serde_json::to_string(&graph).map_err(ApiError::internal)?;
            Ok(AdHocProfilesDiffResponse { profile_types, flamebearer_profile, ..Default::default() })
        });
        Response::ok(answer.await??)
    }
}

/// The view that is asked for, or the first.
fn chosen<'a>(views: &'a [View], name: Option<&str>) -> Result<&'a View, ApiError> {
    let found = match name.filter(|name| !name.is_empty()) {
        None => views.first(),
        Some(name) => views.iter().find(|view| view.name == name),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
        ApiError::invalid(format_args!(
            "profile_type {:?} is not in the file; send one of {names:?}",
            name.unwrap_or("")
        ))
    })
}

fn answer(
    id: String,
    views: Vec<View>,
    wanted: Option<&str>,
    max_nodes: usize,
) -> Result<AdHocProfilesGetResponse, ApiError> {
    let profile_types = views.iter().map(|view| view.name.clone()).collect();
    let view = chosen(&views, wanted)?;
    let mut tree = view.tree.clone();
    tree.truncate(max_nodes);
    let graph = Flamebearer::of_file(FlameGraph::new(&tree), &view.profile_type);
    Ok(AdHocProfilesGetResponse {
        name: name_of(&id).to_owned(),
        uploaded_at: time_of(&id),
        profile_type: view.name.clone(),
        profile_types,
        flamebearer_profile: serde_json::to_string(&graph).map_err(ApiError::internal)?,
        id,
        ..Default::default()
    })
}

/// Removes the oldest files until one of so many bytes fits.
fn make_room(kept: &Kept, bytes: u64) -> Result<(), ApiError> {
    let files = kept.list()?;
    let (mut count, mut total) = (files.len(), files.iter().map(|(_, bytes)| bytes).sum::<u64>());
    for (name, size) in &files {
        if count < MAX_FILES && total.saturating_add(bytes) <= MAX_BYTES {
            break;
        }
        kept.remove(name)?;
        (count, total) = (count - 1, total - size);
    }
    Ok(())
}

/// An id is a file's name: nothing in it leads elsewhere.
fn check_id(id: &str) -> Result<(), ApiError> {
    let bytes = id.as_bytes();
    let ulid = bytes.get(..ULID).is_some_and(|ulid| ulid.iter().all(|byte| CROCKFORD.contains(byte)));
    let plain = bytes.iter().all(|&byte| is_plain(byte));
    match ulid && bytes.get(ULID) == Some(&b'-') && plain && id.len() <= ULID + 1 + MAX_NAME {
        true => Ok(()),
        false => Err(ApiError::invalid(format_args!(
            "{id:?} is not the id of a file; send one that Upload or List has answered"
        ))),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

fn sanitized(name: &str) -> String {
    let plain = |c: char| if u8::try_from(c).is_ok_and(is_plain) { c } else { '_' };
    name.chars().take(MAX_NAME).map(plain).collect()
}

fn name_of(id: &str) -> &str {
    id.get(ULID + 1..).unwrap_or_default()
}

/// 48 bits of milliseconds, then 80 of `chance`.
fn ulid(millis: i64, chance: u128) -> String {
    let bits = (u128::from(millis.max(0).cast_unsigned()) << 80) | (chance & ((1 << 80) - 1));
    let digit = |at: usize| CROCKFORD.get((bits >> (5 * (ULID - 1 - at)) & 31) as usize);
    (0..ULID).filter_map(digit).map(|&digit| char::from(digit)).collect()
}

/// The milliseconds in an id.
fn time_of(id: &str) -> i64 {
    let digit = |byte: u8| CROCKFORD.iter().position(|&digit| digit == byte).unwrap_or(0) as i64;
    id.bytes().take(10).fold(0, |time, byte| time << 5 | digit(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let id = format!("{}-{}", ulid(1_700_000_000_123, u128::MAX), sanitized("../a b/ü.pb.gz"));
        assert_eq!(id, "01HF7YAT3VZZZZZZZZZZZZZZZZ-.._a_b__.pb.gz");
        assert!(check_id(&id).is_ok());
        assert_eq!((time_of(&id), name_of(&id)), (1_700_000_000_123, ".._a_b__.pb.gz"));
        assert!(ulid(1, 0) < ulid(2, 0));
        for bad in
            ["", "x", "../../etc/passwd", "01HF7YAT3VZZZZZZZZZZZZZZZZ", "01HF7YAT3VZZZZZZZZZZZZZZZZ-a/b"]
        {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
