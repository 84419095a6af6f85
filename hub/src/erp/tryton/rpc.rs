//! Tryton's JSON-RPC: one session, one call at a time, and what each answer means for the caller.
//!
//! In: a method with its parameters. Out: its result, or the class of what went wrong. A session that
//! ended is opened again once; a password that was refused is not tried again for a while, since each
//! wrong login makes Tryton answer more slowly and in the end not at all.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::{TrytonOptions, wire::Row};
use crate::{
    config::Secret,
    erp::{
        ErpError,
        http::{client, failed_write, head, retry_after, transient},
    },
};

/// Tryton itself waits 30 seconds for its database before it answers 503; a shorter time would
/// make every outage of the database a write whose answer was lost.
const CALL_TIME_MAX: Duration = Duration::from_secs(40);
/// How long a refused login is not tried again.
const LOGIN_PAUSE: Duration = Duration::from_secs(60);

/// What a call may do at Tryton, which decides what a lost answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// It changes nothing.
    Read,
    /// It may have changed something.
    Write,
}

impl Does {
    fn failed(self, error: &reqwest::Error) -> ErpError {
        match self {
            Self::Read => transient(error),
            Self::Write => failed_write(error),
        }
    }
}

/// One user's way to Tryton.
pub(super) struct Rpc {
    http: reqwest::Client,
    address: String,
    database: String,
    user: String,
    password: Secret,
    // Held for the length of a call. Tryton on SQLite loses updates when calls overlap, and one
    // process of it gains little from a second call at a time.
    session: Mutex<Session>,
}

#[derive(Default)]
struct Session {
    open: Option<Open>,
    refused: Option<(Instant, String)>,
}

#[derive(Clone)]
struct Open {
    authorization: String,
    context: Map<String, Value>,
}

enum Answer {
    Result(Value),
    NoSession(String),
}

impl Rpc {
    /// A way that nothing has been sent on yet.
    /// # Errors
    /// [`ErpError::Contract`] if no HTTP client can be made.
    pub(super) fn new(options: &TrytonOptions) -> Result<Self, ErpError> {
        Ok(Self {
            http: client(CALL_TIME_MAX)?,
            address: format!("{}/{}/rpc/", options.url.trim_end_matches('/'), options.database),
            database: options.database.clone(),
            user: options.user.clone(),
            password: options.password.clone(),
            session: Mutex::default(),
        })
    }

    /// Calls a method of a model. `more` joins the context that Tryton wants as last parameter.
    /// # Errors
    /// [`ErpError`]; [`ErpError::Ambiguous`] only for what [`Does::Write`].
    pub(super) async fn call(
        &self,
        does: Does,
        method: &str,
        params: Vec<Value>,
        more: Map<String, Value>,
    ) -> Result<Value, ErpError> {
        let mut session = self.session.lock().await;
        let mut ended = None;
        loop {
            let open = self.open(&mut session).await?;
            let mut context = open.context;
            context.extend(more.clone());
            let mut params = params.clone();
            params.push(Value::Object(context));
            match (self.send(does, method, params, Some(&open.authorization)).await?, &ended) {
                (Answer::Result(result), _) => return Ok(result),
                (Answer::NoSession(detail), None) => {
                    session.open = None;
                    ended = Some(detail);
                }
                (Answer::NoSession(detail), Some(_)) => return Err(ErpError::Auth { detail }),
            }
        }
    }

    /// Rows of a model, with where each stands for whoever reads them.
    /// # Errors
    /// As for every read; [`ErpError::Contract`] if the answer is no list of objects.
    pub(super) async fn rows(&self, query: Query<'_>) -> Result<Vec<Row>, ErpError> {
        let method = format!("model.{}.search_read", query.model);
        let limit = query.limit.map_or(Value::Null, |limit| json!(limit));
        let params = vec![query.domain, json!(0), limit, query.order, json!(query.fields)];
        let answer = self.call(Does::Read, &method, params, query.context).await?;
        Row::list(query.model, answer).map_err(|detail| ErpError::Contract { detail })
    }

    /// The open session; logs in if there is none.
    async fn open(&self, session: &mut Session) -> Result<Open, ErpError> {
        if let Some(open) = &session.open {
            return Ok(open.clone());
        }
        if let Some((at, why)) = &session.refused
            && at.elapsed() < LOGIN_PAUSE
        {
            let seconds = LOGIN_PAUSE.saturating_sub(at.elapsed()).as_secs();
            return Err(ErpError::Auth { detail: format!("{why}; not tried again for {seconds} s") });
        }
        match self.login().await {
            Ok(open) => {
                *session = Session { open: Some(open.clone()), refused: None };
                Ok(open)
            }
            Err(error) => {
                if let ErpError::Auth { detail } = &error {
                    session.refused = Some((Instant::now(), detail.clone()));
                }
                Err(error)
            }
        }
    }

    async fn login(&self) -> Result<Open, ErpError> {
        let refused = || ErpError::Auth {
            detail: format!("user {:?} of database {:?} and its password", self.user, self.database),
        };
        let params = vec![json!(self.user), json!({ "password": self.password.reveal() }), json!("en")];
        let login = match self.send(Does::Read, "common.db.login", params, None).await? {
            Answer::Result(Value::Null) | Answer::NoSession(_) => return Err(refused()),
            Answer::Result(login) => login,
        };
        let (Some(uid), Some(token)) = (login[0].as_i64(), login[1].as_str()) else {
            return Err(ErpError::Contract {
                detail: "common.db.login: a user's number and a token are expected".to_owned(),
            });
        };
        let authorization = format!("Session {}", STANDARD.encode(format!("{}:{uid}:{token}", self.user)));
        let method = "model.res.user.get_preferences";
        let params = vec![json!(true), json!({})];
        let preferences = match self.send(Does::Read, method, params, Some(&authorization)).await? {
            Answer::Result(preferences) => preferences,
            Answer::NoSession(detail) => return Err(ErpError::Auth { detail }),
        };
        let mut context = Map::new();
        for key in ["company", "companies"] {
            // Without a company Tryton answers, but with nothing: orders would silently stay away.
            let value = preferences.get(key).filter(|value| !value.is_null()).ok_or_else(|| ErpError::Contract {
                detail: format!("user {:?} has no {key} at Tryton: give it one in its preferences there", self.user),
            })?;
            context.insert(key.to_owned(), value.clone());
        }
        context.insert("language".to_owned(), json!("en"));
        Ok(Open { authorization, context })
    }

    async fn send(
        &self,
        does: Does,
        method: &str,
        params: Vec<Value>,
        authorization: Option<&str>,
    ) -> Result<Answer, ErpError> {
        // Exactly these three keys: with any other set Tryton answers errors as HTML pages.
        let body = json!({ "id": 1, "method": method, "params": params });
        let mut request = self.http.post(&self.address).json(&body);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(|e| does.failed(&e))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let text = response.text().await.map_err(|e| does.failed(&e))?;
        let detail = || format!("{method} answered {status}: {}", head(&text));
        match status {
            StatusCode::OK => read_answer(method, &text).map(Answer::Result),
            StatusCode::UNAUTHORIZED => Ok(Answer::NoSession(format!("{method} answered {status}"))),
            StatusCode::TOO_MANY_REQUESTS => Err(ErpError::Transient { detail: detail(), retry_after }),
            // Whether it failed before or after the write, nobody says.
            s if s.is_server_error() && does == Does::Write => Err(ErpError::Ambiguous { detail: detail() }),
            s if s.is_server_error() => Err(ErpError::Transient { detail: detail(), retry_after }),
            StatusCode::NOT_FOUND => Err(ErpError::Contract {
                detail: format!("no database {:?} is served at {}", self.database, self.address),
            }),
            _ => Err(ErpError::Contract { detail: detail() }),
        }
    }
}

/// A search and what of each row is wanted.
pub(super) struct Query<'a> {
    /// Which model, such as `sale.sale`.
    pub(super) model: &'a str,
    /// Which of its rows.
    pub(super) domain: Value,
    /// Which fields.
    pub(super) fields: &'a [&'a str],
    /// How many at most; none for all.
    pub(super) limit: Option<usize>,
    /// In which order.
    pub(super) order: Value,
    /// What joins the context.
    pub(super) context: Map<String, Value>,
}

impl<'a> Query<'a> {
    /// All rows in `domain`, by id.
    pub(super) fn of(model: &'a str, domain: Value, fields: &'a [&'a str]) -> Self {
        Self { model, domain, fields, limit: None, order: json!([["id", "ASC"]]), context: Map::new() }
    }
}

fn read_answer(method: &str, text: &str) -> Result<Value, ErpError> {
    let answer: Value = serde_json::from_str(text)
        .map_err(|e| ErpError::Contract { detail: format!("{method}: no JSON: {e}: {}", head(text)) })?;
    if let Some(error) = answer.get("error") {
        return Err(refusal(method, error));
    }
    answer.get("result").cloned().ok_or_else(|| ErpError::Contract {
        detail: format!("{method}: neither a result nor an error: {}", head(text)),
    })
}

/// The class of an error. Its words are translated, so they are for people only.
fn refusal(method: &str, error: &Value) -> ErpError {
    let class = error[0].as_str().unwrap_or_default();
    let words = match &error[1] {
        Value::Array(parts) => {
            parts.iter().filter_map(Value::as_str).filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ")
        }
        Value::String(words) => words.clone(),
        _ => String::new(),
    };
    let detail = format!("{method}: {}", head(words.trim()));
    match class {
        "ConcurrencyException" => ErpError::Conflict { detail },
        // A warning waits for a person to accept it; that is never ours to do.
        "UserError" | "UserWarning" => ErpError::Rejected { detail },
        "LoginException" => ErpError::Auth { detail },
        "RateLimitException" => ErpError::Transient { detail, retry_after: None },
        _ => ErpError::Contract { detail: format!("{method}: {}", head(&error.to_string())) },
    }
}
