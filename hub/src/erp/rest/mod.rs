//! An ERP that speaks plain JSON over HTTP with a bearer token.
//!
//! Built in: `GET /orders`, `/orders/{id}`, `/customers`, `/customers/{id}` and `/stock?site=`; `POST /effects` writes,
//! `GET /effects?reference=` finds what was written. A map gives paths, fields, the header of our key and the version
//! of an order other names. Without a header for keys it honours none, and a reset of the connection says nothing about
//! whether a write was applied.

mod ask;
mod calls;
mod settings;
mod wire;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};
use reqwest::{Method, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Applied, Caps, ChangePage, Connector, Customer, ErpCursor, ErpError, Probe,
    http::{client, in_path},
    map::Doc,
};
use crate::{
    config::{SaleTerms, Secret},
    core::reconcile::{Posting, PostingKind},
};
pub use ask::Errors;
use ask::Read;
pub use calls::{Call, Calls, Verb};
use calls::{Reached, at};
pub use settings::{Paths, PostingMap, RestMap, Version};

const PAGE: usize = 200;
/// How long an answer is waited for, unless the configuration says otherwise.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How to reach it, and its map.
#[derive(Debug, Clone)]
pub struct RestOptions {
    /// Its root, such as `http://127.0.0.1:8090`.
    pub url: String,
    /// The bearer token.
    pub token: Secret,
    /// How long an answer is waited for.
    pub answer_within: Duration,
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

/// Where a reader has got to: in the ERP's cursors, or by the times of changes where the map has calls.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursors {
    #[serde(default)]
    orders: String,
    #[serde(default)]
    customers: String,
    #[serde(default)]
    changed_orders: Reached,
    #[serde(default)]
    changed_customers: Reached,
}

impl Rest {
    /// A connector; nothing is sent yet.
    /// # Errors
    /// [`ErpError::Contract`] if no HTTP client can be made.
    pub fn new(options: RestOptions) -> Result<Self, ErpError> {
        Ok(Self { http: client(options.answer_within)?, options })
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

    async fn changes_by_cursor(&self, cursors: &mut Cursors) -> Result<(Vec<Value>, Vec<Value>, bool), ErpError> {
        let paths = &self.options.map.paths;
        // Customers first, so that an order's customer is known before the order is weighed.
        let (customers, after_customers, more_customers) =
            self.page_or_anew(&paths.customers, &paths.customers_list, &cursors.customers).await?;
        let (orders, after_orders, more_orders) =
            self.page_or_anew(&paths.orders, &paths.orders_list, &cursors.orders).await?;
        (cursors.orders, cursors.customers) = (after_orders, after_customers);
        Ok((customers, orders, more_customers || more_orders))
    }

    fn read_order(&self, value: Value) -> Result<Order, String> {
        match &self.options.map.order {
            Some(map) => map.read(&value, &self.options.sites, &self.options.terms).map_err(String::from),
            None => wire::read_order(value, &self.options.sites),
        }
    }

    fn read_customer(&self, value: Value) -> Result<Customer, String> {
        match &self.options.map.customer {
            Some(map) => map.read(&value).map_err(String::from),
            None => wire::read_customer(value),
        }
    }

    /// One order or customer, as the ERP has it.
    async fn read_one(&self, path: &str, call: Option<&Call>, id: &str) -> Result<Read, ErpError> {
        let Some(call) = call else { return self.get(&format!("{path}/{}", in_path(id)), &[]).await };
        match self.ask(call, &[("id", json!(id))]).await? {
            Some(body) => Ok(Read { body, tag: None }),
            None => Err(ErpError::NotFound { detail: format!("{} {}: no {id}", call.method.method(), call.path) }),
        }
    }

    async fn read_order_of(&self, id: &str) -> Result<Read, ErpError> {
        let map = &self.options.map;
        self.read_one(&map.paths.orders, map.calls.as_ref().map(|calls| &calls.order), id).await
    }

    async fn read_customer_of(&self, id: &str) -> Result<Read, ErpError> {
        let map = &self.options.map;
        self.read_one(&map.paths.customers, map.calls.as_ref().map(|calls| &calls.customer), id).await
    }

    /// A page of what changed, each row whole, and whether more waits.
    async fn changed(
        &self,
        call: &Call,
        one: &Call,
        id: &str,
        reached: &mut Reached,
    ) -> Result<(Vec<Value>, bool), ErpError> {
        let mut rows = self.ask_rows(call, &reached.places()).await?;
        let changed = |row: &Value| Some(at(row, call.changed.as_deref()?)?.as_str()?.to_owned());
        let last = rows.last().map(|row| {
            let detail = || format!("{}: a row without the time of its change at {:?}", call.path, call.changed);
            changed(row).ok_or_else(|| ErpError::Contract { detail: detail() })
        });
        let more = reached.passes(rows.len(), last.transpose()?);
        if call.one_by_one {
            let mut whole = Vec::new();
            for row in rows {
                let place = Doc { place: &call.path, value: &row };
                let id = place.text(id).map_err(|fault| ErpError::Contract { detail: fault.into() })?;
                // What is gone by now is told no more; its change was its end.
                whole.extend(self.ask(one, &[("id", json!(id))]).await?);
            }
            rows = whole;
        }
        Ok((rows, more))
    }

    async fn changes_by_calls(
        &self,
        calls: &Calls,
        cursors: &mut Cursors,
    ) -> Result<(Vec<Value>, Vec<Value>, bool), ErpError> {
        let map = &self.options.map;
        let id_of = |id: Option<&String>| id.map_or("id", String::as_str).to_owned();
        // Customers first, so that an order's customer is known before the order is weighed.
        let id = id_of(map.customer.as_ref().map(|customer| &customer.id));
        let (customers, more_customers) =
            self.changed(&calls.customers, &calls.customer, &id, &mut cursors.changed_customers).await?;
        let id = id_of(map.order.as_ref().map(|order| &order.id));
        let (orders, more_orders) = self.changed(&calls.orders, &calls.order, &id, &mut cursors.changed_orders).await?;
        Ok((customers, orders, more_customers || more_orders))
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
        let map = &self.options.map;
        let mut request = match &map.calls {
            Some(calls) => self.called(&calls.post, &[("posting", json!(body)), ("key", json!(posting.key))])?,
            None => self.request(Method::POST, &map.paths.postings, &[])?.json(body),
        };
        if let Some(name) = &map.key_header {
            request = request.header(name, &posting.key);
        }
        if let Some(tag) = tag {
            request = request.header(header::IF_MATCH, tag);
        }
        let path = map.calls.as_ref().map_or(&map.paths.postings, |calls| &calls.post.path);
        match self.write(request, &format!("POST {path}")).await {
            Ok(made) => {
                Ok(Applied { document: self.name(at(&made, &map.posting.made).unwrap_or(&Value::Null), posting) })
            }
            // Another may have written the very same, and the ERP refuses it a second time by our key.
            Err(error @ (ErpError::Conflict { .. } | ErpError::Rejected { .. })) => match self.probe(posting).await {
                Ok(Probe::Applied(applied)) => Ok(applied),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn name(&self, number: &Value, posting: &Posting) -> String {
        let map = &self.options.map.posting;
        let what = map.document.as_ref().unwrap_or(&map.made);
        match number {
            Value::Null => posting.key.clone(),
            Value::String(text) => format!("{what} {text}"),
            other => format!("{what} {other}"),
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
        let mut cursors: Cursors = serde_json::from_str(&since.0).unwrap_or_default();
        let (customers, orders, more) = match &self.options.map.calls {
            Some(calls) => self.changes_by_calls(calls, &mut cursors).await?,
            None => self.changes_by_cursor(&mut cursors).await?,
        };
        let mut page = ChangePage { more, ..ChangePage::default() };
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
        let read = self.read_order_of(id.as_str()).await?;
        self.read_order(read.body).map_err(|detail| ErpError::Contract { detail })
    }

    async fn customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        let read = self.read_customer_of(id.as_str()).await?;
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
        let theirs = theirs.unwrap_or(site.as_str());
        let contract = |detail: String| ErpError::Contract { detail: format!("stock of {theirs}: {detail}") };
        let levels = match &self.options.map.calls {
            Some(calls) => self.ask_rows(&calls.stock, &[("site", json!(theirs))]).await?,
            None => match self.get(&paths.stock, &[(&paths.site, theirs)]).await?.body[&paths.stock_list].take() {
                Value::Array(levels) => levels,
                _ => return Err(contract(format!("a list {:?} is expected", paths.stock_list))),
            },
        };
        let level = |value: Value| match map {
            Some(map) => map.read(&value).map_err(String::from),
            None => serde_json::from_value::<Level>(value).map(|l| (l.product, l.available)).map_err(|e| e.to_string()),
        };
        let mut stock = BTreeMap::new();
        for value in levels {
            let (product, units) = level(value).map_err(contract)?;
            // What lies at several places of a depot lies at the depot.
            *stock.entry(product).or_insert(0) += units;
        }
        Ok(stock)
    }

    async fn apply(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mut body = self.body(posting);
        let version = &self.options.map.version;
        if *version == Version::None {
            return self.send(posting, &body, None).await;
        }
        // The version is read before it is asked whether the posting is there. The other way round, another writer's
        // could come in between, and ours would go out under the version that theirs made.
        let order = self.read_order_of(posting.order.as_str()).await?;
        if let Probe::Applied(applied) = self.probe(posting).await? {
            return Ok(applied);
        }
        let missing =
            |what: &str| ErpError::Contract { detail: format!("order {} comes without {what}", posting.order) };
        let tag = match version {
            Version::Field(name) => {
                let value = order.body.get(name).filter(|value| !value.is_null());
                let sent_as = self.options.map.posting.version.as_ref().unwrap_or(name);
                body.insert(sent_as.clone(), value.ok_or_else(|| missing(name))?.clone());
                None
            }
            _ => Some(order.tag.filter(|tag| tag != "*").ok_or_else(|| missing("a tag"))?),
        };
        self.send(posting, &body, tag).await
    }

    async fn probe(&self, posting: &Posting) -> Result<Probe, ErpError> {
        let (paths, map) = (&self.options.map.paths, &self.options.map.posting);
        let found = match &self.options.map.calls {
            Some(calls) => self.ask_rows(&calls.find, &[("key", json!(posting.key))]).await?,
            None => {
                match self.get(&paths.postings, &[(&map.reference, &posting.key)]).await?.body[&paths.postings_list]
                    .take()
                {
                    Value::Array(found) => found,
                    _ => {
                        let detail = format!("GET {}: a list {:?} is expected", paths.postings, paths.postings_list);
                        return Err(ErpError::Contract { detail });
                    }
                }
            }
        };
        Ok(match found.first() {
            // An ERP that does not know the parameter answers with any of its postings.
            Some(found) if found[&map.reference] != posting.key => {
                let detail = format!("asked for the posting {} and found another", posting.key);
                return Err(ErpError::Contract { detail });
            }
            Some(found) => Probe::Applied(Applied { document: self.name(&found[&map.number], posting) }),
            None => Probe::NotApplied,
        })
    }
}
