//! The agent's core, store and driver step over a disk that can fail.
//!
//! In: steps of a life. Out: whether each was committed, and everything that the store holds. Knows nothing of faults.

use std::path::Path;

use gatehouse_agent::{
    core::Core,
    driver::{Outcome, forget, step},
    store::{Identity, Limits, Store, StoreError},
};

use gatehouse_common::id::Hash32;
use rusqlite::types::ValueRef;

use crate::{
    depot::{Step, Upkeep, profile},
    vfs::{Mounted, Peephole},
};

/// So little that a short life goes beyond it.
const LIMITS: Limits = Limits {
    budget_bytes: 1 << 30,
    keep_readings_ms: 1_800_000,
    quarantine_bytes: 2_000,
    inputs_bytes: 20_000,
    forget_after_ms: 600_000,
};

/// One program over one disk.
#[derive(Debug)]
pub struct Machine {
    /// Its disk.
    pub disk: Mounted,
    /// Whether commits wait for the disk, as they must; a control does without.
    pub full_sync: bool,
    /// Pages after which SQLite carries its log over into the file; few, so that cuts fall into that too.
    pub checkpoint_pages: u32,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    core: Core,
    store: Store,
    peephole: Peephole,
}

/// Who the store belongs to.
#[must_use]
pub fn identity() -> Identity {
    let profile = profile();
    Identity { device: profile.device, site: profile.site, public_key: profile.key.public() }
}

/// A store on a disk, with a hold of its connection.
/// # Errors
/// The store's.
pub fn open(disk: &Mounted) -> Result<(Store, Peephole), StoreError> {
    let path = disk.path();
    let conn = disk.connect().map_err(|e| StoreError::Unusable { path: path.clone().into(), what: e.to_string() })?;
    let peephole = Peephole::of(&conn);
    Ok((Store::over(conn, Path::new(&path), &identity())?, peephole))
}

impl Machine {
    /// A machine with this disk; the program does not run yet.
    #[must_use]
    pub fn with(disk: Mounted) -> Self {
        Self { disk, full_sync: true, checkpoint_pages: 50, running: None }
    }

    /// Starts the program as the agent starts it.
    /// # Errors
    /// The store's.
    pub fn start(&mut self) -> Result<(), StoreError> {
        self.stop();
        let (mut store, peephole) = open(&self.disk)?;
        store.keep_within(LIMITS)?;
        let set = peephole.look(|conn| {
            conn.pragma_update(None, "wal_autocheckpoint", self.checkpoint_pages)?;
            // The control: what the store asked for at its start is taken back behind its back.
            if self.full_sync { Ok(()) } else { conn.pragma_update(None, "synchronous", "normal") }
        });
        set.map_err(|e| StoreError::Unusable { path: store.path().to_owned(), what: e.to_string() })?;
        let core = Core::load(profile(), store.snapshot()?);
        self.running = Some(Running { core, store, peephole });
        Ok(())
    }

    /// Ends the program.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Hands a step to the driver's step; when it says yes, everything in it is acknowledged.
    /// # Errors
    /// The store's.
    pub fn take(&mut self, what: &Step) -> Result<Outcome, StoreError> {
        let not = || StoreError::Unusable { path: self.disk.path().into(), what: "it does not run".to_owned() };
        let running = self.running.as_mut().ok_or_else(not)?;
        let Running { core, store, .. } = running;
        match what.upkeep {
            None => step(core, store, &what.now, &what.inputs),
            Some(Upkeep::Tidy) => store.tidy(what.now.wall).map(|_| Outcome::default()),
            Some(Upkeep::Forget) => {
                forget(core, store, &what.now, &mut None).map(|(outcome, _)| outcome.unwrap_or_default())
            }
        }
    }

    /// Every row of every table, as text, in order.
    /// # Errors
    /// SQLite's; a running program is needed.
    pub fn everything(&self) -> rusqlite::Result<Vec<String>> {
        match &self.running {
            Some(running) => running.peephole.look(everything),
            None => Err(rusqlite::Error::InvalidQuery),
        }
    }

    /// The store of the running program.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.running.as_ref().map(|running| &running.store)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        self.disk.unmount();
    }
}

fn everything(conn: &rusqlite::Connection) -> rusqlite::Result<Vec<String>> {
    let tables: Vec<String> = conn
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut rows = Vec::new();
    for table in tables {
        let mut query = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))?;
        let columns = query.column_count();
        let mut found = query.query([])?;
        while let Some(row) = found.next()? {
            let values = (0..columns).map(|n| row.get_ref(n).map(written));
            rows.push(format!("{table} {}", values.collect::<rusqlite::Result<Vec<_>>>()?.join(" ")));
        }
    }
    Ok(rows)
}

fn written(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(x) => format!("{x:?}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => Hash32::of(bytes).to_string(),
    }
}
