//! Requests and what their answers mean for the caller.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Rest,
    calls::{Call, Places, at, without_false},
};
use crate::erp::{
    ErpError,
    http::{failed_write, head, retry_after, transient},
};

/// `[erp.map.errors]`: an ERP that answers everything that it refuses with one status says in the body what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Errors {
    /// Where in the body the error's name stands, such as `exc_type`.
    pub name: Option<String>,
    /// Names by which the document has changed, or our key is known already.
    pub conflict: BTreeSet<String>,
    /// Names of refusals, whatever the status: what was begun is taken back.
    pub rejected: BTreeSet<String>,
    /// Names by which nothing was written, and it may be tried again.
    pub transient: BTreeSet<String>,
    /// Names of what is not there.
    pub not_found: BTreeSet<String>,
    /// Names by which we may not.
    pub auth: BTreeSet<String>,
}

/// An answer to a read, and the tag in its head.
pub(super) struct Read {
    pub(super) body: Value,
    pub(super) tag: Option<String>,
}

impl Rest {
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, ErpError> {
        let map = &self.options.map;
        let url = format!("{}{path}", self.options.url.trim_end_matches('/'));
        let url = reqwest::Url::parse_with_params(&url, query)
            .map_err(|e| ErpError::Contract { detail: format!("{url} is no address: {e}") })?;
        let form = map.authorization.as_deref().unwrap_or("Bearer {secret}");
        let said = form.replace("{secret}", self.options.token.reveal());
        let mut authorization = header::HeaderValue::try_from(said)
            .map_err(|_| ErpError::Contract { detail: "the secret cannot stand in a header".to_owned() })?;
        authorization.set_sensitive(true);
        let mut request = self.http.request(method, url).header(header::AUTHORIZATION, authorization);
        for (name, value) in &map.headers {
            request = request.header(name, value);
        }
        Ok(request)
    }

    pub(super) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Read, ErpError> {
        self.read(self.request(Method::GET, path, query)?, &format!("GET {path}")).await
    }

    /// What was asked for by a call of the map that changes nothing; none if the answer has it not.
    pub(super) async fn ask(&self, call: &Call, places: &Places<'_>) -> Result<Option<Value>, ErpError> {
        let what = format!("{} {}", call.method.method(), call.path);
        let read = self.read(self.called(call, places)?, &what).await?;
        let body = if self.options.map.false_is_empty { without_false(read.body) } else { read.body };
        Ok(call.found(&body))
    }

    /// Rows that were asked for by a call of the map.
    pub(super) async fn ask_rows(&self, call: &Call, places: &Places<'_>) -> Result<Vec<Value>, ErpError> {
        match self.ask(call, places).await? {
            Some(Value::Array(rows)) => Ok(rows),
            _ => {
                let detail = format!("{} {}: a list is expected at {:?}", call.method.method(), call.path, call.at);
                Err(ErpError::Contract { detail })
            }
        }
    }

    pub(super) fn called(&self, call: &Call, places: &Places<'_>) -> Result<RequestBuilder, ErpError> {
        let filled = call.filled(places);
        let query: Vec<(&str, &str)> = filled.query.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let request = self.request(call.method.method(), &filled.path, &query)?;
        Ok(match filled.body {
            Some(body) => request.json(&body),
            None => request,
        })
    }

    async fn read(&self, request: RequestBuilder, what: &str) -> Result<Read, ErpError> {
        let response = request.send().await.map_err(|e| transient(&e))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|e| transient(&e))?;
        if status.is_success() {
            let body = serde_json::from_str(&text);
            let body = body.map_err(|e| ErpError::Contract { detail: format!("{what}: {e}") })?;
            return Ok(Read { body, tag });
        }
        let detail = format!("{what} answered {status}: {}", head(&text));
        Err(self.named(&text, &detail).unwrap_or(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErpError::Auth { detail },
            StatusCode::NOT_FOUND => ErpError::NotFound { detail },
            s if s.is_server_error() || s == StatusCode::TOO_MANY_REQUESTS => {
                ErpError::Transient { detail, retry_after }
            }
            _ => ErpError::Rejected { detail },
        }))
    }

    /// Sends a write. Gives the answer, or nothing if its body was lost: the status alone says that it was applied.
    pub(super) async fn write(&self, request: RequestBuilder, what: &str) -> Result<Value, ErpError> {
        let response = request.send().await.map_err(|e| failed_write(&e))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let text = response.text().await.unwrap_or_default();
        if status.is_success() {
            return Ok(serde_json::from_str(&text).unwrap_or_default());
        }
        let detail = format!("{what} answered {status}: {}", head(&text));
        Err(self.named(&text, &detail).unwrap_or(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErpError::Auth { detail },
            StatusCode::NOT_FOUND => ErpError::NotFound { detail },
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => ErpError::Conflict { detail },
            StatusCode::TOO_MANY_REQUESTS => ErpError::Transient { detail, retry_after },
            // Whether it failed before or after the write, nobody says.
            s if s.is_server_error() => ErpError::Ambiguous { detail },
            _ => ErpError::Rejected { detail },
        }))
    }

    /// The class of an error by its name in the body, if the map knows it.
    fn named(&self, text: &str, detail: &str) -> Option<ErpError> {
        let errors = &self.options.map.errors;
        let body: Value = serde_json::from_str(text).ok()?;
        let name = at(&body, errors.name.as_deref()?)?.as_str()?;
        let detail = detail.to_owned();
        let is_in = |names: &BTreeSet<String>| names.contains(name);
        match () {
            () if is_in(&errors.conflict) => Some(ErpError::Conflict { detail }),
            () if is_in(&errors.rejected) => Some(ErpError::Rejected { detail }),
            () if is_in(&errors.transient) => Some(ErpError::Transient { detail, retry_after: None }),
            () if is_in(&errors.not_found) => Some(ErpError::NotFound { detail }),
            () if is_in(&errors.auth) => Some(ErpError::Auth { detail }),
            () => None,
        }
    }
}
