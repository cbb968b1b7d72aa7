//! A JobGraph as JSON: what clients post, and what the files given on the command line contain.
//!
//! The document is walked by hand, so that each problem has the path of the value it is about, and
//! what cannot be read does not hide what is wrong elsewhere: it is replaced by something harmless, and
//! complaints that only the replacement causes are left out.

mod walk;

use jobmanager_core::graph::{
    EdgeSpec, JobGraph, JobGraphSpec, MAX_EDGES, MAX_VERTICES, Partitioning, Problem, VertexSpec,
};
use jobmanager_core::id::{JobId, NotAJobId};
use jobmanager_core::savepoint::Savepoint;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use walk::{Fields, Walk};

/// The largest document that is looked at: many times what the largest graph needs. Bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// How many problems are listed.
pub const MAX_PROBLEMS: usize = 50;

const JOB_FIELDS: [&str; 5] = ["jobId", "name", "vertices", "edges", "configuration"];
const VERTEX_FIELDS: [&str; 7] = [
    "id",
    "name",
    "operator",
    "parallelism",
    "maxParallelism",
    "slotSharingGroup",
    "config",
];
const EDGE_FIELDS: [&str; 3] = ["source", "target", "partitioning"];

/// Reads and checks a JobGraph. A job without `jobId` gets `fresh_id`; options that it does not set come
/// from `defaults`, the cluster's configuration.
///
/// # Errors
/// Every problem; after the first [`MAX_PROBLEMS`] of them only how many more there are.
pub fn parse(
    bytes: &[u8],
    fresh_id: JobId,
    defaults: &BTreeMap<String, String>,
) -> Result<JobGraph, Vec<Problem>> {
    parse_from(bytes, fresh_id, defaults, None)
}

/// As [`parse`], for a job that starts from this savepoint: a vertex that does not say how many key groups it
/// has gets as many as its state has.
///
/// # Errors
/// As [`parse`].
pub fn parse_from(
    bytes: &[u8],
    fresh_id: JobId,
    defaults: &BTreeMap<String, String>,
    savepoint: Option<&Savepoint>,
) -> Result<JobGraph, Vec<Problem>> {
    let document = read_document(bytes).map_err(|problem| {
        let path = String::new();
        Vec::from([Problem { path, problem }])
    })?;
    let mut walk = Walk::default();
    let Some(mut written) = read_job(&mut walk, &document, fresh_id) else {
        return Err(walk.finish(Vec::new()));
    };
    let consequences = written.consequences();
    if let Some(savepoint) = savepoint {
        savepoint.lend_key_groups(&mut written.spec);
    }
    match JobGraph::validate(written.spec, defaults) {
        Ok(graph) if walk.is_clean() => Ok(graph),
        Ok(_) => Err(walk.finish(Vec::new())),
        Err(mut problems) => {
            problems.retain(|problem| !consequences.contains(&problem.path));
            Err(walk.finish(problems))
        }
    }
}

/// The JSON from which [`parse`] makes this graph, with everything written out.
#[must_use]
pub fn to_json(graph: &JobGraph) -> Value {
    let spec = graph.to_spec();
    let vertex = |vertex: &VertexSpec| {
        let config = serde_json::from_str(&vertex.config);
        json!({
            "id": vertex.id,
            "name": vertex.name,
            "operator": vertex.operator,
            "parallelism": vertex.parallelism,
            "maxParallelism": vertex.max_parallelism,
            "slotSharingGroup": vertex.slot_sharing_group,
            "config": config.unwrap_or_else(|_| Value::from(vertex.config.as_str())),
        })
    };
    let edge = |edge: &EdgeSpec| {
        json!({
            "source": edge.source,
            "target": edge.target,
            "partitioning": edge.partitioning.name(),
        })
    };
    json!({
        "jobId": spec.id.to_string(),
        "name": spec.name,
        "vertices": spec.vertices.iter().map(vertex).collect::<Vec<_>>(),
        "edges": spec.edges.iter().map(edge).collect::<Vec<_>>(),
        "configuration": spec.configuration,
    })
}

fn read_document(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() > MAX_BYTES {
        let length = bytes.len();
        return Err(format!(
            "{length} bytes are too many for a JobGraph: at most {MAX_BYTES}"
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let position = format!(" at line {line} column {column}");
        let text = text.strip_suffix(&position).unwrap_or(&text);
        format!("line {line}, column {column} is not JSON: {text}")
    })
}

/// A graph as far as it could be read.
struct Written {
    spec: JobGraphSpec,
    /// Whether the ids of all vertices could be read.
    ids_known: bool,
}

impl Written {
    /// The paths at which complaints are to be expected that have another cause: an edge to a vertex
    /// whose id could not be read.
    fn consequences(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        if self.ids_known {
            return paths;
        }
        let ids: BTreeSet<&str> = self.spec.vertices.iter().map(|v| v.id.as_str()).collect();
        for (position, edge) in self.spec.edges.iter().enumerate() {
            for (field, id) in [("source", &edge.source), ("target", &edge.target)] {
                if !ids.contains(id.as_str()) {
                    paths.insert(format!("edges[{position}].{field}"));
                }
            }
        }
        paths
    }
}

fn read_job(walk: &mut Walk, document: &Value, fresh_id: JobId) -> Option<Written> {
    let fields = walk.object(String::new(), document, &JOB_FIELDS)?;
    let id = walk.text(&fields, "jobId", false);
    let id = id.and_then(|text| {
        text.parse()
            .map_err(|error: NotAJobId| {
                walk.problem(fields.path("jobId"), || {
                    format!("{} is {error}", walk::shown(&text))
                });
            })
            .ok()
    });
    let name = walk.text(&fields, "name", true).unwrap_or_default();
    let (vertices, ids_known) = read_vertices(walk, &fields);
    let edges = read_edges(walk, &fields, &vertices);
    let configuration = read_configuration(walk, &fields);
    let spec = JobGraphSpec {
        id: id.unwrap_or(fresh_id),
        name,
        vertices: vertices.into_iter().map(|vertex| vertex.spec).collect(),
        edges,
        configuration,
    };
    Some(Written { spec, ids_known })
}

/// A vertex as far as it could be read.
struct WrittenVertex {
    spec: VertexSpec,
    id_known: bool,
    parallelism_known: bool,
}

impl WrittenVertex {
    /// What stands for a vertex that cannot be read at all: nothing else refers to its id, as an id
    /// with a control character is refused.
    fn unreadable(position: usize) -> Self {
        WrittenVertex {
            id_known: false,
            parallelism_known: false,
            spec: VertexSpec {
                id: format!("\0{position}"),
                name: None,
                operator: String::new(),
                parallelism: 1,
                max_parallelism: None,
                slot_sharing_group: None,
                config: "{}".to_string(),
            },
        }
    }
}

/// The vertices, and whether the ids of all of them could be read.
fn read_vertices(walk: &mut Walk, job: &Fields<'_>) -> (Vec<WrittenVertex>, bool) {
    let Some(written) = walk.array(job, "vertices", true, MAX_VERTICES) else {
        return (Vec::new(), false);
    };
    let indexed = written.iter().enumerate();
    let vertices: Vec<_> = indexed
        .map(|(position, value)| read_vertex(walk, position, value))
        .collect();
    let ids_known = vertices.iter().all(|vertex| vertex.id_known);
    (vertices, ids_known)
}

fn read_vertex(walk: &mut Walk, position: usize, value: &Value) -> WrittenVertex {
    let Some(fields) = walk.object(format!("vertices[{position}]"), value, &VERTEX_FIELDS) else {
        return WrittenVertex::unreadable(position);
    };
    let id = walk.text(&fields, "id", true);
    let parallelism = walk.parallelism(&fields, "parallelism");
    let replaced = WrittenVertex::unreadable(position).spec;
    WrittenVertex {
        id_known: id.is_some(),
        parallelism_known: parallelism.is_some() || fields.get("parallelism").is_none(),
        spec: VertexSpec {
            id: id.unwrap_or(replaced.id),
            name: walk.text(&fields, "name", false),
            operator: walk.text(&fields, "operator", true).unwrap_or_default(),
            parallelism: parallelism.unwrap_or(replaced.parallelism),
            max_parallelism: walk.parallelism(&fields, "maxParallelism"),
            slot_sharing_group: walk.text(&fields, "slotSharingGroup", false),
            config: read_vertex_config(walk, &fields).unwrap_or(replaced.config),
        },
    }
}

fn read_vertex_config(walk: &mut Walk, vertex: &Fields<'_>) -> Option<String> {
    let config = vertex.get("config")?;
    if !config.is_object() {
        walk.wrong_type(vertex.path("config"), "an object", config);
        return None;
    }
    Some(config.to_string())
}

fn read_edges(walk: &mut Walk, job: &Fields<'_>, vertices: &[WrittenVertex]) -> Vec<EdgeSpec> {
    let Some(written) = walk.array(job, "edges", false, MAX_EDGES) else {
        return Vec::new();
    };
    let parallelism: BTreeMap<&str, Option<u32>> = vertices
        .iter()
        .rev()
        .map(|vertex| {
            let known = vertex.parallelism_known.then_some(vertex.spec.parallelism);
            (vertex.spec.id.as_str(), known)
        })
        .collect();
    let same_parallelism = |source: &str, target: &str| {
        let (source, target) = (parallelism.get(source)?, parallelism.get(target)?);
        Some((*source)? == (*target)?)
    };
    let indexed = written.iter().enumerate();
    indexed
        .map(|(position, value)| read_edge(walk, position, value, &same_parallelism))
        .collect()
}

/// `same_parallelism` is `None` where the parallelism of one side could not be read.
fn read_edge(
    walk: &mut Walk,
    position: usize,
    value: &Value,
    same_parallelism: &impl Fn(&str, &str) -> Option<bool>,
) -> EdgeSpec {
    let Some(fields) = walk.object(format!("edges[{position}]"), value, &EDGE_FIELDS) else {
        return EdgeSpec {
            source: String::new(),
            target: String::new(),
            partitioning: Partitioning::Rebalance,
        };
    };
    let source = walk.text(&fields, "source", true).unwrap_or_default();
    let target = walk.text(&fields, "target", true).unwrap_or_default();
    let same = same_parallelism(&source, &target);
    let partitioning = match read_partitioning(walk, &fields) {
        Some(Partitioning::Forward) if same.is_none() => Partitioning::Rebalance,
        Some(partitioning) => partitioning,
        None if same == Some(true) => Partitioning::Forward,
        None => Partitioning::Rebalance,
    };
    EdgeSpec {
        source,
        target,
        partitioning,
    }
}

fn read_partitioning(walk: &mut Walk, edge: &Fields<'_>) -> Option<Partitioning> {
    let written = walk.text(edge, "partitioning", false)?;
    let mut known = Partitioning::NAMES.into_iter();
    let found = known.find(|(_, name)| *name == written);
    if found.is_none() {
        let names = Partitioning::NAMES.map(|(_, name)| name);
        let path = edge.path("partitioning");
        walk.problem(path, || {
            let written = walk::shown(&written);
            let names = names.join(", ");
            format!("{written} is not a partitioning: one of {names} is expected")
        });
    }
    found.map(|(partitioning, _)| partitioning)
}

fn read_configuration(walk: &mut Walk, job: &Fields<'_>) -> BTreeMap<String, String> {
    let mut configuration = BTreeMap::new();
    let entries = match job.get("configuration") {
        None => return configuration,
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            walk.wrong_type(job.path("configuration"), "an object", other);
            return configuration;
        }
    };
    for (key, value) in entries {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let path = format!("configuration[{:?}]", walk::shortened(key));
                walk.wrong_type(path, "a text, a number, true or false", value);
                continue;
            }
        };
        configuration.insert(key.clone(), text);
    }
    configuration
}

#[cfg(test)]
mod tests;
