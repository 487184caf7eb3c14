//! The file as it is, borrowed where it can be.

use crate::list::{self, List, Text};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

#[derive(Debug, Deserialize)]
pub(super) struct File<'a> {
    #[serde(rename = "$schema", default, borrow)]
    pub(super) schema: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) shared: Shared<'a>,
    #[serde(borrow)]
    pub(super) profiles: List<Profile<'a>, MAX_PROFILES>,
}

/// Threads of a large program.
const MAX_PROFILES: usize = 16 << 10;
/// Entries of all other lists.
const MAX_ENTRIES: usize = 2 << 20;

#[derive(Debug, Deserialize)]
pub(super) struct Shared<'a> {
    #[serde(borrow)]
    pub(super) frames: List<Frame<'a>, MAX_ENTRIES>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) file: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) line: Option<f64>,
}

/// A profile of either kind: which of the lists it must have, `kind` says.
#[derive(Debug, Deserialize)]
pub(super) struct Profile<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "list::or_default")]
    pub(super) name: Text<'a>,
    #[serde(default, borrow)]
    pub(super) unit: Cow<'a, str>,
    #[serde(rename = "startValue", default)]
    pub(super) start: f64,
    #[serde(rename = "endValue", default)]
    pub(super) end: f64,
    #[serde(default)]
    pub(super) samples: Stacks,
    #[serde(default)]
    pub(super) weights: List<f64, MAX_ENTRIES>,
    #[serde(default)]
    pub(super) events: List<Event, MAX_ENTRIES>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    pub(super) at: f64,
    pub(super) frame: u32,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) enum EventKind {
    #[serde(rename = "O")]
    Open,
    #[serde(rename = "C")]
    Close,
}

/// Lists of frames, one after the other.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    frames: Vec<u32>,
    ends: Vec<u32>,
}

impl Stacks {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Each list, root first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| self.frames.get(start as usize..end as usize).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Stacks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = Stacks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of lists of frame numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut lists: A) -> Result<Self::Value, A::Error> {
                let mut stacks = Stacks::default();
                while lists.next_element_seed(Frames(&mut stacks.frames))?.is_some() {
                    if stacks.ends.len() == MAX_ENTRIES {
                        return Err(A::Error::custom(format_args!("more than {MAX_ENTRIES} samples")));
                    }
                    stacks.ends.push(stacks.frames.len() as u32);
                }
                Ok(stacks)
            }
        }
        deserializer.deserialize_seq(Lists)
    }
}

/// Appends the numbers of one list.
struct Frames<'a>(&'a mut Vec<u32>);

impl<'de> serde::de::DeserializeSeed<'de> for Frames<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Frames<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of frame numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(frame) = list.next_element()? {
            list::count(size_of::<u32>())?;
            self.0.push(frame);
        }
        Ok(())
    }
}
