//! What a lake holds: tables, tiers, columns and services, from the Delta logs and the footers of the
//! files. Nothing is changed, so that it may be done beside a server.

use crate::error::Error;
use crate::files::DataFile;
use crate::store::{self, StorageConfig, Store, is_remote};
use crate::tables::{self, Look, TableId, TableState, Tables, Tier, date_text, file_day};
use crate::wal_check;
use everflame_profile::Clock;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// How often the logs are read again because a server has committed meanwhile.
pub(crate) const LOOKS: usize = 5;

/// Where a lake lies.
#[derive(Clone, Debug)]
pub struct LakePath {
    /// The data folder.
    pub path: PathBuf,
    /// Name of the tenant, also of its folder.
    pub tenant: String,
    /// Where the tables are.
    pub storage: StorageConfig,
}

/// A lake that is only looked at.
pub(crate) struct OpenLake<'a> {
    lake: &'a LakePath,
    store: Arc<dyn Store>,
    /// Copies of what is in a bucket.
    copies: Option<TempDir>,
}

impl<'a> OpenLake<'a> {
    /// Opens what is there.
    pub(crate) fn new(lake: &'a LakePath, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let folder = std::env::temp_dir();
        let copies = is_remote(&lake.storage).then(|| TempDir::with_prefix("everflame-lake-"));
        let copies = copies.transpose().map_err(|source| Error::io(&folder, source))?;
        let copies_at = copies.as_ref().map_or(lake.path.as_path(), TempDir::path);
        match store::open_to_read(&lake.storage, &lake.path, &lake.tenant, copies_at, clock)? {
            Some(store) => Ok(Self { lake, store, copies }),
            None => Err(lake.missing()),
        }
    }

    /// The tables, all as they are at one moment.
    pub(crate) async fn look(&self) -> Result<Look, Error> {
        let mut look = Tables::look(&self.store).await?;
        for _ in 1..LOOKS {
            if !look.is_outdated() {
                break;
            }
            look = Tables::look(&self.store).await?;
        }
        // A prefix of a bucket is there when something is in it.
        if self.copies.is_some() && look.is_empty() { Err(self.lake.missing()) } else { Ok(look) }
    }

    /// The folder of a table.
    pub(crate) fn table(&self, table: TableId) -> PathBuf {
        self.store.path(table.name())
    }

    /// The folder of the write-ahead log.
    pub(crate) fn wal(&self) -> PathBuf {
        self.lake.path.join("wal")
    }

    /// Whether the tables are in a bucket.
    pub(crate) fn is_remote(&self) -> bool {
        self.copies.is_some()
    }

    /// What a file or folder is called where it lies: copies are of something in a bucket.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        let copy = self.copies.as_ref().and_then(|copies| path.strip_prefix(copies.path()).ok());
        copy.map_or_else(|| path.to_owned(), |name| PathBuf::from(self.lake.place()).join(name))
    }
}

impl LakePath {
    /// What the place of the tables is called.
    pub fn place(&self) -> String {
        match self.storage.url.as_str() {
            "" => self.path.join(&self.tenant).display().to_string(),
            url => format!("{}/{}", url.trim_end_matches('/'), self.tenant),
        }
    }

    /// Fails when there is no lake, or its place cannot be reached. Makes nothing.
    pub async fn check(&self, clock: Arc<dyn Clock>) -> Result<(), Error> {
        OpenLake::new(self, clock)?.look().await.map(drop)
    }

    fn missing(&self) -> Error {
        let why = "there is no lake here; name the data folder of a server, or the storage that it was given";
        Error::Storage { place: self.place(), why: why.to_owned() }
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
pub async fn inspect(lake: &LakePath, clock: Arc<dyn Clock>) -> Result<Inspection, Error> {
    let lake = OpenLake::new(lake, clock)?;
    let mut gone = None;
    for _ in 0..LOOKS {
        let look = lake.look().await?;
        match inspect_look(&lake, &look) {
            // A compaction beside us may have taken the file away; then there is a newer log.
            Err(error) if look.is_outdated() => gone = Some(error),
            inspection => return inspection,
        }
    }
    Err(gone.unwrap_or(Error::Closed))
}

fn inspect_look(lake: &OpenLake<'_>, look: &Look) -> Result<Inspection, Error> {
    if let Some((table, error)) = look.faults.first() {
        let path = lake.shown(&lake.table(*table));
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
