//! Checks the write-ahead log, and that nothing is missing between it and the tables.

use super::{Check, Finding};
use crate::error::Error;
use crate::record;
use crate::tables::TableId;
use crate::wal_check;
use hashbrown::HashSet;

impl Check<'_> {
    /// Whether the records of the log are whole, and the stacks that they refer to known.
    pub(super) fn check_wal(&mut self) -> Result<(), Error> {
        let mut known: HashSet<(String, u128)> = HashSet::new();
        let mut sequences: HashSet<u64> = HashSet::new();
        let segments = wal_check::segments(&self.lake.wal())?;
        for (at, path) in segments.iter().enumerate() {
            let mut faults = Vec::new();
            let mut records = Vec::new();
            let segment = wal_check::check(path, &mut |record| {
                sequences.insert(record.sequence);
                match record::decode(&record.payload) {
                    Ok(batch) => records.push((batch.service, batch.stacks, batch.new_stacks.stacks)),
                    Err(why) => faults.push(format!("record {}: {why}", record.sequence)),
                }
            });
            let segment = match segment {
                Ok(segment) => segment,
                // The server has moved it into the tables meanwhile.
                Err(_) if !path.exists() => continue,
                Err(error) => return Err(error),
            };
            self.result.wal_records += segment.records;
            for sequence in segment.damaged {
                faults.push(format!("record {sequence} is damaged: its CRC is wrong"));
            }
            if segment.is_foreign {
                faults.push("it does not begin as a segment of the write-ahead log does".to_owned());
            } else if segment.lost_records > 0 {
                let what = "whole records lie behind a damaged one that hides them";
                faults.push(format!("{} {what}", segment.lost_records));
            } else if segment.torn_bytes > 0 {
                let last = if at + 1 == segments.len() { "or a server is just writing it, " } else { "" };
                let what = format!(
                    "it ends in {} bytes that are no whole record: a crash cut it, {last}and what is cut was not acknowledged",
                    segment.torn_bytes
                );
                self.result.notes.push(Finding { path: path.clone(), what });
            }
            faults.into_iter().for_each(|what| self.find(path, what));
            let from = self.referring.len();
            self.referring.push(path.clone());
            for (service, stacks, new) in records {
                let id = |at: u32| stacks.get(at as usize).map_or(0, |stack| stack.0);
                known.extend(new.iter().map(|&(at, _)| (service.clone(), id(at))));
                let unknown = stacks.iter().filter(|stack| !known.contains(&(service.clone(), stack.0)));
                let unknown: Vec<u128> = unknown.map(|stack| stack.0).collect();
                let wanted = self.wanted_stacks.entry(service).or_default();
                for stack in unknown {
                    wanted.entry(stack).or_insert(from);
                }
            }
        }
        self.check_sequences(&sequences);
        Ok(())
    }

    /// Whether what one of the tables of a flush lacks is still in the write-ahead log.
    fn check_sequences(&mut self, in_log: &HashSet<u64>) {
        let tables = [TableId::Stacks, TableId::Series, TableId::Profiles, TableId::Samples];
        let ahead =
            tables.map(|table| self.look.tables[table].sequence).into_iter().max().unwrap_or_default();
        for table in tables {
            let behind = self.look.tables[table].sequence;
            let is_known = self.look.faults.iter().any(|(other, _)| *other == table);
            if !is_known && (behind + 1..=ahead).any(|sequence| !in_log.contains(&sequence)) {
                let path = self.lake.table(table);
                let what = format!(
                    "its log ends at sequence {behind}, other tables go on to {ahead}, and the write-ahead log does not have what lies between"
                );
                self.find(&path, what);
            }
        }
    }
}
