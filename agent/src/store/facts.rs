//! The newest facts, orders and the state of rules.

use std::collections::BTreeMap;

use gatehouse_common::{fact::Fact, order::Order};
use rusqlite::{Connection, Result, params};
use serde::de::DeserializeOwned;

use super::{
    Store, StoreError, checksum,
    journal::{self, Change},
    ledger::{int, json},
};

/// Writes the newest fact, as JSON, under its key, as JSON.
pub fn put_fact(conn: &Connection, key: &str, body: &str) -> Result<()> {
    put(conn, "facts", key, body)
}

/// Forgets the fact under a key.
pub fn forget_fact(conn: &Connection, key: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM facts WHERE key = ?1")?.execute([key]).map(|_| ())
}

/// Writes the newest version of an order.
pub fn put_order(conn: &Connection, order: &Order) -> Result<()> {
    let body = json(order)?;
    let sum = checksum::of(&[order.id.as_str().as_bytes(), body.as_bytes()]);
    conn.prepare_cached(
        "INSERT INTO orders (order_id, version, body, checksum) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (order_id) DO UPDATE SET version = ?2, body = ?3, checksum = ?4",
    )?
    .execute(params![order.id.as_str(), int(order.version), body, sum])
    .map(|_| ())
}

/// Writes the state of a rule.
pub fn put_rule(conn: &Connection, key: &str, body: &str) -> Result<()> {
    put(conn, "rules", key, body)
}

fn put(conn: &Connection, table: &str, key: &str, body: &str) -> Result<()> {
    let sum = checksum::of(&[key.as_bytes(), body.as_bytes()]);
    conn.prepare_cached(&format!(
        "INSERT INTO {table} (key, body, checksum) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET body = ?2, checksum = ?3"
    ))?
    .execute(params![key, body, sum])
    .map(|_| ())
}

/// Forgets the state of a rule.
pub fn forget_rule(conn: &Connection, key: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM rules WHERE key = ?1")?.execute([key]).map(|_| ())
}

/// Every order held, checked.
pub fn orders(store: &Store) -> Result<Vec<Order>, StoreError> {
    let held = rows(store, "order", "SELECT order_id, body, checksum FROM orders ORDER BY order_id")?;
    held.into_iter().map(|(key, body)| read(store, "order", &key, &body)).collect()
}

/// Every fact held and the state of every rule, each by key: what their tables say, and what came since; checked.
pub fn facts_and_rules(store: &Store) -> Result<(Vec<Fact>, Vec<(String, String)>), StoreError> {
    let mut facts = rows(store, "fact", "SELECT key, body, checksum FROM facts")?;
    let mut rules = rows(store, "rule", "SELECT key, body, checksum FROM rules")?;
    journal::each(store.conn(), |change| match change {
        Change::Fact(key, body) => journal::apply(&mut facts, key, body),
        Change::Rule(key, body) => journal::apply(&mut rules, key, body),
    })
    .map_err(|e| store.explain(&e))?;
    let facts = facts.iter().map(|(key, body)| read(store, "fact", key, body)).collect::<Result<_, _>>()?;
    Ok((facts, rules.into_iter().collect()))
}

/// State of the rules of these kinds by key: what their table says, and what came since.
pub fn rules_of(conn: &Connection, kinds: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut held = BTreeMap::new();
    // '0' follows '/' in ASCII: all rows of one kind lie between the two.
    let mut query = conn.prepare_cached("SELECT key, body FROM rules WHERE key > ?1 || '/' AND key < ?1 || '0'")?;
    for kind in kinds {
        for row in query.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))? {
            held.extend([row?]);
        }
    }
    if kinds.iter().any(|kind| journal::is_often(kind)) {
        journal::each(conn, |change| match change {
            Change::Rule(key, body) if kinds.contains(&journal::kind_of(&key)) => journal::apply(&mut held, key, body),
            _ => {}
        })?;
    }
    Ok(held)
}

fn read<T: DeserializeOwned>(store: &Store, what: &str, key: &str, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|e| store.damaged(format!("{what} {key} cannot be read: {e}")))
}

/// Rows of key, body and checksum.
fn rows(store: &Store, what: &str, sql: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let read: Vec<(String, String, Vec<u8>)> = store
        .conn()
        .prepare_cached(sql)
        .and_then(|mut query| query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .map_err(|e| store.explain(&e))?;
    read.into_iter()
        .map(|(key, body, sum)| {
            if sum == checksum::of(&[key.as_bytes(), body.as_bytes()]) {
                Ok((key, body))
            } else {
                Err(store.damaged(format!("{what} {key} does not match its checksum")))
            }
        })
        .collect()
}
