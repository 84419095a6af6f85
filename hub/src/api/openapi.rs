//! The description of the API, as OpenAPI 3.1.
//!
//! It is made from the handlers, served at `/openapi.json`, and kept as `hub/openapi.json`, so that a
//! change of the API shows in review. `GATEHOUSE_UPDATE=1 cargo test -p gatehouse-hub openapi` writes it anew.

use axum::{http::header, response::IntoResponse};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, Response,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    cancelling, cases, dispatches, documents, edi, events, exports, fleet, lift, live, metrics, positions, problem,
    queue, recon, status, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gatehouse hub",
        description = "Dispatches of all depots, the cases people work on, and what is settled with the ERP.\n\n\
            Everything under /v1 needs a login (HTTP basic: name and PIN) or a token (bearer). \
            Errors are application/problem+json. Times are UTC milliseconds, durations milliseconds, \
            amounts minor units of the order's currency. Lists come in parts: give `next` as `after`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        dispatches::list, dispatches::one, cancelling::accept, cancelling::decline, lift::lift, lift::confirm, lift::refuse, cases::list, cases::one, cases::move_to, recon::list,
        recon::one, recon::choose, recon::confirm, recon::refuse, recon::figures, metrics::metrics, queue::dead_letters, queue::replay, queue::booked, queue::correct, queue::quarantine, fleet::devices,
        fleet::leases, fleet::sources, fleet::ownership, status::status, live::live, events::take, events::schemas,
        events::schema, events::dead, events::replay, positions::traccar, positions::owntracks, edi::list, edi::leave, edi::of_shipment, edi::answer, webhooks::list,
        webhooks::replay, exports::take, documents::of_case, documents::of_dispatch, serve,
        status::healthz, status::readyz,
    ),
    components(schemas(problem::Problem, problem::FieldProblem)),
    security(("person" = []), ("token" = [])),
    modifiers(&Common),
)]
struct Document;

/// What all operations share.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = |scheme| SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
        components.add_security_scheme("person", scheme(HttpAuthScheme::Basic));
        components.add_security_scheme("token", scheme(HttpAuthScheme::Bearer));
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                if operation.security.is_none() {
                    refuse(operation, "401", "No login, or a wrong one");
                }
                if operation.request_body.is_some() {
                    refuse(operation, "400", "The body has wrong fields; each is named");
                }
            }
        }
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                as_problems(operation);
            }
        }
    }
}

fn refuse(operation: &mut Operation, status: &str, why: &str) {
    let mut response = Response::new(why);
    let problem = Ref::from_schema_name("Problem");
    response.content.insert("application/problem+json".to_owned(), RefOr::T(Content::new(Some(RefOr::Ref(problem)))));
    operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
}

/// Problems travel under a media type of their own.
fn as_problems(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with('4')
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), content);
        }
    }
}

/// The description as JSON, with a line end.
/// # Errors
/// If it cannot be written as JSON.
pub fn json() -> Result<String, serde_json::Error> {
    Ok(Document::openapi().to_pretty_json()? + "\n")
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "status", security(()),
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub(super) async fn serve() -> axum::response::Response {
    match json() {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(e) => super::Problem::from(crate::store::StoreError::Json(e)).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_what_its_reviewed_openapi_document_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let now = json().unwrap();
        if std::env::var_os("GATEHOUSE_UPDATE").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let reviewed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            reviewed == now,
            "the API differs from hub/openapi.json; if that is meant, run \
             `GATEHOUSE_UPDATE=1 cargo test -p gatehouse-hub openapi` and review the difference"
        );
    }
}
