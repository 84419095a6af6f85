//! What a person decided about goods that left: the sale is changed, or the goods come back.

use gatehouse_common::order::OrderStatus;
use serde_json::{Map, Value, json};

use super::{
    Tryton, contract,
    order::Line,
    rpc::Query,
    sale::{Mark, Sale, total},
};
use crate::{
    core::reconcile::Posting,
    erp::{Applied, ErpError},
};

impl Tryton {
    /// Changes what the sale wants, and leaves a note that says why.
    pub(super) async fn change_order(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let sale = self.sale(&posting.order).await?;
        match posting.status {
            Some(OrderStatus::Released) => self.plan_anew(&sale).await?,
            Some(OrderStatus::Cancelled) => self.cancel_open(&sale).await?,
            None => {}
        }
        if let (Some(number), Some(quantity)) = (posting.line, posting.quantity) {
            let line = sale.lines.iter().find(|line| line.number == number);
            let line =
                line.ok_or_else(|| ErpError::NotFound { detail: format!("line {number} of sale {}", sale.number) })?;
            if line.quantity != i64::from(quantity) {
                self.amend(&sale, line, quantity, posting).await?;
            }
        }
        Ok(Applied { document: self.note(&sale, posting, &posting.text).await? })
    }

    async fn cancel_open(&self, sale: &Sale) -> Result<(), ErpError> {
        for shipment in sale.shipments.iter().filter(|shipment| shipment.is_open()) {
            self.press("stock.shipment.out", shipment.id, "cancel", shipment.unchanged()).await?;
        }
        Ok(())
    }

    /// Changes a line of a sale that is under way, which only an amendment may.
    async fn amend(&self, sale: &Sale, line: &Line, quantity: u32, posting: &Posting) -> Result<(), ErpError> {
        let domain = json!([["sale", "=", sale.id], ["description", "=", posting.key], ["state", "=", "draft"]]);
        let drafts = match self.rpc.rows(Query::of("sale.amendment", domain, &["state"])).await {
            Err(ErpError::Contract { detail }) => {
                return Err(ErpError::Rejected {
                    detail: format!(
                        "line {} of sale {} cannot be changed: Tryton's module sale_amendment is not active; \
                         change it there by hand, then replay ({detail})",
                        line.number, sale.number
                    ),
                });
            }
            rows => rows?,
        };
        let amendment = match drafts.first() {
            Some(draft) => draft.id().map_err(contract)?,
            None => {
                let change = json!({
                    "action": "line", "line": line.id, "quantity": quantity,
                    "product": field(line, "product")?, "unit": field(line, "unit")?,
                    "unit_price": field(line, "unit_price")?,
                });
                let values = json!({ "sale": sale.id, "description": posting.key, "lines": [["create", [change]]] });
                self.create("sale.amendment", values).await?
            }
        };
        self.press("sale.amendment", amendment, "validate_amendment", Map::new()).await
    }

    /// Makes the document by which goods come back: a sale of less than nothing, as Tryton's own return makes it. Its
    /// shipment waits there for the goods, its credit note follows when they are received.
    pub(super) async fn bring_back(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mark = Mark::of(&posting.decision);
        let sale = self.sale(&posting.order).await?;
        let mut returns = self.returns(&sale, &mark).await?;
        if returns.is_empty() {
            let made = self.create("sale.sale", return_of(&sale, &mark, posting)?).await?;
            returns = self.returns(&sale, &mark).await?;
            // Nothing at Tryton keeps two from being made at the same time, so the older one counts.
            if returns.first().is_none_or(|(id, ..)| *id != made) {
                let params = vec![json!([made])];
                self.rpc.call(super::rpc::Does::Write, "model.sale.sale.delete", params, Map::new()).await?;
                return Err(ErpError::Conflict { detail: format!("a return of sale {} is being made", sale.number) });
            }
        }
        let Some((id, state, _)) = returns.first() else {
            return Err(ErpError::Conflict { detail: format!("the return of sale {} is gone", sale.number) });
        };
        let buttons: &[&str] = match state.as_str() {
            "draft" => &["quote", "confirm"],
            "quotation" => &["confirm"],
            _ => &[],
        };
        for button in buttons {
            self.press("sale.sale", *id, button, Map::new()).await?;
        }
        let document = self.brought_back(posting).await?;
        document.map(|document| Applied { document }).ok_or_else(|| ErpError::Conflict {
            detail: format!("the return of sale {} is not confirmed", sale.number),
        })
    }

    /// The return that a posting made, once it is confirmed.
    pub(super) async fn brought_back(&self, posting: &Posting) -> Result<Option<String>, ErpError> {
        let sale = self.sale(&posting.order).await?;
        let returns = self.returns(&sale, &Mark::of(&posting.decision)).await?;
        let confirmed =
            returns.into_iter().find(|(_, state, _)| matches!(state.as_str(), "confirmed" | "processing" | "done"));
        Ok(confirmed.map(|(id, _, number)| format!("sale {}", number.unwrap_or_else(|| format!("(id {id})")))))
    }

    /// Returns of a sale with our mark, the oldest first: id, state and number.
    async fn returns(&self, sale: &Sale, mark: &Mark) -> Result<Vec<(i64, String, Option<String>)>, ErpError> {
        let domain = json!([["origin", "=", format!("sale.sale,{}", sale.id)], ["state", "!=", "cancelled"]]);
        let mut returns = Vec::new();
        for row in self.rpc.rows(Query::of("sale.sale", domain, &["number", "state", "reference"])).await? {
            if mark.is_in(row.text("reference").map_err(contract)?.unwrap_or_default()) {
                let state = row.needed_text("state").map_err(contract)?.to_owned();
                let number = row.text("number").map_err(contract)?.map(str::to_owned);
                returns.push((row.id().map_err(contract)?, state, number));
            }
        }
        Ok(returns)
    }
}

fn field(line: &Line, name: &str) -> Result<Value, ErpError> {
    line.row.value(name).cloned().map_err(contract)
}

fn return_of(sale: &Sale, mark: &Mark, posting: &Posting) -> Result<Value, ErpError> {
    let mut lines = Vec::new();
    for (number, units) in total(posting).into_iter().filter(|(_, units)| *units > 0) {
        let line = sale.lines.iter().find(|line| line.number == number);
        let line =
            line.ok_or_else(|| ErpError::NotFound { detail: format!("line {number} of sale {}", sale.number) })?;
        lines.push(json!({
            "type": "line", "product": field(line, "product")?, "unit": field(line, "unit")?, "quantity": -units,
            "unit_price": field(line, "unit_price")?, "taxes": [["add", field(line, "taxes")?]],
        }));
    }
    let mut values = json!({
        "origin": format!("sale.sale,{}", sale.id), "reference": mark.as_str(), "description": posting.text,
        "lines": [["create", lines]],
    });
    for name in [
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
    ] {
        values[name] = sale.row.value(name).cloned().map_err(contract)?;
    }
    Ok(values)
}
