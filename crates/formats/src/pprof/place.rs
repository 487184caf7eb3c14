//! Where in a pprof message a fault is. Entries are counted from 0 in the order of the message.

use super::wire::Fault;
use crate::Error;
use std::fmt;

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Message,
    SampleType(usize),
    PeriodType,
    DefaultSampleType,
    Comment(usize),
    Sample(usize),
    Mapping(usize),
    Location(usize),
    Function(usize),
}

/// Remedy where a reference leads nowhere or a field ends early.
pub(super) const CUT_OFF: &str = "send the whole profile, unchanged (was it cut off?)";
/// Remedy where a sender breaks the format.
pub(super) const SENDER: &str = "repair the program that writes the profile";
/// Remedy where a profile is too large.
pub(super) const SMALLER: &str = "send a shorter span or fewer samples at once";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pprof: ")?;
        match self {
            Self::Message => f.write_str("message"),
            Self::SampleType(at) => write!(f, "sample type {at}"),
            Self::PeriodType => f.write_str("period type"),
            Self::DefaultSampleType => f.write_str("default sample type"),
            Self::Comment(at) => write!(f, "comment {at}"),
            Self::Sample(at) => write!(f, "sample {at}"),
            Self::Mapping(at) => write!(f, "mapping {at}"),
            Self::Location(at) => write!(f, "location {at}"),
            Self::Function(at) => write!(f, "function {at}"),
        }
    }
}

impl Place {
    /// A fault of the protobuf encoding here.
    #[cold]
    pub(super) fn broken(self, fault: Fault) -> Error {
        let remedy = match fault {
            Fault::CutOff => CUT_OFF,
            _ => "send pprof's protobuf, gzip or plain, without a wrapper around it",
        };
        Error::malformed(self, fault, remedy)
    }
}
