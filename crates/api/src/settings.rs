//! `settings.v1.SettingsService`: what the pages of a tenant remember, kept in one file of the data folder.

use crate::app::blocking;
use crate::error::ApiError;
use crate::kept::Kept;
use crate::wire::settings::v1::*;
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use everflame_profile::Clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const FILE: &str = "settings.json";
/// Most settings, longest name, longest value.
const MAX_SETTINGS: usize = 1_000;
const MAX_NAME: usize = 256;
const MAX_VALUE: usize = 64 << 10;

pub(crate) struct Settings {
    kept: Kept,
    clock: Arc<dyn Clock>,
    /// One writer at a time.
    turn: Arc<Mutex<()>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Stored {
    value: String,
    #[serde(rename = "modifiedAt")]
    modified_at: i64,
}

type All = BTreeMap<String, Stored>;

fn load(kept: &Kept) -> Result<All, ApiError> {
    match kept.read(FILE)? {
        None => Ok(All::new()),
        Some(content) => serde_json::from_slice(&content).map_err(|error| {
            ApiError::internal(format_args!(
                "the settings of this tenant cannot be read: {FILE} in the data folder: {error}; repair or remove it"
            ))
        }),
    }
}

fn save(kept: &Kept, all: &All) -> Result<(), ApiError> {
    let content = serde_json::to_vec_pretty(all).map_err(ApiError::internal)?;
    kept.write(FILE, &content)
}

fn message(name: String, stored: Stored) -> Setting {
    Setting { name, value: stored.value, modifiedAt: stored.modified_at, ..Default::default() }
}

impl Settings {
    pub(crate) fn new(kept: Kept, clock: Arc<dyn Clock>) -> Self {
        Self { kept, clock, turn: Arc::default() }
    }

    /// Reads all settings, changes them with `change`, and keeps what that leaves, if it says so.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut All) -> Result<(T, Change), ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (kept, turn) = (self.kept.clone(), self.turn.clone());
        blocking(move || {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all = load(&kept)?;
            let (answer, changed) = change(&mut all)?;
            if changed == Change::Made {
                save(&kept, &all)?;
            }
            Ok(answer)
        })
        .await?
    }
}

/// Whether there is something to keep.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    Made,
}

impl SettingsService for Settings {
    async fn get(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GetSettingsRequest>,
    ) -> ServiceResult<GetSettingsResponse> {
        let all = self.change(|all| Ok((std::mem::take(all), Change::None))).await?;
        let settings = all.into_iter().map(|(name, stored)| message(name, stored)).collect();
        Response::ok(GetSettingsResponse { settings, ..Default::default() })
    }

    async fn set(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, SetSettingsRequest>,
    ) -> ServiceResult<SetSettingsResponse> {
        let request = request.to_owned_message();
        let Some(setting) = request.setting.as_option() else {
            return Err(ApiError::invalid("setting is missing; send its name and value").into());
        };
        let Setting { name, value, modifiedAt: modified_at, .. } = setting.clone();
        if name.is_empty() || name.len() > MAX_NAME || value.len() > MAX_VALUE {
            return Err(ApiError::invalid(format_args!(
                "setting: its name has {} bytes and its value {}; send a name of 1 to {MAX_NAME} and a value of at \
                 most {MAX_VALUE}",
                name.len(),
                value.len()
            ))
            .into());
        }
        let now = self.clock.now().div_euclid(1_000_000);
        let stored = Stored { value, modified_at: if modified_at > 0 { modified_at } else { now } };
        let setting = self
            .change(move |all| {
                match all.get(&name) {
                    Some(known) if known.modified_at > stored.modified_at => {
                        return Err(ApiError::already_exists(format_args!(
                            "setting {name:?} was modified at {}, after {}; read it again before changing it",
                            known.modified_at, stored.modified_at
                        )));
                    }
                    None if all.len() >= MAX_SETTINGS => {
                        return Err(ApiError::busy(format_args!(
                            "there are {MAX_SETTINGS} settings already; delete some"
                        )));
                    }
                    _ => {}
                }
                all.insert(name.clone(), stored.clone());
                Ok((message(name, stored), Change::Made))
            })
            .await?;
        Response::ok(SetSettingsResponse { setting: setting.into(), ..Default::default() })
    }

    async fn delete(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, DeleteSettingsRequest>,
    ) -> ServiceResult<DeleteSettingsResponse> {
        let name = request.to_owned_message().name;
        if name.is_empty() {
            return Err(ApiError::invalid("name is missing; send the name of the setting").into());
        }
        let delete = move |all: &mut All| {
            let change = if all.remove(&name).is_some() { Change::Made } else { Change::None };
            Ok(((), change))
        };
        self.change(delete).await?;
        Response::ok(DeleteSettingsResponse::default())
    }
}
