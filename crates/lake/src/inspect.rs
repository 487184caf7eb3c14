//! What a lake on disk holds: tables, tiers, columns and services, from the Delta logs and the footers of the
//! files. Nothing is changed, so that it may be done beside a server.

use crate::error::Error;
use crate::files::DataFile;
use crate::tables::{self, Look, TableId, TableState, Tables, Tier, date_text, file_day};
use crate::wal_check;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// How often the logs are read again because a server has committed meanwhile.
pub(crate) const LOOKS: usize = 5;

/// Where a lake lies.
#[derive(Clone, Debug)]
pub struct LakePath {
    /// The data folder.
    pub path: PathBuf,
    /// Name of the tenant, also of its folder.
    pub tenant: String,
}

impl LakePath {
    /// The tenant's folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.path.join(&self.tenant)
    }

    /// The tables, all as they are at one moment.
    pub(crate) async fn look(&self) -> Result<Look, Error> {
        let root = self.root();
        if !root.is_dir() {
            let missing = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no lake here");
            return Err(Error::io(root, missing));
        }
        let mut look = Tables::look(&root).await?;
        for _ in 1..LOOKS {
            if !look.is_outdated() {
                break;
            }
            look = Tables::look(&root).await?;
        }
        Ok(look)
    }

    /// The folder of the write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.path.join("wal")
    }
}

/// What a lake holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The tables, in the order in which a flush commits, then the tiers.
    pub tables: Vec<TableInfo>,
    /// The services, the largest first.
    pub services: Vec<ServiceInfo>,
    /// Segments of the write-ahead log.
    pub wal_files: u64,
    /// Their bytes.
    pub wal_bytes: u64,
}

/// A table.
#[derive(Clone, Debug)]
pub struct TableInfo {
    /// Its name.
    pub name: &'static str,
    /// Length of its windows in seconds, when it is a tier.
    pub window_seconds: Option<i64>,
    /// Files.
    pub files: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// The last write-ahead log sequence that is in it.
    pub sequence: u64,
    /// The first day whose rows were not deleted because of their age, `YYYY-MM-DD`.
    pub horizon: Option<String>,
    /// Its first and last partition, `YYYY-MM-DD`.
    pub partitions: Option<(String, String)>,
    /// Its columns, in the order of the files.
    pub columns: Vec<ColumnInfo>,
}

/// A column of a table, over all its files.
#[derive(Clone, Debug, Default)]
pub struct ColumnInfo {
    /// Its name, with dots between a struct's and its field's.
    pub name: String,
    /// Bytes on disk.
    pub compressed: u64,
    /// Bytes after encoding and before compression.
    pub uncompressed: u64,
    /// Encodings that occur.
    pub encodings: Vec<String>,
}

/// A service. What it shares with others, row groups and their dictionaries, is split by rows.
#[derive(Clone, Debug, Default)]
pub struct ServiceInfo {
    /// Its name.
    pub name: String,
    /// Rows and bytes in each table, by the table's name.
    pub tables: BTreeMap<&'static str, (u64, u64)>,
}

impl ServiceInfo {
    /// Bytes in all tables.
    pub fn bytes(&self) -> u64 {
        self.tables.values().map(|(_, bytes)| bytes).sum()
    }
}

/// Looks at the lake at `lake`. Blocking, for as long as it takes to read the footers and the columns of
/// services.
pub async fn inspect(lake: &LakePath) -> Result<Inspection, Error> {
    let mut gone = None;
    for _ in 0..LOOKS {
        let look = lake.look().await?;
        match inspect_look(lake, &look) {
            // A compaction beside us may have taken the file away; then there is a newer log.
            Err(error) if look.is_outdated() => gone = Some(error),
            inspection => return inspection,
        }
    }
    Err(gone.unwrap_or(Error::Closed))
}

fn inspect_look(lake: &LakePath, look: &Look) -> Result<Inspection, Error> {
    if let Some((table, error)) = look.faults.first() {
        let path = lake.root().join(table.name());
        return Err(Error::Damaged { path, why: error.to_string() });
    }
    let mut services: BTreeMap<String, ServiceInfo> = BTreeMap::new();
    let mut infos = Vec::new();
    for table in TableId::ALL {
        let state = &look.tables[table];
        for file in &state.files {
            for (name, (rows, bytes)) in tables::services_of(table, file)? {
                let service = services.entry(name).or_default();
                let sum = service.tables.entry(table.name()).or_default();
                (sum.0, sum.1) = (sum.0 + rows, sum.1 + bytes);
            }
        }
        infos.push(table_info(table, state)?);
    }
    let services = services.into_iter().map(|(name, service)| ServiceInfo { name, ..service });
    let mut services: Vec<ServiceInfo> = services.collect();
    services.sort_by_key(|service| std::cmp::Reverse(service.bytes()));
    let segments = wal_check::segments(&lake.wal())?;
    let wal_bytes = segments.iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum();
    Ok(Inspection { tables: infos, services, wal_files: segments.len() as u64, wal_bytes })
}

fn table_info(table: TableId, state: &TableState) -> Result<TableInfo, Error> {
    let days = || state.files.iter().filter_map(|file| file_day(file));
    Ok(TableInfo {
        name: table.name(),
        window_seconds: window(table).map(|tier| tier.micros() / 1_000_000),
        files: state.files.len() as u64,
        rows: state.files.iter().map(|file| file.stats.rows).sum(),
        bytes: state.files.iter().map(|file| file.bytes).sum(),
        sequence: state.sequence,
        horizon: (state.horizon != i64::MIN).then(|| {
            let day = state.horizon.div_euclid(Tier::Day.micros());
            date_text(i32::try_from(day).unwrap_or(i32::MAX))
        }),
        partitions: days().min().zip(days().max()).map(|(min, max)| (date_text(min), date_text(max))),
        columns: columns(&state.files)?,
    })
}

/// The tier that `table` is of.
fn window(table: TableId) -> Option<Tier> {
    match table {
        TableId::ProfileTier(tier, _) | TableId::SampleTier(tier, _) => Some(tier),
        _ => None,
    }
}

fn columns(files: &[Arc<DataFile>]) -> Result<Vec<ColumnInfo>, Error> {
    let mut columns: Vec<ColumnInfo> = Vec::new();
    for file in files {
        let metadata = file.metadata()?;
        for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            let name = chunk.column_path().string();
            let at = columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
                columns.push(ColumnInfo { name, ..ColumnInfo::default() });
                columns.len() - 1
            });
            let Some(column) = columns.get_mut(at) else { continue };
            column.compressed += u64::try_from(chunk.compressed_size()).unwrap_or_default();
            column.uncompressed += u64::try_from(chunk.uncompressed_size()).unwrap_or_default();
            for encoding in chunk.encodings().map(|encoding| encoding.to_string()) {
                if !column.encodings.contains(&encoding) {
                    column.encodings.push(encoding);
                }
            }
        }
    }
    columns.iter_mut().for_each(|column| column.encodings.sort());
    Ok(columns)
}
