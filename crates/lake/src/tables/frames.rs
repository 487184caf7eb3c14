//! Frames as the column `frames` of the table `stacks` has them: a list of structs, leaf first.

use super::columns;
use super::schema::{frame_element, frame_fields};
use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Int8Array, Int64Array, ListArray, StringArray,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Int32Type;
use everflame_profile::{Frame, FrameIndex, FrameKind, Mapping, StringIndex, SymbolInterner, Symbols};
use parquet::errors::ParquetError;
use std::sync::Arc;

/// The strings of `symbols` as the values of dictionary columns.
pub(super) fn texts(symbols: &Symbols) -> Result<ArrayRef, ParquetError> {
    if i32::try_from(symbols.strings.text_bytes()).is_err() {
        return Err(ParquetError::General("the names of new frames take more than 2 GiB".into()));
    }
    Ok(columns::texts(symbols.strings.iter()))
}

/// The column of `stacks`, whose frames are indices into `symbols.frames`; `texts` are its strings.
pub(super) fn column<'a>(
    symbols: &Symbols,
    texts: &ArrayRef,
    stacks: impl Iterator<Item = &'a [FrameIndex]> + Clone,
) -> Result<ArrayRef, ParquetError> {
    let indices = || stacks.clone().flatten().map(|&index| index as usize);
    if indices().any(|index| index >= symbols.frames.len()) {
        return Err(ParquetError::General("a stack refers to a frame that is missing".into()));
    }
    let frames: Vec<(Frame, Mapping)> = indices()
        .map(|index| (symbols.frames[index], symbols.mapping(symbols.frames[index].mapping)))
        .collect();
    let text = |index: fn(&(Frame, Mapping)) -> StringIndex| {
        // A string that is not there reads as the empty one, which comes first.
        let known = |index: StringIndex| if (index as usize) < texts.len() { index as i32 } else { 0 };
        columns::dictionary(frames.iter().map(index).map(known).collect(), texts)
    };
    let number = |number: fn(&(Frame, Mapping)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(frames.iter().map(number)))
    };
    let fields = vec![
        text(|(frame, _)| frame.function)?,
        text(|(frame, _)| frame.system_name)?,
        text(|(frame, _)| frame.file)?,
        number(|(frame, _)| frame.line),
        number(|(frame, _)| frame.start_line),
        text(|(_, mapping)| mapping.file)?,
        text(|(_, mapping)| mapping.build_id)?,
        // The bit patterns: Delta has no unsigned numbers.
        number(|(_, mapping)| mapping.memory_start.cast_signed()),
        number(|(_, mapping)| mapping.memory_limit.cast_signed()),
        number(|(_, mapping)| mapping.file_offset.cast_signed()),
        number(|(frame, _)| frame.address.cast_signed()),
        Arc::new(Int8Array::from_iter_values(frames.iter().map(|(frame, _)| frame.kind as i8))),
        Arc::new(BooleanArray::from_iter(frames.iter().map(|(frame, _)| Some(frame.inlined)))),
    ];
    let structs = StructArray::try_new(frame_fields(), fields, None)?;
    let ends = OffsetBuffer::from_lengths(stacks.map(<[FrameIndex]>::len));
    Ok(Arc::new(ListArray::try_new(frame_element(), ends, Arc::new(structs), None)?))
}

/// The frames in `structs`, interned in `symbols`.
pub(super) fn read(
    structs: &ArrayRef,
    symbols: &mut SymbolInterner,
) -> Result<Vec<FrameIndex>, ParquetError> {
    let structs: &StructArray = columns::typed(std::slice::from_ref(structs), 0)?;
    let fields = structs.columns();
    let mut functions = TextColumn::new(fields, 0)?;
    let mut system_names = TextColumn::new(fields, 1)?;
    let mut files = TextColumn::new(fields, 2)?;
    let mut mappings = TextColumn::new(fields, 5)?;
    let mut build_ids = TextColumn::new(fields, 6)?;
    let number = |index| columns::typed::<Int64Array>(fields, index);
    let (lines, start_lines) = (number(3)?, number(4)?);
    let (memory_starts, memory_limits, file_offsets) = (number(7)?, number(8)?, number(9)?);
    let addresses = number(10)?;
    let kinds: &Int8Array = columns::typed(fields, 11)?;
    let inlined: &BooleanArray = columns::typed(fields, 12)?;
    let mut frames = Vec::with_capacity(structs.len());
    // Neighbours mostly have one mapping.
    let mut last = (Mapping::default(), 0);
    for row in 0..structs.len() {
        let mapping = Mapping {
            file: mappings.get(row, symbols),
            build_id: build_ids.get(row, symbols),
            memory_start: memory_starts.value(row).cast_unsigned(),
            memory_limit: memory_limits.value(row).cast_unsigned(),
            file_offset: file_offsets.value(row).cast_unsigned(),
        };
        if mapping != last.0 {
            last = (mapping, symbols.intern_mapping(mapping));
        }
        let frame = Frame {
            function: functions.get(row, symbols),
            system_name: system_names.get(row, symbols),
            file: files.get(row, symbols),
            line: lines.value(row),
            start_line: start_lines.value(row),
            mapping: last.1,
            address: addresses.value(row).cast_unsigned(),
            kind: FrameKind::from_number(kinds.value(row).cast_unsigned()),
            inlined: inlined.value(row),
        };
        frames.push(symbols.intern_frame(frame));
    }
    Ok(frames)
}

/// A dictionary column of texts, of which each is interned once.
struct TextColumn<'a> {
    keys: &'a [i32],
    values: &'a StringArray,
    interned: Vec<Option<StringIndex>>,
}

impl<'a> TextColumn<'a> {
    fn new(fields: &'a [ArrayRef], index: usize) -> Result<Self, ParquetError> {
        let column: &DictionaryArray<Int32Type> = columns::typed(fields, index)?;
        let values: &StringArray = columns::typed(std::slice::from_ref(column.values()), 0)?;
        Ok(Self { keys: column.keys().values(), values, interned: vec![None; values.len()] })
    }

    fn get(&mut self, row: usize, symbols: &mut SymbolInterner) -> StringIndex {
        let Some(&key) = self.keys.get(row) else { return 0 };
        let Some(interned) = self.interned.get_mut(key as usize) else { return 0 };
        *interned.get_or_insert_with(|| symbols.intern_string(self.values.value(key as usize)))
    }
}
