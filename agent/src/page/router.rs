//! Which path shows what.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::{App, Problem, board, live::live, metrics::metrics, taps};
use crate::meters::TurnedAway;

/// Most bytes of a request's body.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// Most bytes of a request that brings rules: a bundle, written as JSON.
const RULES_MAX_BYTES: usize = 2 * gatehouse_common::bundle::BUNDLE_MAX_BYTES;
/// Nothing from elsewhere, nothing inside the text: the page's own files only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                                       img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's paths.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(|| asset("text/html; charset=utf-8", include_str!("assets/page.html"))))
        .route("/page.css", get(|| asset("text/css; charset=utf-8", include_str!("assets/page.css"))))
        .route("/page.js", get(|| asset("text/javascript; charset=utf-8", include_str!("assets/page.js"))))
        .route("/metrics", get(metrics))
        .route("/api/board", get(board::board))
        .route("/api/status", get(board::status))
        .route("/api/dispatches/{id}", get(board::dispatch))
        .route("/api/cases", get(board::cases))
        .route("/api/cases/{id}", get(board::case))
        .route("/api/quarantine", get(board::quarantine))
        .route("/api/live", get(live))
        .route("/api/dispatches/{id}/override", post(taps::let_leave))
        .route("/api/dispatches/{id}/confirm", post(taps::confirm))
        .route("/api/rules/activate", post(taps::activate_rules).layer(DefaultBodyLimit::max(RULES_MAX_BYTES)))
        .route("/api/rules/rollback", post(taps::roll_back_rules))
        .route("/api/drills/start", post(taps::start_drill))
        .route("/api/drills/stop", post(taps::stop_drill))
        .route("/api/dispatches/{id}/hold", post(taps::hold))
        .route("/api/dispatches/{id}/cancel", post(taps::ask_to_cancel))
        .route("/api/dispatches/{id}/recall-seen", post(taps::recall_seen))
        .route("/api/dispatches/{id}/proof", post(taps::prove))
        .route("/api/cases/{id}/move", post(taps::move_case))
        .fallback(|| async { Problem::not_found("there is nothing here; the page is at /") })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    // A browser says where a request comes from; another site's page may not tap in a person's name.
    let from = request.headers().get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let is_foreign = from.is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let writes = request.method() == Method::POST;
    let (room, what) = if writes { (&app.writes, TurnedAway::Write) } else { (&app.reads, TurnedAway::Read) };
    let mut response = if is_foreign && writes {
        Problem::new(StatusCode::FORBIDDEN, "another site may not write here").into_response()
    } else if let Ok(_place) = room.try_acquire() {
        next.run(request).await
    } else {
        app.page.driver.meters().turned_away(what);
        Problem::unavailable("too much is asked at one time; ask again in a moment").into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
