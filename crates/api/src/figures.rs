//! Figures without labels, as `/metrics` writes them.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// A figure: its name, what it counts, and its value.
pub(crate) type Figure = (&'static str, &'static str, u64);

/// A gauge's value as it is written.
pub(crate) fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Writes figures that go up and down.
pub(crate) fn encode_gauges(
    encoder: &mut DescriptorEncoder<'_>,
    figures: impl IntoIterator<Item = Figure>,
) -> Result<(), fmt::Error> {
    figures.into_iter().try_for_each(|(name, help, value)| {
        gauge(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    })
}

/// Writes figures that only go up.
pub(crate) fn encode_counters(
    encoder: &mut DescriptorEncoder<'_>,
    figures: impl IntoIterator<Item = Figure>,
) -> Result<(), fmt::Error> {
    figures.into_iter().try_for_each(|(name, help, value)| {
        let target = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(target)
    })
}
