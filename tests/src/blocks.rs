//! The readings in an agent's store, as a stranger reads them: checks from outside must not trust the product's own
//! reader. Written from the description of the form of blocks; shares no code with the product.

use std::collections::HashMap;

use rusqlite::Connection;

/// What checks want to know of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Who sent it.
    pub source: String,
    /// The sender's own id.
    pub id: String,
    /// The first 8 bytes of its payload's SHA-256, in hexadecimal.
    pub payload: String,
}

/// How many values a kind has, by its number; 0 is JSON in one text.
const VALUES: [usize; 8] = [1, 2, 3, 4, 3, 2, 2, 5];

/// Every reading that is kept, in order.
///
/// # Errors
/// What is wrong with the store, in words.
pub fn readings(store: &Connection) -> Result<Vec<Reading>, String> {
    let told = |error: rusqlite::Error| error.to_string();
    let mut names: HashMap<u64, String> = HashMap::new();
    let mut query = store.prepare("SELECT number, source FROM sources").map_err(told)?;
    let mut rows = query.query([]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let number: i64 = row.get(0).map_err(told)?;
        names.insert(number.unsigned_abs(), row.get(1).map_err(told)?);
    }
    let mut found = Vec::new();
    let mut query = store.prepare("SELECT first, count, body FROM blocks ORDER BY first").map_err(told)?;
    let mut rows = query.query([]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let (first, count): (i64, i64) = (row.get(0).map_err(told)?, row.get(1).map_err(told)?);
        let body: Vec<u8> = row.get(2).map_err(told)?;
        let before = found.len();
        let read = block(&mut Bytes(&body), &names, &mut found);
        if read.is_none() || (found.len() - before) as u64 != count.unsigned_abs() {
            return Err(format!("block {first} cannot be read or holds other than {count} readings"));
        }
    }
    Ok(found)
}

fn block(bytes: &mut Bytes<'_>, names: &HashMap<u64, String>, found: &mut Vec<Reading>) -> Option<()> {
    while !bytes.0.is_empty() {
        let count = bytes.number()?;
        // Wall clock, boot clock, uncertainty; then whether the boot's id follows.
        for _ in 0..3 {
            bytes.number()?;
        }
        if bytes.take(1)?[0] & 2 != 0 {
            bytes.text()?;
        }
        for _ in 0..count {
            let source = names.get(&bytes.number()?)?.clone();
            let id = match bytes.number()? {
                0 => hex(bytes.take(32)?),
                length => String::from_utf8(bytes.take(usize::try_from(length).ok()?)?.to_vec()).ok()?,
            };
            bytes.number()?;
            let payload = hex(bytes.take(8)?);
            let kind = bytes.take(1)?[0];
            for _ in 0..*VALUES.get(usize::from(kind))? {
                bytes.skip_value()?;
            }
            found.push(Reading { source, id, payload });
        }
    }
    Some(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn skip_value(&mut self) -> Option<()> {
        match self.take(1)?[0] {
            0..=2 => {}
            5 => drop(self.take(8)?),
            6 => drop(self.text()?),
            3 | 4 | 7 => drop(self.number()?),
            _ => return None,
        }
        Some(())
    }
}
