//! The everflame binary.
fn main() {}
