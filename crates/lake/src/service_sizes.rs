//! What each service takes on disk, table by table, while the lake is open. Files never change, so each is
//! read once; what is known about files that are gone is forgotten.

use crate::inspect::ServiceInfo;
use crate::lake::Lake;
use crate::tables::{self, TableId};
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows and bytes of each service in one file.
type Services = BTreeMap<String, (u64, u64)>;

/// What is known of each file, by the file's id.
#[derive(Debug, Default)]
pub(crate) struct KnownSizes(Mutex<HashMap<u64, Arc<Services>>>);

/// What the services take on disk.
#[derive(Clone, Debug, Default)]
pub struct ServiceSizes {
    /// The services, the largest first.
    pub services: Vec<ServiceInfo>,
    /// Bytes of files whose services are not known: the file is damaged, or in a bucket and not on this
    /// machine, from where none is fetched for this.
    pub unknown_bytes: u64,
}

impl Lake {
    /// What each service takes on disk. Blocking: reads the footers, and where services share row groups
    /// their column, of files that it has not read before.
    pub fn service_sizes(&self) -> ServiceSizes {
        // Held throughout, so that of several who ask at once one reads.
        let mut known = self.shared.sizes.0.lock();
        let files: Vec<_> = {
            let state = self.shared.state.read();
            let files = |table: TableId| state.tables[table].files.clone().into_iter();
            TableId::ALL.into_iter().flat_map(|table| files(table).map(move |file| (table, file))).collect()
        };
        let mut before = std::mem::take(&mut *known);
        let mut services: BTreeMap<String, ServiceInfo> = BTreeMap::new();
        let mut unknown_bytes = 0;
        for (table, file) in files {
            let sizes = before.remove(&file.id).or_else(|| {
                let read = file.path.exists().then(|| tables::services_of(table, &file))?;
                read.inspect_err(|error| tracing::warn!(%error, "the services of a file are not known"))
                    .ok()
                    .map(Arc::new)
            });
            let Some(sizes) = sizes else {
                unknown_bytes += file.bytes;
                continue;
            };
            // Row groups are not all of a file: its footer is everybody's, too.
            let content: u64 = sizes.values().map(|(_, bytes)| bytes).sum();
            for (name, (rows, bytes)) in sizes.iter() {
                let share = u128::from(file.bytes) * u128::from(*bytes) / u128::from(content.max(1));
                let service = services.entry(name.clone()).or_default();
                let sum = service.tables.entry(table.name()).or_default();
                (sum.0, sum.1) = (sum.0 + rows, sum.1 + share as u64);
            }
            known.insert(file.id, sizes);
        }
        let services = services.into_iter().map(|(name, service)| ServiceInfo { name, ..service });
        let mut services: Vec<ServiceInfo> = services.collect();
        services.sort_by_key(|service| std::cmp::Reverse(service.bytes()));
        ServiceSizes { services, unknown_bytes }
    }
}
