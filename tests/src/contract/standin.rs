//! The stand-in ERP as a shop: with keys that it honours, with versions of orders, with neither, and under other names.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use gatehouse_common::id::{CustomerId, OrderId, ProductId, SiteId};
use gatehouse_hub::{
    config::{SaleTerms, Secret},
    core::reconcile::{Posting, PostingKind},
    erp::{
        Connector,
        rest::{self, Rest, RestMap, RestOptions, Version},
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Books, Decision, Shop};
use crate::standin::erp::{Erp, ErpOptions, Faults};

const TOKEN: &str = "erp-token-canary";
const STRANGER: &str = "stranger-canary";

/// A stand-in of its own.
pub struct StandIn {
    address: SocketAddr,
    map: RestMap,
    unique_keys: bool,
    orders: AtomicU32,
    http: reqwest::Client,
}

impl StandIn {
    /// One that honours the key in a header.
    pub async fn with_keys() -> Self {
        Self::new(RestMap { key_header: Some("Idempotency-Key".to_owned()), ..RestMap::default() }).await
    }

    /// One that knows neither keys nor versions.
    pub async fn plain() -> Self {
        Self::new(RestMap::default()).await
    }

    /// One that takes a posting only under the tag of its order.
    pub async fn with_tags() -> Self {
        Self::new(RestMap { version: Version::Etag, ..RestMap::default() }).await
    }

    /// One with other names for everything, that takes a posting only under the version in a field of its order.
    /// # Panics
    /// If the map cannot be read.
    pub async fn under_other_names() -> Self {
        let map: RestMap = toml::from_str(include_str!("dialect.toml")).expect("the map is one");
        Self::new(RestMap { version: Version::Field("rev".to_owned()), ..map }).await
    }

    /// One that answers as ERPNext, by the map that we hand out.
    /// # Panics
    /// If the map cannot be read.
    pub async fn as_erpnext() -> Self {
        Self::new_with(handed_out(include_str!("../../../docs/erpnext/erpnext.toml")), true).await
    }

    /// One that answers as Odoo over JSON-2, by the map that we hand out.
    /// # Panics
    /// If the map cannot be read.
    pub async fn as_odoo() -> Self {
        Self::new_with(handed_out(include_str!("../../../docs/odoo/odoo.toml")), true).await
    }

    async fn new(map: RestMap) -> Self {
        Self::new_with(map, false).await
    }

    async fn new_with(map: RestMap, unique_keys: bool) -> Self {
        let honours_keys = map.key_header.is_some();
        rustls::crypto::ring::default_provider().install_default().ok();
        let faults = Faults { reset_after_apply: 0, ..Faults::default() };
        let options = ErpOptions {
            token: TOKEN.to_owned(),
            honour_keys: honours_keys,
            unique_keys,
            faults,
            ..ErpOptions::default()
        };
        let erp = Erp::open(options).expect("an ERP without files opens");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        tokio::spawn(async move { erp.serve(listener).await });
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let shop = Self { address, map, unique_keys, orders: AtomicU32::new(0), http };
        let credit = json!({ "on_hold": false, "limit_minor": 100_000_000, "exposure_minor": 0, "currency": "EUR" });
        shop.admin(Method::PUT, "customers/C1", json!({ "name": "One", "tier": "b", "credit": credit })).await;
        for site in ["D1", "D2"] {
            shop.admin(Method::PUT, "stock", json!({ "site": site, "product": "P1", "available": 1000 })).await;
        }
        shop
    }

    /// A name that no order has.
    pub(crate) fn next_id(&self) -> OrderId {
        OrderId::new(format!("SO-{}", self.orders.fetch_add(1, Ordering::Relaxed))).expect("a plain name")
    }

    /// The clerk writes an order as the books keep it.
    pub(crate) async fn puts(&self, id: &OrderId, order: Value) {
        self.admin(Method::PUT, &format!("orders/{id}"), order).await;
    }

    /// The credit of the one customer is blocked, or free again.
    pub(crate) async fn blocks_credit(&self, on_hold: bool) {
        self.admin(Method::POST, "customers/C1/hold", json!({ "on_hold": on_hold })).await;
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("http://{}/admin/{path}", self.address);
        let answer = self.http.request(method, url).body(body.to_string()).send().await.expect("it answers");
        let status = answer.status();
        let body = answer.text().await.expect("it says something");
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).expect("it speaks JSON")
    }

    /// Credit notes that were proposed for an order: line, units, worth.
    /// # Panics
    /// If it does not answer.
    pub async fn credits(&self, order: &OrderId) -> Vec<(u64, u64, i64)> {
        let url = format!("http://{}/admin/effects", self.address);
        let answer = self.http.get(url).send().await.expect("it answers").text().await.expect("it says something");
        let told: Value = serde_json::from_str(&answer).expect("it speaks JSON");
        let effects = told["effects"].as_array().cloned().unwrap_or_default();
        let is_ours = |e: &&Value| e["kind"] == "credit_note" && e["order"] == order.as_str();
        let number = |e: &Value, name: &str| e[name].as_u64().unwrap_or_default();
        let read =
            |e: &Value| (number(e, "line"), number(e, "quantity"), e["amount_minor"].as_i64().unwrap_or_default());
        effects.iter().filter(is_ours).map(read).collect()
    }

    fn rest(&self, address: SocketAddr, token: &str) -> Arc<dyn Connector> {
        let options = RestOptions {
            url: format!("http://{address}"),
            token: Secret::new(token),
            answer_within: rest::ANSWER_WITHIN,
            sites: [("WH-1".to_owned(), SiteId::new("D8").expect("a plain name"))].into(),
            terms: SaleTerms {
                vehicle: "V1".parse().ok(),
                carrier: "ACME".parse().ok(),
                door: "1".parse().ok(),
                ..SaleTerms::default()
            },
            map: self.map.clone(),
        };
        Arc::new(Rest::new(options).expect("a connector"))
    }
}

/// The map in a configuration of ours.
fn handed_out(text: &str) -> RestMap {
    let config: toml::Table = text.parse().expect("the configuration is TOML");
    config["erp"]["map"].clone().try_into().expect("the map is one")
}

#[async_trait]
impl Shop for StandIn {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn connector(&self, address: SocketAddr) -> Arc<dyn Connector> {
        self.rest(address, TOKEN)
    }

    fn stranger(&self, address: SocketAddr) -> Arc<dyn Connector> {
        self.rest(address, STRANGER)
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned(), STRANGER.to_owned()]
    }

    fn names(&self) -> (SiteId, CustomerId, ProductId) {
        let plain = "a plain name";
        (SiteId::new("D1").expect(plain), CustomerId::new("C1").expect(plain), ProductId::new("P1").expect(plain))
    }

    fn mark_of(&self, kind: PostingKind) -> String {
        let names = &self.map.posting;
        format!("\"{}\":\"{}\"", names.kind, names.kinds.get(&kind).map_or(kind.as_str(), String::as_str))
    }

    async fn orders(&self, quantities: &[u32]) -> OrderId {
        let id = self.next_id();
        let line = |(quantity, n): (&u32, u32)| json!({ "line": n, "product": "P1", "quantity": quantity, "unit_price_minor": 1250 });
        let order = json!({
            "site": "D1", "customer": { "id": "C1", "name": "One", "tier": "b" }, "currency": "EUR",
            "lines": quantities.iter().zip(1..).map(line).collect::<Vec<_>>(),
            "class": "standard", "vehicle": "V1", "carrier": "ACME", "door": "1", "status": "released",
            "planned_departure": "2030-01-31T08:00:00Z", "window_end": "2030-02-01T08:00:00Z", "destination": null,
        });
        self.puts(&id, order).await;
        id
    }

    async fn cancels(&self, order: &OrderId) {
        self.admin(Method::POST, &format!("orders/{order}/cancel"), json!({})).await;
    }

    async fn books(&self, order: &OrderId) -> Books {
        let url = format!("http://{}/orders/{order}", self.address);
        let answer = self.http.get(url).bearer_auth(TOKEN).send().await.expect("it answers");
        let lines = answer.json::<Value>().await.expect("it speaks JSON")["lines"].as_array().map_or(0, Vec::len);
        let effects = self.http.get(format!("http://{}/admin/effects", self.address)).send().await;
        let effects: Value = effects.expect("it answers").json().await.expect("it speaks JSON");
        let sum = |kind: &str| -> Vec<i64> {
            let of_kind = effects["effects"].as_array().into_iter().flatten();
            let mut units = vec![0; lines];
            for effect in of_kind.filter(|e| e["kind"] == kind && e["order"] == order.as_str()) {
                let line = effect["line"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("it names a line");
                units[line - 1] += effect["quantity"].as_i64().expect("it names a quantity");
            }
            units
        };
        Books { issued: sum("goods_issue"), billed: sum("invoice"), returned: sum("return") }
    }

    async fn refused(&self) -> Posting {
        let order = self.orders(&[1]).await;
        self.cancels(&order).await;
        Decision::about(&order).of(PostingKind::Release)
    }

    fn stands_races(&self) -> bool {
        self.map.key_header.is_some() || self.unique_keys || self.map.version != Version::None
    }

    async fn ends_sessions(&self) -> bool {
        false
    }
}
