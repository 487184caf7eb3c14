//! Tables as they are, looked at from outside, also beside a server.

use super::delta_log::DeltaLog;
use super::{TableId, TableStates, Tables};
use crate::Error;
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;

/// What [`Tables::look`] saw.
#[derive(Default)]
pub(crate) struct Look {
    /// The tables; those whose logs cannot be read are empty.
    pub(crate) tables: TableStates,
    /// The logs that cannot be read.
    pub(crate) faults: Vec<(TableId, Error)>,
    /// Data files that no log names.
    pub(crate) orphans: Vec<PathBuf>,
    /// The labels that sums of [`Level::Service`] do not tell apart.
    pub(crate) dropped_labels: Vec<String>,
    logs: Vec<DeltaLog>,
}

impl Look {
    /// Whether there has never been a commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.logs.iter().all(|log| log.next_version() == 0)
    }

    /// Whether somebody has written since.
    pub(crate) fn is_outdated(&self) -> bool {
        self.logs.iter().any(DeltaLog::has_moved_on)
    }
}

impl Tables {
    /// The tables in `store`, as their logs name them. Changes nothing, so that it may be called beside a
    /// server.
    pub(crate) async fn look(store: &Arc<dyn Store>) -> Result<Look, Error> {
        let mut look = Look::default();
        // Against the order in which a flush and the sums of it are committed: what rows refer to, and
        // what sums are made of, is there then.
        for table in TableId::ALL.into_iter().rev() {
            match DeltaLog::look(store, table.table()).await {
                Ok((log, files)) => {
                    look.orphans.extend(log.orphans(&files)?);
                    if look.dropped_labels.is_empty() {
                        look.dropped_labels = log.dropped_labels().unwrap_or_default().to_vec();
                    }
                    look.tables[table] = log.state(files);
                    look.logs.push(log);
                }
                Err(error) => look.faults.push((table, error)),
            }
        }
        Ok(look)
    }
}
