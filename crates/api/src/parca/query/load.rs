//! From a query to stacks: which profiles count, in which unit, and by which labels they are told apart.

use super::selector::{self, Query};
use super::stacks::{Stacks, StacksBuilder};
use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::wire::parca::query::v1alpha1 as wire;
use everflame_lake::ProfileId;
use everflame_profile::{Nanos, ProfileType, ValueType};
use everflame_query::{
    MatchOp, Matcher, Merged, Order, ProfileInfo, ProfileQuery, ScanStats, Selector, StackQuery, TimeRange,
    ValueRange, Warning,
};
use std::collections::BTreeMap;

/// Profiles whose durations are looked at one by one: more than that, and the newest speak for all.
const LOOKED_AT: usize = 20_000;
/// Label sets that stacks are told apart by.
const MAX_GROUPS: usize = 256;
/// Moments that stacks are told apart by.
const MAX_MOMENTS: usize = 1_000;

/// One question for stacks.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) query: Query,
    pub(super) range: TimeRange,
    /// Whether it is about one moment, at which there must be something.
    pub(super) single: bool,
}

/// What tells stacks apart beside their frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Apart {
    /// Names of labels.
    pub(super) labels: Vec<String>,
    /// Whether by the time of their profiles.
    pub(super) time: bool,
}

/// What was found.
pub(super) struct Loaded {
    pub(super) stacks: Stacks,
    /// What its values measure.
    pub(super) profile_type: ProfileType,
    pub(super) range: TimeRange,
    pub(super) stats: ScanStats,
    pub(super) warnings: Vec<Warning>,
}

/// Which of the profiles of a type have a duration, or none, as a query wants it.
pub(super) enum Taken {
    /// All of them. The newest of those that are kept one by one come with it.
    All(Vec<ProfileInfo>),
    Only(Vec<ProfileId>),
}

impl Selection {
    pub(super) fn merge(merge: &wire::MergeProfile) -> Result<Self, ApiError> {
        let range = selector::range(merge.start.as_option(), merge.end.as_option())?;
        Ok(Self { query: selector::query(&merge.query)?, range, single: false })
    }

    /// Profiles are told apart by milliseconds.
    pub(super) fn single(single: &wire::SingleProfile) -> Result<Self, ApiError> {
        let time = single.time.as_option().ok_or_else(|| {
            ApiError::invalid("time is missing; send the timestamp of a sample that QueryRange answered")
        })?;
        let time = selector::nanos("time", time)?;
        let from = time - time.rem_euclid(1_000_000);
        let range = TimeRange::new(from, from.saturating_add(999_999));
        Ok(Self { query: selector::query(&single.query)?, range, single: true })
    }
}

/// The stacks of one side.
pub(super) async fn load(app: &App, selection: &Selection, apart: &Apart) -> Result<Loaded, ApiError> {
    let parts = parts(app, selection, apart).await?;
    finish(vec![(parts, Side::Only)], selection).await
}

/// Right less left. Unless `absolute`, the lighter side is scaled up to the heavier one: of the right side its values,
/// too, so that value less difference is what the left side weighs.
pub(super) async fn difference(
    app: &App,
    left: &Selection,
    right: &Selection,
    absolute: bool,
) -> Result<Loaded, ApiError> {
    let apart = Apart::default();
    let (mut a, mut b) = futures::try_join!(parts(app, left, &apart), parts(app, right, &apart))?;
    // What was scaled on one side alone cannot be compared.
    if a.profile_type != b.profile_type && left.query.profile_type == right.query.profile_type {
        (a, b) = futures::try_join!(raw_parts(app, left), raw_parts(app, right))?;
    }
    let (left_scale, right_scale) = match absolute {
        true => (1.0, 1.0),
        false => (scale(a.total(), b.total()), scale(b.total(), a.total())),
    };
    finish(vec![(b, Side::Right(right_scale)), (a, Side::Left(left_scale))], right).await
}

/// What makes the total `own` as heavy as `other`, when it is the lighter one.
fn scale(own: i64, other: i64) -> f64 {
    if own > 0 && other > own { other as f64 / own as f64 } else { 1.0 }
}

/// What stacks are to a report: all there are, or one side of a comparison and its scale.
#[derive(Clone, Copy, Debug)]
enum Side {
    Only,
    Left(f64),
    Right(f64),
}

impl Side {
    /// Value and difference of a stack that weighs `value`.
    fn weigh(self, value: i64) -> (i64, i64) {
        match self {
            Self::Only => (value, 0),
            Self::Right(scale) => {
                let value = scaled(value, scale);
                (value, value)
            }
            Self::Left(scale) => (0, scaled(value, -scale)),
        }
    }
}

/// An answer of the engine.
struct Part {
    merged: Merged,
    /// The labels that it is for, when there are any to tell apart.
    labels: Vec<(String, String)>,
    /// The time that it is for, 0 when times are not told apart.
    time: Nanos,
}

/// The answers for one side.
struct Parts {
    found: Vec<Part>,
    profile_type: ProfileType,
}

impl Parts {
    fn total(&self) -> i64 {
        self.found.iter().fold(0, |sum, part| part.merged.total().saturating_add(sum))
    }
}

async fn finish(sides: Vec<(Parts, Side)>, selection: &Selection) -> Result<Loaded, ApiError> {
    let range = selection.range;
    if selection.single
        && sides.iter().all(|(parts, _)| parts.found.iter().all(|part| part.merged.is_empty()))
    {
        return Err(ApiError::not_found(format_args!(
            "no profile of {} was taken at that time; ask QueryRange for the times that there are",
            selection.query.profile_type
        )));
    }
    blocking(move || {
        let (mut stats, mut warnings) = (ScanStats::default(), Vec::new());
        let mut builder = StacksBuilder::default();
        let mut profile_type = None;
        for (Parts { found, profile_type: own }, side) in sides {
            profile_type.get_or_insert(own);
            for Part { merged, labels, time } in found {
                stats.add(&merged.stats);
                warnings.extend(merged.warnings.iter().cloned());
                builder.add(&merged, labels, time, |value| side.weigh(value));
            }
        }
        let profile_type = profile_type.unwrap_or_else(|| ProfileType {
            name: String::new(),
            sample: ValueType::default(),
            period: ValueType::default(),
        });
        Loaded { stacks: builder.finish(), profile_type, range, stats, warnings }
    })
    .await
}

fn scaled(value: i64, scale: f64) -> i64 {
    if scale == 1.0 {
        value
    } else if scale == -1.0 {
        value.saturating_neg()
    } else {
        // Fractions are cut off, as the peer does it; floats saturate when they become integers.
        (value as f64 * scale) as i64
    }
}

async fn raw_parts(app: &App, selection: &Selection) -> Result<Parts, ApiError> {
    let Selection { query, range, .. } = selection;
    parts_of(app, query, &query.profile_type, *range, &Apart::default()).await
}

async fn parts(app: &App, selection: &Selection, apart: &Apart) -> Result<Parts, ApiError> {
    let Selection { query, range, single } = selection;
    let profile_type = match single {
        true => query.profile_type.clone(),
        false => measured(app, &query.profile_type, &query.selector, *range).await?,
    };
    parts_of(app, query, &profile_type, *range, apart).await
}

async fn parts_of(
    app: &App,
    query: &Query,
    profile_type: &ProfileType,
    range: TimeRange,
    apart: &Apart,
) -> Result<Parts, ApiError> {
    let profiles = match taken(app, query, profile_type, range).await? {
        Taken::All(_) => Vec::new(),
        Taken::Only(ids) if ids.is_empty() => {
            return Ok(Parts { found: Vec::new(), profile_type: profile_type.clone() });
        }
        Taken::Only(ids) => ids,
    };
    let groups = groups(app, query, profile_type, range, &apart.labels).await?;
    let mut found = Vec::new();
    for (labels, selector) in groups {
        let mut question = StackQuery::new(profile_type.clone(), selector, range);
        question.profiles = profiles.clone();
        if !apart.time {
            found.push(Part { merged: app.stacks(&question).await?, labels, time: 0 });
            continue;
        }
        let moments = moments(app, &question).await?;
        if found.len() + moments.len() > MAX_MOMENTS {
            return Err(too_many_moments());
        }
        for (time, ids) in moments {
            let at = TimeRange::new(time, time.saturating_add(999));
            let question = StackQuery { range: at, profiles: ids, ..question.clone() };
            found.push(Part { merged: app.stacks(&question).await?, labels: labels.clone(), time });
        }
    }
    Ok(Parts { found, profile_type: profile_type.clone() })
}

/// The type whose values answer a query for `asked`: samples are worth their period, where that is stored.
pub(super) async fn measured(
    app: &App,
    asked: &ProfileType,
    selector: &Selector,
    range: TimeRange,
) -> Result<ProfileType, ApiError> {
    let is_count = asked.sample.kind == "samples" && asked.sample.unit == "count";
    if !is_count || asked.period.kind.is_empty() || asked.period == asked.sample {
        return Ok(asked.clone());
    }
    let worth = ProfileType { sample: asked.period.clone(), ..asked.clone() };
    let selectors = [selector::of_type(selector.clone(), &worth)];
    let series = app
        .catalogue(move |engine| engine.label_values("__profile_type__", &selectors, range).is_empty())
        .await?;
    Ok(if series { asked.clone() } else { worth })
}

/// Which profiles a query takes: those with a duration for a `:delta`, those without for the others.
pub(super) async fn taken(
    app: &App,
    query: &Query,
    profile_type: &ProfileType,
    range: TimeRange,
) -> Result<Taken, ApiError> {
    let list = ProfileQuery {
        profile_type: Some(profile_type.clone()),
        selector: query.selector.clone(),
        range,
        ids: Vec::new(),
        order: Order::NewestFirst,
        totals: ValueRange::ALL,
        limit: LOOKED_AT,
    };
    let found = app.profiles(&list).await?.profiles;
    let is_taken = |profile: &&ProfileInfo| (profile.duration != 0) == query.delta;
    let ids: Vec<ProfileId> = found.iter().filter(is_taken).map(|profile| profile.id).collect();
    match ids.len() {
        // Sums of long ranges know no single profiles, of which none may be left.
        all if all == found.len() => Ok(Taken::All(found)),
        _ if found.len() < LOOKED_AT => Ok(Taken::Only(ids)),
        0 => Ok(Taken::Only(ids)),
        _ => Err(ApiError::invalid(format_args!(
            "{profile_type} has profiles with a duration and without in this range, and more than {LOOKED_AT}; ask \
             for a shorter range, or for fewer series"
        ))),
    }
}

/// The label sets that stacks are told apart by, each with a selector for its series.
async fn groups(
    app: &App,
    query: &Query,
    profile_type: &ProfileType,
    range: TimeRange,
    names: &[String],
) -> Result<Vec<(Vec<(String, String)>, Selector)>, ApiError> {
    if names.is_empty() {
        return Ok(vec![(Vec::new(), query.selector.clone())]);
    }
    let selectors = [selector::of_type(query.selector.clone(), profile_type)];
    let wanted = names.to_vec();
    let mut sets = app.catalogue(move |engine| engine.series(&selectors, &wanted, range)).await?;
    // A set without any of the labels is left out of that list, and may well have samples.
    sets.push(everflame_profile::Labels::default());
    if sets.len() > MAX_GROUPS {
        return Err(ApiError::invalid(format_args!(
            "group_by: {} label sets, at most {MAX_GROUPS} are told apart; group by fewer labels, or select fewer series",
            sets.len()
        )));
    }
    let group = |labels: everflame_profile::Labels| {
        let mut selector = query.selector.clone();
        let mut values = Vec::with_capacity(names.len());
        for name in names {
            let value = labels.get(name).to_owned();
            let matcher = Matcher::new(name.clone(), MatchOp::Equal, value.clone());
            selector = selector.with(matcher.map_err(ApiError::invalid)?);
            values.push((name.clone(), value));
        }
        Ok((values, selector))
    };
    sets.into_iter().map(group).collect()
}

/// The moments at which profiles were taken, oldest first, and the profiles of each.
async fn moments(app: &App, question: &StackQuery) -> Result<BTreeMap<Nanos, Vec<ProfileId>>, ApiError> {
    let list = ProfileQuery {
        profile_type: Some(question.profile_type.clone()),
        selector: question.selector.clone(),
        range: question.range,
        ids: question.profiles.clone(),
        order: Order::OldestFirst,
        totals: ValueRange::ALL,
        limit: MAX_MOMENTS + 1,
    };
    let mut moments: BTreeMap<Nanos, Vec<ProfileId>> = BTreeMap::new();
    for profile in app.profiles(&list).await?.profiles {
        moments.entry(profile.time).or_default().push(profile.id);
    }
    if moments.len() > MAX_MOMENTS {
        return Err(too_many_moments());
    }
    Ok(moments)
}

fn too_many_moments() -> ApiError {
    ApiError::invalid(format_args!(
        "more than {MAX_MOMENTS} profiles would be told apart by their time; ask for a shorter range, or for fewer series"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value and difference of each of two stacks, those of the right side first.
    fn check(left: [i64; 2], right: [i64; 2], expect: [(i64, i64); 4]) {
        let (left_total, right_total) = (left.iter().sum(), right.iter().sum());
        let (left_side, right_side) =
            (Side::Left(scale(left_total, right_total)), Side::Right(scale(right_total, left_total)));
        let found = [
            right_side.weigh(right[0]),
            right_side.weigh(right[1]),
            left_side.weigh(left[0]),
            left_side.weigh(left[1]),
        ];
        assert_eq!(found, expect, "{left:?} {right:?}");
    }

    #[test]
    fn the_lighter_side_is_scaled_up() {
        check([100, 300], [50, 50], [(200, 200), (200, 200), (0, -100), (0, -300)]);
        check([50, 50], [100, 300], [(100, 100), (300, 300), (0, -200), (0, -200)]);
        check([1, 3], [3, 1], [(3, 3), (1, 1), (0, -1), (0, -3)]);
        check([2, 3], [1, 2], [(1, 1), (3, 3), (0, -2), (0, -3)]);
        check([0, 0], [1, 2], [(1, 1), (2, 2), (0, 0), (0, 0)]);
        check([i64::MAX - 1, 1], [1, 0], [(i64::MAX, i64::MAX), (0, 0), (0, 1 - i64::MAX), (0, -1)]);
    }
}
