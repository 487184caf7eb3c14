//! `parca.profilestore.v1alpha1.AgentsService`: who sent profiles of late.

use crate::error::ApiError;
use crate::wire::parca::profilestore::v1alpha1::{Agent, AgentsRequest, AgentsResponse, AgentsService};
use buffa_types::google::protobuf::{Duration, Timestamp};
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};
use everflame_profile::Nanos;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How long an agent is listed after it last sent something: five minutes.
const LISTED: Nanos = 300_000_000_000;
/// Agents that are listed at once.
const MAX_AGENTS: usize = 1_000;
/// Label that names the machine of an agent.
const NODE: &str = "node";

/// The agents that sent something, by their node.
#[derive(Default)]
pub(crate) struct Agents(Mutex<BTreeMap<String, Push>>);

#[derive(Clone, Debug)]
struct Push {
    time: Nanos,
    took: Nanos,
    error: String,
}

impl Agents {
    /// Notes a push of the agent that `labels` name.
    pub(super) fn note<'a>(
        &self,
        mut labels: impl Iterator<Item = (&'a str, &'a str)>,
        (time, end): (Nanos, Nanos),
        result: Result<(), &ApiError>,
    ) {
        let node = labels.find(|(name, _)| *name == NODE).map(|(_, value)| value).unwrap_or_default();
        if node.is_empty() {
            return;
        }
        let mut agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        agents.retain(|_, push| push.time > end.saturating_sub(LISTED));
        if agents.len() < MAX_AGENTS || agents.contains_key(node) {
            let error = result.err().map(ToString::to_string).unwrap_or_default();
            agents.insert(node.to_owned(), Push { time, took: end.saturating_sub(time).max(0), error });
        }
    }

    /// Those that are listed at `now`.
    pub(super) fn list(&self, now: Nanos) -> AgentsResponse {
        let agents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = agents.iter().filter(|(_, push)| push.time > now.saturating_sub(LISTED));
        let agents = listed.map(|(node, push)| Agent {
            id: node.clone(),
            last_error: push.error.clone(),
            last_push: timestamp(push.time).into(),
            last_push_duration: Duration {
                seconds: push.took / 1_000_000_000,
                nanos: (push.took % 1_000_000_000) as i32,
                ..Default::default()
            }
            .into(),
            ..Default::default()
        });
        AgentsResponse { agents: agents.collect(), ..Default::default() }
    }
}

fn timestamp(nanos: Nanos) -> Timestamp {
    Timestamp {
        seconds: nanos.div_euclid(1_000_000_000),
        nanos: nanos.rem_euclid(1_000_000_000) as i32,
        ..Default::default()
    }
}

pub(super) struct AgentList {
    pub(super) agents: Arc<Agents>,
    pub(super) clock: Arc<dyn everflame_profile::Clock>,
}

impl AgentsService for AgentList {
    async fn agents(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, AgentsRequest>,
    ) -> ServiceResult<AgentsResponse> {
        Response::ok(self.agents.list(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_listed_for_five_minutes() {
        let agents = Agents::default();
        let labels = [("job", "x"), ("node", "n1")];
        agents.note(labels.into_iter(), (1_000_000_000, 1_500_000_000), Ok(()));
        agents.note([("job", "x")].into_iter(), (1, 2), Ok(()));
        let list = agents.list(2_000_000_000).agents;
        assert_eq!(
            (list.len(), list[0].id.as_str(), list[0].last_push_duration.nanos),
            (1, "n1", 500_000_000)
        );
        agents.note(labels.into_iter(), (2_000_000_000, 2_000_000_000), Err(&ApiError::invalid("no")));
        assert_eq!(agents.list(2_000_000_000).agents[0].last_error, "no");
        assert!(agents.list(2_000_000_000 + LISTED).agents.is_empty());
        for node in 0..2 * MAX_AGENTS {
            agents.note([("node", format!("n{node}").as_str())].into_iter(), (5, 5), Ok(()));
        }
        assert_eq!(agents.list(5).agents.len(), MAX_AGENTS);
    }
}
