//! A Tryton that `tests/tryton/start` has started: its clerk and its books.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a clerk who cannot work is a failed test")]

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_common::id::{CarrierId, DoorId, OrderId, VehicleId};
use gatehouse_hub::{
    config::{SaleTerms, Secret},
    erp::tryton::{Tryton, TrytonOptions},
};
use serde_json::{Value, json};

/// The server's file, as `start` wrote it.
pub fn server() -> Value {
    let path = std::env::var("GATEHOUSE_TRYTON").expect("GATEHOUSE_TRYTON names server.json; tests/tryton/run sets it");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Where it listens.
pub fn address() -> SocketAddr {
    server()["url"].as_str().unwrap().trim_start_matches("http://").parse().unwrap()
}

/// How a hub reaches it at `url`.
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
    /// Logs in as administrator.
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

    /// Calls a method of a model.
    pub async fn call(&self, method: &str, params: Vec<Value>) -> Value {
        let mut params = params;
        params.push(json!({ "company": self.server["company"], "companies": [self.server["company"]] }));
        self.ask(&format!("model.{method}"), Value::Array(params)).await
    }

    /// Rows of a model, by id.
    pub async fn find(&self, model: &str, domain: Value, fields: &[&str]) -> Vec<Value> {
        let params = vec![domain, json!(0), Value::Null, json!([["id", "ASC"]]), json!(fields)];
        self.call(&format!("{model}.search_read"), params).await.as_array().unwrap().clone()
    }

    /// Sales of the customer C1 from a depot, `count` of them at once, after `buttons` were pressed.
    async fn sales(
        &self,
        site: &str,
        count: usize,
        lines: &[(&str, u32)],
        comment: &str,
        buttons: &[&str],
    ) -> Vec<i64> {
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
            "warehouse": self.server["warehouses"][site], "currency": self.server["currency"],
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

    /// The same, with a comment.
    pub async fn confirms_with(&self, lines: &[(&str, u32)], comment: &str) -> SaleAtTryton {
        self.confirms_from("D1", lines, comment).await
    }

    /// The same, from another depot.
    pub async fn confirms_from(&self, site: &str, lines: &[(&str, u32)], comment: &str) -> SaleAtTryton {
        let id = self.sales(site, 1, lines, comment, &["quote", "confirm"]).await[0];
        SaleAtTryton { id, number: self.number(id).await }
    }

    /// Offers a sale that the customer has not agreed to.
    pub async fn quotes(&self, lines: &[(&str, u32)]) -> SaleAtTryton {
        let id = self.sales("D1", 1, lines, "", &["quote"]).await[0];
        SaleAtTryton { id, number: self.number(id).await }
    }

    /// Confirms many at once; their numbers.
    pub async fn confirms_many(&self, count: usize) -> Vec<String> {
        let made = self.sales("D1", count, &[("P3", 1)], "", &["quote", "confirm"]).await;
        let rows = self.find("sale.sale", json!([["id", "in", made]]), &["number"]).await;
        rows.iter().map(|row| row["number"].as_str().unwrap().to_owned()).collect()
    }

    async fn number(&self, sale: i64) -> OrderId {
        let rows = self.find("sale.sale", json!([["id", "=", sale]]), &["number"]).await;
        OrderId::new(rows[0]["number"].as_str().unwrap()).unwrap()
    }

    /// Cancels what has not left.
    pub async fn cancels_shipments(&self, sale: &SaleAtTryton) {
        let ids: Vec<Value> = self.shipments(sale).await.iter().map(|s| s["id"].clone()).collect();
        self.call("stock.shipment.out.cancel", vec![json!(ids)]).await;
    }

    /// Changes a sale that is under way by Tryton's own amendment.
    pub async fn amends(&self, sale: &SaleAtTryton, code: &str, units: u32) {
        self.amends_at(sale, code, units, None).await;
    }

    /// The same, at another price of a unit.
    pub async fn amends_at(&self, sale: &SaleAtTryton, code: &str, units: u32, price: Option<&str>) {
        let domain = json!([["sale", "=", sale.id], ["product.code", "=", code]]);
        let line = self.find("sale.line", domain, &["product", "unit", "unit_price"]).await.remove(0);
        let change = json!({
            "action": "line", "line": line["id"], "quantity": units, "product": line["product"], "unit": line["unit"],
            "unit_price": price.map_or(line["unit_price"].clone(), |p| json!({ "__class__": "Decimal", "decimal": p })),
        });
        self.amends_by(sale, change).await;
    }

    async fn amends_by(&self, sale: &SaleAtTryton, change: Value) {
        let amendment = json!({ "sale": sale.id, "lines": [["create", [change]]] });
        let made = self.call("sale.amendment.create", vec![json!([amendment])]).await;
        self.call("sale.amendment.validate_amendment", vec![made]).await;
    }

    /// What has not left of a sale shall leave from another depot, by Tryton's own amendment.
    pub async fn moves_to(&self, sale: &SaleAtTryton, site: &str) {
        self.amends_by(sale, json!({ "action": "warehouse", "warehouse": self.server["warehouses"][site] })).await;
    }

    /// Writes a sale's comment anew.
    pub async fn comments(&self, sale: &SaleAtTryton, comment: &str) {
        self.call("sale.sale.write", vec![json!([sale.id]), json!({ "comment": comment })]).await;
    }

    /// Sets a customer's credit limit.
    pub async fn limits(&self, customer: &str, amount: &str) {
        let limit = json!({ "credit_limit_amount": { "__class__": "Decimal", "decimal": amount } });
        self.call("party.party.write", vec![json!([self.server["customers"][customer]["id"]]), limit]).await;
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

/// A sale.
pub struct SaleAtTryton {
    /// Tryton's id of it.
    pub id: i64,
    /// Its number, which is the order's name here.
    pub number: OrderId,
}
