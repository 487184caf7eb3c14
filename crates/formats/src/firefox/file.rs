//! The tables of a file as its JSON has them.

use crate::list::{self, List, Text};
use serde::Deserialize;
use std::borrow::Cow;

/// Entries of a table.
pub(super) const MAX: usize = 2 << 20;
/// Threads of all processes.
const MAX_THREADS: usize = 16 << 10;

#[derive(Deserialize)]
pub(super) struct File<'a> {
    pub(super) meta: Meta,
    #[serde(borrow)]
    pub(super) threads: List<Thread<'a>, MAX_THREADS>,
    /// Tables that all threads share, in newer files.
    #[serde(default, borrow)]
    pub(super) shared: Tables<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// Milliseconds between samples.
    pub(super) interval: f64,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub(super) start_time: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Thread<'a> {
    #[serde(default, borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) process_name: Option<Cow<'a, str>>,
    pub(super) samples: Samples<'a>,
    #[serde(flatten, borrow)]
    pub(super) tables: Tables<'a>,
}

/// The tables of a thread, or those that all share. Each is in one of both places.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tables<'a> {
    #[serde(default, borrow)]
    pub(super) string_array: Option<List<Text<'a>, MAX>>,
    #[serde(default)]
    pub(super) func_table: Option<FuncTable>,
    #[serde(default)]
    pub(super) frame_table: Option<FrameTable>,
    #[serde(default)]
    pub(super) stack_table: Option<StackTable>,
    /// Of all threads, from version 58 on.
    #[serde(default)]
    pub(super) sources: Option<Sources>,
}

impl Tables<'_> {
    /// Whether any of the tables that frames are made of is here.
    pub(super) fn have_frames(&self) -> bool {
        let Self { string_array, func_table, frame_table, .. } = self;
        string_array.is_some() || func_table.is_some() || frame_table.is_some()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FuncTable {
    pub(super) name: List<u32, MAX>,
    /// Strings, up to version 57 of the format.
    #[serde(default)]
    pub(super) file_name: List<Option<u32>, MAX>,
    /// Entries of [`Sources`], from version 58 on.
    #[serde(default)]
    pub(super) source: List<Option<u32>, MAX>,
    #[serde(default, rename = "isJS")]
    pub(super) is_js: List<bool, MAX>,
}

/// Files, by the strings of their names.
#[derive(Deserialize)]
pub(super) struct Sources {
    pub(super) filename: List<u32, MAX>,
}

#[derive(Deserialize)]
pub(super) struct FrameTable {
    pub(super) func: List<u32, MAX>,
    #[serde(default)]
    pub(super) line: List<Option<i64>, MAX>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StackTable {
    pub(super) frame: List<u32, MAX>,
    /// The caller of each stack, up to version 65 of the format.
    #[serde(default)]
    pub(super) prefix: Option<List<Option<u32>, MAX>>,
    /// How far in front of each stack its caller is, 0 for none; from version 66 on.
    #[serde(default)]
    pub(super) prefix_offset: Option<List<u32, MAX>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Samples<'a> {
    #[serde(default)]
    pub(super) stack: Option<List<Option<u32>, MAX>>,
    #[serde(default)]
    pub(super) weight: Option<List<Weight, MAX>>,
    #[serde(default, borrow)]
    pub(super) weight_type: Option<Cow<'a, str>>,
}

/// What a sample weighs; null is nothing.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct Weight(#[serde(deserialize_with = "list::or_default")] pub(super) f64);

impl StackTable {
    /// The caller of a stack, which comes before it in the table, or else the file is damaged.
    pub(super) fn caller(&self, at: u32) -> Option<u32> {
        match (&self.prefix_offset, &self.prefix) {
            (Some(offsets), _) => {
                let offset = offsets.0.get(at as usize).copied().filter(|&offset| offset > 0)?;
                // Beyond the first stack it comes out at the other end: no caller either.
                Some(at.wrapping_sub(offset))
            }
            (None, Some(prefixes)) => prefixes.0.get(at as usize).copied().flatten(),
            (None, None) => None,
        }
    }

    /// For each stack the one that is kept of it: itself, or the caller at which it is as deep as is allowed.
    pub(super) fn kept(&self, depth: usize) -> Vec<u32> {
        let count = self.frame.0.len();
        let (mut kept, mut depths) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for at in 0..count {
            // Callers come first in the table. Where that is not so, reading the stack says it.
            let caller = self.caller(at as u32).map(|caller| caller as usize);
            let above: u32 = caller.and_then(|caller| depths.get(caller)).copied().unwrap_or_default();
            let of_caller = caller.and_then(|caller| kept.get(caller)).copied().unwrap_or_default();
            kept.push(if (above as usize) < depth { at as u32 } else { of_caller });
            depths.push(above.saturating_add(1));
        }
        kept
    }
}
