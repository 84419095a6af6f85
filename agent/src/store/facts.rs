//! The newest facts, orders and the state of rules.

use gatehouse_common::{
    fact::{Fact, FactKey},
    order::Order,
};
use rusqlite::{Connection, Result, params};
use serde::de::DeserializeOwned;

use super::{
    Store, StoreError, checksum,
    ledger::{int, json},
};

/// Writes the newest fact under its key.
pub fn put_fact(conn: &Connection, fact: &Fact) -> Result<()> {
    let (key, body) = (json(&fact.report.key)?, json(fact)?);
    let sum = checksum::of(&[key.as_bytes(), body.as_bytes()]);
    conn.prepare_cached(
        "INSERT INTO facts (key, body, checksum) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET body = ?2, checksum = ?3",
    )?
    .execute(params![key, body, sum])
    .map(|_| ())
}

/// Forgets the fact under a key.
pub fn forget_fact(conn: &Connection, key: &FactKey) -> Result<()> {
    conn.prepare_cached("DELETE FROM facts WHERE key = ?1")?.execute([json(key)?]).map(|_| ())
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
    let sum = checksum::of(&[key.as_bytes(), body.as_bytes()]);
    conn.prepare_cached(
        "INSERT INTO rules (key, body, checksum) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET body = ?2, checksum = ?3",
    )?
    .execute(params![key, body, sum])
    .map(|_| ())
}

/// Forgets the state of a rule.
pub fn forget_rule(conn: &Connection, key: &str) -> Result<()> {
    conn.prepare_cached("DELETE FROM rules WHERE key = ?1")?.execute([key]).map(|_| ())
}

/// Every fact held, checked.
pub fn facts(store: &Store) -> Result<Vec<Fact>, StoreError> {
    checked(store, "fact", "SELECT key, body, checksum FROM facts ORDER BY key")
}

/// Every order held, checked.
pub fn orders(store: &Store) -> Result<Vec<Order>, StoreError> {
    checked(store, "order", "SELECT order_id, body, checksum FROM orders ORDER BY order_id")
}

/// The state of every rule, checked.
pub fn rules(store: &Store) -> Result<Vec<(String, String)>, StoreError> {
    rows(store, "rule", "SELECT key, body, checksum FROM rules ORDER BY key")
}

fn checked<T: DeserializeOwned>(store: &Store, what: &str, sql: &str) -> Result<Vec<T>, StoreError> {
    rows(store, what, sql)?
        .into_iter()
        .map(|(key, body)| {
            serde_json::from_str(&body).map_err(|e| store.damaged(format!("{what} {key} cannot be read: {e}")))
        })
        .collect()
}

/// Rows of key, body and checksum.
fn rows(store: &Store, what: &str, sql: &str) -> Result<Vec<(String, String)>, StoreError> {
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
