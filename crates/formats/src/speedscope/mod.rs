//! speedscope's JSON: frames once, and several profiles over them, each of samples or of the moments at
//! which calls begin and end. <https://www.speedscope.app/file-format-schema.json>

mod file;
mod read;
mod write;

pub use read::read;
pub use write::write;

/// What `$schema` must say.
pub(crate) const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";
