//! The domain of Everflame: what a profile is, and what can be done with many of them.
//!
//! Labels and profile types name a series; frames and stack traces are content-addressed, so that the
//! same stack has the same id on every machine; a [`Tree`] folds stack traces into what a flame graph
//! draws. Nothing here does I/O, reads a clock, or knows a wire format.

mod children;
mod clock;
mod diff;
mod flame_graph;
mod labels;
mod profile;
mod profile_type;
mod re2;
mod series;
mod stack;
mod strings;
mod symbols;
mod top;
mod tree;

pub use children::Children;
pub use clock::{Clock, Nanos};
pub use diff::{DiffNode, DiffTree};
pub use flame_graph::{DiffFlameGraph, FlameColumns, FlameGraph};
pub use labels::{Labels, LabelsError};
pub use profile::{Location, Profile, SampleLabel, Samples};
pub use profile_type::{ProfileType, ProfileTypeError, ValueType};
pub use re2::regex_of_re2;
pub use series::{Series, SeriesId};
pub use stack::{FrameId, StackId, stack_id};
pub use strings::{StringIndex, StringInterner, Strings};
pub use symbols::{Frame, FrameIndex, FrameKind, Mapping, MappingIndex, SymbolInterner, Symbols};
pub use top::{TopRow, TopTable};
pub use tree::{Folded, Node, NodeIndex, Tree};

/// Label that names the service a profile comes from; every series has it.
pub const SERVICE_NAME: &str = "service_name";

/// Label that names the kind of profile, the first part of its [`ProfileType`].
pub const PROFILE_NAME: &str = "__name__";
