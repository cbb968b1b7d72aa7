//! How long it takes to build the ExecutionGraph of a million subtasks, and what it occupies: 31 vertices
//! of 32,768 subtasks, each connected to the next all-to-all, against a tenth of that.
//!
//! `cargo bench -p jobmanager-core --bench graph`

#![allow(missing_docs, unsafe_code)]

use jobmanager_core::config::cluster_config;
use jobmanager_core::graph::{EdgeSpec, JobGraph, JobGraphSpec, Partitioning, VertexSpec, regions};
use jobmanager_core::id::{Epoch, JobId, RequestId};
use jobmanager_core::jobmanager::{Command, Coordinator, Input};
use jobmanager_core::time::Timestamp;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that are allocated at present.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VERTICES: u32 = 31;

fn graph(parallelism: u32) -> Arc<JobGraph> {
    let id = |vertex: u32| format!("vertex {vertex}");
    let vertex = |vertex: u32| VertexSpec {
        id: id(vertex),
        name: None,
        operator: "filter".into(),
        parallelism,
        max_parallelism: None,
        slot_sharing_group: None,
        config: "{}".into(),
    };
    let edge = |vertex: u32| EdgeSpec {
        source: id(vertex),
        target: id(vertex + 1),
        partitioning: Partitioning::Rebalance,
    };
    let spec = JobGraphSpec {
        id: JobId(1),
        name: "all to all".into(),
        vertices: (0..VERTICES).map(vertex).collect(),
        edges: (0..VERTICES - 1).map(edge).collect(),
        configuration: BTreeMap::new(),
    };
    Arc::new(JobGraph::validate(spec, &BTreeMap::new()).expect("the graph is valid"))
}

fn coordinator() -> Coordinator {
    let config = cluster_config(&BTreeMap::new(), &[]).expect("the defaults are valid");
    Coordinator::recover(config, Epoch(1), Vec::new(), Timestamp(0)).expect("nothing is recovered")
}

fn submit(coordinator: &mut Coordinator, graph: Arc<JobGraph>) {
    let input = Input::Command {
        request: RequestId(1),
        command: Command::Submit(graph),
    };
    coordinator.step(Timestamp(0), input, &mut Vec::new());
}

/// Submission: the ExecutionGraph with its regions, states and counts.
#[divan::bench(args = [3_277, 32_768], sample_count = 20, sample_size = 1)]
fn build(bencher: divan::Bencher, parallelism: u32) {
    let graph = graph(parallelism);
    bencher
        .counter(divan::counter::ItemsCount::new(parallelism * VERTICES))
        .with_inputs(|| (coordinator(), graph.clone()))
        .bench_local_values(|(mut coordinator, graph)| {
            submit(&mut coordinator, graph);
            coordinator
        });
}

/// The pipelined regions alone.
#[divan::bench(name = "regions", args = [3_277, 32_768], sample_count = 20, sample_size = 1)]
fn only_regions(bencher: divan::Bencher, parallelism: u32) {
    let graph = graph(parallelism);
    bencher
        .counter(divan::counter::ItemsCount::new(parallelism * VERTICES))
        .bench_local(|| regions(&graph));
}

fn main() {
    for parallelism in [3_277, 32_768] {
        let (graph, mut coordinator) = (graph(parallelism), coordinator());
        let before = ALLOCATED.load(Ordering::Relaxed);
        submit(&mut coordinator, graph);
        let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
        let subtasks = (VERTICES * parallelism) as usize;
        let tenths = bytes * 10 / subtasks;
        println!(
            "{subtasks} subtasks: {}.{} bytes per subtask resident",
            tenths / 10,
            tenths % 10
        );
    }
    divan::main();
}
