//! The table `stacks`: the frames of each stack of each service, sorted by service and stack id.

use super::frames;
use super::parquet_file::{self, Bounds, NewFile, encoding_error, reader_with, reading_error};
use super::schema::STACKS;
use super::{StackRow, StackRows, stack_pages};
use crate::columns::{self, OpenFile, RowGroup};
use crate::stack_cache::Generation;
use crate::store::TableFolder;
use crate::{DataFile, Error};
use arrow::array::{BinaryArray, DictionaryArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use everflame_profile::{FrameIndex, StackId};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::file::statistics::Statistics;
use std::path::PathBuf;
use std::sync::Arc;

/// Frames that become Arrow arrays at once, more only when one stack has more.
const BATCH_FRAMES: usize = 65_536;

/// Rows of a page: a look-up of a few stacks decodes the pages that they lie in.
const PAGE_ROWS: usize = 1_024;

/// A row with its frames.
#[derive(Clone, Copy)]
struct Stack<'a> {
    service: &'a str,
    id: StackId,
    frames: &'a [FrameIndex],
}

/// Writes new stacks into one file.
pub(super) fn write(folder: &TableFolder, sequence: u64, stacks: &StackRows) -> Result<Vec<NewFile>, Error> {
    let mut rows = Vec::with_capacity(stacks.rows.len());
    let mut start = 0;
    for row in &stacks.rows {
        rows.push(stack(stacks, row, start)?);
        start = row.end;
    }
    rows.sort_by_key(|row| (row.service, row.id));
    rows.dedup_by_key(|row| (row.service, row.id));
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut bounds = Bounds { rows: rows.len() as u64, ..Bounds::default() };
    rows.iter().for_each(|row| bounds.add_service(row.service));
    let encoded = encode(stacks, &rows).map_err(encoding_error(folder))?;
    Ok(vec![parquet_file::store(folder, None, sequence, &encoded, bounds)?])
}

fn stack<'a>(stacks: &'a StackRows, row: &StackRow, start: u32) -> Result<Stack<'a>, Error> {
    let service = stacks.services.get(row.service as usize);
    let frames = stacks.frames.get(start as usize..row.end as usize);
    match (service, frames) {
        (Some(service), Some(frames)) => Ok(Stack { service, id: row.id, frames }),
        _ => Err(Error::Damaged {
            path: PathBuf::from("head"),
            why: format!("stack {:032x} refers to a service or to frames that are missing", row.id.0),
        }),
    }
}

/// How the columns of the table are encoded.
pub(super) fn properties() -> WriterPropertiesBuilder {
    parquet_file::properties(&STACKS).set_data_page_row_count_limit(PAGE_ROWS)
}

fn encode(stacks: &StackRows, rows: &[Stack<'_>]) -> Result<Vec<u8>, ParquetError> {
    let mut encoder = parquet_file::encoder(&STACKS, properties())?;
    let texts = frames::texts(&stacks.symbols)?;
    let services = super::columns::texts(stacks.services.iter().map(String::as_str));
    let mut left = rows;
    while !left.is_empty() {
        let mut frame_count = 0;
        let fitting = left.iter().take_while(|row| {
            let fits = frame_count == 0 || frame_count + row.frames.len() <= BATCH_FRAMES;
            frame_count += row.frames.len();
            fits
        });
        let (batch, rest) = left.split_at(fitting.count().max(1));
        left = rest;
        let service = |row: &Stack<'_>| {
            let position = stacks.services.iter().position(|service| service == row.service);
            position.unwrap_or_default() as i32
        };
        let columns = vec![
            super::columns::dictionary(keys_of_runs(batch, service), &services)?,
            super::columns::binaries(batch.iter().map(|row| row.id.0.to_be_bytes())),
            frames::column(&stacks.symbols, &texts, batch.iter().map(|row| row.frames))?,
        ];
        encoder.write(&RecordBatch::try_new(STACKS.schema.clone(), columns)?)?;
    }
    encoder.into_inner()
}

/// `key` of each row, looked up once for each run of rows of one service.
fn keys_of_runs(rows: &[Stack<'_>], key: impl Fn(&Stack<'_>) -> i32) -> Vec<i32> {
    let runs = rows.chunk_by(|a, b| a.service == b.service);
    runs.flat_map(|run| std::iter::repeat_n(run.first().map_or(0, &key), run.len())).collect()
}

/// Adds to `found` those stacks of `services`, or of all, in `file` that are `wanted`, which is asked once for
/// each row. Blocking. Reads the columns of ids first, and then of the frames only the pages that are needed.
pub(crate) fn read_stacks(
    file: &DataFile,
    footer: &Arc<ParquetMetaData>,
    services: Option<&[&str]>,
    wanted: &mut dyn FnMut(StackId) -> bool,
    found: &mut Generation,
) -> Result<(), Error> {
    let fault = reading_error(file);
    let groups = footer.row_groups().iter().enumerate();
    let groups = groups.filter(|(_, group)| {
        services.is_none_or(|services| services.iter().any(|service| may_contain(group, service)))
    });
    let mut open = None;
    for (at, _) in groups {
        let open = match &open {
            Some(open) => open,
            None => open.insert(OpenFile::open(file)?),
        };
        let group = RowGroup { file: open, footer, at };
        let mut rows = match stack_pages::rows(group, services).map_err(columns::Fault::into_error) {
            Ok(rows) => rows,
            Err(Some(error)) => return Err(fault(error)),
            Err(None) => rows_through_arrow(file, footer, at, services)?,
        };
        rows.retain(|(_, id)| wanted(*id));
        if rows.is_empty() {
            continue;
        }
        match stack_pages::frames(group, &rows, found).map_err(columns::Fault::into_error) {
            Ok(()) => {}
            Err(Some(error)) => return Err(fault(error)),
            Err(None) => frames_through_arrow(file, footer, at, &rows, found)?,
        }
    }
    Ok(())
}

/// The rows of `services` in a row group, with their ids.
fn rows_through_arrow(
    file: &DataFile,
    footer: &Arc<ParquetMetaData>,
    group: usize,
    services: Option<&[&str]>,
) -> Result<Vec<(usize, StackId)>, Error> {
    let fault = reading_error(file);
    let mut rows = Vec::new();
    let keys = reader_with(file, footer.clone(), &STACKS)?.with_row_groups(vec![group]);
    let columns = ProjectionMask::columns(keys.parquet_schema(), ["service", "stack_id"]);
    let mut start = 0;
    for batch in keys.with_projection(columns).build().map_err(&fault)? {
        let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
        select(&batch, start, services, &mut rows).map_err(&fault)?;
        start += batch.num_rows();
    }
    Ok(rows)
}

/// Adds the stacks of `rows` to `found`.
fn frames_through_arrow(
    file: &DataFile,
    footer: &Arc<ParquetMetaData>,
    group: usize,
    rows: &[(usize, StackId)],
    found: &mut Generation,
) -> Result<(), Error> {
    let fault = reading_error(file);
    let count = footer.row_groups().get(group).map_or(0, RowGroupMetaData::num_rows);
    let ranges = rows.iter().map(|&(row, _)| row..row + 1);
    let selection = RowSelection::from_consecutive_ranges(ranges, usize::try_from(count).unwrap_or_default());
    let reader = reader_with(file, footer.clone(), &STACKS)?
        .with_row_groups(vec![group])
        .with_row_selection(selection);
    let columns = ProjectionMask::columns(reader.parquet_schema(), ["frames"]);
    let mut ids = rows.iter().map(|(_, id)| *id);
    for batch in reader.with_projection(columns).build().map_err(&fault)? {
        let batch = batch.map_err(ParquetError::from).map_err(&fault)?;
        let lists: &ListArray = super::columns::typed(batch.columns(), 0).map_err(&fault)?;
        let frames = frames::read(lists.values(), found.interner()).map_err(&fault)?;
        for (ends, id) in lists.value_offsets().windows(2).zip(&mut ids) {
            let &[start, end] = ends else { continue };
            let stack = frames.get(start as usize..end as usize).unwrap_or_default();
            found.insert(id, stack.iter().copied());
        }
    }
    Ok(())
}

/// Adds the rows of `services` in `batch`, which begins with row `start`, and their ids to `rows`.
fn select(
    batch: &RecordBatch,
    start: usize,
    services: Option<&[&str]>,
    rows: &mut Vec<(usize, StackId)>,
) -> Result<(), ParquetError> {
    let column: &DictionaryArray<Int32Type> = super::columns::typed(batch.columns(), 0)?;
    let stacks: &BinaryArray = super::columns::typed(batch.columns(), 1)?;
    let names: &StringArray = super::columns::typed(std::slice::from_ref(column.values()), 0)?;
    let keys: Vec<bool> = names
        .iter()
        .map(|name| services.is_none_or(|all| name.is_some_and(|name| all.contains(&name))))
        .collect();
    for (row, (key, id)) in column.keys().values().iter().zip(stacks).enumerate() {
        if keys.get(*key as usize).copied().unwrap_or_default() {
            let id = u128::from_be_bytes(super::columns::bytes(id.unwrap_or_default())?);
            rows.push((start + row, StackId(id)));
        }
    }
    Ok(())
}

/// Whether rows of `service` may lie in `group`, by its statistics.
fn may_contain(group: &RowGroupMetaData, service: &str) -> bool {
    let Some(Statistics::ByteArray(statistics)) =
        group.columns().first().and_then(|column| column.statistics())
    else {
        return true;
    };
    let bytes = service.as_bytes();
    statistics.min_opt().is_none_or(|min| min.data() <= bytes)
        && statistics.max_opt().is_none_or(|max| max.data() >= bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack_cache::StackCache;
    use crate::store::Folder;
    use everflame_profile::{Frame, FrameKind, Mapping, Symbols};

    const SERVICES: [&str; 3] = ["api", "batch", "web"];

    /// Stacks over several pages: empty and deep ones, some of them in two services.
    fn rows() -> StackRows {
        let mut symbols = Symbols::default();
        let mut text = |text: String| symbols.strings.push(&text);
        let names: Vec<u32> = (0..300).map(|at| text(format!("package{}.function{at}", at % 7))).collect();
        let files: Vec<u32> = (0..9).map(|at| text(format!("file{at}.go"))).collect();
        symbols.mappings = (0..4)
            .map(|at| match at {
                0 => Mapping::default(),
                at => Mapping { file: files[at], memory_start: u64::MAX - at as u64, ..Mapping::default() },
            })
            .collect();
        symbols.frames = (0..1_000u64)
            .map(|at| Frame {
                function: names[at as usize % 300],
                system_name: if at % 3 == 0 { names[at as usize % 11] } else { 0 },
                file: files[at as usize % 9],
                line: at as i64 - 500,
                start_line: at as i64 % 5,
                mapping: at as u32 % 4,
                address: at << 54,
                kind: FrameKind::from_number(at as u8 % 6),
                inlined: at % 2 == 0,
            })
            .collect();
        let mut stacks = StackRows { symbols, ..StackRows::default() };
        stacks.services = SERVICES.map(str::to_owned).to_vec();
        for at in 0..5_000u32 {
            let depth = if at % 1_000 == 999 { 700 } else { at % 23 };
            stacks.frames.extend((0..depth).map(|frame| (at.wrapping_mul(31) + frame * frame) % 1_000));
            let id = StackId(u128::from(at / 2) * 0x9e37_79b9_7f4a_7c15_f39c_0001);
            stacks.rows.push(StackRow { service: at % 2 + at / 3_000, id, end: stacks.frames.len() as u32 });
        }
        stacks
    }

    /// The stacks of `found` as ids of their frames.
    fn content(found: Generation, ids: &[StackId]) -> Vec<Vec<u128>> {
        let mut cache = StackCache::default();
        cache.load(found);
        let resolved = cache.resolve(ids);
        assert_eq!(resolved.missing, []);
        let known: Vec<u128> = resolved.symbols.frame_ids().into_iter().map(|id| id.0).collect();
        (0..ids.len())
            .map(|at| resolved.stack(at).iter().map(|&frame| known[frame as usize]).collect())
            .collect()
    }

    #[test]
    fn pages_hold_what_arrow_reads() {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(Folder::local(root.path()).unwrap());
        let folder = TableFolder { store, table: "stacks" };
        let written = write(&folder, 1, &rows()).unwrap().pop().unwrap();
        let file = DataFile::stored(&folder, &written.path, written.bytes, written.bounds.file_stats());
        let (footer, open) = (file.metadata().unwrap(), OpenFile::open(&file).unwrap());
        let group = RowGroup { file: &open, footer: &footer, at: 0 };
        for services in [None, Some(&["batch"][..]), Some(&["web", "nobody", "api"]), Some(&["nobody"])] {
            let all = stack_pages::rows(group, services).unwrap();
            assert_eq!(all, rows_through_arrow(&file, &footer, 0, services).unwrap());
            assert_eq!(all.is_empty(), services == Some(&["nobody"]));
            for every in [1, 3, 1_100, 4_000] {
                let chosen: Vec<_> = all.iter().copied().step_by(every).collect();
                let (mut by_hand, mut by_arrow) = (Generation::default(), Generation::default());
                stack_pages::frames(group, &chosen, &mut by_hand).unwrap();
                frames_through_arrow(&file, &footer, 0, &chosen, &mut by_arrow).unwrap();
                let ids: Vec<StackId> = chosen.iter().map(|(_, id)| *id).collect();
                assert_eq!(content(by_hand, &ids), content(by_arrow, &ids));
            }
        }
    }
}
