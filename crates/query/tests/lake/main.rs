//! The engine on a real lake.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod golden;
mod store;
mod tiers;
