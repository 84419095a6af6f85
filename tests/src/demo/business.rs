//! What the ERP, the WMS and the TMS say and do in a run, told to their stand-ins.

use std::time::Duration;

use anyhow::{Context, bail};
use gatehouse_common::time::UtcMs;
use serde_json::{Value, json};

use super::{
    aims::ErpChange,
    plan::{MINUTE, Meant, Plan, PlannedOrder},
};

/// The three stand-ins.
#[derive(Debug, Clone)]
pub struct Business {
    /// For all calls.
    pub http: reqwest::Client,
    /// Where the ERP is.
    pub erp: String,
    /// Where the WMS is.
    pub wms: String,
    /// Where the TMS is.
    pub tms: String,
}

impl Business {
    async fn send(&self, request: reqwest::RequestBuilder, what: &str) -> anyhow::Result<Value> {
        let answer = request.timeout(Duration::from_secs(10)).send().await.with_context(|| what.to_owned())?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{what}: {status} {text}");
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Fills the ERP's books: customers, stock, orders.
    /// # Errors
    /// If the stand-in refuses something.
    pub async fn open_books(&self, plan: &Plan) -> anyhow::Result<()> {
        for customer in &plan.customers {
            let body = json!({
                "name": customer.name, "tier": customer.tier,
                "credit": { "limit_minor": customer.limit_minor, "currency": "USD" },
            });
            let url = format!("{}/admin/customers/{}", self.erp, customer.customer);
            self.send(self.http.put(url).json(&body), "adding a customer").await?;
        }
        for site in plan.doors.keys() {
            for product in &plan.products {
                let body = json!({ "site": site, "product": product, "available": 5000 });
                let url = format!("{}/admin/stock", self.erp);
                self.send(self.http.put(url).json(&body), "adding stock").await?;
            }
        }
        for order in &plan.orders {
            let customer = plan
                .customers
                .iter()
                .find(|c| c.customer == order.customer)
                .with_context(|| format!("{} has no customer", order.order))?;
            let body = json!({
                "site": order.site,
                "customer": { "id": customer.customer, "name": customer.name, "tier": customer.tier },
                "lines": order.lines,
                "currency": "USD", "class": "standard",
                "vehicle": order.vehicle, "carrier": order.carrier, "door": order.door,
                "planned_departure": order.planned_departure.to_string(),
                "window_end": order.planned_departure.plus(180 * MINUTE).to_string(),
                "destination": { "lat": order.destination.lat, "lon": order.destination.lon },
            });
            let url = format!("{}/admin/orders/{}", self.erp, order.order);
            self.send(self.http.put(url).json(&body), "adding an order").await?;
        }
        Ok(())
    }

    /// Tells WMS and TMS what they hold to be so of every order.
    /// # Errors
    /// If a stand-in refuses something.
    pub async fn tell_facts(&self, plan: &Plan, now: UtcMs) -> anyhow::Result<()> {
        let (mut stock, mut transport) = (Vec::new(), Vec::new());
        let wms_at = plan.moments.wms_confirmed.min(now).to_string();
        let tms_at = plan.moments.tms_confirmed.min(now).to_string();
        for o in &plan.orders {
            for line in &o.lines {
                let short = if o.meant == Meant::HeldInventory && line.line == 1 { 3 } else { 0 };
                stock.push(json!({
                    "order": o.order, "line": line.line, "confirmed": line.quantity - short, "at": wms_at,
                }));
            }
            let fits = o.meant != Meant::HeldCapacity;
            let takes = !matches!(o.meant, Meant::Override | Meant::HeldCarrier);
            transport.push(json!({ "order": o.order, "sufficient": fits, "vehicle": o.vehicle, "at": tms_at }));
            transport.push(json!({ "order": o.order, "accepted": takes, "carrier": o.carrier, "at": tms_at }));
        }
        self.send(self.http.post(format!("{}/admin/facts", self.wms)).json(&stock), "telling the WMS").await?;
        self.send(self.http.post(format!("{}/admin/facts", self.tms)).json(&transport), "telling the TMS").await?;
        self.all_sent().await
    }

    /// Waits until both have told the hub everything.
    /// # Errors
    /// If the hub refuses something or does not take it within 20 seconds.
    pub async fn all_sent(&self) -> anyhow::Result<()> {
        for address in [&self.wms, &self.tms] {
            let mut status = Value::Null;
            for _ in 0..400 {
                status = self.send(self.http.get(format!("{address}/admin/status")), "asking a stand-in").await?;
                if status["queued"] == 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            if status["queued"] != 0 || status["rejected"] != 0 {
                let url = format!("{address}/admin/rejected");
                let rejected = self.send(self.http.get(url), "asking a stand-in").await.unwrap_or(Value::Null);
                let first = &rejected["rejected"][0];
                bail!("the hub did not take what WMS or TMS say: {status}; first refusal: {first}");
            }
        }
        Ok(())
    }

    /// WMS and TMS say all of it again as of `at`.
    /// # Errors
    /// If a stand-in refuses.
    pub async fn reconfirm(&self, at: UtcMs) -> anyhow::Result<()> {
        let body = json!({ "at": at.to_string(), "orders": null });
        for address in [&self.wms, &self.tms] {
            self.send(self.http.post(format!("{address}/admin/reconfirm")).json(&body), "reconfirming").await?;
        }
        Ok(())
    }

    /// Takes the WMS off the air, or back on.
    /// # Errors
    /// If the stand-in refuses.
    pub async fn silence_wms(&self, down: bool) -> anyhow::Result<()> {
        let url = format!("{}/admin/faults", self.wms);
        self.send(self.http.post(url).json(&json!({ "down": down })), "switching the WMS").await.map(|_| ())
    }

    /// Takes the ERP off the air for the hub, or back on.
    /// # Errors
    /// If the stand-in refuses.
    pub async fn cut_erp(&self, down: bool) -> anyhow::Result<()> {
        let url = format!("{}/admin/faults", self.erp);
        self.send(self.http.post(url).json(&json!({ "down": down })), "switching the ERP").await.map(|_| ())
    }

    /// Makes the aimed change of `order` at the ERP; says what it was.
    /// # Errors
    /// If the stand-in refuses.
    pub async fn change(&self, order: &PlannedOrder) -> anyhow::Result<String> {
        let Some(aim) = &order.aim else { bail!("{} is not aimed at", order.order) };
        let (path, body, words) = match aim.change {
            ErpChange::Cancel => {
                (format!("orders/{}/cancel", order.order), json!({}), format!("cancels {}", order.order))
            }
            ErpChange::CreditHold => (
                format!("customers/{}/hold", order.customer),
                json!({ "on_hold": true }),
                format!("puts {} on credit hold ({})", order.customer, order.order),
            ),
            ErpChange::Reduce | ErpChange::Increase => {
                let was = order.lines.first().map_or(0, |l| l.quantity);
                let quantity = aim.quantity.unwrap_or(was);
                (
                    format!("orders/{}/lines/1/quantity", order.order),
                    json!({ "quantity": quantity }),
                    format!("changes line 1 of {} from {was} to {quantity} units", order.order),
                )
            }
        };
        let url = format!("{}/admin/{path}", self.erp);
        self.send(self.http.post(url).json(&body), &words).await?;
        Ok(words)
    }
}
