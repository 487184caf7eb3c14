//! `settings.v1.RecordingRulesService`: rules that make metrics of profiles, kept in one file of the data folder.
//! What they make is part of `/metrics`, and goes to a Prometheus where one is configured.

mod recorded;
mod remote;
mod rule;

use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::kept::Kept;
use crate::wire::settings::v1::*;
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use everflame_profile::Nanos;
use parking_lot::Mutex;
use rule::Rule;
use std::sync::Arc;
use uuid::Uuid;

const FILE: &str = "recording_rules.json";
/// Most rules, as in Pyroscope.
const MOST: usize = 25;
/// Letters of an id.
const ID_LENGTH: usize = 10;

/// All rules. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Rules(Arc<Inner>);

struct Inner {
    kept: Kept,
    /// Read from disk once; one writer at a time.
    known: Mutex<Option<Vec<Rule>>>,
    /// The text of a minute. One scrape adds up, others wait for it.
    recorded: tokio::sync::Mutex<Option<(Nanos, String)>>,
}

impl Rules {
    pub(crate) fn new(kept: Kept) -> Self {
        Self(Arc::new(Inner { kept, known: Mutex::default(), recorded: tokio::sync::Mutex::default() }))
    }

    /// The metrics that the rules make, as text.
    pub(crate) async fn metrics(&self, app: &App) -> Result<String, ApiError> {
        let end = recorded::minute(app.now());
        let mut recorded = self.0.recorded.lock().await;
        if let Some((_, text)) = recorded.as_ref().filter(|(minute, _)| *minute == end) {
            return Ok(text.clone());
        }
        let rules = self.change(|rules| Ok((rules.clone(), false))).await?;
        let text = recorded::text(app, &rules, end).await;
        *recorded = Some((end, text.clone()));
        Ok(text)
    }

    /// Reads all rules, and keeps what `change` leaves when it says that there is something new.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Vec<Rule>) -> Result<(T, bool), ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let inner = self.0.clone();
        blocking(move || {
            let mut known = inner.known.lock();
            let mut rules = match &*known {
                Some(rules) => rules.clone(),
                None => inner.load()?,
            };
            let (answer, is_new) = change(&mut rules)?;
            if is_new {
                let content = serde_json::to_vec_pretty(&rules).map_err(ApiError::internal)?;
                inner.kept.write(FILE, &content)?;
            }
            *known = Some(rules);
            Ok(answer)
        })
        .await?
    }

    async fn upsert(&self, rule: Rule) -> Result<Rule, ApiError> {
        let changed = self.change(move |rules| {
            let mut rule = rule;
            let count = rules.len();
            match rules.iter_mut().find(|known| known.id == rule.id) {
                Some(known) if known.generation != rule.generation => {
                    return Err(ApiError::already_exists(format_args!(
                        "rule {:?} has generation {}, not {}: somebody else changed it; read it again",
                        rule.id, known.generation, rule.generation
                    )));
                }
                Some(known) => {
                    rule.generation += 1;
                    *known = rule.clone();
                }
                None if count >= MOST => {
                    return Err(ApiError::busy(format_args!("there are {MOST} rules already; delete some")));
                }
                None => {
                    rule.generation = 1;
                    rules.push(rule.clone());
                }
            }
            Ok((rule, true))
        });
        let rule = changed.await?;
        // It is seen at the next scrape.
        *self.0.recorded.lock().await = None;
        Ok(rule)
    }

    async fn delete(&self, id: String) -> Result<(), ApiError> {
        self.change(move |rules| {
            let before = rules.len();
            rules.retain(|rule| rule.id != id);
            match rules.len() < before {
                true => Ok(((), true)),
                false => Err(unknown(&id)),
            }
        })
        .await?;
        *self.0.recorded.lock().await = None;
        Ok(())
    }
}

impl Inner {
    fn load(&self) -> Result<Vec<Rule>, ApiError> {
        if !self.kept.is_somewhere() {
            return Ok(Vec::new());
        }
        let Some(content) = self.kept.read(FILE)? else { return Ok(Vec::new()) };
        serde_json::from_slice(&content).map_err(|error| {
            ApiError::internal(format_args!(
                "the recording rules cannot be read: {FILE} in the data folder: {error}; repair or remove it"
            ))
        })
    }
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format_args!("there is no recording rule {id:?}; list them"))
}

/// Letters at random.
fn new_id() -> String {
    let mut number = Uuid::new_v4().as_u128();
    let mut letter = || {
        let letter = b'a' + (number % 26) as u8;
        number /= 26;
        char::from(letter)
    };
    (0..ID_LENGTH).map(|_| letter()).collect()
}

/// The id in a request, without spaces around it.
fn id_of(text: &str) -> Result<String, ApiError> {
    match text.trim() {
        "" => Err(ApiError::invalid("id is missing; send that of the rule")),
        id => Ok(id.to_owned()),
    }
}

impl RecordingRulesService for Rules {
    async fn get_recording_rule(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, GetRecordingRuleRequest>,
    ) -> ServiceResult<GetRecordingRuleResponse> {
        let id = id_of(&request.to_owned_message().id)?;
        let found = self.change(move |rules| {
            let found = rules.iter().find(|rule| rule.id == id).ok_or_else(|| unknown(&id))?;
            Ok((found.message(), false))
        });
        Response::ok(GetRecordingRuleResponse { rule: found.await?.into(), ..Default::default() })
    }

    async fn list_recording_rules(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, ListRecordingRulesRequest>,
    ) -> ServiceResult<ListRecordingRulesResponse> {
        let rules = self.change(|rules| Ok((rules.iter().map(Rule::message).collect(), false))).await?;
        Response::ok(ListRecordingRulesResponse { rules, ..Default::default() })
    }

    async fn upsert_recording_rule(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, UpsertRecordingRuleRequest>,
    ) -> ServiceResult<UpsertRecordingRuleResponse> {
        let rule = self.upsert(Rule::checked(request.to_owned_message(), new_id())?).await?;
        Response::ok(UpsertRecordingRuleResponse { rule: rule.message().into(), ..Default::default() })
    }

    async fn delete_recording_rule(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, DeleteRecordingRuleRequest>,
    ) -> ServiceResult<DeleteRecordingRuleResponse> {
        self.delete(id_of(&request.to_owned_message().id)?).await?;
        Response::ok(DeleteRecordingRuleResponse::default())
    }
}
