//! Documents, good and bad.

#![allow(clippy::unwrap_used)]

use super::*;
use jobmanager_core::config::RestartStrategy;
use proptest::prelude::*;

const FRESH: JobId = JobId(0xf00d);

const WORD_COUNT: &str = r#"
{"name": "word-count",
 "vertices": [
   {"id": "lines", "operator": "file-source", "parallelism": 2, "config": {"path": "books"}},
   {"id": "words", "operator": "split-words", "parallelism": 2},
   {"id": "count", "operator": "count", "parallelism": 4, "maxParallelism": 128,
    "config": {"emit": "final"}, "slotSharingGroup": "heavy"},
   {"id": "out", "operator": "file-sink", "config": {"path": "out"}}],
 "edges": [
   {"source": "lines", "target": "words"},
   {"source": "words", "target": "count", "partitioning": "hash"},
   {"source": "count", "target": "out"}],
 "configuration": {
   "execution.checkpointing.interval": "500 ms",
   "execution.checkpointing.num-retained": 2,
   "restart-strategy.exponential-delay.backoff-multiplier": 2.5,
   "restart-strategy.type": "fixed-delay"}}"#;

fn read(text: &str) -> Result<JobGraph, Vec<Problem>> {
    parse(text.as_bytes(), FRESH, &BTreeMap::new())
}

fn problems(text: &str) -> Vec<String> {
    let found = read(text).unwrap_err();
    found.iter().map(Problem::to_string).collect()
}

#[test]
fn a_job_is_read_with_its_defaults() {
    let graph = read(WORD_COUNT).unwrap();
    assert_eq!(graph.id(), FRESH);
    assert_eq!(graph.name(), "word-count");
    let partitionings = graph.edges().iter().map(|edge| edge.partitioning.name());
    let partitionings: Vec<_> = partitionings.collect();
    assert_eq!(partitionings, ["forward", "hash", "rebalance"]);
    assert_eq!(graph.vertices()[0].config, r#"{"path":"books"}"#);
    assert_eq!(graph.vertices()[1].config, "{}");
    assert_eq!(graph.vertices()[3].parallelism, 1);
    assert_eq!(graph.slots(), 2 + 4);
    let config = graph.config();
    assert_eq!(config.checkpointing.as_ref().unwrap().retained, 2);
    let fixed = matches!(config.restart_strategy, RestartStrategy::FixedDelay { .. });
    assert!(fixed);
}

#[test]
fn the_clients_job_id_is_kept() {
    let text = r#"{"jobId": "000000000000000000000000000000Ab", "name": "n",
        "vertices": [{"id": "a", "operator": "o"}]}"#;
    assert_eq!(read(text).unwrap().id(), JobId(0xab));
}

#[test]
fn a_graph_survives_being_written_as_json() {
    let graph = read(WORD_COUNT).unwrap();
    let text = to_json(&graph).to_string();
    let other = parse(text.as_bytes(), JobId(1), &BTreeMap::new()).unwrap();
    assert_eq!(to_json(&other), to_json(&graph));
    assert_eq!(other, graph);
}

#[test]
fn what_is_not_json_is_refused_with_line_and_column() {
    assert_eq!(
        problems("{\n \"name\": oops}"),
        ["line 2, column 10 is not JSON: expected value"]
    );
    assert_eq!(
        problems(""),
        ["line 1, column 0 is not JSON: EOF while parsing a value"]
    );
    let deep = "[".repeat(100_000);
    assert!(problems(&deep)[0].contains("recursion limit"));
    let binary = parse(&[b'"', 0xff, b'"'], FRESH, &BTreeMap::new()).unwrap_err();
    assert_eq!(binary.len(), 1);
}

#[test]
fn a_document_of_the_wrong_type_is_refused() {
    assert_eq!(
        problems("[]"),
        ["an object is expected, but it is an array"]
    );
    assert_eq!(
        problems("{}"),
        [
            "name: is missing: a text is expected",
            "vertices: is missing: an array is expected",
        ]
    );
}

#[test]
fn too_large_a_document_is_not_looked_at() {
    let garbage = vec![b'x'; 10 << 20];
    let found = parse(&garbage, FRESH, &BTreeMap::new()).unwrap_err();
    let found: Vec<_> = found.iter().map(Problem::to_string).collect();
    assert_eq!(
        found,
        ["10485760 bytes are too many for a JobGraph: at most 8388608"]
    );
}

#[test]
fn every_wrong_type_is_named_together_with_what_is_wrong_elsewhere() {
    let text = r#"
    {"jobId": "12", "name": 7, "color": "red",
     "vertices": [
       {"id": "a", "operator": "file-source", "parallelism": "2", "config": []},
       {"id": 5, "operater": "x", "parallelism": 1.5, "maxParallelism": -1},
       null,
       {"id": "d", "operator": "filter", "parallelism": 0, "slotSharingGroup": true},
       {"id": "e", "operator": "filter", "parallelism": 5000000000}],
     "edges": [
       {"source": "a", "target": "d", "partitioning": "forward"},
       {"source": "x", "target": "d"},
       {"source": "d", "target": "a", "partitioning": "hash"},
       {"source": "d", "partitioning": "sideways"},
       4],
     "configuration": {
       "execution.checkpointing.interval": "often",
       "restart-strategy.type": ["none"],
       "slot.request.timeout": null}}"#;
    assert_eq!(
        problems(text),
        [
            "color: there is no such field",
            "jobId: `12` is not a job id: 32 hex digits are expected",
            "name: a text is expected, but it is the number 7",
            "vertices[0].parallelism: a whole number is expected, but it is the text `2`",
            "vertices[0].config: an object is expected, but it is an array",
            "vertices[1].operater: there is no such field; did you mean `operator`?",
            "vertices[1].id: a text is expected, but it is the number 5",
            "vertices[1].parallelism: a whole number is expected, but it is the number 1.5",
            "vertices[1].operator: is missing: a text is expected",
            "vertices[1].maxParallelism: -1 is out of range: from 1 to 32768 is expected",
            "vertices[2]: an object is expected, but it is null",
            "vertices[3].slotSharingGroup: a text is expected, but it is true",
            "vertices[4].parallelism: 5000000000 is out of range: from 1 to 32768 is expected",
            "edges[3].target: is missing: a text is expected",
            "edges[3].partitioning: `sideways` is not a partitioning: one of forward, rescale, rebalance, hash, broadcast, global is expected",
            "edges[4]: an object is expected, but it is the number 4",
            "configuration[\"restart-strategy.type\"]: a text, a number, true or false is expected, but it is an array",
            "configuration[\"slot.request.timeout\"]: a text, a number, true or false is expected, but it is null",
            "vertices[3].parallelism: 0 is out of range: from 1 to 32768 is expected",
            "edges[2].target: `a` runs `file-source`, a source, which a hash edge cannot reach",
            "edges: there is a cycle: `a` → `d` → `a`",
            "configuration[\"execution.checkpointing.interval\"]: `often` is not a duration: expected a whole number and a unit (ns, us, ms, s, min, h or d), such as `500 ms`",
        ]
    );
}

#[test]
fn an_unknown_vertex_is_named_when_every_id_is_known() {
    let text = r#"{"name": "n", "vertices": [{"id": "a", "operator": "o", "parallelism": []}],
        "edges": [{"source": "b", "target": "a"}]}"#;
    assert_eq!(
        problems(text),
        [
            "vertices[0].parallelism: a whole number is expected, but it is an array",
            "edges[0].source: no vertex has the id `b`",
        ]
    );
}

#[test]
fn unreadable_vertices_do_not_make_their_edges_wrong() {
    let text = r#"{"name": "n", "vertices": {"a": 1}, "edges": [{"source": "a", "target": "b"}]}"#;
    assert_eq!(
        problems(text),
        ["vertices: an array is expected, but it is an object"]
    );
}

#[test]
fn after_fifty_problems_the_rest_is_counted() {
    let fields = (0..60).map(|i| format!("\"field{i}\": 0"));
    let fields: Vec<_> = fields.collect();
    let found = problems(&format!("{{{}}}", fields.join(",")));
    assert_eq!(found.len(), 51);
    assert_eq!(found[50], "… and 12 more");
}

#[test]
fn too_many_vertices_are_one_problem() {
    let vertices = vec!["0"; MAX_VERTICES + 1].join(",");
    let text = format!(r#"{{"name": "n", "vertices": [{vertices}], "edges": [{{}}]}}"#);
    assert_eq!(
        problems(&text),
        [
            "vertices: 1001 are too many: at most 1000",
            "edges[0].source: is missing: a text is expected",
            "edges[0].target: is missing: a text is expected",
        ]
    );
}

/// JSON values with the field names of a JobGraph, so that the walk gets beyond the first level.
fn any_json() -> impl Strategy<Value = Value> {
    let names = [&JOB_FIELDS[..], &VERTEX_FIELDS[..], &EDGE_FIELDS[..]].concat();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u32..4).prop_map(Value::from),
        "[a-c]?".prop_map(Value::from),
        Just(Value::from("hash")),
    ];
    leaf.prop_recursive(4, 60, 6, move |inner| {
        let name = proptest::sample::select(names.clone()).prop_map(str::to_string);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..7)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_a_graph_or_has_problems(value in any_json()) {
        match read(&value.to_string()) {
            Ok(graph) => {
                prop_assert_eq!(read(&to_json(&graph).to_string()), Ok(graph));
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        prop_assert!(parse(&bytes, FRESH, &BTreeMap::new()).is_err());
    }

    #[test]
    fn every_valid_graph_survives_being_written_as_json(
        parallelism in proptest::collection::vec(1_u32..9, 1..8),
        links in proptest::collection::btree_set((0_usize..8, 0_usize..8), 0..12),
        kinds in proptest::collection::vec(1_usize..6, 12),
        id: u128,
    ) {
        let vertices: Vec<_> = parallelism.iter().enumerate().map(|(position, parallelism)| {
            json!({
                "id": format!("vertex {position} “é”"),
                "operator": "o",
                "parallelism": parallelism,
                "slotSharingGroup": format!("group {}", parallelism % 3),
                "config": {"n": position, "deep": {"list": [1.5, null, "x\n"]}},
            })
        }).collect();
        let forwards = links.iter().filter(|(from, to)| from < to && *to < vertices.len());
        let edges: Vec<_> = forwards.zip(&kinds).map(|((from, to), kind)| {
            json!({
                "source": vertices[*from]["id"],
                "target": vertices[*to]["id"],
                "partitioning": Partitioning::NAMES[*kind].1,
            })
        }).collect();
        let id = JobId(id).to_string();
        let text = json!({"jobId": id, "name": "job", "vertices": vertices, "edges": edges});
        let graph = read(&text.to_string()).unwrap();
        prop_assert_eq!(graph.edges().len(), edges.len());
        prop_assert_eq!(read(&to_json(&graph).to_string()), Ok(graph));
    }
}
