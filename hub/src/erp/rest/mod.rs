//! An ERP that speaks plain JSON over HTTP with a bearer token.
//!
//! Built in: `GET /orders`, `/orders/{id}`, `/customers`, `/customers/{id}` and `/stock?site=`; `POST /effects` writes,
//! `GET /effects?reference=` finds what was written. A map gives paths, fields, the header of our key and the version
//! of an order other names. Without a header for keys it honours none, and a reset of the connection says nothing about
//! whether a write was applied.

mod settings;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};
use reqwest::{Method, RequestBuilder, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe,
    http::{client, failed_write, head, in_path, retry_after, transient},
};
use crate::{
    config::{SaleTerms, Secret},
    core::reconcile::{Posting, PostingKind},
};
pub use settings::{Paths, PostingMap, RestMap, Version};

const PAGE: usize = 200;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(15);

/// How to reach it, and its map.
#[derive(Debug, Clone)]
pub struct RestOptions {
    /// Its root, such as `http://127.0.0.1:8090`.
    pub url: String,
    /// The bearer token.
    pub token: Secret,
    /// Its words for depots, where they differ from ours.
    pub sites: BTreeMap<String, SiteId>,
    /// What holds for an order that is read by a map and does not say it.
    pub terms: SaleTerms,
    /// Its paths and fields.
    pub map: RestMap,
}

/// The connector.
pub struct Rest {
    options: RestOptions,
    http: reqwest::Client,
}

/// An answer to a read, and the tag in its head.
struct Read {
    body: Value,
    tag: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursors {
    orders: String,
    customers: String,
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

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Read, ErpError> {
        let request = self.request(Method::GET, path, query)?;
        let response = request.send().await.map_err(|e| transient(&e))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let text = response.text().await.map_err(|e| transient(&e))?;
        if status.is_success() {
            let body = serde_json::from_str(&text);
            let body = body.map_err(|e| ErpError::Contract { detail: format!("GET {path}: {e}") })?;
            return Ok(Read { body, tag });
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

    async fn page(&self, path: &str, list: &str, since: &str) -> Result<(Vec<Value>, String, bool), ErpError> {
        let (paths, limit) = (&self.options.map.paths, PAGE.to_string());
        let mut query = vec![(paths.limit.as_str(), limit.as_str())];
        if !since.is_empty() {
            query.push((&paths.since, since));
        }
        let mut answer = self.get(path, &query).await?.body;
        let (Value::Array(items), Some(cursor)) = (answer[list].take(), answer[&paths.cursor].as_str()) else {
            let detail = format!("GET {path}: a list {list:?} and a cursor in {:?} are expected", paths.cursor);
            return Err(ErpError::Contract { detail });
        };
        let more = items.len() >= PAGE;
        Ok((items, cursor.to_owned(), more))
    }

    /// Like [`Self::page`]; begins anew when the ERP no longer knows the cursor, since it lost its state then.
    async fn page_or_anew(&self, path: &str, list: &str, since: &str) -> Result<(Vec<Value>, String, bool), ErpError> {
        match self.page(path, list, since).await {
            Err(ErpError::Rejected { detail }) if !since.is_empty() => {
                tracing::warn!(%detail, "the ERP does not know the cursor of {path}; reading it from the beginning");
                self.page(path, list, "").await
            }
            page => page,
        }
    }

    fn read_order(&self, value: Value) -> Result<Order, String> {
        match &self.options.map.order {
            Some(map) => map.read(&value, &self.options.sites, &self.options.terms),
            None => wire::read_order(value, &self.options.sites),
        }
    }

    fn read_customer(&self, value: Value) -> Result<Customer, String> {
        match &self.options.map.customer {
            Some(map) => map.read(&value),
            None => wire::read_customer(value),
        }
    }

    async fn read_one(&self, path: &str, id: &str) -> Result<Read, ErpError> {
        self.get(&format!("{path}/{}", in_path(id)), &[]).await
    }

    /// The posting under the ERP's names.
    fn body(&self, posting: &Posting) -> Map<String, Value> {
        let map = &self.options.map.posting;
        let kind = map.kinds.get(&posting.kind).map_or(posting.kind.as_str(), String::as_str);
        let mut body = Map::new();
        let mut put = |name: &String, value: Value| drop(body.insert(name.clone(), value));
        put(&map.kind, json!(kind));
        put(&map.order, json!(posting.order));
        put(&map.reference, json!(posting.key));
        put(&map.text, json!(posting.text));
        put(&map.at, json!(posting.at.to_string()));
        if let Some(line) = posting.line {
            put(&map.line, json!(line));
        }
        if let Some(quantity) = posting.quantity {
            put(&map.quantity, json!(quantity));
        }
        if let Some(status) = posting.status.filter(|_| posting.kind == PostingKind::OrderChange) {
            put(&map.status, json!(status));
        }
        if let Some(amount) = posting.amount_minor {
            put(&map.amount, json!(amount));
        }
        body
    }

    async fn send(
        &self,
        posting: &Posting,
        body: &Map<String, Value>,
        tag: Option<String>,
    ) -> Result<Applied, ErpError> {
        let (path, map) = (&self.options.map.paths.postings, &self.options.map);
        let mut request = self.request(Method::POST, path, &[])?.json(body);
        if let Some(name) = &map.key_header {
            request = request.header(name, &posting.key);
        }
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        let response = request.send().await.map_err(|e| failed_write(&e))?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        // The answer's body is lost or not: the status alone says that it was applied.
        let text = response.text().await.unwrap_or_default();
        if status.is_success() {
            let made = serde_json::from_str::<Value>(&text).unwrap_or_default();
            return Ok(Applied { document: self.name(&made[&map.posting.made], posting) });
        }
        let detail = format!("POST {path} answered {status}: {}", head(&text));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErpError::Auth { detail },
            StatusCode::NOT_FOUND => ErpError::NotFound { detail },
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => ErpError::Conflict { detail },
            StatusCode::TOO_MANY_REQUESTS => ErpError::Transient { detail, retry_after },
            // Whether it failed before or after the write, nobody says.
            s if s.is_server_error() => ErpError::Ambiguous { detail },
            _ => ErpError::Rejected { detail },
        })
    }

    fn name(&self, number: &Value, posting: &Posting) -> String {
        match number {
            Value::Null => posting.key.clone(),
            Value::String(text) => format!("{} {text}", self.options.map.posting.made),
            other => format!("{} {other}", self.options.map.posting.made),
        }
    }
}

#[async_trait]
impl Connector for Rest {
    fn name(&self) -> &str {
        "rest"
    }

    fn caps(&self) -> Caps {
        let honours_keys = self.options.map.key_header.is_some();
        Caps { honours_keys, orders_in_credit: false, orders_in_stock: false }
    }

    fn takes(&self, kind: PostingKind) -> bool {
        !self.options.map.posting.lacks.contains(&kind)
    }

    async fn changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        let cursors: Cursors = serde_json::from_str(&since.0).unwrap_or_default();
        let paths = &self.options.map.paths;
        // Customers first, so that an order's customer is known before the order is weighed.
        let (customers, after_customers, more_customers) =
            self.page_or_anew(&paths.customers, &paths.customers_list, &cursors.customers).await?;
        let (orders, after_orders, more_orders) =
            self.page_or_anew(&paths.orders, &paths.orders_list, &cursors.orders).await?;
        let cursors = Cursors { orders: after_orders, customers: after_customers };
        let mut page = ChangePage { more: more_customers || more_orders, ..ChangePage::default() };
        for customer in customers {
            match self.read_customer(customer) {
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
        let read = self.read_one(&self.options.map.paths.orders, id.as_str()).await?;
        self.read_order(read.body).map_err(|detail| ErpError::Contract { detail })
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        let read = self.read_one(&self.options.map.paths.customers, id.as_str()).await?;
        self.read_customer(read.body).map_err(|detail| ErpError::Contract { detail })
    }

    async fn stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        #[derive(Deserialize)]
        struct Level {
            product: ProductId,
            available: i64,
        }
        let (paths, map) = (&self.options.map.paths, &self.options.map.stock);
        let theirs = self.options.sites.iter().find(|(_, ours)| *ours == site).map(|(theirs, _)| theirs.as_str());
        let mut read = self.get(&paths.stock, &[(&paths.site, theirs.unwrap_or(site.as_str()))]).await?;
        let contract = |detail: String| ErpError::Contract { detail: format!("GET {}: {detail}", paths.stock) };
        let Value::Array(levels) = read.body[&paths.stock_list].take() else {
            return Err(contract(format!("a list {:?} is expected", paths.stock_list)));
        };
        let level = |value: Value| match map {
            Some(map) => map.read(&value),
            None => serde_json::from_value::<Level>(value).map(|l| (l.product, l.available)).map_err(|e| e.to_string()),
        };
        levels.into_iter().map(|value| level(value).map_err(contract)).collect()
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mut body = self.body(posting);
        let version = &self.options.map.version;
        if *version == Version::None {
            return self.send(posting, &body, None).await;
        }
        // The version is read before it is asked whether the posting is there. The other way round, another writer's
        // could come in between, and ours would go out under the version that theirs made.
        let order = self.read_one(&self.options.map.paths.orders, posting.order.as_str()).await?;
        if let Probe::Applied(applied) = self.probe(posting).await? {
            return Ok(applied);
        }
        let missing =
            |what: &str| ErpError::Contract { detail: format!("order {} comes without {what}", posting.order) };
        let tag = match version {
            Version::Field(name) => {
                let value = order.body.get(name).filter(|value| !value.is_null());
                body.insert(name.clone(), value.ok_or_else(|| missing(name))?.clone());
                None
            }
            _ => Some(order.tag.filter(|tag| tag != "*").ok_or_else(|| missing("a tag"))?),
        };
        self.send(posting, &body, tag).await
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        let (paths, map) = (&self.options.map.paths, &self.options.map.posting);
        let answer = self.get(&paths.postings, &[(&map.reference, &posting.key)]).await?.body;
        let Some(found) = answer[&paths.postings_list].as_array() else {
            let detail = format!("GET {}: a list {:?} is expected", paths.postings, paths.postings_list);
            return Err(ErpError::Contract { detail });
        };
        Ok(match found.first() {
            // An ERP that does not know the parameter answers with any of its postings.
            Some(found) if found[&map.reference] != posting.key => {
                let detail = format!("GET {}: asked for {} and found another", paths.postings, posting.key);
                return Err(ErpError::Contract { detail });
            }
            Some(found) => Probe::Applied(Applied { document: self.name(&found[&map.number], posting) }),
            None => Probe::NotApplied,
        })
    }
}
