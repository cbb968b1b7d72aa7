//! The REST interface of one JobManager, as a user sees it.

use crate::process::wait_for;
use serde_json::Value;
use std::time::Duration;
use ureq::Body;
use ureq::http::{Request, Response};

/// A client that does not wait long: a JobManager that was killed is asked again.
pub(crate) struct Rest {
    pub(crate) address: String,
    agent: ureq::Agent,
}

impl Rest {
    pub(crate) fn new(address: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(10)))
            .build()
            .new_agent();
        let address = address.to_owned();
        Rest { address, agent }
    }

    /// The status and the answer; `None` if nobody answers.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("connection", "close")
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        let mut response = self.agent.run(request).ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        let json = serde_json::from_str(&text);
        let json = json.unwrap_or_else(|problem| panic!("{path}: {problem} in {text}"));
        Some((response.status().as_u16(), json))
    }

    /// The answer of a JobManager that is there.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, json) = wait_for(path, || self.ask("GET", path, b""));
        assert_eq!(status, 200, "{path}: {json}");
        json
    }

    /// Where a JobManager that stands by sends a request.
    pub(crate) fn redirect(&self, path: &str) -> String {
        let uri = format!("{}{path}", self.address);
        let response = self.agent.get(uri).call().unwrap();
        let location = &response.headers()["location"];
        location.to_str().unwrap().to_owned()
    }

    /// An answer that is not JSON.
    pub(crate) fn text(&self, path: &str) -> String {
        let mut response = self.fetch(path);
        response.body_mut().read_to_string().unwrap()
    }

    fn fetch(&self, path: &str) -> Response<Body> {
        let uri = format!("{}{path}", self.address);
        let response = self.agent.get(uri).call().unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response
    }

    /// A file: what its name is said to be, and its bytes.
    pub(crate) fn download(&self, path: &str) -> (String, Vec<u8>) {
        let mut response = self.fetch(path);
        let name = response.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.body_mut().with_config().limit(1 << 30);
        (name, body.read_to_vec().unwrap())
    }

    /// Submits a job; gives its id.
    pub(crate) fn submit(&self, job: &Value) -> String {
        let body = job.to_string();
        let (status, answer) = self.ask("POST", "/jobs", body.as_bytes()).unwrap();
        assert_eq!(status, 202, "{answer}");
        let url = answer["jobUrl"].as_str().unwrap();
        url.strip_prefix("/jobs/").unwrap().to_owned()
    }

    pub(crate) fn state(&self, job: &str) -> String {
        let answer = self.get(&format!("/jobs/{job}"));
        answer["state"].as_str().unwrap().to_owned()
    }

    /// Waits until the job is in this state. A job that has ended otherwise fails the test.
    pub(crate) fn wait_for_state(&self, job: &str, wanted: &str) {
        wait_for(&format!("job {job} to be {wanted}"), || {
            let state = self.state(job);
            let ended = ["FINISHED", "FAILED", "CANCELED"].contains(&state.as_str());
            assert!(
                !ended || state == wanted,
                "the job is {state}: {}",
                self.get(&format!("/jobs/{job}/exceptions"))
            );
            (state == wanted).then_some(())
        });
    }

    /// Waits until every task of the job runs.
    pub(crate) fn wait_for_all_running(&self, job: &str) {
        wait_for("all tasks to run", || {
            let answer = self.get(&format!("/jobs/{job}"));
            let vertices = answer["vertices"].as_array().unwrap();
            let all = vertices
                .iter()
                .all(|v| v["tasks"]["RUNNING"] == v["parallelism"]);
            (all && answer["state"] == "RUNNING").then_some(())
        });
    }

    pub(crate) fn checkpoints(&self, job: &str) -> Value {
        self.get(&format!("/jobs/{job}/checkpoints"))
    }

    /// One of the checkpoint counts: completed, failed, in_progress, restored.
    pub(crate) fn checkpoint_count(&self, job: &str, which: &str) -> u64 {
        self.checkpoints(job)["counts"][which].as_u64().unwrap()
    }

    /// The id of the latest completed checkpoint; 0 if there is none.
    pub(crate) fn latest_checkpoint(&self, job: &str) -> u64 {
        let latest = &self.checkpoints(job)["latest"]["completed"];
        latest["id"].as_u64().unwrap_or(0)
    }

    /// Waits until a checkpoint has completed that is newer than the newest one now.
    pub(crate) fn wait_for_new_checkpoint(&self, job: &str) {
        let before = self.latest_checkpoint(job);
        wait_for("a new checkpoint", || {
            (self.latest_checkpoint(job) > before).then_some(())
        });
    }

    /// Asks for a savepoint in one of the ways there are; gives the path of its status.
    pub(crate) fn trigger(&self, job: &str, how: &str, body: &Value) -> String {
        let path = format!("/jobs/{job}/{how}");
        let (status, answer) = self
            .ask("POST", &path, body.to_string().as_bytes())
            .unwrap();
        assert_eq!(status, 202, "{answer}");
        let trigger = answer["request-id"].as_str().unwrap();
        format!("/jobs/{job}/savepoints/{trigger}")
    }

    /// Waits for what comes of a savepoint: its location, or the words of its failure.
    pub(crate) fn outcome(&self, path: &str) -> Result<String, String> {
        let operation = wait_for("the outcome of a savepoint", || {
            let answer = self.get(path);
            let completed = answer["status"]["id"] == "COMPLETED";
            completed.then(|| answer["operation"].clone())
        });
        match operation["location"].as_str() {
            Some(location) => Ok(location.to_owned()),
            None => Err(operation["failure-cause"]["stack-trace"].to_string()),
        }
    }

    /// What the job's failures say, all in one text.
    pub(crate) fn failures(&self, job: &str) -> String {
        let answer = self.get(&format!("/jobs/{job}/exceptions"));
        answer["exceptionHistory"]["entries"].to_string()
    }
}
