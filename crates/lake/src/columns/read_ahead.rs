//! Has the operating system read what is about to be needed of a row group, all at once: a disk answers
//! many short reads together in about the time of one.

use super::RowGroup;
use super::pages::{Needed, locations};
use std::ops::Range;

/// Pieces of a file that lie so near to each other are read as one.
const GAP_BYTES: u64 = 32 << 10;

impl RowGroup<'_> {
    /// Starts reading what `rows` of the columns `names` lie in, and does not wait for it. What cannot be
    /// read is met again by who needs it.
    pub fn read_ahead(&self, names: &[&str], rows: &[Range<usize>]) {
        let Some(group) = self.footer.row_groups().get(self.at) else { return };
        let columns = group.columns().iter().enumerate();
        let wanted = columns.filter(|(_, chunk)| names.contains(&chunk.column_path().string().as_str()));
        let mut pieces: Vec<Range<u64>> = wanted
            .filter_map(|(column, chunk)| {
                Needed::new(chunk, locations(self.footer, self.at, column), rows).ok()
            })
            .flat_map(|needed| [needed.head, needed.body])
            .filter(|piece| !piece.is_empty())
            .collect();
        pieces.sort_unstable_by_key(|piece| piece.start);
        pieces.dedup_by(|next, piece| {
            let near = next.start <= piece.end.saturating_add(GAP_BYTES);
            if near {
                piece.end = piece.end.max(next.end);
            }
            near
        });
        pieces.into_iter().for_each(|piece| self.file.read_ahead(piece));
    }
}
