//! OpenTelemetry profiles: `ExportProfilesServiceRequest` of OTLP, as protobuf and as JSON.
//!
//! An export is a tree of resources, scopes and profiles over one dictionary, in which entry 0 of every
//! table is the zero value. Decoded by hand, like pprof. Four layouts are read. Three are told apart profile
//! by profile: that of 1.10 and later, that of 1.9 (values and attributes of a sample have other numbers), and
//! that of 1.8 (a profile has comments, and its later fields other numbers). An export in that of 1.7 and 1.6
//! is rewritten first.
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/profiles/v1development/profiles.proto>

mod answer;
mod any_value;
mod dictionary;
mod export;
mod json;
mod json_fields;
mod layout;
mod locations;
mod naming;
mod numbers;
mod original;
mod place;
mod profile;
mod stacks;
mod v1_7;
mod write;

pub use answer::{rejected, rejected_json, retry_delay};
pub use export::{Export, read};
pub use json::{read as read_json, to_protobuf};
pub use write::ExportWriter;

/// Attribute of a profile that says which kind it is, `process_cpu` or `memory`, where its types do not tell.
/// [`ExportWriter`] writes it; readers who do not know it see one attribute more.
pub const PROFILE_NAME_ATTRIBUTE: &str = "everflame.profile.name";

#[cfg(test)]
mod message;
