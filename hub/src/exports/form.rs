//! In which form an export is written.

use std::{fs::File, io::BufWriter, os::unix::fs::OpenOptionsExt, path::Path};

use clap::ValueEnum;

use super::{Counted, ExportError, epcis, ocel_json::OcelJson, ocel_sqlite::OcelSqlite, walk, xes::Xes};
use crate::{clock::Clock, store::Reader};

/// A form of export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// OCEL 2.0 as JSON.
    OcelJson,
    /// OCEL 2.0 as an SQLite file.
    OcelSqlite,
    /// XES, one trace for each case.
    XesCases,
    /// XES, one trace for each dispatch.
    XesDispatches,
    /// EPCIS 2.0 as JSON.
    Epcis,
}

impl Form {
    /// The form of this name, as the command line has it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }

    /// Its media type, and how a file of it is called.
    #[must_use]
    pub fn media(self) -> (&'static str, &'static str) {
        match self {
            Self::OcelJson => ("application/json", "gatehouse.jsonocel"),
            Self::OcelSqlite => ("application/vnd.sqlite3", "gatehouse.sqlite"),
            Self::XesCases => ("application/xml", "gatehouse-cases.xes"),
            Self::XesDispatches => ("application/xml", "gatehouse-dispatches.xes"),
            Self::Epcis => ("application/json", "gatehouse-epcis.json"),
        }
    }
}

/// Writes one state of the store to a file that is not there yet, for its owner alone.
/// # Errors
/// [`ExportError`]; what was written is no export then.
pub fn write(r: &Reader<'_>, form: Form, to: &Path) -> Result<Counted, ExportError> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    let file = || -> Result<_, ExportError> { Ok(BufWriter::new(file.try_clone()?)) };
    match form {
        Form::OcelJson => walk(r, &mut OcelJson::new(file()?)),
        Form::OcelSqlite => walk(r, &mut OcelSqlite::create(to)?),
        Form::XesCases => walk(r, &mut Xes::new(file()?, "case")),
        Form::XesDispatches => walk(r, &mut Xes::new(file()?, "dispatch")),
        Form::Epcis => epcis::write(r, &mut file()?, Clock::system().wall()),
    }
}
