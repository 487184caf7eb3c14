//! `SelectSeries` with spans as exemplars: the largest span of each point.

use super::encode::SeriesAnswer;
use super::{answers, heatmap};
use crate::app::App;
use crate::error::ApiError;
use crate::wire::querier::v1::SelectSeriesResponse;
use bytes::Bytes;
use connectrpc::{CodecFormat, ConnectError, Encodable};
use everflame_profile::{Labels, Nanos};
use everflame_query::{
    Exemplars, HeatmapExemplar, HeatmapQuery, ScanStats, SeriesQuery, Single, TimeSeriesAnswer, ValueRange,
    Warning,
};
use hashbrown::HashMap;
use std::num::NonZeroU16;

/// Time series, with or without spans.
pub(crate) enum SeriesOrSpans {
    Series(SeriesAnswer),
    Spans(SelectSeriesResponse),
}

impl Encodable<SelectSeriesResponse> for SeriesOrSpans {
    fn encode(&self, codec: CodecFormat) -> Result<Bytes, ConnectError> {
        match self {
            Self::Series(series) => series.encode(codec),
            Self::Spans(message) => Encodable::encode(message, codec),
        }
    }
}

/// The points of `query`, each with its largest span, if it has one.
pub(crate) async fn with_spans(
    app: &App,
    query: &SeriesQuery,
) -> Result<(SelectSeriesResponse, ScanStats, Vec<Warning>), ApiError> {
    let spans = HeatmapQuery {
        of: Single::Span,
        profile_type: query.profile_type.clone(),
        selector: query.selector.clone(),
        range: query.range,
        until: query.range.until,
        step: query.step,
        bands: NonZeroU16::MIN,
        values: ValueRange::ALL,
        group_by: query.group_by.clone(),
        limit: None,
        exemplars: Exemplars::Largest,
    };
    let (answer, found) = futures::try_join!(app.time_series(query), app.heatmap(&spans))?;
    let TimeSeriesAnswer { series, mut stats, mut warnings, .. } = answer;
    stats.add(&found.stats);
    warnings.extend(found.warnings);
    let mut largest: HashMap<(Labels, Nanos), HeatmapExemplar> = HashMap::new();
    for series in found.series {
        for cell in series.cells {
            if let Some(exemplar) = cell.exemplar {
                largest.insert((series.labels.clone(), cell.time), exemplar);
            }
        }
    }
    let with_spans = series.into_iter().map(|series| {
        let keys: Vec<_> = series.points.iter().map(|point| (series.labels.clone(), point.time)).collect();
        let mut message = answers::series(series);
        for (point, key) in message.points.iter_mut().zip(keys) {
            point.exemplars.extend(largest.remove(&key).map(heatmap::exemplar));
        }
        message
    });
    Ok((SelectSeriesResponse { series: with_spans.collect(), ..Default::default() }, stats, warnings))
}
