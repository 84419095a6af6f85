//! OData over HTTP: login, the token that guards writes, and what each answer means for the caller.
//!
//! In: a request. Out: its JSON and its tag, or the class of what went wrong. A token that a gateway no longer knows is
//! fetched anew once. A login that was refused is not tried again for a while, since each may lock the account.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, Url, header};
use serde_json::Value;
use tokio::sync::Mutex;

use super::settings::{Login, ODataOptions};
use crate::erp::{
    ErpError,
    http::{client, failed_write, head, retry_after, transient},
};

const REQUEST_TIME_MAX: Duration = Duration::from_secs(40);
/// How long a refused login is not tried again.
const LOGIN_PAUSE: Duration = Duration::from_secs(60);
const CSRF: &str = "x-csrf-token";

/// A service, spoken to by one user.
pub(super) struct Service {
    http: reqwest::Client,
    root: Url,
    login: Login,
    csrf: bool,
    session: Mutex<Session>,
}

#[derive(Default)]
struct Session {
    guard: Option<Guard>,
    refused: Option<(Instant, String)>,
}

/// What a gateway wants to see again with every write: a token, and all cookies that came with it.
#[derive(Clone)]
struct Guard {
    token: String,
    cookies: String,
}

/// An answer's body, and the tag in its head.
pub(super) struct Answer {
    pub(super) body: Value,
    pub(super) tag: Option<String>,
}

enum Tried {
    Answered(Answer),
    GuardUnknown(String),
}

impl Service {
    /// A service that nothing was sent to yet.
    /// # Errors
    /// [`ErpError::Contract`] if the address is none, or no HTTP client can be made.
    pub(super) fn new(options: &ODataOptions) -> Result<Self, ErpError> {
        let root = Url::parse(&format!("{}/", options.url.trim_end_matches('/')));
        let root = root.map_err(|e| ErpError::Contract { detail: format!("{} is no address: {e}", options.url) })?;
        let (login, csrf) = (options.login.clone(), options.csrf);
        Ok(Self { http: client(REQUEST_TIME_MAX)?, root, login, csrf, session: Mutex::default() })
    }

    /// The address of `path` below the root, or of a link that the service gave.
    /// # Errors
    /// [`ErpError::Contract`] if it leads elsewhere: our login is for this service and no other.
    pub(super) fn address(&self, path: &str, query: &[(&str, &str)]) -> Result<Url, ErpError> {
        let url = self.root.join(path);
        let mut url = url.map_err(|e| ErpError::Contract { detail: format!("{path:?} is no address: {e}") })?;
        if url.origin() != self.root.origin() || !url.path().starts_with(self.root.path()) {
            let detail = format!("the service points to {url}, which is not below {}", self.root);
            return Err(ErpError::Contract { detail });
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
            // Forms write a space as a plus sign, and OData's grammar knows no such thing. A real plus is %2B by now.
            let plain = url.query().map(|query| query.replace('+', "%20"));
            url.set_query(plain.as_deref());
        }
        Ok(url)
    }

    /// Reads what stands at an address.
    /// # Errors
    /// [`ErpError`]; never [`ErpError::Ambiguous`].
    pub(super) async fn get(&self, url: Url) -> Result<Answer, ErpError> {
        self.refuse_known_refusal().await?;
        match self.send(Method::GET, &url, None, None, None).await? {
            Tried::Answered(answer) => Ok(answer),
            Tried::GuardUnknown(detail) => Err(ErpError::Contract { detail }),
        }
    }

    /// Writes under the tag of what was read, where there is one.
    /// # Errors
    /// [`ErpError::Ambiguous`] whenever it may have been applied without an answer.
    pub(super) async fn write(
        &self,
        method: Method,
        url: Url,
        tag: Option<&str>,
        body: &Value,
    ) -> Result<Answer, ErpError> {
        self.refuse_known_refusal().await?;
        let mut guard = self.guard(None).await?;
        for _ in 0..2 {
            match self.send(method.clone(), &url, tag, guard.as_ref(), Some(body)).await? {
                Tried::Answered(answer) => return Ok(answer),
                // The session behind the token ended; nothing was written. A second refusal is one of the login.
                Tried::GuardUnknown(_) if self.csrf => guard = self.guard(guard).await?,
                Tried::GuardUnknown(detail) => return self.note_refusal(detail).await,
            }
        }
        let detail = format!("{method} {}: the token for writes is refused as soon as it is fetched", url.path());
        self.note_refusal(detail).await
    }

    /// The token for writes; fetched, if there is none or the gateway no longer knows `old`.
    async fn guard(&self, old: Option<Guard>) -> Result<Option<Guard>, ErpError> {
        if !self.csrf {
            return Ok(None);
        }
        let mut session = self.session.lock().await;
        let is_new = |guard: &Guard| old.as_ref().is_none_or(|old| old.token != guard.token);
        if let Some(guard) = session.guard.clone().filter(is_new) {
            return Ok(Some(guard));
        }
        let request = self.with_login(self.http.get(self.root.clone())).header(CSRF, "fetch");
        let response = request.header(header::ACCEPT, "application/json").send().await.map_err(|e| transient(&e))?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let detail = format!("fetching a token for writes answered {}", response.status());
            session.refused = Some((Instant::now(), detail.clone()));
            return Err(ErpError::Auth { detail });
        }
        let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
        let Some(token) = text(CSRF).map(str::to_owned) else {
            let detail = format!(
                "the service gives no token for writes ({}): set csrf = false if it needs none",
                response.status()
            );
            return Err(ErpError::Contract { detail });
        };
        let cookies = response.headers().get_all(header::SET_COOKIE).iter();
        // All of them: the token is bound to the session cookie, whatever that is called.
        let cookies: Vec<_> = cookies.filter_map(|c| c.to_str().ok()?.split(';').next().map(str::to_owned)).collect();
        session.guard = Some(Guard { token, cookies: cookies.join("; ") });
        Ok(session.guard.clone())
    }

    fn with_login(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.login {
            Login::Basic { user, password } => request.basic_auth(user, Some(password.reveal())),
            Login::Bearer(token) => request.bearer_auth(token.reveal()),
        }
    }

    async fn refuse_known_refusal(&self) -> Result<(), ErpError> {
        match &self.session.lock().await.refused {
            Some((at, why)) if at.elapsed() < LOGIN_PAUSE => {
                let seconds = LOGIN_PAUSE.saturating_sub(at.elapsed()).as_secs();
                Err(ErpError::Auth { detail: format!("{why}; not tried again for {seconds} s") })
            }
            _ => Ok(()),
        }
    }

    async fn note_refusal<T>(&self, detail: String) -> Result<T, ErpError> {
        self.session.lock().await.refused = Some((Instant::now(), detail.clone()));
        Err(ErpError::Auth { detail })
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        tag: Option<&str>,
        guard: Option<&Guard>,
        body: Option<&Value>,
    ) -> Result<Tried, ErpError> {
        let writes = body.is_some();
        let failed = |e: &reqwest::Error| if writes { failed_write(e) } else { transient(e) };
        let mut request = self.with_login(self.http.request(method.clone(), url.clone()));
        request = request.header(header::ACCEPT, "application/json").header("odata-version", "4.0");
        if let Some(guard) = guard {
            request = request.header(CSRF, &guard.token).header(header::COOKIE, &guard.cookies);
        }
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| failed(&e))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let said =
            |name: header::HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let tag = said(header::ETAG);
        let wants_guard = response.headers().get(CSRF).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"required"));
        let place = format!("{method} {}", url.path());
        // Once the status is here, a body that breaks off leaves no doubt about a write.
        let text = match response.text().await {
            Ok(text) => text,
            Err(_) if writes && status.is_success() => String::new(),
            Err(error) => return Err(failed(&error)),
        };
        if status.is_success() {
            let body = match text.trim() {
                "" => Value::Null,
                text => serde_json::from_str(text)
                    .map_err(|e| ErpError::Contract { detail: format!("{place}: no JSON: {e}: {}", head(text)) })?,
            };
            return Ok(Tried::Answered(Answer { body, tag }));
        }
        let detail = format!("{place} answered {status}: {}", said_of(&text));
        match status {
            StatusCode::UNAUTHORIZED => self.note_refusal(detail).await,
            StatusCode::FORBIDDEN if wants_guard && writes => Ok(Tried::GuardUnknown(detail)),
            _ => Err(class(status, detail, retry_after, writes)),
        }
    }
}

/// The class of an answer that is no success.
fn class(status: StatusCode, detail: String, retry_after: Option<Duration>, writes: bool) -> ErpError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErpError::Auth { detail },
        StatusCode::NOT_FOUND | StatusCode::GONE => ErpError::NotFound { detail },
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::LOCKED => ErpError::Conflict { detail },
        // We sent no tag where one is wanted: the map is wrong, and a person must put it right.
        StatusCode::PRECONDITION_REQUIRED => ErpError::Contract { detail },
        StatusCode::TOO_MANY_REQUESTS => ErpError::Transient { detail, retry_after },
        // Whether it failed before or after the write, nobody says. A unique field that is taken ends here, too.
        s if s.is_server_error() && writes => ErpError::Ambiguous { detail },
        s if s.is_server_error() => ErpError::Transient { detail, retry_after },
        s if s.is_redirection() => ErpError::Contract { detail },
        _ => ErpError::Rejected { detail },
    }
}

/// Code and message of an error, as OData V4 has them, V2 had them, or else the head of the answer.
fn said_of(text: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(text) else { return head(text) };
    let error = &body["error"];
    let message = error["message"].as_str().or(error["message"]["value"].as_str());
    match (error["code"].as_str().filter(|code| !code.is_empty()), message) {
        (Some(code), Some(message)) => head(&format!("{code} {message}")),
        (None, Some(message)) => head(message),
        _ => head(text),
    }
}
