//! `SelectHeatmap`: how many profiles or spans fell into each step of time and band of values.

use super::{MIN_STEP, answers, requests};
use crate::error::ApiError;
use crate::wire::querier::v1::{
    HeatmapQueryType, HeatmapSeries, HeatmapSlot, SelectHeatmapRequest, SelectHeatmapResponse,
};
use crate::wire::types::v1 as types;
use buffa::EnumValue;
use everflame_query::{Exemplars, Heatmap, HeatmapExemplar, HeatmapQuery, Single, TimeRange, ValueRange};
use std::num::NonZeroU16;
use uuid::Uuid;

/// Bands of values, as Pyroscope has them.
const BANDS: NonZeroU16 = NonZeroU16::new(20).unwrap();

pub(crate) fn query(request: SelectHeatmapRequest) -> Result<HeatmapQuery, ApiError> {
    let points = requests::points(request.start, request.end)?;
    if request.start == request.end {
        return Err(ApiError::invalid("start and end are equal; send a range"));
    }
    let step = request.step * 1e9;
    if !(step.is_finite() && step >= MIN_STEP) {
        return Err(ApiError::invalid(format_args!(
            "step is {} s; send the seconds between two points, at least 0.001",
            request.step
        )));
    }
    let step = step.round() as i64;
    // What lies between the last whole step and the end belongs to one more point.
    let rest = points.length() % step;
    let last = if rest > 0 { points.until.saturating_add(step - rest) } else { points.until };
    let of = match request.query_type {
        EnumValue::Known(HeatmapQueryType::HEATMAP_QUERY_TYPE_INDIVIDUAL) => Single::Profile,
        EnumValue::Known(HeatmapQueryType::HEATMAP_QUERY_TYPE_SPAN) => Single::Span,
        _ => {
            return Err(ApiError::invalid(
                "query_type is missing; send HEATMAP_QUERY_TYPE_INDIVIDUAL for profiles or \
                 HEATMAP_QUERY_TYPE_SPAN for spans",
            ));
        }
    };
    let exemplars = match (request.exemplar_type, of) {
        (EnumValue::Known(types::ExemplarType::EXEMPLAR_TYPE_INDIVIDUAL), Single::Profile)
        | (EnumValue::Known(types::ExemplarType::EXEMPLAR_TYPE_SPAN), Single::Span) => Exemplars::Largest,
        (
            EnumValue::Known(
                types::ExemplarType::EXEMPLAR_TYPE_UNSPECIFIED | types::ExemplarType::EXEMPLAR_TYPE_NONE,
            ),
            _,
        ) => Exemplars::None,
        _ => {
            return Err(ApiError::invalid(
                "exemplar_type is of another kind than query_type; send the same kind, or EXEMPLAR_TYPE_NONE",
            ));
        }
    };
    Ok(HeatmapQuery {
        of,
        profile_type: requests::profile_type(&request.profile_typeID)?,
        selector: requests::selector(&request.label_selector)?,
        range: TimeRange::new(points.from, last),
        until: points.until,
        step,
        bands: BANDS,
        values: ValueRange::ALL,
        group_by: request.group_by,
        limit: requests::limit(request.limit)?,
        exemplars,
    })
}

/// Steps that something fell into, each with all bands.
pub(crate) fn answer(heatmap: Heatmap) -> SelectHeatmapResponse {
    let y_min: Vec<f64> = heatmap.bands.iter().map(|&first| first as f64).collect();
    let series = heatmap.series.into_iter().map(|series| {
        let mut slots: Vec<HeatmapSlot> = Vec::new();
        for cell in series.cells {
            let timestamp = cell.time.div_euclid(1_000_000);
            if slots.last().is_none_or(|slot| slot.timestamp != timestamp) {
                let (y_min, counts) = (y_min.clone(), vec![0; y_min.len()]);
                slots.push(HeatmapSlot { timestamp, y_min, counts, ..Default::default() });
            }
            let Some(slot) = slots.last_mut() else { continue };
            if let Some(count) = slot.counts.get_mut(usize::from(cell.band)) {
                *count = count.saturating_add(i32::try_from(cell.count).unwrap_or(i32::MAX));
            }
            slot.exemplars.extend(cell.exemplar.map(exemplar));
        }
        HeatmapSeries { labels: answers::label_pairs(&series.labels, |_| true), slots, ..Default::default() }
    });
    SelectHeatmapResponse { series: series.collect(), ..Default::default() }
}

pub(crate) fn exemplar(exemplar: HeatmapExemplar) -> types::Exemplar {
    let hex = |is_known: bool, text: String| if is_known { text } else { String::new() };
    types::Exemplar {
        timestamp: exemplar.time.div_euclid(1_000_000),
        profile_id: exemplar.profile.map_or_else(String::new, |id| Uuid::from_u128(id.0).to_string()),
        span_id: hex(exemplar.span != 0, format!("{:016x}", exemplar.span)),
        trace_id: hex(exemplar.trace != 0, format!("{:032x}", exemplar.trace)),
        value: exemplar.value,
        labels: answers::label_pairs(&exemplar.labels, |_| true),
        ..Default::default()
    }
}
