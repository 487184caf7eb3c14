//! Reads at start what nearly every query needs, so that the first one after a restart is about as quick as
//! the next: the footers of the newest files, and the newest stacks.

use crate::files::DataFile;
use crate::lake::Shared;
use crate::stack_cache::Generation;
use crate::tables::{self, TableId};
use hashbrown::HashSet;
use std::sync::Arc;

/// So many footers are read.
const FOOTERS: usize = 32;

/// Files of stacks with up to so many bytes together are read: some ten milliseconds.
const STACK_BYTES: u64 = 4 << 20;

/// Blocking. What cannot be read is met again, and told, by the query that needs it.
pub(crate) fn warm_up(shared: &Shared) {
    let (mut files, mut stacks) = (Vec::new(), Vec::new());
    {
        let state = shared.state.read();
        for table in TableId::ALL {
            match table {
                TableId::Series => {}
                TableId::Stacks => stacks.clone_from(&state.tables[table].files),
                _ => files.extend(state.tables[table].files.iter().cloned()),
            }
        }
    }
    files.sort_by_key(|file: &Arc<DataFile>| std::cmp::Reverse(file.stats.max_time));
    for file in files.iter().take(FOOTERS) {
        let _ = shared.footers.get(file);
    }
    let (mut bytes, mut seen) = (0, HashSet::new());
    for file in stacks.iter().rev() {
        bytes += file.bytes;
        if bytes > STACK_BYTES {
            break;
        }
        let mut found = Generation::default();
        let read = shared.footers.get(file).and_then(|footer| {
            tables::read_stacks(file, &footer, None, &mut |stack| seen.insert(stack), &mut found)
        });
        if read.is_ok() {
            shared.stacks.write().load(found);
        }
    }
}
