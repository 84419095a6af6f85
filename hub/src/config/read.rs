//! Reads sections key by key, so that one wrong key hides no other.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which key, with its section.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// A problem with `key`.
    pub fn new(key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.what, self.remedy)
    }
}

/// One problem a line, indented.
pub fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n")
}

/// What files lie beside that the configuration does not name.
#[derive(Debug, Clone, Copy)]
pub enum Beside<'a> {
    /// A file of SQLite.
    File(&'a Path),
    /// Replicas that share a database share keys too, so there they are named.
    Nothing,
    /// Where the store is could not be read; that is told already.
    Unknown,
}

/// A table of the file whose keys are taken out one by one; what is left at the end is unknown.
#[derive(Debug)]
pub struct Section {
    name: String,
    table: Table,
    known: Vec<&'static str>,
    directory: PathBuf,
}

impl Section {
    /// The whole file.
    pub fn root(table: Table, directory: &Path) -> Self {
        Self { name: String::new(), table, known: Vec::new(), directory: directory.to_owned() }
    }

    fn key(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn child(&self, name: String, table: Table) -> Self {
        Self { name, table, known: Vec::new(), directory: self.directory.clone() }
    }

    /// A problem with `key` of this section.
    pub fn problem(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem::new(self.key(key), what, remedy)
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// The section `key`, if it is there and is one.
    pub fn optional_section(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Self> {
        match self.take(key)? {
            Value::Table(table) => Some(self.child(self.key(key), table)),
            other => {
                let what = format!("is {}, a section is expected", other.type_str());
                problems.push(self.problem(key, what, format!("write [{}]", self.key(key))));
                None
            }
        }
    }

    /// The section `key`; empty when it is left out, so that each missing key is named.
    pub fn section_or_empty(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Self {
        self.optional_section(key, problems).unwrap_or_else(|| self.child(self.key(key), Table::new()))
    }

    /// The sections of a list such as `[[topics]]`, named by number from 1.
    pub fn sections(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Vec<Self> {
        let items = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                problems.push(self.problem(key, "is not a list of sections", format!("write [[{key}]]")));
                return Vec::new();
            }
        };
        let mut sections = Vec::new();
        for (n, item) in items.into_iter().enumerate() {
            let name = format!("{}[{}]", self.key(key), n + 1);
            match item {
                Value::Table(table) => sections.push(self.child(name, table)),
                other => problems.push(Problem::new(
                    name,
                    format!("is {}, a section is expected", other.type_str()),
                    format!("write [[{key}]]"),
                )),
            }
        }
        sections
    }

    /// The value of `key`, if it is there and of the right type.
    pub fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        remedy: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match value.try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                problems.push(self.problem(key, error.to_string().trim().replace('\n', " "), remedy));
                None
            }
        }
    }

    /// The value of `key`, which must be there.
    pub fn required<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        remedy: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.known.push(key);
            problems.push(self.problem(key, "is missing", remedy));
            return None;
        }
        self.optional(key, remedy, problems)
    }

    /// A path, which must be there.
    pub fn path(&mut self, key: &'static str, remedy: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let path: PathBuf = self.required(key, remedy, problems)?;
        Some(self.directory.join(path))
    }

    /// A path, if it is there.
    pub fn optional_path(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let path: PathBuf = self.optional(key, "give a path as text", problems)?;
        Some(self.directory.join(path))
    }

    /// The file that `key` names when it is left out: the one `beside` with another ending.
    pub fn beside(&self, key: &str, beside: Beside<'_>, ending: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        match beside {
            Beside::File(file) => Some(file.with_extension(ending)),
            Beside::Unknown => None,
            Beside::Nothing => {
                let what = "is missing, and over PostgreSQL there is no file beside which it could be";
                problems.push(self.problem(key, what, "name a file; every replica has the same"));
                None
            }
        }
    }

    /// Whether `key` is in the file and not yet taken.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Tells every key that nobody took.
    pub fn finish(&mut self, problems: &mut Vec<Problem>) {
        for key in std::mem::take(&mut self.table).keys() {
            problems.push(self.problem(
                key,
                "is not a key of this section",
                format!("remove it, or use one of: {}", self.known.join(", ")),
            ));
        }
    }
}
