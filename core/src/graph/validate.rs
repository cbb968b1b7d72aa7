//! From what somebody wrote to what can be run: every problem, each with its path.
//!
//! The coordinator does not know operators. One convention stands in for that: an operator whose name
//! ends with `-source`, as those of the built-in sources do, reads no input, so an edge into it is a
//! mistake.

use super::{
    EdgeSpec, JobEdge, JobGraph, JobGraphSpec, JobVertex, MAX_EDGES, MAX_PARALLELISM, MAX_VERTICES,
    Partitioning, SlotSharingGroup, VertexSpec, default_max_parallelism, order,
};
use crate::config::{JobConfig, Scope, job_config, known_options, nearest};
use crate::digest::Digest;
use crate::id::{JobId, VertexIndex};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// The longest name and id; they are in every list and many messages. Bytes.
const MAX_NAME: usize = 1_024;
/// The longest configuration of one vertex; it travels with every deployment. Bytes.
const MAX_VERTEX_CONFIG: usize = 256 << 10;
/// The most slots that one job may ask for.
const MAX_SLOTS: u64 = 1_000_000;
/// The most subtasks of one job; the coordinator has a row for each. Four graphs of 31 vertices of
/// the largest parallelism.
const MAX_SUBTASKS: u64 = 4 * 31 * MAX_PARALLELISM as u64;
/// The slot sharing group of a vertex that names none.
const DEFAULT_GROUP: &str = "default";
/// How the name of an operator ends that reads no input.
const SOURCE_SUFFIX: &str = "-source";
/// How many vertices of a cycle are named.
const NAMED_OF_CYCLE: usize = 10;
/// After how many problems no more is guessed about what was meant; a guess looks at every vertex.
const GUESSES: usize = 10;
/// How much of a name a problem repeats. Characters.
const SHOWN: usize = 60;

/// Something that is wrong with a JobGraph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// Where, as a path into the JSON, such as `vertices[2].parallelism`; empty for the whole.
    pub path: String,
    /// What, and what would be right.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl JobGraph {
    /// Checks a graph and resolves its options; what the job does not set comes from `defaults`, the
    /// cluster's configuration.
    ///
    /// # Errors
    /// Every problem: of the name, the vertices, the edges, the graph as a whole, the configuration.
    pub fn validate(
        spec: JobGraphSpec,
        defaults: &BTreeMap<String, String>,
    ) -> Result<JobGraph, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.check_name("name", &spec.name);
        let shape = check_shape(&spec, &mut problems);
        let config = check_configuration(&spec.configuration, defaults, &mut problems);
        match (shape, config) {
            (Some(shape), Some(config)) if problems.0.is_empty() => {
                let configuration = resolved(spec.configuration, defaults);
                let spec = JobGraphSpec {
                    configuration,
                    ..spec
                };
                Ok(build(spec, shape, config))
            }
            _ => Err(problems.0),
        }
    }
}

/// What is found out about a graph while it is checked.
struct Shape {
    edges: Vec<JobEdge>,
    topological: Vec<VertexIndex>,
    groups: Vec<SlotSharingGroup>,
    group_of: Vec<u32>,
}

/// The problems so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        let (path, problem) = (path.into(), problem.into());
        self.0.push(Problem { path, problem });
    }

    fn check_name(&mut self, path: impl Into<String>, name: &str) {
        if name.trim().is_empty() {
            self.add(path, "is empty: a text is expected");
        } else if name.len() > MAX_NAME {
            let length = name.len();
            self.add(
                path,
                format!("{length} bytes are too long: at most {MAX_NAME}"),
            );
        } else if name.chars().any(char::is_control) {
            self.add(path, "has a control character: a line of text is expected");
        }
    }
}

/// Vertices and edges; `None` if they make no graph.
fn check_shape(spec: &JobGraphSpec, problems: &mut Problems) -> Option<Shape> {
    let before = problems.0.len();
    for (path, count, most) in [
        ("vertices", spec.vertices.len(), MAX_VERTICES),
        ("edges", spec.edges.len(), MAX_EDGES),
    ] {
        if count > most {
            problems.add(path, format!("{count} are too many: at most {most}"));
        }
    }
    if problems.0.len() > before {
        return None;
    }
    if spec.vertices.is_empty() {
        problems.add("vertices", "are missing: at least one is expected");
    }
    let index = check_ids(&spec.vertices, problems);
    for (position, vertex) in spec.vertices.iter().enumerate() {
        check_vertex(position, vertex, problems);
    }
    let edges = check_edges(spec, &index, problems);
    let topological = check_order(spec, &edges, problems);
    let (groups, group_of) = share_slots(&spec.vertices);
    check_size(&spec.vertices, &groups, problems);
    Some(Shape {
        edges,
        topological: topological?,
        groups,
        group_of,
    })
}

/// Where each id is. Of vertices with the same id the first one counts.
fn check_ids<'a>(
    vertices: &'a [VertexSpec],
    problems: &mut Problems,
) -> BTreeMap<&'a str, VertexIndex> {
    let mut index: BTreeMap<&str, VertexIndex> = BTreeMap::new();
    let mut operators: BTreeMap<u128, usize> = BTreeMap::new();
    for (position, vertex) in vertices.iter().enumerate() {
        let path = format!("vertices[{position}].id");
        if let Some(first) = index.get(vertex.id.as_str()) {
            let (id, first) = (shown(&vertex.id), first.0);
            problems.add(path, format!("{id} is the id of vertices[{first}] already"));
            continue;
        }
        problems.check_name(path.as_str(), &vertex.id);
        index.insert(&vertex.id, vertex_index(position));
        if let Some(first) = operators.insert(operator_id(&vertex.id), position) {
            let id = shown(&vertex.id);
            let problem = format!("{id} means the same operator id as that of vertices[{first}]");
            problems.add(path, problem);
        }
    }
    index
}

fn check_vertex(position: usize, vertex: &VertexSpec, problems: &mut Problems) {
    let path = |field: &str| format!("vertices[{position}].{field}");
    if let Some(name) = &vertex.name {
        problems.check_name(path("name"), name);
    }
    problems.check_name(path("operator"), &vertex.operator);
    if let Some(group) = &vertex.slot_sharing_group {
        problems.check_name(path("slotSharingGroup"), group);
    }
    if vertex.config.len() > MAX_VERTEX_CONFIG {
        let problem = format!(
            "{} bytes are too long: at most {MAX_VERTEX_CONFIG}",
            vertex.config.len()
        );
        problems.add(path("config"), problem);
    }
    let in_range = |number: u32| (1..=MAX_PARALLELISM).contains(&number);
    let out_of_range =
        |number: u32| format!("{number} is out of range: from 1 to {MAX_PARALLELISM} is expected");
    let parallelism = vertex.parallelism;
    if !in_range(parallelism) {
        problems.add(path("parallelism"), out_of_range(parallelism));
    }
    match vertex.max_parallelism {
        Some(max) if !in_range(max) => problems.add(path("maxParallelism"), out_of_range(max)),
        Some(max) if in_range(parallelism) && parallelism > max => problems.add(
            path("parallelism"),
            format!("{parallelism} is more than the vertex's maxParallelism, which is {max}"),
        ),
        Some(_) | None => {}
    }
}

/// The edges whose vertices exist.
fn check_edges(
    spec: &JobGraphSpec,
    index: &BTreeMap<&str, VertexIndex>,
    problems: &mut Problems,
) -> Vec<JobEdge> {
    let mut edges = Vec::with_capacity(spec.edges.len());
    let mut seen = BTreeMap::new();
    for (position, written) in spec.edges.iter().enumerate() {
        let Some(edge) = resolve_edge(position, written, index, problems) else {
            continue;
        };
        if let Some(first) = seen.insert((edge.source, edge.target), position) {
            let (source, target) = (shown(&written.source), shown(&written.target));
            let problem = format!("edges[{first}] connects {source} to {target} already");
            problems.add(format!("edges[{position}]"), problem);
        }
        check_edge(position, edge, &spec.vertices, problems);
        edges.push(edge);
    }
    edges
}

fn resolve_edge(
    position: usize,
    written: &EdgeSpec,
    index: &BTreeMap<&str, VertexIndex>,
    problems: &mut Problems,
) -> Option<JobEdge> {
    let mut find = |field: &str, id: &str| {
        let found = index.get(id).copied();
        if found.is_none() {
            let guess = problems.0.len() < GUESSES;
            let known = index.keys().copied().filter(|_| guess);
            let hint = nearest(id, known).map(|known| format!("; did you mean {}?", shown(known)));
            let (id, hint) = (shown(id), hint.unwrap_or_default());
            let path = format!("edges[{position}].{field}");
            problems.add(path, format!("no vertex has the id {id}{hint}"));
        }
        found
    };
    let source = find("source", &written.source);
    let target = find("target", &written.target);
    Some(JobEdge {
        source: source?,
        target: target?,
        partitioning: written.partitioning,
    })
}

fn check_edge(position: usize, edge: JobEdge, vertices: &[VertexSpec], problems: &mut Problems) {
    let path = |field: &str| format!("edges[{position}].{field}");
    let source = &vertices[edge.source.0 as usize];
    let target = &vertices[edge.target.0 as usize];
    if edge.source == edge.target {
        let id = shown(&target.id);
        problems.add(path("target"), format!("{id} is the edge's own source"));
    }
    if target.operator.ends_with(SOURCE_SUFFIX) {
        let (id, operator) = (shown(&target.id), shown(&target.operator));
        let name = edge.partitioning.name();
        let problem = format!("{id} runs {operator}, a source, which a {name} edge cannot reach");
        problems.add(path("target"), problem);
    }
    let (from, to) = (source.parallelism, target.parallelism);
    if edge.partitioning == Partitioning::Forward && from != to {
        let problem = format!(
            "forward needs the same parallelism on both sides, not {from} and {to}; \
             use rescale or rebalance"
        );
        problems.add(path("partitioning"), problem);
    }
}

fn check_order(
    spec: &JobGraphSpec,
    edges: &[JobEdge],
    problems: &mut Problems,
) -> Option<Vec<VertexIndex>> {
    let cycles = match order::topological(spec.vertices.len(), edges) {
        Ok(order) => return Some(order),
        Err(cycles) => cycles,
    };
    for cycle in cycles {
        let named = cycle.iter().take(NAMED_OF_CYCLE);
        let names: Vec<String> = named
            .map(|index| shown(&spec.vertices[index.0 as usize].id))
            .collect();
        let rest = match cycle.len().saturating_sub(NAMED_OF_CYCLE) {
            0 => String::new(),
            more => format!(" → … ({more} more)"),
        };
        let (chain, first) = (names.join(" → "), &names[0]);
        problems.add(
            "edges",
            format!("there is a cycle: {chain}{rest} → {first}"),
        );
    }
    None
}

/// The groups in the order of their first vertex, and the group of each vertex. The numbers of slots
/// saturate; what is too large is reported by [`check_size`].
fn share_slots(vertices: &[VertexSpec]) -> (Vec<SlotSharingGroup>, Vec<u32>) {
    let mut groups: Vec<SlotSharingGroup> = Vec::new();
    let mut index: BTreeMap<&str, u32> = BTreeMap::new();
    let mut group_of = Vec::with_capacity(vertices.len());
    for vertex in vertices {
        let name = vertex
            .slot_sharing_group
            .as_deref()
            .unwrap_or(DEFAULT_GROUP);
        let group = *index.entry(name).or_insert_with(|| {
            groups.push(SlotSharingGroup {
                name: name.to_string(),
                slots: 0,
                first_slot: 0,
            });
            vertex_index(groups.len() - 1).0
        });
        let slots = &mut groups[group as usize].slots;
        *slots = vertex.parallelism.max(*slots);
        group_of.push(group);
    }
    let mut next = 0_u32;
    for group in &mut groups {
        group.first_slot = next;
        next = next.saturating_add(group.slots);
    }
    (groups, group_of)
}

fn check_size(vertices: &[VertexSpec], groups: &[SlotSharingGroup], problems: &mut Problems) {
    let slots: u64 = groups.iter().map(|group| u64::from(group.slots)).sum();
    let subtasks: u64 = vertices.iter().map(|v| u64::from(v.parallelism)).sum();
    for (what, count, most) in [
        ("slots", slots, MAX_SLOTS),
        ("subtasks", subtasks, MAX_SUBTASKS),
    ] {
        if count > most {
            let problem = format!("they need {count} {what}, which is too many: at most {most}");
            problems.add("vertices", problem);
        }
    }
}

fn check_configuration(
    configuration: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<JobConfig> {
    match job_config(configuration, defaults) {
        Ok(config) => Some(config),
        Err(found) => {
            for option in found {
                let path = match option.key.as_str() {
                    "" => "configuration".to_string(),
                    key => format!("configuration[{:?}]", shortened(key)),
                };
                problems.add(path, option.problem);
            }
            None
        }
    }
}

fn build(spec: JobGraphSpec, shape: Shape, config: JobConfig) -> JobGraph {
    let vertices = spec.vertices.into_iter().zip(shape.group_of);
    let vertices = vertices.map(|(vertex, group)| JobVertex {
        operator_id: operator_id(&vertex.id),
        name: vertex.name.unwrap_or_else(|| vertex.id.clone()),
        id: vertex.id,
        operator: vertex.operator,
        parallelism: vertex.parallelism,
        max_parallelism: vertex
            .max_parallelism
            .unwrap_or_else(|| default_max_parallelism(vertex.parallelism)),
        group,
        config: vertex.config,
    });
    let vertices: Vec<JobVertex> = vertices.collect();
    let digest = Digest::of(&(
        (spec.id, &spec.name, &vertices, &shape.edges),
        (
            &shape.groups,
            &shape.topological,
            &spec.configuration,
            &config,
        ),
    ));
    JobGraph {
        id: spec.id,
        name: spec.name,
        vertices,
        edges: shape.edges,
        groups: shape.groups,
        topological: shape.topological,
        configuration: spec.configuration,
        config,
        digest,
    }
}

/// The job's options with the cluster's defaults of the day of its submission: what is stored, so that a
/// job does not change when the cluster's configuration does.
fn resolved(
    own: BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let of_jobs = |key: &str| {
        known_options()
            .iter()
            .any(|option| option.key == key && option.scope == Scope::Job)
    };
    let defaults = defaults.iter().filter(|(key, _)| of_jobs(key));
    let mut resolved: BTreeMap<_, _> = defaults
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    resolved.extend(own);
    resolved
}

/// 32 hex digits are the operator's id themselves, in the form that Flink shows; anything else is
/// hashed.
pub(crate) fn operator_id(id: &str) -> u128 {
    id.parse()
        .map_or_else(|_| xxh3_128(id.as_bytes()), |JobId(digits)| digits)
}

fn vertex_index(position: usize) -> VertexIndex {
    VertexIndex(u32::try_from(position).expect("a graph has few vertices"))
}

fn shown(name: &str) -> String {
    format!("`{}`", shortened(name))
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests;
