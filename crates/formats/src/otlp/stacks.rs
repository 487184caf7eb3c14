//! The stacks of a dictionary.

use super::numbers::numbers;
use super::place::Place;
use crate::assembly::SMALLER;
use crate::pprof::wire::{Cursor, Fault, Value};
use crate::{Cuts, Error, Limits};
use everflame_profile::Location;

/// Locations of all stacks, leaf first, one after the other.
#[derive(Default)]
pub(super) struct Stacks {
    locations: Vec<u32>,
    ends: Vec<u32>,
}

impl Stacks {
    /// Decodes the stack table, whose entries refer to `locations`.
    pub(super) fn decode(
        entries: &[&[u8]],
        locations: &[Location],
        limits: &Limits,
        cuts: &mut Cuts,
    ) -> Result<Self, Error> {
        let count = locations.len();
        let inlines = locations.iter().any(|location| location.count > 1);
        let mut stacks = Self { locations: Vec::new(), ends: Vec::with_capacity(entries.len()) };
        for (at, bytes) in entries.iter().enumerate() {
            let place = Place::Dictionary("stack", at);
            let first = stacks.locations.len();
            let mut cursor = Cursor::new(bytes);
            let mut missing = None;
            while let Some((number, value)) = cursor.field().map_err(|fault| place.broken(fault))? {
                if number != 1 {
                    continue;
                }
                if matches!(value, Value::Fixed(_)) {
                    return Err(place.broken(Fault::WrongType(number)));
                }
                numbers(value, |index| match u32::try_from(index) {
                    Ok(index) if (index as usize) < count => stacks.locations.push(index),
                    _ => missing = Some(index),
                })
                .map_err(|fault| place.broken(fault))?;
                if stacks.locations.len() > limits.entries {
                    let fault = format_args!("up to here there are more than {} frames", limits.entries);
                    return Err(Error::too_large(place, fault, SMALLER));
                }
            }
            if let Some(index) = missing {
                return Err(place.missing("location", index, count));
            }
            stacks.cut(first, inlines.then_some(locations), limits, cuts);
            stacks.ends.push(stacks.locations.len() as u32);
        }
        Ok(stacks)
    }

    /// Cuts the leaf side of the stack that begins at `first` to the depth allowed. `locations` only where some
    /// have several frames.
    fn cut(&mut self, first: usize, locations: Option<&[Location]>, limits: &Limits, cuts: &mut Cuts) {
        let stack = self.locations.get(first..).unwrap_or_default();
        let kept = match locations {
            None => stack.len().min(limits.depth),
            Some(locations) => {
                let frames = |location: &u32| {
                    locations.get(*location as usize).map_or(0, |location| location.count as usize)
                };
                let mut left = limits.depth;
                let fits = stack.iter().rev().map(frames).take_while(|&frames| {
                    let fits = frames <= left;
                    left = left.saturating_sub(frames);
                    fits
                });
                fits.count()
            }
        };
        let excess = stack.len() - kept;
        if excess > 0 {
            cuts.stacks = cuts.stacks.saturating_add(1);
            self.locations.drain(first..first + excess);
        }
    }

    /// Number of stacks.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The locations of stack `at`, leaf first.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&[u32]> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.locations.get(start as usize..end as usize)
    }
}
