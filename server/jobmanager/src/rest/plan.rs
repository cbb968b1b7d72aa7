//! The plan of a job: its vertices and how they are connected.

use super::error::Answer;
use super::{JobOf, Rest, hex, job_not_found};
use axum::Json;
use axum::extract::State;
use jobmanager_core::graph::{JobEdge, JobGraph};
use jobmanager_core::id::VertexIndex;
use jobmanager_core::jobmanager::{Coordinator, JobDetails, VertexDetails};
use serde_json::{Value, json};

/// `GET /jobs/:id/plan`
pub(super) async fn plan(State(rest): State<Rest>, JobOf(job): JobOf) -> Answer {
    let view = move |coordinator: &Coordinator, _| coordinator.job(job);
    let details = rest.find(|| job_not_found(job), view).await?;
    Ok(Json(json!({ "plan": plan_json(&details) })))
}

/// The plan, consumers first. The edges of a job that has ended are not kept: its vertices stand alone.
pub(super) fn plan_json(job: &JobDetails) -> Value {
    let nodes: Vec<Value> = match &job.graph {
        None => {
            let vertices = job.vertices.iter().rev();
            vertices
                .map(|vertex| node_json(vertex, Vec::new()))
                .collect()
        }
        Some(graph) => {
            let node = |index: &VertexIndex| {
                let vertex = &job.vertices[index.0 as usize];
                node_json(vertex, inputs_json(graph, *index))
            };
            graph.topological().iter().rev().map(node).collect()
        }
    };
    json!({
        "jid": job.summary.id.to_string(),
        "name": job.summary.name,
        "type": "STREAMING",
        "nodes": nodes,
    })
}

fn node_json(vertex: &VertexDetails, inputs: Vec<Value>) -> Value {
    let mut node = json!({
        "id": hex(vertex.operator_id),
        "operator": "",
        "parallelism": vertex.parallelism,
        "operator_strategy": "",
        "description": format!("{}<br/>", escape(&vertex.name)),
        "optimizer_properties": {},
    });
    if !inputs.is_empty() {
        node["inputs"] = inputs.into();
    }
    node
}

/// A description is HTML, a name is anything.
fn escape(name: &str) -> String {
    name.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn inputs_json(graph: &JobGraph, target: VertexIndex) -> Vec<Value> {
    let edges = graph.edges().iter().filter(|edge| edge.target == target);
    edges
        .enumerate()
        .map(|(num, edge)| input_json(graph, num, edge))
        .collect()
}

fn input_json(graph: &JobGraph, num: usize, edge: &JobEdge) -> Value {
    let source = &graph.vertices()[edge.source.0 as usize];
    json!({
        "id": hex(source.operator_id),
        "num": num,
        "exchange": "pipelined_bounded",
        "ship_strategy": edge.partitioning.name().to_uppercase(),
    })
}
