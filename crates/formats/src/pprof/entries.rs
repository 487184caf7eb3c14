//! Where the entries of a message's tables are.

use super::field::profile;
use super::wire::{Cursor, Fault, Value, bytes_key};

/// The undecoded entries of the tables. Their fields are the first six of the message: an entry's number says
/// where it goes without a branch. Go's writer mixes locations and functions, so that one would be mispredicted.
#[derive(Default)]
pub(super) struct Entries<'a>([Vec<&'a [u8]>; TABLES + 1]);

const TABLES: usize = profile::STRING_TABLE as usize;
const FIRST: u64 = bytes_key(profile::SAMPLE_TYPE);
const LAST: u64 = bytes_key(profile::STRING_TABLE);

impl<'a> Entries<'a> {
    /// With room for what a message of so many bytes usually has. What is reserved and not used costs no memory.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut entries = Self::default();
        for (field, room) in [
            (profile::SAMPLE, bytes / 256),
            (profile::LOCATION, bytes / 64),
            (profile::FUNCTION, bytes / 64),
            (profile::STRING_TABLE, bytes / 64),
        ] {
            if let Some(table) = entries.0.get_mut(field as usize) {
                table.reserve_exact(room);
            }
        }
        entries
    }

    /// Those of a table.
    pub(super) fn of(&self, field: u32) -> &[&'a [u8]] {
        self.0.get(field as usize).map_or(&[], Vec::as_slice)
    }

    /// Notes the entries that come next, at most `most`; returns how many.
    #[inline]
    pub(super) fn take(&mut self, cursor: &mut Cursor<'a>, most: usize) -> Result<usize, Fault> {
        let mut taken = 0;
        while taken < most
            && let Some(key) = cursor.next_within(FIRST, LAST)
            && let Some(table) = self.0.get_mut(key as usize >> 3)
        {
            table.push(cursor.sized()?);
            taken += 1;
        }
        Ok(taken)
    }

    /// Notes field `number` if it is an entry of a table.
    pub(super) fn note(&mut self, number: u32, value: Value<'a>) -> Result<(), Fault> {
        if let Some(table) = self.0.get_mut(number as usize) {
            table.push(value.bytes(number)?);
        }
        Ok(())
    }
}
