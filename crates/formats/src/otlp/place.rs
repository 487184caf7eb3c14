//! Where in an export a fault is. Entries are counted from 0 in the order of the message.

use crate::Error;
use crate::pprof::wire::Fault;
use std::fmt;

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Message,
    Dictionary(&'static str, usize),
    Resource(usize),
    Profile { resource: usize, scope: usize, profile: usize },
}

/// Remedy where a reference leads nowhere or a field ends early.
pub(super) const CUT_OFF: &str = "send the whole export, unchanged (was it cut off?)";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OTLP: ")?;
        match self {
            Self::Message => f.write_str("message"),
            Self::Dictionary(table, at) => write!(f, "{table} {at} of the dictionary"),
            Self::Resource(at) => write!(f, "resource {at}"),
            Self::Profile { resource, scope, profile } => {
                write!(f, "resource {resource}, scope {scope}, profile {profile}")
            }
        }
    }
}

impl Place {
    /// A fault of the protobuf encoding here.
    #[cold]
    pub(super) fn broken(self, fault: Fault) -> Error {
        let remedy = match fault {
            Fault::CutOff => CUT_OFF,
            _ => "send ExportProfilesServiceRequest as protobuf or as JSON, and name it in the Content-Type",
        };
        Error::malformed(self, fault, remedy)
    }

    /// A reference to entry `index` of a table that has `count`.
    #[cold]
    pub(super) fn missing(self, what: &str, index: u64, count: usize) -> Error {
        let fault = format_args!("it refers to {what} {}, which is missing ({count} entries)", index as i64);
        Error::malformed(self, fault, CUT_OFF)
    }
}
