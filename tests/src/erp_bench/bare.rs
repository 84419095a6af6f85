//! A bare client of Tryton: the calls that bring one sale from release to a posted invoice, and nothing around them.
//!
//! It keeps no queue, looks at no error and asks for nothing that was lost. Which calls those are was read off the
//! connector; [`super::recorder`] compares the two before anything is measured.

use anyhow::{Context, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::tryton::server;

const SALE: [&str; 13] = [
    "number",
    "state",
    "reference",
    "party",
    "invoice_party",
    "invoice_address",
    "shipment_party",
    "shipment_address",
    "warehouse",
    "currency",
    "payment_term",
    "invoice_method",
    "shipment_method",
];
const LINE: [&str; 13] = [
    "sale",
    "type",
    "sequence",
    "product",
    "product.code",
    "product.type",
    "quantity",
    "unit",
    "unit_price",
    "taxes",
    "moves_recreated",
    "write_date",
    "create_date",
];
const MOVE: [&str; 9] =
    ["origin", "quantity", "unit", "state", "shipment", "planned_date", "write_date", "create_date", "_timestamp"];
const SHIPMENT: [&str; 6] = ["number", "state", "reference", "warehouse_storage", "warehouse_output", "_timestamp"];
const BILL: [&str; 4] = ["number", "state", "reference", "_timestamp"];

/// A logged-in client.
pub struct Bare {
    http: reqwest::Client,
    address: String,
    authorization: String,
    context: Map<String, Value>,
}

impl Bare {
    /// Logs in as the hub does, at `url`.
    /// # Errors
    /// If Tryton does not answer as expected.
    pub async fn at(url: &str) -> anyhow::Result<Self> {
        let server = server();
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text in server.json");
        let address = format!("{url}/{}/rpc/", text(&server["database"])?);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut bare = Self { http, address, authorization: String::new(), context: Map::new() };
        let login = json!(["hub", { "password": server["users"]["hub"] }, "en"]);
        let session = bare.send("common.db.login", login).await?;
        let token = format!("hub:{}:{}", session[0], text(&session[1])?);
        bare.authorization = format!("Session {}", STANDARD.encode(token));
        let preferences = bare.send("model.res.user.get_preferences", json!([true, {}])).await?;
        for key in ["company", "companies"] {
            bare.context.insert(key.to_owned(), preferences[key].clone());
        }
        bare.context.insert("language".to_owned(), json!("en"));
        Ok(bare)
    }

    async fn send(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({ "id": 1, "method": method, "params": params });
        let request = self.http.post(&self.address).header("authorization", &self.authorization).json(&body);
        let mut answer: Value = request.send().await?.json().await?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer["result"].take())
    }

    async fn call(&self, method: &str, mut params: Vec<Value>, more: Value) -> anyhow::Result<Value> {
        let mut context = self.context.clone();
        context.extend(more.as_object().cloned().unwrap_or_default());
        params.push(Value::Object(context));
        self.send(&format!("model.{method}"), Value::Array(params)).await
    }

    async fn rows(&self, model: &str, domain: Value, fields: &[&str]) -> anyhow::Result<Vec<Value>> {
        let params = vec![domain, json!(0), Value::Null, json!([["id", "ASC"]]), json!(fields)];
        let answer = self.call(&format!("{model}.search_read"), params, Value::Null).await?;
        answer.as_array().cloned().context("a list")
    }

    /// A sale with its lines, moves and shipments. Returns its id, and its shipment as [`Self::shipment`] does.
    async fn sale(&self, number: &str) -> anyhow::Result<(Value, Value, Value)> {
        let sale = self.rows("sale.sale", json!([["number", "=", number]]), &SALE).await?;
        let id = sale.first().context("a sale")?["id"].clone();
        self.rows("sale.line", json!([["sale", "=", id]]), &LINE).await?;
        let moves = self.rows("stock.move", json!([["origin.sale", "=", id, "sale.line"]]), &MOVE).await?;
        let shipment = moves.iter().find_map(|moved| moved["shipment"].as_str()?.split_once(',')?.1.parse().ok());
        let shipment: i64 = shipment.context("a shipment")?;
        let (shipment, unchanged) = self.shipment(&json!(shipment)).await?;
        Ok((id, shipment, unchanged))
    }

    /// A shipment and the context in which a write fails if it changed.
    async fn shipment(&self, id: &Value) -> anyhow::Result<(Value, Value)> {
        let mut rows = self.rows("stock.shipment.out", json!([["id", "in", [id]]]), &SHIPMENT).await?;
        let row = rows.pop().context("a shipment")?;
        let name = format!("stock.shipment.out,{id}");
        let moves = self.rows("stock.move", json!([["shipment", "in", [name]]]), &MOVE).await?;
        let mut stamps = Map::new();
        for moved in moves {
            stamps.insert(format!("stock.move,{}", moved["id"]), moved["_timestamp"].clone());
        }
        stamps.insert(name, row["_timestamp"].clone());
        Ok((row, json!({ "_timestamp": stamps })))
    }

    async fn press(&self, id: &Value, button: &str) -> anyhow::Result<()> {
        let (_, unchanged) = self.shipment(id).await?;
        self.call(&format!("stock.shipment.out.{button}"), vec![json!([id])], unchanged).await.map(|_| ())
    }

    async fn bill(&self, sale: &Value) -> anyhow::Result<Value> {
        let of_sale = json!([["origin.sale", "=", sale, "sale.line"], ["invoice", "!=", null]]);
        let own = self.rows("account.invoice.line", of_sale, &["invoice"]).await?;
        let id = own.first().context("a line of an invoice")?["invoice"].clone();
        let mut bills = self.rows("account.invoice", json!([["id", "in", [id]]]), &BILL).await?;
        let fields = &["invoice", "origin", "quantity", "type"];
        self.rows("account.invoice.line", json!([["invoice", "in", [id]]]), fields).await?;
        bills.pop().context("an invoice")
    }

    /// Sets stock aside for a sale under `mark`, ships it, posts its invoice, and reads that back.
    /// # Errors
    /// If Tryton does not take it.
    pub async fn delivers(&self, number: &str, mark: &str) -> anyhow::Result<()> {
        let marked = |reference: &Value| format!("{} {mark}", reference.as_str().unwrap_or_default()).trim().to_owned();
        // The release.
        let (sale, shipment, unchanged) = self.sale(number).await?;
        let id = shipment["id"].clone();
        let reference = json!({ "reference": marked(&shipment["reference"]) });
        self.call("stock.shipment.out.write", vec![json!([id]), reference], unchanged).await?;
        self.shipment(&id).await?;
        self.press(&id, "assign_try").await?;
        self.shipment(&id).await?;
        self.shipment(&id).await?;
        self.sale(number).await?;
        // The goods issue.
        self.sale(number).await?;
        for button in ["pick", "pack", "do"] {
            self.press(&id, button).await?;
        }
        self.shipment(&id).await?;
        self.sale(number).await?;
        // The invoice, and a look at it.
        self.sale(number).await?;
        let bill = self.bill(&sale).await?;
        let unchanged = json!({ "_timestamp": { format!("account.invoice,{}", bill["id"]): bill["_timestamp"] } });
        let reference = json!({ "reference": marked(&bill["reference"]) });
        self.call("account.invoice.write", vec![json!([bill["id"]]), reference], unchanged).await?;
        self.call("account.invoice.post", vec![json!([bill["id"]])], Value::Null).await?;
        self.bill(&sale).await?;
        self.sale(number).await?;
        let bill = self.bill(&sale).await?;
        if bill["state"] != "posted" {
            bail!("sale {number}: the invoice is {}", bill["state"]);
        }
        Ok(())
    }
}
