//! The table `label_sets`: all series with their labels, from memory.

use super::context::Context;
use super::head::series_column;
use super::made::{MadeTable, batch};
use super::rows::blocking;
use super::schema;
use futures::FutureExt;
use std::sync::Arc;

/// The table `label_sets`.
pub(super) fn table(context: Arc<Context>) -> MadeTable {
    let rows = context.engine.lake().status().series;
    MadeTable {
        name: "label_sets",
        schema: schema::label_sets(),
        rows,
        make: Arc::new(move |schema| {
            let context = context.clone();
            let made = blocking(move || {
                let series = context.series();
                let rows = series.values();
                Ok(batch(schema, series.len(), |field| series_column(field.name(), rows.clone()))?)
            });
            made.boxed()
        }),
    }
}
