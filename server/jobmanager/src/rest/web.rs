//! A web dashboard, served where no route is: the project's own, whose files are in this program, or the files of a
//! folder, such as Flink's.
//!
//! The own one is built by `npm run build` in `server/dashboard`, and what was built is committed: nobody needs npm to
//! build or run a JobManager. Its files are few and have fixed names, and a tag by which a browser asks whether they
//! are still so.

use super::tag::names;
use super::{Rest, not_found, wrong_method};
use axum::Router;
use axum::handler::HandlerWithoutStateExt;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jobmanager_core::digest::Digest;
use std::path::Path;
use tower_http::services::ServeDir;

/// A file of the project's own dashboard.
#[derive(Debug, Clone, Copy)]
struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! asset {
    ($path:literal, $name:literal, $kind:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../dashboard/dist/",
                $name
            )),
        }
    };
}

/// All of them.
static ASSETS: [Asset; 6] = [
    asset!("/", "index.html", "text/html; charset=utf-8"),
    asset!(
        "/dashboard.js",
        "dashboard.js",
        "text/javascript; charset=utf-8"
    ),
    asset!("/layout.js", "layout.js", "text/javascript; charset=utf-8"),
    asset!("/dashboard.css", "dashboard.css", "text/css; charset=utf-8"),
    asset!("/favicon.svg", "favicon.svg", "image/svg+xml"),
    asset!("/licenses.txt", "licenses.txt", "text/plain; charset=utf-8"),
];

/// The page takes nothing from anywhere else, sends nothing elsewhere, and is shown in no other page.
const ONLY_FROM_HERE: &str = "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; worker-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds `GET /` and the other files of the project's own dashboard.
pub(super) fn with_own(router: Router<Rest>) -> Router<Rest> {
    let add = |router: Router<Rest>, asset: &'static Asset| {
        let tag = format!("W/\"{:016x}\"", Digest::of(asset.text));
        let handler = async move |headers: HeaderMap| asset.answer(&tag, &headers);
        router.route(asset.path, get(handler).fallback(wrong_method))
    };
    ASSETS.iter().fold(router, add).fallback(not_found)
}

impl Asset {
    fn answer(&self, tag: &str, asked: &HeaderMap) -> Response {
        let head = [(ETAG, tag), (CACHE_CONTROL, "no-cache")];
        let known = asked.get(IF_NONE_MATCH);
        if known.is_some_and(|known| names(known, tag)) {
            return (StatusCode::NOT_MODIFIED, head).into_response();
        }
        let about = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, ONLY_FROM_HERE),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (head, about, self.text).into_response()
    }
}

/// Adds `GET /…`: a file of the folder, or `index.html` for the folder itself. What is not there is not found like
/// any other path.
pub(super) fn with_files(router: Router<Rest>, folder: &Path) -> Router<Rest> {
    let files = ServeDir::new(folder).call_fallback_on_method_not_allowed(true);
    router.fallback_service(files.fallback(not_found.into_service()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_that_was_built_is_served_and_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboard/dist");
        let built = std::fs::read_dir(folder).unwrap();
        let built = built.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let served = ASSETS.iter().map(|asset| match asset.path {
            "/" => "index.html".to_owned(),
            path => path.trim_start_matches('/').to_owned(),
        });
        assert_eq!(built.collect::<BTreeSet<_>>(), served.collect());
    }

    #[test]
    fn the_page_names_no_other_place() {
        for asset in ASSETS.iter().filter(|asset| asset.path != "/licenses.txt") {
            // The names of vocabularies are no places: nobody asks for them.
            let text = asset.text.replace("http://www.w3.org/", "");
            for scheme in ["http://", "https://", "@import"] {
                assert!(!text.contains(scheme), "{} says {scheme}", asset.path);
            }
        }
    }
}
