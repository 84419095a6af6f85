//! The operators' page: plain HTML, CSS and JavaScript, carried by the program, without a build step.
//!
//! The page itself is the same for everyone and holds nothing; it asks for name and PIN and reads the
//! API with them. Whatever it shows came from devices and other systems, so it is set as text, never as HTML.

#[cfg(test)]
mod cards;

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

    /// Each text between `before` and `after`.
    fn between<'a>(text: &'a str, before: &str, after: char) -> Vec<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split_once(after)).map(|(found, _)| found).collect()
    }

    #[test]
    fn the_scripts_name_only_what_the_page_has() {
        let ids: Vec<_> = between(HTML, " id=\"", '"');
        let named: Vec<_> = between(CONSOLE_JS, "byId(\"", '"');
        assert!(named.len() > 40);
        for name in named.into_iter().chain(between(CONSOLE_JS, "some(\"", '"')) {
            assert!(ids.contains(&name), "{name}");
        }
    }

    #[tokio::test]
    async fn every_file_the_page_asks_for_is_served_from_here_under_the_policy() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router()).await });
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut asked = vec!["/".to_owned()];
        asked.extend(
            [" href=\"/", " src=\"/"].iter().flat_map(|at| between(HTML, at, '"')).map(|path| format!("/{path}")),
        );
        for script in [API_JS, PAINT_JS, VIEWS_JS, CONSOLE_JS] {
            asked.extend(between(script, "from \"./", '"').into_iter().map(|file| format!("/console/{file}")));
        }
        assert!(asked.len() > 5, "{asked:?}");
        for path in asked {
            let answer = http.get(format!("http://{address}{path}")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(answer.headers()[header::CONTENT_SECURITY_POLICY], POLICY, "{path}");
        }
        assert!(!POLICY.contains("unsafe") && !POLICY.contains("http"));
    }
}
