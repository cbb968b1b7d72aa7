//! Every route: Flink's, in the order of its documentation, and ours, each with what there is to say of it.
//!
//! One table makes both the router and the document of [`super::openapi`], so no route is without a description and
//! nothing is described that is not there. None is without a role, either.

mod checkpoints;
mod cluster;
mod jobs;
mod refused;
mod taskmanagers;
mod vertices;

use super::access::Access;
use super::openapi::{Body, Query};
use super::{Rest, access};
use crate::security::{Guard, Role};
use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, on};

/// A recorded answer of Flink, whose shape ours has.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/flink-2.3.0/",
            $name,
            ".json"
        ))
    };
}
use recorded;

/// A route.
pub(super) struct Route {
    pub(super) method: Method,
    /// As axum has it: what is in braces names something.
    pub(super) path: &'static str,
    handler: MethodRouter<Rest>,
    /// Who may ask for it.
    pub(super) role: Role,
    /// Whether it does something, or shows what nobody should see unnoticed: then the log tells who asked.
    is_command: bool,
    /// What it is for, in a line.
    pub(super) summary: &'static str,
    pub(super) queries: &'static [Query],
    pub(super) body: Option<Body>,
    pub(super) answer: Answer,
}

/// What comes of a request in which nothing is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The type of its content.
    pub(super) kind: &'static str,
    pub(super) example: &'static str,
}

const JSON: &str = "application/json";
const LOG: &str =
    "2026-01-01T00:00:00.000000Z  INFO ready rest=127.0.0.1:8081 rpc=127.0.0.1:6123\n";
/// What is answered to a wish that goes on after the answer.
const TRIGGERED: &str = r#"{"request-id": "0123456789abcdef0123456789abcdef"}"#;

/// Routes about one thing.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) routes: Vec<Route>,
}

pub(super) fn groups() -> [Group; 6] {
    let group = |name, routes| Group { name, routes };
    [
        group("Cluster", cluster::routes()),
        group("Jobs", jobs::routes()),
        group("Checkpoints and savepoints", checkpoints::routes()),
        group("Vertices and subtasks", vertices::routes()),
        group("TaskManagers", taskmanagers::routes()),
        group("What is not here", refused::routes()),
    ]
}

/// The routes, behind what lets clients in.
pub(super) fn router(guard: &Guard) -> Router<Rest> {
    let routes = groups().into_iter().flat_map(|group| group.routes);
    routes.fold(Router::new(), |router, route| {
        let access = Access {
            guard: guard.clone(),
            role: route.role,
            is_command: route.is_command,
            action: format!("{} {}", route.method, route.path),
        };
        let checked = from_fn_with_state(access, access::check);
        router.route(route.path, route.handler.route_layer(checked))
    })
}

fn route<H: Handler<T, Rest>, T: 'static>(
    role: Role,
    (filter, method): (MethodFilter, Method),
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    Route {
        method,
        path,
        handler: on(filter, handler),
        role,
        is_command: role >= Role::Operator,
        summary,
        queries: &[],
        body: None,
        answer: Answer {
            status: 200,
            kind: JSON,
            example: "{}",
        },
    }
}

fn get<H: Handler<T, Rest>, T: 'static>(
    role: Role,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    let methods = (MethodFilter::GET, Method::GET);
    route(role, methods, path, handler, summary)
}

fn post<H: Handler<T, Rest>, T: 'static>(
    role: Role,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    let methods = (MethodFilter::POST, Method::POST);
    route(role, methods, path, handler, summary)
}

fn patch<H: Handler<T, Rest>, T: 'static>(
    role: Role,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    let methods = (MethodFilter::PATCH, Method::PATCH);
    route(role, methods, path, handler, summary)
}

fn put<H: Handler<T, Rest>, T: 'static>(
    role: Role,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    let methods = (MethodFilter::PUT, Method::PUT);
    route(role, methods, path, handler, summary)
}

fn delete<H: Handler<T, Rest>, T: 'static>(
    role: Role,
    path: &'static str,
    handler: H,
    summary: &'static str,
) -> Route {
    let methods = (MethodFilter::DELETE, Method::DELETE);
    route(role, methods, path, handler, summary)
}

impl Route {
    /// What may stand behind the `?`.
    fn asks(self, queries: &'static [Query]) -> Route {
        Route { queries, ..self }
    }

    /// What is sent.
    fn takes(self, body: Body) -> Route {
        let body = Some(body);
        Route { body, ..self }
    }

    /// What comes back, by an example.
    fn gives(mut self, example: &'static str) -> Route {
        self.answer.example = example;
        self
    }

    /// What comes back if it is not JSON.
    fn gives_text(mut self, kind: &'static str, example: &'static str) -> Route {
        (self.answer.kind, self.answer.example) = (kind, example);
        self
    }

    /// Nothing is done by it, and nobody has to know who asked: those who follow a log would fill it.
    fn view(mut self) -> Route {
        self.is_command = false;
        self
    }

    /// With which status, if it is not 200.
    fn with(mut self, status: u16) -> Route {
        self.answer.status = status;
        self
    }
}
