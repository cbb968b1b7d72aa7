//! How many subtasks the vertices of a job have, and are to have.
//!
//! What is to be comes in the shape of Flink's resource requirements, by which each vertex has a lower and an upper
//! bound. Whether bounds make sense is the coordinator's to say; here vertices are found by their ids.

use super::body::{Object, read_json};
use super::commands::{STORE_PATIENCE, failure, order};
use super::error::{Answer, Failure};
use super::path::parse_vertex;
use super::{JobOf, Rest, hex, job_not_found};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use jobmanager_core::id::JobId;
use jobmanager_core::jobmanager::{
    Command, Coordinator, JobDetails, JobSummary, Parallelism, Reply, VertexDetails,
    VertexParallelism,
};
use jobmanager_core::record::Bounds;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The body of a change: by the 128-bit ids of vertices.
type Requirements = BTreeMap<String, Object<Requirement>>;

/// What one vertex is to have.
#[derive(Debug, Clone, Deserialize)]
struct Requirement {
    parallelism: Object<Range>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    lower_bound: u32,
    upper_bound: u32,
}

/// `GET /jobs/:id/parallelism`: ours alone; Flink tells no client why a job is not rescaled.
pub(super) async fn shown(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let (details, parallelism) = look(&rest, job).await?;
    let vertices = details.vertices.iter().zip(&parallelism.vertices);
    let line = |(details, vertex): (&VertexDetails, &VertexParallelism)| {
        json!({
            "id": hex(vertex.operator_id),
            "graph-id": vertex.id,
            "name": details.name,
            "parallelism": vertex.current,
            "maxParallelism": details.max_parallelism,
            "lowerBound": vertex.bounds.lower,
            "upperBound": vertex.bounds.upper,
        })
    };
    Ok(Json(json!({
        "changing": parallelism.is_changing,
        "problem": parallelism.problem,
        "vertices": vertices.map(line).collect::<Vec<Value>>(),
    })))
}

/// `GET /jobs/:id/resource-requirements`
pub(super) async fn requirements(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let (_, parallelism) = look(&rest, job).await?;
    let of_vertex = |vertex: &VertexParallelism| {
        let Bounds { lower, upper } = vertex.bounds;
        let range = json!({ "lowerBound": lower, "upperBound": upper });
        (hex(vertex.operator_id), json!({ "parallelism": range }))
    };
    let all: Map<String, Value> = parallelism.vertices.iter().map(of_vertex).collect();
    Ok(Json(all.into()))
}

/// `PUT /jobs/:id/resource-requirements`: of every vertex.
pub(super) async fn set(State(rest): State<Rest>, JobOf(job): JobOf, body: Body) -> Answer {
    let wanted: Requirements = read_json(body).await?;
    let (_, now) = look(&rest, job).await?;
    let mut problems = Vec::from_iter(incomplete(&wanted, &now));
    let mut bounds = bounds_of(wanted, &now, &mut problems);
    for vertex in &now.vertices {
        // Flink's dashboard sends back all bounds as it has read them, but for upper ones: such a one may be below a
        // lower one that it does not show.
        let bounds = bounds.get_mut(&vertex.id);
        if let Some(bounds) = bounds.filter(|it| it.lower == vertex.bounds.lower) {
            bounds.lower = bounds.lower.min(bounds.upper);
        }
    }
    rescale(&rest, job, bounds, problems).await
}

/// `PATCH /jobs/:id/resource-requirements`: of some vertices. Ours alone.
pub(super) async fn change(State(rest): State<Rest>, JobOf(job): JobOf, body: Body) -> Answer {
    let wanted: Requirements = read_json(body).await?;
    let (_, now) = look(&rest, job).await?;
    let mut problems = Vec::new();
    let bounds = bounds_of(wanted, &now, &mut problems);
    rescale(&rest, job, bounds, problems).await
}

async fn rescale(
    rest: &Rest,
    job: JobId,
    bounds: BTreeMap<String, Bounds>,
    problems: Vec<String>,
) -> Answer {
    if !problems.is_empty() {
        return Err(Failure::bad_body(problems));
    }
    let command = Command::Rescale { job, bounds };
    let reply = order(rest, command, STORE_PATIENCE).await?;
    let Reply::RescaleAccepted(_) = reply else {
        return Err(failure(reply));
    };
    Ok(Json(json!({})))
}

/// A job that has not ended.
async fn look(rest: &Rest, job: JobId) -> Result<(JobDetails, Parallelism), Failure> {
    let view = move |coordinator: &Coordinator, _| {
        Some((coordinator.job(job)?, coordinator.parallelism(job)))
    };
    let (details, parallelism) = rest.find(|| job_not_found(job), view).await?;
    let JobSummary { id, status, .. } = details.summary;
    match parallelism.filter(|_| !status.is_terminal()) {
        Some(parallelism) => Ok((details, parallelism)),
        None => Err(failure(Reply::AlreadyEnded(id, status))),
    }
}

/// In Flink's words, which vertices a body does not name that has to name all of them.
fn incomplete(wanted: &Requirements, now: &Parallelism) -> Option<String> {
    let ids = now.vertices.iter().map(|vertex| hex(vertex.operator_id));
    let is_named = |id: &String| wanted.keys().any(|key| key.eq_ignore_ascii_case(id));
    let missing = ids.filter(|id| !is_named(id)).map(|id| {
        format!("The request is incomplete, missing job vertex [{id}] resource requirements.")
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("\n"))
}

/// By the ids of the job's graph.
fn bounds_of(
    wanted: Requirements,
    now: &Parallelism,
    problems: &mut Vec<String>,
) -> BTreeMap<String, Bounds> {
    let mut bounds = BTreeMap::new();
    for (text, Object(requirement)) in wanted {
        let Object(range) = requirement.parallelism;
        let id = match parse_vertex(&text) {
            Ok(id) => id,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let mut vertices = now.vertices.iter();
        match vertices.find(|vertex| vertex.operator_id == id) {
            None => problems.push(format!(
                "Job vertex [{}] was not found in the JobGraph.",
                hex(id)
            )),
            Some(vertex) => drop(bounds.insert(
                vertex.id.clone(),
                Bounds {
                    lower: range.lower_bound,
                    upper: range.upper_bound,
                },
            )),
        }
    }
    bounds
}
