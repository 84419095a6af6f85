//! A CSV file line by line: RFC 4180, the first line names the columns.

use std::io::Read;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value};

/// One line that has all its columns, or why it has not.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it begins in the file, from 1.
    pub line: u64,
    /// Its columns by name, or which field is wrong and how.
    pub fields: Result<Map<String, Value>, (String, String)>,
}

/// The lines of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The lines below them.
    pub rows: Vec<Row>,
}

impl Lines {
    /// Reads a whole file.
    /// # Errors
    /// One sentence if the file cannot be read, or its first line names no columns.
    pub fn read(file: impl Read) -> Result<Self, String> {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(file);
        let headers = reader.byte_headers().map_err(|e| e.to_string())?;
        let mut columns = Vec::new();
        for name in headers {
            let name = std::str::from_utf8(name).map_err(|_| "the first line is not UTF-8".to_owned())?;
            let name = name.trim_start_matches('\u{feff}').trim().to_owned();
            if columns.contains(&name) {
                return Err(format!("the first line names {name:?} twice"));
            }
            columns.push(name);
        }
        if columns.iter().all(String::is_empty) {
            return Err("the first line names no columns".to_owned());
        }
        let (mut rows, mut record) = (Vec::new(), ByteRecord::new());
        while reader.read_byte_record(&mut record).map_err(|e| e.to_string())? {
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(Row { line, fields: fields(&columns, &record) });
        }
        Ok(Self { columns, rows })
    }
}

fn fields(columns: &[String], record: &ByteRecord) -> Result<Map<String, Value>, (String, String)> {
    if record.len() != columns.len() {
        let what = format!("has {} columns, {} are expected", record.len(), columns.len());
        return Err(("(line)".to_owned(), what));
    }
    let mut fields = Map::new();
    for (name, bytes) in columns.iter().zip(record) {
        let text = std::str::from_utf8(bytes).map_err(|_| (name.clone(), "is not UTF-8".to_owned()))?;
        fields.insert(name.clone(), Value::from(text.trim()));
    }
    Ok(fields)
}
