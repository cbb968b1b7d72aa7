//! The document is one of OpenAPI 3.1, as far as its structure tells, and has every route.

#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::BTreeSet;

/// Every operation: its path, its method and itself.
fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let methods = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    methods.collect()
}

#[test]
fn every_route_is_described_once() {
    let groups = groups();
    let routes: Vec<&Route> = groups.iter().flat_map(|group| &group.routes).collect();
    let key = |route: &&Route| (route.path, route.method.as_str().to_lowercase());
    let of_table: BTreeSet<_> = routes.iter().map(key).collect();
    assert_eq!(of_table.len(), routes.len(), "a route is there twice");
    let of_document = operations();
    let described = of_document
        .iter()
        .map(|(path, method, _)| (*path, (*method).to_owned()));
    assert_eq!(described.collect::<BTreeSet<_>>(), of_table);
    let ids: BTreeSet<&str> = of_document
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), routes.len(), "an operationId is there twice");
}

#[test]
fn every_operation_names_its_parameters_and_shows_an_answer() {
    for (path, method, operation) in operations() {
        let words = operation["summary"].as_str().unwrap();
        assert!(
            words.len() > 5 && !words.ends_with('.'),
            "{method} {path}: {words}"
        );
        let parameters = operation["parameters"].as_array().unwrap();
        let of = |place: &str| -> Vec<&str> {
            let here = parameters.iter().filter(|it| it["in"] == place);
            here.map(|it| it["name"].as_str().unwrap()).collect()
        };
        assert_eq!(of("path"), names_in(path).collect::<Vec<_>>(), "{path}");
        let queries: BTreeSet<_> = of("query").into_iter().collect();
        assert_eq!(queries.len(), of("query").len(), "{path}");
        for parameter in parameters {
            assert!(parameter["schema"]["type"].is_string(), "{parameter}");
            assert!(!parameter["example"].is_null(), "{parameter}");
            assert_eq!(parameter["in"] == "path", parameter["required"] == true);
        }
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            let target = response["$ref"].as_str().map_or(response, |reference| {
                let found = DOCUMENT.pointer(reference.strip_prefix('#').unwrap());
                found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
            });
            assert!(target["description"].is_string(), "{path} {status}");
        }
        let own = responses
            .keys()
            .filter(|status| !["307", "default"].contains(&status.as_str()));
        assert_eq!(own.count(), 1, "{method} {path}");
        assert!(
            method != "get" || operation["requestBody"].is_null(),
            "{path}"
        );
    }
}

#[test]
fn an_example_that_is_said_to_be_json_is() {
    for group in groups() {
        for route in group.routes {
            let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
            let answer = route.answer;
            assert!(
                answer.kind != "application/json" || is_json(answer.example),
                "{}",
                route.path
            );
            assert!(
                route.body.is_none_or(|body| is_json(body.example)),
                "{}",
                route.path
            );
        }
    }
}

#[test]
fn the_page_asks_nobody_else() {
    let page = include_str!("page.html");
    assert!(!page.contains("http://") && !page.contains("https://"));
    for part in ["src=", "href=\"h", "@import", "url("] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
}
