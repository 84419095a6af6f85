//! `gatehouse-hub export`: one state of the store as a file of OCEL, XES or EPCIS.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::{
    clock::Clock,
    exports::{Counted, ExportError, epcis, ocel_json::OcelJson, ocel_sqlite::OcelSqlite, walk, xes::Xes},
    store::Reader,
};

/// What is written, and where.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// In which form.
    #[arg(value_enum)]
    form: Form,
    /// The file to be made. It must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where everything is kept.
    #[arg(long, value_name = "DATABASE")]
    database: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
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

impl Export {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if self.out.exists() {
            bail!("--out {}: is there already; name another", self.out.display());
        }
        let mut part = self.out.clone().into_os_string();
        part.push(".part");
        let part = Path::new(&part);
        // What an export that was cut off left behind is no export.
        let _ = fs::remove_file(part);
        let store = super::open(&self.database, false)?;
        let counted = store
            .read_now(|r| Ok(write(r, self.form, part)))?
            .with_context(|| format!("writing {}", part.display()))?;
        fs::rename(part, &self.out).with_context(|| format!("naming {}", self.out.display()))?;
        println!("{} events of {} objects in {}", counted.events, counted.objects, self.out.display());
        Ok(())
    }
}

fn write(r: &Reader<'_>, form: Form, part: &Path) -> Result<Counted, ExportError> {
    let file = |part: &Path| File::create(part).map(BufWriter::new);
    match form {
        Form::OcelJson => walk(r, &mut OcelJson::new(file(part)?)),
        Form::OcelSqlite => walk(r, &mut OcelSqlite::create(part)?),
        Form::XesCases => walk(r, &mut Xes::new(file(part)?, "case")),
        Form::XesDispatches => walk(r, &mut Xes::new(file(part)?, "dispatch")),
        Form::Epcis => epcis::write(r, &mut file(part)?, Clock::system().wall()),
    }
}
