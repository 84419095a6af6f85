//! `gatehouse-hub import`: orders from a file of others, each line accounted for.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use gatehouse_common::order::Order;
use serde::Serialize;

use crate::{
    clock::Clock,
    erp::poll::put_counted,
    imports::{self, ImportMap, Lines, Reject},
    store::Store,
};

/// Orders written in one transaction.
const BATCH: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Read orders from a CSV file, whose first line names its columns.
    ///
    /// Each line of the file ends as part of an order, or in the file of rejects with line, field and why. An order of
    /// which one line cannot be read is none. Reading a file again changes nothing. The hub may be running.
    Orders {
        /// The file; `-` reads standard input.
        file: PathBuf,
        /// Which column is what: docs/import/usaid-scms.toml is one such map.
        #[arg(long, value_name = "FILE")]
        map: PathBuf,
        /// Where lines go that are part of no order. It must not be there yet.
        #[arg(long, value_name = "FILE")]
        rejects: PathBuf,
        /// Where everything is kept.
        #[arg(long, value_name = "DATABASE")]
        database: String,
        /// Print one JSON object instead of lines.
        #[arg(long)]
        json: bool,
    },
}

/// What came of a file; `lines` is the sum of `lines_in_orders` and `lines_rejected`.
#[derive(Debug, Default, Serialize)]
struct Counts {
    lines: usize,
    lines_in_orders: usize,
    lines_rejected: usize,
    orders: usize,
    orders_written: usize,
    orders_unchanged: usize,
    rejected_by_field: BTreeMap<String, usize>,
}

impl Import {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Orders { file, map, rejects, database, json } = self;
        let text = fs::read_to_string(&map).with_context(|| format!("--map {}", map.display()))?;
        let map: ImportMap = toml::from_str(&text).with_context(|| format!("--map {}", map.display()))?;
        let input: Box<dyn Read> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&file).with_context(|| format!("opening {}", file.display()))?)
        };
        let lines = Lines::read(input).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
        let mut counts = Counts { lines: lines.rows.len(), ..Counts::default() };
        let read = imports::read(lines, &map).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
        counts.orders = read.orders.len();
        counts.lines_in_orders = read.orders.iter().map(|(_, lines)| lines).sum();
        counts.lines_rejected = read.rejects.len();
        if counts.lines_in_orders + counts.lines_rejected != counts.lines {
            bail!("{counts:?}: a line is unaccounted for; nothing was written");
        }
        for reject in &read.rejects {
            *counts.rejected_by_field.entry(reject.field.clone()).or_default() += 1;
        }
        let store = super::open(&database, true)?;
        write_rejects(&rejects, &read.rejects).with_context(|| format!("--rejects {}", rejects.display()))?;
        let orders: Vec<Order> = read.orders.into_iter().map(|(order, _)| order).collect();
        counts.orders_written = write_orders(&store, orders)?;
        counts.orders_unchanged = counts.orders - counts.orders_written;
        if json {
            return super::say(&serde_json::to_string(&counts)?);
        }
        super::say(&format!(
            "{} lines: {} in {} orders ({} written, {} as they were), {} in {}",
            counts.lines,
            counts.lines_in_orders,
            counts.orders,
            counts.orders_written,
            counts.orders_unchanged,
            counts.lines_rejected,
            rejects.display()
        ))
    }
}

fn write_rejects(path: &Path, rejects: &[Reject]) -> anyhow::Result<()> {
    let file = File::create_new(path)?;
    let mut writer = csv::Writer::from_writer(file);
    writer.write_record(["line", "id", "order", "field", "why"])?;
    for reject in rejects {
        let line = reject.line.to_string();
        writer.write_record([line.as_str(), &reject.id, &reject.order, &reject.field, &reject.why])?;
    }
    writer.flush()?;
    Ok(())
}

/// Writes orders under the next version of the hub's own count. Returns how many were not so before.
fn write_orders(store: &Store, orders: Vec<Order>) -> anyhow::Result<usize> {
    let (now, mut written) = (Clock::system().wall(), 0);
    for batch in orders.chunks(BATCH) {
        let batch = batch.to_vec();
        written += store.write_now(move |tx| {
            let mut written = 0;
            for order in &batch {
                written += usize::from(put_counted(tx, order, now)?);
            }
            Ok(written)
        })?;
    }
    Ok(written)
}
