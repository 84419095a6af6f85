//! Exports over HTTP, which go on where they were cut off.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::stream;

use super::{
    Api,
    problem::Problem,
    request::{Place, Reading},
};
use crate::exports::{Form, held::Held};

/// Bytes of an answer that are read at one time.
const CHUNK: usize = 256 * 1024;

/// One state of the store in a form: `ocel-json`, `ocel-sqlite`, `xes-cases`, `xes-dispatches` or `epcis`. A download that was
/// cut off goes on with `Range: bytes=N-` and `If-Range` with the tag of the first answer; the export is held for an hour.
/// Without both, or once it is held no more, a new one is written.
#[utoipa::path(get, path = "/v1/exports/{form}", tag = "exports",
    params(("form" = String, Path, description = "Which form")),
    responses((status = 200, body = String, content_type = "application/octet-stream", description = "The whole export"),
        (status = 206, body = String, content_type = "application/octet-stream", description = "The rest of it"),
        (status = 416, body = Problem, description = "It is not that long")))]
pub(super) async fn take(
    State(api): State<Api>,
    Reading(who): Reading,
    Place(form): Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !who.sees_all() {
        return Err(Problem::forbidden("exports are of all depots; this needs someone who sees all"));
    }
    let form = Form::named(&form).ok_or_else(|| {
        Problem::not_found("the forms are ocel-json, ocel-sqlite, xes-cases, xes-dispatches and epcis")
    })?;
    let tag = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let known = tag(header::IF_RANGE).map(|tag| tag.trim_matches('"')).and_then(|id| api.exports.find(form, id));
    let range = tag(header::RANGE).and_then(range);
    if let (Some(held), Some((from, to))) = (known, range) {
        if from >= held.length {
            let detail = format!("it has {} bytes, and {from} is behind them", held.length);
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "Not that long", detail));
        }
        let end = to.map_or(held.length, |to| to.saturating_add(1).min(held.length));
        let said = format!("bytes {from}-{}/{}", end - 1, held.length);
        let part = [(header::CONTENT_RANGE, said)];
        return Ok((StatusCode::PARTIAL_CONTENT, part, answer(held, from, end)).into_response());
    }
    // One at a time: each reads the whole store.
    let _turn = api.exporting.lock().await;
    let exports = api.exports.clone();
    let held = api.store.read(move |r| Ok(exports.make(r, form))).await?;
    let held = held.map_err(|error| {
        let detail = format!("{error}; room is needed where temporary files are");
        Problem::new(StatusCode::INSUFFICIENT_STORAGE, "export", "The export cannot be written", detail)
    })?;
    let length = held.length;
    Ok(answer(held, 0, length))
}

/// `bytes=N-` or `bytes=N-M`; none for several ranges or another unit, which may be answered whole.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    let to = if to.is_empty() { None } else { Some(to.parse().ok().filter(|to| *to >= from)?) };
    Some((from, to))
}

fn answer(held: Arc<Held>, from: u64, end: u64) -> Response {
    let (media, name) = held.form.media();
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_LENGTH, end.saturating_sub(from).to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, format!("\"{}\"", held.id)),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    let bytes = stream::try_unfold(from, move |at| {
        let held = held.clone();
        async move {
            let room = usize::try_from(end.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
            if room == 0 {
                return Ok::<_, std::io::Error>(None);
            }
            let read =
                tokio::task::spawn_blocking(move || held.read(at, room)).await.map_err(std::io::Error::other)??;
            let next = at + read.len() as u64;
            if read.is_empty() {
                Err(std::io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(Some((Bytes::from(read), next)))
            }
        }
    });
    (headers, Body::from_stream(bytes)).into_response()
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn a_range_is_read_as_far_as_a_download_that_goes_on_needs_it() {
        assert_eq!((range("bytes=10-"), range("bytes=0-99")), (Some((10, None)), Some((0, Some(99)))));
        for other in ["bytes=-5", "bytes=9-3", "bytes=0-1,4-5", "lines=1-", "bytes=x-"] {
            assert_eq!(range(other), None, "{other}");
        }
    }
}
