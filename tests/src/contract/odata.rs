//! A running SAP CAP with the model of `tests/odata` as a shop.

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
        odata::{Login, OData, ODataOptions},
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Books, Decision, Shop};

const PASSWORD: &str = "hub-pass-canary";
const STRANGER: &str = "stranger-canary";
const CLERK: (&str, &str) = ("clerk", "clerk-pass-1");
static ORDERS: AtomicU32 = AtomicU32::new(1);

/// The shop that `GATEHOUSE_ODATA` names, such as `127.0.0.1:4004`.
pub struct AtCap {
    address: SocketAddr,
    http: reqwest::Client,
}

impl AtCap {
    /// A clerk at work there.
    /// # Panics
    /// If no shop is named, or it does not answer.
    pub async fn new() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let address =
            std::env::var("GATEHOUSE_ODATA").expect("GATEHOUSE_ODATA names the shop; tests/odata/run sets it");
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { address: address.parse().expect("an address"), http }
    }

    async fn ask(&self, method: Method, path: &str, tag: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}/odata/v4/shop/{path}", self.address);
        let mut request = self.http.request(method, url).basic_auth(CLERK.0, Some(CLERK.1));
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("it answers");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn read(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The clerk enters a delivery, whose name and customer are made here.
    pub(crate) async fn delivers(&self, mut delivery: Value) -> OrderId {
        let id = format!("8{:07}", ORDERS.fetch_add(1, Ordering::Relaxed));
        delivery["DeliveryDocument"] = id.clone().into();
        delivery["TransactionCurrency"] = "EUR".into();
        delivery["SoldToPartyName"] = "One".into();
        if delivery.get("SoldToParty").is_none() {
            delivery["SoldToParty"] = "C1".into();
        }
        let (status, body) = self.ask(Method::POST, "Deliveries", None, Some(delivery)).await;
        assert_eq!(status, 201, "{body}");
        OrderId::new(id).expect("a plain name")
    }

    /// The clerk changes a line of a delivery.
    pub(crate) async fn changes_line(&self, order: &OrderId, line: u16, fields: Value) {
        let path = format!("DeliveryItems(delivery_DeliveryDocument='{order}',DeliveryDocumentItem={line})");
        let (status, body) = self.ask(Method::PATCH, &path, None, Some(fields)).await;
        assert_eq!(status, 200, "{path}: {body}");
        // The delivery counts as changed as well.
        self.changes(order, json!({ "DeletionFlag": false })).await;
    }

    /// The credit of C1 is blocked, or free again.
    pub(crate) async fn blocks_credit(&self, is_blocked: bool) {
        let url = format!("http://{}/test/credit-block/C1/{is_blocked}", self.address);
        let done = self.http.post(url).send().await;
        assert_eq!(done.map(|answer| answer.status().as_u16()).ok(), Some(204));
    }

    /// The clerk changes a delivery, again if someone else was quicker.
    pub(crate) async fn changes(&self, order: &OrderId, fields: Value) {
        for _ in 0..20 {
            let path = format!("Deliveries('{order}')");
            let tag = self.read(&path).await["@odata.etag"].as_str().expect("a tag").to_owned();
            match self.ask(Method::PATCH, &path, Some(&tag), Some(fields.clone())).await {
                (200, _) => return,
                (412, _) => {}
                (status, body) => panic!("{path}: {status} {body}"),
            }
        }
        panic!("{order} does not come to rest");
    }

    fn odata(address: SocketAddr, password: &str) -> Arc<dyn Connector> {
        let name = "X1";
        let options = ODataOptions {
            url: format!("http://{address}/odata/v4/shop"),
            login: Login::Basic { user: "hub".to_owned(), password: Secret::new(password) },
            csrf: true,
            sites: std::collections::BTreeMap::new(),
            terms: SaleTerms {
                vehicle: name.parse().ok(),
                carrier: name.parse().ok(),
                door: name.parse().ok(),
                ..SaleTerms::default()
            },
            map: toml::from_str(include_str!("../../odata/map.toml")).expect("the map is one"),
        };
        Arc::new(OData::new(options).expect("a connector"))
    }

    async fn order_of(&self, quantities: &[u32], customer: &str) -> OrderId {
        let item = |(quantity, n): (&u32, u32)| {
            json!({ "DeliveryDocumentItem": n, "Material": "P1", "OrderedQuantity": quantity,
                    "ActualDeliveryQuantity": quantity, "NetPriceAmount": 12.5, "ItemWeightGrams": 700 })
        };
        let delivery = json!({
            "Plant": "D1", "SoldToParty": customer, "MeansOfTransport": "V1", "Carrier": "ACME", "UnloadingPoint": "1",
            "PlannedGoodsIssueTime": "2030-01-31T08:00:00Z", "DeliveryTime": "2030-02-01T08:00:00Z",
            "items": quantities.iter().zip(1..).map(item).collect::<Vec<_>>(),
        });
        self.delivers(delivery).await
    }

    /// Units by line of the documents in `set` that name an order.
    async fn sum(&self, set: &str, order: &OrderId, lines: usize) -> Vec<i64> {
        let found = self.read(&format!("{set}?$filter=DeliveryDocument%20eq%20'{order}'&$expand=items")).await;
        let mut units = vec![0; lines];
        for item in found["value"].as_array().into_iter().flatten().flat_map(|d| d["items"].as_array()).flatten() {
            units[line_of(item)] += whole(&item["Quantity"]);
        }
        units
    }
}

fn line_of(item: &Value) -> usize {
    item["DeliveryDocumentItem"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a number") - 1
}

/// `"3.000"` or 3.
fn whole(value: &Value) -> i64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.split('.').next().and_then(|whole| whole.parse().ok()).expect("a quantity")
}

#[async_trait]
impl Shop for AtCap {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn connector(&self, address: SocketAddr) -> Arc<dyn Connector> {
        Self::odata(address, PASSWORD)
    }

    fn stranger(&self, address: SocketAddr) -> Arc<dyn Connector> {
        Self::odata(address, STRANGER)
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned(), STRANGER.to_owned()]
    }

    fn names(&self) -> (SiteId, CustomerId, ProductId) {
        let plain = "a plain name";
        (SiteId::new("D1").expect(plain), CustomerId::new("C1").expect(plain), ProductId::new("P1").expect(plain))
    }

    fn mark_of(&self, kind: PostingKind) -> String {
        match kind {
            PostingKind::Release => "\"ReleaseStatus\":\"B\"",
            PostingKind::VoidRelease => "\"ReleaseStatus\":\"A\"",
            PostingKind::GoodsIssue => "/ShopService.PostGoodsIssue HTTP",
            PostingKind::Invoice => "POST /odata/v4/shop/BillingDocuments",
            PostingKind::Return => "POST /odata/v4/shop/Returns",
            PostingKind::OrderChange => "\"OrderedQuantity\"",
            PostingKind::CreditNote => "no request at all",
        }
        .to_owned()
    }

    async fn orders(&self, quantities: &[u32]) -> OrderId {
        self.order_of(quantities, "C1").await
    }

    async fn cancels(&self, order: &OrderId) {
        self.changes(order, json!({ "DeletionFlag": true })).await;
    }

    async fn books(&self, order: &OrderId) -> Books {
        let delivery = self.read(&format!("Deliveries('{order}')?$expand=items")).await;
        let items = delivery["items"].as_array().expect("items");
        let mut issued = vec![0; items.len()];
        for item in items.iter().filter(|_| delivery["GoodsMovementStatus"] == "C") {
            issued[line_of(item)] = whole(&item["ActualDeliveryQuantity"]);
        }
        Books {
            billed: self.sum("BillingDocuments", order, issued.len()).await,
            returned: self.sum("Returns", order, issued.len()).await,
            issued,
        }
    }

    async fn refused(&self) -> Posting {
        // C9 is on credit hold.
        let order = self.order_of(&[1], "C9").await;
        Decision::about(&order).each(PostingKind::GoodsIssue, &[1]).remove(0)
    }

    fn stands_races(&self) -> bool {
        true
    }

    async fn ends_sessions(&self) -> bool {
        let ended = self.http.post(format!("http://{}/test/end-sessions", self.address)).send().await;
        assert_eq!(ended.map(|answer| answer.status().as_u16()).ok(), Some(204));
        true
    }
}
