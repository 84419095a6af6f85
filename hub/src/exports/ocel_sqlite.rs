//! OCEL 2.0 as an SQLite file: the relational form of the standard.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rusqlite::{Connection, params};

use super::{ExportError, LogEvent, LogObject, Sink, rfc3339};

/// Columns of every event's table, and of every object's, beside those that the standard asks for.
const OF_EVENTS: [&str; 5] = ["by", "actor", "mode", "policy", "outcome"];
const OF_OBJECTS: [&str; 6] = ["customer", "class", "type", "severity", "owner", "state"];

/// Writes into a file that did not exist before, in one transaction.
pub struct OcelSqlite {
    sql: Connection,
    tables: BTreeMap<String, String>,
    kinds: BTreeSet<&'static str>,
}

impl OcelSqlite {
    /// Makes the file.
    /// # Errors
    /// If it cannot be made, or holds something already.
    pub fn create(path: &Path) -> Result<Self, ExportError> {
        let sql = Connection::open(path)?;
        sql.execute_batch(
            "BEGIN;
             CREATE TABLE event (ocel_id TEXT PRIMARY KEY, ocel_type TEXT NOT NULL);
             CREATE TABLE object (ocel_id TEXT PRIMARY KEY, ocel_type TEXT NOT NULL);
             CREATE TABLE event_object (ocel_event_id TEXT NOT NULL, ocel_object_id TEXT NOT NULL, ocel_qualifier TEXT,
               PRIMARY KEY (ocel_event_id, ocel_object_id, ocel_qualifier));
             CREATE TABLE object_object (ocel_source_id TEXT NOT NULL, ocel_target_id TEXT NOT NULL, ocel_qualifier TEXT,
               PRIMARY KEY (ocel_source_id, ocel_target_id, ocel_qualifier));
             CREATE TABLE event_map_type (ocel_type TEXT PRIMARY KEY, ocel_type_map TEXT NOT NULL);
             CREATE TABLE object_map_type (ocel_type TEXT PRIMARY KEY, ocel_type_map TEXT NOT NULL);",
        )?;
        Ok(Self { sql, tables: BTreeMap::new(), kinds: BTreeSet::new() })
    }

    /// The table of an event type, made at its first event. Names are of letters alone, so that no name is SQL.
    fn table_of(&mut self, kind: &str) -> Result<String, ExportError> {
        if let Some(table) = self.tables.get(kind) {
            return Ok(table.clone());
        }
        let word = |w: &str| {
            let mut chars = w.chars().filter(char::is_ascii_alphanumeric);
            chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
        };
        let mut table: String = kind.split(' ').map(word).collect();
        if self.tables.values().any(|taken| taken.eq_ignore_ascii_case(&table)) {
            table = format!("{table}{}", self.tables.len());
        }
        let columns: String = OF_EVENTS.iter().map(|name| format!(", \"{name}\" TEXT")).collect();
        self.sql.execute_batch(&format!(
            "CREATE TABLE \"event_{table}\" (ocel_id TEXT PRIMARY KEY, ocel_time TIMESTAMP NOT NULL{columns})"
        ))?;
        self.sql.execute("INSERT INTO event_map_type VALUES (?1, ?2)", params![kind, table])?;
        self.tables.insert(kind.to_owned(), table.clone());
        Ok(table)
    }
}

fn value<'a>(attributes: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
    attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// SQLite's own form of a time, which readers of this form expect.
fn moment(text: &str) -> String {
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

impl Sink for OcelSqlite {
    fn object(&mut self, object: &LogObject) -> Result<(), ExportError> {
        if self.kinds.insert(object.kind) {
            let columns: String = OF_OBJECTS.iter().map(|name| format!(", \"{name}\" TEXT")).collect();
            self.sql.execute_batch(&format!(
                "CREATE TABLE \"object_{}\" (ocel_id TEXT NOT NULL, ocel_time TIMESTAMP NOT NULL,
                   ocel_changed_field TEXT{columns})",
                object.kind
            ))?;
            self.sql.execute("INSERT INTO object_map_type VALUES (?1, ?1)", params![object.kind])?;
        }
        self.sql.prepare_cached("INSERT INTO object VALUES (?1, ?2)")?.execute(params![object.id, object.kind])?;
        let sql = format!(
            "INSERT INTO \"object_{}\" VALUES (?1, '1970-01-01 00:00:00', NULL, ?2, ?3, ?4, ?5, ?6, ?7)",
            object.kind
        );
        let [a, b, c, d, e, f] = OF_OBJECTS.map(|name| value(&object.attributes, name));
        self.sql.prepare_cached(&sql)?.execute(params![object.id, a, b, c, d, e, f])?;
        for (other, part) in &object.related {
            let sql = "INSERT OR IGNORE INTO object_object VALUES (?1, ?2, ?3)";
            self.sql.prepare_cached(sql)?.execute(params![object.id, other, part])?;
        }
        Ok(())
    }

    fn event(&mut self, event: &LogEvent) -> Result<(), ExportError> {
        let table = self.table_of(&event.kind)?;
        self.sql.prepare_cached("INSERT INTO event VALUES (?1, ?2)")?.execute(params![event.id, event.kind])?;
        let sql = format!("INSERT INTO \"event_{table}\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        let [a, b, c, d, e] = OF_EVENTS.map(|name| value(&event.attributes, name));
        let at = moment(&rfc3339(event.at));
        self.sql.prepare_cached(&sql)?.execute(params![event.id, at, a, b, c, d, e])?;
        for (object, part) in &event.objects {
            let sql = "INSERT OR IGNORE INTO event_object VALUES (?1, ?2, ?3)";
            self.sql.prepare_cached(sql)?.execute(params![event.id, object, part])?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        Ok(self.sql.execute_batch("COMMIT")?)
    }
}
