//! A stand-in ERP: REST over loopback, with the faults that real ones have.
//!
//! In: reads and postings of a hub, and admin calls of a scene. Out: orders, customers, stock, and a log of every
//! effect that was applied, one JSON line each. The log is the judge of a test: what stands there happened, once per line.
//! A change is in the state file before it is in the books, and in the log before it is answered, so that killing
//! the process loses no answer that was given. It does not wait for the disk: a power cut may lose lines.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path as UrlPath, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing::info;

use super::{
    books::{Books, Change, Effect},
    dialect,
    forms::{read_customer, read_effect, read_order},
    frappe,
    lines::{LineFile, OpenError},
    odoo,
    wire::{self, Cut, Fields, Problem},
};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

/// How one stand-in ERP is set up.
#[derive(Debug, Clone)]
pub struct ErpOptions {
    /// Bearer token that every call outside `/admin` and `/healthz` must bring.
    pub token: String,
    /// Append-only file that the books are rebuilt from; `None` forgets at the end of the process.
    pub state: Option<PathBuf>,
    /// Append-only log of applied effects for the judge of a test.
    pub effects_log: Option<PathBuf>,
    /// Whether a second posting with a known reference is answered with the first and not applied.
    pub honour_keys: bool,
    /// Whether a second posting with a known reference is refused as a conflict.
    pub unique_keys: bool,
    /// The faults that hold at the start.
    pub faults: Faults,
}

impl Default for ErpOptions {
    fn default() -> Self {
        Self {
            token: "erp-demo-token".to_owned(),
            state: None,
            effects_log: None,
            honour_keys: false,
            unique_keys: false,
            faults: Faults::default(),
        }
    }
}

/// What goes wrong on purpose. None of it is drawn by chance: the same calls meet the same faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Effects whose number this divides are applied, and then the connection is reset in place of an answer. 0: none.
    pub reset_after_apply: u64,
    /// Of the postings since this was set, every so manieth is answered 503 and not applied. 0: none.
    pub fail_before_apply: u64,
    /// Every connection but those to `/admin` and `/healthz` is reset.
    pub down: bool,
    /// How long each answer is held back after its work is done, in milliseconds.
    pub slow_ms: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { reset_after_apply: 5, fail_before_apply: 0, down: false, slow_ms: 0 }
    }
}

/// One stand-in ERP.
#[derive(Debug, Clone)]
pub struct Erp(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    token: String,
    honour_keys: bool,
    unique_keys: bool,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    books: Books,
    state: Option<LineFile>,
    log: Option<LineFile>,
    /// How many effects the log has.
    logged: usize,
    faults: Faults,
    /// Postings since `fail_before_apply` was set.
    postings: u64,
}

/// Marks an answer that must never arrive.
#[derive(Debug, Clone, Copy)]
struct ResetInstead;

impl Erp {
    /// Opens the files and rebuilds the books. A torn last line was never answered and is cut off;
    /// effects that the log lacks because of a kill are added to it.
    /// # Errors
    /// [`OpenError`], each variant saying what then.
    pub fn open(options: ErpOptions) -> Result<Self, OpenError> {
        let mut books = Books::default();
        let state = match &options.state {
            Some(path) => {
                let (file, changes) = LineFile::open::<Change>(path)?;
                for (i, change) in changes.into_iter().enumerate() {
                    books.check(&change).map_err(|problem| OpenError::Damaged {
                        path: path.clone(),
                        line: i + 1,
                        detail: problem.detail,
                    })?;
                    books.apply(change);
                }
                Some(file)
            }
            None => None,
        };
        let mut inside = Inside { books, state, log: None, logged: 0, faults: options.faults, postings: 0 };
        if let Some(path) = &options.effects_log {
            let (file, logged) = LineFile::open::<Effect>(path)?;
            if inside.books.effects().get(..logged.len()) != Some(&logged[..]) {
                let known = inside.books.effects().len() as u64;
                return Err(OpenError::ForeignLog { path: path.clone(), logged: logged.len() as u64, known });
            }
            inside.log = Some(file);
            inside.logged = logged.len();
            inside.log_effects().map_err(|source| OpenError::Unusable { path: path.clone(), source })?;
        }
        let ErpOptions { token, honour_keys, unique_keys, .. } = options;
        let shared = Shared { token, honour_keys, unique_keys, inside: Mutex::new(inside) };
        Ok(Self(Arc::new(shared)))
    }

    /// Everything it answers.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/orders", get(orders))
            .route("/orders/{id}", get(order))
            .route("/customers", get(customers))
            .route("/customers/{id}", get(customer))
            .route("/stock", get(stock))
            .route("/effects", get(effects_of_reference).post(post_effect))
            .merge(dialect::router())
            .merge(frappe::router())
            .merge(odoo::router())
            .route("/admin/orders/{id}", put(put_order))
            .route("/admin/orders/{id}/cancel", post(cancel_order))
            .route("/admin/orders/{id}/lines/{line}/quantity", post(set_quantity))
            .route("/admin/customers/{id}", put(put_customer))
            .route("/admin/customers/{id}/hold", post(hold_customer))
            .route("/admin/stock", put(put_stock))
            .route("/admin/effects", get(all_effects))
            .route("/admin/faults", get(faults).post(set_faults))
            .route("/healthz", get(|| async { Json(json!({ "ok": true })) }))
            .layer(middleware::from_fn_with_state(self.clone(), at_the_door))
            .with_state(self.clone())
    }

    /// Serves until the future is dropped.
    /// # Errors
    /// If the listener fails for good.
    pub async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        wire::serve(listener, self.router()).await
    }

    /// Changes the books as `/admin` does.
    /// # Errors
    /// What the books do not take, and why.
    pub fn put(&self, change: Change) -> Result<(), Problem> {
        self.inside().take(change)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // A panic in a handler cannot leave the books half changed: they change in one call.
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Writes down and applies a change that was checked. What changes nothing is not written.
    fn take(&mut self, change: Change) -> Result<(), Problem> {
        self.books.check(&change)?;
        if self.books.already_says(&change) {
            return Ok(());
        }
        if let Some(state) = &mut self.state {
            state.append(&change).map_err(no_room)?;
        }
        self.books.apply(change);
        self.log_effects().map_err(no_room)
    }

    fn log_effects(&mut self) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        for effect in &self.books.effects()[self.logged..] {
            log.append(effect)?;
            self.logged += 1;
        }
        Ok(())
    }
}

fn no_room(error: io::Error) -> Problem {
    Problem::of(StatusCode::INSUFFICIENT_STORAGE, format!("cannot write it down: {error}"))
}

/// Who may come in, and which answers never leave.
async fn at_the_door(
    State(erp): State<Erp>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path == "/healthz" || path.starts_with("/admin/") {
        return next.run(request).await;
    }
    if erp.inside().faults.down {
        return cut.instead_of_an_answer();
    }
    let (is_frappe, is_odoo) = (path.starts_with("/api/resource/"), path.starts_with("/json/2/"));
    let scheme = if is_frappe {
        "token"
    } else if is_odoo {
        "bearer"
    } else {
        "Bearer"
    };
    let expected = format!("{scheme} {}", erp.0.token);
    if request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes) != Some(expected.as_bytes()) {
        if is_frappe {
            return frappe::refused(StatusCode::UNAUTHORIZED, "AuthenticationError", "Invalid Authentication Token");
        }
        if is_odoo {
            return odoo::refused(StatusCode::UNAUTHORIZED, "werkzeug.exceptions.Unauthorized", "Invalid apikey");
        }
        let mut refusal = Problem::of(StatusCode::UNAUTHORIZED, "bring the bearer token").into_response();
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refusal;
    }
    let response = next.run(request).await;
    let slow_ms = erp.inside().faults.slow_ms;
    if slow_ms > 0 {
        // The work is done by now: a caller that gives up meets an effect that was applied without an answer.
        tokio::time::sleep(Duration::from_millis(slow_ms)).await;
    }
    if erp.inside().faults.down || response.extensions().get::<ResetInstead>().is_some() {
        return cut.instead_of_an_answer();
    }
    response
}

/// Where a page of changes begins and how long it is.
fn read_page(query: BTreeMap<String, String>, newest: u64) -> Result<(u64, usize), Problem> {
    let mut query = Fields::of_query(query);
    let since = match query.text_or_null("since")? {
        None => 0,
        Some(cursor) => {
            let since: u64 = cursor.parse().map_err(|_| Problem::malformed("since", "is not a cursor of this ERP"))?;
            // An ERP that lost its state would otherwise look like one in which nothing ever changes again.
            if since > newest {
                let detail =
                    format!("is ahead of the newest change {newest}: the state was lost; begin without a cursor");
                return Err(Problem::malformed("since", detail));
            }
            since
        }
    };
    let limit = match query.text_or_null("limit")? {
        None => PAGE_DEFAULT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=PAGE_MAX).contains(limit))
            .ok_or_else(|| Problem::malformed("limit", format!("is not a number from 1 to {PAGE_MAX}")))?,
    };
    query.finish()?;
    Ok((since, limit))
}

async fn orders(State(erp): State<Erp>, Query(query): Query<BTreeMap<String, String>>) -> Result<Json<Value>, Problem> {
    let books = &erp.inside().books;
    let (since, limit) = read_page(query, books.revision())?;
    let page: Vec<_> = books.orders_since(since).take(limit).collect();
    let cursor = page.last().map_or(since, |order| order.revision);
    Ok(Json(json!({ "orders": page, "cursor": cursor.to_string() })))
}

async fn order(State(erp): State<Erp>, UrlPath(id): UrlPath<String>) -> Result<Response, Problem> {
    let inside = erp.inside();
    let order = inside.books.order(&id)?;
    Ok(([(header::ETAG, format!("\"{}\"", order.revision))], Json(order)).into_response())
}

async fn customers(
    State(erp): State<Erp>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let books = &erp.inside().books;
    let (since, limit) = read_page(query, books.revision())?;
    let page: Vec<_> = books.customers_since(since).take(limit).collect();
    let cursor = page.last().map_or(since, |customer| customer.revision);
    Ok(Json(json!({ "customers": page, "cursor": cursor.to_string() })))
}

async fn customer(State(erp): State<Erp>, UrlPath(id): UrlPath<String>) -> Result<Response, Problem> {
    let inside = erp.inside();
    let customer = inside.books.customer(&id)?;
    Ok(([(header::ETAG, format!("\"{}\"", customer.revision))], Json(customer)).into_response())
}

async fn stock(State(erp): State<Erp>, Query(query): Query<BTreeMap<String, String>>) -> Result<Json<Value>, Problem> {
    let mut query = Fields::of_query(query);
    let site = query.text("site")?;
    query.finish()?;
    let inside = erp.inside();
    let stock: Vec<_> = inside
        .books
        .stock(&site)
        .map(|(product, available)| json!({ "product": product, "available": available }))
        .collect();
    Ok(Json(json!({ "site": site, "stock": stock })))
}

async fn effects_of_reference(
    State(erp): State<Erp>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let mut query = Fields::of_query(query);
    let reference = query.text("reference")?;
    query.finish()?;
    let inside = erp.inside();
    let effects: Vec<_> = inside.books.effects_of(&reference).collect();
    Ok(Json(json!({ "effects": effects })))
}

/// What a posting says of the order's version: the order may not have changed since.
fn under_version(books: &Books, order: &str, headers: &HeaderMap, field: Option<u64>) -> Result<bool, Problem> {
    let tag = headers.get(header::IF_MATCH).map(|tag| tag.to_str().unwrap_or_default().to_owned());
    let said = tag.or(field.map(|revision| format!("\"{revision}\"")));
    let Some(said) = said else { return Ok(false) };
    let now = format!("\"{}\"", books.order(order)?.revision);
    if said != now {
        let detail = format!("order {order} has the version {now} and not {said}");
        return Err(Problem::of(StatusCode::PRECONDITION_FAILED, detail));
    }
    Ok(true)
}

async fn post_effect(State(erp): State<Erp>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    erp.post(&headers, Fields::of_body(&body)?)
}

impl Erp {
    /// Takes a posting.
    pub(super) fn post(&self, headers: &HeaderMap, body: Fields) -> Result<Response, Problem> {
        let erp = self;
        let mut body = body;
        let mut inside = erp.inside();
        inside.postings += 1;
        let fail_every = inside.faults.fail_before_apply;
        if fail_every > 0 && inside.postings.is_multiple_of(fail_every) {
            let mut refusal = Problem::of(StatusCode::SERVICE_UNAVAILABLE, "busy; nothing was applied").into_response();
            refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return Ok(refusal);
        }
        let seq = inside.books.effects().len() as u64 + 1;
        let revision = body.number_or_null("revision", 0)?;
        let effect = read_effect(seq, Timestamp::now(), body)?;
        if erp.0.honour_keys
            && let Some(first) = inside.books.effects_of(&effect.reference).next()
        {
            // Answering a different posting with the first would lose it without a word.
            if !first.asks_the_same_as(&effect) {
                let detail = format!("reference: effect {} has this key and asks for something else", first.seq);
                return Err(Problem { status: StatusCode::CONFLICT, field: Some("reference".to_owned()), detail });
            }
            return Ok((StatusCode::OK, Json(json!({ "effect": first.seq }))).into_response());
        }
        if erp.0.unique_keys && inside.books.effects_of(&effect.reference).next().is_some() {
            return Err(Problem::of(StatusCode::CONFLICT, format!("{} is there already", effect.reference)));
        }
        let touches = under_version(&inside.books, &effect.order, headers, revision)?.then(|| effect.order.clone());
        info!(effect = seq, order = %effect.order, reference = %effect.reference, "applying effect {seq}: {:?}", effect.kind);
        inside.take(Change::Effect { effect })?;
        if let Some(order) = touches {
            inside.take(Change::Touch { order })?;
        }
        let mut response = (StatusCode::CREATED, Json(json!({ "effect": seq }))).into_response();
        let reset_every = inside.faults.reset_after_apply;
        if reset_every > 0 && seq.is_multiple_of(reset_every) {
            response.extensions_mut().insert(ResetInstead);
        }
        Ok(response)
    }

    /// The books, for a look.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Books) -> T) -> T {
        look(&self.inside().books)
    }
}

async fn put_order(State(erp): State<Erp>, UrlPath(id): UrlPath<String>, body: Bytes) -> Result<Json<Value>, Problem> {
    let order = read_order(id.clone(), Fields::of_body(&body)?)?;
    let mut inside = erp.inside();
    inside.take(Change::PutOrder { order })?;
    Ok(Json(json!(inside.books.order(&id)?)))
}

async fn cancel_order(State(erp): State<Erp>, UrlPath(id): UrlPath<String>) -> Result<Json<Value>, Problem> {
    let mut inside = erp.inside();
    inside.take(Change::CancelOrder { order: id.clone() })?;
    Ok(Json(json!(inside.books.order(&id)?)))
}

async fn set_quantity(
    State(erp): State<Erp>,
    UrlPath((id, line)): UrlPath<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let line = line.parse().map_err(|_| Problem::malformed("line", "is not the number of a line"))?;
    let mut body = Fields::of_body(&body)?;
    let quantity = body.number("quantity", 0)?;
    body.finish()?;
    let mut inside = erp.inside();
    inside.take(Change::SetQuantity { order: id.clone(), line, quantity })?;
    Ok(Json(json!(inside.books.order(&id)?)))
}

async fn put_customer(
    State(erp): State<Erp>,
    UrlPath(id): UrlPath<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut inside = erp.inside();
    let customer = read_customer(id.clone(), Fields::of_body(&body)?, inside.books.customer(&id).ok())?;
    inside.take(Change::PutCustomer { customer })?;
    Ok(Json(json!(inside.books.customer(&id)?)))
}

async fn hold_customer(
    State(erp): State<Erp>,
    UrlPath(id): UrlPath<String>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let mut body = Fields::of_body(&body)?;
    let on_hold = body.flag("on_hold")?;
    body.finish()?;
    let mut inside = erp.inside();
    inside.take(Change::HoldCustomer { customer: id.clone(), on_hold })?;
    Ok(Json(json!(inside.books.customer(&id)?)))
}

async fn put_stock(State(erp): State<Erp>, body: Bytes) -> Result<Json<Value>, Problem> {
    let mut body = Fields::of_body(&body)?;
    let (site, product) = (body.text("site")?, body.text("product")?);
    let available: i64 = body.number("available", i64::MIN)?;
    body.finish()?;
    let answer = json!({ "site": site, "product": product, "available": available });
    erp.inside().take(Change::PutStock { site, product, available })?;
    Ok(Json(answer))
}

async fn all_effects(State(erp): State<Erp>) -> Json<Value> {
    Json(json!({ "effects": erp.inside().books.effects() }))
}

async fn faults(State(erp): State<Erp>) -> Json<Faults> {
    Json(erp.inside().faults)
}

/// Sets the faults that are named and leaves the others as they are.
async fn set_faults(State(erp): State<Erp>, body: Bytes) -> Result<Json<Faults>, Problem> {
    let mut body = Fields::of_body(&body)?;
    let mut inside = erp.inside();
    let mut faults = inside.faults;
    let fail_before_apply = body.number_or_null("fail_before_apply", 0)?;
    faults.reset_after_apply = body.number_or_null("reset_after_apply", 0)?.unwrap_or(faults.reset_after_apply);
    faults.fail_before_apply = fail_before_apply.unwrap_or(faults.fail_before_apply);
    faults.down = body.flag_or_null("down")?.unwrap_or(faults.down);
    faults.slow_ms = body.number_or_null("slow_ms", 0)?.unwrap_or(faults.slow_ms);
    body.finish()?;
    if fail_before_apply.is_some() {
        inside.postings = 0;
    }
    inside.faults = faults;
    info!(?faults, "faults set");
    Ok(Json(faults))
}
