//! The four Delta tables of a tenant: `samples`, `profiles`, `series` and `stacks`.
//!
//! A flush becomes one commit in each of them, in the order stacks, series, profiles, samples, so that
//! what a sample refers to is there before it. Each commit names the last write-ahead log sequence that
//! it contains, which makes a replay after a crash exactly-once. Nobody else writes these tables: the
//! state that a commit needs is kept in memory. Columns, order and encodings stand in
//! `docs/rfcs/0001-lake-format.md`.

mod columns;
mod days;
mod delta_log;
mod frames;
mod parquet_file;
mod profiles;
mod samples;
mod schema;
mod series;
mod series_order;
mod stacks;
#[cfg(test)]
mod tests;

pub(crate) use profiles::read_profile_ids;
pub(crate) use stacks::read_stacks;

use crate::store::Store;
use crate::{DataFile, Error, HeadChunk};
use delta_log::DeltaLog;
use everflame_profile::{FrameIndex, Nanos, Series, SeriesId, StackId, Symbols};
use hashbrown::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The tables of one tenant, open for writing.
pub(crate) struct Tables {
    logs: Mutex<Logs>,
}

/// The Delta logs, in the order in which a flush commits.
struct Logs {
    stacks: DeltaLog,
    series: DeltaLog,
    profiles: DeltaLog,
    samples: DeltaLog,
}

/// What the tables held when they were opened.
pub(crate) struct Opened {
    /// What of the write-ahead log is in which table.
    pub(crate) sequences: Sequences,
    /// Files of `samples`.
    pub(crate) samples: Vec<Arc<DataFile>>,
    /// Files of `profiles`.
    pub(crate) profiles: Vec<Arc<DataFile>>,
    /// Files of `stacks`.
    pub(crate) stacks: Vec<Arc<DataFile>>,
    /// When which series has profiles; one entry for each series and day.
    pub(crate) series: Vec<SeriesDay>,
}

/// For each table the last write-ahead log sequence that is in it; 0 when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequences {
    pub(crate) stacks: u64,
    pub(crate) series: u64,
    pub(crate) profiles: u64,
    pub(crate) samples: u64,
}

/// A series that has profiles on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeriesDay {
    /// Its id.
    pub(crate) id: SeriesId,
    /// Labels and type.
    pub(crate) series: Arc<Series>,
    /// Days since the epoch, UTC.
    pub(crate) day: i32,
    /// Time of the first profile of that day.
    pub(crate) first: Nanos,
    /// Time of the last profile of that day.
    pub(crate) last: Nanos,
}

/// What a flush moves into the tables.
pub(crate) struct Flush<'a> {
    /// The last write-ahead log sequence that is contained.
    pub(crate) sequence: u64,
    /// Profiles and samples.
    pub(crate) chunks: &'a [Arc<HeadChunk>],
    /// The series that the chunks refer to.
    pub(crate) series: &'a HashMap<SeriesId, Arc<Series>>,
    /// The series and days that the chunks touch.
    pub(crate) series_days: &'a [SeriesDay],
    /// Stacks that are not in the table yet.
    pub(crate) stacks: &'a StackRows,
}

/// Stacks with their frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct StackRows {
    /// The frames.
    pub(crate) symbols: Symbols,
    /// The stacks; their frames lie one after the other in `frames`.
    pub(crate) rows: Vec<StackRow>,
    /// The services that rows refer to.
    pub(crate) services: Vec<String>,
    /// Frames of all stacks, leaf first, as indices into `symbols.frames`.
    pub(crate) frames: Vec<FrameIndex>,
}

/// A stack of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackRow {
    /// Position in [`StackRows::services`].
    pub(crate) service: u32,
    /// Its id.
    pub(crate) id: StackId,
    /// End of its frames in [`StackRows::frames`]; they begin where those of the row before it end.
    pub(crate) end: u32,
}

/// The files that a flush added.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) samples: Vec<Arc<DataFile>>,
    pub(crate) profiles: Vec<Arc<DataFile>>,
    pub(crate) stacks: Vec<Arc<DataFile>>,
}

impl Tables {
    /// Opens the tables in `store`, and deletes what a crashed flush left there. A table that does not exist
    /// is empty, and is made by the first commit.
    pub(crate) async fn open(store: Arc<dyn Store>, now: Nanos) -> Result<(Self, Opened), Error> {
        let (stacks, series, profiles, samples) = futures::try_join!(
            DeltaLog::open(&store, &schema::STACKS),
            DeltaLog::open(&store, &schema::SERIES),
            DeltaLog::open(&store, &schema::PROFILES),
            DeltaLog::open(&store, &schema::SAMPLES),
        )?;
        for (log, files) in [&stacks, &series, &profiles, &samples] {
            log.delete_orphans(files, now)?;
        }
        let opened = Opened {
            sequences: Sequences {
                stacks: stacks.0.sequence(),
                series: series.0.sequence(),
                profiles: profiles.0.sequence(),
                samples: samples.0.sequence(),
            },
            samples: samples.1,
            profiles: profiles.1,
            stacks: stacks.1,
            series: series::read(&series.1),
        };
        let logs = Logs { stacks: stacks.0, series: series.0, profiles: profiles.0, samples: samples.0 };
        Ok((Self { logs: Mutex::new(logs) }, opened))
    }

    /// Writes `flush` and makes it durable, leaving out the tables that have it already according to
    /// `done`. Does its work on the calling thread, which must be one that may block.
    ///
    /// After an error the same flush must be committed again, unchanged, before another one: some tables
    /// may have it already, and are left out then.
    pub(crate) async fn commit(&self, flush: &Flush<'_>, done: Sequences) -> Result<Committed, Error> {
        let mut logs = self.logs.lock().await;
        let logs = &mut *logs;
        let sequence = flush.sequence;
        if logs.stacks.lacks(sequence, done.stacks) {
            logs.stacks.commit(sequence, |folder| stacks::write(folder, sequence, flush.stacks))?;
        }
        if logs.series.lacks(sequence, done.series) {
            logs.series.commit(sequence, |folder| series::write(folder, sequence, flush.series_days))?;
        }
        let needs_profiles = logs.profiles.lacks(sequence, done.profiles);
        let needs_samples = logs.samples.lacks(sequence, done.samples);
        if needs_profiles || needs_samples {
            let order = series_order::SeriesOrder::new(flush)?;
            if needs_profiles {
                logs.profiles.commit(sequence, |folder| profiles::write(folder, sequence, &order))?;
            }
            if needs_samples {
                logs.samples.commit(sequence, |folder| samples::write(folder, sequence, &order))?;
            }
        }
        for log in [&mut logs.stacks, &mut logs.series, &mut logs.profiles, &mut logs.samples] {
            log.checkpoint_when_due().await;
        }
        Ok(Committed {
            samples: logs.samples.take_new_files(),
            profiles: logs.profiles.take_new_files(),
            stacks: logs.stacks.take_new_files(),
        })
    }
}
