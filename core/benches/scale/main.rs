//! What the coordinator costs at scale, each at a tenth of the size and at the full one: the growth shows
//! whether the cost of an input follows what changed.
//!
//! `cargo bench -p jobmanager-core --bench scale`
//!
//! What arrives as bytes is in the benchmark of the same name of `jobmanager-proto`.

#![allow(missing_docs)]

mod allocated;
mod cluster;
mod graph;
mod jobs;
mod placement;
mod traffic;

fn main() {
    graph::print_bytes();
    traffic::print_latencies();
    divan::main();
}
