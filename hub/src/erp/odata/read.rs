//! What the service has: documents with their lines, customers, stock.
//!
//! A service tells nobody of changes, so it is asked for what changed since the newest time that was seen, which is
//! its own, never ours, and a read begins a while behind it. Pages follow each other by that time and not by count:
//! a row that changes while the pages are read would move the others, and one would be skipped.

use std::collections::BTreeMap;

use gatehouse_common::id::{CustomerId, OrderId, ProductId, SiteId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{OData, contract};
use crate::erp::{ChangePage, Customer, ErpCursor, ErpError};
use gatehouse_common::order::Order;

/// How long a transaction may take there: what it wrote has an older time than it is seen at.
const OVERLAP_SECONDS: i64 = 120;
/// Pages of the lines of one document, or of one depot's stock.
const PAGES_MAX: usize = 200;

/// Which entity is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
enum At {
    /// Customers first, so that an order's customer is known before the order is weighed.
    #[default]
    Customers,
    Orders,
}

/// Where a reader has got to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Cursor {
    at: At,
    /// What changed before is known; none at the very first.
    customers: Option<Timestamp>,
    orders: Option<Timestamp>,
    /// The newest time that this round has seen.
    newest: Option<Timestamp>,
    /// Where the next page of this round begins.
    from: Option<Timestamp>,
    /// The service's own link to it, where a whole page has one time.
    link: Option<String>,
}

/// Rows of one page, and the service's link to the next.
struct Rows {
    rows: Vec<Value>,
    link: Option<String>,
}

impl OData {
    pub(super) async fn read_changes(&self, since: &ErpCursor) -> Result<ChangePage, ErpError> {
        let mut cursor: Cursor = serde_json::from_str(&since.0).unwrap_or_default();
        let mut page = ChangePage { more: true, ..ChangePage::default() };
        let known = match cursor.at {
            At::Customers => cursor.customers,
            At::Orders => cursor.orders,
        };
        let asked = match self.changed_set(cursor.at) {
            Some((set, changed, expand, filter)) => {
                let behind = |at: Timestamp| at.checked_sub(jiff::SignedDuration::from_secs(OVERLAP_SECONDS)).ok();
                let from = cursor.from.or_else(|| known.and_then(behind));
                let rows = match &cursor.link {
                    Some(link) => self.page_at(self.service.address(link, &[])?).await?,
                    None => self.changed_page(set, changed, expand, filter, from).await?,
                };
                Some((rows, changed, from))
            }
            None => None,
        };
        let Some((rows, changed, from)) = asked else {
            // No such entity is mapped.
            cursor.at = At::Orders;
            page.cursor = ErpCursor(json!(cursor).to_string());
            return Ok(page);
        };
        let mut last = None;
        for row in rows.rows {
            last = Some(time(&row, changed)?);
            cursor.newest = cursor.newest.max(last);
            match cursor.at {
                At::Customers => match self.customer_of(&row) {
                    Ok(customer) => page.customers.push(customer),
                    Err(why) => page.unreadable.push(why),
                },
                At::Orders => match self.order_of(&self.with_all_lines(row).await?) {
                    Ok(order) => page.orders.push(order),
                    Err(why) => page.unreadable.push(why),
                },
            }
        }
        cursor.link = None;
        match rows.link {
            Some(link) => {
                let stands = last.is_none_or(|last| from.is_some_and(|from| last <= from));
                cursor.link = stands.then_some(link);
                cursor.from = last.max(from);
            }
            None => {
                let newest = cursor.newest.take().max(known);
                cursor.from = None;
                (cursor.at, page.more) = match cursor.at {
                    At::Customers => {
                        cursor.customers = newest;
                        (At::Orders, true)
                    }
                    At::Orders => {
                        cursor.orders = newest;
                        (At::Customers, false)
                    }
                };
            }
        }
        page.cursor = ErpCursor(json!(cursor).to_string());
        Ok(page)
    }

    /// Set, field of changes, what is expanded and what else filters, of what is read now.
    fn changed_set(&self, at: At) -> Option<(&str, &str, Option<&str>, Option<&str>)> {
        let map = &self.options.map;
        match at {
            At::Orders => {
                let document = &map.document;
                let lines = Some(document.order.lines.as_str());
                Some((&document.set, &document.changed, lines, document.filter.as_deref()))
            }
            At::Customers => {
                let customer = map.customer.as_ref()?;
                Some((&customer.set, customer.changed.as_deref()?, None, None))
            }
        }
    }

    async fn changed_page(
        &self,
        set: &str,
        changed: &str,
        expand: Option<&str>,
        filter: Option<&str>,
        from: Option<Timestamp>,
    ) -> Result<Rows, ErpError> {
        let since = from.map(|from| format!("{changed} ge {from}"));
        let filters: Vec<String> = since.into_iter().chain(filter.map(|filter| format!("({filter})"))).collect();
        let (filter, order) = (filters.join(" and "), format!("{changed} asc"));
        let mut query = vec![("$orderby", order.as_str())];
        if !filter.is_empty() {
            query.push(("$filter", &filter));
        }
        query.extend(expand.map(|expand| ("$expand", expand)));
        self.page_at(self.service.address(set, &query)?).await
    }

    async fn page_at(&self, url: reqwest::Url) -> Result<Rows, ErpError> {
        let place = url.path().to_owned();
        let mut body = self.service.get(url).await?.body;
        let link = body["@odata.nextLink"].as_str().map(str::to_owned);
        match body["value"].take() {
            Value::Array(rows) => Ok(Rows { rows, link }),
            _ => Err(contract(format!("GET {place}: a list of rows is expected in \"value\""))),
        }
    }

    /// All rows that a filter finds.
    pub(super) async fn find(&self, set: &str, filter: &str, expand: Option<&str>) -> Result<Vec<Value>, ErpError> {
        let mut query = vec![("$filter", filter)];
        query.extend(expand.map(|expand| ("$expand", expand)));
        self.all_from(self.page_at(self.service.address(set, &query)?).await?).await
    }

    async fn all_from(&self, first: Rows) -> Result<Vec<Value>, ErpError> {
        let Rows { mut rows, mut link } = first;
        for _ in 0..PAGES_MAX {
            let Some(next) = link else { return Ok(rows) };
            let page = self.page_at(self.service.address(&next, &[])?).await?;
            rows.extend(page.rows);
            link = page.link;
        }
        Err(contract(format!("a list has more than {PAGES_MAX} pages")))
    }

    /// A service may cut the lines of a document, too, and says so beside them: half an order must never look whole.
    async fn with_all_lines(&self, mut row: Value) -> Result<Value, ErpError> {
        let lines = &self.options.map.document.order.lines;
        let link = row[format!("{lines}@odata.nextLink")].as_str().map(str::to_owned);
        if let (Some(link), Some(rows)) = (link, row[lines].as_array().cloned()) {
            row[lines] = Value::Array(self.all_from(Rows { rows, link: Some(link) }).await?);
        }
        Ok(row)
    }

    /// The document of an order, with all its lines.
    pub(super) async fn document(&self, id: &OrderId) -> Result<Value, ErpError> {
        let map = &self.options.map.document;
        let mut filter = format!("{} eq {}", map.order.id, quoted(id.as_str()));
        if let Some(more) = &map.filter {
            filter = format!("{filter} and ({more})");
        }
        let found = self.find(&map.set, &filter, Some(&map.order.lines)).await?.into_iter().next();
        self.with_all_lines(found.ok_or_else(|| ErpError::NotFound { detail: format!("{} {id}", map.set) })?).await
    }

    pub(super) fn order_of(&self, row: &Value) -> Result<Order, String> {
        self.options.map.document.order.read(row, &self.options.sites, &self.options.terms).map_err(String::from)
    }

    fn customer_of(&self, row: &Value) -> Result<Customer, String> {
        match &self.options.map.customer {
            Some(map) => map.fields.read(row).map_err(String::from),
            None => Err("no customers are mapped".to_owned()),
        }
    }

    pub(super) async fn read_customer(&self, id: &CustomerId) -> Result<Customer, ErpError> {
        let Some(map) = &self.options.map.customer else {
            return Ok(Customer { id: id.clone(), on_hold: false, limit_minor: None, exposure_minor: 0 });
        };
        let filter = format!("{} eq {}", map.fields.id, quoted(id.as_str()));
        let found = self.find(&map.set, &filter, None).await?.into_iter().next();
        let found = found.ok_or_else(|| ErpError::NotFound { detail: format!("{} {id}", map.set) })?;
        map.fields.read(&found).map_err(contract)
    }

    pub(super) async fn read_stock(&self, site: &SiteId) -> Result<BTreeMap<ProductId, i64>, ErpError> {
        let mut stock: BTreeMap<ProductId, i64> = BTreeMap::new();
        let Some(map) = &self.options.map.stock else { return Ok(stock) };
        let theirs = self.options.sites.iter().find(|(_, ours)| *ours == site).map(|(theirs, _)| theirs.as_str());
        let filter = format!("{} eq {}", map.fields.site, quoted(theirs.unwrap_or(site.as_str())));
        for row in self.find(&map.set, &filter, None).await? {
            let (product, units) = map.fields.read(&row).map_err(contract)?;
            let sum = stock.entry(product).or_default();
            *sum = sum.saturating_add(units);
        }
        Ok(stock)
    }
}

/// A text in a filter or an address: quotes in it are doubled.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn time(row: &Value, changed: &str) -> Result<Timestamp, ErpError> {
    let at = row[changed].as_str().and_then(|text| text.parse().ok());
    at.ok_or_else(|| contract(format!("{changed} is {}, a time is expected", row[changed])))
}
