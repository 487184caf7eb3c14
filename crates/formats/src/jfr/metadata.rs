//! The metadata of a chunk: classes of events and constants, and how the values of their fields are read.

use super::cursor::{Broken, Cursor, Text};
use crate::Limits;
use hashbrown::HashMap;
use std::cell::Cell;

/// All classes of a chunk.
pub(super) struct Classes<'a> {
    classes: HashMap<u64, Class<'a>>,
    ids: HashMap<&'a str, u64>,
    /// Steps that may still be made, so that no short chunk takes long.
    steps: Cell<usize>,
}

struct Class<'a> {
    name: &'a str,
    fields: Vec<Field<'a>>,
}

#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'a str,
    class: u64,
    in_pool: bool,
    is_array: bool,
}

/// How one value is passed over, or taken.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Byte,
    Number,
    Four,
    Eight,
    Text,
    /// So many numbers, as most structures are.
    Numbers(usize),
    Fields(Vec<Step>),
    Array(Box<Shape>),
}

/// A field: how it is read, and where its value goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) shape: Shape,
    /// Position of the value among those that were asked for.
    pub(super) slot: Option<usize>,
}

/// Deepest nesting of fields within fields, and steps of one class.
const MAX_DEPTH: usize = 12;
const MAX_STEPS: usize = 10_000;
/// Steps of all classes of a chunk: the some 200 classes of the JDK have 1,500 fields.
const MAX_CHUNK_STEPS: usize = 200_000;
/// Deepest nesting of the elements of the metadata.
const MAX_ELEMENTS_DEPTH: usize = 16;

impl<'a> Classes<'a> {
    /// Reads a metadata event. `names` are its strings, from [`strings`].
    pub(super) fn read(mut cursor: Cursor<'_>, names: &'a [String], limits: &Limits) -> Result<Self, Broken> {
        let mut reader = Elements { names, classes: HashMap::new(), entries: limits.table_entries };
        reader.element(&mut cursor, None, 0)?;
        let ids = reader.classes.iter().map(|(&id, class)| (class.name, id)).collect();
        Ok(Self { classes: reader.classes, ids, steps: Cell::new(MAX_CHUNK_STEPS) })
    }

    /// The id of a class by its name.
    pub(super) fn id(&self, name: &str) -> Option<u64> {
        self.ids.get(name).copied()
    }

    /// The name of a class.
    pub(super) fn name(&self, id: u64) -> &'a str {
        self.classes.get(&id).map_or("", |class| class.name)
    }

    /// How to read a value of `class`, of which the fields `wanted` are taken.
    pub(super) fn steps(&self, class: u64, wanted: &[&str]) -> Result<Vec<Step>, Broken> {
        let mut budget = self.steps.get().min(MAX_STEPS);
        let most = budget;
        let steps = self.fields(class, wanted, 0, &mut budget);
        self.steps.set(self.steps.get() - (most - budget));
        steps
    }

    fn fields(
        &self,
        class: u64,
        wanted: &[&str],
        depth: usize,
        budget: &mut usize,
    ) -> Result<Vec<Step>, Broken> {
        let class = self.classes.get(&class).ok_or(Broken)?;
        if depth > MAX_DEPTH || class.fields.len() > *budget {
            return Err(Broken);
        }
        *budget -= class.fields.len();
        let step = |field: &Field<'_>, budget: &mut usize| {
            let one = match field.in_pool {
                true => Shape::Number,
                false => self.shape(field.class, depth, budget)?,
            };
            let shape = if field.is_array { Shape::Array(Box::new(one)) } else { one };
            Ok(Step { shape, slot: wanted.iter().position(|name| *name == field.name) })
        };
        let mut steps = Vec::with_capacity(class.fields.len());
        for field in &class.fields {
            let step = step(field, budget)?;
            // What takes no bytes would take time.
            if !step.shape.is_nothing() {
                steps.push(step);
            }
        }
        Ok(steps)
    }

    fn shape(&self, class: u64, depth: usize, budget: &mut usize) -> Result<Shape, Broken> {
        Ok(match self.name(class) {
            "boolean" | "byte" => Shape::Byte,
            "char" | "short" | "int" | "long" => Shape::Number,
            "float" => Shape::Four,
            "double" => Shape::Eight,
            "java.lang.String" => Shape::Text,
            _ => {
                let steps = self.fields(class, &[], depth + 1, budget)?;
                match steps.iter().all(|step| step.shape == Shape::Number) {
                    true => Shape::Numbers(steps.len()),
                    false => Shape::Fields(steps),
                }
            }
        })
    }
}

impl Shape {
    /// Passes over one value.
    pub(super) fn skip(&self, cursor: &mut Cursor<'_>) -> Result<(), Broken> {
        match self {
            Self::Byte => _ = cursor.byte()?,
            Self::Number => cursor.skip_numbers(1)?,
            Self::Four => _ = cursor.bytes(4)?,
            Self::Eight => _ = cursor.bytes(8)?,
            Self::Text => cursor.skip_text()?,
            Self::Numbers(count) => {
                cursor.skip_numbers(*count)?;
            }
            Self::Fields(steps) => {
                for step in steps {
                    step.shape.skip(cursor)?;
                }
            }
            Self::Array(one) => {
                let count = cursor.number()?;
                // What takes no bytes can be there as often as it likes.
                if count > cursor.len() as u64 && !one.is_nothing() {
                    return Err(Broken);
                }
                match **one {
                    // Hot: the frames of a stack trace.
                    Self::Numbers(each) => cursor.skip_numbers((count as usize).saturating_mul(each))?,
                    _ => {
                        for _ in 0..if one.is_nothing() { 0 } else { count } {
                            one.skip(cursor)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Numbers(count) => *count == 0,
            Self::Fields(steps) => steps.iter().all(|step| step.shape.is_nothing()),
            _ => false,
        }
    }
}

/// The strings of a metadata event, and what follows them.
pub(super) fn strings<'a>(event: &'a [u8], limits: &Limits) -> Result<(Vec<String>, Cursor<'a>), Broken> {
    let mut cursor = Cursor::new(event);
    // Size, type, start, duration, id.
    for _ in 0..5 {
        cursor.number()?;
    }
    let count = cursor.number()?;
    if count > (limits.table_entries as u64).min(cursor.len() as u64) {
        return Err(Broken);
    }
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(match cursor.text()? {
            Text::Inline(text) => text.into_owned(),
            Text::Pool(_) => return Err(Broken),
        });
    }
    Ok((names, cursor))
}

struct Elements<'a> {
    names: &'a [String],
    classes: HashMap<u64, Class<'a>>,
    /// Elements that may still come.
    entries: usize,
}

impl<'a> Elements<'a> {
    fn name(&self, index: u64) -> Result<&'a str, Broken> {
        usize::try_from(index).ok().and_then(|index| self.names.get(index)).map(String::as_str).ok_or(Broken)
    }

    /// Reads an element and all below it. A `class` is noted with the fields below it; `class` is the one
    /// that this element is within.
    fn element(&mut self, cursor: &mut Cursor<'_>, class: Option<u64>, depth: usize) -> Result<(), Broken> {
        self.entries = self.entries.checked_sub(1).ok_or(Broken)?;
        if depth > MAX_ELEMENTS_DEPTH {
            return Err(Broken);
        }
        let kind = self.name(cursor.number()?)?;
        let (mut name, mut id, mut type_id, mut in_pool, mut dimension) = ("", None, None, false, "");
        for _ in 0..cursor.number()? {
            let (key, value) = (self.name(cursor.number()?)?, self.name(cursor.number()?)?);
            match key {
                "name" => name = value,
                "id" => id = value.parse().ok(),
                "class" => type_id = value.parse().ok(),
                "constantPool" => in_pool = value == "true",
                "dimension" => dimension = value,
                _ => {}
            }
        }
        let mut within = None;
        match kind {
            "class" => {
                let id = id.ok_or(Broken)?;
                self.classes.insert(id, Class { name, fields: Vec::new() });
                within = Some(id);
            }
            "field" => {
                let class = class.and_then(|id| self.classes.get_mut(&id)).ok_or(Broken)?;
                let is_array = !matches!(dimension, "" | "0");
                class.fields.push(Field { name, class: type_id.ok_or(Broken)?, in_pool, is_array });
            }
            _ => {}
        }
        for _ in 0..cursor.number()? {
            self.element(cursor, within, depth + 1)?;
        }
        Ok(())
    }
}
