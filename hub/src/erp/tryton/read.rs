//! What Tryton wants: sales, credit and stock.
//!
//! Tryton tells nobody of changes, so it is asked for what was written since the newest time that was
//! seen. That time is its database's own, never ours, and a read begins a while behind it.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_common::{
    id::{CustomerId, OrderId, ProductId, SiteId},
    order::Order,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Tryton, contract,
    order::{LINE_FIELDS, MOVE_FIELDS, Reader, SALE_FIELDS, ids, read_lines},
    rpc::{Does, Query},
    wire::{Row, Stamp},
};
use crate::erp::{ChangePage, Customer, ErpCursor, ErpError};

/// Sales in one page.
const PAGE: usize = 100;
/// What a customer has where Tryton's module for credit limits is active.
const CREDIT_FIELD: &str = "credit_amount";
const CUSTOMER_FIELDS: &[&str] = &["code", "credit_amount", "credit_limit_amount", "currency.digits"];

/// Where a reader has got to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Cursor {
    /// What was written before is known; none at the very first.
    since: Option<Stamp>,
    /// The last sale of this round that was read; 0 before its first page.
    after: i64,
    /// What the next round begins from, where this round has more than one page.
    until: Option<Stamp>,
}

impl Tryton {
    pub(super) async fn read_changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        let cursor: Cursor = serde_json::from_str(&since.0).unwrap_or_default();
        let sales = self.changed_sales(&cursor).await?;
        let more = sales.len() >= PAGE;
        let mut page = ChangePage { more, ..ChangePage::default() };
        let mut newest = cursor.since;
        let mut customers = BTreeSet::new();
        if !sales.is_empty() {
            let (lines, moves) = self.lines_and_moves(&sales).await?;
            for row in sales.iter().chain(&lines).chain(&moves) {
                newest = newest.max(row.written().map_err(contract)?);
            }
            for sale in &sales {
                customers.extend(sale.related("party").map_err(contract)?.and_then(|p| p.id().ok()));
                match self.one_order(sale, &lines, &moves) {
                    Ok(order) => page.orders.extend(order),
                    Err(why) => page.unreadable.push(why),
                }
            }
        }
        if !more && self.credit_is_due() {
            customers.extend(self.customers_of_open_sales().await?);
        }
        for customer in self.customers(json!([["id", "in", customers]]), customers.len()).await? {
            match customer {
                Ok(customer) => page.customers.push(customer),
                Err(why) => page.unreadable.push(why),
            }
        }
        let next = if more {
            let last = sales.last().map(Row::id).transpose().map_err(contract)?.unwrap_or(cursor.after);
            // What changes while the pages are read is written later than this, or its transaction
            // was under way, and the next round begins far enough behind for those.
            let until = match cursor.until {
                Some(until) => Some(until),
                None => self.newest_change().await?.max(cursor.since),
            };
            Cursor { since: cursor.since, after: last, until }
        } else {
            Cursor { since: cursor.until.or(newest), after: 0, until: None }
        };
        page.cursor = ErpCursor(json!(next).to_string());
        Ok(page)
    }

    async fn changed_sales(&self, cursor: &Cursor) -> Result<Vec<Row>, ErpError> {
        let mut domain = vec![json!(["id", ">", cursor.after])];
        match cursor.since {
            // What was done with before the hub knew it is of no use to a depot.
            None => domain.push(json!(["state", "in", ["confirmed", "processing"]])),
            Some(since) => {
                let behind = i64::try_from(self.overlap(since).as_micros()).unwrap_or(i64::MAX);
                let from = Stamp(since.0.saturating_sub(behind)).to_wire();
                let mut any = vec![json!("OR")];
                for of in ["", "lines.", "lines.moves."] {
                    for written in ["write_date", "create_date"] {
                        any.push(json!([format!("{of}{written}"), ">=", from]));
                    }
                }
                domain.push(Value::Array(any));
            }
        }
        let query = Query { limit: Some(PAGE), ..Query::of("sale.sale", Value::Array(domain), SALE_FIELDS) };
        self.rpc.rows(query).await
    }

    async fn lines_and_moves(&self, sales: &[Row]) -> Result<(Vec<Row>, Vec<Row>), ErpError> {
        let ids = ids(sales).map_err(contract)?;
        let lines = self.rpc.rows(Query::of("sale.line", json!([["sale", "in", ids]]), LINE_FIELDS)).await?;
        let of_sales = json!([["origin.sale", "in", ids, "sale.line"]]);
        let moves = self.rpc.rows(Query::of("stock.move", of_sales, MOVE_FIELDS)).await?;
        Ok((lines, moves))
    }

    fn one_order(&self, sale: &Row, lines: &[Row], moves: &[Row]) -> Result<Option<Order>, String> {
        let id = sale.id()?;
        let mut own = Vec::new();
        for line in lines {
            if line.link("sale")? == Some(id) {
                own.push(line);
            }
        }
        let all: Vec<&Row> = moves.iter().collect();
        let read = read_lines(own, &all)?;
        let of_lines = |moved: &&&Row| {
            moved.reference("origin").is_ok_and(|origin| {
                origin.is_some_and(|(model, id)| model == "sale.line" && read.iter().any(|line| line.id == id))
            })
        };
        let own_moves: Vec<&Row> = all.iter().filter(of_lines).copied().collect();
        let reader = Reader { sites: &self.options.sites, terms: &self.options.terms };
        reader.order(sale, &read, &own_moves)
    }

    /// The newest time at which anything that makes an order was written.
    async fn newest_change(&self) -> Result<Option<Stamp>, ErpError> {
        let mut newest = None;
        for model in ["sale.sale", "sale.line", "stock.move"] {
            for written in ["write_date", "create_date"] {
                let query = Query {
                    limit: Some(1),
                    order: json!([[written, "DESC NULLS LAST"]]),
                    ..Query::of(model, json!([]), &["write_date", "create_date"])
                };
                for row in self.rpc.rows(query).await? {
                    newest = newest.max(row.written().map_err(contract)?);
                }
            }
        }
        Ok(newest)
    }

    async fn customers_of_open_sales(&self) -> Result<BTreeSet<i64>, ErpError> {
        let open = json!([["state", "in", ["confirmed", "processing"]]]);
        let sales = self.rpc.rows(Query::of("sale.sale", open, &["party"])).await?;
        let parties = sales.iter().filter_map(|sale| sale.link("party").transpose());
        parties.collect::<Result<_, _>>().map_err(contract)
    }

    /// Customers by `domain`; none are asked for if there are `expected` 0.
    async fn customers(&self, domain: Value, expected: usize) -> Result<Vec<Result<Customer, String>>, ErpError> {
        if expected == 0 {
            return Ok(Vec::new());
        }
        // Without Tryton's credit limits nobody is held and nothing limits. That is asked for by name: a sum that
        // failed for once must not read as credit without end.
        let has_limits = *self.has_credit_limits.get_or_try_init(|| self.ask_for_credit_limits()).await?;
        let fields = if has_limits { CUSTOMER_FIELDS } else { &["code"] };
        let rows = self.rpc.rows(Query::of("party.party", domain, fields)).await?;
        Ok(rows.iter().map(read_customer).collect())
    }

    async fn ask_for_credit_limits(&self) -> Result<bool, ErpError> {
        let asked = vec![json!([CREDIT_FIELD])];
        let fields = self.rpc.call(Does::Read, "model.party.party.fields_get", asked, Map::new()).await?;
        let fields = fields.as_object().ok_or_else(|| contract("party.party.fields_get: no object".to_owned()))?;
        Ok(fields.contains_key(CREDIT_FIELD))
    }

    pub(super) async fn read_order(&self, id: &OrderId) -> Result<Order, ErpError> {
        let sales = self.rpc.rows(Query::of("sale.sale", json!([["number", "=", id]]), SALE_FIELDS)).await?;
        let Some(sale) = sales.first() else { return Err(ErpError::NotFound { detail: format!("sale {id}") }) };
        let (lines, moves) = self.lines_and_moves(&sales).await?;
        let order = self.one_order(sale, &lines, &moves).map_err(contract)?;
        order.ok_or_else(|| ErpError::NotFound { detail: format!("sale {id} delivers no goods from a warehouse") })
    }

    pub(super) async fn read_customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        let found = self.customers(json!([["code", "=", id]]), 1).await?.into_iter().next();
        found.ok_or_else(|| ErpError::NotFound { detail: format!("party {id}") })?.map_err(contract)
    }

    pub(super) async fn read_stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        let theirs = self.options.sites.iter().find(|(_, ours)| *ours == site).map(|(theirs, _)| theirs.as_str());
        let code = theirs.unwrap_or(site.as_str());
        let domain = json!([["code", "=", code], ["type", "=", "warehouse"]]);
        let warehouses = self.rpc.rows(Query::of("stock.location", domain, &["storage_location"])).await?;
        let Some(warehouse) = warehouses.first() else {
            return Err(ErpError::NotFound { detail: format!("warehouse {code}") });
        };
        let storage = warehouse.link("storage_location").map_err(contract)?;
        // Without a day Tryton counts what is only planned for one to come.
        let today = self.rpc.call(Does::Read, "model.ir.date.today", Vec::new(), Map::new()).await?;
        let mut context = Map::new();
        context.insert("locations".to_owned(), json!([storage]));
        context.insert("with_childs".to_owned(), json!(true));
        context.insert("stock_date_end".to_owned(), today);
        let query =
            Query { context, ..Query::of("product.product", json!([["code", "!=", null]]), &["code", "quantity"]) };
        let mut stock = BTreeMap::new();
        for row in self.rpc.rows(query).await? {
            let product = ProductId::new(row.needed_text("code").map_err(contract)?);
            let product = product.map_err(|e| contract(row.problem("code", e)))?;
            stock.insert(product, row.units_floor("quantity").map_err(contract)?);
        }
        Ok(stock)
    }
}

fn read_customer(row: &Row) -> Result<Customer, String> {
    let id = CustomerId::new(row.needed_text("code")?).map_err(|e| row.problem("code", e))?;
    if row.value(CREDIT_FIELD).is_err() {
        return Ok(Customer { id, on_hold: false, limit_minor: None, exposure_minor: 0 });
    }
    let digits = match row.related("currency")? {
        Some(currency) => {
            u32::try_from(currency.units("digits")?).map_err(|_| currency.problem("digits", "is below zero"))?
        }
        None => 2,
    };
    let exposure_minor = row.minor("credit_amount", digits)?.unwrap_or(0);
    let limit_minor = row.minor("credit_limit_amount", digits)?;
    // Tryton has no word for a hold: whoever owes more than the limit gets nothing confirmed any more.
    Ok(Customer { id, on_hold: limit_minor.is_some_and(|limit| exposure_minor > limit), limit_minor, exposure_minor })
}
