//! Invoices: Tryton makes the draft when a shipment is done; the hub says how much of it is due.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Tryton, contract,
    rpc::{Does, Query},
    sale::{Mark, Sale, Units, missing, sum, total},
};
use crate::{
    core::reconcile::Posting,
    erp::{Applied, ErpError},
};

/// Rounds after which an invoice that others change again and again is left for later.
const ROUNDS_MAX: usize = 6;

/// An invoice with lines of a sale.
#[derive(Debug, Clone)]
struct Bill {
    id: i64,
    number: Option<String>,
    state: String,
    reference: String,
    stamp: String,
    lines: Vec<BillLine>,
    /// Whether it also has lines of other sales.
    is_shared: bool,
}

#[derive(Debug, Clone)]
struct BillLine {
    id: i64,
    line: u16,
    units: i64,
}

impl Bill {
    fn units(&self) -> Units {
        sum(self.lines.iter().map(|l| Units::from([(l.line, l.units)])))
    }

    fn is_posted(&self) -> bool {
        matches!(self.state.as_str(), "posted" | "paid")
    }

    fn name(&self) -> String {
        format!("invoice {}", self.number.clone().unwrap_or_else(|| format!("(id {})", self.id)))
    }

    fn unchanged(&self) -> Map<String, Value> {
        let mut context = Map::new();
        context.insert("_timestamp".to_owned(), json!({ format!("account.invoice,{}", self.id): self.stamp }));
        context
    }
}

fn billed(bills: &[Bill], wanted: impl Fn(&Bill) -> bool) -> Units {
    sum(bills.iter().filter(|b| b.is_posted() && wanted(b)).map(Bill::units))
}

fn names(bills: &[Bill], mark: &Mark) -> String {
    let marked: Vec<String> = bills.iter().filter(|b| mark.is_in(&b.reference)).map(Bill::name).collect();
    marked.join(", ")
}

impl Tryton {
    /// Posts what Tryton has drafted for a departure, all its lines at once, and no more than is due.
    pub(super) async fn invoice(&self, posting: &Posting) -> Result<Applied, ErpError> {
        let mark = Mark::of(&posting.decision);
        let wanted = total(posting);
        let sale = self.sale(&posting.order).await?;
        let mut was_pushed = false;
        for _ in 0..ROUNDS_MAX {
            let bills = self.bills(&sale).await?;
            let due = missing(&wanted, &billed(&bills, |b| mark.is_in(&b.reference)));
            if due.is_empty() {
                return Ok(Applied { document: names(&bills, &mark) });
            }
            let has_due = |b: &&Bill| b.lines.iter().any(|l| due.contains_key(&l.line));
            match bills.iter().filter(|b| matches!(b.state.as_str(), "draft" | "validated")).find(has_due) {
                Some(bill) if bill.is_shared => {
                    let detail = format!("{} also bills other sales: post it at Tryton, then replay", bill.name());
                    return Err(ErpError::Rejected { detail });
                }
                Some(bill) => self.post_bill(bill, &due, &mark).await?,
                None if !was_pushed => {
                    // Tryton bills behind a shipment and tells nobody when it cannot; asked again it does.
                    self.press("sale.sale", sale.id, "process", Map::new()).await?;
                    was_pushed = true;
                }
                None => return by_hand(&sale, &bills, &due),
            }
        }
        Err(ErpError::Conflict { detail: format!("the invoices of sale {} do not come to rest", sale.number) })
    }

    /// The invoices that bill what a posting says, if they do.
    pub(super) async fn invoiced(&self, posting: &Posting) -> Result<Option<String>, ErpError> {
        let mark = Mark::of(&posting.decision);
        let sale = self.sale(&posting.order).await?;
        let bills = self.bills(&sale).await?;
        let due = missing(&total(posting), &billed(&bills, |b| mark.is_in(&b.reference)));
        Ok(due.is_empty().then(|| names(&bills, &mark)))
    }

    /// Cuts a draft down to what is due, marks it and posts it.
    async fn post_bill(&self, bill: &Bill, due: &Units, mark: &Mark) -> Result<(), ErpError> {
        let posted = self.post_steps(bill, due, mark).await;
        let Err(error @ (ErpError::Rejected { .. } | ErpError::Conflict { .. })) = posted else { return posted };
        // Someone else may have posted it: the next round sees what is still due.
        let now = self.rpc.rows(Query::of("account.invoice", json!([["id", "=", bill.id]]), BILL_FIELDS)).await?;
        let has_moved = match now.first() {
            Some(row) => row.needed_text("state").map_err(contract)? != bill.state,
            None => true,
        };
        if has_moved { Ok(()) } else { Err(error) }
    }

    async fn post_steps(&self, bill: &Bill, due: &Units, mark: &Mark) -> Result<(), ErpError> {
        let mut rest = due.clone();
        let mut cuts = Vec::new();
        for line in &bill.lines {
            let left = rest.entry(line.line).or_default();
            let share = line.units.min(*left);
            *left -= share;
            if share < line.units {
                cuts.push((line.id, share));
            }
        }
        if !cuts.is_empty() && bill.state == "validated" {
            self.press("account.invoice", bill.id, "draft", bill.unchanged()).await?;
            return Ok(());
        }
        let mut values = json!({ "reference": mark.added_to(&mark.taken_from(&bill.reference)) });
        if !cuts.is_empty() {
            // Tryton drafts what was cut off anew, where it waits until someone says that it is due.
            let change = |(id, share): (i64, i64)| match share {
                0 => json!(["delete", [id]]),
                share => json!(["write", [id], { "quantity": share }]),
            };
            values["lines"] = cuts.into_iter().map(change).collect();
        }
        self.write("account.invoice", bill.id, values, bill.unchanged()).await?;
        // Marked and cut in one write, whose time nobody else can have: what is posted now is ours alone.
        self.press("account.invoice", bill.id, "post", Map::new()).await
    }

    async fn bills(&self, sale: &Sale) -> Result<Vec<Bill>, ErpError> {
        let of_sale = json!([["origin.sale", "=", sale.id, "sale.line"], ["invoice", "!=", null]]);
        let own = self.rpc.rows(Query::of("account.invoice.line", of_sale, &["invoice"])).await?;
        let ids: Vec<i64> = own.iter().filter_map(|row| row.link("invoice").ok().flatten()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rpc.rows(Query::of("account.invoice", json!([["id", "in", ids]]), BILL_FIELDS)).await?;
        let fields = &["invoice", "origin", "quantity", "type"];
        let lines = self.rpc.rows(Query::of("account.invoice.line", json!([["invoice", "in", ids]]), fields)).await?;
        let mut bills = BTreeMap::new();
        for row in &rows {
            let text = |name: &str| row.text(name).map(|text| text.map(str::to_owned)).map_err(contract);
            let id = row.id().map_err(contract)?;
            let bill = Bill {
                id,
                number: text("number")?,
                state: text("state")?.unwrap_or_default(),
                reference: text("reference")?.unwrap_or_default(),
                stamp: text("_timestamp")?.unwrap_or_default(),
                lines: Vec::new(),
                is_shared: false,
            };
            bills.insert(id, bill);
        }
        for row in &lines {
            let invoice = row.link("invoice").map_err(contract)?;
            let Some(bill) = invoice.and_then(|id| bills.get_mut(&id)) else { continue };
            if row.text("type").map_err(contract)? != Some("line") {
                continue;
            }
            if let Some(("sale.line", origin)) = row.reference("origin").map_err(contract)? {
                match sale.lines.iter().find(|line| line.id == origin) {
                    Some(line) => bill.lines.push(BillLine {
                        id: row.id().map_err(contract)?,
                        line: line.number,
                        units: row.units("quantity").map_err(contract)?,
                    }),
                    None => bill.is_shared |= !self.is_line_of(sale, origin).await?,
                }
            }
        }
        Ok(bills.into_values().collect())
    }

    /// Whether a line that delivers no goods, such as a service, is of this sale.
    async fn is_line_of(&self, sale: &Sale, line: i64) -> Result<bool, ErpError> {
        let domain = json!([["id", "=", line], ["sale", "=", sale.id]]);
        let found = self.rpc.call(Does::Read, "model.sale.line.search_count", vec![domain], Map::new()).await?;
        Ok(found.as_i64() == Some(1))
    }
}

const BILL_FIELDS: &[&str] = &["number", "state", "reference", "_timestamp"];

/// Nothing is left to post: either people have posted all of it, or Tryton bills otherwise than what left.
fn by_hand(sale: &Sale, bills: &[Bill], due: &Units) -> Result<Applied, ErpError> {
    let delivered = sum(sale.shipments.iter().filter(|s| s.state == "done").map(|s| s.outgoing()));
    let open: Units =
        missing(&delivered, &billed(bills, |_| true)).into_iter().filter(|(l, _)| due.contains_key(l)).collect();
    let unmarked: Vec<String> =
        bills.iter().filter(|b| b.is_posted() && !Mark::any_in(&b.reference)).map(Bill::name).collect();
    if open.is_empty() && !unmarked.is_empty() {
        return Ok(Applied { document: format!("{}, posted by hand", unmarked.join(", ")) });
    }
    let detail = format!("sale {}: Tryton drafts no invoice over {due:?}: post one there, then replay", sale.number);
    Err(ErpError::Rejected { detail })
}
