//! The files of a web dashboard, served where no route is: Flink's own, which asks for everything by the routes beside
//! it, or any other one.

use super::{Rest, not_found};
use axum::Router;
use axum::handler::HandlerWithoutStateExt;
use std::path::Path;
use tower_http::services::ServeDir;

/// Adds `GET /…`: a file of the folder, or `index.html` for the folder itself. What is not there is not found like
/// any other path.
pub(super) fn with_files(router: Router<Rest>, folder: &Path) -> Router<Rest> {
    let files = ServeDir::new(folder).call_fallback_on_method_not_allowed(true);
    router.fallback_service(files.fallback(not_found.into_service()))
}
