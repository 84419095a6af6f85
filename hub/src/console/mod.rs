//! The operators' page: plain HTML, CSS and JavaScript, carried by the program, without a build step.
//!
//! The page itself is the same for everyone and holds nothing; it asks for name and PIN and reads the
//! API with them. Whatever it shows came from devices and other systems, so it is set as text, never as HTML.

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// Only the page's own files, no inline script, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = include_str!("assets/index.html");
const CSS: &str = include_str!("assets/console.css");
const API_JS: &str = include_str!("assets/api.js");
const PAINT_JS: &str = include_str!("assets/paint.js");
const VIEWS_JS: &str = include_str!("assets/views.js");
const CONSOLE_JS: &str = include_str!("assets/console.js");

/// The page and its files.
pub fn router() -> Router {
    Router::new()
        .route("/", get(|| async { asset(HTML, "text/html; charset=utf-8") }))
        // Browsers ask for it unbidden; a 404 there would look like a fault of the page.
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route("/console/console.css", get(|| async { asset(CSS, "text/css; charset=utf-8") }))
        .route("/console/api.js", get(|| async { asset(API_JS, "text/javascript; charset=utf-8") }))
        .route("/console/paint.js", get(|| async { asset(PAINT_JS, "text/javascript; charset=utf-8") }))
        .route("/console/views.js", get(|| async { asset(VIEWS_JS, "text/javascript; charset=utf-8") }))
        .route("/console/console.js", get(|| async { asset(CONSOLE_JS, "text/javascript; charset=utf-8") }))
}

fn asset(body: &'static str, kind: &'static str) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // The files change with the program; a stale script over a new API would be worse than a short wait.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_sent_never_becomes_html() {
        for script in [API_JS, PAINT_JS, VIEWS_JS, CONSOLE_JS] {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!script.contains(way), "{way}");
            }
        }
        assert!(!HTML.contains("<script>") && !HTML.contains("style=") && !HTML.contains("onclick"));
    }
}
