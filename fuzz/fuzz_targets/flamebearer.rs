#![no_main]
//! Flame graphs as JSON: what is read is a tree that can be drawn again.

use everflame_formats::{Limits, flamebearer};
use everflame_profile::FlameGraph;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    flamebearer::looks_like(bytes, &limits);
    if let Ok(read) = flamebearer::read(bytes, &limits) {
        let graph = FlameGraph::new(&read.tree);
        assert_eq!(graph.total, read.tree.total());
    }
});
