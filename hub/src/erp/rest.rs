//! An ERP that speaks plain JSON over HTTP with a bearer token.
//!
//! Reads `GET /orders`, `/orders/{id}`, `/customers`, `/customers/{id}` and `/stock?site=`; writes
//! `POST /effects` and finds what it wrote with `GET /effects?reference=`. It honours no key of ours
//! unless told so, and a reset of the connection says nothing about whether a write was applied.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use gatehouse_common::{
    geo::Point,
    id::{CarrierId, CustomerId, DoorId, OrderId, ProductId, SiteId, VehicleId},
    order::{self, Order, OrderLine, OrderStatus, Tier},
    route::{PlannedStop, Route},
    time::UtcMs,
};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe};
use crate::{
    config::Secret,
    core::reconcile::{Posting, PostingKind},
};

const PAGE: usize = 200;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(15);

/// How to reach it.
#[derive(Debug, Clone)]
pub struct RestOptions {
    /// Its root, such as `http://127.0.0.1:8090`.
    pub url: String,
    /// The bearer token.
    pub token: Secret,
    /// Its words for depots, where they differ from ours.
    pub sites: BTreeMap<String, SiteId>,
    /// Whether it answers a second write under a known key with the first.
    pub honours_keys: bool,
}

/// The connector.
pub struct Rest {
    options: RestOptions,
    http: reqwest::Client,
}

impl Rest {
    /// A connector; nothing is sent yet.
    /// # Errors
    /// [`ErpError::Contract`] if no HTTP client can be made.
    pub fn new(options: RestOptions) -> Result<Self, ErpError> {
        Ok(Self { options, http: client(REQUEST_TIME_MAX)? })
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<RequestBuilder, ErpError> {
        let url = format!("{}{path}", self.options.url.trim_end_matches('/'));
        let url = reqwest::Url::parse_with_params(&url, query)
            .map_err(|e| ErpError::Contract { detail: format!("{url} is no address: {e}") })?;
        Ok(self.http.request(method, url).bearer_auth(self.options.token.reveal()))
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, ErpError> {
        let request = self.request(Method::GET, path, query)?;
        let response = request.send().await.map_err(|e| transient(&e))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let text = response.text().await.map_err(|e| transient(&e))?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|e| ErpError::Contract { detail: format!("GET {path}: {e}") });
        }
        let detail = format!("GET {path} answered {status}: {}", head(&text));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErpError::Auth { detail },
            StatusCode::NOT_FOUND => ErpError::NotFound { detail },
            s if s.is_server_error() || s == StatusCode::TOO_MANY_REQUESTS => {
                ErpError::Transient { detail, retry_after }
            }
            _ => ErpError::Rejected { detail },
        })
    }

    async fn page(&self, path: &str, since: &str) -> Result<(Vec<Value>, String, bool), ErpError> {
        let limit = PAGE.to_string();
        let mut query = vec![("limit", limit.as_str())];
        if !since.is_empty() {
            query.push(("since", since));
        }
        let mut answer = self.get(path, &query).await?;
        let name = path.trim_start_matches('/');
        let (Value::Array(items), Some(cursor)) = (answer[name].take(), answer["cursor"].as_str()) else {
            return Err(ErpError::Contract {
                detail: format!("GET {path}: a list {name:?} and a cursor are expected"),
            });
        };
        let more = items.len() >= PAGE;
        Ok((items, cursor.to_owned(), more))
    }

    /// Like [`Self::page`]; begins anew when the ERP no longer knows the cursor, since it lost its state then.
    async fn page_or_anew(&self, path: &str, since: &str) -> Result<(Vec<Value>, String, bool), ErpError> {
        match self.page(path, since).await {
            Err(ErpError::Rejected { detail }) if !since.is_empty() => {
                tracing::warn!(%detail, "the ERP does not know the cursor of {path}; reading it from the beginning");
                self.page(path, "").await
            }
            page => page,
        }
    }

    fn read_order(&self, wire: Value) -> Result<Order, String> {
        let name = wire["id"].as_str().unwrap_or("without id").to_owned();
        let wire: WireOrder = serde_json::from_value(wire).map_err(|e| format!("order {name}: {e}"))?;
        wire.into_order(&self.options.sites).map_err(|e| format!("order {name}: {e}"))
    }
}

/// An HTTP client that follows nothing and asks no proxy.
pub(super) fn client(timeout: Duration) -> Result<reqwest::Client, ErpError> {
    // The client wants to know its cryptography even for plain HTTP; a second installation is refused and harmless.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .build()
        .map_err(|e| ErpError::Contract { detail: format!("no HTTP client: {e}") })
}

/// What went wrong, with its causes: the outermost words alone say nothing.
pub(super) fn in_full(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(super) fn transient(error: &reqwest::Error) -> ErpError {
    ErpError::Transient { detail: in_full(error), retry_after: None }
}

/// The class of a write that failed on the wire: only when no connection came about was nothing sent.
pub(super) fn failed_write(error: &reqwest::Error) -> ErpError {
    if error.is_connect() || error.is_builder() {
        transient(error)
    } else {
        ErpError::Ambiguous { detail: in_full(error) }
    }
}

pub(super) fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The first words of an answer, for people.
pub(super) fn head(text: &str) -> String {
    text.chars().take(300).collect()
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursors {
    orders: String,
    customers: String,
}

#[derive(Debug, Deserialize)]
struct WireOrder {
    id: OrderId,
    site: String,
    customer: WireBuyer,
    lines: Vec<WireLine>,
    currency: String,
    class: String,
    vehicle: VehicleId,
    carrier: CarrierId,
    door: DoorId,
    planned_departure: String,
    window_end: String,
    destination: Option<Point>,
    #[serde(default)]
    route: Option<WireRoute>,
    status: OrderStatus,
}

#[derive(Debug, Deserialize)]
struct WireRoute {
    #[serde(default)]
    path: Vec<Point>,
    #[serde(default)]
    stops: Vec<WireStop>,
}

#[derive(Debug, Deserialize)]
struct WireStop {
    #[serde(default)]
    name: String,
    point: Point,
    arrive: String,
    leave: Option<String>,
}

impl WireRoute {
    fn into_route(self) -> Result<Option<Route>, String> {
        let time = |text: &str| {
            text.parse::<UtcMs>().map_err(|e| format!("time {text:?} of a stop is not a time in RFC 3339: {e}"))
        };
        let stops = self.stops.into_iter().map(|stop| {
            let arrive = time(&stop.arrive)?;
            let leave = stop.leave.as_deref().map_or(Ok(arrive), time)?;
            Ok(PlannedStop { name: stop.name, point: stop.point, arrive, leave })
        });
        let route = Route { path: self.path, stops: stops.collect::<Result<_, String>>()? };
        Ok(Some(route).filter(Route::is_valid))
    }
}

#[derive(Debug, Deserialize)]
struct WireBuyer {
    id: CustomerId,
    name: String,
    tier: Tier,
}

#[derive(Debug, Deserialize)]
struct WireLine {
    line: u16,
    product: ProductId,
    quantity: u32,
    unit_price_minor: i64,
}

impl WireOrder {
    fn into_order(self, sites: &BTreeMap<String, SiteId>) -> Result<Order, String> {
        let time = |name: &str, text: &str| {
            text.parse::<UtcMs>().map_err(|e| format!("{name} {text:?} is not a time in RFC 3339: {e}"))
        };
        let site = match sites.get(&self.site) {
            Some(site) => site.clone(),
            None => SiteId::new(self.site).map_err(|e| e.to_string())?,
        };
        if self.lines.is_empty() {
            return Err("it has no lines".to_owned());
        }
        Ok(Order {
            id: self.id,
            version: 0,
            site,
            customer: order::Customer { id: self.customer.id, name: self.customer.name, tier: self.customer.tier },
            lines: self
                .lines
                .into_iter()
                .map(|l| OrderLine {
                    line: l.line,
                    product: l.product,
                    quantity: l.quantity,
                    unit_price_minor: l.unit_price_minor,
                    unit_weight_grams: None,
                })
                .collect(),
            currency: self.currency,
            class: self.class,
            vehicle: self.vehicle,
            carrier: self.carrier,
            door: self.door,
            planned_departure: time("planned_departure", &self.planned_departure)?,
            window_end: time("window_end", &self.window_end)?,
            destination: self.destination.filter(Point::is_valid),
            route: self.route.map_or(Ok(None), WireRoute::into_route)?,
            status: self.status,
            cut_off: None,
            dangerous_goods: false,
        })
    }
}

fn read_customer(wire: Value) -> Result<Customer, String> {
    #[derive(Deserialize)]
    struct Wire {
        id: CustomerId,
        credit: WireCredit,
    }
    #[derive(Deserialize)]
    struct WireCredit {
        on_hold: bool,
        limit_minor: Option<i64>,
        exposure_minor: i64,
    }
    let name = wire["id"].as_str().unwrap_or("without id").to_owned();
    let wire: Wire = serde_json::from_value(wire).map_err(|e| format!("customer {name}: {e}"))?;
    Ok(Customer {
        id: wire.id,
        on_hold: wire.credit.on_hold,
        limit_minor: wire.credit.limit_minor,
        exposure_minor: wire.credit.exposure_minor,
    })
}

fn effect(posting: &Posting) -> Value {
    let mut effect = json!({
        "kind": posting.kind.as_str(),
        "order": posting.order,
        "reference": posting.key,
        "text": posting.text,
        "at": posting.at.to_string(),
    });
    if let Some(line) = posting.line {
        effect["line"] = json!(line);
    }
    if let Some(quantity) = posting.quantity {
        effect["quantity"] = json!(quantity);
    }
    if let Some(status) = posting.status.filter(|_| posting.kind == PostingKind::OrderChange) {
        effect["status"] = json!(status);
    }
    effect
}

#[async_trait]
impl Connector for Rest {
    fn name(&self) -> &str {
        "rest"
    }

    fn caps(&self) -> Caps {
        Caps { honours_keys: self.options.honours_keys, orders_in_credit: false, orders_in_stock: false }
    }

    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        let mut cursors: Cursors = serde_json::from_str(&since.0).unwrap_or_default();
        // Customers first, so that an order's customer is known before the order is weighed.
        let (customers, after_customers, more_customers) = self.page_or_anew("/customers", &cursors.customers).await?;
        let (orders, after_orders, more_orders) = self.page_or_anew("/orders", &cursors.orders).await?;
        cursors = Cursors { orders: after_orders, customers: after_customers };
        let mut page = ChangePage { more: more_customers || more_orders, ..ChangePage::default() };
        for customer in customers {
            match read_customer(customer) {
                Ok(customer) => page.customers.push(customer),
                Err(why) => page.unreadable.push(why),
            }
        }
        for order in orders {
            match self.read_order(order) {
                Ok(order) => page.orders.push(order),
                Err(why) => page.unreadable.push(why),
            }
        }
        page.cursor = ErpCursor(json!(cursors).to_string());
        Ok(page)
    }

    async fn order(&self, id: &OrderId) -> Result<Order, ErpError> {
        let wire = self.get(&format!("/orders/{}", in_path(id.as_str())), &[]).await?;
        self.read_order(wire).map_err(|detail| ErpError::Contract { detail })
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        let wire = self.get(&format!("/customers/{}", in_path(id.as_str())), &[]).await?;
        read_customer(wire).map_err(|detail| ErpError::Contract { detail })
    }

    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        #[derive(Deserialize)]
        struct Wire {
            stock: Vec<Level>,
        }
        #[derive(Deserialize)]
        struct Level {
            product: ProductId,
            available: i64,
        }
        let theirs = self.options.sites.iter().find(|(_, ours)| *ours == site).map(|(theirs, _)| theirs.as_str());
        let wire = self.get("/stock", &[("site", theirs.unwrap_or(site.as_str()))]).await?;
        let wire: Wire =
            serde_json::from_value(wire).map_err(|e| ErpError::Contract { detail: format!("GET /stock: {e}") })?;
        Ok(wire.stock.into_iter().map(|level| (level.product, level.available)).collect())
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let request = self.request(Method::POST, "/effects", &[])?.json(&effect(posting));
        let response = request.send().await.map_err(|e| failed_write(&e))?;
        let status = response.status();
        // The answer's body is lost or not: the status alone says that it was applied.
        let text = response.text().await.unwrap_or_default();
        if status.is_success() {
            let number = serde_json::from_str::<Value>(&text).ok().and_then(|v| v["effect"].as_u64());
            return Ok(Applied { document: number.map_or_else(|| posting.key.clone(), |n| format!("effect {n}")) });
        }
        let detail = format!("POST /effects answered {status}: {}", head(&text));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErpError::Auth { detail },
            StatusCode::NOT_FOUND => ErpError::NotFound { detail },
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => ErpError::Conflict { detail },
            StatusCode::TOO_MANY_REQUESTS => ErpError::Transient { detail, retry_after: None },
            // Whether it failed before or after the write, nobody says.
            s if s.is_server_error() => ErpError::Ambiguous { detail },
            _ => ErpError::Rejected { detail },
        })
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        let answer = self.get("/effects", &[("reference", &posting.key)]).await?;
        let Some(effects) = answer["effects"].as_array() else {
            return Err(ErpError::Contract { detail: "GET /effects: a list of effects is expected".to_owned() });
        };
        Ok(match effects.first() {
            Some(effect) => {
                let name = effect["seq"].as_u64().map_or_else(|| posting.key.clone(), |n| format!("effect {n}"));
                Probe::Applied(Applied { document: name })
            }
            None => Probe::NotApplied,
        })
    }
}

/// An id as one segment of a path.
fn in_path(id: &str) -> String {
    let mut path = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}
