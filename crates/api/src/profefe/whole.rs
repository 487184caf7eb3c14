//! Puts the series of a profile with several sample types together again.

use crate::app::{App, blocking};
use crate::error::ApiError;
use everflame_lake::ProfileId;
use everflame_profile::{Profile, ProfileType};
use everflame_query::{Merged, Selector, StackQuery, TimeRange};
use std::collections::HashMap;

/// A profile of all `types`, one sample a stack; only of the profiles `ids` when there are any. Nothing
/// when nothing was found.
pub(super) async fn of(
    app: &App,
    mut types: Vec<ProfileType>,
    selector: &Selector,
    range: TimeRange,
    ids: &[ProfileId],
) -> Result<Option<Profile>, ApiError> {
    // Go writes CPU time behind the count of samples; the others are in alphabetical order.
    types.sort_by_cached_key(|found| (found.sample.kind == "cpu", found.to_string()));
    let mut parts = Vec::with_capacity(types.len());
    for profile_type in types {
        let mut query = StackQuery::new(profile_type.clone(), selector.clone(), range);
        query.profiles = ids.to_vec();
        let merged = app.stacks(&query).await?;
        if !merged.is_empty() {
            parts.push((profile_type, merged));
        }
    }
    blocking(move || combine(parts, range)).await
}

fn combine(parts: Vec<(ProfileType, Merged)>, range: TimeRange) -> Option<Profile> {
    let types = parts.iter().map(|(found, _)| found.sample.clone()).collect::<Vec<_>>();
    let (first, _) = parts.first()?;
    let first = first.clone();
    let mut columns = Vec::with_capacity(parts.len());
    let mut all = Vec::with_capacity(parts.len());
    for (_, merged) in parts {
        columns
            .push(merged.ids.iter().copied().zip(merged.values.iter().copied()).collect::<HashMap<_, _>>());
        all.push(merged);
    }
    let union = Merged::merge(all);
    let mut profile = union.to_profile(&first, range);
    let value_of =
        |id| columns.iter().map(move |column: &HashMap<_, _>| column.get(id).copied().unwrap_or(0));
    profile.samples.values = union.ids.iter().flat_map(value_of).collect();
    profile.default_sample_type = types.len().checked_sub(1);
    profile.sample_types = types;
    Some(profile)
}
