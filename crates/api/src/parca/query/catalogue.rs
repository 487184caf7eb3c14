//! What there is: types, labels, values, and what a range of profiles was made of.

use super::load::{self, Apart, Selection};
use super::selector;
use crate::app::{App, blocking};
use crate::error::ApiError;
use crate::scan_headers;
use crate::wire::parca::query::v1alpha1::*;
use everflame_profile::ProfileType as Type;
use everflame_query::{Order, ProfileQuery, Selector, TimeRange, ValueRange};
use http::HeaderMap;
use std::collections::{BTreeMap, BTreeSet};

/// Profiles that are looked at to see which types have a duration.
const LOOKED_AT: usize = 20_000;

/// `ProfileTypes`: each type with a duration and without, as its profiles are.
pub(in super::super) async fn profile_types(
    app: &App,
    request: ProfileTypesRequest,
) -> Result<ProfileTypesResponse, ApiError> {
    let range = selector::range_or_all(request.start.as_option(), request.end.as_option())?;
    let found = app.catalogue(move |engine| engine.profile_types(range)).await?;
    let mut deltas: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for profile in app.profiles(&newest(None, range, LOOKED_AT)).await?.profiles {
        let series = profile.series.profile_type.to_string();
        deltas.entry(series).or_default().insert(profile.duration != 0);
    }
    let mut types = Vec::with_capacity(found.len());
    for found in found {
        let kinds = match deltas.get(&found.to_string()) {
            Some(kinds) => kinds.clone(),
            None => {
                let list = app.profiles(&newest(Some(found.clone()), range, 1)).await?.profiles;
                // Sums of long ranges know no durations; what is taken all the time has one.
                let of_name = !matches!(found.name.as_str(), "memory" | "goroutine" | "goroutines");
                BTreeSet::from([list.first().map_or(of_name, |profile| profile.duration != 0)])
            }
        };
        types.extend(kinds.into_iter().map(|delta| profile_type(&found, delta)));
    }
    Ok(ProfileTypesResponse { types, ..Default::default() })
}

fn newest(profile_type: Option<Type>, range: TimeRange, limit: usize) -> ProfileQuery {
    let (selector, order) = (Selector::all(), Order::NewestFirst);
    ProfileQuery { profile_type, selector, range, ids: Vec::new(), totals: ValueRange::ALL, order, limit }
}

fn profile_type(found: &Type, delta: bool) -> ProfileType {
    ProfileType {
        name: found.name.clone(),
        sample_type: found.sample.kind.clone(),
        sample_unit: found.sample.unit.clone(),
        period_type: found.period.kind.clone(),
        period_unit: found.period.unit.clone(),
        delta,
        ..Default::default()
    }
}

/// `Labels`.
pub(in super::super) async fn labels(app: &App, request: LabelsRequest) -> Result<LabelsResponse, ApiError> {
    let range = selector::range_or_all(request.start.as_option(), request.end.as_option())?;
    let selector = matching(&request.r#match, request.profile_type.as_deref())?;
    let label_names = names(app, selector, range).await?;
    Ok(LabelsResponse { label_names, ..Default::default() })
}

/// `Values`.
pub(in super::super) async fn values(app: &App, request: ValuesRequest) -> Result<ValuesResponse, ApiError> {
    if request.label_name.is_empty() {
        return Err(ApiError::invalid("label_name is missing; send the name of a label"));
    }
    let range = selector::range_or_all(request.start.as_option(), request.end.as_option())?;
    let selectors = [matching(&request.r#match, request.profile_type.as_deref())?];
    let name = request.label_name;
    let label_values = app.catalogue(move |engine| engine.label_values(&name, &selectors, range)).await?;
    Ok(ValuesResponse { label_values, ..Default::default() })
}

/// `HasProfileData`.
pub(in super::super) async fn has_profile_data(app: &App) -> Result<HasProfileDataResponse, ApiError> {
    let has_data = app.catalogue(|engine| engine.bounds().is_some()).await?;
    Ok(HasProfileDataResponse { has_data, ..Default::default() })
}

/// The report of files and labels behind a selection.
pub(super) async fn metadata(
    app: &App,
    selection: &Selection,
) -> Result<(HeaderMap, ProfileMetadata), ApiError> {
    let query = &selection.query;
    let of_type = selector::of_type(query.selector.clone(), &query.profile_type);
    let labels = names(app, of_type, selection.range).await?;
    let found = load::load(app, selection, &Apart::default()).await?;
    let headers = scan_headers::of(&found.stats, &found.warnings);
    let mapping_files = blocking(move || {
        let symbols = &found.stacks.symbols;
        let files = symbols.frames.iter().map(|frame| symbols.mapping(frame.mapping).file);
        let files: BTreeSet<&str> = files.map(|file| symbols.strings.get(file)).collect();
        files.into_iter().filter(|file| !file.is_empty()).map(str::to_owned).collect()
    });
    Ok((headers, ProfileMetadata { mapping_files: mapping_files.await?, labels, ..Default::default() }))
}

/// Names of the labels that users gave.
async fn names(app: &App, selector: Selector, range: TimeRange) -> Result<Vec<String>, ApiError> {
    let mut names = app.catalogue(move |engine| engine.label_names(&[selector], range)).await?;
    names.retain(|name| !name.starts_with("__"));
    Ok(names)
}

fn matching(matches: &[String], profile_type: Option<&str>) -> Result<Selector, ApiError> {
    let selector = selector::matches(matches)?;
    match profile_type.filter(|text| !text.is_empty()) {
        None => Ok(selector),
        Some(text) => {
            let (profile_type, _) = selector::profile_type(text).map_err(|error| error.at("profile_type"))?;
            Ok(selector::of_type(selector, &profile_type))
        }
    }
}
