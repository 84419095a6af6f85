//! A Tryton that `tests/tryton/start` has started: its clerk, its books, and a line to it that loses answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::{
    id::{CarrierId, DecisionId, DoorId, OrderId, ProductId, VehicleId},
    order::LineQuantity,
    time::UtcMs,
};
use gatehouse_hub::{
    config::{SaleTerms, Secret},
    core::reconcile::{Posting, PostingKind},
    erp::tryton::{Tryton, TrytonOptions},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

static DECISIONS: AtomicU32 = AtomicU32::new(1);

/// The server's file, as `start` wrote it.
pub fn server() -> Value {
    let path = std::env::var("GATEHOUSE_TRYTON").expect("GATEHOUSE_TRYTON names server.json; tests/tryton/run sets it");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn options(url: &str) -> TrytonOptions {
    let server = server();
    TrytonOptions {
        url: url.to_owned(),
        database: server["database"].as_str().unwrap().to_owned(),
        user: "hub".to_owned(),
        password: Secret::new(server["users"]["hub"].as_str().unwrap()),
        sites: std::collections::BTreeMap::new(),
        terms: SaleTerms {
            vehicle: Some(VehicleId::new("V1").unwrap()),
            carrier: Some(CarrierId::new("ACME").unwrap()),
            door: Some(DoorId::new("1").unwrap()),
            ..SaleTerms::default()
        },
    }
}

/// The connector under test, on the straight line.
pub fn connector() -> Tryton {
    Tryton::new(options(server()["url"].as_str().unwrap())).unwrap()
}

/// A person at Tryton.
pub struct Clerk {
    http: reqwest::Client,
    address: String,
    authorization: String,
    server: Value,
}

impl Clerk {
    pub async fn at_work() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let server = server();
        let address = format!("{}/{}/rpc/", server["url"].as_str().unwrap(), server["database"].as_str().unwrap());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut clerk = Self { http, address, authorization: String::new(), server };
        let password = clerk.server["users"]["admin"].clone();
        let login = clerk.ask("common.db.login", json!(["admin", { "password": password }, "en"])).await;
        let session = format!("admin:{}:{}", login[0], login[1].as_str().unwrap());
        clerk.authorization = format!("Session {}", STANDARD.encode(session));
        clerk
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({ "id": 1, "method": method, "params": params });
        let answer = loop {
            let request = self.http.post(&self.address).header("Authorization", &self.authorization);
            let answer = request.json(&body).send().await.unwrap();
            // Confirming locks all sales, and Tryton sends a second one away: a person presses again.
            if answer.status() != reqwest::StatusCode::SERVICE_UNAVAILABLE {
                break answer.json::<Value>().await.unwrap();
            }
        };
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub async fn call(&self, method: &str, params: Vec<Value>) -> Value {
        let mut params = params;
        params.push(json!({ "company": self.server["company"], "companies": [self.server["company"]] }));
        self.ask(&format!("model.{method}"), Value::Array(params)).await
    }

    pub async fn find(&self, model: &str, domain: Value, fields: &[&str]) -> Vec<Value> {
        let params = vec![domain, json!(0), Value::Null, json!([["id", "ASC"]]), json!(fields)];
        self.call(&format!("{model}.search_read"), params).await.as_array().unwrap().clone()
    }

    /// Sales of the customer C1 from the depot D1, `count` of them at once, after `buttons` were pressed.
    async fn sales(&self, count: usize, lines: &[(&str, u32)], comment: &str, buttons: &[&str]) -> Vec<i64> {
        let party = &self.server["customers"]["C1"];
        let line = |(code, units): &(&str, u32)| {
            let product = &self.server["products"][code];
            json!({
                "product": product["id"], "unit": product["unit"], "quantity": units,
                "unit_price": { "__class__": "Decimal", "decimal": product["price"] },
            })
        };
        let sale = json!({
            "party": party["id"], "invoice_address": party["address"], "shipment_address": party["address"],
            "warehouse": self.server["warehouses"]["D1"], "currency": self.server["currency"],
            "payment_term": self.server["payment_term"], "invoice_method": "fulfillment",
            "shipment_method": "order", "reference": "PO-7", "comment": comment,
            "lines": [["create", lines.iter().map(line).collect::<Vec<_>>()]],
        });
        let made = self.call("sale.sale.create", vec![json!(vec![sale; count])]).await;
        for button in buttons {
            self.call(&format!("sale.sale.{button}"), vec![made.clone()]).await;
        }
        made.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
    }

    /// Confirms a sale of the customer C1 from the depot D1.
    pub async fn confirms(&self, lines: &[(&str, u32)]) -> SaleAtTryton {
        self.confirms_with(lines, "").await
    }

    pub async fn confirms_with(&self, lines: &[(&str, u32)], comment: &str) -> SaleAtTryton {
        let id = self.sales(1, lines, comment, &["quote", "confirm"]).await[0];
        SaleAtTryton { id, number: self.number(id).await }
    }

    /// Offers a sale that the customer has not agreed to.
    pub async fn quotes(&self, lines: &[(&str, u32)]) -> SaleAtTryton {
        let id = self.sales(1, lines, "", &["quote"]).await[0];
        SaleAtTryton { id, number: self.number(id).await }
    }

    pub async fn confirms_many(&self, count: usize) -> Vec<String> {
        let made = self.sales(count, &[("P3", 1)], "", &["quote", "confirm"]).await;
        let rows = self.find("sale.sale", json!([["id", "in", made]]), &["number"]).await;
        rows.iter().map(|row| row["number"].as_str().unwrap().to_owned()).collect()
    }

    async fn number(&self, sale: i64) -> OrderId {
        let rows = self.find("sale.sale", json!([["id", "=", sale]]), &["number"]).await;
        OrderId::new(rows[0]["number"].as_str().unwrap()).unwrap()
    }

    pub async fn cancels_shipments(&self, sale: &SaleAtTryton) {
        let ids: Vec<Value> = self.shipments(sale).await.iter().map(|s| s["id"].clone()).collect();
        self.call("stock.shipment.out.cancel", vec![json!(ids)]).await;
    }

    /// Changes a sale that is under way by Tryton's own amendment.
    pub async fn amends(&self, sale: &SaleAtTryton, code: &str, units: u32) {
        let domain = json!([["sale", "=", sale.id], ["product.code", "=", code]]);
        let line = self.find("sale.line", domain, &["product", "unit", "unit_price"]).await.remove(0);
        let change = json!({
            "action": "line", "line": line["id"], "quantity": units, "product": line["product"], "unit": line["unit"],
            "unit_price": line["unit_price"],
        });
        let amendment = json!({ "sale": sale.id, "lines": [["create", [change]]] });
        let made = self.call("sale.amendment.create", vec![json!([amendment])]).await;
        self.call("sale.amendment.validate_amendment", vec![made]).await;
    }

    /// Shipments of a sale, by id.
    pub async fn shipments(&self, sale: &SaleAtTryton) -> Vec<Value> {
        let domain = json!([["moves.origin.sale", "=", sale.id, "sale.line"]]);
        self.find("stock.shipment.out", domain, &["number", "state", "reference"]).await
    }

    /// States of the sale's shipments, in words.
    pub async fn states(&self, sale: &SaleAtTryton) -> String {
        let states: Vec<String> =
            self.shipments(sale).await.iter().map(|s| s["state"].as_str().unwrap().to_owned()).collect();
        states.join(", ")
    }

    /// What left, by product: `P1 4, P2 2`.
    pub async fn left(&self, sale: &SaleAtTryton) -> String {
        let domain = json!([["origin.sale", "=", sale.id, "sale.line"], ["state", "=", "done"]]);
        in_words(&self.find("stock.move", domain, &["product.code", "quantity"]).await)
    }

    /// Invoices of a sale with state and units: `posted: P1 4`.
    pub async fn invoices(&self, sale: &SaleAtTryton) -> String {
        let domain = json!([["sales", "=", sale.id]]);
        let mut told = Vec::new();
        for invoice in self.find("account.invoice", domain, &["state", "reference"]).await {
            let lines = json!([["invoice", "=", invoice["id"]]]);
            let lines = self.find("account.invoice.line", lines, &["product.code", "quantity"]).await;
            told.push(format!("{}: {}", invoice["state"].as_str().unwrap(), in_words(&lines)));
        }
        told.join("; ")
    }
}

fn in_words(rows: &[Value]) -> String {
    let mut parts: Vec<String> =
        rows.iter().map(|row| format!("{} {}", row["product."]["code"].as_str().unwrap(), row["quantity"])).collect();
    parts.sort();
    parts.join(", ").replace(".0", "")
}

pub struct SaleAtTryton {
    pub id: i64,
    pub number: OrderId,
}

/// What one decision posts.
pub struct Decision {
    id: DecisionId,
    order: OrderId,
}

impl Decision {
    pub fn about(sale: &SaleAtTryton) -> Self {
        let n = DECISIONS.fetch_add(1, Ordering::Relaxed);
        Self {
            id: DecisionId::new(format!("D1-gateway-{}-{n}", std::process::id())).unwrap(),
            order: sale.number.clone(),
        }
    }

    fn posting(&self, kind: PostingKind, line: Option<u16>, quantity: Option<u32>, load: &[u32]) -> Posting {
        let total = load.iter().zip(1..).map(|(quantity, line)| LineQuantity {
            line,
            product: ProductId::new("P").unwrap(),
            quantity: *quantity,
        });
        Posting {
            key: format!("{}/{}/{}", self.id, kind.as_str(), line.unwrap_or(0)),
            decision: self.id.clone(),
            order: self.order.clone(),
            line,
            kind,
            quantity,
            total: total.collect(),
            status: None,
            text: "as the depot says".to_owned(),
            at: UtcMs(0),
        }
    }

    pub fn of(&self, kind: PostingKind) -> Posting {
        self.posting(kind, None, None, &[])
    }

    /// One posting per line of a load, each with the whole load in it, as the reconciler makes them.
    pub fn each(&self, kind: PostingKind, load: &[u32]) -> Vec<Posting> {
        let lines = load.iter().zip(1..).filter(|(units, _)| **units > 0);
        lines.map(|(units, line)| self.posting(kind, Some(line), Some(*units), load)).collect()
    }

    pub fn changes_line(&self, line: u16, quantity: u32) -> Posting {
        self.posting(PostingKind::OrderChange, Some(line), Some(quantity), &[])
    }
}

/// A line to Tryton on which the answers to chosen calls are lost: the call is done, the connection is cut.
pub struct LossyLine {
    pub url: String,
    pub lost: Arc<AtomicU32>,
    pub asked: Arc<AtomicU32>,
}

impl LossyLine {
    /// Loses the first answer to a call whose body holds `method`.
    pub async fn losing(method: &'static str) -> Self {
        let server = server();
        let target: SocketAddr = server["url"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (lost, asked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counts = (lost.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (lost, asked) = counts.clone();
                tokio::spawn(relay(near, target, method, lost, asked));
            }
        });
        Self { url, lost, asked }
    }
}

async fn relay(mut near: TcpStream, target: SocketAddr, method: &str, lost: Arc<AtomicU32>, asked: Arc<AtomicU32>) {
    let mut far = TcpStream::connect(target).await.unwrap();
    let (mut up, mut down) = (vec![0; 65536], vec![0; 65536]);
    let mut loses_next = false;
    loop {
        tokio::select! {
            read = near.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..n]);
                asked.fetch_add(u32::try_from(text.matches("POST ").count()).unwrap(), Ordering::Relaxed);
                loses_next = text.contains(method) && lost.load(Ordering::Relaxed) == 0;
                far.write_all(&up[..n]).await.unwrap();
            }
            read = far.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if loses_next {
                    // Tryton has done it and answers: the answer ends here.
                    lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                if near.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
