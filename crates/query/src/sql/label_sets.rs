//! The tables `label_sets` and `label_sets_service`: all series with their labels, from memory.

use super::context::Context;
use super::head::series_column;
use super::made::{MadeTable, batch};
use super::rows::blocking;
use super::schema;
use everflame_lake::{Level, SeriesMatch};
use everflame_profile::SeriesId;
use futures::FutureExt;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::sync::Arc;

/// The series that sums of `level` are of.
pub(super) fn table(context: Arc<Context>, level: Level) -> MadeTable {
    MadeTable {
        name: match level {
            Level::Series => "label_sets",
            Level::Service => "label_sets_service",
        },
        schema: schema::label_sets(),
        rows: context.engine.lake().status().series,
        make: Arc::new(move |schema, _| {
            let context = context.clone();
            let made = blocking(move || {
                let reduced;
                let series = match level {
                    Level::Series => context.series(),
                    Level::Service => {
                        reduced = without_instances(&context);
                        &reduced
                    }
                };
                let rows = series.values();
                Ok(batch(schema, series.len(), |field| series_column(field.name(), rows.clone()))?)
            });
            made.boxed()
        }),
    }
}

/// The series without the labels that name instances.
fn without_instances(context: &Context) -> HashMap<SeriesId, SeriesMatch> {
    let mut all: HashMap<SeriesId, SeriesMatch> = HashMap::new();
    for found in context.series().values() {
        match all.entry(found.reduced) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                (known.first, known.last) = (known.first.min(found.first), known.last.max(found.last));
            }
            Entry::Vacant(place) => {
                let series = Arc::new(found.series.without(&context.snapshot.dropped_labels));
                place.insert(SeriesMatch { id: found.reduced, series, ..found.clone() });
            }
        }
    }
    all
}
