//! How clients ask for another parallelism: in Flink's shapes, and ours for what Flink has not.

use crate::support::{Running, job};
use serde_json::{Value, json};

const CHECKPOINTS: &str = r#""configuration": {"execution.checkpointing.interval": "100 ms"}"#;

/// A job that waits for slots.
struct Waiting {
    running: Running,
    id: String,
    path: String,
    /// The ids of its vertices, in the order of the graph.
    vertices: Vec<String>,
}

impl Waiting {
    async fn start(folder: &std::path::Path, more: &str) -> Waiting {
        let running = Running::start(folder, &[]).await;
        let (status, accepted) = running.request("POST", "/jobs", job(more)).await;
        assert_eq!(status, 202, "{accepted}");
        let id = accepted["jobid"].as_str().unwrap().to_owned();
        let details = running.get(&format!("/jobs/{id}")).await;
        let vertices = details["vertices"].as_array().unwrap().iter();
        let hex = |vertex: &Value| vertex["id"].as_str().unwrap().to_owned();
        let path = format!("/jobs/{id}/resource-requirements");
        Waiting {
            running,
            path,
            vertices: vertices.map(hex).collect(),
            id,
        }
    }

    /// A body that gives the first vertices these bounds.
    fn bounds(&self, bounds: &[(i64, i64)]) -> Value {
        let mut body = json!({});
        for (vertex, (lower, upper)) in self.vertices.iter().zip(bounds) {
            body[vertex] = json!({"parallelism": {"lowerBound": lower, "upperBound": upper}});
        }
        body
    }

    async fn ask(&self, method: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        self.running.request(method, &self.path, body).await
    }

    /// What is wrong with a request.
    async fn refused(&self, method: &str, body: &Value) -> (u16, Vec<String>) {
        let before = self.running.get(&self.path).await;
        let (status, answer) = self.ask(method, body).await;
        assert_eq!(self.running.get(&self.path).await, before, "{answer}");
        let errors = answer["errors"].as_array().unwrap().iter();
        let text = |error: &Value| error.as_str().unwrap().to_owned();
        (status, errors.map(text).collect())
    }
}

#[tokio::test]
async fn a_wish_for_another_parallelism_is_durable_once_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let job = Waiting::start(folder.path(), CHECKPOINTS).await;
    let running = &job.running;
    assert_eq!(running.get(&job.path).await, job.bounds(&[(2, 2), (2, 2)]));
    let put = job.bounds(&[(1, 4), (3, 3)]);
    assert_eq!(job.ask("PUT", &put).await, (200, json!({})));
    assert_eq!(running.get(&job.path).await, put);
    let one = json!({ job.vertices[1].to_uppercase():
        {"parallelism": {"lowerBound": 2, "upperBound": 5}} });
    assert_eq!(job.ask("PATCH", &one).await, (200, json!({})));
    job.running.stop().await;

    let running = Running::start(folder.path(), &[]).await;
    let both = running.get(&job.path).await;
    let own = running.get(&format!("/jobs/{}/parallelism", job.id)).await;
    let path = format!("/v1{}", job.path);
    let again = running.request("PUT", &path, both.to_string()).await;
    assert_eq!(again, (200, json!({})), "what was read may be written");
    running.stop().await;
    let line = |vertex: usize, id: &str, name: &str, lower, upper| {
        json!({
            "id": job.vertices[vertex], "graph-id": id, "name": name, "parallelism": 2,
            "maxParallelism": 128, "lowerBound": lower, "upperBound": upper,
        })
    };
    assert_eq!(
        own["vertices"],
        json!([line(0, "from", "from", 1, 4), line(1, "to", "a <b>", 2, 5)])
    );
    assert_eq!(own["changing"], false);
}

#[tokio::test]
async fn whoever_sends_back_what_was_read_with_a_smaller_upper_bound_gets_that() {
    let folder = tempfile::tempdir().unwrap();
    let job = Waiting::start(folder.path(), CHECKPOINTS).await;
    let read = job.bounds(&[(2, 1), (2, 2)]);
    assert_eq!(job.ask("PUT", &read).await.0, 200);
    let wanted = job.bounds(&[(1, 1), (2, 2)]);
    assert_eq!(job.running.get(&job.path).await, wanted);
    // One that changes the lower bound, too, means what it says.
    let (status, errors) = job.refused("PUT", &job.bounds(&[(3, 2), (2, 2)])).await;
    assert_eq!(status, 400);
    assert!(errors[0].contains("not 3..2"), "{errors:?}");
    job.running.stop().await;
}

#[tokio::test]
async fn every_mistake_in_a_wish_is_told_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let job = Waiting::start(folder.path(), CHECKPOINTS).await;
    let missing = |vertex: usize| {
        let id = &job.vertices[vertex];
        format!("The request is incomplete, missing job vertex [{id}] resource requirements.")
    };
    let (status, errors) = job.refused("PUT", &json!({})).await;
    assert_eq!(status, 400);
    assert_eq!(errors, [format!("{}\n{}", missing(0), missing(1))]);
    let (_, errors) = job.refused("PUT", &job.bounds(&[(1, 1)])).await;
    assert_eq!(errors, [missing(1)]);

    let range = json!({"parallelism": {"lowerBound": 1, "upperBound": 1}});
    let unknown = "0123456789abcdef0123456789abcdef";
    for (body, words) in [
        (job.bounds(&[(0, 1)]), "not 0..1"),
        (job.bounds(&[(3, 2)]), "not 3..2"),
        (
            job.bounds(&[(1, 129)]),
            "129 is more than the vertex's maxParallelism, which is 128",
        ),
        (job.bounds(&[(-1, 1)]), "the body is not as expected"),
        (
            json!({ unknown: range }),
            "[0123456789abcdef0123456789abcdef] was not found",
        ),
        (json!({ "from": range }), "`from` is not the id of a vertex"),
        (json!([]), "the body is not as expected"),
        (json!({ unknown: {} }), "missing field `parallelism`"),
    ] {
        let (status, errors) = job.refused("PATCH", &body).await;
        assert_eq!(status, 400, "{body}");
        let is_told = errors.iter().any(|error| error.contains(words));
        assert!(is_told, "{body}: {errors:?}");
    }
    job.running.stop().await;
}

#[tokio::test]
async fn a_job_that_cannot_have_another_parallelism_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let job = Waiting::start(folder.path(), "").await;
    let body = job.bounds(&[(1, 1), (1, 1)]);
    let (status, errors) = job.refused("PUT", &body).await;
    assert_eq!(status, 409);
    assert!(errors[0].contains("takes no checkpoints"), "{errors:?}");
    let cancel = format!("/jobs/{}", job.id);
    let running = &job.running;
    assert_eq!(running.request("PATCH", &cancel, "").await.0, 202);
    let ended = |value: &Value| value["state"] == "CANCELED";
    running.until(&cancel, ended).await;
    let other = job
        .path
        .replace(&job.id, "00000000000000000000000000000001");
    for method in ["GET", "PUT", "PATCH"] {
        let (status, answer) = running.request(method, &job.path, body.to_string()).await;
        assert_eq!(status, 409, "{answer}");
        assert!(answer.to_string().contains("CANCELED"), "{answer}");
        let (status, answer) = running.request(method, &other, body.to_string()).await;
        assert_eq!(status, 404, "{answer}");
    }
    job.running.stop().await;
}
