//! Durable storage of profiles: a write-ahead log, an in-memory head that can be queried at once, and
//! Delta tables of Parquet files that any reader opens.
//!
//! A [`Batch`] goes in through [`Lake::append`], which answers when it is on disk. What is stored comes
//! out as a [`Snapshot`]: the data files of each table and the chunks of the head, to be scanned by the
//! query engine. What is on disk, byte by byte, stands in `docs/rfcs/0001-lake-format.md`.

mod batch;
pub mod columns;
mod compaction;
mod deletion;
mod disk;
mod error;
mod files;
mod flush;
mod footers;
mod head;
mod inspect;
mod lake;
mod random;
mod record;
mod retention;
mod series;
mod service_sizes;
#[cfg(test)]
mod simulation;
mod snapshot;
mod stack_cache;
mod stacks;
mod status;
mod store;
mod tables;
#[cfg(test)]
mod testing;
mod transfer;
mod uploads;
mod verify;
mod wal;
mod wal_check;
mod warm_up;
mod writer;

pub use batch::{Batch, NewStacks, ProfileId, ProfileRow, Sample};
pub use deletion::{Deleted, Deletion};
pub use error::{Error, ErrorKind};
pub use files::{DataFile, FileStats};
pub use footers::{CacheStatus, Footers};
pub use inspect::{ColumnInfo, Inspection, LakePath, ServiceInfo, TableInfo, inspect};
pub use lake::{Appended, Lake, LakeConfig};
pub use retention::{Expiring, Retention, RetentionOverride};
pub use service_sizes::ServiceSizes;
pub use snapshot::{HeadChunk, HeadProfile, ResolvedStacks, SeriesMatch, Snapshot, TierSnapshot};
pub use status::LakeStatus;
pub use store::{StorageConfig, StorageStatus};
pub use tables::{Level, Tier};
pub use transfer::{Excerpt, Transfer, TransferProgress};
pub use verify::{Finding, Verification, verify};
