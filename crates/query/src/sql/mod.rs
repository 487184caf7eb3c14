//! SQL over the tables of the lake: read-only, over one snapshot, within limits.
//!
//! [`Sql`] plans a statement with DataFusion on tables that read the files of a snapshot and its head, so
//! that a statement sees everything that was acknowledged before it. Nothing but these tables can be
//! reached: there are no files, no writes and no settings. What the tables hold stands in `docs/sql.md`.

mod answer;
mod checks;
mod columns;
mod context;
mod error;
mod flame_graph;
mod functions;
mod growth;
mod head;
mod label_sets;
mod made;
mod named_frames;
mod plan;
mod prune;
mod rows;
mod schema;
mod session;
mod stacks;

pub use answer::SqlAnswer;
pub use error::{SqlError, SqlErrorKind};
pub use schema::{SqlColumn, SqlRelation};
pub use session::Sql;
