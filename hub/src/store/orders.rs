//! Orders: the newest version of each; all versions stand in the ledger.

use gatehouse_common::{
    id::{CustomerId, OrderId, SiteId},
    order::{Order, OrderStatus},
    sync::{Downward, Lane},
    time::UtcMs,
};
use tracing::error;

use super::{Reader, Scope, StoreChange, StoreError, Tx, row, sql::params};

fn subject(order: impl std::fmt::Display) -> String {
    format!("order/{order}")
}

impl Reader<'_> {
    /// The newest version of an order.
    /// # Errors
    /// [`StoreError::Damaged`] if neither can be read.
    pub fn order(&self, order: &OrderId) -> Result<Option<Order>, StoreError> {
        let body: Option<String> =
            self.sql.optional("SELECT body FROM orders WHERE order_id = ?1", params![order.as_str()], |r| r.get(0))?;
        body.map(|body| self.as_served(order.as_str(), &body)).transpose()
    }

    /// An order from `body`, as it is served. That is derived: where it rotted, the ledger has it too, and who asks need
    /// not wait for the scrub.
    fn as_served(&self, id: &str, body: &str) -> Result<Order, StoreError> {
        row::json("orders", id, body).or_else(|damaged| match self.newest_of_subject(&subject(id))? {
            Some(newest) => row::json("ledger", id, &newest),
            None => Err(damaged),
        })
    }

    /// A version of an order, as a decision may have seen it.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn order_version(&self, order: &OrderId, version: u64) -> Result<Option<Order>, StoreError> {
        for text in self.of_subject(&subject(order))? {
            let found: Order = row::json("ledger", order.as_str(), &text)?;
            if found.version == version {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Whether an order is known and has in no version belonged to one of `sites`.
    /// # Errors
    /// [`StoreError::Damaged`] if a version cannot be read.
    pub fn is_foreign_order(&self, order: &OrderId, sites: &[SiteId]) -> Result<bool, StoreError> {
        let Some(newest) = self.order(order)? else { return Ok(false) };
        if sites.contains(&newest.site) {
            return Ok(false);
        }
        for text in self.of_subject(&subject(order))? {
            let version: Order = row::json("ledger", order.as_str(), &text)?;
            if sites.contains(&version.site) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The newest versions of all orders, by planned departure. One that rotted in both its places is told to the log and
    /// left out: it must not keep anyone from all others.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn orders(&self) -> Result<Vec<Order>, StoreError> {
        self.orders_where("?1 = ?1", "")
    }

    /// The newest versions of a customer's orders, as [`Self::orders`].
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn orders_of_customer(&self, customer: &CustomerId) -> Result<Vec<Order>, StoreError> {
        self.orders_where("customer = ?1", customer.as_str())
    }

    fn orders_where(&self, condition: &str, value: &str) -> Result<Vec<Order>, StoreError> {
        let sql = format!("SELECT order_id, body FROM orders WHERE {condition} ORDER BY order_id");
        let rows: Vec<(String, String)> =
            self.sql.query(&sql, params![value], |r| Ok::<_, StoreError>((r.get("order_id")?, r.get("body")?)))?;
        let mut orders = Vec::with_capacity(rows.len());
        for (id, body) in rows {
            match self.as_served(&id, &body) {
                Ok(order) => orders.push(order),
                Err(damaged @ StoreError::Damaged { .. }) => {
                    error!(
                        order.id = %id,
                        error = %damaged,
                        "order {id} is left out: it is damaged as it is served and in the ledger; look after the disk, \
                         then restore a backup"
                    );
                }
                Err(e) => return Err(e),
            }
        }
        orders.sort_by_key(|o| o.planned_departure);
        Ok(orders)
    }

    /// Depots that have an order of a customer which may still leave.
    pub(super) fn sites_of_customer(&self, customer: &CustomerId) -> Result<Vec<Scope>, StoreError> {
        self.sql.query(
            "SELECT DISTINCT site FROM orders WHERE customer = ?1 AND status = 'released' ORDER BY site",
            params![customer.as_str()],
            |r| Ok(Scope::Site(row::parse("orders", &r.get::<String>("site")?)?)),
        )
    }
}

impl Tx<'_> {
    /// Takes a version of an order and sends it to its depot and its vehicle, with the facts that the
    /// depot needs for it. One that is not newer than the known one changes nothing.
    /// Returns whether it was new.
    /// # Errors
    /// [`StoreError::Damaged`] if the known one cannot be read.
    pub fn put_order(&mut self, order: &Order, now: UtcMs) -> Result<bool, StoreError> {
        let known = self.order(&order.id)?;
        if known.as_ref().is_some_and(|k| k.version >= order.version) {
            return Ok(false);
        }
        let body = serde_json::to_string(order)?;
        self.write_order(order, &body, now)?;
        let mut scopes = vec![Scope::Site(order.site.clone()), Scope::Vehicle(order.vehicle.clone())];
        if let Some(known) = known {
            // Whoever had the order before learns that it went elsewhere.
            scopes.extend([Scope::Site(known.site), Scope::Vehicle(known.vehicle)]);
            scopes.dedup();
        }
        let says = Downward::Order(body);
        for scope in &scopes {
            self.publish_newest(scope, Lane::Orders, &says, &subject(&order.id), now)?;
        }
        self.publish_facts_of(order, now)?;
        self.changed(StoreChange::Order(order.id.clone()));
        Ok(true)
    }

    /// Writes an order down as it is served; `body` is its JSON.
    pub(super) fn write_order(&mut self, order: &Order, body: &str, now: UtcMs) -> Result<(), StoreError> {
        let status = match order.status {
            OrderStatus::Released => "released",
            OrderStatus::Cancelled => "cancelled",
        };
        self.sql.execute(
            "INSERT INTO orders (order_id, version, site, vehicle, customer, status, body, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (order_id) DO UPDATE SET version = ?2, site = ?3, vehicle = ?4, customer = ?5,
               status = ?6, body = ?7, at_ms = ?8",
            params![
                order.id.as_str(),
                row::to_sql(order.version),
                order.site.as_str(),
                order.vehicle.as_str(),
                order.customer.id.as_str(),
                status,
                body,
                now.0,
            ],
        )?;
        Ok(())
    }
}
