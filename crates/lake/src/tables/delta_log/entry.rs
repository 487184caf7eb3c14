//! The lines of a commit, as the Delta protocol wants them.

use super::super::Import;
use super::super::days::date_text;
use super::super::schema::{DATE, FORMAT_VERSION, Partition};
use super::{
    APPLICATION, DROPPED_PROPERTY, DeltaLog, FORMAT_PROPERTY, IMPORT, RETENTION, Replacement, application_of,
};
use crate::Error;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::new_metadata;
use serde_json::{Value, json};

impl DeltaLog {
    /// The lines of a commit. The first one of a table also says what the table is.
    pub(super) fn entry(&self, change: &Replacement) -> Result<String, Error> {
        let fault = self.fault();
        let modified = change.added.iter().map(|file| file.modified).max();
        let partitions: Vec<&str> =
            (self.table.partition != Partition::None).then_some(DATE).into_iter().collect();
        let mut actions = vec![json!({ "commitInfo": {
            "timestamp": modified,
            "operation": change.operation,
            "operationParameters": { "mode": "Append", "partitionBy": json!(partitions).to_string() },
            "isBlindAppend": change.removed.is_empty(),
            "engineInfo": concat!("everflame/", env!("CARGO_PKG_VERSION")),
        }})];
        if let Some(process) = self.folder.store.process()
            && let Some(info) = actions.first_mut().and_then(|action| action.get_mut("commitInfo"))
        {
            // No other process writes the same commit: what is read back and equal is ours.
            info["process"] = process.into();
        }
        if self.next_version == 0 {
            let schema = self.table.delta_schema().map_err(&fault)?;
            let properties = [
                (FORMAT_PROPERTY, FORMAT_VERSION.to_string()),
                ("delta.checkpointInterval", self.checkpoint_interval().to_string()),
                // The log of a table that is written every minute is cleaned after a day.
                ("delta.logRetentionDuration", "interval 1 day".to_owned()),
            ];
            let dropped =
                self.dropped_labels.as_ref().map(|labels| (DROPPED_PROPERTY, json!(labels).to_string()));
            let properties = properties.into_iter().chain(dropped);
            let metadata = new_metadata(&schema, partitions, properties)
                .map_err(|error| fault(DeltaTableError::generic(error)))?;
            let metadata =
                serde_json::to_value(metadata).map_err(|error| fault(DeltaTableError::generic(error)))?;
            actions.push(json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }));
            actions.push(json!({ "metaData": metadata }));
        }
        for file in &change.removed {
            let path = file.path.strip_prefix(self.folder.path()).unwrap_or(&file.path);
            let path = path.to_str().ok_or_else(|| self.damaged("a file's name is not UTF-8"))?;
            let partition = partition_date(path);
            actions.push(json!({ "remove": {
                "path": path,
                "deletionTimestamp": modified.unwrap_or_default(),
                "dataChange": change.changes_data,
                "extendedFileMetadata": true,
                "partitionValues": partition_values(partition),
                "size": file.bytes,
            }}));
        }
        for file in &change.added {
            actions.push(json!({ "add": {
                "path": file.path,
                "partitionValues": partition_values(file.date.map(date_text).as_deref()),
                "size": file.bytes,
                "modificationTime": file.modified,
                "dataChange": change.changes_data,
                "stats": file.bounds.delta_stats().to_string(),
            }}));
        }
        if let Some(sequence) = change.sequence {
            actions.push(json!({ "txn": { "appId": APPLICATION, "version": sequence } }));
        }
        if let (Some(flushed), Some(data_folder)) = (change.flushed, self.folder.store.data_folder()) {
            actions.push(json!({ "txn": { "appId": application_of(data_folder), "version": flushed } }));
        }
        if let Some(horizon) = change.horizon {
            actions.push(json!({ "txn": { "appId": RETENTION, "version": horizon } }));
        }
        if let Some(Import { source, sequence }) = &change.import {
            actions.push(json!({ "txn": { "appId": format!("{IMPORT}{source}"), "version": sequence } }));
        }
        Ok(actions.iter().map(|action| format!("{action}\n")).collect())
    }
}

/// The date in `date=2026-08-01/….parquet`.
fn partition_date(path: &str) -> Option<&str> {
    path.split('/').next()?.strip_prefix(DATE)?.strip_prefix('=')
}

fn partition_values(date: Option<&str>) -> serde_json::Map<String, Value> {
    date.map(|date| (DATE.to_owned(), Value::from(date))).into_iter().collect()
}
