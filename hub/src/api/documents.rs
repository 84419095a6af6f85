//! Cases and dispatches as the documents they are: files that any Automerge program opens.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use gatehouse_common::id::DocumentKind;

use super::{
    Api,
    dispatches::read_id,
    problem::Problem,
    request::{Place, Reading},
};
use crate::auth::Principal;

/// One case as a file that any Automerge program opens.
#[utoipa::path(get, path = "/v1/cases/{id}/document", tag = "cases",
    params(("id" = String, Path, description = "Its document, 32 hexadecimal digits")),
    responses(
        (status = 200, body = String, content_type = "application/octet-stream", description = "An `.automerge` file"),
        (status = 404, body = Problem)))]
pub(super) async fn of_case(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(id): Place,
) -> Result<Response, Problem> {
    file(&api, &who, &id, DocumentKind::Case).await
}

/// One dispatch as a file that any Automerge program opens.
#[utoipa::path(get, path = "/v1/dispatches/{id}/document", tag = "dispatches",
    params(("id" = String, Path, description = "Its document, 32 hexadecimal digits")),
    responses(
        (status = 200, body = String, content_type = "application/octet-stream", description = "An `.automerge` file"),
        (status = 404, body = Problem)))]
pub(super) async fn of_dispatch(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(id): Place,
) -> Result<Response, Problem> {
    file(&api, &who, &id, DocumentKind::Dispatch).await
}

/// The same people may have it as may see it: it holds no more than its entries.
async fn file(api: &Api, who: &Principal, id: &str, kind: DocumentKind) -> Result<Response, Problem> {
    let word = kind.as_str();
    let id = read_id(id, word)?;
    let found = api
        .store
        .read(move |r| {
            let site = match kind {
                DocumentKind::Case => r.case_view(&id)?.map(|view| view.site),
                DocumentKind::Dispatch => r.dispatch_view(&id)?.map(|view| view.site),
            };
            Ok(site.zip(r.document(&id)?.map(|(_, document)| document.export())))
        })
        .await?;
    let found = found.filter(|(site, _)| who.sees(site));
    let (_, bytes) = found.ok_or_else(|| Problem::not_found(format!("there is no {word} {id}")))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{word}-{id}.automerge\"")),
    ];
    Ok((headers, bytes).into_response())
}
