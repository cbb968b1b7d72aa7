//! The routes as an OpenAPI document, made from the table that the router is made from, and a page to try them.
//!
//! What an answer looks like is shown by an example, and its schema is that of the example: Flink's fields are those that
//! were recorded, so an answer may have more. The libraries for such documents want a type for each answer; ours are made
//! as JSON.

mod bodies;
mod parameters;
mod schema;

pub(super) use bodies::{BOUNDS, Body, CHECKPOINT, DISPOSAL, GRAPH, SAVEPOINT, STOP};
pub(super) use parameters::{
    AFTER, AGG, CHOSEN_JOBS, CHOSEN_SUBTASKS, GET, JOBS, LIMIT, LINES, LOG_AFTER, MAX_EXCEPTIONS,
    MODE, OFFSET, Query,
};

use super::Rest;
use super::routes::{Answer, Group, Route, groups};
use crate::security::Role;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderName};
use axum::response::{Html, IntoResponse};
use parameters::of_path;
use schema::schema_of;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const JSON: &str = "application/json";
/// OpenAPI's version with the schemas of JSON Schema 2020-12.
const VERSION: &str = "3.1.0";

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document_of(&groups(), true));
/// That of a server which lets everybody in.
static OPEN_DOCUMENT: LazyLock<Value> = LazyLock::new(|| document_of(&groups(), false));

/// `GET /openapi.json`: ours alone; Flink has a file of an earlier version in its documentation.
pub(super) async fn document(State(rest): State<Rest>) -> Json<&'static Value> {
    match rest.guard.asks_for_tokens() {
        true => Json(&DOCUMENT),
        false => Json(&OPEN_DOCUMENT),
    }
}

/// Nothing from anywhere else, and nothing sent elsewhere.
const ONLY_FROM_HERE: (HeaderName, &str) = (
    CONTENT_SECURITY_POLICY,
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
);

/// `GET /openapi`
pub(super) async fn page() -> impl IntoResponse {
    ([ONLY_FROM_HERE], Html(include_str!("page.html")))
}

fn document_of(groups: &[Group], needs_token: bool) -> Value {
    let mut paths = Map::new();
    for group in groups {
        for route in &group.routes {
            let path = paths.entry(route.path).or_insert_with(|| json!({}));
            let method = route.method.as_str().to_lowercase();
            path[method] = operation(group.name, route, needs_token);
        }
    }
    let tags = groups.iter().map(|group| json!({ "name": group.name }));
    json!({
        "openapi": VERSION,
        "info": {
            "title": "JobManager",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST interface of a JobManager. Times are in milliseconds since 1970, -1 is a number that is not known, ids are hex digits. Each answer in JSON has a weak ETag.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }, { "url": "/v1", "description": "The same, as Flink's clients ask" }],
        "tags": tags.collect::<Vec<Value>>(),
        "paths": paths,
        "components": {
            "responses": { "Problem": problem(), "Standby": standby() },
            "securitySchemes": { "token": token() },
        },
    })
}

fn operation(tag: &str, route: &Route, needs_token: bool) -> Value {
    let named = names_in(route.path).map(of_path);
    let asked = route.queries.iter().map(Query::json);
    let mut operation = json!({
        "tags": [tag],
        "operationId": operation_id(route),
        "summary": route.summary,
        "security": security(route.role, needs_token),
        "parameters": named.chain(asked).collect::<Vec<Value>>(),
        "responses": {
            route.answer.status.to_string(): answer(route),
            "307": { "$ref": "#/components/responses/Standby" },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    if let Some(body) = route.body {
        let content = json!({ "schema": (body.schema)(), "example": parsed(body.example) });
        operation["requestBody"] = json!({
            "required": body.is_required,
            "content": { JSON: content },
        });
    }
    operation
}

/// The least role that may ask; a token is one way of several if nobody needs one.
fn security(role: Role, needs_token: bool) -> Value {
    let token = json!({ "token": [role.to_string()] });
    match role {
        Role::Anybody => json!([]),
        Role::Viewer | Role::Operator | Role::Admin if needs_token => json!([token]),
        Role::Viewer | Role::Operator | Role::Admin => json!([{}, token]),
    }
}

/// The names in the braces of a path.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    let parts = path.split('/');
    parts.filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty()).collect::<Vec<_>>();
    format!(
        "{}_{}",
        route.method.as_str().to_lowercase(),
        words.join("_")
    )
}

fn answer(route: &Route) -> Value {
    let Answer {
        status,
        kind,
        example,
    } = route.answer;
    let description = match status {
        501 | 404 => "Not here, with the reason",
        202 => "Accepted, and durable",
        _ => "What is asked for",
    };
    json!({ "description": description, "content": content(kind, example) })
}

fn content(kind: &str, example: &str) -> Value {
    let content = match kind {
        JSON => {
            let example = parsed(example);
            json!({ "schema": schema_of(&example), "example": example })
        }
        _ => json!({ "schema": { "type": "string" }, "example": example }),
    };
    json!({ kind: content })
}

/// An example that is said to be JSON.
fn parsed(example: &str) -> Value {
    serde_json::from_str(example).expect("a test reads all of them")
}

fn problem() -> Value {
    let example = r#"{"errors": ["Job 7f33cc341a0ccd8f1312e04dd86817c3 not found"]}"#;
    json!({
        "description": "What is wrong; 4xx is the client's to change; 429, 503 and 504 may pass",
        "content": content(JSON, example),
    })
}

fn token() -> Value {
    json!({
        "type": "http",
        "scheme": "bearer",
        "description": "Asked for if security.rest.tokens or security.jwt.jwks is set; each operation names the least role that it takes",
    })
}

fn standby() -> Value {
    json!({
        "description": "This JobManager stands by; the leader is there",
        "headers": {
            "location": { "schema": { "type": "string", "format": "uri" } },
            "jobmanager-role": { "schema": { "const": "standby" } },
        },
    })
}

#[cfg(test)]
mod tests;
