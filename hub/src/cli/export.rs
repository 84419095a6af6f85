//! `gatehouse-hub export`: one state of the store as a file of OCEL, XES or EPCIS.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use crate::exports::{Form, write};

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
