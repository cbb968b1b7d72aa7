//! Every kind of problem, one by one and together.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::RestartStrategy;

fn vertex(id: &str, parallelism: u32) -> VertexSpec {
    VertexSpec {
        id: id.to_string(),
        name: None,
        operator: "filter".to_string(),
        parallelism,
        max_parallelism: None,
        slot_sharing_group: None,
        config: "{}".to_string(),
    }
}

fn edge(source: &str, target: &str, partitioning: Partitioning) -> EdgeSpec {
    EdgeSpec {
        source: source.to_string(),
        target: target.to_string(),
        partitioning,
    }
}

fn spec(vertices: Vec<VertexSpec>, edges: Vec<EdgeSpec>) -> JobGraphSpec {
    JobGraphSpec {
        id: JobId(7),
        name: "job".to_string(),
        vertices,
        edges,
        configuration: BTreeMap::new(),
    }
}

fn accept(spec: JobGraphSpec) -> JobGraph {
    JobGraph::validate(spec, &BTreeMap::new()).unwrap()
}

fn problems(spec: JobGraphSpec) -> Vec<String> {
    let found = JobGraph::validate(spec, &BTreeMap::new()).unwrap_err();
    found.iter().map(Problem::to_string).collect()
}

fn diamond() -> JobGraphSpec {
    use Partitioning::{Hash, Rebalance, Rescale};
    let vertices = [("sink", 1), ("left", 2), ("right", 3), ("start", 4)];
    spec(
        vertices
            .map(|(id, parallelism)| vertex(id, parallelism))
            .into(),
        Vec::from([
            edge("start", "left", Rescale),
            edge("start", "right", Hash),
            edge("left", "sink", Rebalance),
            edge("right", "sink", Rebalance),
        ]),
    )
}

#[test]
fn a_valid_graph_is_completed_by_its_defaults() {
    let graph = accept(diamond());
    let order: Vec<u32> = graph.topological().iter().map(|index| index.0).collect();
    assert_eq!(order, [3, 1, 2, 0]);
    let vertex = &graph.vertices()[3];
    assert_eq!(
        (vertex.name.as_str(), vertex.max_parallelism),
        ("start", 128)
    );
    assert_eq!(graph.slots(), 4);
    assert_eq!(graph.subtasks(), 10);
    assert_eq!(graph.groups()[0].name, "default");
    assert_eq!(graph.config().restart_strategy, RestartStrategy::None);
}

#[test]
fn a_graph_is_what_its_own_specification_gives() {
    let graph = accept(diamond());
    assert_eq!(accept(graph.to_spec()), graph);
}

#[test]
fn slots_are_numbered_by_group_in_the_order_of_the_first_vertex() {
    let mut spec = diamond();
    for (position, group) in [(0, "b"), (2, "a"), (3, "b")] {
        spec.vertices[position].slot_sharing_group = Some(group.to_string());
    }
    let graph = accept(spec);
    let groups = graph.groups().iter();
    let groups: Vec<_> = groups
        .map(|group| (group.name.as_str(), group.slots, group.first_slot))
        .collect();
    assert_eq!(groups, [("b", 4, 0), ("default", 2, 4), ("a", 3, 6)]);
    let of_vertex: Vec<u32> = graph.vertices().iter().map(|vertex| vertex.group).collect();
    assert_eq!(of_vertex, [0, 1, 2, 0]);
    assert_eq!(graph.slots(), 9);
}

#[test]
fn an_operator_id_is_the_clients_or_a_hash_that_does_not_change() {
    let hex = "000000000000000000000000000000Ff";
    let graph = accept(spec(
        Vec::from([vertex(hex, 1), vertex("a", 1)]),
        Vec::new(),
    ));
    assert_eq!(graph.vertices()[0].operator_id, 255);
    assert_eq!(graph.vertices()[1].operator_id, xxh3_128(b"a"));
    let other = accept(spec(
        Vec::from([vertex("b", 9), vertex("a", 2)]),
        Vec::new(),
    ));
    assert_eq!(
        other.vertices()[1].operator_id,
        graph.vertices()[1].operator_id
    );
}

#[test]
fn two_vertices_do_not_share_an_operator_id() {
    let vertices = [
        "000000000000000000000000000000ff",
        "000000000000000000000000000000FF",
    ];
    let found = problems(spec(vertices.map(|id| vertex(id, 1)).into(), Vec::new()));
    assert_eq!(
        found,
        [
            "vertices[1].id: `000000000000000000000000000000FF` means the same operator id as that of vertices[0]"
        ]
    );
}

#[test]
fn a_graph_needs_a_vertex_and_a_name() {
    let mut empty = spec(Vec::new(), Vec::new());
    empty.name = " ".to_string();
    assert_eq!(
        problems(empty),
        [
            "name: is empty: a text is expected",
            "vertices: are missing: at least one is expected",
        ]
    );
}

#[test]
fn every_problem_of_a_vertex_is_named() {
    let mut vertices = Vec::from([
        vertex("a", 0),
        vertex("a", 40_000),
        vertex("", 8),
        vertex(&"x".repeat(2_000), 1),
        vertex("e\n", 1),
    ]);
    vertices[0].operator = String::new();
    vertices[0].name = Some(String::new());
    vertices[1].max_parallelism = Some(40_000);
    vertices[2].max_parallelism = Some(4);
    vertices[3].slot_sharing_group = Some(String::new());
    vertices[3].config = "x".repeat(MAX_VERTEX_CONFIG + 1);
    assert_eq!(
        problems(spec(vertices, Vec::new())),
        [
            "vertices[1].id: `a` is the id of vertices[0] already",
            "vertices[2].id: is empty: a text is expected",
            "vertices[3].id: 2000 bytes are too long: at most 1024",
            "vertices[4].id: has a control character: a line of text is expected",
            "vertices[0].name: is empty: a text is expected",
            "vertices[0].operator: is empty: a text is expected",
            "vertices[0].parallelism: 0 is out of range: from 1 to 32768 is expected",
            "vertices[1].parallelism: 40000 is out of range: from 1 to 32768 is expected",
            "vertices[1].maxParallelism: 40000 is out of range: from 1 to 32768 is expected",
            "vertices[2].parallelism: 8 is more than the vertex's maxParallelism, which is 4",
            "vertices[3].slotSharingGroup: is empty: a text is expected",
            "vertices[3].config: 262145 bytes are too long: at most 262144",
        ]
    );
}

#[test]
fn every_problem_of_an_edge_is_named() {
    use Partitioning::{Forward, Hash, Rebalance};
    let mut vertices = Vec::from([vertex("lines", 2), vertex("words", 3), vertex("sink", 3)]);
    vertices[0].operator = "file-source".to_string();
    let edges = Vec::from([
        edge("lines", "words", Forward),
        edge("lines", "word", Hash),
        edge("nothing", "else", Hash),
        edge("sink", "sink", Rebalance),
        edge("words", "sink", Forward),
        edge("words", "sink", Hash),
        edge("lines", "lines", Hash),
    ]);
    assert_eq!(
        problems(spec(vertices, edges)),
        [
            "edges[0].partitioning: forward needs the same parallelism on both sides, not 2 and 3; use rescale or rebalance",
            "edges[1].target: no vertex has the id `word`; did you mean `words`?",
            "edges[2].source: no vertex has the id `nothing`",
            "edges[2].target: no vertex has the id `else`",
            "edges[3].target: `sink` is the edge's own source",
            "edges[5]: edges[4] connects `words` to `sink` already",
            "edges[6].target: `lines` is the edge's own source",
            "edges[6].target: `lines` runs `file-source`, a source, which a hash edge cannot reach",
        ]
    );
}

#[test]
fn a_cycle_is_named_by_its_vertices() {
    let mut spec = diamond();
    spec.edges.push(edge("sink", "start", Partitioning::Global));
    spec.edges
        .push(edge("nowhere", "start", Partitioning::Global));
    assert_eq!(
        problems(spec),
        [
            "edges[5].source: no vertex has the id `nowhere`",
            "edges: there is a cycle: `sink` → `start` → `left` → `sink`",
        ]
    );
}

#[test]
fn a_long_cycle_is_named_in_part() {
    let ids: Vec<String> = (0..50).map(|i| format!("v{i}")).collect();
    let next = ids.iter().cycle().skip(1);
    let edges = ids.iter().zip(next);
    let edges = edges.map(|(source, target)| edge(source, target, Partitioning::Hash));
    let vertices = ids.iter().map(|id| vertex(id, 1)).collect();
    let found = problems(spec(vertices, edges.collect()));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].ends_with("→ `v9` → … (40 more) → `v0`"),
        "{found:?}"
    );
}

#[test]
fn options_are_checked_together_with_the_graph() {
    let mut spec = spec(Vec::from([vertex("a", 0)]), Vec::new());
    for (key, value) in [
        ("execution.checkpointing.interval", "often"),
        ("say \"x\"", "1"),
    ] {
        spec.configuration
            .insert(key.to_string(), value.to_string());
    }
    let found = problems(spec);
    assert_eq!(found.len(), 3);
    assert!(found[1].starts_with("configuration[\"execution.checkpointing.interval\"]: `often`"));
    assert!(found[2].starts_with("configuration[\"say \\\"x\\\"\"]: there is no such option"));
}

#[test]
fn too_large_a_graph_is_refused_without_looking_at_its_parts() {
    let vertices = (0..=MAX_VERTICES).map(|_| vertex("same", 0)).collect();
    let edges = (0..=MAX_EDGES).map(|_| edge("no", "one", Partitioning::Hash));
    assert_eq!(
        problems(spec(vertices, edges.collect())),
        [
            "vertices: 1001 are too many: at most 1000",
            "edges: 10001 are too many: at most 10000",
        ]
    );
}

#[test]
fn the_largest_graph_is_accepted() {
    let id = |i: usize| format!("v{i}");
    let vertices = (0..MAX_VERTICES).map(|i| vertex(&id(i), 1)).collect();
    let pairs = (1..=10).flat_map(|step| (step..MAX_VERTICES).map(move |i| (i - step, i)));
    let edges = pairs.map(|(from, to)| edge(&id(from), &id(to), Partitioning::Forward));
    let edges: Vec<_> = edges.take(MAX_EDGES).collect();
    let graph = accept(spec(vertices, edges));
    assert_eq!(graph.vertices().len(), MAX_VERTICES);
}

#[test]
fn a_job_does_not_ask_for_more_slots_than_there_could_be() {
    let group = |i: usize| {
        let mut vertex = vertex(&format!("v{i}"), MAX_PARALLELISM);
        vertex.slot_sharing_group = Some(format!("g{i}"));
        vertex
    };
    assert_eq!(
        problems(spec((0..31).map(group).collect(), Vec::new())),
        ["vertices: they need 1015808 slots, which is too many: at most 1000000"]
    );
    let subtasks = |i: usize| vertex(&format!("v{i}"), MAX_PARALLELISM);
    assert_eq!(
        problems(spec((0..125).map(subtasks).collect(), Vec::new())),
        ["vertices: they need 4096000 subtasks, which is too many: at most 4063232"]
    );
    assert_eq!(
        accept(spec((0..31).map(subtasks).collect(), Vec::new())).subtasks(),
        1_015_808
    );
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let group = |i: usize| {
        let mut vertex = vertex(&format!("v{i}"), u32::MAX);
        vertex.slot_sharing_group = Some(format!("g{i}"));
        vertex.max_parallelism = Some(u32::MAX);
        vertex
    };
    assert!(problems(spec((0..9).map(group).collect(), Vec::new())).len() > 18);
}
