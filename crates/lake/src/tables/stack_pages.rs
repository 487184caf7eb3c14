//! Reads stacks straight from the pages of a file. Hot: a query meets the stacks of a service for the first
//! time here.
//!
//! The fields of a frame are columns of positions among distinct values. Frames are told apart by these
//! positions: their texts are looked at once for each distinct frame, not for each frame of each stack.

use crate::columns::{Distinct, Fault, Ids, RowGroup};
use crate::stack_cache::Generation;
use everflame_profile::{Frame, FrameIndex, FrameKind, Mapping, StackId, StringIndex};
use hashbrown::HashTable;
use std::ops::Range;

/// The rows of `services`, or all, in a row group, with their ids.
pub(super) fn rows(group: RowGroup<'_>, services: Option<&[&str]>) -> Result<Vec<(usize, StackId)>, Fault> {
    let row_count = group.footer.row_groups().get(group.at).map_or(0, |group| group.num_rows());
    let row_count = usize::try_from(row_count).unwrap_or_default();
    let all: Range<usize> = 0..row_count;
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut names = Distinct::texts(group, "service", std::slice::from_ref(&all))?;
    let (mut row, mut chosen) = (0, Vec::new());
    while row < row_count {
        let end = names.load(row)?;
        for position in chosen.len()..names.distinct() {
            chosen.push(services.is_none_or(|all| all.contains(&names.text(position as u32))));
        }
        for row in row..end {
            let position = names.row(row).first().copied().unwrap_or(u32::MAX);
            if !chosen.get(position as usize).copied().unwrap_or_default() {
                continue;
            }
            match ranges.last_mut() {
                Some(range) if range.end == row => range.end = row + 1,
                _ => ranges.push(row..row + 1),
            }
        }
        row = end;
    }
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids = Ids::<16>::open(group, "stack_id", &ranges)?;
    let mut rows = Vec::with_capacity(ranges.iter().map(Range::len).sum());
    for range in ranges {
        let mut row = range.start;
        while row < range.end {
            let end = range.end.min(ids.load(row)?);
            let mut keys = Vec::with_capacity(end - row);
            ids.runs(row..end, |key, length| keys.extend(std::iter::repeat_n(key, length)));
            let known = ids.ids();
            let id_of = |key: &u32| known.get(*key as usize).map(|id| StackId(u128::from_be_bytes(*id)));
            rows.extend((row..end).zip(keys.iter().filter_map(id_of)));
            row = end;
        }
    }
    Ok(rows)
}

/// Adds the stacks of `rows`, which ascend, to `found`.
pub(super) fn frames(
    group: RowGroup<'_>,
    rows: &[(usize, StackId)],
    found: &mut Generation,
) -> Result<(), Fault> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for &(row, _) in rows {
        match ranges.last_mut() {
            Some(range) if range.end == row => range.end = row + 1,
            _ => ranges.push(row..row + 1),
        }
    }
    let mut frames = Frames::open(group, &ranges)?;
    let mut stack = Vec::new();
    for &(row, id) in rows {
        frames.load(row)?;
        stack.clear();
        frames.read(row, &mut stack, found)?;
        found.insert(id, stack.iter().copied());
    }
    Ok(())
}

/// Columns of a frame.
const FIELDS: usize = 13;

/// Positions of the fields of a frame among the distinct values of their columns.
type Positions = [u32; FIELDS];

/// The columns of frames, in the order of the table's schema.
struct Frames {
    columns: [Distinct; FIELDS],
    /// The row after the last that all columns have loaded.
    end: usize,
    known: HashTable<(Positions, FrameIndex)>,
    /// For each column of texts what its distinct values are in the interner.
    texts: [Vec<Option<StringIndex>>; FIELDS],
}

impl Frames {
    fn open(group: RowGroup<'_>, rows: &[Range<usize>]) -> Result<Self, Fault> {
        let text = |name| Distinct::listed_texts(group, &["frames", "list", "element", name], rows);
        let number = |name| Distinct::listed_numbers(group, &["frames", "list", "element", name], rows);
        let small = |name| Distinct::listed_small_numbers(group, &["frames", "list", "element", name], rows);
        let flag = |name| Distinct::listed_flags(group, &["frames", "list", "element", name], rows);
        let columns = [
            text("function")?,
            text("system_name")?,
            text("file")?,
            number("line")?,
            number("start_line")?,
            text("mapping")?,
            text("build_id")?,
            number("memory_start")?,
            number("memory_limit")?,
            number("file_offset")?,
            number("address")?,
            small("kind")?,
            flag("inlined")?,
        ];
        Ok(Self { columns, end: 0, known: HashTable::new(), texts: Default::default() })
    }

    fn load(&mut self, row: usize) -> Result<(), Fault> {
        if row < self.end {
            return Ok(());
        }
        let Some((first, others)) = self.columns.split_first_mut() else { return Ok(()) };
        self.end = first.load(row)?;
        for column in others {
            self.end = self.end.min(column.load_with(row, first)?);
        }
        Ok(())
    }

    /// The frames of `row`, interned in `found`.
    fn read(&mut self, row: usize, stack: &mut Vec<FrameIndex>, found: &mut Generation) -> Result<(), Fault> {
        let Self { columns, known, texts, .. } = self;
        let fields: [&[u32]; FIELDS] = std::array::from_fn(|at| columns[at].row(row));
        let length = fields[0].len();
        if fields.iter().any(|field| field.len() != length) {
            return Err(Fault::Damaged("the fields of frames are lists of different lengths"));
        }
        stack.reserve(length);
        for at in 0..length {
            let positions: Positions = fields.map(|field| field.get(at).copied().unwrap_or_default());
            let frame = match known.find(hash(&positions), |(known, _)| *known == positions) {
                Some(&(_, frame)) => frame,
                None => {
                    let frame = intern(columns, texts, &positions, found);
                    known.insert_unique(hash(&positions), (positions, frame), |(known, _)| hash(known));
                    frame
                }
            };
            stack.push(frame);
        }
        Ok(())
    }
}

/// Positions are small and dense, and all columns but a few have one value: this is enough, and quick.
fn hash(positions: &Positions) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = positions
        .iter()
        .fold(0u64, |hash, &position| (hash.rotate_left(23) ^ u64::from(position)).wrapping_mul(FACTOR));
    mixed ^ mixed >> 32
}

fn intern(
    columns: &[Distinct; FIELDS],
    texts: &mut [Vec<Option<StringIndex>>; FIELDS],
    positions: &Positions,
    found: &mut Generation,
) -> FrameIndex {
    let interner = found.interner();
    let mut text = |field: usize| {
        let (column, known, position) = (&columns[field], &mut texts[field], positions[field]);
        known.resize(column.distinct().max(known.len()), None);
        match known.get_mut(position as usize) {
            Some(known) => *known.get_or_insert_with(|| interner.intern_string(column.text(position))),
            None => 0,
        }
    };
    let [function, system_name, file, mapping, build_id] = [0, 1, 2, 5, 6].map(&mut text);
    let number = |field: usize| columns[field].number(positions[field]);
    let mapping = Mapping {
        file: mapping,
        build_id,
        memory_start: number(7).cast_unsigned(),
        memory_limit: number(8).cast_unsigned(),
        file_offset: number(9).cast_unsigned(),
    };
    let mapping = interner.intern_mapping(mapping);
    interner.intern_frame(Frame {
        function,
        system_name,
        file,
        line: number(3),
        start_line: number(4),
        mapping,
        address: number(10).cast_unsigned(),
        kind: FrameKind::from_number(number(11) as u8),
        inlined: number(12) != 0,
    })
}
