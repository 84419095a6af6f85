//! Facts: the newest under each key, and when each source was last heard.

use std::collections::BTreeMap;

use gatehouse_common::{
    fact::{Fact, FactKey, Report, Source},
    id::{CustomerId, DeviceId, Hash32, OrderId},
    order::Order,
    sync::{Downward, Lane},
    time::{Moment, UtcMs},
};

use super::{Reader, Scope, StoreChange, StoreError, Tx, row, sql::params};
use crate::core::{
    APART_MS,
    ownership::{field_of, may_say},
};

/// Depots are told anew how old a source is once it was heard this much later, in milliseconds.
const SOURCES_STEP_MS: i64 = 10_000;

fn about(key: &FactKey) -> (Option<&OrderId>, Option<&CustomerId>) {
    match key {
        FactKey::Inventory { order, .. }
        | FactKey::Capacity { order }
        | FactKey::Carrier { order }
        | FactKey::Documents { order }
        | FactKey::Cargo { order, .. } => (Some(order), None),
        FactKey::Credit { customer } => (None, Some(customer)),
        FactKey::Dock { .. } | FactKey::Labour { .. } => (None, None),
    }
}

impl Reader<'_> {
    /// The newest fact under a key.
    /// # Errors
    /// [`StoreError::Damaged`] if it cannot be read.
    pub fn fact(&self, key: &FactKey) -> Result<Option<Fact>, StoreError> {
        self.fact_stored(&serde_json::to_string(key)?)
    }

    fn fact_stored(&self, key: &str) -> Result<Option<Fact>, StoreError> {
        let body: Option<String> =
            self.sql.optional("SELECT body FROM facts WHERE key = ?1", params![key], |r| r.get(0))?;
        body.map(|text| row::json("facts", key, &text)).transpose()
    }

    /// The newest facts about an order.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn facts_of_order(&self, order: &OrderId) -> Result<Vec<Fact>, StoreError> {
        let sql = "SELECT key, body FROM facts WHERE order_id = ?1 ORDER BY key";
        self.sql.query(sql, params![order.as_str()], |r| {
            let (key, body): (String, String) = (r.get("key")?, r.get("body")?);
            row::json("facts", &key, &body)
        })
    }

    /// When each source was last heard, by the hub's clock.
    /// # Errors
    /// [`StoreError::Damaged`] if one cannot be read.
    pub fn sources(&self) -> Result<BTreeMap<Source, UtcMs>, StoreError> {
        let sources = self.sql.query("SELECT source, at_ms FROM sources", params![], |r| {
            let name: String = r.get("source")?;
            let source = row::json("sources", &name, &format!("\"{name}\""))?;
            Ok::<_, StoreError>((source, UtcMs(r.get("at_ms")?)))
        })?;
        Ok(sources.into_iter().collect())
    }

    /// Whether a partner's event was taken before: none if not, else the hash of what it said then.
    /// # Errors
    /// [`StoreError::Damaged`] if the hash cannot be read.
    pub fn seen_event(&self, source: &str, id: &str) -> Result<Option<Hash32>, StoreError> {
        let hash: Option<String> =
            self.sql
                .optional("SELECT hash FROM events WHERE source = ?1 AND id = ?2", params![source, id], |r| r.get(0))?;
        hash.map(|text| row::parse("events", &text)).transpose()
    }
}

impl Tx<'_> {
    /// Takes a fact unless a newer one is held, and sends it to the depots that need it: stock, capacity
    /// and carrier to the order's depot, credit to every depot with an open order of the customer.
    /// Returns whether it was taken.
    /// # Errors
    /// [`StoreError::Damaged`] if the held one cannot be read.
    pub fn put_fact(&mut self, report: &Report, received: &Moment) -> Result<bool, StoreError> {
        let taken = self.keep_fact(report, None, received)?;
        if taken {
            for scope in self.scopes_of_fact(&report.key)? {
                self.publish_fact(&scope, report, received.wall)?;
            }
        }
        Ok(taken)
    }

    /// Takes a fact that a device told. It is that device's own, so it goes to nobody.
    pub(crate) fn put_device_fact(
        &mut self,
        report: &Report,
        device: &DeviceId,
        received: &Moment,
    ) -> Result<bool, StoreError> {
        self.keep_fact(report, Some(device), received)
    }

    fn keep_fact(&mut self, report: &Report, device: Option<&DeviceId>, received: &Moment) -> Result<bool, StoreError> {
        if !may_say(&report.key, report.source) {
            let (field, source) = (field_of(&report.key), report.source.as_str());
            return Err(StoreError::Refused(format!(
                "{field} is not for the {source} to say; /v1/ownership lists whose it is"
            )));
        }
        let mut key = serde_json::to_string(&report.key)?;
        if let (FactKey::Dock { .. }, Some(device)) = (&report.key, device) {
            // Two depots may both have a door 3.
            key = format!("{device} {key}");
        }
        if self.fact_stored(&key)?.is_some_and(|held| held.keeps_out(report, received)) {
            return Ok(false);
        }
        let (order, customer) = about(&report.key);
        self.sql.execute(
            "INSERT INTO facts (key, source, origin, at_ms, order_id, customer, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (key) DO UPDATE SET source = ?2, origin = ?3, at_ms = ?4, body = ?7",
            params![
                key,
                source_word(report.source)?,
                device.map_or("", DeviceId::as_str),
                report.at.0,
                order.map(OrderId::as_str),
                customer.map(CustomerId::as_str),
                serde_json::to_string(&Fact { report: report.clone(), received: received.clone() })?,
            ],
        )?;
        self.changed(StoreChange::Fact(key));
        Ok(true)
    }

    fn scopes_of_fact(&self, key: &FactKey) -> Result<Vec<Scope>, StoreError> {
        if let FactKey::Labour { site, .. } = key {
            return Ok(vec![Scope::Site(site.clone())]);
        }
        match about(key) {
            (Some(order), _) => Ok(self.order(order)?.map(|o| Scope::Site(o.site)).into_iter().collect()),
            (_, Some(customer)) => self.sites_of_customer(customer),
            _ => Ok(Vec::new()),
        }
    }

    fn publish_fact(&mut self, scope: &Scope, report: &Report, now: UtcMs) -> Result<(), StoreError> {
        let subject = format!("fact/{}", serde_json::to_string(&report.key)?);
        let says = Downward::Fact(serde_json::to_string(report)?);
        self.publish_newest(scope, Lane::Orders, &says, &subject, now)?;
        Ok(())
    }

    /// Sends a depot what is known for an order of its own: facts may have come before the order did.
    pub(super) fn publish_facts_of(&mut self, order: &Order, now: UtcMs) -> Result<(), StoreError> {
        let scope = Scope::Site(order.site.clone());
        let mut facts = self.facts_of_order(&order.id)?;
        // What the depot itself told need not come back.
        facts.retain(|fact| !matches!(fact.report.source, Source::Depot | Source::Vehicle));
        facts.extend(self.fact(&FactKey::Credit { customer: order.customer.id.clone() })?);
        for fact in facts {
            self.publish_fact(&scope, &fact.report, now)?;
        }
        Ok(())
    }

    /// A source was heard. Every depot is told, though not more often than each 10 s. What is stored and lies further
    /// ahead of `at` than replicas' clocks may be apart was dated by a clock that was wrong: `at` takes its place, and
    /// depots are told at once.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn source_heard(&mut self, source: Source, at: UtcMs) -> Result<(), StoreError> {
        let word = source_word(source)?;
        self.sql.execute(
            "INSERT INTO sources (source, at_ms, told_ms) VALUES (?1, ?2, 0)
             ON CONFLICT (source) DO UPDATE SET at_ms =
               CASE WHEN sources.at_ms < ?2 OR sources.at_ms > ?3 THEN ?2 ELSE sources.at_ms END",
            params![word, at.0, at.plus(APART_MS).0],
        )?;
        self.changed(StoreChange::Source);
        let told = self.sql.execute(
            "UPDATE sources SET told_ms = at_ms
              WHERE source = ?1 AND (at_ms >= told_ms + ?2 OR told_ms > at_ms)",
            params![word, SOURCES_STEP_MS],
        )?;
        if told > 0 {
            self.publish_sources(at)?;
        }
        Ok(())
    }

    fn publish_sources(&mut self, now: UtcMs) -> Result<(), StoreError> {
        let says = Downward::Sources(serde_json::to_string(&self.sources()?)?);
        let mut sites = Vec::new();
        for state in self.devices()? {
            sites.extend(state.device.sites);
        }
        sites.sort();
        sites.dedup();
        for site in sites {
            self.publish_newest(&Scope::Site(site), Lane::Rest, &says, "sources", now)?;
        }
        Ok(())
    }

    /// Remembers that a partner's event was taken.
    /// # Errors
    /// [`StoreError::Sql`].
    pub fn keep_event(&mut self, source: &str, id: &str, hash: &Hash32, now: UtcMs) -> Result<(), StoreError> {
        self.sql.execute(
            "INSERT INTO events (source, id, hash, at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (source, id) DO NOTHING",
            params![source, id, hash.to_string(), now.0],
        )?;
        Ok(())
    }
}

/// The word under which a source is stored: the one it has in JSON.
fn source_word(source: Source) -> Result<String, StoreError> {
    Ok(serde_json::to_string(&source)?.trim_matches('"').to_owned())
}
